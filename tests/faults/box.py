"""A daemon as a process, a folder of its own, and everything that an engine or an operator can see of it.

Nothing here looks inside: files, signals, HTTP and the command line are all there is. Totals are decided by `model`, not by the daemon.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.forked import Forked

from parityd.edges.lock import holder
from parityd.engine import Gate

FAST = '[publish]\ninterval = "500ms"\nttl = "2s"\n'
SHIM = Path(__file__).with_name("shim.py")
FAKETIME = next(
    (p for base in ("/usr/lib", "/usr/local/lib", "/lib") for p in Path(base).glob("**/faketime/libfaketimeMT.so.1")), None
)  # fmt: skip
RUNNING: set[Any] = set()


def need(*tools: str) -> None:
    """Skip where a program is missing, naming it."""
    missing = [t for t in tools if shutil.which(t, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def strace(
    calls: str,
    inject: str = "",
    *,
    path: Path | None = None,
    log: str | Path = os.devnull,
    folders: bool = False,
    attach: int | None = None,
) -> list[str]:
    """What stands before a command so that its `calls` (those on `path` alone, where it is given) are logged, and fail or kill as `inject` says.

    `folders`: the log names what a descriptor stands for. `attach`: the whole command, for a process that runs.
    """
    need("strace")
    quickly = [] if inject.startswith("signal") or attach else ["--seccomp-bpf"]  # with which strace 6.1 gives no signals
    only = ["-P", str(path)] if path else []
    how = ["-e", f"inject={calls}:{inject}"] if inject else []
    return [
        "strace",
        "-f",
        *quickly,
        "-qq",
        *(["-y"] if folders else []),
        "-o",
        str(log),
        *only,
        "-e",
        f"trace={calls}",
        *how,
        *(["-p", str(attach)] if attach else []),
    ]


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


def need_faketime() -> Path:
    if FAKETIME is None:
        pytest.skip("needs libfaketime")
    return FAKETIME


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Box:
    """One data directory and one configuration."""

    def __init__(self, root: Path, config: str = FAST, *, data: Path | None = None, port: int | None = None) -> None:
        self.root = root
        self.data = data or root / "data"
        for name in ("spool/live", "spool/backtest", "overrides"):
            (self.data / name).mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.config = root / "parityd.toml"
        self.configure(config)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")} | {"PYTHONFAULTHANDLER": "1"}
        self.proc: Any = None  # a Popen, or a Forked
        self.dropped = 0
        self.errors = root / "stderr"

    def configure(self, config: str) -> None:
        beside = self.config.with_suffix(".new")
        beside.write_text(f'data_dir = "{self.data}"\n{config}\n[http]\nport = {self.port}\n')
        beside.rename(self.config)

    # --- the process ----------------------------------------------------------------------------------------------

    def command(self, *args: str, shim: str = "") -> list[str]:
        head = [sys.executable, str(SHIM), shim] if shim else [sys.executable, "-m", "parityd"]
        return [*head, *args, "--config", str(self.config)]

    def start(self, *prefix: str, shim: str = "", env: dict[str, str] | None = None, stderr: Any = None) -> "Box":
        with self.errors.open("ab") as log:
            if prefix or env:
                command = [*prefix, *self.command("run", shim=shim)]
                self.proc = subprocess.Popen(command, stdout=log, stderr=stderr or log, env=self.env | (env or {}), start_new_session=True)
            else:
                self.proc = Forked(["run", "--config", str(self.config)], shim, log.fileno(), stderr or log.fileno())
        RUNNING.add(self.proc)
        return self

    def ended(self, timeout: float = 20) -> int:
        assert self.proc is not None
        code = self.proc.wait(timeout)
        RUNNING.discard(self.proc)
        return code

    def kill(self) -> None:
        """The whole session: strace and its child go together."""
        assert self.proc is not None
        if self.proc.poll() is None:
            for end in (os.kill, os.killpg):  # what has just been forked leads no session yet
                with contextlib.suppress(ProcessLookupError):
                    end(self.proc.pid, signal.SIGKILL)
        self.ended()
        end_of_wait = time.monotonic() + 5
        while holder(self.data) is not None and time.monotonic() < end_of_wait:  # what ran under strace ends a moment later
            time.sleep(0.01)

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 25) -> int:
        assert self.proc is not None
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, sig)
        return self.ended(timeout)

    @contextlib.contextmanager
    def running(self, *prefix: str, ready: bool = True, **how: Any) -> Iterator["Box"]:
        self.start(*prefix, **how)
        try:
            if ready:
                self.ready()
            yield self
        finally:
            if self.proc is not None and self.proc.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.proc.pid, signal.SIGCONT)
                self.kill()

    def ready(self, timeout: float = 30) -> None:
        """A renewal has been earned: something fresh was published by this process."""

        def up() -> bool:
            assert self.proc is not None
            assert self.proc.poll() is None, f"ended with {self.proc.returncode}: {self.log()[-2000:]}"
            return self.get("/readyz")[0] == 200

        self.until(up, timeout, "ready")

    def cli(self, *args: str, timeout: float = 120, shim: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        if env:
            command = self.command(*args, shim=shim)
            return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=self.env | env, check=False)
        argv = [*args, "--config", str(self.config)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            proc = Forked(argv, shim, out.fileno(), err.fileno())
            RUNNING.add(proc)
            code = proc.wait(timeout)
            RUNNING.discard(proc)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(argv, code, out.read().decode(), err.read().decode())

    def check(self, **how: Any) -> dict[str, Any]:
        done = self.cli("check", "--json", **how)
        assert done.returncode in (0, 1, 2), (done.returncode, done.stderr[-1500:])
        return dict(json.loads(done.stdout))

    # --- what is seen ---------------------------------------------------------------------------------------------

    def get(self, path: str, timeout: float = 3) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()
        except (OSError, http.client.HTTPException):
            return 0, b""

    def metric(self, name: str) -> float:
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith(f"parityd_{name}"):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    @property
    def actions(self) -> Path:
        return self.data / "system_actions"

    def override(self) -> dict[str, Any]:
        return dict(json.loads((self.actions / "trading_override.json").read_bytes()))

    def gate(self, strategy: str = "s") -> Gate:
        return Gate(self.actions, strategy)

    def log(self) -> str:
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def until(self, true: Callable[[], Any], timeout: float = 20, what: str = "") -> Any:
        end = time.monotonic() + timeout
        last: Exception | None = None
        while time.monotonic() < end:
            try:
                if found := true():
                    return found
            except (OSError, ValueError, KeyError) as e:
                last = e
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout} s: {what} ({last!r}); {self.log()[-1500:]}")

    def fresh(self) -> bool:
        return self.gate().read().fresh

    def audit(self) -> list[dict[str, Any]]:
        lines = [line for p in sorted((self.data / "audit").glob("*.jsonl")) for line in p.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.audit() if row["event"] == name]

    # --- what is done to it ---------------------------------------------------------------------------------------

    def drop(self, book: str, records: list[dict[str, Any]] | bytes, name: str = "") -> str:
        self.dropped += 1
        name = name or f"{self.dropped:06d}-{os.getpid()}.jsonl"
        body = records if isinstance(records, bytes) else "".join(json.dumps(r) + "\n" for r in records).encode()
        folder = self.data / "spool" / book
        beside = folder / f".{self.dropped}.tmp"
        beside.write_bytes(body)
        beside.rename(folder / name)
        return name

    def order(self, name: str, body: Any, mode: int = 0o644) -> None:
        """A file into overrides/."""
        beside = self.data / "overrides" / f".{name}"
        beside.write_text(body if isinstance(body, str) else json.dumps(body))
        beside.chmod(mode)
        beside.rename(self.data / "overrides" / name)

    def outcome(self, name: str, what: str, timeout: float = 15) -> dict[str, Any]:
        """Wait until a command file is applied or refused; the reason of a refusal."""
        target = self.data / "overrides" / what / name
        self.until(target.exists, timeout, f"{name} {what}: {sorted(p.name for p in (self.data / 'overrides').rglob('*'))}")
        reason = target.with_name(name + ".reason.json")
        return dict(json.loads(reason.read_text())) if reason.exists() else {}

    def spooled(self) -> list[str]:
        return sorted(p.name for book in ("live", "backtest") for p in (self.data / "spool" / book).iterdir() if not p.name.startswith("."))

    def spooled_any(self) -> bool:
        return any(e.name[0] != "." for book in ("live", "backtest") for e in os.scandir(self.data / "spool" / book))

    def rejected(self) -> list[dict[str, Any]]:
        lines = [line for p in sorted((self.data / "rejected").rglob("*.rejected.jsonl")) for line in p.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def whole(self) -> list[dict[str, Any]]:
        """Reasons of files refused whole."""
        return [json.loads(p.read_text()) for p in sorted((self.data / "rejected").rglob("*.reason.json"))]


def power_cut(mount: Path) -> None:
    """What a pulled plug leaves: nothing that is still only in memory reaches the disk (XFS_IOC_GOINGDOWN; ext4 has the same)."""
    import fcntl
    import struct

    fd = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(fd)


@contextlib.contextmanager
def mounted(folder: Path, *args: str) -> Iterator[Path]:
    """A file system at `folder` for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *args, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs a mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def end_all() -> None:
    """What a failed test left running; only what was started here."""
    for proc in list(RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(proc.pid, signal.SIGKILL)
        proc.wait()
        RUNNING.discard(proc)
