"""The inboxes: what waits in `spool/<book>`, what is still being written, what can never be read.

1. A scan follows no link, waits for nothing and opens nothing but the tail of a young line file; errors of a folder are values.
2. Only a regular file of one link and within the limit is ready; everything else that a writer finished is refused, whole.
3. Names that begin with "." or end in .tmp or .part belong to their writers and are never touched.
4. A file is what it was when it was seen (device, inode, size, times): changed since, it is left for the next scan.
5. It knows nothing of what the files hold.
"""

import errno
import heapq
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from parityd.edges.departures import Departures
from parityd.edges.files import FolderId, folder_id, open_readable, safe_name
from parityd.edges.waiting import Key, SpoolLimits, Unfit, Unopened, Waiting, key_of, unchanged

_LINES = (".jsonl", ".csv")
_NOT_OURS = (errno.EACCES, errno.EPERM)
_NOT_A_FILE = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR)
_UNFINISHED = (".tmp", ".part")
Place = tuple[str, int]
"""A file's name and inode: the same file, whatever is written to it."""
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one inbox. `count` and `oldest_ns` are of all that waits, also beyond the limit; `error` "" = it worked."""

    book: str
    folder: FolderId | None = None
    ready: tuple[Waiting, ...] = ()  # in order of the names' bytes
    left: tuple[Waiting, ...] = ()  # still being written
    refused: tuple[Unfit, ...] = ()
    count: int = 0
    oldest_ns: int | None = None
    error: str = ""


def _unfit(facts: os.stat_result, limits: SpoolLimits) -> tuple[str, str] | None:
    for test, what in _KINDS:
        if test(facts.st_mode):
            return "unreadable_file", f"{what}, not a regular file"
    if facts.st_size > limits.file_bytes:
        return "too_long", f"{facts.st_size} bytes, more than {limits.file_bytes}"
    return None


def _unfit_if_old(name: str, fd: int, facts: os.stat_result) -> tuple[str, str] | None:
    """What a writer may still mend in a moment: a second link, a mode."""
    if facts.st_nlink > 1:
        return "unreadable_file", f"a file of {facts.st_nlink} links"
    if not os.access(name, os.R_OK, dir_fd=fd, effective_ids=True):
        return "unreadable_file", f"no permission to read it (owner {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o})"
    return None


class Spool(Departures):
    """The inboxes below one data directory, and (inherited) the ways out of them."""

    def __init__(self, data_dir: Path, limits: SpoolLimits | None = None) -> None:
        super().__init__(data_dir, limits)
        self.first_seen: dict[Path, dict[Place, int]] = {}  # so that a file which never stops changing grows old as well

    def inbox(self, book: str) -> Path:
        return self.data_dir / "spool" / book

    def scan(self, book: str, now_ns: int, limit: int | None = None, folder: Path | None = None) -> Scan:
        """What waits now; at most `limit` entries are returned, the first by name."""
        inbox = folder if folder is not None else self.inbox(book)
        try:
            fd = os.open(inbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            return Scan(book=book, error=f"{inbox}: {e.strerror}")
        try:
            return self._sort_out(book, inbox, fd, now_ns, limit)
        except OSError as e:
            return Scan(book=book, error=f"{inbox}: {e.strerror}")
        finally:
            os.close(fd)

    def _sort_out(self, book: str, inbox: Path, fd: int, now_ns: int, limit: int | None) -> Scan:
        seen = _Tally(now_ns, self.first_seen.get(inbox, {}))
        with os.scandir(fd) as listing:
            entries = seen.over(listing, self.stuck)
            chosen = sorted(entries, key=_order) if limit is None else heapq.nsmallest(limit, entries, key=_order)
        self.first_seen[inbox] = seen.first_seen
        ready: list[Waiting] = []
        left: list[Waiting] = []
        refused: list[Unfit] = []
        for name, facts in chosen:
            path, key = inbox / name, key_of(facts)
            waiting = Waiting(book=book, path=path, name=safe_name(name), key=key, since_ns=min(now_ns, facts.st_ctime_ns))
            unfit = _unfit(facts, self.limits)
            if unfit is None and (mendable := _unfit_if_old(name, fd, facts)) is not None:
                if abs(now_ns - facts.st_ctime_ns) < self.limits.settle_ns:
                    left.append(waiting)
                    continue
                unfit = mendable
            if unfit is not None:
                refused.append(Unfit(book=book, path=path, name=waiting.name, key=key, code=unfit[0], reason=unfit[1]))
            elif self._growing(name, fd, facts, now_ns):
                left.append(waiting)
            else:
                ready.append(waiting)
        found = Scan(book=book, folder=folder_id(fd), ready=tuple(ready), left=tuple(left), refused=tuple(refused))
        return msgspec.structs.replace(found, count=seen.count, oldest_ns=seen.oldest_ns)

    def _growing(self, name: str, fd: int, facts: os.stat_result, now_ns: int) -> bool:
        """Young, and empty or without the end of its last line. A time in the far future is no youth."""
        if abs(now_ns - facts.st_mtime_ns) >= self.limits.settle_ns:
            return False
        if facts.st_size == 0:
            return True
        if not name.lower().endswith(_LINES):
            return False
        try:
            handle = open_readable(name, dir_fd=fd)
        except OSError:
            return True
        try:
            return os.pread(handle, 1, facts.st_size - 1) not in (b"\n", b"\r")
        finally:
            os.close(handle)

    def open_stable(self, waiting: Waiting) -> BinaryIO | Unopened:
        """The file that the scan saw, or why not. The caller closes it and asks `unchanged` after reading."""
        try:
            fd = open_readable(waiting.path)
        except OSError as e:
            if e.errno in _NOT_OURS:
                return Unopened(kind="unreadable", reason=e.strerror or str(e))
            if e.errno in _NOT_A_FILE:
                return Unopened(kind="gone" if e.errno == errno.ENOENT else "changed", reason=e.strerror or str(e))
            raise  # no descriptors left, a failing disk: not the file's fault
        handle = os.fdopen(fd, "rb")
        if not unchanged(handle, waiting):
            handle.close()
            return Unopened(kind="changed", reason="it changed since it was seen")
        return handle


class _Tally:
    """Counts all that pass, and how long the oldest has waited, while only a few are kept."""

    def __init__(self, now_ns: int, known: Mapping[Place, int]) -> None:
        self.now_ns = now_ns
        self.known = known
        self.first_seen: dict[Place, int] = {}
        self.count = 0
        self.oldest_ns: int | None = None

    def over(self, listing: Iterable[os.DirEntry[str]], stuck: dict[Key, str]) -> Iterator[tuple[str, os.stat_result]]:
        for entry in listing:
            name = entry.name
            if name[0] == "." or name.endswith(_UNFINISHED) or name == "lost+found":
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stuck and key_of(facts) in stuck:
                continue
            self.count += 1
            place = (name, facts.st_ino)
            since = min(self.now_ns, facts.st_ctime_ns, self.known.get(place, self.now_ns))
            self.first_seen[place] = since
            if self.oldest_ns is None or since < self.oldest_ns:
                self.oldest_ns = since
            yield name, facts


def _order(entry: tuple[str, os.stat_result]) -> bytes:
    return os.fsencode(entry[0])
