"""Why two decision logs part: a guess, with what it rests on.

1. The causes, in this order: shifted time (one log's marks are the other's, some decisions late), missing bars (a decision or a mark that
   only one log has), market data (other marks at the same time), position state, equity, indicator window (the same inputs, another
   decision: a parameter of the strategy).
2. It is read off the first mismatch, whose inputs are not yet the consequence of another; but a later mismatch from the same marks and
   position is proof of a parameter, and overrules the position state. It is a guess: it says so, and decides nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_MIN_VOTES, _OFTEN = 10, 20
_NEAR = 1e-9
_Sided = tuple["Entry | None", "Entry | None"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decision of a log. `ts` ns; None and empty: not said; `trades` counts the fills that the entry tells of."""

    ts: int
    symbol: str
    action: str
    quantity: float | None
    target: float | None
    reason: str
    guards: frozenset[str] | None
    mark: float | None
    recent: tuple[float, ...]
    position: Any
    equity: float | None
    trades: int


def _same(x: float | None, y: float | None, tolerance: float = _NEAR) -> bool:
    if x is None or y is None:
        return True  # not said: no evidence of a difference
    return abs(x - y) <= tolerance * max(abs(x), abs(y))


def _held(position: Any) -> float | None:
    if isinstance(position, Mapping):
        position = position.get("quantity")
    try:
        return float(position)
    except (TypeError, ValueError):
        return None


def shift(common: Sequence[tuple[Entry, Entry]]) -> int:
    """By how many decisions B's marks trail A's (negative: lead); 0 where no shift explains them clearly better than none.

    Three marks in a row vote for every distance at which the other log shows the same three; what occurs too often says nothing.
    """
    a, b = ([e.mark for e in side] for side in zip(*common, strict=True))
    where: dict[tuple[float | None, ...], list[int]] = {}
    for i in range(len(a) - 2):
        where.setdefault(tuple(a[i : i + 3]), []).append(i)
    votes: Counter[int] = Counter()
    voters = 0
    for j in range(len(b) - 2):
        key = tuple(b[j : j + 3])
        found = where.get(key, ())
        if 0 < len(found) <= _OFTEN and len(set(key)) > 1:
            voters += 1
            votes.update(j - i for i in found)
    if voters < _MIN_VOTES:
        return 0
    best, for_it = max(votes.items(), key=lambda v: (v[1], -abs(v[0])))
    return best if best and for_it > 0.8 * voters and votes[0] < 0.2 * voters else 0


def _skips(longer: Sequence[float], shorter: Sequence[float]) -> bool:
    """Whether the newer parts of two windows differ only by marks that one of them lacks."""
    left = list(longer)
    missed = 0
    for mark in reversed(shorter):
        while left and not _same(left[-1], mark):
            left.pop()
            missed += 1
        if not left:
            break
        left.pop()
    return 0 < missed <= max(2, len(longer) // 4)


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, Mapping):
        return {}
    out: dict[str, Any] = {}
    for key, value in config.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


def config_differences(a: Any, b: Any) -> list[str]:
    """`key: one against other` of the two configurations, by name."""
    left, right = _flat(a), _flat(b)
    return [f"{k}: {left.get(k)} against {right.get(k)}" for k in sorted(left.keys() | right.keys()) if left.get(k) != right.get(k)]


def _recent_differ(x: Entry, y: Entry) -> tuple[str, str] | None:
    n = min(len(x.recent), len(y.recent))
    if not n or all(_same(p, q) for p, q in zip(x.recent[-n:], y.recent[-n:], strict=True)):
        return None
    if _skips(x.recent, y.recent) or _skips(y.recent, x.recent):
        return "missing bars", "the recent marks differ by marks that one log lacks"
    return "market data", "the recent marks differ while the current mark agrees"


def guess(wrong: Sequence[_Sided], common: Sequence[tuple[Entry, Entry]], configs: tuple[Any, Any]) -> tuple[str, str]:
    """(cause, what it rests on), rules 1 and 2. `wrong` is not empty and in order of time."""
    moved = shift(common)
    if moved:
        gap = common[1][0].ts - common[0][0].ts
        return (
            "shifted time",
            f"B shows A's marks {abs(moved)} decisions {'later' if moved > 0 else 'earlier'} (about {abs(moved) * gap / 1e9:g} s)",
        )
    x, y = wrong[0]
    if x is None or y is None:
        lone = sum(p is None or q is None for p, q in wrong)
        return (
            "missing bars",
            f"{lone} of {len(wrong)} mismatches have a decision in one log only, the first in {'B' if x is None else 'A'}",
        )
    if not _same(x.mark, y.mark):
        return "market data", f"the current mark is {x.mark:g} against {y.mark:g}"
    told = _recent_differ(x, y)
    if told is not None:
        return told
    if x.action == y.action:
        if not _same(x.equity, y.equity, 1e-6):
            return "equity", f"the equity is {x.equity:g} against {y.equity:g}, and the size follows it"
        return "sizing", "same action, another size" + _and_config(configs)
    p, q = _held(x.position), _held(y.position)
    if not _same(p, q, 1e-6):
        told = "position state", f"the position is {p:g} against {q:g}"
    elif not _same(x.equity, y.equity, 1e-3):
        told = "equity", f"the equity is {x.equity:g} against {y.equity:g}"
    if told is None or (
        told[0] == "position state" and any(_same_inputs(p, q) for p, q in wrong)
    ):  # a difference carried in from before may hide the parameter behind it
        return "indicator window", "same marks and position, another action: a parameter of the strategy" + _and_config(configs)
    return told


def _same_inputs(x: Entry | None, y: Entry | None) -> bool:
    if x is None or y is None or x.action == y.action or not _same(x.mark, y.mark) or _recent_differ(x, y) is not None:
        return False
    p, q = _held(x.position), _held(y.position)
    return p is not None and q is not None and _same(p, q, 1e-6)


def _and_config(configs: tuple[Any, Any]) -> str:
    found = config_differences(*configs)
    return f" ({'; '.join(found[:5])})" if found else ""
