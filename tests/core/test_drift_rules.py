"""The founding rules: what they compare, where they cross, and null where nothing can be said."""

import numpy as np
import pytest

from parityd.core.drift_rules import rules_of_thumb


def rules(**changes):
    rng = np.random.default_rng(1)
    back = rng.standard_normal(400)
    given = {
        "daily_tracking_error_bps": [10.0] * 8,
        "backtest_returns": back,
        "live_returns": back + 0.1 * rng.standard_normal(400),
        "slippages_bps": [4.0] * 300,
    }
    return rules_of_thumb(**(given | changes))


def test_a_stable_strategy_crosses_nothing():
    assert [rule["crossed"] for rule in rules().values()] == [False] * 4


@pytest.mark.parametrize(("last", "crossed"), [(15.0, False), (15.1, True), (5.0, False), (4.9, True)])
def test_a_tracking_error_half_off_its_earlier_days_crosses(last, crossed):
    rule = rules(daily_tracking_error_bps=[10.0] * 5 + [last] * 3)["tracking_error"]
    assert rule == {"value": pytest.approx(last), "baseline": 10.0, "change": pytest.approx(last / 10 - 1), "crossed": crossed}


def test_correlation_and_hit_rate_cross_a_fifth_under_their_baseline():
    rng = np.random.default_rng(2)
    back = rng.standard_normal(400)
    live = back.copy()
    live[-30:] = rng.standard_normal(30)
    seen = rules(backtest_returns=back, live_returns=live)
    assert seen["correlation"]["baseline"] == pytest.approx(1.0)
    assert seen["correlation"]["value"] == pytest.approx(np.corrcoef(back[-30:], live[-30:])[0, 1])
    assert seen["correlation"]["crossed"] is True
    assert seen["hit_rate"]["crossed"] is True


@pytest.mark.parametrize(("last", "crossed"), [(4.79, False), (4.81, True), (-9.0, False)])
def test_slippage_crosses_a_fifth_over_its_baseline(last, crossed):
    assert rules(slippages_bps=[4.0] * 200 + [last] * 30)["slippage"]["crossed"] is crossed


def test_a_negative_baseline_is_measured_by_its_size():
    assert rules(slippages_bps=[-4.0] * 200 + [-3.0] * 30)["slippage"]["change"] == pytest.approx(0.25)


def test_too_little_data_gives_nulls():
    seen = rules(daily_tracking_error_bps=[1.0, 2.0], backtest_returns=[1.0], live_returns=[1.0], slippages_bps=[np.nan] * 50)
    assert [rule["crossed"] for rule in seen.values()] == [None] * 4
    assert seen["correlation"] == {"value": None, "baseline": None, "change": None, "crossed": None}


def test_a_constant_book_has_no_correlation():
    assert rules(live_returns=[0.1] * 400)["correlation"]["value"] is None


def test_the_newest_values_are_never_their_own_baseline():
    seen = rules(slippages_bps=[1.0] * 30 + [2.0] * 30)["slippage"]
    assert (seen["baseline"], seen["value"]) == (1.0, 2.0)
