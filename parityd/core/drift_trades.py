"""The stream of trades that the drift detectors read: settled matched trades in order of (trade time, name of the backtest's execution).

1. Taken up to the frontier, the time up to which all that can settle has settled; suspect, suppressed and unmatched trades are not of it.
2. Each shelf's trades are remembered by a hash (`drift_order`). A shelf that no longer holds what was taken of it sends the stream back before it: to a snapshot of
   the last days, else to the start of an epoch. Hence what the detectors know is a function of the set of trades, not of arrival or batches.
3. An epoch begins with the first trade, after a favourable alarm, and with the first trade 7 days after the last adverse alarm of the epoch.
4. The horizon of an epoch is the count of matched trades of the 30 UTC days before the day it begins on, and of that day until then, at least 1,000.
   An epoch that takes twice its horizon within 30 days has the budget of a slower strategy: it is outgrown, and the next trade begins a new one.
   Without that a strategy's first busy day would spend the false alarms of months.
5. A shelf beyond the head in which nothing is of the stream (all suppressed, while a strategy is stopped) is looked at again when it changes.
"""

from typing import Any
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from parityd.core.books import Books
from parityd.core.drift import MIN_HORIZON, Detectors
from parityd.core.drift_alarms import Raised, latch_of
from parityd.core.drift_order import NOT_SEEN, Place, Seen, Trades, joined, pieces, reached, taken, trades_of
from parityd.core.drift_sides import EPOCH_POINTS, TradeSide
from parityd.core.records import NO_TS
from parityd.core.rows import SHELF_NS, shelf_of
from parityd.core.summary import ID, TIMED, ShelfSummary

A_DAY, KEPT_DAYS, HORIZON_DAYS = 96, 33, 30
DAY_NS = A_DAY * SHELF_NS
SNAPSHOTS = 4
MANY = 4096
"""Trades that may be read before shelves are let go of."""
_SAME = 1e-6


class Start(msgspec.Struct, array_like=True, frozen=True):
    """The first trade of an epoch."""

    t: int
    key: int
    epoch: int


class Snapshot(msgspec.Struct, frozen=True):
    """The stream as it was at the end of a day."""

    head: Place
    side: dict[str, Any]
    days: list[list[int]]


class TradeStream:
    """Feeds the trade side of `detectors`; `raised` is shared with the other side."""

    def __init__(self, detectors: Detectors, raised: list[Raised], line: int = NO_TS) -> None:
        self.detectors, self.raised = detectors, raised
        self.seen: dict[int, Seen] = {}
        self.days: list[list[int]] = []  # (UTC day, trades) of the epoch
        self.begin(line, detectors.trades.epoch)

    def begin(self, line: int, epoch: int) -> None:
        """Forget all trades and begin an epoch with the first one at or after the line."""
        self.line = line
        self.head: Place = (max(line, -(2**62)) - 1, 0)
        self.starts = [Start(self.head[0] + 1, 0, epoch)]
        self.seen.clear()
        self.days = []
        self.detectors.trades = blank_trades(self.detectors.strategy, epoch)
        self._snapshots: list[Snapshot] = []
        self._looked = WeakValueDictionary[int, ShelfSummary]()  # as they were taken; what has left memory is looked at again
        self._counts: dict[int, int] = {}
        self._barren: set[int] = set()
        self._mark = 0
        self._restored = False

    def follow(self, books: Books, frontier: int) -> bool:
        """Take what is settled up to the frontier; whether the detectors know anything new."""
        frontier = max(frontier, self.head[0])
        wrong = self._wrong(books, frontier)
        if wrong is not None:
            self._rewind(books, wrong, frontier)
        fresh, read = [], 0
        for number in self._numbers(books, shelf_of(self.head[0]), shelf_of(frontier)):
            if number in self._barren:
                continue
            found = self._trades(books, number, frontier)
            part = found[reached(found, self.head) :]
            if len(part):
                fresh.append(part)
            elif not len(found) and (number + 1) * SHELF_NS <= frontier:
                self._barren.add(number)
            read += len(found)
            if read >= MANY:
                books.evict()
                read = 0
        books.evict()
        if fresh:
            self._take(books, joined(fresh))
        return bool(fresh) or wrong is not None

    def _numbers(self, books: Books, low: int, high: int) -> list[int]:
        """Shelves low..high that have rows, in order."""
        return books.summaries.between(low, high)

    def _trades(self, books: Books, number: int, frontier: int) -> Trades:
        return trades_of(books.shelf(number).rows, self.line, frontier)

    # --- what changed ---------------------------------------------------------------------------------------------

    def _wrong(self, books: Books, frontier: int) -> int | None:
        """The oldest shelf that no longer holds what was taken of it."""
        last = shelf_of(self.head[0])
        wrong: int | None = None
        changed, self._mark = books.summaries.changed(0 if self._restored else self._mark)
        if changed is None or self._restored:
            changed = books.summaries.between(self._oldest(), last)
            self._barren.clear()
        self._barren.difference_update(changed)
        for number in changed if self.seen else []:
            summary = books.summaries.get(number)
            if summary is None or not self._oldest() <= number <= last:
                continue
            if self._looked.get(number) is summary:
                continue
            if not (self._restored and number < last and self._alike(number, summary)):
                now, before = taken(self._trades(books, number, frontier), self.head), self.seen.get(number, NOT_SEEN)
                if (now.count, now.print) != (before.count, before.print):
                    wrong = number
                    break
            self._looked[number] = summary
        self._restored = False
        return wrong

    def _oldest(self) -> int:
        """The oldest shelf that is still watched: of the epoch, or of the last 33 days."""
        return min(shelf_of(self.starts[-1].t), shelf_of(self.head[0]) - KEPT_DAYS * A_DAY)

    def _alike(self, number: int, summary: ShelfSummary) -> bool:
        """By sums alone: after a restart nothing is read that did not change."""
        before = self.seen.get(number, NOT_SEEN)
        n, total = (sum(summary.parts[k][name] for k in (ID, TIMED)) for name in ("n", "d"))
        return n == before.count and abs(total - before.total) <= _SAME * (1.0 + abs(total))

    def _rewind(self, books: Books, number: int, frontier: int) -> None:
        """Back to before this shelf."""
        target = number * SHELF_NS
        starts = [one for one in self.starts if one.t < target] or self.starts[:1]
        self._snapshots = [one for one in self._snapshots if one.head[0] < target]
        last = starts[-1]
        if self._snapshots and self._snapshots[-1].head >= (last.t, last.key):
            kept = self._snapshots[-1]
            self.head, self.days = kept.head, [list(d) for d in kept.days]
            self.detectors.trades = TradeSide.restore(self.detectors.strategy, kept.side)
            self.starts = starts
        else:
            self.head, self.days = (last.t, max(0, last.key - 1)), []
            self.detectors.trades = blank_trades(self.detectors.strategy, last.epoch)
            self.starts = starts[:-1] or starts
        self.raised[:] = [one for one in self.raised if one.side != "trades" or (one.at, one.alarm.key) <= self.head]
        shelf = shelf_of(self.head[0])
        self.seen = {k: v for k, v in self.seen.items() if k < shelf}
        self._let_go([k for k in self._looked if k >= shelf])
        self._counts.clear()
        if shelf in books.summaries:
            self._remember(books, shelf, frontier)

    def _let_go(self, numbers: list[int]) -> None:
        for number in numbers:
            self._looked.pop(number, None)

    def _remember(self, books: Books, number: int, frontier: int) -> None:
        mine = taken(self._trades(books, number, frontier), self.head)
        if mine.count:
            self.seen[number] = mine
            self._looked[number] = books.summaries[number]

    # --- what is new ----------------------------------------------------------------------------------------------

    def _take(self, books: Books, trades: Trades) -> None:
        last = int(trades["t"][-1]) // DAY_NS
        for day, piece in pieces(trades, DAY_NS):
            if day > last - SNAPSHOTS and day > self.head[0] // DAY_NS and len(self.detectors.trades.price.ranks):
                kept = Snapshot(self.head, self.detectors.trades.state(), [list(d) for d in self.days])
                self._snapshots = [*self._snapshots, kept][-SNAPSHOTS:]
            self._take_day(books, piece, day)
        for number, mine in pieces(trades, SHELF_NS):
            if number in self.seen:
                self._remember(books, number, int(trades["t"][-1]))
            else:
                self.seen[number] = taken(mine, self.head)
                self._looked[number] = books.summaries[number]
        oldest = self._oldest()
        if min(self.seen) < oldest:
            self.seen = {k: v for k, v in self.seen.items() if k >= oldest}
            self._let_go([k for k in self._looked if k < oldest])
        head = shelf_of(self.head[0])
        self._barren = {k for k in self._barren if k > head}

    def _take_day(self, books: Books, trades: Trades, day: int) -> None:
        """Trades of one UTC day; the latch of an alarm that they raise ends after it."""
        end = latch_of(self.raised, "trades", self.detectors.trades.epoch)
        if end is not None and int(trades["t"][-1]) >= end:
            cut = int(np.searchsorted(trades["t"], end))
            self._feed(books, trades[:cut], day, 0)
            self.detectors.trades = blank_trades(self.detectors.strategy, self.detectors.trades.epoch + 1)
            self._feed(books, trades[cut:], day, cut)
        else:
            self._feed(books, trades, day, 0)

    def _feed(self, books: Books, trades: Trades, day: int, earlier: int) -> None:
        """In pieces that end where the epoch has grown full. `earlier`: trades of the day that were fed just before."""
        count = self.horizon(books, day) + earlier
        count += sum(self.seen[number].count for number in range(day * A_DAY, (day + 1) * A_DAY) if number in self.seen)
        done = 0
        while done < len(trades):
            self._outgrow()
            side = self.detectors.trades
            left = min(2 * side.horizon, EPOCH_POINTS) - len(side.price.ranks)
            size = left if left > 0 and not side.ended else 2 * MIN_HORIZON
            done += self._step(books, trades[done : done + size], day, count + done)

    def _outgrow(self) -> None:
        """Let the next trade begin a new epoch, where this one has taken twice its horizon within 30 days."""
        side = self.detectors.trades
        full = len(side.price.ranks) == min(2 * side.horizon, EPOCH_POINTS)
        if full and not side.adverse and self.head[0] - self.starts[-1].t <= HORIZON_DAYS * DAY_NS:
            self.detectors.trades = blank_trades(self.detectors.strategy, side.epoch + 1)

    def _step(self, books: Books, trades: Trades, day: int, earlier: int) -> int:
        """How many of the trades were taken. `earlier`: matched trades of the 30 days before this one and of this one, until these."""
        side, horizons = self.detectors.trades, np.maximum(MIN_HORIZON, earlier + np.arange(len(trades), dtype=np.float64))
        epoch, before = side.epoch, len(side.price.ranks)
        key, d, slip = (np.ascontiguousarray(trades[name]) for name in ("key", "d", "slip"))
        if not before:
            slips, horizon = bool(np.isfinite(slip[0])), int(horizons[0])
            self.detectors.trades = TradeSide(self.detectors.strategy, epoch=epoch, horizon=horizon, with_slippage=slips, normalised=False)
        took, alarms = self.detectors.take_trades(key, d, slip, np.full(len(d), np.nan), horizons)
        for alarm in alarms:
            at, changed = (_time_of(books, key, trades) for key in (alarm.key, alarm.change_key))
            self.raised.append(Raised(side="trades", at=at, changed_at=changed, alarm=alarm))
        self.detectors.past.clear()
        self._count(trades[:took], day, epoch, before)
        self.head = (int(trades["t"][took - 1]), int(trades["key"][took - 1]))
        return took

    def _count(self, trades: Trades, day: int, epoch: int, before: int) -> None:
        side = self.detectors.trades
        now = len(side.price.ranks)
        if side.epoch != epoch or not before:
            first = trades[len(trades) - now]
            self.starts = [*self.starts, Start(int(first["t"]), int(first["key"]), side.epoch)]
            self.days, before = [], 0
        if now > before:
            if self.days and self.days[-1][0] == day:
                self.days[-1][1] += now - before
            else:
                self.days.append([day, now - before])

    def horizon(self, books: Books, day: int) -> int:
        """Matched trades of the 30 UTC days before this one."""
        total = 0
        if not books.summaries.between((day - HORIZON_DAYS) * A_DAY, day * A_DAY - 1):
            return total
        for k in range(day - HORIZON_DAYS, day):
            count = self._counts.get(k)
            if count is None:
                shelves = [books.summaries[number] for number in books.summaries.between(k * A_DAY, (k + 1) * A_DAY - 1)]
                count = int(sum(x.parts[kind]["n"] for x in shelves for kind in (ID, TIMED)))
                if k < self.head[0] // DAY_NS:
                    self._counts[k] = count
            total += count
        return total

    # --- what is kept ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All but the snapshots, in plain types."""
        side = self.detectors.trades
        return {
            "line": self.line,
            "head": self.head,
            "starts": msgspec.to_builtins(self.starts),
            "days": self.days,
            "seen": [[k, v.count, v.print, v.total] for k, v in self.seen.items()],
            "epoch": side.epoch,
            "side": side.state() if len(side.price.ranks) else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.begin(state["line"], state["epoch"])
        self.head = (state["head"][0], state["head"][1])
        self.starts = msgspec.convert(state["starts"], list[Start])
        self.days = [list(d) for d in state["days"]]
        self.seen = {k: Seen(n, p, total) for k, n, p, total in state["seen"]}
        if state["side"] is not None:
            self.detectors.trades = TradeSide.restore(self.detectors.strategy, state["side"])
        self._restored = True


def blank_trades(strategy: str, epoch: int) -> TradeSide:
    """A side that has seen nothing; its first trade says what it measures."""
    return TradeSide(strategy, epoch=epoch, horizon=MIN_HORIZON, with_slippage=False, normalised=False)


def _time_of(books: Books, key: int, trades: Trades) -> int:
    here = np.flatnonzero(trades["key"] == np.uint64(key))
    if len(here):
        return int(trades["t"][here[0]])
    found = books.locate(key)
    return int(trades["t"][0]) if found is None else int(found[0].view["t"][found[1]])
