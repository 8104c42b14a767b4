"""Two decision logs side by side: do they decide alike, and may one go live on the strength of the other?

1. Compared is what both logs cover: from the later first decision to the earlier last one. Decisions outside are counted, not judged.
2. Decisions pair by symbol and nearest time (of one moment: by action), in order, no further apart than half the usual distance of decisions, nor
   than 5 min. Alike = same action, and a quantity within the tolerance. A decision without a counterpart is a mismatch; a hold is not, where the other log sends no holds.
3. Guards are comparable only where both logs name them; not comparable is never go.
4. Go needs all: rate > 99 %, the same guard violations, the same number of trades in every symbol, 24 h or more. Without a common
   decision there is no rate and no go.
5. The guess at a cause is read off the first mismatch (what follows is its consequence), after a shift in time has been ruled out.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from parityd.core.compare_cause import guess, shift
from parityd.core.compare_entries import Entry, LogError, by_symbol, entries
from parityd.core.instants import SECOND, rfc3339

MIN_RATE, MIN_HOURS = 0.99, 24.0
MAX_REACH = 300.0 * SECOND

__all__ = ["Comparison", "LogError", "Side", "compare_logs", "compare_sides", "read_side"]


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that differs. Action None: this log has no decision there. Marks and quantities None: not said."""

    ts: str
    symbol: str
    action_a: str | None
    action_b: str | None
    quantity_a: float | None
    quantity_b: float | None
    reason_a: str | None
    reason_b: str | None
    mark_a: float | None
    mark_b: float | None


class GuardDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A decision at which the violated guards differ."""

    ts: str
    symbol: str
    only_a: list[str]
    only_b: list[str]


class TradeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol whose number of trades differs."""

    symbol: str
    trades_a: int
    trades_b: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `parity_rate` is None without a common decision; `guards` is same, different or not comparable."""

    go: bool
    reasons: list[str]
    parity_rate: float | None
    decisions: int
    common: int
    mismatch_count: int
    mismatches: list[Mismatch]
    guards: str
    guard_differences: list[GuardDifference]
    trade_differences: list[TradeDifference]
    hours: float
    cause: str | None
    cause_detail: str | None
    run_a: str
    run_b: str
    outside_a: int
    outside_b: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        out: dict[str, Any] = msgspec.to_builtins(self)
        return out


Pair = tuple[Entry | None, Entry | None]


def _spacing(rows: Sequence[Entry]) -> float:
    """Usual distance of two decisions of one symbol, ns; 0 where there is none."""
    gaps = [np.diff(np.unique(np.array([e.ts for e in own], np.int64))) for own in by_symbol(rows).values()]
    every = np.concatenate(gaps) if gaps else np.empty(0)
    return float(np.median(every)) if len(every) else 0.0


def _fits_better(one: Entry, this: Entry, other: Entry) -> bool:
    """Whether `other`, the next, is nearer to `one` than `this`, or of the same moment and the same action, which `this` is not."""
    near, far = abs(other.ts - one.ts), abs(this.ts - one.ts)
    return near < far or (other.ts == this.ts and other.action == one.action != this.action)


def pair(a: Sequence[Entry], b: Sequence[Entry], reach: float) -> list[Pair]:
    """Rule 2: both in order of time, one symbol."""
    out: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        gap = b[j].ts - a[i].ts
        if abs(gap) <= reach:
            if j + 1 < len(b) and _fits_better(a[i], b[j], b[j + 1]):
                out.append((None, b[j]))
                j += 1
            elif i + 1 < len(a) and _fits_better(b[j], a[i], a[i + 1]):
                out.append((a[i], None))
                i += 1
            else:
                out.append((a[i], b[j]))
                i, j = i + 1, j + 1
        elif gap > 0:
            out.append((a[i], None))
            i += 1
        else:
            out.append((None, b[j]))
            j += 1
    return out + [(x, None) for x in a[i:]] + [(None, y) for y in b[j:]]


def _alike(x: Entry, y: Entry, tolerance: float) -> bool:
    if x.action != y.action:
        return False
    for p, q in ((x.quantity, y.quantity), (x.target, y.target)):
        if p is not None and q is not None:
            return abs(p - q) <= tolerance * max(abs(p), abs(q))
    if x.meant is not None and y.meant is not None:
        return abs(x.meant - y.meant) <= tolerance * max(abs(x.meant), abs(y.meant))
    return x.action in ("hold", "close") or (x.meant is None) == (y.meant is None)


def _within(rows: Sequence[Entry], start: int, end: int) -> list[Entry]:
    stamps = [r.ts for r in rows]
    return list(rows[bisect_left(stamps, start) : bisect_left(stamps, end + 1)])


def _pairs(a: Sequence[Entry], b: Sequence[Entry], reach: float) -> list[Pair]:
    found: list[Pair] = []
    own_a, own_b = by_symbol(a), by_symbol(b)
    for symbol in sorted(own_a.keys() | own_b.keys()):
        found += pair(own_a.get(symbol, ()), own_b.get(symbol, ()), reach)
    holds_a, holds_b = any(e.action == "hold" for e in a), any(e.action == "hold" for e in b)
    kept = [
        (x, y)
        for x, y in found
        if not (y is None and x is not None and x.action == "hold" and not holds_b)
        and not (x is None and y is not None and y.action == "hold" and not holds_a)
    ]
    return sorted(kept, key=lambda p: min(e.ts for e in p if e is not None))


def _mismatch(x: Entry | None, y: Entry | None) -> Mismatch:
    first = x or y
    assert first is not None  # noqa: S101  # a pair has at least one side
    said: dict[str, Any] = {
        f"{name}_{side}": getattr(e, name) if e is not None else None
        for side, e in (("a", x), ("b", y))
        for name in ("action", "quantity", "reason", "mark")
    }
    return Mismatch(ts=rfc3339(first.ts), symbol=first.symbol, **said)


def _guard_state(a: Sequence[Entry], b: Sequence[Entry], pairs: Sequence[Pair]) -> tuple[str, list[GuardDifference]]:
    if all(e.guards is None for e in a) or all(e.guards is None for e in b):
        return "not comparable", []
    differing = []
    for x, y in pairs:
        left, right = (e.guards or frozenset() if e is not None else frozenset() for e in (x, y))
        if left != right:
            first = x or y
            assert first is not None  # noqa: S101
            differing.append(
                GuardDifference(ts=rfc3339(first.ts), symbol=first.symbol, only_a=sorted(left - right), only_b=sorted(right - left))
            )
    return ("different" if differing else "same"), differing


def _trades(a: Sequence[Entry], b: Sequence[Entry]) -> list[TradeDifference]:
    counts: list[Counter[str]] = []
    for rows in (a, b):
        counts.append(Counter())
        for e in rows:
            counts[-1][e.symbol] += e.trades
    m, n = counts
    return [TradeDifference(symbol=s, trades_a=m[s], trades_b=n[s]) for s in sorted(m.keys() | n.keys()) if m[s] != n[s]]


def _verdict(rate: float | None, guards: str, differing: int, trades: Sequence[TradeDifference], hours: float) -> list[str]:
    """Why not; empty = go."""
    why = []
    if rate is None:
        return ["no decision is common to both logs"]
    if not rate > MIN_RATE:
        why.append(f"parity rate {rate:.2%} is not above {MIN_RATE:.0%}")
    if guards == "not comparable":
        why.append("guards: not comparable (at least one log does not name them)")
    elif guards == "different":
        why.append(f"guard violations differ at {differing} decisions")
    why += [f"{t.symbol}: {t.trades_a} trades against {t.trades_b}" for t in trades]
    if hours < MIN_HOURS:
        why.append(f"{hours:.1f} h are compared, {MIN_HOURS:.0f} h are needed")
    return why


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of a log."""

    run_id: str
    config: Any
    entries: list[Entry]


def read_side(log: Mapping[str, Any]) -> Side:
    """A parsed decision log as far as it is compared; the document may go. LogError: what cannot be read, and where."""
    return Side(run_id=str(log.get("run_id") or ""), config=log.get("config"), entries=entries(log))


def compare_logs(a: Mapping[str, Any], b: Mapping[str, Any], *, quantity_tolerance: float = 0.01) -> Comparison:
    """Compare two parsed decision logs (rules above). LogError names what cannot be read, with `A: ` or `B: ` before it."""
    sides: list[Side] = []
    for name, log in (("A", a), ("B", b)):
        try:
            sides.append(read_side(log))
        except LogError as e:
            raise LogError(f"{name}: {e}") from None
    return compare_sides(*sides, quantity_tolerance=quantity_tolerance)


def _shared(a: Sequence[Entry], b: Sequence[Entry], reach: float) -> tuple[list[Entry], list[Entry]]:
    """Rule 1."""
    if not a or not b:
        return [], []
    start, end = max(a[0].ts, b[0].ts), min(a[-1].ts, b[-1].ts)
    slack = int(reach) if end >= start - reach else 0
    return _within(a, start - slack, end + slack), _within(b, start - slack, end + slack)


def compare_sides(a: Side, b: Side, *, quantity_tolerance: float = 0.01) -> Comparison:
    """Compare what was read of two logs."""
    spacing = min((s for s in (_spacing(a.entries), _spacing(b.entries)) if s), default=60.0 * SECOND)
    reach = min(spacing / 2, MAX_REACH)
    in_a, in_b = _shared(a.entries, b.entries, reach)
    pairs = _pairs(in_a, in_b, reach)
    common = [(x, y) for x, y in pairs if x is not None and y is not None]
    wrong = [(x, y) for x, y in pairs if x is None or y is None or not _alike(x, y, quantity_tolerance)]
    rate = 1.0 - len(wrong) / len(pairs) if common else None
    hours = (common[-1][0].ts - common[0][0].ts + min(spacing, 3600.0 * SECOND)) / SECOND / 3600.0 if common else 0.0
    guards, differing = _guard_state(in_a, in_b, pairs)
    trades = _trades(in_a, in_b)
    reasons = _verdict(rate, guards, len(differing), trades, hours)
    cause, detail = _cause(a, b, wrong, common, spacing)
    return Comparison(
        go=not reasons, reasons=reasons, parity_rate=rate, decisions=len(pairs), common=len(common), mismatch_count=len(wrong),
        mismatches=[_mismatch(x, y) for x, y in wrong], guards=guards, guard_differences=differing, trade_differences=trades, hours=hours,
        cause=cause, cause_detail=detail, run_a=a.run_id, run_b=b.run_id,
        outside_a=len(a.entries) - len(in_a), outside_b=len(b.entries) - len(in_b),
    )  # fmt: skip


def _cause(a: Side, b: Side, wrong: Sequence[Pair], common: Sequence[Pair], spacing: float) -> tuple[str | None, str | None]:
    """Rule 5; without a common decision only a shift in time can be told."""
    if common and not wrong:
        return None, None
    moved = shift(a.entries, b.entries, min(spacing / 2, MAX_REACH))
    if moved:
        bars = f" ({round(abs(moved) / spacing)} decisions)" if abs(moved) >= spacing else ""
        return "shifted time", f"B shows A's marks {abs(moved) / SECOND:g} s {'later' if moved > 0 else 'earlier'}{bars}"
    return guess(wrong, (a.config, b.config)) if common else (None, None)
