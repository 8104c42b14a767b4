"""Closed periods in a row: when a day closes, what counts, what a streak raises and how that is left."""

import pytest
from core.ladder_desk import ADVISORY, DAYS, Desk, disabled_by_streak, finding, present, trial
from hypothesis import given
from hypothesis import strategies as st

from parityd.core.instants import DAY_NS, day_start
from parityd.core.ladder_escalation import closing

GRACE = 36 * 3600.0
HOUR = 3600 * 10**9
FIRST = "2026-03-01"


def closed(closed_day, live, backtest, now):
    base = day_start(FIRST)
    marks = tuple(None if hours is None else base + int(hours * HOUR) for hours in (live, backtest))
    instant = base + int(now * HOUR)
    return list(closing(FIRST, closed_day, marks, instant, instant - int(GRACE * 1e9)))


@pytest.mark.parametrize(
    ("live", "backtest", "now", "want"),
    [(24, 24, 24, ["2026-03-01"]), (24, 23.9, 30, []), (23.9, 30, 30, []), (None, 30, 30, []), (None, None, 59.9, []), (None, None, 60, ["2026-03-01"]),
     (48, 48, 24, ["2026-03-01"]), (75, 72, 75, ["2026-03-01", "2026-03-02", "2026-03-03"]), (23, 23, 90, ["2026-03-01", "2026-03-02"])],
)  # fmt: skip
def test_a_day_closes_when_both_watermarks_reached_its_end_or_the_grace_passed(live, backtest, now, want):
    assert closed("", live, backtest, now) == want


def test_no_day_closes_twice():
    assert closed("2026-03-02", 75, 75, 75) == ["2026-03-03"]


@given(st.lists(st.integers(0, 240), min_size=1, max_size=12))
def test_days_close_in_order_and_once_whatever_the_rhythm_of_the_checks(hours):
    seen, last, now = [], "", 0
    for hour in hours:
        now += hour
        for day in closed(last, now, now - 3, now):
            seen.append(day)
            last = day
    assert [day_start(day) for day in seen] == [day_start(FIRST) + k * DAY_NS for k in range(len(seen))]


W, C, E, OK = finding("WARNING"), finding("CRITICAL"), finding("EMERGENCY"), None


def run(desk, *periods):
    return [desk.period(next(desk.days), [] if one is OK else one if isinstance(one, list) else [one]).action for one in periods]


@pytest.mark.parametrize(
    ("periods", "want"),
    [
        ((W, W, W), "REDUCE_SIZE"),
        ((W, W, OK, W, W), "CONTINUE"),
        ((C, C), "DISABLE_TRADING"),
        ((C, W, C), "REDUCE_SIZE"),
        ((E, C), "DISABLE_TRADING"),
        ((W, C, C), "DISABLE_TRADING"),
        ((C, OK, C), "CONTINUE"),
        ((W, W, [present("CRITICAL")]), "CONTINUE"),
    ],
)
def test_streaks_raise(periods, want):
    assert run(Desk(), *periods)[-1] == want


def test_a_day_with_few_trades_neither_extends_nor_breaks_a_streak():
    desk = Desk()
    run(desk, W, W)
    assert desk.period(next(desk.days), None).state.streaks == {"WARNING": 2, "CRITICAL": 0}
    assert run(desk, W) == ["REDUCE_SIZE"]


def test_the_streak_starts_anew_after_it_raised():
    desk = Desk()
    run(desk, W, W, W)
    assert desk.state.streaks == {"WARNING": 0, "CRITICAL": 0}
    assert desk.state.reason == f"momentum: 3 closed days in a row at WARNING or worse, the last {DAYS[2]}"


def test_a_day_already_judged_is_not_judged_again():
    desk = Desk()
    run(desk, W, W)
    for day in (DAYS[1], DAYS[0]):
        assert desk.period(day, [C]).state.streaks == {"WARNING": 2, "CRITICAL": 0}


def test_what_a_streak_raised_is_left_only_after_a_day_below_the_level_counted():
    desk = Desk()
    run(desk, W, W, W)
    assert set(desk.checks(9, evidence=trial())) == {"REDUCE_SIZE"}
    run(desk, W)
    assert set(desk.checks(9, evidence=trial())) == {"REDUCE_SIZE"}
    run(desk, OK)
    assert desk.check(evidence=trial()).action == "WARNING"


def test_it_must_be_clear_of_the_level_counted_not_of_the_level_it_raised_to():
    desk = Desk()
    run(desk, W, W, W, OK)
    assert set(desk.checks(9, evidence=trial(tracking_error="WARNING"))) == {"REDUCE_SIZE"}
    assert desk.checks(4, evidence=trial())[-1] == "WARNING"


def test_a_streak_below_the_rung_does_not_keep_the_rung_above_it():
    desk = Desk()
    desk.scan(finding(asks="DISABLE_TRADING"))
    run(desk, W, W, W)
    assert desk.checks(4, shadow=trial())[-1] == "REDUCE_SIZE"
    assert set(desk.checks(9, evidence=trial())) == {"REDUCE_SIZE"}


def test_while_disabled_the_day_is_judged_by_its_shadow_fills():
    desk = disabled_by_streak()
    assert set(desk.checks(9, shadow=trial())) == {"DISABLE_TRADING"}
    desk.period(next(desk.days), None, shadow=[C])
    assert set(desk.checks(4, shadow=trial())) == {"DISABLE_TRADING"}
    desk.period(next(desk.days), None, shadow=[W])
    assert desk.check(shadow=trial()).action == "REDUCE_SIZE"


def test_a_day_with_neither_fills_nor_shadow_fills_unpins_nothing():
    desk = disabled_by_streak()
    desk.period(next(desk.days), None)
    assert set(desk.checks(9, shadow=trial())) == {"DISABLE_TRADING"}


def test_a_reset_ends_streaks_and_what_they_raised():
    desk = Desk()
    run(desk, W, W)
    desk.reset()
    assert run(desk, W, W) == ["CONTINUE", "CONTINUE"]
    assert run(desk, W) == ["REDUCE_SIZE"]
    assert desk.reset().state.pins == ()


def test_escalation_is_capped_in_advisory_mode():
    desk = Desk(terms=ADVISORY)
    assert run(desk, C, C) == ["CONTINUE", "WARNING"]
    assert desk.state.would_be == "DISABLE_TRADING"
