"""`parityd doctor`: is everything in place for a parityd to run here? Each trouble with the command that mends it.

1. It looks and changes nothing: no folder is made, no lock taken, no store opened for writing; a running daemon is not disturbed.
2. A check that cannot be made here is ok and says so: no systemd and no time service are no trouble by themselves.
"""

import ctypes
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from parityd.core.instants import parse_time
from parityd.core.records import NO_TS
from parityd.edges import clock
from parityd.edges.files import free_bytes
from parityd.edges.lock import hidden, holder
from parityd.service import doctor_life as life
from parityd.service.doctor_checks import OK, PROBLEM, WARNING, Check, Findings, asked, lines, published, said, worst
from parityd.service.ops_rights import INBOXES, PRIVATE, as_owner, faults
from parityd.settings import Settings

STEP_NS = 2_000_000_000
_UNSYNCHRONISED = 0x40  # STA_UNSYNC, sys/timex.h
__all__ = ["lines", "look"]


def look(settings: Settings, environ: Mapping[str, str]) -> Findings:
    """All checks of this installation."""
    pid = _holder(settings)
    areas: list[tuple[str, Iterator[Check]]] = [
        ("folders", _folders(settings)), ("space", _space(settings)), ("clock", _clock(settings)), ("store", life.store(settings)),
        ("audit", life.trail(settings, pid)), ("spool", life.spool(settings)), ("port", life.port(settings, pid)),
        ("publication", life.publication(settings, pid)), ("systemd", life.systemd(environ)),
    ]  # fmt: skip
    checks = [check for area, looked in areas for check in _whole(area, looked, settings)]
    return Findings(worst=worst(checks), checks=checks)


def _holder(settings: Settings) -> int | None:
    """The daemon's process; 0 where this user may not see it and the daemon that answers is the one that publishes here."""
    pid = holder(settings.data_dir)
    if pid is None and hidden(settings.data_dir):
        return 0 if asked(settings, "/healthz") is not None else None
    return pid


def _whole(area: str, looked: Iterator[Check], settings: Settings) -> Iterator[Check]:
    """What could not be looked at is a finding like any other: the rest is told all the same."""
    try:
        yield from looked
    except OSError as e:
        text = f"{e.filename or settings.data_dir}: {e.strerror or e}"
        denied = isinstance(e, PermissionError) and settings.data_dir.exists()
        mend = as_owner(settings.data_dir.stat().st_uid) if denied else "look at that path, its file system and its mount"
        yield Check(area=area, state=PROBLEM, text=text, mend=mend)


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
    issued = published(settings).get("issued_at")
    at = parse_time(issued) if isinstance(issued, str) else NO_TS
    if at != NO_TS and wall < at - STEP_NS:
        yield Check(
            area="clock",
            state=PROBLEM,
            text=f"the wall clock lies {(at - wall) / 1e9:.0f} s before the newest publication: no file is read",
            mend="timedatectl set-ntp true; where the clock is right now and was wrong then, end the daemon and run `parityd check` once",
        )
    source = _text(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")) or "unknown"
    by, synchronised = _synchronised()
    told = f"source {source}, boot {clock.boot_id()[:8] or 'unknown'}"
    if synchronised is None:
        yield Check(area="clock", state=OK, text=f"{told}; whether it is synchronised cannot be told here")
    elif synchronised:
        yield Check(area="clock", state=OK, text=f"{told}; synchronised ({by})")
    else:
        mend = (
            "timedatectl set-ntp true"
            if Path("/run/systemd/system").is_dir()
            else "run chrony or another time service on this machine's host"
        )
        yield Check(area="clock", state=WARNING, text=f"{told}; not synchronised ({by})", mend=mend)


def _synchronised() -> tuple[str, bool | None]:
    """(who says so, whether the clock is kept by a time service); None where nobody can say."""
    program = shutil.which("timedatectl")
    if program is not None and Path("/run/systemd/system").is_dir():
        told = (said(program, "show", "-p", "NTPSynchronized", "--value") or "").strip()
        if told in ("yes", "no"):
            return "timedatectl", told == "yes"
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
