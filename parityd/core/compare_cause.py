"""Why two decision logs part: a guess, with what it rests on.

1. The causes, in this order: shifted time (one log's marks are the other's, some decisions late), missing bars (a decision or a mark that
   only one log has), market data (other marks at the same time), position state, equity, indicator window (the same inputs, another
   decision: a parameter of the strategy).
2. It is read off the first mismatch, whose inputs are not yet the consequence of another; but a later mismatch from the same marks and
   position is proof of a parameter, and overrules the position state. It is a guess: it says so, and decides nothing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from statistics import median
from typing import Any

from parityd.core.compare_entries import Entry, by_symbol

_MIN_VOTES, _OFTEN = 10, 20
_NEAR = 1e-9
_Sided = tuple[Entry | None, Entry | None]
_Marks = tuple[str, float, float, float]


def _same(x: float | None, y: float | None, tolerance: float = _NEAR) -> bool:
    if x is None or y is None:
        return True  # not said: no evidence of a difference
    return isnan(x) or isnan(y) or abs(x - y) <= tolerance * max(abs(x), abs(y))


_POSITION = ("quantity", "size", "position", "qty", "side", "direction", "state")


def _held(position: Any) -> float | str | None:
    """A position as a number, or a word where it is said in one."""
    if isinstance(position, Mapping):
        position = next((position[name] for name in _POSITION if position.get(name) is not None), None)
    try:
        return float(position)
    except (TypeError, ValueError):
        return position.strip().lower() or None if isinstance(position, str) else None


def _alike_held(p: float | str | None, q: float | str | None) -> bool:
    if isinstance(p, str) or isinstance(q, str):
        return p is None or q is None or p == q
    return _same(p, q, 1e-6)


def shift(a: Sequence[Entry], b: Sequence[Entry], reach: float) -> int:
    """By how many ns B's marks trail A's (negative: lead); 0 where no shift explains them clearly better than none.

    Three marks in a row of a symbol vote for every distance in time at which the other log shows the same three; what occurs too often says nothing.
    """
    where: dict[_Marks, list[int]] = {}
    for ts, key in _triples(a):
        where.setdefault(key, []).append(ts)
    votes = [[ts - then for then in where[key]] for ts, key in _triples(b) if 0 < len(where.get(key, ())) <= _OFTEN]
    if len(votes) < _MIN_VOTES:
        return 0
    width = max(reach / 2, 1.0)
    most, _ = max(Counter(round(d / width) for vote in votes for d in set(vote)).items(), key=lambda v: (v[1], -abs(v[0])))
    best = round(median(d for vote in votes for d in vote if abs(d - most * width) <= width))
    for_it = sum(any(abs(d - best) <= width for d in vote) for vote in votes)
    for_none = sum(any(abs(d) <= reach for d in vote) for vote in votes)
    return best if abs(best) > reach and for_it > 0.8 * len(votes) and for_none < 0.2 * len(votes) else 0


def _triples(rows: Sequence[Entry]) -> Iterator[tuple[int, _Marks]]:
    """Time of the first, and marks, of each three decisions in a row that say them, and not all the same."""
    for symbol, own in by_symbol(rows).items():
        for x, y, z in zip(own, own[1:], own[2:], strict=False):
            if x.mark is not None and y.mark is not None and z.mark is not None and not x.mark == y.mark == z.mark:
                yield x.ts, (symbol, x.mark, y.mark, z.mark)


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


def guess(wrong: Sequence[_Sided], configs: tuple[Any, Any]) -> tuple[str | None, str | None]:
    """(cause, what it rests on), rules 1 and 2; None where the first mismatch says nothing. `wrong` is not empty and in order of time."""
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
    return _other_action(x, y, wrong, configs)


def _other_action(x: Entry, y: Entry, wrong: Sequence[_Sided], configs: tuple[Any, Any]) -> tuple[str | None, str | None]:
    p, q = _held(x.position), _held(y.position)
    if not _alike_held(p, q):
        if not any(_same_inputs(*w) for w in wrong):  # else it was carried in from before and may hide the parameter behind it
            return "position state", f"the position is {_said(p)} against {_said(q)}"
    elif not _same(x.equity, y.equity, 1e-3):
        return "equity", f"the equity is {x.equity:g} against {y.equity:g}"
    if x.mark is None or y.mark is None:
        return None, None
    return "indicator window", "same marks and position, another action: a parameter of the strategy" + _and_config(configs)


def _said(position: float | str | None) -> str:
    return position if isinstance(position, str) else f"{position:g}"


def _same_inputs(x: Entry | None, y: Entry | None) -> bool:
    if x is None or y is None or x.action == y.action or x.mark is None or y.mark is None:
        return False
    if not _same(x.mark, y.mark) or _recent_differ(x, y) is not None:
        return False
    p, q = _held(x.position), _held(y.position)
    return p is not None and q is not None and _alike_held(p, q)


def _and_config(configs: tuple[Any, Any]) -> str:
    found = config_differences(*configs)
    return f" ({'; '.join(found[:5])})" if found else ""
