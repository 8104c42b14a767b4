"""Bytes -> blocks of whole lines, numbered, through memory that does not grow with the file.

1. A block holds whole lines and ends with a newline (one is added to an unterminated last line); its size is about `BLOCK`.
2. A line over the limit is never held: it is handed out as `Long` with its beginning, and reading goes on behind it.
3. Every line of the input has a number, blank ones too. A UTF-8 byte order mark at the start is dropped.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.records import Refusal
from parityd.formats.port import RAW_BYTES

BLOCK = 320 << 10
BOM = b"\xef\xbb\xbf"
_NEWLINE = 10


def shown(raw: bytes) -> str:
    r"""Text of a refused line: undecodable bytes as `\xff`, at most 64 KiB."""
    text = raw[:RAW_BYTES].rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    return cut(text)


def cut(text: str) -> str:
    """At most 64 KiB of a text."""
    if len(text) * 4 <= RAW_BYTES:
        return text
    return text.encode("utf-8", "backslashreplace")[:RAW_BYTES].decode("utf-8", "ignore")


class Chunk:
    """Whole lines; `first` is the number of the first one, `octets` the bytes as an array, `ends` the positions of their newlines."""

    __slots__ = ("data", "ends", "first", "octets")

    def __init__(self, first: int, data: bytes) -> None:
        self.first = first
        self.data = data
        self.octets: NDArray[np.uint8] = np.frombuffer(data, np.uint8)
        self.ends: NDArray[np.int64] = np.flatnonzero(self.octets == _NEWLINE)

    def __len__(self) -> int:
        return len(self.ends)

    def lines(self) -> list[bytes]:
        """Each line without its newline."""
        return self.data.split(b"\n")[:-1]

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, with their numbers."""
        for i, line in enumerate(self.lines(), self.first):
            if line and not line.isspace():
                yield i, line

    def text(self, line: int) -> str:
        """A line as a refusal shows it."""
        at = line - self.first
        return shown(self.data[int(self.ends[at - 1]) + 1 if at else 0 : int(self.ends[at])])

    def explain(self, refusals: Iterable[Refusal]) -> list[Refusal]:
        """The refusals in order of line, each with the text that it is about."""
        found = sorted(refusals, key=lambda r: r.line)
        if not found:
            return found
        lines = self.lines()
        return [r if r.raw else msgspec.structs.replace(r, raw=shown(lines[r.line - self.first])) for r in found]


@dataclass(slots=True)
class Long:
    """A line over the limit: its number and its beginning."""

    line: int
    head: bytes

    def refusal(self, limit: int) -> Refusal:
        return Refusal(line=self.line, code="too_long", reason=f"the line is longer than {limit} bytes", raw=shown(self.head))


def _read_full(stream: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end: so blocks are cut alike however the bytes arrive."""
    data = stream.read(size)
    if not data or len(data) == size:
        return data
    parts, have = [data], len(data)
    while have < size and (more := stream.read(size - have)):
        parts.append(more)
        have += len(more)
    return b"".join(parts)


def chunks(stream: BinaryIO, limit: int, first: int = 1, block: int = BLOCK) -> Iterator[Chunk | Long]:
    """Cut a stream into blocks of whole lines."""
    line, rest, skipping, start = first, b"", b"", True
    while data := _read_full(stream, block):
        if start:
            data, start = data.removeprefix(BOM), False
        if skipping:
            at = data.find(b"\n")
            if at < 0:
                continue
            yield Long(line, skipping)
            line, skipping, data = line + 1, b"", data[at + 1 :]
        at = data.rfind(b"\n") + 1
        if at:
            whole, rest = Chunk(line, rest + data[:at]), data[at:]
            line += len(whole)
            yield from _measured(whole, limit)
        else:
            rest += data
        if len(rest) > limit + 1:  # a carriage return may still be part of the line's end
            skipping, rest = rest[: 2 * RAW_BYTES], b""
    if skipping:
        yield Long(line, skipping)
    elif rest:
        yield from _measured(Chunk(line, rest + b"\n"), limit)


def _measured(whole: Chunk, limit: int) -> Iterator[Chunk | Long]:
    """The block, or its parts around lines that are too long."""
    if len(whole.data) <= limit or int(np.diff(whole.ends, prepend=-1).max()) - 1 <= limit:
        yield whole
        return
    good: list[bytes] = []
    for line, text in enumerate(whole.lines(), whole.first):
        if len(text.removesuffix(b"\r")) <= limit:
            good.append(text)
            continue
        if good:
            yield Chunk(line - len(good), b"\n".join(good) + b"\n")
            good = []
        yield Long(line, text[: 2 * RAW_BYTES])
    if good:
        yield Chunk(whole.first + len(whole) - len(good), b"\n".join(good) + b"\n")


def texts_of(stream: BinaryIO, limit: int, first: int, wanted: set[int]) -> Iterator[tuple[int, str]]:
    """Some lines of a stream, as a refusal shows them."""
    left = sorted(wanted)
    for piece in chunks(stream, limit, first):
        if isinstance(piece, Long):
            if piece.line in wanted:
                yield piece.line, shown(piece.head)
            continue
        end = bisect_left(left, piece.first + len(piece))
        if end > bisect_left(left, piece.first):
            lines = piece.lines()
            yield from ((n, shown(lines[n - piece.first])) for n in left[bisect_left(left, piece.first) : end])
