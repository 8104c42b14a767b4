"""Drift of one strategy: the two streams, the detectors that read them, and what is said of it.

1. What the detectors know is a function of the settled trades and counted intervals since the last reset, however they came and whenever it was
   looked (`drift_trades`, `drift_intervals`). `state` and `restore` move it; what changed meanwhile is found and mended.
2. A reset (the memory's line) ends both epochs; points before the line are no longer read.
3. An alarm stands until its latch ends, by the clock of the reading; the evidence of an epoch whose latch has ended says nothing any more.
4. `confidence`, by which WARNING is asked, is the system's over all channels; while an alarm stands, the strongest channel's. Both are shown.
5. The founding rules are figures beside it. They raise nothing.
"""

from typing import Any, Self

import msgspec
import numpy as np

from parityd.core.drift import SHARES, Detectors
from parityd.core.drift_alarms import Raised, gravest, latch_of
from parityd.core.drift_intervals import IntervalStream, blank_intervals
from parityd.core.drift_rules import rules_of_thumb
from parityd.core.drift_trades import TradeStream, blank_trades
from parityd.core.evidence import DriftAlarm
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.returns import Returns
from parityd.core.strategy import Strategy
from parityd.core.window import Settling

VERSION = 1
REMEMBERED = 32
"""Raised alarms that are kept."""
BUDGET = 0.05


class DriftState(msgspec.Struct, frozen=True, kw_only=True):
    """What a judgement is told. Confidences are None until a channel has been bet on; `alarm` is the gravest of the standing ones."""

    confidence: float | None = None
    strongest: float | None = None
    alarm: DriftAlarm | None = None
    standing: tuple[Raised, ...] = ()


class DriftFeed:
    """One strategy's drift: mutable, single-owner."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.detectors = Detectors.fresh(strategy)
        self.raised: list[Raised] = []
        self.trades = TradeStream(self.detectors, self.raised)
        self.intervals = IntervalStream(self.detectors, self.raised)
        self.line = NO_TS
        self.changed = False
        """Whether there is anything that `state` has not been asked for yet."""
        self._rules: dict[str, Any] | None = None  # until something is read
        self._followed: Returns | None = None  # what the intervals were taken from last

    def feed(self, s: Strategy, returns: Returns | None, until: Settling, now: int) -> DriftState:
        """Read what is settled and counted by now (ns), and say what it means. `returns`: the window's, as `measured_returns` gives them."""
        if s.memory.line != self.line:
            self._reset(s.memory.line)
        self._learnt(self.trades.follow(s.books, _frontier(s, until)))
        if returns is not None and returns is not self._followed:
            capital, self._followed = s.books.parameters.of(s.name).capital, returns
            self._learnt(self.intervals.follow(returns, capital, lambda day: self.trades.horizon(s.books, day)))
        del self.raised[:-REMEMBERED]
        return self.read(now)

    def keep_up(self, s: Strategy, until: Settling) -> None:
        """Read trades while their rows are in memory; what they mean is asked later."""
        if s.memory.line == self.line:
            self._learnt(self.trades.follow(s.books, _frontier(s, until)))

    def _learnt(self, anything: bool) -> None:
        if anything:
            self.changed, self._rules = True, None

    def _reset(self, line: int) -> None:
        self.line, self._followed = line, None
        self._learnt(True)
        self.trades.begin(line, self.detectors.trades.epoch + (self.trades.head[0] >= self.trades.starts[0].t))
        self.intervals.begin(line, self.detectors.intervals.epoch + (len(self.intervals.points) > 0))

    def read(self, now: int) -> DriftState:
        """What stands at a time, without reading anything new."""
        view, standing = self._view(now)
        known = any(one.evidence.count for one in view.channels.values())
        system, strongest = view.confidences() if known else (None, None)
        told = strongest if standing else system
        return DriftState(confidence=told, strongest=strongest, alarm=gravest(standing), standing=tuple(standing))

    def view(self, now: int) -> Detectors:
        """The detectors as they count at a time."""
        return self._view(now)[0]

    def _view(self, now: int) -> tuple[Detectors, list[Raised]]:
        """The detectors without the epochs whose latch has ended, and the alarms that stand."""
        view = Detectors(self.strategy, self.detectors.trades, self.detectors.intervals)
        end = latch_of(self.raised, "trades", view.trades.epoch)
        if end is not None and now >= end:
            view.trades = blank_trades(self.strategy, view.trades.epoch + 1)
        end = latch_of(self.raised, "intervals", view.intervals.epoch)
        if end is not None and now >= end:
            view.intervals = blank_intervals(self.strategy, view.intervals.epoch + 1)
        epochs = {"trades": view.trades.epoch, "intervals": view.intervals.epoch}
        return view, [one for one in self.raised if one.alarm.epoch == epochs[one.side] and now < one.until]

    def summary(self, now: int) -> dict[str, Any]:
        """The report's `drift`: channels, confidences, budget, the alarms that stand and those that stood, the founding rules."""
        view, standing = self._view(now)
        out = view.summary()
        for one in standing:
            out["channels"][one.alarm.channel]["alarm"] = one.shown()
        out["alarm"] = bool(standing)
        out["past"] = [one.shown() for one in self.raised if one not in standing]
        shares = {name: one.evidence.share for name, one in view.channels.items()}
        out["budget"] = {
            "false_alarms": BUDGET,
            "per_trades": view.trades.horizon,
            "per_intervals": view.intervals.horizon,
            "shares": shares,
        }
        out["rules"] = self.rules()
        return out

    def rules(self) -> dict[str, Any]:
        """The founding rules (a) to (d) over the present epochs."""
        if self._rules is None:
            self._rules = self._ruled()
        return self._rules

    def _ruled(self) -> dict[str, Any]:
        side = self.detectors.trades
        d = np.frombuffer(side.price.ranks.bps)
        ends = np.cumsum([n for _, n in self.trades.days], dtype=np.int64)
        days = [float(np.sqrt(np.mean(part * part))) for part in np.split(d, ends[:-1]) if len(part)] if len(ends) else []
        back, live = self.intervals.returns()
        slips = np.frombuffer(side.slippage.ranks.bps) if side.slippage else np.zeros(0)
        return rules_of_thumb(daily_tracking_error_bps=days, backtest_returns=back, live_returns=live, slippages_bps=slips)

    def state(self) -> bytes:
        """All of it. `restore` gives it back bit for bit."""
        self.changed = False
        kept = {"version": VERSION, "strategy": self.strategy, "line": self.line, "raised": msgspec.to_builtins(self.raised)}
        return msgspec.msgpack.encode({**kept, "trades": self.trades.state(), "intervals": self.intervals.state()})

    @classmethod
    def restore(cls, data: bytes) -> Self:
        """The feed that gave this `state`; ValueError if it is of another version: then a fresh one reads everything again."""
        state = msgspec.msgpack.decode(data)
        if state.get("version") != VERSION:
            raise ValueError(f"drift state of version {state.get('version')!r}, expected {VERSION}")
        feed = cls(state["strategy"])
        feed.line = state["line"]
        feed.raised += msgspec.convert(state["raised"], list[Raised])
        feed.trades.load(state["trades"])
        feed.intervals.load(state["intervals"])
        return feed


def _frontier(s: Strategy, until: Settling) -> int:
    """The trade time up to which everything that can be matched is. Where all executions carry ids nothing is paired by time later."""
    if any(cell.idless or not cell.ids_shared for cell in s.books.cells.values()):
        return until.timed
    marks = [s.memory.pulses[book].watermark for book in (LIVE, BACKTEST)]
    return until.timed if NO_TS in marks else max(until.timed, min(marks))


__all__ = ["BUDGET", "SHARES", "DriftFeed", "DriftState"]
