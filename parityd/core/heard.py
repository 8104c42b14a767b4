"""What the rows of one strategy tell of its symbols, and what of them has to be paired by time again.

1. Of each symbol a `Cell`: do the books share ids, is there an execution without one, which books trade it, how far do times lie apart.
2. Where both books trade a symbol and do not share ids, or hold an execution without one, every new or changed row is asked about (`touched`).
3. Rows of a symbol whose books share ids tell nothing new: they are not gone into.
"""

from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.fresh import Fresh
from parityd.core.hashing import U64, mix
from parityd.core.index import Places
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS
from parityd.core.rows import B_ID, BY_ID, DEAD, HAS_PARTS, L_ID, PAIRING_TIMES, PART, Rows
from parityd.core.shelves import NEAR_NS, Load, Shelves, Slack, distances
from parityd.core.sides import KEY, OTHER, TRADE, Presence, executed, nameless

JOINED_BY_TIME = PART | HAS_PARTS


class Cell(msgspec.Struct):
    """What is known of one symbol: do the books share ids, is there an execution without one, which books trade it."""

    ids_shared: bool = False
    idless: bool = False
    backtest: bool = False
    live: bool = False
    slack: Slack = msgspec.field(default_factory=Slack)


class Heard(Shelves):
    """The rows of one strategy, listened to."""

    def __init__(self, strategy: str, parameters: Parameters, places: Places, load: Load) -> None:
        super().__init__(strategy, parameters, places, load)
        self.cells: dict[int, Cell] = {}
        self.touched: dict[tuple[int, int], list[NDArray[np.int64]]] = {}  # (symbol, side) -> times to pair again

    def note(self, rows: Rows | Fresh) -> None:
        """Learn from new or changed rows, and ask for pairing by time where that can change."""
        if len(rows) == 0:
            return
        syms = np.ascontiguousarray(rows["sym"])
        present = np.unique(syms).tolist()
        if not (nameless(rows, BACKTEST) | nameless(rows, LIVE)).any():
            near = int(distances(rows).max())
            if near <= NEAR_NS and self.nothing_new(present, near):
                return
        if len(present) == 1:
            self._note_symbol(present[0], rows)
            return
        for sym in present:
            self._note_symbol(sym, rows[syms == sym])

    def nothing_new(self, syms: Iterable[int], near: int) -> bool:
        """Whether these symbols' books are known to share ids and to hold nothing without one: then rows with ids, whose times lie within `near`
        ns of their trade times, need no more than that to be remembered.
        """
        cells = [self.cells.get(sym) for sym in syms]
        if not all(c is not None and c.backtest and c.live and c.ids_shared and not c.idless for c in cells):
            return False
        for c in cells:
            if c is not None and c.slack.near < near:
                c.slack.near = near
        return True

    def learn(self, sym: int, found: Presence, rows: Callable[[], Rows | Fresh]) -> None:
        """As `note` of these rows of one symbol; they are looked at only where that needs more than what was found in them."""
        cell = self.cells.get(sym)
        known = cell or Cell()
        idless, backtest, live = known.idless or found.idless, known.backtest or found.backtest, known.live or found.live
        shared = known.ids_shared or (backtest and live and found.by_id)
        if found.near > NEAR_NS or (backtest and live and (idless or not shared)):
            self._note_symbol(sym, rows())
            return
        turned, known.ids_shared = shared and not known.ids_shared, shared
        known.idless, known.backtest, known.live = idless, backtest, live
        known.slack.near = max(known.slack.near, found.near)
        self.cells[sym] = known
        if turned and cell is not None:
            self._ask_all(sym, only_by_time=True)

    def _note_symbol(self, sym: int, r: Rows | Fresh) -> None:
        first = sym not in self.cells  # then these are all the rows of the symbol
        cell = self.cells.setdefault(sym, Cell())
        b, l = executed(r, BACKTEST), executed(r, LIVE)
        if not cell.idless:
            cell.idless = bool((((r["flags"] & B_ID) == 0) & b | ((r["flags"] & L_ID) == 0) & l).any())
        cell.backtest = cell.backtest or bool(b.any())
        cell.live = cell.live or bool(l.any())
        cell.slack.learn(r[b | l])
        if not cell.ids_shared and cell.backtest and cell.live and (bool((r["how"] == BY_ID).any()) or self._id_across(r[b | l])):
            cell.ids_shared = True
            if not first:
                self._ask_all(sym, only_by_time=True)
        if cell.backtest and cell.live and (cell.idless or not cell.ids_shared):
            self.ask(r[b | l])

    def _id_across(self, rows: Rows | Fresh) -> bool:
        """Whether the other book knows one of these ids on the other side."""
        for book in BOOKS:
            other = OTHER[book]
            r = rows[(rows[TRADE[book]] != 0) & executed(rows, book)]
            names = mix(r[TRADE[book]], (-r["side"].astype(np.int64)).view(np.uint64))
            there = self.read_names(names)
            if bool((executed(there, other) & np.isin(there[KEY[other]], names)).any()):
                return True
        return False

    def ask(self, rows: Rows | Fresh) -> None:
        """These rows, and what they can reach, must be paired again."""
        times = [rows[f] for f in PAIRING_TIMES]
        for side in np.unique(rows["side"]).tolist():
            mine = rows["side"] == side
            for sym in np.unique(rows["sym"][mine]).tolist():
                w = mine & (rows["sym"] == sym)
                t = np.unique(np.concatenate([c[w] for c in times]))
                self.touched.setdefault((sym, side), []).append(t[t != NO_TS])

    def _ask_all(self, sym: int, *, only_by_time: bool = False) -> None:
        """Whether ids are shared has changed: the symbol's executions are asked again; `only_by_time`: those that time joins or may join."""
        for number in sorted({*self.summaries, *self.shelves}):
            r = self.shelf(number).rows
            w = (r["sym"] == sym) & ((r["flags"] & DEAD) == 0)
            if only_by_time:
                w &= ((r["flags"] & JOINED_BY_TIME) != 0) | (r["how"] > BY_ID) | ((r["flags"] & (B_ID | L_ID)) == 0)
            mine = r[w]
            self.ask(mine[executed(mine, BACKTEST) | executed(mine, LIVE)])

    def recheck(self, syms: list[int]) -> None:
        """Executions were taken back: do the books still share ids?"""
        for sym in syms:
            cell = self.cells.get(sym)
            if cell is not None and cell.ids_shared and not self._still_shared(sym):
                cell.ids_shared = False
                self._ask_all(sym)

    def _still_shared(self, sym: int) -> bool:
        ids: dict[str, list[U64]] = {BACKTEST: [], LIVE: []}
        for number in sorted({*self.summaries, *self.shelves}, reverse=True):
            r = self.shelf(number).rows
            mine = r[(r["sym"] == sym) & ((r["flags"] & DEAD) == 0)]
            if (mine["how"] == BY_ID).any():
                return True
            for book in BOOKS:
                ids[book].append(mine[TRADE[book]][executed(mine, book) & (mine[TRADE[book]] != 0)])
        b, l = (np.concatenate(ids[book]) if ids[book] else np.zeros(0, np.uint64) for book in BOOKS)
        return bool(np.isin(b, l).any())
