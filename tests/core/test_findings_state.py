"""State findings: from plain numbers, each at its threshold."""

import pytest

from parityd.core import findings_state as now_
from parityd.core.parameters import Thresholds

T = Thresholds()
HOUR = 3600.0


def level(finding):
    assert finding is None or finding.state
    return finding.level if finding else None


@pytest.mark.parametrize(("silence", "want"), [(None, None), (1800, None), (1801, "WARNING"), (7200, "WARNING"), (7201, "CRITICAL")])
def test_a_silent_engine_that_promised_a_pulse_is_stale(silence, want):
    assert level(now_.stale_engine(silence, promised=True, exposed=True, thresholds=T)) == want


def test_silence_is_nothing_without_a_promise_or_without_exposure():
    assert now_.stale_engine(9e9, promised=False, exposed=True, thresholds=T) is None
    assert now_.stale_engine(9e9, promised=True, exposed=False, thresholds=T) is None


@pytest.mark.parametrize(
    ("max_silence", "silence", "want"),
    [(600, 599, None), (600, 700, "WARNING"), (600, 7201, "CRITICAL"), (6 * HOUR, 5 * HOUR, None), (6 * HOUR, 7 * HOUR, "CRITICAL")],
)
def test_max_silence_is_a_promise_of_its_own(max_silence, silence, want):
    assert level(now_.stale_engine(silence, promised=False, exposed=True, thresholds=T, max_silence=max_silence)) == want


@pytest.mark.parametrize(("age", "want"), [(None, None), (30 * HOUR, None), (30 * HOUR + 1, "WARNING"), (34 * HOUR + 1, "CRITICAL")])
def test_a_backtest_that_does_not_come(age, want):
    assert level(now_.stale_backtest(age, T)) == want


@pytest.mark.parametrize(("age", "want"), [(None, None), (300, None), (301, "WARNING"), (901, "CRITICAL")])
def test_a_file_that_waits(age, want):
    assert level(now_.lagging(age, T)) == want


def test_a_position_must_be_wrong_twice_in_a_row():
    said = [level(now_.position_mismatch(n, symbol="A/B", reported=1.0, expected=2.0)) for n in (0, 1, 2)]
    assert said == [None, None, "CRITICAL"]


def test_a_balance_must_be_wrong_twice_by_more_than_a_hundredth():
    cases = [(2, 0.0101), (2, -0.02), (2, 0.01), (1, 0.5), (2, None)]
    assert [level(now_.balance_mismatch(n, share, T)) for n, share in cases] == ["CRITICAL", "CRITICAL", None, None, None]


def test_a_flag_must_be_false_for_a_minute_and_two_heartbeats():
    cases = [(["broker_connected"], 60.0, 2), (["broker_connected"], 59.0, 9), (["broker_connected"], 600.0, 1), ([], 600.0, 9)]
    assert [level(now_.engine_unhealthy(*case, T)) for case in cases] == ["CRITICAL", None, None, None]


def test_disobedience_is_an_emergency_where_the_position_is_known():
    assert level(now_.not_obeyed(1, action="DISABLE_TRADING", position_known=True)) == "EMERGENCY"
    assert now_.not_obeyed(1, action="DISABLE_TRADING", position_known=False) is None
    assert now_.not_obeyed(0, action="DISABLE_TRADING", position_known=True) is None


def test_an_acknowledgement_has_a_minute_or_two_heartbeats():
    cases = [(60, 10), (61, 10), (61, None), (119, 60), (121, 60), (None, 1)]
    assert [level(now_.unacknowledged(*case, T)) for case in cases] == [None, "WARNING", "WARNING", None, "WARNING", None]


def test_a_source_is_broken_from_a_fifth_and_fifty_refusals_on():
    cases = [(201, 1000), (200, 1000), (49, 50), (50, 50), (0, 0)]
    assert [level(now_.broken_source("live", *case, T)) for case in cases] == ["CRITICAL", None, None, "CRITICAL", None]


def test_degraded_names_the_parts():
    assert now_.degraded([]) is None
    assert "port 9815 is taken" in now_.degraded(["port 9815 is taken", "notices fail"]).detail
