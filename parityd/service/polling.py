"""`mode = "poll"`: files that an engine changes in place, above all databases: a copy of one moment whenever what they tell is new.

1. A database is copied by SQLite's own backup, read-only, its locks honoured; busy for `BUSY_SECONDS` means the next round. An engine may need
   several transactions to say one thing: the copy is made when nothing was written for a second, or after three.
2. What a copy tells is compared, not its bytes: a database that changes every second and holds the same fills is not delivered again.
3. Any other file is taken whole, as it stood unchanged while it was read; one that cannot be read is given time before it counts as broken.
4. While `MOST` files of a source wait in the spool, nothing is added.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import msgspec
import numpy as np
import zstandard

from parityd.core.columns import Block, Bounds
from parityd.core.hashing import U64
from parityd.edges.files import ensure_folder
from parityd.edges.waiting import Key, key_of
from parityd.formats import Context, Limits, Unreadable, read
from parityd.formats.containers import KNOWN, suffixes
from parityd.formats.sqlite import snapshot
from parityd.formats.tail import Place
from parityd.service.deliveries import Deliveries
from parityd.service.reading import as_source
from parityd.service.targets import Round, Targets, opened
from parityd.settings_service import Source

MOST = 2
BUSY_SECONDS = 5.0
SETTLED_NS = 2_000_000_000
STILL_NS = 1_000_000_000
BROKEN_NS = 10_000_000_000
MAGIC = b"SQLite format 3\0"
_LINES = (".jsonl", ".ndjson", ".csv", ".log", ".fix", ".txt")
_CHUNK = 1 << 20


class Poll:
    """One source's files."""

    def __init__(self, name: str, source: Source, deliveries: Deliveries, targets: Targets, limits: Limits, now: Callable[[], int]) -> None:
        self.name, self.source, self.d, self.targets, self.limits, self.now = name, source, deliveries, targets, limits, now
        self.quiet: dict[str, tuple[Key | None, ...]] = {}  # as they were when they told nothing new
        self.copy = deliveries.folder / f"{name}.copy"

    def round(self) -> Round:
        """Take what is new."""
        out = Round()
        if not self.d.settle():
            self.quiet.clear()
        for path in self.targets.paths(out):
            if self.d.waiting >= MOST:
                out.more = True
                break
            out.attempt(path, lambda path=path: self._file(path, out))  # type: ignore[misc]
        return out

    def _file(self, path: str, out: Round) -> None:
        seen = _signature(path)
        if self.quiet.get(path) == seen:
            return
        with opened(path) as handle:
            head = handle.read(len(MAGIC))
            if not head:
                return
            done = self._database(path, out) if head == MAGIC else self._plain(path, handle, out)
        if done and self.now() - _newest(seen) > SETTLED_NS:
            self.quiet[path] = seen

    def _database(self, path: str, out: Round) -> bool:
        ensure_folder(self.copy.parent)
        self._forget()
        for _ in range(3):
            age = self.now() - _newest(_signature(path))
            if not 0 <= age < STILL_NS:
                break
            time.sleep((STILL_NS - age) / 1e9)
        try:
            if not snapshot(os.path.realpath(path), self.copy, busy_seconds=BUSY_SECONDS):
                out.problems.append(f"{path}: busy for {BUSY_SECONDS:g} s: tried again in the next round")
                return False
            with self.copy.open("rb") as handle:
                tells, _ = self._tells(handle, ".sqlite")
                if self._known(path, tells):
                    return True
                handle.seek(0)
                packed = zstandard.ZstdCompressor(level=3).read_to_iter(handle)
                out.bytes += self.d.deliver(self._bounded(path, packed), path, Place(digest=tells), ".sqlite.zst")
        finally:
            self._forget()
        return True

    def _plain(self, path: str, handle: BinaryIO, out: Round) -> bool:
        before = key_of(os.fstat(handle.fileno()))
        age = self.now() - before[3]
        suffix = suffix_of(path, handle)
        if suffix in _LINES and 0 <= age < SETTLED_NS and os.pread(handle.fileno(), 1, before[2] - 1) not in (b"\n", b"\r"):
            return False
        handle.seek(0)
        tells, broken = self._tells(handle, suffix)
        if key_of(os.fstat(handle.fileno())) != before or (broken and 0 <= age < BROKEN_NS):
            return False
        if self._known(path, tells):
            return True

        def chunks() -> Iterator[bytes]:
            handle.seek(0)
            while chunk := handle.read(_CHUNK):
                yield chunk
            if key_of(os.fstat(handle.fileno())) != before:
                raise OSError(0, "it changed while it was read", path)

        out.bytes += self.d.deliver(self._bounded(path, chunks()), path, Place(digest=tells), suffix)
        return True

    def _known(self, path: str, tells: str) -> bool:
        place = self.d.places.get(path)
        return place is not None and place.digest == tells

    def _bounded(self, path: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > self.limits.file:
                raise OSError(0, f"more than {self.limits.file} bytes ([limits] file)", path)
            yield chunk

    def _tells(self, handle: BinaryIO, suffix: str) -> tuple[str, bool]:
        """(a digest of the records, whether it could not be read)."""
        source = as_source(self.name, self.source)
        context = Context(book=self.d.book, name="file" + suffix, bounds=Bounds(latest=2**62), limits=self.limits, source=source, told={})
        try:
            return told(read(handle, context)), False
        except Unreadable as e:
            return hashlib.sha256(f"{e.code} {e.reason}".encode("utf-8", "backslashreplace")).hexdigest(), True

    def _forget(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.copy}{suffix}")


def told(blocks: Iterable[Block]) -> str:
    """A digest of what blocks tell, whatever its order."""
    found = hashlib.sha256()
    words: list[U64] = []
    texts: list[bytes] = []
    for b in blocks:
        words += [c.content for c in (b.decisions, b.fills) if c is not None]
        texts += [msgspec.json.encode(line.record) for line in b.rare]
        texts += [f"{r.code} {r.reason} {r.raw}".encode("utf-8", "backslashreplace") for r in b.refusals]
    if words:
        found.update(np.sort(np.concatenate(words)).tobytes())
    for text in sorted(texts):
        found.update(len(text).to_bytes(8, "big") + text)
    return found.hexdigest()


def _signature(path: str) -> tuple[Key | None, ...]:
    """A file and its write-ahead log as they stand."""
    found: list[Key | None] = []
    for name in (path, path + "-wal"):
        try:
            found.append(key_of(os.stat(name)))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def _newest(signature: tuple[Key | None, ...]) -> int:
    return max((k[3] for k in signature if k is not None), default=0)


def suffix_of(path: str, handle: BinaryIO) -> str:
    suffix, packed = suffixes(os.path.basename(path))
    if suffix in KNOWN:
        return suffix + packed
    handle.seek(0)
    head = handle.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return ".json" if head in (b"{", b"[") else ".log"
