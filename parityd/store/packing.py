"""Columns of numbers and text -> few bytes, and exactly back.

1. What comes out equals what went in (see `codecs`), None and "" apart.
2. Below SMALL rows speed counts more than size: the columns' bytes as they are.
3. Everything is sealed with a checksum: SQLite has none, and a bit that flipped on the disk must be found when it is read. (That of zstd
   does not cover its header: one flipped bit there makes an empty answer.)
"""

import threading
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from parityd.core.text import TextColumn, raw
from parityd.store.codecs import Spec, Tape, get_floats, get_ints, get_texts, put_floats, put_ints, put_table, put_texts, text_of
from parityd.store.errors import StoreBroken
from parityd.store.layouts import LAYOUTS, NUMBERS

SMALL = 64


class Table(NamedTuple):
    """Texts of which there are few: of each its place among them."""

    texts: list[str]
    codes: NDArray[np.int64]


Column = NDArray[Any] | TextColumn | Table | list[Any]

_local = threading.local()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def seal(data: bytes) -> bytes:
    """Bytes with their checksum (CRC-32) behind them."""
    return data + zlib.crc32(data).to_bytes(4, "little")


def unseal(data: bytes) -> memoryview:
    """StoreBroken where the bytes are not what was written."""
    inside = memoryview(data)[:-4]
    if len(data) < 4 or zlib.crc32(inside) != int.from_bytes(data[-4:], "little"):
        raise StoreBroken("a stored value does not hold what was written")
    return inside


def squeeze(data: bytes) -> bytes:
    """Compressed (zstd level 1) and sealed."""
    made = getattr(_local, "compressor", None)
    if made is None:
        made = _local.compressor = zstandard.ZstdCompressor(level=1)
    return seal(made.compress(data))


def unsqueeze(data: bytes) -> bytes:
    """StoreBroken where the bytes are not what was written."""
    frame = unseal(data)
    made = getattr(_local, "decompressor", None)
    if made is None:
        made = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        return bytes(made.decompress(frame))
    except zstandard.ZstdError as error:
        raise StoreBroken(f"a stored value does not hold what was written: {error}") from error


# --- a table of columns -------------------------------------------------------------------------------------------


def _put(column: Column, body: list[bytes]) -> Spec:
    if isinstance(column, np.ndarray):
        code = column.dtype.str
        if code == "<f8":
            return (code, put_floats(np.ascontiguousarray(column), body))
        if code == "<u8":
            column = column.view(np.int64)
        return (code, put_ints(np.ascontiguousarray(column).astype(np.int64), body))
    if isinstance(column, Table):
        return ("text", put_table(column.texts, column.codes, body))
    if isinstance(column, TextColumn):
        return ("text", put_texts(column, body))
    if column.count(None) == len(column):
        return ("lists", [None], put_ints(np.zeros(len(column), np.int64), body))
    # lists of text, or None: a table of what occurs
    keys = [None if v is None else tuple(map(raw, v)) for v in column]
    table = {k: i for i, k in enumerate(dict.fromkeys(keys))}
    return ("lists", list(table), put_ints(np.fromiter(map(table.__getitem__, keys), np.int64, len(keys)), body))


def _get(spec: Spec, tape: Tape, n: int) -> Column:
    kind = spec[0]
    if kind == "text":
        return get_texts(spec[1], tape, n)
    if kind == "lists":
        table = [None if k is None else [text_of(t) for t in k] for k in spec[1]]
        return [None if (v := table[k]) is None else list(v) for k in get_ints(spec[2], tape, n).tolist()]
    if kind == "<f8":
        return get_floats(spec[1], tape, n)
    values = get_ints(spec[1], tape, n)
    return values.view(np.uint64) if kind == "<u8" else values.astype(np.dtype(kind))


def _put_plain(column: Column) -> Spec:
    if isinstance(column, np.ndarray):
        return (column.dtype.str, column.tobytes())
    if isinstance(column, Table):
        return ("text", [raw(column.texts[k]) for k in column.codes.tolist()])
    return ("text", [raw(v) if type(v) is str else None if v is None else [raw(t) for t in v] for v in column])


def _get_plain(spec: Spec) -> Column:
    kind, data = spec
    if kind != "text":
        return np.frombuffer(data, np.dtype(kind)).copy()
    return [text_of(v) if isinstance(v, bytes) else None if v is None else [text_of(t) for t in v] for v in data]


def pack(columns: Mapping[str, Column], n: int) -> bytes:
    """Columns of n values each (arrays, or lists of str or of list[str] | None) -> bytes, not yet squeezed."""
    names: int | tuple[str, ...] = tuple(columns)
    names = NUMBERS.get(names, names)  # type: ignore[arg-type]
    if n < SMALL:
        return _encode((n, names, [_put_plain(c) for c in columns.values()]))
    body: list[bytes] = []
    specs = [_put(c, body) for c in columns.values()]
    head = _encode((n, names, specs))
    return b"".join([head, *body, len(head).to_bytes(4, "little")])


def unpack(data: bytes) -> dict[str, Column]:
    """The inverse of `pack`."""
    plain = data[1] < SMALL  # the count as one byte: the plain form has no columns behind its head
    size = len(data) if plain else int.from_bytes(data[-4:], "little")
    n, names, specs = _decode(memoryview(data)[:size])
    names = LAYOUTS[names] if isinstance(names, int) else names
    if plain:
        return {name: _get_plain(spec) for name, spec in zip(names, specs, strict=True)}
    tape = Tape(data, size)
    return {name: _get(spec, tape, n) for name, spec in zip(names, specs, strict=True)}
