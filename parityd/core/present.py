"""The present of one strategy -> its state findings (JUDGEMENT 4, second table). What is observed is `observed`'s; here it meets the clock.

1. They need no trades: silence, waiting, disagreement and disobedience speak for themselves, and end by themselves.
2. A book's silence, and an engine's that should acknowledge, counts from its last heartbeat's `next_by` where it gave one, and only in session
   time where the strategy has a calendar.
3. What was observed before a reset asks for nothing; imported history (nothing newer than seven days) has no present.
4. Every number is a function of memory, facts and `now`. `not_obeyed` alone is an event: it is told once an order, so the memory is part of the turn.
"""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Protocol

import msgspec
import numpy as np

from parityd.core import findings_state as table
from parityd.core.evidence import Finding
from parityd.core.marks import Marks
from parityd.core.obedience import TOLD
from parityd.core.observed import SECOND
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.records import NO_TS
from parityd.core.rows import shelf_of
from parityd.core.strategy import Strategy
from parityd.core.summary import L_ONLY, classes
from parityd.core.terms import Names
from parityd.core.watch import UNIT, Aligned
from parityd.core.window import DAY_NS, settling

SessionSeconds = Callable[[str, int, int], float]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the core cannot see for itself: the spool, the sources, failing outer parts, exchange calendars."""

    waiting: bool = False  # a file waits in the spool
    oldest_live_file: float | None = None  # age in seconds of the oldest unread one in spool/live
    sources: Mapping[str, tuple[int, int, tuple[str, ...]]] = {}  # source -> (refused, seen of its last records, strategies it feeds)
    degraded: tuple[str, ...] = ()
    backlog: bool = False  # only what both watermarks have passed is judged
    session_seconds: SessionSeconds | None = None  # (calendar, from ns, to ns) -> seconds of session between them


class World(Protocol):
    """What of the monitor is looked at."""

    @property
    def parameters(self) -> Parameters: ...
    @property
    def names(self) -> Names: ...
    @property
    def marks(self) -> Marks: ...


def state_findings(s: Strategy, m: World, facts: Facts, now: int, *, reset_ns: int = 0) -> list[Finding]:
    """All state findings of one strategy, as of `now`. `reset_ns`: the line that its last reset drew."""
    terms = m.parameters.of(s.name)
    s.memory.watch.reset_ns = max(s.memory.watch.reset_ns, reset_ns)
    found = [
        _stale_engine(s, terms, facts, now),
        _stale_backtest(s, m.parameters, facts, now),
        table.lagging(facts.oldest_live_file, terms.thresholds),
        _position_mismatch(s, m.names),
        _balance_mismatch(s, terms),
        _engine_unhealthy(s, terms, now),
        _not_obeyed(s),
        _unacknowledged(s, terms, facts, now),
        _broken_source(s, terms, facts),
        table.degraded(facts.degraded),
    ]
    return [one for one in found if one is not None]


def elapsed(start: int, end: int, terms: StrategyTerms, facts: Facts) -> float:
    """Seconds that count between two times, never below 0."""
    if end <= start:
        return 0.0
    if terms.calendar is not None and facts.session_seconds is not None:
        return facts.session_seconds(terms.calendar, start, end)
    return (end - start) / SECOND


def _stale_engine(s: Strategy, terms: StrategyTerms, facts: Facts, now: int) -> Finding | None:
    live, watch = s.live, s.memory.watch
    if live.watermark == NO_TS or not watch.recent or facts.oldest_live_file is not None:
        return None  # a file that nobody has read yet is no silence of the engine's
    exposed = watch.exposed() or (live.newest_fill != NO_TS and live.newest_fill > now - DAY_NS)
    silence = elapsed(max(live.watermark, live.next_by), now, terms, facts)
    promised = live.heartbeat != NO_TS
    return table.stale_engine(silence, promised=promised, exposed=exposed, thresholds=terms.thresholds, max_silence=terms.max_silence)


def _stale_backtest(s: Strategy, p: Parameters, facts: Facts, now: int) -> Finding | None:
    oldest = oldest_waiting(s, settling(s, p, now, waiting=facts.waiting).l_only)
    if oldest is None:
        return None
    terms = p.of(s.name)
    return table.stale_backtest(elapsed(max(oldest, s.backtest.next_by), now, terms, facts), terms.thresholds)


def oldest_waiting(s: Strategy, until: int) -> int | None:
    """Trade time of the oldest live execution without a backtest one that is not settled, drawn by a reset or imported."""
    after = max(until, s.memory.watch.reset_ns, s.memory.imported_until)
    for number in s.books.summaries.between(shelf_of(after), 2**62):
        low, high = s.books.summaries[number].spans[L_ONLY]
        if (low, high) == (0, 0) or high <= after:
            continue
        if low > after:
            return low
        r = s.books.shelf(number).rows
        return int(np.min(r["t"][classes(r)[L_ONLY] & (r["t"] > after)]))
    return None


def _position_mismatch(s: Strategy, names: Names) -> Finding | None:
    watch = s.memory.watch
    bad: list[tuple[int, str, Aligned]] = []
    for sym, accounts in watch.positions.items():
        for aligned in accounts.values():
            compared = [one for one in aligned.compared if one.ts > watch.reset_ns]
            if len(compared) > 1 and all(one.differs for one in compared):
                bad.append((abs(compared[-1].reported - compared[-1].expected), names[sym], aligned))
    if not bad:
        return None
    _, symbol, aligned = max(bad, key=lambda one: (one[0], one[1]))
    last = aligned.compared[-1]
    return table.position_mismatch(len(aligned.compared), symbol=symbol, reported=last.reported / UNIT, expected=last.expected / UNIT)


def _balance_mismatch(s: Strategy, terms: StrategyTerms) -> Finding | None:
    watch = s.memory.watch
    found = []
    for own in (one for accounts in watch.balances.values() for one in accounts.values()):
        bad = [share for ts, share in own.bad if ts > watch.reset_ns]
        if bad:
            found.append((len(bad), bad[-1]))
    times, share = max(found, key=lambda one: (one[0], abs(one[1])), default=(0, None))
    return table.balance_mismatch(times, share, terms.thresholds)


def _engine_unhealthy(s: Strategy, terms: StrategyTerms, now: int) -> Finding | None:
    live = s.live
    down = sorted(name for name, times in live.false_count.items() if times >= table.TWICE)
    down = [name for name in down if (now - live.false_since[name]) / SECOND >= terms.thresholds.unhealthy_after]
    if not down or not s.memory.watch.recent or live.heartbeat <= s.memory.watch.reset_ns:
        return None
    since = min(live.false_since[name] for name in down)
    times = max(live.false_count[name] for name in down)
    return table.engine_unhealthy(down, (now - since) / SECOND, times, terms.thresholds, live.detail)


def _not_obeyed(s: Strategy) -> Finding | None:
    """Orders found since the last look, told once."""
    watch = s.memory.watch
    new = [one for one in watch.disobeyed if one.ts > watch.reset_ns]
    watch.told = [*watch.told, *(one.order for one in watch.disobeyed)][-TOLD:]
    watch.disobeyed = []
    if not new:
        return None
    worst = new[-1]
    return table.not_obeyed(len(new), action=worst.action, position_known=True, example=worst.example)


def _unacknowledged(s: Strategy, terms: StrategyTerms, facts: Facts, now: int) -> Finding | None:
    issued = s.memory.publications.unacknowledged_since()
    if issued is None or not s.memory.watch.recent:
        return None
    gaps = s.live.gaps
    waited = elapsed(max(issued, s.live.next_by), now, terms, facts)
    return table.unacknowledged(waited, median(gaps) / SECOND if gaps else None, terms.thresholds)


def _broken_source(s: Strategy, terms: StrategyTerms, facts: Facts) -> Finding | None:
    found = [
        finding
        for source, (refused, seen, feeds) in sorted(facts.sources.items())
        if s.name in feeds and (finding := table.broken_source(source, refused, seen, terms.thresholds)) is not None
    ]
    return max(found, key=lambda finding: finding.value or 0.0, default=None)
