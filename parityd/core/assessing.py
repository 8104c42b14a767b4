"""One strategy, one moment: everything measured, and everything found (the numbers become findings here, nothing is decided).

1. Parity findings come from the evidence window, state findings from the present; a closed period is judged by its own trades alone.
2. What cannot be measured yet is None in the evidence, and never asks.
"""

from typing import Any

import msgspec

from parityd.core import shadow
from parityd.core.evidence import Assessment, Finding
from parityd.core.findings import assess
from parityd.core.gauges import Gauges
from parityd.core.instants import day_start
from parityd.core.judging import Judged, carried_in, judge_between, late_rows
from parityd.core.keeping import Windows
from parityd.core.ladder_recovery import Trial, on_shadow
from parityd.core.ladder_state import LadderState
from parityd.core.measures import Carried, attribute, convert, in_bps
from parityd.core.monitor import Monitor
from parityd.core.present import Facts, state_findings
from parityd.core.quality import quality_grade, quality_score
from parityd.core.records import NO_TS
from parityd.core.returns import measured_returns
from parityd.core.splits import rescaled
from parityd.core.strategy import Strategy
from parityd.core.window import DAY_NS, Settling, counted, settling, summed


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
        return counted(self.strategy.books, since + 1, self.judged.window.end, self.until)


def assess_strategy(m: Monitor, s: Strategy, now: int, facts: Facts, gauges: Gauges, reset_ns: int) -> Assessed:
    """Measure and judge one strategy as of `now`."""
    terms = m.parameters.of(s.name)
    until = settling(s, m.parameters, now, waiting=facts.waiting, backlog=facts.backlog)
    judged = gauges.windows.judge(s, m.parameters, until, now)
    found = measured_returns(s, m.marks, capital=terms.capital, now=now, rate=lambda ccy: rate(m, ccy, now), kept=gauges.columns)
    returns = found.returns
    drift = gauges.feed.feed(s, returns, until, now)
    parity = gauges.compared(s)
    judged.metrics |= {
        "correlation": found.correlation, "hit_rate": found.hit_rate, "tracking_error_returns_bps": found.tracking_error_bps,
        "decision_parity": parity.decision_parity, "action_parity": parity.action_parity,
    }  # fmt: skip
    both = parity.both
    evidence = msgspec.structs.replace(
        judged.evidence,
        correlation=found.correlation, correlation_n=returns.count if returns is not None else 0,
        decisions=parity.decisions if both else 0, decisions_alike=parity.alike if both else 0,
        actions=parity.actions if both else 0, actions_alike=parity.actions_alike if both else 0,
        drift_confidence=drift.confidence, drift_alarm=drift.alarm,
        capital=terms.capital,
    )  # fmt: skip
    assessment = assess(evidence, terms)
    state = state_findings(s, m, facts, now, reset_ns=reset_ns)
    score = quality_score(
        tracking_error_bps=judged.metrics["tracking_error_bps"], emergency_bps=terms.thresholds.emergency_bps, correlation=found.correlation,
        hit_rate=judged.metrics["hit_rate"], decision_parity=parity.decision_parity,
    )  # fmt: skip
    judged.metrics["quality_score"] = score
    return Assessed(
        judged, assessment, [*assessment.findings, *state], judged.metrics, judged.trades, window_attribution(m, s, judged, until, gauges.windows),
        gauges.feed.summary(now), quality_grade(score), until, s,
    )  # fmt: skip


def rate(m: Monitor, ccy: int, t: int) -> float | None:
    """What one unit of a currency (its code) is worth in the reporting currency at t; None where nothing says so."""
    name = m.names[ccy]
    return rates(m, [name], t).get(name)


def window_attribution(m: Monitor, s: Strategy, judged: Judged, until: Settling, kept: Windows) -> dict[str, float | None]:
    """The components over the window in bps, as the report names them (without what positions carried in: that needs the history)."""
    w = judged.window
    if w is None:
        return {}
    a = kept.attribution(m.marks)
    if a is None:
        sums = rescaled(w.sums, m.splits, w.start, w.end, w.end, lambda a, b: summed(s.books, a, b, until)[0])
        a = attribute(sums, w.start, w.end, m.marks, m.names, {}, {}, lambda sym, t: late_rows(s, w.start, w.end, until, sym, t))  # type: ignore[arg-type]
        kept.keep(a, list(sums.sym), m.marks)
    return in_bps(convert(a, rates(m, list(a.by_currency), w.end) if len(a.by_currency) > 1 else {}))


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
    start = max(day_start(day), reset_ns, s.memory.imported_until + 1)
    until = settling(s, m.parameters, now, waiting=facts.waiting)
    judged = judge_between(s, m.parameters, until, start, day_start(day) + DAY_NS - 1)
    if judged.evidence.settled < m.parameters.of(s.name).thresholds.min_trades:
        return None
    return list(assess(judged.evidence, m.parameters.of(s.name)).findings)


def shadow_trial(m: Monitor, s: Strategy, state: LadderState, now: int) -> Trial | None:
    """What shadow fills since the rung was reached say of it."""
    if not s.memory.shadow_fills or state.rung != "DISABLE_TRADING":
        return None
    return shadow.trial(m, s, state.rung_ns, settling(s, m.parameters, now, waiting=False))


def shadow_period(m: Monitor, s: Strategy, state: LadderState, day: str, now: int) -> list[Finding] | None:
    """What a day's own shadow fills say, while trading is disabled; None under `min_trades`."""
    if not s.memory.shadow_fills or not on_shadow(state):
        return None
    start = max(day_start(day), state.reset_ns)
    found = shadow.evidence(m, s, start - 1, settling(s, m.parameters, now, waiting=False), day_start(day) + DAY_NS - 1)
    terms = m.parameters.of(s.name)
    return None if found is None or found.settled < terms.thresholds.min_trades else list(assess(found, terms).findings)


__all__ = ["NO_TS", "Assessed", "Carried", "Facts", "assess_period", "assess_strategy", "carried_in", "shadow_period", "shadow_trial"]
