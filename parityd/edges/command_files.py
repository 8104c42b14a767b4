"""The folder `overrides/`: command files read from it, moved out of it, written into it.

1. A file is read once, from a descriptor that follows no link and waits for nothing; owner and mode are that descriptor's.
2. HALT files, hidden names, .tmp, .part and whatever is not *.json are not its business; what it cannot read it says, and never raises for.
3. What may still be being written (unreadable as JSON, or without its signature, and only seconds old) is left for the next look.
4. Letters come in order of their last change, then of name: who orders a stop and then a reset means it in that order.
5. Finished files go to applied/ or, beside FILE.reason.json, to refused/; nothing is overwritten, and twice is once.
6. A file that cannot be moved away is remembered, so that it is judged once and not every second; what is dealt with, or waits to be, is not
   read again, and one look reads so much at most: however many files lie there, the next stop is seen soon.
"""

import contextlib
import errno
import hashlib
import heapq
import json
import os
import stat
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from parityd.core.instants import rfc3339
from parityd.edges.audit import canonical
from parityd.edges.commands import Facts, Refused, Verdict
from parityd.edges.files import (
    NAME_BYTES,
    cut_name,
    ensure_folder,
    exists,
    move_durably,
    open_readable,
    replace_durably,
    safe_name,
    same_content,
)
from parityd.edges.signatures import sign

FILE_BYTES = 1 << 20
MOST = 1000
LOOK_BYTES = 16 << 20
SETTLE_NS = 2_000_000_000
SIGNATURE_NS = 5_000_000_000
MODE = 0o644
_OUTCOME = Literal["applied", "refused"]
_CHANGED = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ESTALE, errno.EISDIR)
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO)
_UNMOVED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.EBUSY)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One command file as it was read. `key` names this very file: the same content dropped anew has another.

    `signature`: the bytes of FILE.sig, None where there is none. `problem`: why `raw` could not be read; then it is to be refused.
    """

    path: Path
    name: str
    raw: bytes
    facts: Facts
    changed_ns: int
    key: str
    signature: bytes | None = None
    problem: Refused | None = None


class _Place(NamedTuple):
    """What tells one file from another without reading it."""

    name: str
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One look: the letters in order, and the facts about the folder; `error` where it, or a file in it, could not be read."""

    letters: tuple[Letter, ...] = ()
    folder: Facts | None = None
    error: str = ""


def facts_of(found: os.stat_result) -> Facts:
    mode = stat.S_IMODE(found.st_mode)
    return Facts(uid=found.st_uid, gid=found.st_gid, mode=mode, links=found.st_nlink, mtime_ns=found.st_mtime_ns)


def _place_of(entry: os.DirEntry[str]) -> _Place | None:
    """None where it went meanwhile."""
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return _Place(entry.name, facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)


def _is_command(name: str) -> bool:
    low = name.lower()
    return low.endswith(".json") and not low.startswith((".", "halt"))


class CommandFolder:
    """`overrides/` of one data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stuck: set[str] = set()
        self._keys: dict[_Place, str] = {}  # of what stood there at the last look

    def read(self, held: Container[str] = ()) -> Post:
        """The command files that stand there now (the first MOST by name, and as far as LOOK_BYTES go); `held`: keys that are known already."""
        try:
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            return Post(error=f"{self.folder}: {e.strerror}")
        try:
            with os.scandir(fd) as listing:
                places = {place.name: place for entry in listing if _is_command(entry.name) and (place := _place_of(entry)) is not None}
            self._keys = {place: key for place, key in self._keys.items() if places.get(place.name) == place}
            new = (
                name for name, place in places.items() if (key := self._keys.get(place)) is None or not (key in held or key in self.stuck)
            )
            errors: list[str] = []
            found = list(self._letters(heapq.nsmallest(MOST, new, key=os.fsencode), fd, places, errors))
            found.sort(key=lambda letter: (letter.facts.mtime_ns, os.fsencode(letter.path)))
            return Post(letters=tuple(found), folder=facts_of(os.fstat(fd)), error="; ".join(errors[:1]))
        except OSError as e:
            return Post(error=f"{self.folder}: {e.strerror}")
        finally:
            os.close(fd)

    def _letters(self, names: list[str], fd: int, places: dict[str, _Place], errors: list[str]) -> Iterator[Letter]:
        """What cannot be read now is an error of its own, and keeps no other from being heard."""
        size = 0
        for name in names:
            try:
                letter = self._open(name, fd)
            except OSError as e:
                errors.append(f"{self.folder / safe_name(name)}: {e.strerror}")
                continue
            if letter is None:
                continue
            self._keys[places[name]] = letter.key
            if letter.key not in self.stuck:
                yield letter
            size += len(letter.raw)
            if size >= LOOK_BYTES:
                return

    def _open(self, name: str, fd: int) -> Letter | None:
        """None where it went, or changed while it was read."""
        try:
            entry = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        raw, problem = b"", None
        if not stat.S_ISREG(entry.st_mode):
            problem = Refused(code="unreadable_file", text="not a regular file")
        else:
            try:
                entry, raw = _contents(name, fd)
            except OSError as e:
                if e.errno in _CHANGED:
                    return None
                if e.errno not in _UNREADABLE:
                    raise
                text = f"{e.strerror} (owner {entry.st_uid}, mode {stat.S_IMODE(entry.st_mode):04o})"
                problem = Refused(code="unreadable_file", text=text, again=True)
            if len(raw) > FILE_BYTES:
                problem = Refused(code="too_long", text=f"more than {FILE_BYTES} bytes")
        return Letter(
            path=self.folder / name,
            name=safe_name(name),
            raw=raw,
            facts=facts_of(entry),
            changed_ns=entry.st_ctime_ns,
            key=f"{hashlib.sha256(raw).hexdigest()}:{entry.st_dev}:{entry.st_ino}:{entry.st_mtime_ns}",
            signature=_signature_beside(name, fd),
            problem=problem,
        )

    def finish(self, letter: Letter, outcome: _OUTCOME, code: str = "", reason: str = "", ts: str | None = None) -> Path | None:
        """Move a judged file (and its signature) away; None where it cannot be moved (it is passed over from now on) or is another by now."""
        folder = self.folder / outcome
        try:
            if exists(letter.path) and not _same(letter):
                return None
            ensure_folder(folder)
            target = _place(folder, letter)
            if outcome == "refused":
                told = {"code": code, "reason": reason, "name": letter.name, "sha256": letter.key.partition(":")[0]} | (
                    {"ts": ts} if ts else {}
                )
                replace_durably(target.with_name(target.name + ".reason.json"), canonical(told) + b"\n", 0o640)
            if letter.signature is not None:  # first: who sees the command gone may drop a mended one with its own signature
                with contextlib.suppress(OSError):
                    os.replace(letter.path.with_name(letter.path.name + ".sig"), target.with_name(target.name + ".sig"))
            if exists(letter.path):
                move_durably(letter.path, target)
        except OSError as e:
            if e.errno not in _UNMOVED:
                raise
            self.stuck.add(letter.key)
            return None
        return target

    def applied_hashes(self) -> frozenset[str]:
        """The contents in applied/: what a broken or restored store may have forgotten, and must not be replayed."""
        return frozenset(_hashes(self.folder / "applied"))


def _hashes(folder: Path) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = folder / name
        if name.lower().endswith(".json") and stat.S_ISREG(os.lstat(path).st_mode):
            with os.fdopen(open_readable(path), "rb") as file:
                yield hashlib.sha256(file.read(FILE_BYTES)).hexdigest()


def _contents(name: str, fd: int) -> tuple[os.stat_result, bytes]:
    """Facts and bytes of one descriptor; ESTALE where it changed while it was read."""
    with os.fdopen(open_readable(name, dir_fd=fd), "rb") as file:
        before = os.fstat(file.fileno())
        raw = file.read(FILE_BYTES + 1) if stat.S_ISREG(before.st_mode) else b""
        after = os.fstat(file.fileno())
    if not stat.S_ISREG(after.st_mode) or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise OSError(errno.ESTALE, "it changed while it was read", name)
    return after, raw


def to_be_left(letter: Letter, verdict: Verdict, now_ns: int) -> bool:
    """Whether the writer may only not have finished: then the file is left for the next look."""
    limit = SETTLE_NS if verdict.again else SIGNATURE_NS if isinstance(verdict, Refused) and verdict.code == "unsigned" else 0
    return abs(now_ns - letter.changed_ns) < limit


def _same(letter: Letter) -> bool:
    """Whether the name still is the file that was read: an operator may have written another over it."""
    there = os.lstat(letter.path)
    return letter.key.split(":")[1:] == [str(there.st_dev), str(there.st_ino), str(there.st_mtime_ns)]


def _signature_beside(name: str, fd: int) -> bytes | None:
    try:
        with os.fdopen(open_readable(name + ".sig", dir_fd=fd), "rb") as file:
            return file.read(FILE_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except OSError:
        return None


def _place(folder: Path, letter: Letter) -> Path:
    """FILE; where another content has that name, <hash12>-FILE or a number before it."""
    base = cut_name(letter.name, NAME_BYTES - len(".reason.json") - 16)
    candidates, number = [base, f"{letter.key[:12]}-{base}"], 1
    while True:
        for candidate in candidates:
            target = folder / candidate
            if not exists(target) or not exists(letter.path) or same_content(letter.path, target):
                return target
        number += 1
        candidates = [f"{number}-{base}"]


def write_command(folder: Path, fields: Mapping[str, Any], *, now_ns: int, sign_key: Path | None = None) -> Path:
    """Put a correct command file in place, its signature before it. `fields`: as in the contract, without `id` and `issued_at`.

    OSError where the folder cannot be written, ValueError where it cannot be signed.
    """
    body = {name: value for name, value in fields.items() if value is not None} | {"issued_at": rfc3339(now_ns)}
    body["id"] = hashlib.sha256(canonical(body) + f" {now_ns} {os.getpid()}".encode()).hexdigest()[:20]
    raw = json.dumps(body, indent=1).encode() + b"\n"
    stamp = "".join(c for c in rfc3339(now_ns)[:19] if c.isalnum())
    path = folder / f"{stamp}-{body['command']}-{body['id'][:8]}.json"
    if sign_key is not None:
        replace_durably(path.with_name(path.name + ".sig"), sign(raw, sign_key), MODE)
    replace_durably(path, raw, MODE)
    return path
