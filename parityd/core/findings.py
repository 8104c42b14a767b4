"""Numbers become findings: the parity table of the judgement, from the trades of a window. Thresholds stand here, no action is taken here.

1. One finding a code, at the most severe level its value reaches; None or absent = not measured, which never asks and never clears.
2. One-sided where the cost is: slippage, fee and timing ask when positive; cumulative drift and one trade's difference by absolute value.
3. Evidence is sufficient from `min_trades` settled trades on, unless over a fifth of the pairs are ambiguous. Insufficient evidence leaves only
   `runaway`, `max_trade_diff` and `suspect_data`.
4. `held` says for every measured code the level it is not clear of by a fifth; a recovery needs both findings and `held`.
5. It does not know time, the ladder, commands or how the numbers were measured.
"""

from collections.abc import Callable, Mapping

from parityd.core.evidence import Assessment, DriftAlarm, Evidence, Finding, LargeTrade
from parityd.core.findings_bars import SAME, Reading, clear_of, fisher_upper, held_of, level_of, wilson, written
from parityd.core.ladder_table import LEVEL_RANK
from parityd.core.parameters import StrategyTerms, Thresholds

__all__ = [
    "Assessment", "DriftAlarm", "Evidence", "Finding", "LargeTrade", "assess", "grade", "is_sufficient", "parity_findings",
]  # fmt: skip

WITHOUT_EVIDENCE = ("runaway", "max_trade_diff", "suspect_data")
AMBIGUOUS_SHARE = 0.20
MEASURED_SHARE = 0.5
STANDARD_ERRORS = 4.0
RUNAWAY_HISTORY_HOURS = 24.0
PENDING_SHARE = 0.10
MATCH_RATE = 0.9


Row = Callable[[Evidence, StrategyTerms], Reading | None]


def _tracking_error(e: Evidence, terms: StrategyTerms) -> Reading | None:
    t, value, rest = terms.thresholds, e.tracking_error_bps, e.tracking_error_without_largest_bps
    if value is None:
        return None
    bars = (("WARNING", t.warning_bps), ("CRITICAL", t.critical_bps), ("EMERGENCY", t.emergency_bps))
    return Reading(
        code="tracking_error", value=value if rest is None else min(value, rest), shown=value, bars=bars, inclusive=True,
        counts=rest is not None,
    )  # fmt: skip


def _correlation(e: Evidence, terms: StrategyTerms) -> Reading | None:
    bound = None if e.correlation is None else fisher_upper(e.correlation, e.correlation_n)
    if bound is None:
        return None
    t = terms.thresholds
    bars = (("WARNING", t.correlation_warning), ("CRITICAL", t.correlation_critical), ("EMERGENCY", t.correlation_emergency))
    note = f"upper 90 % bound of {e.correlation:.3f} over {e.correlation_n} intervals"
    return Reading(code="correlation", value=bound, bars=bars, unit="", low_is_bad=True, note=note)


def _component(code: str, value: float | None, share: float, bar: float) -> Reading | None:
    if value is None or share < MEASURED_SHARE - SAME:
        return None
    return Reading(code=code, value=value, bars=(("CRITICAL", bar),), note=f"mean, measured in {share:.0%} of trades")


def _slippage(e: Evidence, terms: StrategyTerms) -> Reading | None:
    return _component("slippage", e.slippage_bps, e.slippage_share, terms.thresholds.slippage_bps)


def _fee_impact(e: Evidence, terms: StrategyTerms) -> Reading | None:
    return _component("fee_impact", e.fee_impact_bps, e.fee_impact_share, terms.thresholds.fee_impact_bps)


def _timing_impact(e: Evidence, terms: StrategyTerms) -> Reading | None:
    return _component("timing_impact", e.timing_impact_bps, e.timing_impact_share, terms.thresholds.timing_impact_bps)


def _latency(e: Evidence, terms: StrategyTerms) -> Reading | None:
    if e.median_latency_ms is None:
        return None
    return Reading(code="latency", value=e.median_latency_ms, bars=(("CRITICAL", terms.thresholds.latency_ms),), unit="ms")


def _cumulative_drift(e: Evidence, terms: StrategyTerms) -> Reading | None:
    t, value, error = terms.thresholds, e.cumulative_drift_bps, e.cumulative_error_bps
    if value is None or error is None or e.cumulative_trades < t.cumulative_min_trades:
        return None
    bars = (("WARNING", t.cumulative_warning_bps), ("CRITICAL", t.cumulative_critical_bps))
    return Reading(
        code="cumulative_drift", value=abs(value), shown=value, bars=bars, counts=abs(value) > STANDARD_ERRORS * error,
        note=f"{value:+.1f} over 7 days, standard error {error:.1f} bps, {e.cumulative_trades} trades", asks=(("CRITICAL", "DISABLE_TRADING"),),
    )  # fmt: skip


def _unmatched(e: Evidence, terms: StrategyTerms) -> Reading | None:
    if e.executions <= 0:
        return None
    t = terms.thresholds
    bars = (("WARNING", t.unmatched_warning), ("CRITICAL", t.unmatched_critical))
    note = f"lower 90 % bound of {e.unmatched} in {e.executions}"
    return Reading(code="unmatched", value=wilson(e.unmatched, e.executions)[0], bars=bars, unit="", note=note)


def _parity(code: str, alike: int, total: int, t: Thresholds) -> Reading | None:
    if total <= 0:
        return None
    bars = (("WARNING", t.parity_warning), ("CRITICAL", t.parity_critical))
    note = f"upper 90 % bound of {alike} in {total}"
    return Reading(code=code, value=wilson(alike, total)[1], bars=bars, unit="", low_is_bad=True, note=note)


def _decision_parity(e: Evidence, terms: StrategyTerms) -> Reading | None:
    return _parity("decision_parity", e.decisions_alike, e.decisions, terms.thresholds)


def _action_parity(e: Evidence, terms: StrategyTerms) -> Reading | None:
    return _parity("action_parity", e.actions_alike, e.actions, terms.thresholds)


def _drift(e: Evidence, terms: StrategyTerms) -> Reading | None:
    alarm, t = e.drift_alarm, terms.thresholds
    if alarm is None and e.drift_confidence is None:
        return None
    forced, note = "OK", ""
    if alarm is not None:
        effect = "" if alarm.effect_bps is None else f", effect {alarm.effect_bps:.1f} bps"
        note = f"{'adverse' if alarm.adverse else 'favourable'} alarm on {alarm.channel}{effect}{f', {alarm.note}' if alarm.note else ''}"
        forced = "CRITICAL" if _grave(alarm, e, terms) else "WARNING"
    bars = (("WARNING", t.drift_confidence),)
    return Reading(
        code="drift",
        value=e.drift_confidence or 0.0,
        shown=e.drift_confidence,
        bars=bars,
        unit="",
        inclusive=True,
        forced=forced,
        note=note,
    )


def _grave(alarm: DriftAlarm, e: Evidence, terms: StrategyTerms) -> bool:
    """An alarm against us, of a size that matters, that is no mere volatility, while the tracking error warns by itself."""
    if not alarm.adverse or alarm.note or alarm.effect_bps is None:
        return False
    tracking = _tracking_error(e, terms)
    return abs(alarm.effect_bps) >= terms.thresholds.drift_effect_bps - SAME and tracking is not None and level_of(tracking)[0] != "OK"


def _max_trade_diff(e: Evidence, terms: StrategyTerms) -> Reading | None:
    t = terms.thresholds
    capital = e.capital if e.capital is not None else terms.capital
    limit = None if capital is None else t.max_trade_capital * capital
    counted = [
        one for one in e.large_trades
        if one.matched_by in ("id", "decision") and abs(one.d_bps) <= t.suspect_bps
        and (limit is None or one.loss is None or one.loss > limit)
    ]  # fmt: skip
    worst = max(counted, key=lambda one: abs(one.d_bps), default=LargeTrade(d_bps=0.0, matched_by="id"))
    bars = (("CRITICAL", t.max_trade_critical_bps), ("EMERGENCY", t.max_trade_emergency_bps))
    note = f"{worst.d_bps:+.1f}{f', trade {worst.trade}' if worst.trade else ''}"
    return Reading(code="max_trade_diff", value=abs(worst.d_bps), shown=worst.d_bps, bars=bars, note=note)


def _suspect_data(e: Evidence, terms: StrategyTerms) -> Reading | None:
    bar = terms.thresholds.suspect_bps
    note = f"{e.suspects} kept out of every other measure{f', such as {e.suspect_example}' if e.suspect_example else ''}"
    shown = e.suspect_d_bps if e.suspects else 0.0
    forced = "CRITICAL" if e.suspects else "OK"
    return Reading(code="suspect_data", value=abs(shown or 0.0), shown=shown, bars=(("CRITICAL", bar),), forced=forced, note=note)


def _runaway(e: Evidence, terms: StrategyTerms) -> Reading | None:
    t = terms.thresholds
    if e.hour_live is None or e.history_hours < RUNAWAY_HISTORY_HOURS - SAME:
        return None
    bar = t.runaway_ratio * max(e.hour_largest, e.hour_backtest)
    note = f"executions in the last hour; largest earlier hour {e.hour_largest}, the backtest's {e.hour_backtest}"
    enough = e.hour_live >= t.runaway_min
    return Reading(code="runaway", value=float(e.hour_live), bars=(("CRITICAL", bar),), unit="an hour", counts=enough, note=note)


ROWS: Mapping[str, Row] = {
    "tracking_error": _tracking_error,
    "correlation": _correlation,
    "slippage": _slippage,
    "fee_impact": _fee_impact,
    "timing_impact": _timing_impact,
    "latency": _latency,
    "cumulative_drift": _cumulative_drift,
    "unmatched": _unmatched,
    "decision_parity": _decision_parity,
    "action_parity": _action_parity,
    "drift": _drift,
    "max_trade_diff": _max_trade_diff,
    "suspect_data": _suspect_data,
    "runaway": _runaway,
}


def _finding(reading: Reading) -> Finding | None:
    level, bar = level_of(reading)
    if level == "OK":
        return None
    head, value = reading.code, reading.shown
    if bar is not None:
        value = reading.value if reading.shown is None else reading.shown
        sign = "<" if reading.low_is_bad else ">=" if reading.inclusive else ">"
        head = f"{reading.code} {written(value if reading.low_is_bad else abs(value), bar, reading.unit)} {sign} {bar:g}"
    return Finding(
        code=reading.code, level=level, value=value, threshold=reading.bars[0][1] if bar is None else bar,
        detail=f"{head} ({reading.note})" if reading.note else head, asks=dict(reading.asks).get(level),
        clear=None if bar is None else clear_of(bar, low_is_bad=reading.low_is_bad),
    )  # fmt: skip


def is_sufficient(e: Evidence, terms: StrategyTerms) -> bool:
    return e.settled >= terms.thresholds.min_trades and (e.ambiguous_share or 0.0) <= AMBIGUOUS_SHARE + SAME


def assess(e: Evidence, terms: StrategyTerms) -> Assessment:
    """The whole parity table over one window, most severe first."""
    sufficient = is_sufficient(e, terms)
    rows = ROWS if sufficient else {code: ROWS[code] for code in WITHOUT_EVIDENCE}
    readings = [reading for row in rows.values() if (reading := row(e, terms)) is not None]
    findings = [finding for reading in readings if (finding := _finding(reading)) is not None]
    findings.sort(key=lambda finding: -LEVEL_RANK[finding.level])
    held = {reading.code: held_of(reading) for reading in readings}
    return Assessment(evidence="sufficient" if sufficient else "insufficient", findings=tuple(findings), held=held)


def parity_findings(e: Evidence, terms: StrategyTerms) -> tuple[str, list[Finding]]:
    """`sufficient` or `insufficient`, and the findings of the parity table, most severe first."""
    found = assess(e, terms)
    return found.evidence, list(found.findings)


def grade(
    *,
    level: str,
    evidence: str,
    tracking_error_bps: float | None,
    pending: int,
    settled: int,
    match_rate: float | None,
    thresholds: Thresholds,
) -> str | None:
    """EXCELLENT or GOOD within OK; None where the evidence does not carry it. Counts are of the window's executions."""
    if level != "OK" or evidence != "sufficient" or tracking_error_bps is None or match_rate is None:
        return None
    if pending > PENDING_SHARE * (pending + settled) + SAME or match_rate < MATCH_RATE - SAME:
        return None
    return "EXCELLENT" if tracking_error_bps < thresholds.excellent_bps - SAME else "GOOD"
