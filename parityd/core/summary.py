"""What the rows of a stretch of time add up to: the sums from which every measure of MATH 2 and 3 is taken.

1. A summary is additive: of two stretches it is the sum of both. A shelf's is kept; only shelves that a window's edge or a watermark cuts are
   summed anew from their rows.
2. What a row adds, and in which of four classes it settles, is `sums`'s.
3. A summary is never changed once it is made: stretches and windows share them.
"""

from collections.abc import Iterable

import numpy as np

from parityd.core.fresh import Fresh
from parityd.core.rows import Rows
from parityd.core.sums import AT, B_ONLY, F64, FIELDS, ID, KINDS, L_ONLY, PER_SYMBOL, SYM_AT, TIMED, Group, Mask, Whole, classed, groups


class Summary:
    """Sums of one stretch; `s` has shape (FIELDS,), `sym` maps a symbol's code to shape (PER_SYMBOL,)."""

    __slots__ = ("ccy", "latency", "latest", "newest", "peak", "peak_w", "s", "sym")

    def __init__(self) -> None:
        self.s: F64 = np.zeros(len(FIELDS))
        self.peak = 0.0  # the d of largest absolute value, signed
        self.peak_w = 0.0
        self.sym: dict[int, F64] = {}
        self.ccy: dict[int, int] = {}  # quote currency of each symbol
        self.latest: dict[int, int] = {}  # newest trade time of each symbol
        self.newest = -(2**63)
        self.latency: list[F64] = []

    def __getitem__(self, name: str) -> float:
        return float(self.s[AT[name]])

    @property
    def settled(self) -> int:
        """Settled executions: matched, missed and unexpected."""
        return int(self.s[0] + self.s[1] + self.s[2])

    def take(self, one: Group) -> None:
        """Add the rows of a symbol."""
        self.s += one.sums[: len(FIELDS)]
        table = one.sums[len(FIELDS) :]
        self.sym[one.sym] = self.sym[one.sym] + table if one.sym in self.sym else table
        self.latest[one.sym] = max(one.last, self.latest.get(one.sym, one.last))
        self.ccy[one.sym] = max(one.ccy, self.ccy.get(one.sym, 0))
        self.newest = max(self.newest, one.last)

    def crown(self, whole: Whole) -> None:
        """Add what is of a class alone."""
        if abs(whole.peak) > abs(self.peak) or not self.peak_w:
            self.peak, self.peak_w = whole.peak, whole.peak_w
        if len(whole.waits):
            self.latency.append(whole.waits)


_FEW = 8
NOTHING = Summary()
NOTHING.s.flags.writeable = False
"""Of no rows."""


def classes(rows: Rows | Fresh) -> tuple[Mask, Mask, Mask, Mask]:
    """Which of the living rows are joined by id, joined by time, backtest only, live only."""
    kinds = classed(rows)
    return kinds == ID, kinds == TIMED, kinds == B_ONLY, kinds == L_ONLY


def summarise(rows: Rows) -> Summary:
    """Sum the given rows (already chosen: settled, of one window)."""
    out = Summary()
    found, wholes = groups(rows)
    for one in sorted(found, key=lambda group: group.sym):
        out.take(one)
    for whole in wholes.values():
        out.crown(whole)
    return out


def total(parts: Iterable[Summary]) -> Summary:
    """The sum of many summaries, in one pass; of one, itself."""
    parts = list(parts)
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    first, *others = parts
    out = Summary()
    out.s = np.sum([p.s for p in parts], axis=0) if len(parts) > _FEW else sum((p.s for p in others), first.s)
    out.peak, out.peak_w, out.newest = first.peak, first.peak_w, first.newest
    out.sym, out.latest, out.ccy, out.latency = dict(first.sym), dict(first.latest), dict(first.ccy), list(first.latency)
    for p in others:
        if abs(p.peak) > abs(out.peak):
            out.peak, out.peak_w = p.peak, p.peak_w
        for k, v in p.sym.items():
            out.sym[k] = out.sym[k] + v if k in out.sym else v
        for k, t in p.latest.items():
            if t > out.latest.get(k, -(2**63)):
                out.latest[k] = t
            out.ccy[k] = max(p.ccy[k], out.ccy.get(k, 0))
        out.newest = max(out.newest, p.newest)
        out.latency += p.latency
    return out


class ShelfSummary:
    """The four classes of one shelf, with the span of trade times of each."""

    __slots__ = ("__weakref__", "parts", "spans")

    def __init__(self, rows: Rows) -> None:
        self.parts: list[Summary] = [NOTHING for _ in KINDS]
        self.spans: list[tuple[int, int]] = [(0, 0) for _ in KINDS]
        found, wholes = groups(rows)
        for one in found:
            if self.parts[one.kind] is NOTHING:
                self.parts[one.kind], self.spans[one.kind] = Summary(), (one.first, one.last)
            self.parts[one.kind].take(one)
            low, high = self.spans[one.kind]
            self.spans[one.kind] = min(low, one.first), max(high, one.last)
        for kind, whole in wholes.items():
            self.parts[kind].crown(whole)

    @property
    def counts(self) -> list[int]:
        return [p.settled + int(p["suppressed"]) for p in self.parts]


__all__ = [
    "AT", "B_ONLY", "FIELDS", "ID", "L_ONLY", "NOTHING", "PER_SYMBOL", "SYM_AT", "TIMED", "ShelfSummary", "Summary", "classes", "summarise", "total",
]  # fmt: skip
