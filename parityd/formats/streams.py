"""Compressed bytes -> plain bytes, and the proof that all of them are there.

1. `checked` reads a stream to its end before anybody else does: damage and bombs are found before a record is taken.
2. What is held at once is bounded whatever the input: zlib is asked for so many bytes, zstd is fed in crumbs (a block of 4 bytes may hold 128 KiB).
3. A stream that ends early, has bytes behind its end that are no further member, or fails its checksum is damaged.
"""

import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

import zstandard

from parityd.formats.port import Limits, Unreadable

SUFFIXES = (".gz", ".zst")
_PIECE = 256 << 10
_CRUMB = 1 << 10
_WINDOW = 128 << 20  # the most that zstd may look back; --long=31 files are refused, not held


class _Unpacker(io.RawIOBase):
    """A readable of plain bytes over a readable of packed ones."""

    def __init__(self, packed: BinaryIO) -> None:
        self.packed = packed
        self.ready = b""

    def readable(self) -> bool:
        return True

    def more(self) -> bytes:
        """The next plain bytes, b"" at the end."""
        raise NotImplementedError

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(self.more, b""))
        if not self.ready:
            self.ready = self.more()
        out, self.ready = self.ready[:size], self.ready[size:]
        return out


class Gunzip(_Unpacker):
    """gzip, of one or more members, zero padding allowed behind them."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(packed)
        self.engine: zlib._Decompress | None = None
        self.input = b""
        self.members = 0

    def more(self) -> bytes:
        while True:
            if not self.input:
                self.input = self.packed.read(_PIECE)
                if not self.input:
                    if self.engine is not None:
                        raise Unreadable("unreadable_file", "the gzip stream ends before its end")
                    if not self.members:
                        raise Unreadable("unreadable_file", "not a gzip stream: it is empty")
                    return b""
            if self.engine is None:
                self.input = self.input.lstrip(b"\0") if self.members else self.input
                if not self.input:
                    continue
                self.engine = zlib.decompressobj(wbits=31)
            try:
                out = self.engine.decompress(self.input, _PIECE)
            except zlib.error as e:
                raise Unreadable("unreadable_file", f"damaged gzip stream: {e}") from None
            self.input = self.engine.unused_data if self.engine.eof else self.engine.unconsumed_tail
            if self.engine.eof:
                self.engine, self.members = None, self.members + 1
            if out:
                return out


class Unzstd(_Unpacker):
    """zstd, of one or more frames."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(packed)
        self.engine: zstandard.ZstdDecompressionObj | None = None
        self.input = b""
        self.at = 0
        self.frames = 0

    def more(self) -> bytes:
        while True:
            if self.at >= len(self.input):
                self.input, self.at = self.packed.read(_PIECE), 0
                if not self.input:
                    if self.engine is not None:
                        raise Unreadable("unreadable_file", "the zstd stream ends before its end")
                    if not self.frames:
                        raise Unreadable("unreadable_file", "not a zstd stream: it is empty")
                    return b""
            if self.engine is None:
                self.engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            crumb = self.input[self.at : self.at + _CRUMB]
            try:
                out = self.engine.decompress(crumb)
            except zstandard.ZstdError as e:
                raise Unreadable("unreadable_file", f"damaged zstd stream: {e}") from None
            self.at += len(crumb)
            if self.engine.eof:
                self.at -= len(self.engine.unused_data)
                self.engine, self.frames = None, self.frames + 1
            if out:
                return out


UNPACKERS: dict[str, Callable[[BinaryIO], _Unpacker]] = {".gz": Gunzip, ".zst": Unzstd}


def unpacked(packed: BinaryIO, suffix: str) -> BinaryIO:
    """Plain bytes from the start of a packed stream."""
    packed.seek(0)
    return UNPACKERS[suffix](packed)  # type: ignore[return-value]


def checked(packed: BinaryIO, suffix: str, limits: Limits) -> int:
    """The length of the plain bytes; `Unreadable` where they are damaged or over the limit."""
    stream = unpacked(packed, suffix)
    total = 0
    while piece := stream.read(_PIECE):
        total += len(piece)
        if total > limits.expanded:
            raise Unreadable("too_long", f"it expands to more than {limits.expanded} bytes")
    return total
