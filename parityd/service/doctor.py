"""`parityd doctor`: is everything in place for a parityd to run here? Each trouble with the command that mends it.

1. It looks and changes nothing: no folder is made, no lock taken, no store opened for writing; a running daemon is not disturbed.
2. A check says `ok`, `warning` (it runs, but look) or `problem` (it will not run, or not rightly); the worst of them is the answer.
3. A check that cannot be made here is ok and says so: no systemd and no time service are no trouble by themselves.
"""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import msgspec

from parityd.core.instants import parse_time
from parityd.core.records import BOOKS, NO_TS
from parityd.core.verdicts import Standing
from parityd.edges import clock
from parityd.edges.audit import Tail, verify
from parityd.edges.files import free_bytes
from parityd.edges.lock import holder
from parityd.service.ops_rights import INBOXES, PRIVATE, faults
from parityd.service.ops_state import reading_store
from parityd.settings import Settings
from parityd.settings_values import format_size
from parityd.store import StoreBroken, StoreUnavailable
from parityd.store.connect import pragmas, quick_check, reading

OK, WARNING, PROBLEM = "ok", "warning", "problem"
STEP_NS = 2_000_000_000
_UNSYNCHRONISED = 0x40  # STA_UNSYNC, sys/timex.h


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `mend`: the command (or the step) that puts it right, "" where nothing is wrong."""

    area: str
    state: str
    text: str
    mend: str = ""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything found. `files`: of files that were named (see `doctor_files`)."""

    worst: str
    checks: list[Check] = msgspec.field(default_factory=list)
    files: list[dict[str, Any]] = msgspec.field(default_factory=list)
    books: list[dict[str, Any]] = msgspec.field(default_factory=list)


def worst(checks: Iterable[Check]) -> str:
    states = {c.state for c in checks}
    return PROBLEM if PROBLEM in states else WARNING if WARNING in states else OK


def look(settings: Settings, environ: Mapping[str, str]) -> Findings:
    """All checks of this installation."""
    pid = holder(settings.data_dir)
    checks = [
        *_folders(settings), *_space(settings), *_clock(settings), *_store(settings), *_audit(settings, pid), *_spool(settings),
        *_port(settings, pid), *_publication(settings, pid), *_systemd(environ),
    ]  # fmt: skip
    return Findings(worst=worst(checks), checks=checks)


def lines(found: Findings) -> Iterator[str]:
    """For a terminal."""
    for c in found.checks:
        yield f"{c.state:8} {c.area:12} {c.text}"
        if c.mend:
            yield f"{'':8} {'':12} mend: {c.mend}"


# --- folders and space ----------------------------------------------------------------------------------------------


def _folders(settings: Settings) -> Iterator[Check]:
    root = settings.data_dir
    found = faults(settings)
    for fault in found:
        yield Check(area="folders", state=PROBLEM if fault.grave else WARNING, text=f"{fault.path}: {fault.what}", mend=fault.mend)
    if any(fault.grave for fault in found):
        return
    if not root.is_dir():
        yield Check(area="folders", state=WARNING, text=f"{root} is not there yet", mend="parityd init")
        return
    missing = [name for name in (*PRIVATE, *INBOXES) if not (root / name).is_dir()]
    if missing:
        yield Check(area="folders", state=WARNING, text=f"not there yet: {', '.join(missing)}", mend="parityd init")
    elif not found:
        yield Check(area="folders", state=OK, text=f"{root}: owner and modes are right")


def _space(settings: Settings) -> Iterator[Check]:
    place = settings.data_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    free, facts = free_bytes(place), os.statvfs(place)
    text = f"{free // 1_048_576} MiB of {facts.f_blocks * facts.f_frsize // 1_048_576} MiB free"
    if free < settings.limits.min_free:
        yield Check(
            area="space", state=PROBLEM, text=f"{text}: below limits.min_free nothing is read", mend=f"df -h {place}; free space there"
        )
    elif free < 0.1 * facts.f_blocks * facts.f_frsize:
        yield Check(
            area="space", state=WARNING, text=f"{text}: under ten percent", mend=f"df -h {place}; set [retention], or enlarge the volume"
        )
    else:
        yield Check(area="space", state=OK, text=text)
    if facts.f_files and facts.f_favail < 10_000:
        yield Check(area="space", state=WARNING, text=f"only {facts.f_favail} inodes are free", mend=f"df -i {place}")


# --- clock ----------------------------------------------------------------------------------------------------------


def _clock(settings: Settings) -> Iterator[Check]:
    wall, boot = clock.now(), clock.boottime()
    time.sleep(0.2)
    drift = abs((clock.now() - wall) - (clock.boottime() - boot))
    if drift > STEP_NS:
        yield Check(
            area="clock", state=PROBLEM, text=f"wall clock and boot clock moved {drift / 1e9:.1f} s apart", mend="timedatectl status"
        )
    issued = _published(settings).get("issued_at")
    at = parse_time(issued) if isinstance(issued, str) else NO_TS
    if at != NO_TS and wall < at - STEP_NS:
        yield Check(
            area="clock",
            state=PROBLEM,
            text=f"the wall clock lies {(at - wall) / 1e9:.0f} s before the newest publication: no file is read",
            mend="timedatectl set-ntp true, or wait until that time has come",
        )
    source = _text(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")) or "unknown"
    by, synchronised = _synchronised()
    told = f"source {source}, boot {clock.boot_id()[:8] or 'unknown'}"
    if synchronised is None:
        yield Check(area="clock", state=OK, text=f"{told}; whether it is synchronised cannot be told here")
    elif synchronised:
        yield Check(area="clock", state=OK, text=f"{told}; synchronised ({by})")
    else:
        mend = "timedatectl set-ntp true" if Path("/run/systemd/system").is_dir() else "run chrony or another time service on this machine's host"
        yield Check(area="clock", state=WARNING, text=f"{told}; not synchronised ({by})", mend=mend)


def _synchronised() -> tuple[str, bool | None]:
    """(who says so, whether the clock is kept by a time service); None where nobody can say."""
    program = shutil.which("timedatectl")
    if program is not None and Path("/run/systemd/system").is_dir():
        try:
            done = subprocess.run(
                [program, "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True, timeout=5, check=False
            )  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return "", None
        if done.stdout.strip() in ("yes", "no"):
            return "timedatectl", done.stdout.strip() == "yes"
    try:
        status = ctypes.create_string_buffer(512)  # struct timex: modes, offset, freq, maxerror, esterror, status, ...
        state = ctypes.CDLL(None).adjtimex(status)
    except (OSError, AttributeError):
        return "", None
    if state < 0:
        return "", None
    flags = int.from_bytes(status.raw[40:44], "little") if ctypes.sizeof(ctypes.c_long) == 8 else 0
    return "kernel", not flags & _UNSYNCHRONISED


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


# --- store and trail ------------------------------------------------------------------------------------------------


def _store(settings: Settings) -> Iterator[Check]:
    path = settings.store_path()
    past = any(any((settings.data_dir / name).rglob("*.*")) for name in ("archive", "audit") if (settings.data_dir / name).is_dir())
    if not path.exists():
        if past:
            yield Check(
                area="store",
                state=PROBLEM,
                text=f"{path} is gone, and archive or audit trail are there",
                mend="parityd rebuild, or parityd restore DIR",
            )
        else:
            yield Check(area="store", state=OK, text=f"{path}: none yet, it is made at the first start")
        return
    if settings.data_dir.exists() and os.stat(path).st_uid != os.geteuid():
        return  # said above; looking would leave files of ours beside it
    try:
        with reading(path), reading_store(path) as reads:
            assert reads is not None  # noqa: S101  it is there
            bad = quick_check(reads._db, path.stat().st_size)  # noqa: SLF001  a look at the file, no question to the store
            mode = pragmas(reads._db)["journal_mode"]  # noqa: SLF001
            blob = reads.state("standing")
            files = len(reads.files())
    except StoreBroken as e:
        yield Check(area="store", state=PROBLEM, text=e.what, mend="parityd rebuild, or parityd restore DIR")
        return
    except StoreUnavailable as e:
        yield Check(area="store", state=PROBLEM, text=str(e), mend=f"ls -l {path}*; look who else has it open")
        return
    if bad:
        yield Check(area="store", state=PROBLEM, text=f"{path} is damaged: {bad[0]}", mend="parityd rebuild, or parityd restore DIR")
        return
    yield Check(
        area="store", state=OK, text=f"{path}: whole, {files} files, {format_size(path.stat().st_size // 1024 * 1024)}, journal {mode}"
    )
    yield from _standing(blob)


def _standing(blob: bytes | None) -> Iterator[Check]:
    if blob is None:
        return
    standing = msgspec.msgpack.decode(blob, type=Standing)
    if standing.broken_store:
        yield Check(
            area="standing", state=PROBLEM, text="an earlier store could not be read: trading is disabled",
            mend='parityd rebuild (daemon stopped), then parityd override reset --acknowledge BROKEN_STORE --reason "..."',
        )  # fmt: skip
    if standing.first_start:
        yield Check(
            area="standing", state=WARNING, text=f"first start: {standing.first_start} until init", mend='parityd init --reason "..."'
        )
    for halt in standing.halts:
        yield Check(
            area="standing",
            state=WARNING,
            text=halt.reason,
            mend=f"parityd override unhalt{'' if halt.scope == '*' else ' --strategy ' + halt.scope}",
        )


def _audit(settings: Settings, pid: int | None) -> Iterator[Check]:
    folder = settings.data_dir / "audit"
    if not folder.is_dir():
        return
    tail: Tail | None = None
    if pid is None:
        try:
            with reading_store(settings.store_path()) as reads:
                if reads is not None:
                    sequence, last = reads.last_audit()
                    tail = Tail(sequence=sequence, hash=last)
        except (StoreBroken, StoreUnavailable):
            tail = None
    broken = verify(folder, tail)
    if broken is None:
        yield Check(area="audit", state=OK, text="the chain of the trail holds")
    elif broken.at_end:
        yield Check(area="audit", state=WARNING, text=f"{broken.file}: {broken.why}", mend="the next start writes what is missing")
    else:
        yield Check(
            area="audit",
            state=PROBLEM,
            text=f"{broken.file}:{broken.line}: {broken.why}",
            mend="compare with a backup: somebody changed it",
        )


# --- spool, port, publication ---------------------------------------------------------------------------------------


def _spool(settings: Settings) -> Iterator[Check]:
    root = settings.data_dir
    for book in BOOKS:
        folder = root / "spool" / book
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
            continue
        found = [
            e.stat(follow_symlinks=False)
            for e in os.scandir(folder)
            if not e.name.startswith(".") and not e.name.endswith((".tmp", ".part"))
        ]
        size = sum(x.st_size for x in found)
        oldest = max(0.0, (clock.now() - min((x.st_ctime_ns for x in found), default=clock.now())) / 1e9)
        state = WARNING if oldest > 300 or size > settings.limits.spool else OK
        mend = "parityd status; is a daemon running, is there space?" if state != OK else ""
        yield Check(area="spool", state=state, text=f"{book}: {len(found)} files wait, the oldest for {oldest:.0f} s", mend=mend)
    rejected = sum(len([n for n in names if not n.endswith(".reason.json")]) for _, _, names in os.walk(root / "rejected"))
    if rejected:
        yield Check(
            area="spool",
            state=WARNING,
            text=f"{rejected} files in rejected/",
            mend=f"ls {root}/rejected/*; mend the cause, then parityd requeue FILE",
        )


def _port(settings: Settings, pid: int | None) -> Iterator[Check]:
    host, port = settings.http.host, settings.http.port
    if pid is not None:
        seen = _asked(f"http://{host}:{port}/healthz")
        if seen is not None:
            yield Check(area="port", state=OK, text=f"{host}:{port} answers (process {pid})")
        else:
            yield Check(
                area="port",
                state=WARNING,
                text=f"process {pid} runs and {host}:{port} does not answer",
                mend="journalctl -u parityd; is [http] the daemon's?",
            )
        return
    if port == 0:
        yield Check(area="port", state=OK, text="[http] port = 0: any free one")
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(address)
    except (OSError, OverflowError) as e:
        yield Check(
            area="port",
            state=PROBLEM,
            text=f"{host}:{port} cannot be had: {getattr(e, 'strerror', None) or e}",
            mend=f"ss -ltnp 'sport = :{port}'; stop that program or set [http] port",
        )
    else:
        yield Check(area="port", state=OK, text=f"{host}:{port} is free")


def _asked(url: str) -> Any:
    try:
        with urlopen(url, timeout=3) as answer:  # noqa: S310  our own address, from the configuration
            return json.loads(answer.read())
    except HTTPError as e:
        e.close()
        return None
    except (URLError, OSError, ValueError):
        return None


def _published(settings: Settings) -> dict[str, Any]:
    try:
        found = json.loads((settings.data_dir / "system_actions/trading_override.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _publication(settings: Settings, pid: int | None) -> Iterator[Check]:
    told = _published(settings)
    expires = parse_time(told["expires_at"]) if isinstance(told.get("expires_at"), str) else NO_TS
    if expires == NO_TS:
        yield Check(area="publication", state=OK, text="nothing has been published yet")
        return
    over = (clock.now() - expires) / 1e9
    text = f"{told.get('action')} (sequence {told.get('sequence')})"
    if pid is None:
        yield Check(
            area="publication", state=OK, text=f"no daemon runs here; {text} " + (f"ran out {over:.0f} s ago" if over > 0 else "still runs")
        )
    elif over > 0:
        why = _asked(f"http://{settings.http.host}:{settings.http.port}/api/v1/status") or {}
        reasons = "; ".join(map(str, why.get("withheld", []))) or "the daemon does not say why"
        yield Check(
            area="publication",
            state=PROBLEM,
            text=f"{text} ran out {over:.0f} s ago: {reasons}",
            mend="parityd status; journalctl -u parityd",
        )
    else:
        yield Check(area="publication", state=OK, text=f"{text} is valid")


# --- systemd --------------------------------------------------------------------------------------------------------


def _systemd(environ: Mapping[str, str]) -> Iterator[Check]:
    if not Path("/run/systemd/system").is_dir():
        yield Check(area="systemd", state=OK, text="this machine is not run by systemd")
        return
    program = shutil.which("systemctl")
    if program is None:
        yield Check(area="systemd", state=OK, text="systemctl is not here: nothing to ask")
        return
    wanted = ("LoadState", "ActiveState", "Type", "WatchdogUSec", "Restart", "PrivateUsers", "UnitFileState")
    try:
        done = subprocess.run(
            [program, "show", "parityd.service", *(f"-p{name}" for name in wanted)], capture_output=True, text=True, timeout=5, check=False
        )  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as e:
        yield Check(area="systemd", state=WARNING, text=f"systemctl does not answer: {e}", mend="systemctl status")
        return
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if told.get("LoadState") != "loaded":
        yield Check(area="systemd", state=OK, text="parityd.service is not installed here")
        return
    if told.get("Type") != "notify":
        yield Check(
            area="systemd",
            state=PROBLEM,
            text=f"parityd.service has Type={told.get('Type')}, not notify: no watchdog",
            mend="systemctl edit --full parityd",
        )
    if told.get("PrivateUsers") == "yes":
        yield Check(
            area="systemd", state=PROBLEM, text="PrivateUsers=yes hides who wrote a command", mend="systemctl edit parityd: PrivateUsers=no"
        )
    if told.get("Restart") != "always" or told.get("WatchdogUSec") in ("0", "infinity"):
        yield Check(
            area="systemd", state=WARNING, text="parityd.service has no watchdog, or is not restarted always", mend="systemctl cat parityd"
        )
    if told.get("UnitFileState") not in ("enabled", "static", "enabled-runtime"):
        yield Check(
            area="systemd",
            state=WARNING,
            text="parityd.service is not enabled: it does not start with the machine",
            mend="systemctl enable parityd",
        )
    state = told.get("ActiveState")
    yield Check(
        area="systemd",
        state=OK if state == "active" else WARNING,
        text=f"parityd.service is {state}",
        mend="" if state == "active" else "systemctl start parityd",
    )
    if environ.get("NOTIFY_SOCKET"):
        yield Check(area="systemd", state=OK, text="run by the service manager itself")
