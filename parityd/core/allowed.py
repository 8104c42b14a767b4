"""The allowed book: what parityd's own actions left of the backtest (JUDGEMENT 1).

1. An execution that opens or adds is scaled by the multiplier in force at its decision; one that closes closes the same fraction of the allowed
   position as of the backtest's; a reversing one is a full exit and a scaled entry. `alpha` of a row = its allowed quantity / its full one.
2. Both ledger sides are posted in full; what was taken off the allowed one is remembered by shelf (`cut`), and put back before it is made again.
3. Executions are gone through in order of decision, a symbol at a time, from the first shelf that changed, or from which the scaling differs.
4. A strategy that was never scaled costs nothing and is never looked at.
"""

from dataclasses import dataclass

import numpy as np

from parityd.core.cut import ShelfCut, Taken
from parityd.core.ledger import ALLOWED, BOOK, UNIT
from parityd.core.parameters import Parameters
from parityd.core.publications import first_difference, scale_at
from parityd.core.records import NO_TS
from parityd.core.rows import DEAD, HAS_PARTS, PART, SHELF_NS, picked, shelf_of
from parityd.core.strategy import Strategy

Scales = list[tuple[int, float]]
NEARLY = 10  # 1e-8 units: what rounding of many fills may leave of a closed position
ENDLESS = 2**62


@dataclass(slots=True, frozen=True)
class Turn:
    """One backtest execution: signed units of 1e-8, and where its row lies."""

    shelf: int
    decision: int
    key: int
    place: int
    units: int
    cash: float
    fee: float
    posted: int
    alpha: float


def settle(s: Strategy, parameters: Parameters) -> bool:
    """Bring the allowed book up to date. True where rows changed, so that pairs by time must be asked again."""
    memory = s.memory
    if not memory.publications.cuts and not memory.scales:
        return False
    scales = memory.publications.scales(obeys=parameters.of(s.name).obeys)
    if not scales and not memory.scales:
        return False
    first = shelf_of(min(step[0][0] for step in (scales, memory.scales) if step))
    starts = [max(number, first) for number in s.books.dirty]  # a late one from before changes the position that was carried in
    if memory.cut.opened != memory.watch.opened:
        memory.cut.opened = dict(memory.watch.opened)
        starts.append(first)
    differs = first_difference(memory.scales, scales, memory.publications.floor)
    if differs is not None:
        starts.append(shelf_of(differs))
    memory.scales = scales
    return bool(starts) and not _whole(s, scales, min(starts)) and _redo(s, scales, min(starts))


def _whole(s: Strategy, scales: Scales, start: int) -> bool:
    """Whether nothing is lacking as a shelf begins, nothing was taken since, and nothing is scaled from there on."""
    t = start * SHELF_NS
    if any(size < 1 for size in (scale_at(scales, t), *(size for at, size in scales if at > t))):
        return False
    cut = s.memory.cut
    return not any(cut.lacking(sym, start) or max(table, default=start - 1) >= start for sym, table in cut.shelves.items())


def _redo(s: Strategy, scales: Scales, start: int) -> bool:
    """Go through everything from a shelf on."""
    turns = _turns(s, start)
    alphas: dict[tuple[int, int], float] = {}
    for sym in sorted({*turns, *s.memory.cut.shelves}):
        lacking = s.memory.cut.lacking(sym, start)
        _put_back(s, sym, start)
        own = sorted(turns.get(sym, []), key=lambda turn: (turn.decision, turn.key))
        full = s.ledger.position(sym, BOOK, ENDLESS) - sum(turn.units for turn in own)
        alphas |= _sequence(s, sym, own, full, full - lacking, scales)
    newest = max(s.books.dirty, default=start)
    s.memory.cut.fold(max(newest, start))
    return _write(s, alphas)


def _turns(s: Strategy, start: int) -> dict[int, list[Turn]]:
    """The backtest executions from a shelf on, by symbol."""
    out: dict[int, list[Turn]] = {}
    for shelf, _ in s.books.rows_between(start * SHELF_NS, ENDLESS):
        r = shelf.rows
        places = np.flatnonzero(((r["flags"] & DEAD) == 0) & (r["bkey"] != 0) & (r["b_q"] > 0))
        r = r[places]
        decision = np.where(r["b_ts"] != NO_TS, r["b_ts"], np.where(r["b_sub"] != NO_TS, r["b_sub"], r["b_first"]))
        side = r["side"].astype(np.int64)
        units = side * np.rint(r["b_q"] * UNIT).astype(np.int64)
        columns = (decision, r["bkey"], places, units, -side * r["b_not"], r["b_fee"], r["b_first"], r["alpha"])
        for sym, *values in zip(r["sym"].tolist(), *(v.tolist() for v in columns), strict=True):
            out.setdefault(sym, []).append(Turn(shelf.number, *values))
    return out


def _put_back(s: Strategy, sym: int, start: int) -> None:
    """Give the allowed ledger back what was taken from this shelf on."""
    table = s.memory.cut.shelves.get(sym, {})
    for number in [number for number in table if number >= start]:
        for interval, taken in table.pop(number).taken.items():
            s.ledger.adjust(sym, interval * SHELF_NS, ALLOWED, taken.q / UNIT, taken.cash, taken.fees)


def _sequence(s: Strategy, sym: int, turns: list[Turn], full: int, allowed: int, scales: Scales) -> dict[tuple[int, int], float]:
    """One symbol's executions in order; returns the alphas that changed, by (shelf, place)."""
    changed: dict[tuple[int, int], float] = {}
    table = s.memory.cut.shelves.setdefault(sym, {})
    lacking, number = full - allowed, -ENDLESS
    for turn in turns:
        units = allowed_units(turn.units, full, allowed, scale_at(scales, turn.decision))
        alpha = 1.0 if units == turn.units else units / turn.units if turn.units else 1.0
        if alpha != turn.alpha:
            changed[turn.shelf, turn.place] = alpha
        full, allowed = full + turn.units, allowed + units
        number = max(number, turn.shelf)
        if units != turn.units or full - allowed != lacking:
            lacking = full - allowed
            cut = table.setdefault(number, ShelfCut())
            cut.lacking = lacking
            _take(s, sym, cut, turn, alpha, turn.units - units)
    if not table:
        del s.memory.cut.shelves[sym]
    return changed


def allowed_units(units: int, full: int, allowed: int, multiplier: float) -> int:
    """What of an execution of signed `units` is allowed, where the positions before it are `full` and `allowed`."""
    if full == 0 or (units > 0) == (full > 0):
        return round(units * multiplier)
    if abs(abs(units) - abs(full)) <= NEARLY:
        return -allowed
    if abs(units) < abs(full):
        share = (2 * abs(allowed) * abs(units) + abs(full)) // (2 * abs(full))
        return -share if allowed > 0 else share
    return -allowed + round((units + full) * multiplier)


def _take(s: Strategy, sym: int, cut: ShelfCut, turn: Turn, alpha: float, units: int) -> None:
    share = 1.0 - alpha
    interval = turn.posted // SHELF_NS
    taken = cut.taken.setdefault(interval, Taken())
    taken.q += units
    taken.cash += share * turn.cash
    taken.fees += share * turn.fee
    s.ledger.adjust(sym, interval * SHELF_NS, ALLOWED, -units / UNIT, -share * turn.cash, -share * turn.fee)


def _write(s: Strategy, alphas: dict[tuple[int, int], float]) -> bool:
    """Put the new alphas into their rows, derive them anew, and have pairs of several parts made again."""
    by_shelf: dict[int, list[int]] = {}
    for number, place in alphas:
        by_shelf.setdefault(number, []).append(place)
    for number, places in by_shelf.items():
        shelf = s.books.shelf(number)
        at = np.array(places, np.int64)
        rows = picked(shelf.view, at)
        rows["alpha"] = [alphas[number, place] for place in places]
        s.books.rewrite(shelf, at, rows)
        parts = rows[(rows["flags"] & (PART | HAS_PARTS)) != 0]
        if len(parts):
            s.books.ask(parts)
    return bool(alphas)
