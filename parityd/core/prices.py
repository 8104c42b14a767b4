"""What records say of prices: marks, decision marks, traded prices, and what a fee in another currency is worth.

1. Marks of a symbol are one series for both books (`marks`); prices of inverse contracts are turned before they get there.
2. A fee is worth the newest mark of FEE/QUOTE at or before its fill. Whoever asked is remembered (`asked`), so that a mark which comes late
   can be told from one that changes nothing.
3. What was added since the last commit is in `fresh`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.grouping import each
from parityd.core.marks import BACKTEST_MARK, LIVE_MARK, TRADED, TRADED_LIVE, TRADES, Marks, taken_back
from parityd.core.parameters import Parameters
from parityd.core.records import LIVE, NO_TS
from parityd.core.splits import Splits
from parityd.core.terms import Instruments, Names, Pair, canonical

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Quotes = Mapping[int, tuple[I64, F64]]
NONE: Quotes = {}


class Prices:
    """The one source of prices."""

    def __init__(self, parameters: Parameters, names: Names, instruments: Instruments, splits: Splits) -> None:
        self.parameters, self.names, self.instruments = parameters, names, instruments
        self.marks = Marks(splits)
        self.fresh: list[tuple[int, int, I64, F64]] = []
        self.asked: dict[int, int] = {}  # symbol of FEE/QUOTE -> newest fill that asked in this turn
        self.before: dict[int, tuple[I64, F64]] = {}  # marks as they were before the turn, of symbols that fees were asked of
        self.late: dict[int, int] = {}  # ... and the oldest mark that came in this turn
        self.watched: dict[int, int] = {}  # symbol -> newest fill that ever asked

    def begin(self) -> None:
        self.before, self.late, self.asked = {}, {}, {}

    def add(self, sym: int, rank: int, ts: I64, px: F64) -> None:
        if len(ts) == 0:
            return
        if rank not in TRADES and int(ts.min()) <= self.watched.get(sym, NO_TS):
            self.before.setdefault(sym, self.marks.marks_only(sym))
            self.late[sym] = min(self.late.get(sym, 2**62), int(ts.min()))
        self.marks.add(sym, rank, ts, px)
        self.fresh.append((sym, rank, ts, px))

    def mark_from(self, book: str, owner: I32, ts: I64, px: F64, *, back: bool = False) -> None:
        """Marks, decision marks: those of the records that have one."""
        rank = LIVE_MARK if book == LIVE else BACKTEST_MARK
        good = ~np.isnan(px)
        if good.any():
            self._add_each(owner, ts, px, good, taken_back(rank) if back else rank)

    def traded_from(self, book: str, owner: I32, ts: I64, px: F64, *, back: bool = False) -> None:
        """Prices at which fills or simulated executions were made."""
        rank = TRADED_LIVE if book == LIVE else TRADED
        if len(ts):
            self._add_each(owner, ts, px, np.ones(len(ts), np.bool_), taken_back(rank) if back else rank)

    def _add_each(self, owner: I32, ts: I64, px: F64, good: NDArray[np.bool_], rank: int) -> None:
        if not good.all():
            owner, ts, px = owner[good], ts[good], px[good]
        present = {o: owners.name(o)[1] for o in owners.distinct(owner)}
        symbols = list(dict.fromkeys(present.values()))
        if len(symbols) == 1:
            self._add_symbol(symbols[0], rank, ts, px)
            return
        places = {symbol: k for k, symbol in enumerate(symbols)}
        for k, w in each(owners.looked_up(owner, lambda _, symbol: places[symbol], np.int32)):
            self._add_symbol(symbols[k], rank, ts[w], px[w])

    def _add_symbol(self, symbol: str, rank: int, ts: I64, px: F64) -> None:
        values = 1.0 / px if self.instruments.terms(symbol).inverse else px
        self.add(self.names.code(canonical(symbol, self.parameters)), rank, ts, values)

    # --- fees -----------------------------------------------------------------------------------------------------

    def fees(self, currency: str, quote: str, t: I64) -> F64:
        """Newest mark of FEE/QUOTE at or before each time, NaN where there is none. Who asks is remembered."""
        for text in _pairs(currency, quote):
            code = self.names.code(canonical(text, self.parameters))
            self.asked[code] = max(self.asked.get(code, NO_TS), int(t.max()))
        return self.worth(currency, quote, t)

    def worth(self, currency: str, quote: str, t: I64, before: Quotes = NONE) -> F64:
        """The same, unremembered. `before`: series to be read in place of the present ones."""
        out, when = np.full(len(t), np.nan), np.full(len(t), NO_TS)
        for text in _pairs(currency, quote):
            code = self.names.codes.get(canonical(text, self.parameters))
            if code is None:
                continue
            ts, px = before[code] if code in before else self.marks.marks_only(code)
            k = np.searchsorted(ts, t, side="right") - 1
            newer = np.flatnonzero(k >= 0)
            newer = newer[ts[k[newer]] > when[newer]]
            out[newer], when[newer] = px[k[newer]], ts[k[newer]]
        return out

    def funding(self, pair: Pair, currency: str, amount: float, t: int, before: Quotes = NONE) -> float | None:
        """Funding in the quote currency, valued like a fee; in the base currency at the symbol's own mark. None: unpriced. It is remembered as
        one that asked.
        """
        if currency in ("", pair.quote) or not pair.quote:
            return amount
        at = np.array([t])
        rate = float((self.worth(currency, pair.quote, at, before) if before else self.fees(currency, pair.quote, at))[0])
        if np.isnan(rate) and currency in (pair.base, pair.own_base):
            self.asked[pair.sym] = max(self.asked.get(pair.sym, NO_TS), t)
            ts, px = before[pair.sym] if pair.sym in before else self.marks.marks_only(pair.sym)
            k = int(np.searchsorted(ts, t, side="right")) - 1
            rate = float(px[k]) if k >= 0 else rate
        return None if np.isnan(rate) else amount * rate

    def remember(self, until: dict[int, int]) -> None:
        """Who asked in this turn: into a strategy's memory, and watched from now on."""
        for code, newest in self.asked.items():
            until[code] = max(until.get(code, NO_TS), newest)
            self.watched[code] = max(self.watched.get(code, NO_TS), newest)
        self.asked.clear()

    def fee(self, currency: str, quote: str, t: int) -> float | None:
        """The same at one time."""
        found = float(self.worth(currency, quote, np.array([t]))[0])
        return None if np.isnan(found) else found


def _pairs(currency: str, quote: str) -> tuple[str, str]:
    return f"{currency}/{quote}", f"{currency}-{quote}"
