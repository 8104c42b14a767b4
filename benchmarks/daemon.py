"""The daemon from outside, as its users meet it: started, asked, given files, stopped."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import environment, parityd, resident

PATIENCE = 300.0  # seconds after which nothing more is expected


class Daemon:
    """One `parityd run` in a folder. `more` is configuration beside where things lie."""

    def __init__(self, root: Path, more: str = ""):
        self.root, self.more = root, more
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.data = root / "data"
        self.config = root / "parityd.toml"
        self.configure("")
        for book in ("live", "backtest"):
            (self.data / "spool" / book).mkdir(parents=True, exist_ok=True)
        self.n = 0

    def configure(self, schedule: str) -> None:
        self.config.write_text(f'data_dir = "{self.data}"\n[http]\nport = {self.port}\n[schedule]\n{schedule}\n{self.more}')

    @contextmanager
    def running(self) -> Iterator[tuple[float, float]]:
        """Started, and stopped whatever happens; gives (seconds, processor time) to READY=1."""
        told = f"parityd-bench-{os.getpid()}-{self.port}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind("\0" + told)
            notify.settimeout(1.0)
            began = time.monotonic()
            self.process = subprocess.Popen(
                parityd("run", "--config", self.config),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment() | {"NOTIFY_SOCKET": "@" + told},
            )
            try:
                self._await(notify, began)
                yield time.monotonic() - began, self.cpu()
            finally:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()

    def _await(self, notify: socket.socket, began: float) -> None:
        """Until it says READY=1."""
        while True:
            with suppress(TimeoutError):
                if b"READY=1" in notify.recv(4096):
                    return
            if self.process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"parityd run --config {self.config}: not ready; exit {self.process.poll()}")

    def get(self, path: str, timeout: float = 30.0) -> bytes:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            asking.request("GET", path)
            return asking.getresponse().read()
        finally:
            asking.close()

    def drop(self, book: str, records: list[dict[str, object]]) -> None:
        """A file into the spool, as an engine puts it there."""
        self.n += 1
        folder = self.data / "spool" / book
        hidden = folder / f".{self.n:07d}.jsonl"
        hidden.write_text("".join(json.dumps(r) + "\n" for r in records))
        os.rename(hidden, folder / f"{self.n:07d}.jsonl")

    @property
    def published(self) -> Path:
        return self.data / "system_actions/trading_override.json"

    def override(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.published.read_bytes())
        return found

    def waiting(self) -> bool:
        """Whether a file lies in the spool."""
        return any(p.suffix == ".jsonl" for book in ("live", "backtest") for p in (self.data / "spool" / book).iterdir())

    def metric(self, name: str) -> float:
        """A metric without labels; 0 where there is none."""
        for line in self.get("/metrics").decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return 0.0

    def cpu(self) -> float:
        """Seconds of processor time of all its threads, to the nanosecond where the kernel counts them so."""
        spent = 0.0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                spent += int((thread / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue
        return spent

    def resident(self) -> float:
        """MB now, with children."""
        return resident(self.process.pid) / 1e6

    def peak(self) -> float:
        """MB that the daemon itself has held at most."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0


def until(done, what: str, every: float = 0.002) -> float:
    """Seconds until it is so; raises where it never is."""
    began = time.perf_counter()
    while not done():
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"waited {PATIENCE:.0f} s in vain: {what}")
        time.sleep(every)
    return time.perf_counter() - began
