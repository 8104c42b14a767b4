"""A shelf's rows as the drift detectors read them: its settled matched trades in order of (trade time, name of the backtest's execution).

1. A row is 448 bytes: what is needed of it is copied into columns once. Few rows are read one by one, to the same bits.
2. Price differences and slippages are taken to 1e-9 bps: the last bits of a sum depend on the order in which its fills came.
3. Trades are sorted when they leave here, so how far a stream has come is a place in them.
"""

import math
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.rows import DEAD, FEW, PART, SLIP_ALONE, SUPPRESSED, SUSPECT, Rows

TRADE = np.dtype([("t", "i8"), ("key", "u8"), ("d", "f8"), ("slip", "f8")])
Trades = NDArray[np.void]
_READ = ["t", "bkey", "lkey", "b_q", "l_q", "flags", "d", "slip", "x"]
_LEFT_OUT = DEAD | PART | SUSPECT | SUPPRESSED
Place = tuple[int, int]  # (trade time, key): exclusive, the last trade taken


class Seen(msgspec.Struct, array_like=True, frozen=True):
    """What was taken of a shelf: how many, their hash, the sum of their d."""

    count: int
    print: bytes
    total: float


NOT_SEEN = Seen(0, blake2b(b"", digest_size=8).digest(), 0.0)


def trades_of(rows: Rows, line: int, frontier: int) -> Trades:
    """The matched trades with line <= t <= frontier that are measured."""
    if len(rows) <= FEW:
        return np.array(sorted(_each(rows, line, frontier)), TRADE)
    return in_columns(rows, line, frontier)


def _each(rows: Rows, line: int, frontier: int) -> Iterator[tuple[int, int, float, float]]:
    for t, key, other, backtest, live, flags, d, slip, x in rows[_READ].tolist():
        matched = key and other and backtest > 0 and live > 0 and not flags & _LEFT_OUT
        if matched and math.isfinite(d) and line <= t <= frontier:
            yield t, key, _nano(d), _nano(slip / x * 1e4) if flags & SLIP_ALONE else math.nan


def _nano(value: float) -> float:
    scaled = value * 1e9
    return round(scaled) / 1e9 + 0.0 if math.isfinite(scaled) else scaled


def in_columns(rows: Rows, line: int, frontier: int) -> Trades:
    """As `trades_of`."""
    t, key, d, flags = (rows[name].copy() for name in ("t", "bkey", "d", "flags"))
    good = ((flags & _LEFT_OUT) == 0) & (key != 0) & (rows["lkey"] != 0) & (rows["b_q"] > 0) & (rows["l_q"] > 0)
    places = np.flatnonzero(good & np.isfinite(d) & (t <= frontier) & (t >= line))
    t, key = t[places], key[places]
    order = _order(t, key)
    places = places[order]
    slip = rows["slip"][places] / rows["x"][places] * 1e4
    slip[(flags[places] & SLIP_ALONE) == 0] = np.nan
    out = np.empty(len(places), TRADE)
    out["t"], out["key"] = t[order], key[order]
    out["d"] = np.rint(d[places] * 1e9) / 1e9 + 0.0
    out["slip"] = np.rint(slip * 1e9) / 1e9 + 0.0
    return out


def _order(t: NDArray[np.int64], key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Places in order of (t, key). Hardly two have the same time."""
    order = np.argsort(t)
    ordered = t[order]
    return np.lexsort((key, t)) if (ordered[1:] == ordered[:-1]).any() else order


def pieces(trades: Trades, span: int) -> Iterator[tuple[int, Trades]]:
    """(t // span, its trades), in order."""
    numbers = trades["t"] // span
    edges = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(trades)]
    for first, end in pairwise(edges):
        yield int(numbers[first]), trades[first:end]


def joined(parts: list[Trades]) -> Trades:
    """One after the other."""
    return parts[0] if len(parts) == 1 else np.frombuffer(b"".join(part.tobytes() for part in parts), TRADE)


def reached(trades: Trades, head: Place) -> int:
    """How many of the trades the head has reached."""
    if not len(trades) or _place(trades[-1]) <= head:
        return len(trades)
    if _place(trades[0]) > head:
        return 0
    t = np.ascontiguousarray(trades["t"])
    low, high = np.searchsorted(t, head[0], "left"), np.searchsorted(t, head[0], "right")
    return int(low + np.searchsorted(trades["key"][low:high], np.uint64(head[1]), "right"))


def _place(trade: np.void) -> Place:
    t, key, _, _ = trade.item()
    return t, key


def taken(trades: Trades, head: Place) -> Seen:
    """What the stream has taken of these trades of one shelf."""
    own = trades[: reached(trades, head)]
    return Seen(len(own), blake2b(own.tobytes(), digest_size=8).digest(), float(own["d"].sum()))
