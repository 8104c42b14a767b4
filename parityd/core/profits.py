"""Profits of all books by interval of 15 minutes, summed over symbols, and kept from look to look.

1. What was worked out stands until something at or before it changed: a ledger entry, a price, a rate. Then it is worked out again from there.
   So a look costs the intervals that are new, whatever the history.
2. All books are valued with the same marks at both ends of an interval.
3. Active: the allowed or the live book traded in it, or held a position while the mark changed. What the full backtest did while it was allowed
   nothing makes no interval active; one in which a held symbol has no price is not known.
4. With or without what is kept the numbers are the same.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.ledger import ALLOWED, LIVE_BOOK, UNIT
from parityd.core.marks import Marks
from parityd.core.rows import SHELF_NS
from parityd.core.tape import Tape

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPARE = 96


class Profit(msgspec.Struct):
    """By interval: profit (3, n) of the books, activity, gross notional (2, n) of the full and the allowed book, whether all was measurable, and the
    cash that changed hands.
    """

    pnl: F64
    active: Mask
    gross: F64
    known: Mask
    cash: F64

    def part(self, start: int, end: int) -> "Profit":
        """A view of these places."""
        return Profit(*(getattr(self, name)[..., start:end] for name in self.__struct_fields__))

    def behind(self, n: int) -> "Profit":
        """The same behind n intervals in which nothing was traded and nothing held."""
        empty = blank(n)
        return Profit(*(np.concatenate([getattr(x, k) for x in (empty, self)], axis=-1) for k in self.__struct_fields__)) if n else self


def blank(n: int) -> Profit:
    """Nothing traded and nothing held."""
    return Profit(np.zeros((3, n)), np.zeros(n, np.bool_), np.zeros((2, n)), np.ones(n, np.bool_), np.zeros(n))


class Profits:
    """What was worked out of one tape."""

    def __init__(self) -> None:
        self.version = 0
        """Another one wherever anything was worked out anew."""
        self._base = self._upto = 0  # valid from base up to (not including) upto
        self._kept = blank(0)
        self._rates: dict[int, float] = {}
        self._marks: dict[tuple[str, int], int] = {}

    @property
    def rates(self) -> dict[int, float]:
        """Those by which they were worked out last."""
        return self._rates

    def of(self, tape: Tape, first: int, n: int, marks: Marks, rates: dict[int, float]) -> Profit:
        """The profits of n intervals; the tape holds them."""
        stale = min(tape.taken(), self._repriced(tape, marks))
        if rates != self._rates or first < self._base:
            self._upto = self._base = first
        self._rates = rates
        self._upto = min(self._upto, max(stale, self._base))
        self._room(first, n)
        begin = max(first, self._upto)
        if begin < first + n:
            fresh = profits(tape, begin, first + n - begin, marks, rates)
            at = begin - self._base
            for name in fresh.__struct_fields__:
                getattr(self._kept, name)[..., at : at + first + n - begin] = getattr(fresh, name)
            self._upto, self.version = first + n, self.version + 1
        return self._kept.part(first - self._base, first - self._base + n)

    def _repriced(self, tape: Tape, marks: Marks) -> int:
        """The earliest interval that a changed price ends or begins."""
        earliest = 2**62
        new = {code for _, code in marks.splits.renamed.values()}
        for sym in {*tape.places, *new}:
            for name, table in (("marks", marks.marks), ("traded", marks.traded)):
                series = table.get(sym)
                if series is None:
                    continue
                seen = self._marks.get((name, sym), 0) if self._upto > self._base else 2**62  # nothing is kept that could be stale
                changed, self._marks[name, sym] = series.changes.since(seen)
                if changed is None:
                    return -(2**62)
                if changed:
                    earliest = min(earliest, -(-min(changed) // SHELF_NS) - 1)
        return earliest

    def _room(self, first: int, n: int) -> None:
        """Let the columns begin near the first interval asked for, and hold the last."""
        if first + n <= self._base + len(self._kept.active) and first - self._base < 2 * SPARE:
            return
        kept, room = self._kept.part(max(0, first - self._base), max(0, self._upto - self._base)), blank(n + 3 * SPARE)
        for name in kept.__struct_fields__:
            column = getattr(kept, name)
            getattr(room, name)[..., : column.shape[-1]] = column
        self._upto = max(self._upto, first)
        self._base, self._kept = first, room


def profits(tape: Tape, first: int, n: int, marks: Marks, rates: dict[int, float]) -> Profit:
    """The same, worked out anew."""
    at = first - tape.base
    out = blank(n)
    places = sorted(tape.places.items())
    at_begin = tape.held(at)[:, :3]
    moves, moved = tape.q[:, :3, at : at + n], tape.moved[:, :, at : at + n]
    alive = np.asarray(at_begin.any(axis=1)) | moves.any(axis=(1, 2)) | moved.any(axis=(1, 2))
    places = [(sym, place) for sym, place in places if alive[place]]
    if not places:
        return out
    own = [place for _, place in places]
    price = np.stack([marks.boundaries(sym, first, n) for sym, _ in places])
    rate = np.array([rates[sym] for sym, _ in places])
    units = np.concatenate([at_begin[own, :, None], moves[own]], axis=2).cumsum(axis=2)
    _sum(out, price, rate, units, moves[own] / UNIT, tape.cash[own, :, at : at + n], moved[own])
    return out


def _sum(out: Profit, price: F64, rate: F64, units: NDArray[np.int64], q: F64, cash: F64, moved: Mask) -> None:
    """Add up symbols (the first axis of all)."""
    opened, closed = price[:, :-1], price[:, 1:]
    blind = np.isnan(closed)
    change = np.where(blind | np.isnan(opened), 0.0, closed - opened)[:, None]
    value, held = np.where(blind, 0.0, closed)[:, None], units / UNIT
    by = rate[:, None, None]
    out.pnl = _in_order(by * (cash + q * value + held[:, :, :-1] * change))
    two = (units[:, ALLOWED : LIVE_BOOK + 1, :-1] != 0).any(axis=1) & (change[:, 0] != 0.0)
    out.active = (moved[:, ALLOWED] | moved[:, LIVE_BOOK] | two).any(axis=0)
    out.known = ~(blind & ((units[:, :, 1:] != 0).any(axis=1) | moved.any(axis=1))).any(axis=0)
    begins = np.abs(held[:, :2, :-1]) * np.nan_to_num(opened)[:, None]
    out.gross = _in_order(by * np.maximum(begins, np.abs(held[:, :2, 1:]) * value))
    out.cash = _in_order(rate[:, None] * np.abs(cash).max(axis=1))
    out.active &= out.known


def _in_order(terms: F64) -> F64:
    """Their sum, one symbol after the other: the same bits however many intervals are summed at once."""
    out = np.zeros(terms.shape[1:])
    for one in terms:
        out += one
    return out
