"""Records, shelves, summaries and small values -> blobs, and exactly back.

1. Record columns leave out their names (`key`, `content`) where the file's identities say them already.
2. A segment holds the rows of several shelves; its `names` blob (what a row is called on either side) is apart, so that the index of
   places is rebuilt without reading rows.
3. Times of a row are stored as distances from its trade time.
4. A summary keeps its latencies as one array, whatever pieces it was summed from.
"""

import zlib
from dataclasses import fields
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import Columns
from parityd.core.hashing import U64
from parityd.core.records import NO_TS, Line
from parityd.core.rows import DEAD, ROW, TIMES, Rows
from parityd.core.summary import FIELDS, PER_SYMBOL, ShelfSummary, Summary
from parityd.store.entries import FileRecords, Piece
from parityd.store.errors import StoreBroken
from parityd.store.packing import Column, pack, squeeze, unpack, unsqueeze

C = TypeVar("C", bound=Columns)
I64 = NDArray[np.int64]

HAS_B, HAS_L, TWO, GONE_ROW, OTHER_PK = 1, 2, 4, 8, 16
ROW_FIELDS = tuple(f for f in ROW.names or () if f not in ("bkey", "lkey", "pk"))
_RELATIVE = tuple(f for f in TIMES if f != "t")
_SANE = 2**61
_lines = msgspec.msgpack.Decoder(list[Line])
_encode = msgspec.msgpack.Encoder().encode


def seal(data: bytes) -> bytes:
    """A small value with its checksum."""
    return data + zlib.crc32(data).to_bytes(4, "little")


def unseal(data: bytes) -> bytes:
    """StoreBroken where the value is not what was written."""
    if len(data) < 4 or zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        raise StoreBroken("a stored value does not hold what was written")
    return data[:-4]


# --- records of a file --------------------------------------------------------------------------------------------


def _at(c: Columns, known: FileRecords) -> int:
    """Where in the file's identities these columns' names stand, or -1."""
    n = len(c)
    for at in np.flatnonzero(known.keys == c.key[0])[:4].tolist():
        if np.array_equal(known.keys[at : at + n], c.key) and np.array_equal(known.contents[at : at + n], c.content):
            return int(at)
    return -1


def put_columns(c: Columns | None, known: FileRecords) -> bytes | None:
    """Fills or decisions of a file."""
    if c is None or len(c) == 0:
        return None
    at = _at(c, known)
    left = ("key", "content") if at >= 0 else ()
    table: dict[str, Column] = {f.name: getattr(c, f.name) for f in fields(c) if f.name not in left}
    return squeeze(_encode((at, pack(table, len(c)))))


def get_columns(kind: type[C], data: bytes | None, keys: U64, contents: U64) -> C | None:
    """The inverse of `put_columns`, with the identities of the file."""
    if data is None:
        return None
    at, packed = msgspec.msgpack.decode(unsqueeze(data))
    table: dict[str, Any] = unpack(packed)
    if at >= 0:
        n = len(table["line"])
        table["key"], table["content"] = keys[at : at + n].copy(), contents[at : at + n].copy()
    return kind(**table)


def put_rare(lines: list[Line]) -> bytes | None:
    return squeeze(_encode(lines)) if lines else None


def get_rare(data: bytes | None) -> list[Line]:
    return [] if data is None else _lines.decode(unsqueeze(data))


def put_identities(keys: U64, contents: U64) -> bytes:
    return squeeze(keys.tobytes() + contents.tobytes())


def get_identities(data: bytes, n: int) -> tuple[U64, U64]:
    both = np.frombuffer(unsqueeze(data), np.uint64)
    if len(both) != 2 * n:
        raise StoreBroken("the identities of a file are not as many as it says")
    return both[:n], both[n:]


# --- shelves ------------------------------------------------------------------------------------------------------


def _form(rows: Rows) -> tuple[NDArray[np.uint8], U64, U64, U64]:
    """(form, first names, second names, other pks) of rows."""
    b, l, pk = rows["bkey"], rows["lkey"], rows["pk"]  # noqa: E741
    has_b, has_l = b != 0, l != 0
    first = np.where(has_b, b, l)
    two = has_b & has_l & (b != l)
    other = pk != first
    form = has_b * HAS_B + has_l * HAS_L + two * TWO + ((rows["flags"] & DEAD) != 0) * GONE_ROW + other * OTHER_PK
    return form.astype(np.uint8), first, l[two], pk[other]


def put_names(rows: Rows) -> bytes:
    """What each row is called: form (a byte a row), then 64-bit names."""
    form, first, second, pks = _form(rows)
    return squeeze(b"".join([form.tobytes(), first.tobytes(), second.tobytes(), pks.tobytes()]))


def _split_names(data: bytes, n: int) -> tuple[NDArray[np.uint8], U64, U64, U64]:
    raw = unsqueeze(data)
    form = np.frombuffer(raw, np.uint8, n)
    names = np.frombuffer(raw, np.uint64, offset=n)
    two, other = int(np.count_nonzero(form & TWO)), int(np.count_nonzero(form & OTHER_PK))
    if len(names) != n + two + other:
        raise StoreBroken("the names of a segment are not as many as its rows")
    return form, names[:n], names[n : n + two], names[n + two :]


def living_names(data: bytes, numbers: I64) -> tuple[U64, I64]:
    """(names, shelf numbers) of the living rows of a segment; `numbers`: the shelf of each row."""
    form, first, second, _ = _split_names(data, len(numbers))
    alive = (form & GONE_ROW) == 0
    named = alive & ((form & (HAS_B | HAS_L)) != 0)
    two = (form & TWO) != 0
    both = alive[two]
    if named.all() and not len(second):
        return first, numbers
    return np.concatenate([first[named], second[both]]), np.concatenate([numbers[named], numbers[two][both]])


def _starts(rows: Rows, at: I64, sizes: list[int]) -> I64:
    """Where each row's text would begin if the texts of its piece were joined in order."""
    ends = np.cumsum(rows["tid_len"].astype(np.int64))
    begin = ends - rows["tid_len"]
    return begin - np.repeat(begin[at] if len(at) else at, sizes)


def put_segment(pieces: list[Piece]) -> tuple[int, bytes, bytes]:
    """(rows, names, data) of pieces, each with at least one row."""
    sizes = [len(p[2]) for p in pieces]
    rows = np.concatenate([p[2] for p in pieces]) if len(pieces) > 1 else pieces[0][2]
    n = len(rows)
    t = rows["t"]
    table: dict[str, Column] = {name: rows[name].copy() for name in ROW_FIELDS}
    relative = _can_shift(rows)
    if relative:
        for name in _RELATIVE:
            table[name] = np.where(rows[name] == NO_TS, NO_TS, rows[name] - t)
    at = np.cumsum([0, *sizes[:-1]])
    table["tid_at"] = rows["tid_at"].astype(np.int64) - _starts(rows, at, sizes)
    text = b"".join(p[3] for p in pieces)
    width = int(rows["tid_len"][0])
    flat = bool(width) and len(text) == n * width and bool((rows["tid_len"] == width).all())
    if flat:
        text = np.ascontiguousarray(np.frombuffer(text, np.uint8).reshape(n, width).T).tobytes()
    return n, put_names(rows), squeeze(_encode((sizes, relative, width if flat else 0, pack(table, n), text)))


def _can_shift(rows: Rows) -> bool:
    for name in TIMES:
        known = rows[name][rows[name] != NO_TS] if name != "t" else rows[name]
        if len(known) and not (-_SANE < int(known.min()) and int(known.max()) < _SANE):
            return False
    return True


def get_segment(names: bytes, data: bytes) -> tuple[Rows, bytes]:
    """The rows of all pieces in their order, and all their texts."""
    sizes, relative, width, packed, text = msgspec.msgpack.decode(unsqueeze(data))
    n = sum(sizes)
    table = unpack(packed)
    rows = np.zeros(n, ROW)
    form, first, second, pks = _split_names(names, n)
    rows["bkey"] = np.where(form & HAS_B, first, np.uint64(0))
    rows["lkey"] = np.where((form & HAS_L) != 0, first, np.uint64(0))
    rows["lkey"][(form & TWO) != 0] = second
    rows["pk"] = first
    rows["pk"][(form & OTHER_PK) != 0] = pks
    for name, values in table.items():
        if name != "tid_at" and name in ROW_FIELDS:
            rows[name] = values
    if relative:
        for name in _RELATIVE:
            rows[name] = np.where(rows[name] == NO_TS, NO_TS, rows[name] + rows["t"])
    rows["tid_at"] = np.asarray(table["tid_at"]) + _starts(rows, np.cumsum([0, *sizes[:-1]]), sizes)
    if width:
        text = np.ascontiguousarray(np.frombuffer(text, np.uint8).reshape(width, n).T).tobytes()
    return rows, text


# --- summaries ----------------------------------------------------------------------------------------------------

_F, _P = len(FIELDS), len(PER_SYMBOL)


def _put_part(p: Summary) -> tuple[Any, ...] | None:
    if not (p.s.any() or p.sym or p.latest or p.latency or p.peak or p.peak_w or p.newest != NO_TS):
        return None
    codes = list(p.sym)
    table = b"".join([p.sym[k].tobytes() for k in codes])
    waits = b""
    if p.latency:
        one = np.concatenate(p.latency)
        waits = pack({"latency": one}, len(one))
    return (p.s.tobytes(), p.peak, p.peak_w, p.newest, codes, table, list(p.latest), list(p.latest.values()), waits)


def _get_part(stored: list[Any] | None) -> Summary:
    out = Summary()
    if stored is None:
        return out
    s, out.peak, out.peak_w, out.newest, codes, table, symbols, newest, waits = stored
    out.s = np.frombuffer(s, np.float64).copy()
    values = np.frombuffer(table, np.float64).reshape(len(codes), -1).copy() if codes else ()
    out.sym = dict(zip(codes, values, strict=True))
    out.latest = dict(zip(symbols, newest, strict=True))
    if waits:
        out.latency = [np.asarray(unpack(waits)["latency"])]
    return out


def put_summary(summary: ShelfSummary) -> bytes:
    return squeeze(_encode((_F, _P, summary.spans, [_put_part(p) for p in summary.parts])))


def get_summary(data: bytes) -> ShelfSummary | None:
    """The inverse of `put_summary`; None where it was written with other fields: it is to be summed anew from its rows."""
    f, p, spans, parts = msgspec.msgpack.decode(unsqueeze(data))
    if (f, p) != (_F, _P):
        return None
    out = ShelfSummary.__new__(ShelfSummary)
    out.spans = [(a, b) for a, b in spans]
    out.parts = [_get_part(x) for x in parts]
    return out
