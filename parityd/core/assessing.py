"""One strategy, one moment: everything measured, and everything found (the numbers become findings here, nothing is decided).

1. Parity findings come from the evidence window, state findings from the present; a closed period is judged by its own trades alone.
2. What cannot be measured yet is None in the evidence, and never asks.
"""

from typing import Any

import msgspec

from parityd.core.evidence import Assessment, Finding
from parityd.core.findings import assess
from parityd.core.instants import day_start
from parityd.core.judging import Judged, carried_in, judge, late_rows
from parityd.core.ladder_recovery import Trial
from parityd.core.ladder_state import LadderState
from parityd.core.measures import Carried, attribute, convert, in_bps
from parityd.core.monitor import Monitor
from parityd.core.records import NO_TS
from parityd.core.strategy import Strategy
from parityd.core.window import DAY_NS, Settling, settling, summed


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the core cannot see for itself: the spool, the sources, failing outer parts."""

    waiting: bool = False  # a file waits in the spool
    oldest_live_file: float | None = None  # age in seconds
    sources: dict[str, tuple[int, int, tuple[str, ...]]] = {}  # source -> (refused, seen of the last records, strategies it feeds)
    degraded: tuple[str, ...] = ()


class Assessed(msgspec.Struct):
    """What was measured and found of one strategy."""

    judged: Judged
    assessment: Assessment
    findings: list[Finding]
    metrics: dict[str, float | None]
    trades: dict[str, int]
    attribution: dict[str, float | None]
    drift: dict[str, Any] | None
    quality_grade: str | None
    until: Settling
    strategy: Strategy

    def fresh(self, since: int) -> int:
        """Settled executions newer than `since` (their trade time)."""
        if self.judged.window is None:
            return 0
        sums, _ = summed(self.strategy.books, since + 1, self.judged.window.end, self.until)
        return sums.settled


def assess_strategy(m: Monitor, s: Strategy, now: int, facts: Facts) -> Assessed:
    """Measure and judge one strategy as of `now`."""
    until = settling(s, m.parameters, now, waiting=facts.waiting)
    judged = judge(s, m.parameters, until, now)
    assessment = assess(judged.evidence, m.parameters.of(s.name))
    findings = list(assessment.findings)
    return Assessed(judged, assessment, findings, judged.metrics, judged.trades, window_attribution(m, s, judged, until), None, None, until, s)


def window_attribution(m: Monitor, s: Strategy, judged: Judged, until: Settling) -> dict[str, float | None]:
    """The components over the window in bps, as the report names them (without what positions carried in: that needs the history)."""
    w = judged.window
    if w is None:
        return {}
    a = attribute(w.sums, w.start, w.end, m.marks, m.names, {}, {}, lambda sym, t: late_rows(s, w.start, w.end, until, sym, t))  # type: ignore[arg-type]
    return in_bps(convert(a, rates(m, list(a.by_currency), w.end)))


def rates(m: Monitor, currencies: list[str], t: int) -> dict[str, float | None]:
    """Value of one unit of each currency in the reporting currency at a time."""
    target = m.parameters.reporting_currency
    out: dict[str, float | None] = {}
    for ccy in currencies:
        if ccy == target:
            out[ccy] = 1.0
            continue
        direct = m.fee_price(ccy, target, t) if target else None
        inverse = m.fee_price(target, ccy, t) if target and direct is None else None
        out[ccy] = direct if direct is not None else 1.0 / inverse if inverse else None
    return out


def assess_period(m: Monitor, s: Strategy, day: str, now: int, facts: Facts, reset_ns: int) -> list[Finding] | None:
    """Parity findings of one UTC day's own trades; None under `min_trades`."""
    from parityd.core.judging import judge_between

    start = max(day_start(day), reset_ns)
    until = settling(s, m.parameters, now, waiting=facts.waiting)
    judged = judge_between(s, m.parameters, until, start, day_start(day) + DAY_NS - 1)
    if judged.evidence.settled < m.parameters.of(s.name).thresholds.min_trades:
        return None
    return list(assess(judged.evidence, m.parameters.of(s.name)).findings)


def day_extras(m: Monitor, s: Strategy, day: str, now: int) -> dict[str, Any]:
    """What a day's report says of a strategy beside its trades."""
    return {}


def shadow_trial(_m: Monitor, _s: Strategy, _state: LadderState, _now: int) -> Trial | None:
    return None


__all__ = ["NO_TS", "Assessed", "Carried", "Facts", "assess_period", "assess_strategy", "carried_in", "shadow_trial"]
