"""May this strategy trade now? `Gate.read()` answers at every order, from the file that parityd publishes.

1. Safe by construction: whatever is not a trusted, well-formed, fresh publication that follows the last one means the more severe
   of the last valid action and `on_expiry` (DISABLE_TRADING until a publication has said otherwise).
2. Trusted: a regular file of at most 4 MiB, reached without a symbolic link, of root, of its folder's owner or of this process; neither
   file nor folder writable by others (a folder by its group only if it is sticky).
3. Fresh: within `ttl_seconds` of its issue by the boot-time clock of the same boot. Another boot is stale, unless `remote`: then
   wall time decides, at most 5 s ahead, and never for longer by the boot-time clock than it promised when first seen.
4. It follows: the instance is the first one seen, neither sequence falls, one sequence has one content.
5. `read()` never raises, keeps nothing, serves all threads; an unchanged file costs one `lstat` and one clock.
It does not know what the actions mean for orders: the engine does.
"""

import hashlib
import os
import stat
import sys
import threading
import time
import weakref
from dataclasses import dataclass, replace

from parityd.engine.publication import ACTIONS, RANK, STOPS, STRATEGY, Entry, Publication, Unfit, parse

FILE = "trading_override.json"
MAX_BYTES = 4 << 20
AHEAD_NS = 5_000_000_000
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_COARSE = 5 if sys.platform == "linux" else time.CLOCK_REALTIME  # CLOCK_REALTIME_COARSE: what file systems stamp files with
_SETTLE_NS = 2_500_000_000
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEVER_SEEN = Entry(action="CONTINUE", trading_enabled=True, size_multiplier=1.0, reason="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the strategy may do now. `size_multiplier` scales orders that add exposure, never exits; `fresh`: said by a valid
    publication, not by its absence; `known`: the strategy has an entry of its own; sequences are 0 before the first publication.
    """

    action: str
    trading_enabled: bool
    size_multiplier: float
    reason: str
    sequence: int
    decision_sequence: int
    fresh: bool
    known: bool


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the Gate has learnt: the newest valid publication's identity, and what holds when nothing valid does."""

    floor: Entry = _NEVER_SEEN
    on_expiry: str = "DISABLE_TRADING"
    sequence: int = -1
    decision_sequence: int = -1
    known: bool = False
    instance: str | None = None
    digest: bytes = b""
    until_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Cached:
    """Both answers to one file, by its stat identity, and the window in which the first one holds."""

    ino: int
    mtime_ns: int
    ctime_ns: int
    size: int
    settled: bool
    seen_ns: int
    fresh: Verdict
    stale: Verdict
    from_ns: int = 0
    until_ns: int = 0
    wall: tuple[int, int] | None = None


class _Untrusted(Exception):  # noqa: N818  a value on its way to a verdict, not an error of the program
    """The place, not the content, is at fault: it is looked at again at every read."""


class Gate:
    """`Gate(path, strategy)`: path is `trading_override.json` or its folder. `remote=True` where the file is carried from another machine."""

    __slots__ = ("__weakref__", "_boot_id", "_cached", "_folder", "_lock", "_memory", "_name", "_path", "_remote", "_strategy")

    def __init__(self, path: str | os.PathLike[str], strategy: str, *, remote: bool = False) -> None:
        if not isinstance(strategy, str) or not STRATEGY.fullmatch(strategy):
            raise ValueError(f"no possible name of a strategy: {strategy!r}")
        where = os.path.abspath(os.fspath(path))
        is_file = where.endswith(".json") or (os.path.lexists(where) and not os.path.isdir(where))
        self._path = where if is_file else os.path.join(where, FILE)
        self._folder, self._name = os.path.split(self._path)
        self._strategy, self._remote = strategy, remote
        self._boot_id = _boot_id()
        self._memory = _Memory()
        self._cached: _Cached | None = None
        self._lock = threading.RLock()
        _GATES.add(self)

    def read(self) -> Verdict:
        """The verdict of this moment. Never raises."""
        cached = self._cached
        if cached is not None and cached.settled:
            try:
                now = os.lstat(self._path)
            except (OSError, ValueError):
                return self._look()
            if (
                now.st_ino == cached.ino
                and now.st_mtime_ns == cached.mtime_ns
                and now.st_ctime_ns == cached.ctime_ns
                and now.st_size == cached.size
            ):
                return _answer(cached)
        return self._look()

    def _look(self) -> Verdict:
        with self._lock:
            try:
                cached = self._load()
            except _Untrusted as reason:
                return self._closed(str(reason))
            except (OSError, ValueError) as error:
                return self._closed(f"unreadable ({type(error).__name__})")
            except Exception as error:  # noqa: BLE001  a Gate that raises is a Gate that an engine wraps in `pass`
                return self._closed(f"failed ({type(error).__name__})")
            self._cached = cached
            return _answer(cached)

    def _load(self) -> _Cached:
        coarse = time.clock_gettime_ns(_COARSE)  # before the bytes: what is written from here on has another ctime
        raw, info = self._bytes()
        now = time.clock_gettime_ns(_BOOTTIME)
        identity = (info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)
        last = self._cached
        same = last is not None and identity == (last.ino, last.mtime_ns, last.ctime_ns, last.size)
        seen = last.seen_ns if last is not None and same else now
        step = 2_000_000_000 if info.st_ctime_ns % 1_000_000_000 == 0 else 0
        settled = coarse > info.st_ctime_ns + step or now - seen > _SETTLE_NS
        try:
            publication = parse(raw)
            digest = hashlib.sha256(raw).digest()
            self._follows(publication, digest)
        except Unfit as reason:
            closed = self._closed(str(reason))
            return _Cached(*identity, settled, seen, closed, closed)
        return self._accept(publication, digest, identity, settled, now, seen)

    def _bytes(self) -> tuple[bytes, os.stat_result]:
        """The whole file, from a place that only the publisher can write."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.lstat(self._name, dir_fd=folder).st_mode):  # opening a device may already do harm
                raise _Untrusted("not a regular file")
            descriptor = os.open(self._name, _OPEN, dir_fd=folder)
            try:
                info = os.fstat(descriptor)
                _trust(os.fstat(folder), info)
                with open(descriptor, "rb", closefd=False) as file:
                    raw = file.read(info.st_size + 1)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise _Untrusted("missing") from None
        finally:
            os.close(folder)
        if len(raw) != info.st_size or (after.st_mtime_ns, after.st_size) != (info.st_mtime_ns, info.st_size):
            raise _Untrusted("torn: changed while it was read")
        return raw, info

    def _follows(self, publication: Publication, digest: bytes) -> None:
        memory = self._memory
        if memory.instance is None:
            return
        if publication.instance != memory.instance:
            raise Unfit(f"foreign: of another instance than {memory.instance}")
        if publication.sequence < memory.sequence or publication.decision_sequence < memory.decision_sequence:
            raise Unfit(f"backwards: sequence {publication.sequence} after {memory.sequence}")
        if publication.sequence == memory.sequence and digest != memory.digest:
            raise Unfit(f"contradiction: sequence {publication.sequence} with another content")

    def _accept(
        self, publication: Publication, digest: bytes, identity: tuple[int, int, int, int], settled: bool, now: int, seen: int
    ) -> _Cached:
        entry = publication.strategies.get(self._strategy)
        known, entry = entry is not None, entry or publication.default
        window, wall, why = self._window(publication, now)
        fresh = _verdict(entry, entry.reason, publication, known=known, fresh=True)
        cached = _Cached(*identity, settled, seen, fresh, fresh, *window, wall)
        last, floor, on_expiry = self._memory, entry, publication.on_expiry
        if not _holds(cached) and last.instance is not None:  # what was never in force cannot lower what was
            floor = max(entry, last.floor, key=lambda one: one.severity)
            on_expiry = max(on_expiry, last.on_expiry, key=RANK.__getitem__)
        self._memory = _Memory(
            floor, on_expiry, publication.sequence, publication.decision_sequence, known, publication.instance, digest, cached.until_ns
        )
        return replace(cached, stale=self._closed(why))

    def _window(self, publication: Publication, now: int) -> tuple[tuple[int, int], tuple[int, int] | None, str]:
        """Boot-time ns in which it holds, wall ns in which it must hold besides, and what to say outside of them."""
        expired = f"expired: publication {publication.sequence} is not of the last {publication.ttl_ns / 1e9:g} s"
        if publication.boot_id == self._boot_id:
            start = publication.issued_boottime_ns
            return (start, start + publication.ttl_ns), None, expired
        if not self._remote:
            return (0, 0), None, f"stale: publication {publication.sequence} is of another boot"
        end = publication.issued_ns + publication.ttl_ns
        until = now + min(end - time.time_ns(), publication.ttl_ns + AHEAD_NS)
        if self._memory.sequence == publication.sequence:  # looking again must not prolong it
            until = self._memory.until_ns
        return (0, until), (publication.issued_ns - AHEAD_NS, end), expired

    def _closed(self, why: str) -> Verdict:
        """As on expiry."""
        memory = self._memory
        entry = memory.floor
        if RANK[memory.on_expiry] > RANK[entry.action]:
            stop = memory.on_expiry in STOPS
            entry = Entry(action=memory.on_expiry, trading_enabled=not stop, size_multiplier=0.0 if stop else 1.0, reason="")
        said = f"; last in force: {memory.floor.action} (sequence {memory.sequence})" if memory.instance is not None else ""
        return Verdict(
            action=entry.action,
            trading_enabled=entry.trading_enabled,
            size_multiplier=entry.size_multiplier,
            reason=why + said,
            sequence=max(memory.sequence, 0),
            decision_sequence=max(memory.decision_sequence, 0),
            fresh=False,
            known=memory.known,
        )


def _trust(folder: os.stat_result, file: os.stat_result) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise _Untrusted("not a regular file")
    if file.st_size > MAX_BYTES:
        raise _Untrusted(f"over {MAX_BYTES} bytes")
    if file.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Untrusted("the file is writable by others")
    if folder.st_mode & stat.S_IWOTH or (folder.st_mode & stat.S_IWGRP and not folder.st_mode & stat.S_ISVTX):
        raise _Untrusted("the folder is writable by others")
    if file.st_uid not in {0, folder.st_uid, os.geteuid()}:
        raise _Untrusted("the file belongs to somebody else")


def _holds(cached: _Cached) -> bool:
    if not cached.from_ns <= time.clock_gettime_ns(_BOOTTIME) < cached.until_ns:
        return False
    return cached.wall is None or cached.wall[0] <= time.time_ns() < cached.wall[1]


def _answer(cached: _Cached) -> Verdict:
    return cached.fresh if _holds(cached) else cached.stale


def _verdict(entry: Entry, reason: str, publication: Publication, *, known: bool, fresh: bool) -> Verdict:
    return Verdict(
        action=entry.action,
        trading_enabled=entry.trading_enabled,
        size_multiplier=entry.size_multiplier,
        reason=reason,
        sequence=publication.sequence,
        decision_sequence=publication.decision_sequence,
        fresh=fresh,
        known=known,
    )


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, ValueError):
        return None


_GATES: "weakref.WeakSet[Gate]" = weakref.WeakSet()


def _unlock_in_child() -> None:
    """A fork copies a lock that another thread holds, and nobody is left to release it."""
    for gate in list(_GATES):
        gate._lock = threading.RLock()  # noqa: SLF001


os.register_at_fork(after_in_child=_unlock_in_child)
__all__ = ["ACTIONS", "Gate", "Verdict"]
