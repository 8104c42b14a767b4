"""One immutable file of sorted 64-bit names with a 32-bit number each: a run of the index.

1. A file is written beside its place, synced and renamed; it is never changed afterwards. `digest` speaks for all of it: of header and tables,
   which hold a checksum of every block.
2. Nothing of it is held in memory but the tables (20 bytes of 512 names). Blocks are read when a name may lie in them, and checked each time.
3. Torn: what is there is not what was written (cut, changed, another file). Nothing is ever answered from such a block.
4. A filter of 7 bits a name (which equal stretches of the name space hold one) keeps six of seven unknown names from touching a block. Of a file
   that this process wrote the upper halves of its names may be held (`heads`): then hardly any does.

Layout: header (4 KiB) · blocks (512 names, 512 numbers) · filter (blocks of 4 KiB) · tables (first names, checksums).
"""

import hashlib
import os
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.hashing import U64

I64 = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Heads = NDArray[np.uint32]
Found = tuple[NDArray[np.bool_], I64]
Chunk = tuple[U64, I64]

MAGIC = "parityd/run/1"
HEAD = 4096
BLOCK = 512  # names
BLOCK_BYTES = BLOCK * 12
FILTER_BYTES = 4096
FILTER_BITS = 8 * FILTER_BYTES
BITS = 7  # of the filter a name
AT_ONCE = 2048  # names looked up at a time
SCANNED = 64  # blocks read at a time in a scan
LAST = np.uint64(2**64 - 1)
_HALF = np.uint64(32)


class TornError(Exception):
    """A file of the index does not hold what was written."""


class Head(msgspec.Struct, frozen=True):
    """What a file says of itself. It covers what was stored under the orders `first` < order <= `last`."""

    magic: str
    kind: str
    first: int
    last: int
    n: int
    bits: int
    top: int  # the largest number
    tables: str  # their SHA-256

    @property
    def blocks(self) -> int:
        return -(-self.n // BLOCK)

    @property
    def filters(self) -> int:
        return self.bits // FILTER_BITS

    @property
    def filter_at(self) -> int:
        return HEAD + self.blocks * BLOCK_BYTES

    @property
    def tables_at(self) -> int:
        return self.filter_at + self.filters * FILTER_BYTES

    @property
    def size(self) -> int:
        return self.tables_at + 12 * self.blocks + 4 * self.filters


class Named(NamedTuple):
    """A file as the store names it."""

    name: str
    digest: str
    first: int
    last: int
    n: int
    top: int


def _bit(keys: U64, bits: int) -> U64:
    """The stretch of the name space that a name lies in."""
    found: U64 = ((keys >> _HALF) * np.uint64(bits)) >> _HALF
    return found


def upper(names: U64) -> Heads:
    """The upper halves of names."""
    return (names >> _HALF).astype(np.uint32)


def sought(names: NDArray[Any], numbers: NDArray[Any], keys: NDArray[Any]) -> Found:
    """Which of the keys are among sorted names, and their numbers."""
    if not len(names):
        return np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.int64)
    at = np.searchsorted(names, keys)
    at[at == len(names)] = 0
    hit: NDArray[np.bool_] = names[at] == keys
    return hit, numbers[at]


def _distinct(ordered: I64) -> I64:
    """The different values of a sorted array."""
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


# --- written --------------------------------------------------------------------------------------------------------


class _Making:
    """A file under way: chunks in, blocks out."""

    def __init__(self, fd: int, most: int) -> None:
        self.fd = fd
        self.n = 0
        self.top = -(2**31)
        self.bits = max(1, -(-most * BITS // FILTER_BITS)) * FILTER_BITS
        self.filter = np.zeros(self.bits // 8, np.uint8)
        self.firsts: list[int] = []
        self.checks: list[int] = []
        self._keys: list[U64] = []
        self._values: list[NDArray[np.int32]] = []
        self._waiting = 0
        _write(fd, b"\0" * HEAD)

    def add(self, keys: U64, values: I64) -> None:
        self._keys.append(keys)
        self._values.append(values.astype(np.int32))
        self._waiting += len(keys)
        self.top = max(self.top, int(values.max()))
        bit = _distinct(_bit(keys, self.bits).astype(np.int64))
        np.bitwise_or.at(self.filter, bit >> 3, (1 << (bit & 7)).astype(np.uint8))
        if self._waiting >= SCANNED * BLOCK:
            self._put(self._waiting // BLOCK * BLOCK)

    def _put(self, upto: int) -> None:
        keys, values = np.concatenate(self._keys), np.concatenate(self._values)
        self._keys, self._values, self._waiting = [keys[upto:]], [values[upto:]], len(keys) - upto
        self.n += min(upto, len(keys))
        body = []
        for at in range(0, min(upto, len(keys)), BLOCK):
            k, v = keys[at : min(at + BLOCK, upto)], values[at : min(at + BLOCK, upto)]
            short = BLOCK - len(k)
            block = k.tobytes() + LAST.tobytes() * short + v.tobytes() + b"\0\0\0\0" * short
            self.firsts.append(int(k[0]))
            self.checks.append(zlib.crc32(block))
            body.append(block)
        _write(self.fd, b"".join(body))

    def done(self, kind: str, first: int, last: int) -> tuple[Head, str]:
        if self._waiting:
            self._put(self._waiting)
        whole = self.filter.tobytes()
        checks = [zlib.crc32(whole[at : at + FILTER_BYTES]) for at in range(0, len(whole), FILTER_BYTES)]
        tables = np.array(self.firsts, np.uint64).tobytes() + np.array([*self.checks, *checks], np.uint32).tobytes()
        head = Head(MAGIC, kind, first, last, self.n, self.bits, self.top, hashlib.sha256(tables).hexdigest())
        _write(self.fd, whole + tables)
        said = msgspec.json.encode(head).ljust(HEAD)
        if os.pwrite(self.fd, said, 0) != HEAD:
            raise OSError("a header was written in part")
        os.fsync(self.fd)
        return head, hashlib.sha256(said).hexdigest()


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def write(folder: Path, kind: str, first: int, last: int, chunks: Iterable[Chunk], most: int) -> Named:
    """A new file of sorted chunks (names rise, each once; at most `most` of them), in its place and durable. OSError leaves nothing behind."""
    name = f"{kind}-{first}-{last}.run"
    beside = folder / f".{name}.part"
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        made = _Making(fd, most)
        for keys, values in chunks:
            if len(keys):
                made.add(keys, values)
        head, digest = made.done(kind, first, last)
        beside.rename(folder / name)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    sync = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(sync)
    finally:
        os.close(sync)
    return Named(name, digest, first, last, head.n, head.top)


# --- read -----------------------------------------------------------------------------------------------------------


class RunFile:
    """A file that was written, open."""

    def __init__(self, folder: Path, named: Named, heads: Heads | None = None) -> None:
        self.named, self.heads = named, heads
        try:
            self._fd = os.open(folder / named.name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TornError(f"{named.name}: {error.strerror}") from error
        weakref.finalize(self, os.close, self._fd)
        said = self._bytes(0, HEAD)
        if hashlib.sha256(said).hexdigest() != named.digest:
            raise TornError(f"{named.name} is another file")
        self.head = h = msgspec.json.decode(said, type=Head)
        tables = self._bytes(h.tables_at, h.size - h.tables_at)
        if os.fstat(self._fd).st_size != h.size or hashlib.sha256(tables).hexdigest() != h.tables:
            raise TornError(f"{named.name} is cut or changed")
        self._firsts = np.frombuffer(tables, np.uint64, h.blocks)
        self._checks = np.frombuffer(tables, np.uint32, h.blocks, 8 * h.blocks)
        self._filter_checks = np.frombuffer(tables, np.uint32, h.filters, 12 * h.blocks)

    def __len__(self) -> int:
        return self.head.n

    def _bytes(self, at: int, size: int) -> bytes:
        try:
            data = os.pread(self._fd, size, at)
        except OSError as error:
            raise TornError(f"{self.named.name}: {error.strerror}") from error
        if len(data) != size:
            raise TornError(f"{self.named.name} is cut")
        return data

    def _blocks(self, which: I64, at: int, size: int, checks: NDArray[np.uint32]) -> Bytes:
        """These blocks, proven. Shape (len(which), size)."""
        out = np.empty((len(which), size), np.uint8)
        if not len(which):
            return out
        edges = np.flatnonzero(np.diff(which) != 1) + 1
        for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(which)], strict=True):
            data = self._bytes(at + int(which[begin]) * size, (end - begin) * size)
            out[begin:end] = np.frombuffer(data, np.uint8).reshape(-1, size)
        for block, check in zip(out, checks[which].tolist(), strict=True):
            if zlib.crc32(block.data) != check:
                raise TornError(f"{self.named.name} does not hold what was written")
        return out

    def _entries(self, which: I64) -> Chunk:
        """Names and numbers of these blocks; behind the last name there may be more of `LAST`."""
        raw = self._blocks(which, HEAD, BLOCK_BYTES, self._checks)
        keys = np.ascontiguousarray(raw[:, : 8 * BLOCK]).view(np.uint64).ravel()
        return keys, np.ascontiguousarray(raw[:, 8 * BLOCK :]).view(np.int32).ravel().astype(np.int64)

    def find(self, keys: U64) -> Found:
        """For sorted names: (found, number)."""
        found, value = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.int64)
        for at in range(0, len(keys), AT_ONCE):
            likely = at + np.flatnonzero(self._likely(keys[at : at + AT_ONCE]))
            if len(likely):
                found[likely], value[likely] = self._look(keys[likely])
        return found, value

    def _likely(self, keys: U64) -> NDArray[np.bool_]:
        """What the upper halves do not rule out, or the filter."""
        if self.heads is not None:
            return sought(self.heads, self.heads, upper(keys))[0]
        bit = _bit(keys, self.head.bits).astype(np.int64)
        block = bit // FILTER_BITS
        which = _distinct(block)
        data = self._blocks(which, self.head.filter_at, FILTER_BYTES, self._filter_checks)
        octet = data[np.searchsorted(which, block), bit % FILTER_BITS >> 3]
        likely: NDArray[np.bool_] = (octet >> (bit & 7).astype(np.uint8) & 1).astype(np.bool_)
        return likely

    def _look(self, keys: U64) -> Found:
        block = np.searchsorted(self._firsts, keys, side="right") - 1
        which = _distinct(block[block >= 0])
        names, numbers = self._entries(which)
        if len(which) and which[-1] == self.head.blocks - 1 and self.head.n % BLOCK:
            names = names[: self.head.n % BLOCK - BLOCK]
        return sought(names, numbers, keys)

    def scan(self) -> Iterator[Chunk]:
        """Everything, in order, some 32,000 names at a time."""
        for at in range(0, self.head.blocks, SCANNED):
            which = np.arange(at, min(at + SCANNED, self.head.blocks))
            keys, values = self._entries(which)
            n = min(len(keys), self.head.n - at * BLOCK)
            yield keys[:n], values[:n]
