"""Whose the data directory is: who may work in it, which modes it needs, and whether it is there at all.

1. Whoever changes the store or the published files is the owner of `data_dir`: root is no exception, for what root makes the daemon cannot replace.
2. What only parityd writes must not be writable by anybody else: the world, or a group that is not the owner's own. The inboxes may be
   (sticky); `overrides/` that others may write costs no start, it costs raising commands.
3. A folder of the mount table that is not mounted is no first start: an empty folder below the mount point knows of no stop.
4. Every fault names its place and the command that mends it. Nothing here changes anything.
"""

import os
import pwd
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from parityd.problem import Problem
from parityd.settings import Settings

PRIVATE = {
    "": 0o711, "system_actions": 0o755, "archive": 0o750, "archive/live": 0o750, "archive/backtest": 0o750, "rejected": 0o750,
    "rejected/live": 0o750, "rejected/backtest": 0o750, "parity_reports": 0o750, "audit": 0o750, "spool": 0o750, "overrides/applied": 0o750,
    "overrides/refused": 0o750,
}  # fmt: skip
"""Folders that only parityd writes, with the modes in which they are made; "" is data_dir itself."""
INBOXES = {"spool/live": "parityd-spool", "spool/backtest": "parityd-spool", "overrides": "parityd-ops"}
"""Folders that others drop into, with the group that may."""
INBOX_MODE, OWN_MODE = 0o3770, 0o750
FSTAB, MOUNTS, UNITS = Path("/etc/fstab"), Path("/proc/self/mountinfo"), Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a place. `grave`: nothing may start with it."""

    path: Path
    what: str
    mend: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.what}. Mend: {self.mend}"


def user_name(uid: int) -> str:
    """The account of a uid, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def as_owner(uid: int) -> str:
    name = user_name(uid)
    words = ["parityd", *sys.argv[1:]]
    return f"sudo -u {name if not name.isdigit() else '#' + name} {shlex.join(words)}"


def unmounted(data_dir: Path, fstab: Path = FSTAB, mounts: Path = MOUNTS, units: Path = UNITS) -> Fault | None:
    """A mount point at or above `data_dir` that the machine's tables name and that is not mounted."""
    wanted = _mount_points(fstab, units)
    present = _mounted(mounts)
    here = Path(os.path.abspath(data_dir))
    for point in (here, *here.parents):
        if str(point) != "/" and str(point) in wanted and present and str(point) not in present:
            return Fault(here, f"{point} is a mount point and is not mounted", f"mount {shlex.quote(str(point))}")
    if os.path.islink(data_dir) and not os.path.exists(data_dir):
        return Fault(here, f"it is a link to {os.readlink(data_dir)}, which is not there", "mount or make what it points to")
    return None


def _unescaped(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def _mount_points(fstab: Path, units: Path) -> set[str]:
    found = set()
    for line in _lines(fstab):
        fields = line.split()
        if len(fields) >= 3 and not line.lstrip().startswith("#") and fields[1].startswith("/"):
            found.add(os.path.normpath(_unescaped(fields[1])))
    for unit in sorted(units.glob("*.mount")) if units.is_dir() else ():
        found |= {os.path.normpath(line.partition("=")[2].strip()) for line in _lines(unit) if line.startswith("Where=/")}
    return found


def _mounted(mounts: Path) -> set[str]:
    return {_unescaped(fields[4]) for line in _lines(mounts) if len(fields := line.split()) > 4}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def faults(settings: Settings) -> list[Fault]:
    """Everything wrong with owner, mode and place, the gravest first; nothing where `data_dir` is not there yet."""
    root = settings.data_dir
    away = unmounted(root)
    if away is not None:
        return [away]
    if not os.path.lexists(root):
        return []
    found: list[Fault] = []
    owner = os.stat(root).st_uid
    if owner != os.geteuid():
        me = user_name(os.geteuid())
        return [Fault(root, f"it belongs to {user_name(owner)} and this is {me}", as_owner(owner))]
    for name in PRIVATE:
        found += _folder(root / name, owner, inbox=False)
    for name in INBOXES:
        found += _folder(root / name, owner, inbox=True)
    found += _store(settings.store_path(), owner)
    return sorted(found, key=lambda fault: not fault.grave)


def _folder(path: Path, owner: int, *, inbox: bool) -> list[Fault]:
    place = shlex.quote(str(path))
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return [Fault(path, "it is a link to nothing", f"mount or make what {place} points to")] if os.path.islink(path) else []
    if not stat.S_ISDIR(facts.st_mode):
        return [Fault(path, "it is no folder", f"mv {place} {place}.aside")]
    if facts.st_uid != owner:
        return [
            Fault(path, f"it belongs to {user_name(facts.st_uid)} and not to {user_name(owner)}", f"sudo chown {user_name(owner)} {place}")
        ]
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o700 != 0o700 or not os.access(path, os.R_OK | os.X_OK):
        return [Fault(path, f"its owner may not use it (mode {mode:04o})", f"chmod u+rwx {place}")]
    if not os.access(path, os.W_OK):
        return [Fault(path, "it cannot be written: its file system is read-only", f"sudo mount -o remount,rw {place}")]
    open_to = _open_to(mode, facts.st_gid)
    if not open_to:
        return []
    if inbox:
        return [Fault(path, f"{open_to} may remove others' files (mode {mode:04o})", f"chmod +t {place}", grave=False)]
    return [Fault(path, f"{open_to} may write into it (mode {mode:04o})", f"chmod {'o-w' if mode & 2 else 'g-w'} {place}")]


def _open_to(mode: int, gid: int) -> str:
    """Who beside the owner may change what lies in a folder; "" for nobody."""
    if mode & 0o1000:
        return ""
    if mode & 0o002:
        return "the world"
    return "its group" if mode & 0o020 and gid != os.getegid() else ""


def _store(path: Path, owner: int) -> list[Fault]:
    found = []
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        try:
            facts = os.stat(name)
        except FileNotFoundError:
            continue
        place = shlex.quote(str(name))
        if facts.st_uid != owner:
            found.append(
                Fault(
                    name, f"it belongs to {user_name(facts.st_uid)} and not to {user_name(owner)}", f"sudo chown {user_name(owner)} {place}"
                )
            )
        elif stat.S_IMODE(facts.st_mode) & 0o002:
            found.append(Fault(name, f"the world may write it (mode {stat.S_IMODE(facts.st_mode):04o})", f"chmod o-w {place}"))
        elif not os.access(name, os.R_OK | os.W_OK):
            found.append(Fault(name, f"it cannot be written (mode {stat.S_IMODE(facts.st_mode):04o})", f"chmod u+rw {place}"))
    return found


def demand(settings: Settings) -> None:
    """Problem with the gravest fault, where one is grave: asked before anything is made or changed."""
    for fault in faults(settings):
        if fault.grave:
            raise Problem(str(fault))


def demand_readable(settings: Settings) -> None:
    """Problem where this user may not read the store: asked by what only looks into it."""
    path = settings.store_path()
    if os.path.lexists(path) and not os.access(path, os.R_OK):
        owner = os.stat(path).st_uid
        raise Problem(str(Fault(path, f"it belongs to {user_name(owner)} and this is {user_name(os.geteuid())}", as_owner(owner))))
