"""Two decision logs side by side: do they decide alike, and may one go live on the strength of the other?

1. Compared is what both logs cover: from the later first decision to the earlier last one. Decisions outside are counted, not judged.
2. Decisions pair by symbol and nearest time, in order, no further apart than half the usual distance of decisions, nor than 5 min. Alike = same action,
   and a quantity within the tolerance. A decision without a counterpart is a mismatch; a hold is not, where the other log sends no holds.
3. Guards are comparable only where both logs name them; not comparable is never go.
4. Go needs all: rate > 99 %, the same guard violations, the same number of trades in every symbol, 24 h or more. Without a common
   decision there is no rate and no go.
5. The guess at a cause is read off the first mismatch (what follows is its consequence), after a shift in time has been ruled out.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from parityd.core.compare_cause import Entry, guess
from parityd.core.decision_document import ACTIONS
from parityd.core.instants import SECOND, parse_time, rfc3339
from parityd.core.records import NO_TS

MIN_RATE, MIN_HOURS = 0.99, 24.0
MAX_REACH = 300.0 * SECOND


class LogError(ValueError):
    """A decision log that is none: what is wrong, and where in the document."""


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


def _number(where: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if number - number == 0.0:  # finite
            return number
    raise LogError(f"{where}: {value!r} is not a number")


def _part(where: str, row: Mapping[str, Any], name: str, *, needed: bool = True) -> Mapping[str, Any]:
    part = row.get(name)
    if part is None and not needed:
        return {}
    if not isinstance(part, Mapping):
        raise LogError(f"{where}.{name}: missing" if part is None else f"{where}.{name}: not an object")
    return part


def _guards(where: str, decision: Mapping[str, Any]) -> frozenset[str] | None:
    found = decision.get("guards")
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(g, str) for g in found):
        raise LogError(f"{where}.guards: not a list of names")
    return frozenset(found)


def _entry(n: int, row: object, symbol: str) -> Entry:
    where = f"decisions[{n}]"
    if not isinstance(row, Mapping):
        raise LogError(f"{where}: not an object")
    context, decision = _part(f"{where}", row, "context"), _part(where, row, "decision")
    execution = _part(where, row, "execution", needed=False)
    stamp = context.get("timestamp")
    ts = parse_time(stamp, naive_is_utc=True) if isinstance(stamp, str | int | float) else NO_TS
    if ts == NO_TS:
        raise LogError(f"{where}.context.timestamp: {stamp!r} is not a time")
    action = str(decision.get("action")).strip().lower()
    if action not in ACTIONS:
        raise LogError(f"{where}.decision.action: {decision.get('action')!r} is none of {', '.join(ACTIONS)}")
    marks, position = context.get("recent_marks"), context.get("position_state")
    recent = tuple(_number(f"{where}.context.recent_marks[{k}]", m) or 0.0 for k, m in enumerate(marks)) if isinstance(marks, list) else ()
    filled = execution.get("filled", action != "hold")
    return Entry(
        ts=ts, symbol=str(context.get("symbol") or symbol), action=action, quantity=_number(f"{where}.decision.quantity", decision.get("quantity")),
        target=_number(f"{where}.decision.target_notional", decision.get("target_notional")),
        reason=str(decision.get("reason") or ""), guards=_guards(f"{where}.decision", decision),
        mark=_number(f"{where}.context.current_mark", context.get("current_mark")), recent=recent, position=position,
        equity=_number(f"{where}.context.equity", context.get("equity")),
        trades=(filled is True or str(filled).lower() == "true") + len(execution.get("other_fills") or ()),
    )  # fmt: skip


def entries(log: Mapping[str, Any]) -> list[Entry]:
    """A parsed decision log's decisions in order of time. LogError: what cannot be read, and where."""
    rows = log.get("decisions")
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise LogError("decisions: missing" if rows is None else "decisions: not a list")
    symbol = str(log.get("symbol") or "")
    return sorted((_entry(n, row, symbol) for n, row in enumerate(rows)), key=lambda e: e.ts)


def _spacing(rows: Sequence[Entry]) -> float:
    """Usual distance of two decisions of one symbol, ns; 0 where there is none."""
    gaps: list[int] = []
    for symbol in {r.symbol for r in rows}:
        stamps = np.array([r.ts for r in rows if r.symbol == symbol], np.int64)
        gaps += np.diff(np.unique(stamps)).tolist()
    return float(np.median(gaps)) if gaps else 0.0


def pair(a: Sequence[Entry], b: Sequence[Entry], reach: float) -> list[Pair]:
    """Rule 2: both in order of time, one symbol."""
    out: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        gap = b[j].ts - a[i].ts
        if abs(gap) <= reach:
            later_b = j + 1 < len(b) and abs(b[j + 1].ts - a[i].ts) < abs(gap)
            later_a = i + 1 < len(a) and abs(b[j].ts - a[i + 1].ts) < abs(gap)
            if later_b:
                out.append((None, b[j]))
                j += 1
            elif later_a:
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
    return x.action in ("hold", "close") or (x.quantity is None) == (y.quantity is None)


def _within(rows: Sequence[Entry], start: int, end: int) -> list[Entry]:
    stamps = [r.ts for r in rows]
    return list(rows[bisect_left(stamps, start) : bisect_left(stamps, end + 1)])


def _pairs(a: Sequence[Entry], b: Sequence[Entry], reach: float) -> list[Pair]:
    found: list[Pair] = []
    for symbol in sorted({e.symbol for e in (*a, *b)}):
        found += pair([e for e in a if e.symbol == symbol], [e for e in b if e.symbol == symbol], reach)
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
    symbols = sorted({e.symbol for e in (*a, *b)})
    counts = [(s, sum(e.trades for e in a if e.symbol == s), sum(e.trades for e in b if e.symbol == s)) for s in symbols]
    return [TradeDifference(symbol=s, trades_a=m, trades_b=n) for s, m, n in counts if abs(m - n) >= 1]


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


def compare_logs(a: Mapping[str, Any], b: Mapping[str, Any], *, quantity_tolerance: float = 0.01) -> Comparison:
    """Compare two parsed decision logs (rules above). LogError names what cannot be read, with `A: ` or `B: ` before it."""
    sides: list[list[Entry]] = []
    for name, log in (("A", a), ("B", b)):
        try:
            sides.append(entries(log))
        except LogError as e:
            raise LogError(f"{name}: {e}") from None
    all_a, all_b = sides
    spacing = min((s for s in (_spacing(all_a), _spacing(all_b)) if s), default=60.0 * SECOND)
    reach = min(spacing / 2, MAX_REACH)
    shared = bool(all_a and all_b)
    start, end = (max(all_a[0].ts, all_b[0].ts), min(all_a[-1].ts, all_b[-1].ts)) if shared else (0, -1)
    slack = int(reach) if shared and end >= start - reach else 0
    in_a, in_b = _within(all_a, start - slack, end + slack), _within(all_b, start - slack, end + slack)
    pairs = _pairs(in_a, in_b, reach)
    common = [(x, y) for x, y in pairs if x is not None and y is not None]
    wrong = [(x, y) for x, y in pairs if x is None or y is None or not _alike(x, y, quantity_tolerance)]
    rate = 1.0 - len(wrong) / len(pairs) if common else None
    hours = (common[-1][0].ts - common[0][0].ts + min(spacing, 3600.0 * SECOND)) / SECOND / 3600.0 if common else 0.0
    guards, differing = _guard_state(in_a, in_b, pairs)
    trades = _trades(in_a, in_b)
    reasons = _verdict(rate, guards, len(differing), trades, hours)
    cause, detail = guess(wrong, common, (a.get("config"), b.get("config"))) if wrong and common else (None, None)
    return Comparison(
        go=not reasons, reasons=reasons, parity_rate=rate, decisions=len(pairs), common=len(common), mismatch_count=len(wrong),
        mismatches=[_mismatch(x, y) for x, y in wrong], guards=guards, guard_differences=differing, trade_differences=trades, hours=hours,
        cause=cause, cause_detail=detail, run_a=str(a.get("run_id") or ""), run_b=str(b.get("run_id") or ""),
        outside_a=len(all_a) - len(in_a), outside_b=len(all_b) - len(in_b),
    )  # fmt: skip
