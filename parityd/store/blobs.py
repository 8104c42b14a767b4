"""Records, identities and summaries -> blobs, and exactly back.

1. Record columns leave out their names (`key`, `content`) where the file's identities say them already.
2. A summary keeps its latencies as one array, whatever pieces it was summed from.
3. Every blob carries a checksum, and StoreBroken is raised where it does not hold.
"""

import json
from typing import Any, TypeVar

import msgspec
import numpy as np

from parityd.core import owners
from parityd.core.columns import Columns
from parityd.core.hashing import I64, U64
from parityd.core.records import NO_TS, Line
from parityd.core.summary import FIELDS, PER_SYMBOL, ShelfSummary, Summary
from parityd.core.text import TextColumn
from parityd.store.entries import FileRecords
from parityd.store.errors import StoreBroken
from parityd.store.packing import Column, Table, pack, squeeze, unpack, unsqueeze

C = TypeVar("C", bound=Columns)

_lines = msgspec.msgpack.Decoder(list[Line])
_encode = msgspec.msgpack.Encoder().encode


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
    few = {name: _few(*owners.few_texts(c.owner, k)) for k, name in enumerate(("strategy", "symbol"))}
    table: dict[str, Column] = {name: few[name] if name in few else getattr(c, name) for name in c.names() if name not in left}
    return squeeze(_encode((at, pack(table, len(c)))))


def _few(texts: list[str], codes: I64) -> Column:
    return Table(texts, codes) if len(texts) <= max(1, len(codes) // 2) else TextColumn.of([texts[k] for k in codes.tolist()])


def get_columns(kind: type[C], data: bytes | None, keys: U64, contents: U64) -> C | None:
    """The inverse of `put_columns`, with the identities of the file."""
    if data is None:
        return None
    at, packed = msgspec.msgpack.decode(unsqueeze(data))
    table: dict[str, Any] = unpack(packed)
    if at >= 0:
        n = len(table["line"])
        table["key"], table["content"] = keys[at : at + n].copy(), contents[at : at + n].copy()
    return kind.of(table)


def put_rare(lines: list[Line]) -> bytes | None:
    if not lines:
        return None
    try:
        return squeeze(_encode(lines))
    except UnicodeEncodeError:  # half a character, as some CSV files have: JSON can say it
        return squeeze(json.dumps(msgspec.to_builtins(lines)).encode("ascii"))


def get_rare(data: bytes | None) -> list[Line]:
    if data is None:
        return []
    raw = unsqueeze(data)
    return msgspec.convert(json.loads(raw), list[Line]) if raw[:1] == b"[" else _lines.decode(raw)


def put_identities(keys: U64, contents: U64) -> bytes:
    return squeeze(keys.tobytes() + contents.tobytes())


def get_identities(data: bytes, n: int) -> tuple[U64, U64]:
    both = np.frombuffer(unsqueeze(data), np.uint64)
    if len(both) != 2 * n:
        raise StoreBroken("the identities of a file are not as many as it says")
    return both[:n], both[n:]


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
    return (
        p.s.tobytes(),
        p.peak,
        p.peak_w,
        p.newest,
        codes,
        table,
        list(p.latest),
        list(p.latest.values()),
        waits,
        list(p.ccy),
        list(p.ccy.values()),
    )


def _get_part(stored: list[Any] | None) -> Summary:
    out = Summary()
    if stored is None:
        return out
    s, out.peak, out.peak_w, out.newest, codes, table, symbols, newest, waits, priced, ccy = stored
    out.s = np.frombuffer(s, np.float64).copy()
    values = np.frombuffer(table, np.float64).reshape(len(codes), -1).copy() if codes else ()
    out.sym = dict(zip(codes, values, strict=True))
    out.latest = dict(zip(symbols, newest, strict=True))
    out.ccy = dict(zip(priced, ccy, strict=True))
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
