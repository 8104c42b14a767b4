"""Rows of many shelves -> one segment, and exactly back.

1. A segment's `names` blob (what a row is called on either side) is apart, so that the index of places is rebuilt without reading rows.
2. Times of a row are stored as distances from its trade time.
3. Derived columns are stored as distances, in ulps, from what `_expected` makes of the base columns: mostly nothing. `_expected` only has
   to be the same when reading as when writing; it is frozen, and need not follow `attribution`.
4. Small segments are stored as they are.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.fresh import Fresh
from parityd.core.hashing import U64
from parityd.core.records import NO_TS
from parityd.core.rows import DEAD, ROW, TIMES, Rows, Shelf, joined, picked
from parityd.store.entries import Piece
from parityd.store.errors import StoreBroken
from parityd.store.packing import SMALL, Column, pack, squeeze, unpack, unsqueeze

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

HAS_B, HAS_L, TWO, GONE_ROW, OTHER_PK = 1, 2, 4, 8, 16
ROW_FIELDS = tuple(f for f in ROW.names or () if f not in ("bkey", "lkey", "pk"))
_RELATIVE = tuple(f for f in TIMES if f != "t")
_SANE = 2**61
_encode = msgspec.msgpack.Encoder().encode


def _form(rows: Rows) -> tuple[NDArray[np.uint8], U64, U64, U64]:
    """(form, first names, second names, other pks) of rows."""
    b, l, pk = rows["bkey"], rows["lkey"], rows["pk"]
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


def _starts(rows: Rows | Fresh, sizes: list[int]) -> I64:
    """Where each row's text would begin if the texts of its piece were joined in order."""
    size = rows["tid_len"].astype(np.int64)
    begin = np.cumsum(size) - size
    offset: I64 = begin - np.repeat(begin[np.cumsum([0, *sizes[:-1]])], sizes)
    return offset


def _expected(r: Rows | Fresh) -> dict[str, F64]:
    """The usual value of derived columns, from the base columns alone."""
    with np.errstate(all="ignore"):
        s, q, lq = r["side"].astype(np.float64), r["b_q"] * r["alpha"], r["l_q"].copy()
        pb, pl = r["b_not"] / r["b_q"], r["l_not"] / lq
        fee = r["l_fee"] - r["b_fee"] * lq / r["b_q"]
        x = lq * pb
        rest = (q - lq) * s
        start = np.where(r["b_ts"] != NO_TS, r["b_ts"], r["b_first"])
        return {
            "d": s * (pl - pb) / pb * 1e4, "n": q * pb, "x": x, "ln": lq * pl, "own": pb, "fee": fee, "fee_bps": fee / x * 1e4, "oa": rest,
            "ob": -(q - lq) * s * pb - r["b_fee"] * r["alpha"] * (1 - lq / q), "timing_ms": (r["l_first"] - start) / 1e6,
        }  # fmt: skip


def _ulps(values: F64) -> I64:
    return np.ascontiguousarray(values).view(np.int64)


def put_segment(pieces: list[Piece]) -> tuple[int, bytes, bytes]:
    """(rows, names, data) of pieces, each with at least one row."""
    sizes = [len(p[2]) for p in pieces]
    rows = joined([p[2] for p in pieces])
    n = len(rows)
    table: dict[str, Column] = {name: rows[name].copy() for name in ROW_FIELDS}
    shifted = n >= SMALL and _can_shift(rows)
    if shifted:
        for name in _RELATIVE:
            table[name] = np.where(rows[name] == NO_TS, NO_TS, rows[name] - rows["t"])
        for name, usual in _expected(rows).items():
            table[name] = _ulps(rows[name]) - _ulps(usual)
    first = [int(p[2]["tid_at"][0]) for p in pieces]  # a piece's texts begin where its first row's does
    table["tid_at"] = rows["tid_at"].astype(np.int64) - np.repeat(first, sizes) - _starts(rows, sizes)
    text = b"".join(p[3] for p in pieces)
    width = int(rows["tid_len"][0])
    flat = bool(width) and len(text) == n * width and bool((rows["tid_len"] == width).all())
    if flat:
        text = np.ascontiguousarray(np.frombuffer(text, np.uint8).reshape(n, width).T).tobytes()
    return n, put_names(rows), squeeze(_encode((sizes, shifted, width if flat else 0, pack(table, n), text)))


def _can_shift(rows: Rows) -> bool:
    for name in TIMES:
        known = rows[name][rows[name] != NO_TS] if name != "t" else rows[name]
        if len(known) and not (int(known.min()) > -_SANE and int(known.max()) < _SANE):
            return False
    return True


def get_segment(names: bytes, data: bytes) -> tuple[Rows, bytes]:
    """The rows of all pieces in their order, and all their texts."""
    found, text = get_columns(names, data)
    rows = np.zeros(found.n, ROW)
    for name, values in found.columns.items():
        rows[name] = values
    return rows, text


def get_columns(names: bytes, data: bytes) -> tuple[Fresh, bytes]:
    """As `get_segment`, but as columns: where few of them are read, or rows are not needed as such, a fraction of the work."""
    sizes, shifted, width, packed, text = msgspec.msgpack.decode(unsqueeze(data))
    n = sum(sizes)
    stored = {name: np.asarray(values) for name, values in unpack(packed).items()}
    rows = Fresh(n, _named(names, n))
    for name in ROW_FIELDS:
        rows[name] = stored.get(name, 0)
    if shifted:
        for name in _RELATIVE:
            rows[name] = np.where(rows[name] == NO_TS, NO_TS, rows[name] + rows["t"])
        for name, usual in _expected(rows).items():
            rows[name] = (stored[name] + _ulps(usual)).view(np.float64)
    rows["tid_at"] = stored["tid_at"] + _starts(rows, sizes)
    if width:
        text = np.ascontiguousarray(np.frombuffer(text, np.uint8).reshape(width, n).T).tobytes()
    return rows, text


def _named(names: bytes, n: int) -> dict[str, NDArray[Any]]:
    """The keys and `pk` of rows."""
    form, first, second, pks = _split_names(names, n)
    b, l, pk = np.where((form & HAS_B) != 0, first, np.uint64(0)), np.where((form & HAS_L) != 0, first, np.uint64(0)), first.copy()
    l[(form & TWO) != 0] = second
    pk[(form & OTHER_PK) != 0] = pks
    return {"bkey": b, "lkey": l, "pk": pk}


def fold(number: int, deltas: list[tuple[Rows, bytes]]) -> Shelf:
    """Stored pieces in their order -> the shelf: of rows with one `pk` the last stands, tombstones go, and so does text that nobody uses."""
    if not deltas:
        return Shelf(number)
    rows = joined([rows for rows, _ in deltas])
    begin = _begins(rows, deltas)
    text = b"".join([t for _, t in deltas])
    keep = _standing(rows)
    if keep is not None:
        rows, begin = picked(rows, keep), begin[keep]
    size = rows["tid_len"].astype(np.int64)
    ends = np.cumsum(size)
    rows["tid_at"] = ends - size
    if not np.array_equal(begin, ends - size) or len(text) != int(size.sum()):
        text = np.frombuffer(text, np.uint8)[np.arange(int(size.sum())) + np.repeat(begin - (ends - size), size)].tobytes()
    return Shelf(number, rows, text)


def fold_columns(deltas: list[tuple[Fresh, bytes]]) -> tuple[Fresh, bytes]:
    """As `fold`, (rows, texts): text that nobody uses may stay."""
    rows = Fresh.joined([rows for rows, _ in deltas])
    if len(deltas) > 1:
        rows["tid_at"] = _begins(rows, deltas)
    keep = _standing(rows)
    return rows if keep is None else rows[keep], b"".join([t for _, t in deltas])


def _begins(rows: Rows | Fresh, deltas: Sequence[tuple[Rows | Fresh, bytes]]) -> I64:
    """Where each row's text begins in the texts of all."""
    bases = np.cumsum([0, *[len(t) for _, t in deltas[:-1]]])
    begins: I64 = rows["tid_at"].astype(np.int64) + np.repeat(bases, [len(r) for r, _ in deltas])
    return begins


def _standing(rows: Rows | Fresh) -> I64 | None:
    """The places of the rows that stand, None where all do."""
    dead, named = (rows["flags"] & DEAD) != 0, np.sort(rows["pk"])
    if not dead.any() and not (named[1:] == named[:-1]).any():
        return None
    _, newest = np.unique(rows["pk"][::-1], return_index=True)
    keep: I64 = np.sort(len(rows) - 1 - newest)
    standing: I64 = keep[~dead[keep]]
    return standing
