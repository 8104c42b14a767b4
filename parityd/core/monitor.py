"""The whole state, sans I/O: batches of records go in, and every room of the core learns of them.

1. `apply` takes the files of one turn; what it returns is everything that must be stored of them. It reads no clock.
2. A record that belongs to something rare (a bust, several decisions of one id) sends the trade concerned through `rebuild`: its records are
   fetched from history and its rows made anew, so that the rare case cannot drift from the common one.
3. All state is reachable from here and restorable: `Memory` a strategy, shelves, ledgers, marks, names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from parityd.core import allowed, observed, pairing, shadow
from parityd.core.columns import FillColumns
from parityd.core.index import Known, Places
from parityd.core.intake import Counted, FileBatch, take
from parityd.core.marks import BACKTEST_MARK, LIVE_MARK, Marks
from parityd.core.parameters import Parameters
from parityd.core.prices import Prices
from parityd.core.rebuild import Rebuilder
from parityd.core.records import BACKTEST, BOOKS, LIVE, Line, Mark, Order, Run
from parityd.core.rows import Shelf
from parityd.core.runs import announced, span_of, strip
from parityd.core.said import hear
from parityd.core.splits import Splits
from parityd.core.strategy import Strategy
from parityd.core.taking import Haul, by_strategy, take_in_all, take_prices
from parityd.core.terms import Instruments, Names, canonical

MOST_ROWS = 60_000  # rows held in memory; older shelves are read again when they are needed
LEAST_ROWS = 2_000  # of each strategy


@dataclass(slots=True)
class Applied:
    """What one turn did: counts a file, and which strategies it touched."""

    counted: list[Counted]
    touched: set[str] = field(default_factory=set)


class Monitor:
    """Everything parityd knows."""

    def __init__(self, parameters: Parameters, names: Names, load: Callable[[str, int], Shelf | None], rebuilder: Rebuilder) -> None:
        self.parameters = parameters
        self.names = names
        self.load = load
        self.known = Known()
        self.places = Places()
        self.instruments = Instruments(parameters, names)
        self.splits = Splits()
        self.prices = Prices(parameters, names, self.instruments, self.splits)
        self.strategies: dict[str, Strategy] = {}
        self.rebuilder = rebuilder

    @property
    def marks(self) -> Marks:
        return self.prices.marks

    @property
    def new_marks(self) -> list[tuple[int, int, NDArray[np.int64], NDArray[np.float64]]]:
        """Points that the store does not have yet: (symbol, rank, times, prices)."""
        return self.prices.fresh

    @new_marks.setter
    def new_marks(self, value: list[tuple[int, int, NDArray[np.int64], NDArray[np.float64]]]) -> None:
        self.prices.fresh = value

    @overload
    def fee_price(self, currency: str, quote: str, t: int) -> float | None: ...
    @overload
    def fee_price(self, currency: str, quote: str, t: NDArray[np.int64]) -> NDArray[np.float64]: ...
    def fee_price(self, currency: str, quote: str, t: int | NDArray[np.int64]) -> float | NDArray[np.float64] | None:
        """Newest mark of FEE/QUOTE at or before t: one price, None where there is none; of an array of times an array, NaN where there is none."""
        return self.prices.worth(currency, quote, t) if isinstance(t, np.ndarray) else self.prices.fee(currency, quote, t)

    def strategy(self, name: str) -> Strategy:
        found = self.strategies.get(name)
        if found is None:
            found = self.strategies[name] = Strategy(name, self.parameters, self.places, self.load, self.splits)
        return found

    def _may_enter(self, name: str) -> bool:
        """Whether a record of this strategy may come in; a new strategy is known from here on."""
        if name not in self.strategies and len(self.strategies) >= self.parameters.max_strategies:
            return False
        self.strategy(name)
        return True

    # --- a turn -------------------------------------------------------------------------------------------------

    def apply(self, files: list[FileBatch], now: int) -> Applied:
        """Take in the files of one turn, in their order."""
        self._begin()
        counted = [take(f, self.known, self._may_enter) for f in files]
        out = Applied(counted)
        for f, got in zip(files, counted, strict=True):
            self.rebuilder.see(f.book, got)
            self._rare_first(f.book, got.rare)
        haul = self._haul(files, counted)
        take_prices(self, haul)
        take_in_all(self, haul, now)
        out.touched.update(haul.codes)
        self._hear(files, counted, out)
        self._late_fees()
        out.touched.update(self.rebuilder.strategies())
        for name in sorted(out.touched):
            self._settle(self.strategies[name], now)
        self.rebuilder.end()
        return out

    def _begin(self) -> None:
        self.rebuilder.end()  # a turn that raised has left what it asked for
        self.prices.begin()
        for s in self.strategies.values():
            for code, newest in s.memory.fee_until.items():
                self.prices.watched[code] = max(newest, self.prices.watched.get(code, newest))

    def _haul(self, files: list[FileBatch], counted: list[Counted]) -> Haul:
        """The turn's decisions, fills and orders."""
        out = Haul(self)
        both = list(zip(files, counted, strict=True))
        for book in BOOKS:
            mine = [g for f, g in both if f.book == book]
            out.bring(book, [g.decisions for g in mine if g.decisions is not None], [g.fills for g in mine if g.fills is not None])
        for f, got in both:
            runs = self._runs_of(f)
            for line in got.rare:
                if isinstance(line.record, Order):
                    out.order(f.book, line, line.record.strategy, runs.get(line.record.strategy, ""))
        return out

    def _runs_of(self, f: FileBatch) -> dict[str, str]:
        return announced(f.rare) if f.book == BACKTEST else {}

    def _hear(self, files: list[FileBatch], counted: list[Counted], out: Applied) -> None:
        """The rare records, one by one."""
        for f, got in zip(files, counted, strict=True):
            runs = self._runs_of(f)
            for line in got.rare:
                out.touched.update(hear(self, f.book, line, runs.get(getattr(line.record, "strategy", ""), "")))
            if got.shadows is not None:
                self._shadows(got.shadows, out)

    def _late_fees(self) -> None:
        """Marks of a fee's currency that came after the fills which they value: these fills are priced again."""
        for code, late in self.prices.late.items():
            for s in self.strategies.values():
                if late <= s.memory.fee_until.get(code, late - 1):
                    asked = self.rebuilder.of(s.name)
                    asked.quotes = self.prices.before
                    asked.late = min(asked.late, late)

    def _settle(self, s: Strategy, now: int) -> None:
        self.rebuilder.run(self, s)
        observed.settle(self, s, now)
        pairing.settle(s.books)
        if allowed.settle(s, self.parameters):
            pairing.settle(s.books)
        s.books.refresh()
        s.books.room = max(LEAST_ROWS, MOST_ROWS // max(1, len(self.strategies)))
        s.books.evict()

    def _rare_first(self, book: str, lines: list[Line]) -> None:
        """Runs and marks come before executions: the one says which of these count, the other prices their fees."""
        marks: dict[int, tuple[list[int], list[float]]] = {}
        for line in lines:
            record = line.record
            if isinstance(record, Run) and book == BACKTEST:
                self._run(record, line.ts)
            elif isinstance(record, Mark):
                sym = self.names.code(canonical(record.symbol, self.parameters))
                inverse = self.instruments.terms(record.symbol).inverse
                at = marks.setdefault(sym, ([], []))
                at[0].append(line.ts)
                at[1].append(1.0 / record.price if inverse else record.price)
        for sym, (ts, px) in marks.items():
            self.add_marks(sym, LIVE_MARK if book == LIVE else BACKTEST_MARK, np.array(ts, np.int64), np.array(px))

    def add_marks(self, sym: int, rank: int, ts: NDArray[np.int64], px: NDArray[np.float64]) -> None:
        self.prices.add(sym, rank, ts, px)

    # --- the rare -----------------------------------------------------------------------------------------------

    def _run(self, record: Run, created: int) -> None:
        """A newer run strips the backtest sides that it covers; kept in the store, gone from the judgement."""
        s = self.strategy(record.strategy)
        span = span_of(record, created, self.parameters)
        if span in s.books.runs:
            return
        asked = self.rebuilder.of(s.name)
        asked.runs = list(s.books.runs) if asked.runs is None else asked.runs
        s.books.runs.append(span)
        s.books.runs.sort(key=lambda r: (r.created, r.run_id))
        s.memory.runs = s.books.runs
        taken, partly = strip(s.books, self.names, span)
        s.ledger.post_rows(taken, -1)
        asked.names |= partly
        s.books.recheck(list(s.books.cells))

    def _shadows(self, c: FillColumns, out: Applied) -> None:
        for name, own in by_strategy([c]):
            shadow.absorb(self.strategies[name], own)
            self.strategies[name].memory.pulses[LIVE].see(int(own.ts.max()))
            out.touched.add(name)
