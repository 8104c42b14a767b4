"""Numbers become findings: each row of the parity table at its thresholds, one-sided where it says so."""

import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.core.evidence import DriftAlarm, Evidence, Finding, LargeTrade
from parityd.core.findings import assess, grade, parity_findings
from parityd.core.findings_bars import fisher_upper, wilson
from parityd.core.judging import one_sided_split
from parityd.core.ladder_table import LEVEL_RANK
from parityd.core.parameters import StrategyTerms, Thresholds

TERMS = StrategyTerms()
STRICT = StrategyTerms(thresholds=Thresholds(profile="strict", warning_bps=15.0, critical_bps=30.0, emergency_bps=60.0))


def evidence(**given_):
    return Evidence(**{"settled": 100, "executions": 100, **given_})


def found(terms=TERMS, **given_) -> dict[str, Finding]:
    return {one.code: one for one in parity_findings(evidence(**given_), terms)[1]}


def level(code, terms=TERMS, **given_):
    one = found(terms, **given_).get(code)
    return one.level if one else "OK"


def te(bps, rest=None):
    return {"tracking_error_bps": bps, "tracking_error_without_largest_bps": bps if rest is None else rest}


@pytest.mark.parametrize(
    ("bps", "standard", "strict"),
    [(14.9, "OK", "OK"), (15.0, "OK", "WARNING"), (19.99, "OK", "WARNING"), (20.0, "WARNING", "WARNING"), (30.0, "WARNING", "CRITICAL"),
     (49.9, "WARNING", "CRITICAL"), (50.0, "CRITICAL", "CRITICAL"), (60.0, "CRITICAL", "EMERGENCY"), (99.9, "CRITICAL", "EMERGENCY"), (100.0, "EMERGENCY", "EMERGENCY")],
)  # fmt: skip
def test_tracking_error_asks_from_its_threshold_on_in_both_profiles(bps, standard, strict):
    assert (level("tracking_error", **te(bps)), level("tracking_error", STRICT, **te(bps))) == (standard, strict)


def test_one_outlier_cannot_raise_the_tracking_error_beyond_what_holds_without_it():
    assert level("tracking_error", **te(110.0, 60.0)) == "CRITICAL"
    assert level("tracking_error", **te(110.0, 12.0)) == "OK"
    assert level("tracking_error", tracking_error_bps=500.0) == "OK", "one trade alone is no tracking error"


def test_a_difference_of_exactly_twenty_is_twenty_however_the_doubles_fell():
    assert level("tracking_error", **te((100.2 - 100) / 100 * 1e4)) == "WARNING"
    assert level("tracking_error", **te(math.nextafter(20.0, 0.0))) == "WARNING"
    assert level("slippage", slippage_bps=math.nextafter(30.0, 31.0), slippage_share=1.0) == "OK"


def test_a_finding_says_what_was_measured_and_what_a_recovery_must_see():
    one = found(**te(62.1))["tracking_error"]
    assert (one.value, one.threshold, one.clear, one.detail, one.state) == (62.1, 50.0, 40.0, "tracking_error 62.1 bps >= 50", False)
    assert found(**te(50.04))["tracking_error"].detail == "tracking_error 50.04 bps >= 50"


@pytest.mark.parametrize(("r", "n", "want"), [(0.79, 600, "OK"), (0.74, 600, "WARNING"), (0.45, 570, "CRITICAL"), (0.47, 570, "WARNING"), (0.43, 570, "CRITICAL"), (0.25, 3000, "EMERGENCY"), (0.25, 30, "CRITICAL"), (0.45, 30, "WARNING"), (0.1, 3, "OK"), (1.0, 99, "OK"), (-1.0, 99, "EMERGENCY")])  # fmt: skip
def test_correlation_asks_by_its_upper_bound(r, n, want):
    assert level("correlation", correlation=r, correlation_n=n) == want


def test_the_fisher_bound_is_the_formula():
    assert fisher_upper(0.5, 103) == pytest.approx(math.tanh(math.atanh(0.5) + 1.2816 / 10), abs=1e-12)
    assert fisher_upper(0.5, 3) is None


@pytest.mark.parametrize(("code", "field", "bar"), [("slippage", "slippage", 30), ("fee_impact", "fee_impact", 15), ("timing_impact", "timing_impact", 10)])  # fmt: skip
def test_a_component_asks_when_it_costs_and_was_measured_in_half_of_the_trades(code, field, bar):
    def at(bps, share):
        return level(code, **{f"{field}_bps": bps, f"{field}_share": share})

    assert [at(bar + 0.1, 0.5), at(bar, 1.0), at(-bar - 50, 1.0), at(bar + 50, 0.49)] == ["CRITICAL", "OK", "OK", "OK"]


def test_latency_asks_over_a_second():
    assert [level("latency", median_latency_ms=ms) for ms in (None, 1000.0, 1000.5)] == ["OK", "OK", "CRITICAL"]


@pytest.mark.parametrize(
    ("bps", "error", "trades", "want", "asks"),
    [(101, 10, 30, "WARNING", None), (-101, 10, 30, "WARNING", None), (201, 10, 30, "CRITICAL", "DISABLE_TRADING"), (-250, 10, 30, "CRITICAL", "DISABLE_TRADING"),
     (100, 10, 30, "OK", None), (250, 10, 29, "OK", None), (250, 62.5, 30, "OK", None), (250, 62.4, 30, "CRITICAL", "DISABLE_TRADING"), (250, None, 30, "OK", None)],
)  # fmt: skip
def test_cumulative_drift_is_absolute_significant_and_asks_for_a_stop(bps, error, trades, want, asks):
    one = found(cumulative_drift_bps=bps, cumulative_error_bps=error, cumulative_trades=trades).get("cumulative_drift")
    assert (one.level if one else "OK", one.asks if one else None) == (want, asks)
    assert one is None or one.value == bps, "the published value keeps its sign"


@pytest.mark.parametrize(
    ("k", "n", "want"), [(0, 100, "OK"), (13, 100, "OK"), (15, 100, "WARNING"), (40, 100, "CRITICAL"), (3, 10, "WARNING"), (1, 10, "OK")]
)
def test_unmatched_asks_by_its_lower_bound(k, n, want):
    assert level("unmatched", unmatched=k, executions=n) == want


@pytest.mark.parametrize("code", ["decision_parity", "action_parity"])
@pytest.mark.parametrize(("alike", "n", "want"), [(0, 0, "OK"), (100, 100, "OK"), (99, 100, "OK"), (960, 1000, "WARNING"), (900, 1000, "CRITICAL")])  # fmt: skip
def test_parity_of_decisions_asks_by_its_upper_bound(code, alike, n, want):
    names = {"decision_parity": ("decisions_alike", "decisions"), "action_parity": ("actions_alike", "actions")}[code]
    assert level(code, **dict(zip(names, (alike, n), strict=True))) == want


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_bounds_solve_their_equation(pair):
    k, n = pair
    for bound in wilson(k, n):
        p = Fraction(k, n)
        assert 0.0 <= bound <= 1.0
        assert abs(float(p) - bound) == pytest.approx(1.2816 * math.sqrt(bound * (1 - bound) / n), abs=1e-7)


def test_drift_warns_by_confidence_and_is_critical_only_for_a_grave_adverse_alarm():
    grave = DriftAlarm(channel="mean", adverse=True, effect_bps=5.0)
    assert [level("drift", drift_confidence=c) for c in (None, 0.79, 0.80)] == ["OK", "OK", "WARNING"]
    assert level("drift", drift_confidence=0.1, drift_alarm=grave) == "WARNING", "tracking error is within"
    assert level("drift", drift_confidence=0.99, drift_alarm=grave, **te(25.0)) == "CRITICAL"
    for mild in ({"adverse": False}, {"effect_bps": 4.9}, {"effect_bps": None}, {"note": "volatility or drift"}):
        assert level("drift", drift_alarm=msgspec.structs.replace(grave, **mild), **te(25.0)) == "WARNING", mild
    assert found(drift_alarm=grave)["drift"].value is None, "what was not measured is null"


def large(d, by="id", loss=None):
    return {"large_trades": (LargeTrade(d_bps=d, matched_by=by, loss=loss, trade="t1"),)}


def test_one_large_trade_counts_by_id_or_decision_and_with_a_loss_where_capital_is_known():
    rich = StrategyTerms(capital=100_000.0)
    assert [level("max_trade_diff", **large(d)) for d in (500.0, 500.1, -600.0, 1000.1, 3000.1)] == [
        "OK",
        "CRITICAL",
        "CRITICAL",
        "EMERGENCY",
        "OK",
    ]
    assert [level("max_trade_diff", **large(900.0, by)) for by in ("id", "decision", "fill")] == ["CRITICAL", "CRITICAL", "OK"]
    assert [level("max_trade_diff", rich, **large(900.0, loss=loss)) for loss in (250.0, 251.0, -900.0, None)] == [
        "OK",
        "CRITICAL",
        "OK",
        "CRITICAL",
    ]


def test_the_largest_trade_that_lost_enough_counts_not_the_largest_of_all():
    trades = (LargeTrade(d_bps=-2000.0, matched_by="id", loss=-1.0), LargeTrade(d_bps=700.0, matched_by="id", loss=900.0, trade="x7"))
    one = found(StrategyTerms(capital=1000.0), large_trades=trades)["max_trade_diff"]
    assert (one.level, one.value) == ("CRITICAL", 700.0)
    assert "x7" in one.detail


@pytest.mark.parametrize(
    ("apart_bps", "said"),
    [
        (30_000.0, "live has 4 times"),
        (-7_500.0, "the backtest has 4 times"),
        (5_010.0, "live has 1.5 times"),
        (3_500.0, ""),
        (-10_000.0, ""),
        (8_000.0, ""),
    ],
)
def test_prices_adjusted_for_a_split_on_one_side_are_named(apart_bps, said):
    found_ = one_sided_split(apart_bps)
    assert said in found_
    assert bool(said) == bool(found_)


def test_suspect_data_is_critical_and_named():
    one = found(suspects=2, suspect_d_bps=-9000.0, suspect_example="t9")["suspect_data"]
    assert (one.level, one.value) == ("CRITICAL", -9000.0)
    assert "t9" in one.detail
    assert level("suspect_data", suspects=0) == "OK"


@pytest.mark.parametrize(
    ("live", "largest", "backtest", "history", "want"),
    [(20, 6, 6, 24, "CRITICAL"), (19, 1, 1, 24, "OK"), (21, 7, 1, 24, "OK"), (22, 7, 1, 24, "CRITICAL"), (22, 1, 8, 24, "OK"), (99, 1, 1, 23.9, "OK"), (None, 0, 0, 99, "OK")],
)  # fmt: skip
def test_a_runaway_beats_twenty_and_three_times_either_past(live, largest, backtest, history, want):
    assert level("runaway", hour_live=live, hour_largest=largest, hour_backtest=backtest, history_hours=history) == want


EVERYTHING = {
    **te(150.0), "correlation": 0.0, "correlation_n": 500, "slippage_bps": 99.0, "slippage_share": 1.0, "unmatched": 90,
    "cumulative_drift_bps": 900.0, "cumulative_error_bps": 1.0, "cumulative_trades": 99, "drift_confidence": 0.99, "median_latency_ms": 9e3,
    "large_trades": (LargeTrade(d_bps=800.0, matched_by="id"),), "suspects": 1, "suspect_d_bps": 4000.0,
    "hour_live": 500, "hour_largest": 1, "hour_backtest": 1, "history_hours": 100.0, "decisions": 100, "actions": 100,
    "fee_impact_bps": 99.0, "fee_impact_share": 1.0, "timing_impact_bps": 99.0, "timing_impact_share": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("weak", [{"settled": 9}, {"ambiguous_share": 0.21}])
def test_insufficient_evidence_leaves_only_what_needs_none(weak):
    verdict, findings = parity_findings(evidence(**{**EVERYTHING, **weak}), TERMS)
    assert (verdict, {one.code for one in findings}) == ("insufficient", {"runaway", "max_trade_diff", "suspect_data"})


def test_everything_at_once_is_one_finding_a_code_most_severe_first():
    verdict, findings = parity_findings(evidence(**EVERYTHING, ambiguous_share=0.2), TERMS)
    assert verdict == "sufficient"
    assert len({one.code for one in findings}) == len(findings) == 14
    ranks = [LEVEL_RANK[one.level] for one in findings]
    assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize(
    ("bps", "held"), [(16.0, "WARNING"), (15.9, "OK"), (39.9, "WARNING"), (40.0, "CRITICAL"), (79.9, "CRITICAL"), (80.0, "EMERGENCY")]
)
def test_a_level_is_held_until_its_value_is_clear_by_a_fifth(bps, held):
    assert assess(evidence(**te(bps)), TERMS).held["tracking_error"] == held


def test_where_low_is_bad_clear_is_a_fifth_of_the_way_to_one():
    for r_upper, held in ((0.85, "OK"), (0.83, "WARNING"), (0.61, "WARNING"), (0.59, "CRITICAL"), (0.43, "EMERGENCY")):
        r = math.tanh(math.atanh(r_upper) - 1.2816 / math.sqrt(997))
        assert assess(evidence(correlation=r, correlation_n=1000), TERMS).held["correlation"] == held


def test_what_was_not_measured_is_not_in_held():
    assert set(assess(evidence(executions=0), TERMS).held) == {"max_trade_diff", "suspect_data"}


@given(st.floats(0, 300), st.floats(0, 300), st.floats(-1, 1), st.integers(0, 500), st.floats(-400, 400), st.integers(0, 100))
def test_no_finding_is_ever_above_what_is_held(error, rest, r, n, drift, unmatched):
    e = evidence(tracking_error_bps=error, tracking_error_without_largest_bps=rest, correlation=r, correlation_n=n, cumulative_drift_bps=drift, cumulative_error_bps=10.0, cumulative_trades=99, unmatched=unmatched)  # fmt: skip
    assessment = assess(e, TERMS)
    assert all(LEVEL_RANK[one.level] <= LEVEL_RANK[assessment.held[one.code]] for one in assessment.findings)


def graded(**given_):
    plain = {"level": "OK", "evidence": "sufficient", "tracking_error_bps": 4.9, "pending": 0, "settled": 100, "match_rate": 1.0}
    return grade(**{**plain, **given_}, thresholds=Thresholds())


def test_a_grade_needs_evidence_few_pending_and_a_match_rate():
    assert [graded(), graded(tracking_error_bps=5.0), graded(pending=11), graded(pending=12)] == ["EXCELLENT", "GOOD", "EXCELLENT", None]
    nulls = [{"level": "WARNING"}, {"evidence": "insufficient"}, {"tracking_error_bps": None}, {"match_rate": 0.89}, {"match_rate": None}]
    assert [graded(**one) for one in nulls] == [None] * 5
