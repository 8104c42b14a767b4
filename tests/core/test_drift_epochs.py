"""What the feed says of drift: confidence, alarms in time and how long they stand, epochs with their budgets, resets, the summary."""

import itertools
import json

import numpy as np
import pytest
from core.drift_desk import DAY, T0, Desk, S, known, noise, trades, whole

from parityd.core.drift_alarms import LATCH_NS, Raised, gravest
from parityd.core.drift_feed import DriftFeed
from parityd.core.drift_lane import Alarm
from parityd.core.instants import rfc3339
from parityd.core.records import BACKTEST, LIVE
from parityd.core.rows import SHELF_NS


def test_before_anything_was_bet_on_there_is_no_confidence():
    _, drift, state = whole(trades(noise(30)), T0 + 3 * DAY)
    assert state.confidence is state.alarm is None
    assert drift.read(0).confidence is None


def test_an_adverse_alarm_stands_for_seven_days_and_then_an_epoch_begins():
    d = noise(400) + noise(100, seed=5, mean=15.0) + noise(900, seed=6, mean=15.0)
    made = trades(d, every=1800.0)
    desk, drift = Desk(), DriftFeed("s")
    stood = []
    for day in range(30):
        part = made[day * 48 : (day + 1) * 48]
        desk.give(BACKTEST, [b for b, _ in part])
        desk.give(LIVE, [l for _, l in part])
        now = T0 + (day + 1) * DAY
        desk.beat(now)
        state = desk.feed(drift, now)
        stood.append(state.alarm)
        if state.alarm:
            assert state.alarm.adverse
            assert state.confidence > 0.9
    mean = next(one for one in drift.raised if one.alarm.channel == "mean")
    began = (T0 + 400 * 1800) * S
    assert began <= mean.at < began + 60 * 1800 * S
    assert abs(mean.changed_at - began) < 12 * 1800 * S
    assert mean.alarm.effect_bps == pytest.approx(12, abs=5)
    first, last = (k for k in (stood.index(next(a for a in stood if a)), len(stood) - 1 - next(k for k, a in enumerate(stood[::-1]) if a)))
    assert 6 <= last - first <= 9
    assert drift.detectors.trades.epoch == 1
    assert known(drift) == known(whole(made, T0 + 30 * DAY)[1])


def test_a_latch_ends_by_the_clock_where_no_trade_follows():
    made = trades(noise(400) + noise(60, seed=5, mean=25.0))
    _, drift, state = whole(made, T0 + 10 * DAY)
    assert state.alarm.channel in {"mean", "slippage"}
    end = max(one.until for one in drift.raised)
    assert end == max(one.at for one in drift.raised) + LATCH_NS
    assert drift.read(end - 1).alarm is not None
    over = drift.read(end)
    assert over.alarm is None
    assert over.confidence is None or over.confidence < 0.8
    assert drift.summary(end)["past"]


def test_a_reset_ends_the_epoch_and_earlier_trades_are_no_longer_read():
    made = trades(noise(400) + noise(100, seed=5, mean=25.0) + noise(300, seed=6, mean=25.0))
    desk, drift, state = whole(made[:500], T0 + 11 * DAY)
    assert state.alarm
    desk.s.memory.line = (T0 + 500 * 1800) * S
    state = desk.feed(drift, T0 + 11 * DAY)
    assert state.alarm is state.confidence is None
    assert drift.detectors.trades.epoch == 1
    desk.give(BACKTEST, [b for b, _ in made[500:]])
    desk.give(LIVE, [l for _, l in made[500:]])
    desk.beat(T0 + 20 * DAY)
    state = desk.feed(drift, T0 + 20 * DAY)
    assert len(drift.detectors.trades.price.ranks) == 300
    assert state.alarm is None
    assert state.confidence < 0.8
    assert {one.alarm.epoch for one in drift.raised if one.side == "trades"} == {0}


def test_the_horizon_is_the_matched_trades_of_thirty_days_until_an_epoch_began():
    d = np.array(noise(2000))
    d[1500:] -= 20
    made = trades(d.tolist(), every=500.0)
    _, drift, _ = whole(made, T0 + 25 * DAY)
    _, first, second = drift.trades.starts
    assert (first.epoch, second.epoch) == (0, 1)
    assert second.t > (T0 + 1500 * 500) * S
    assert drift.detectors.trades.horizon == sum(b["ts"] * S < second.t for b, _ in made) > 1300


@pytest.mark.parametrize("cuts", [(), (700, 1999, 2000, 2001, 2600, 5999, 6003)])
def test_a_busy_first_day_outgrows_the_budget_that_its_first_trades_were_given(cuts):
    """2,000 trades on a budget for 1,000, 4,000 on one for 2,000, then one for 6,000: however the day was cut, and with restarts."""
    made = trades(noise(6500), every=13.0, quotes=False)
    desk, drift = Desk(), DriftFeed("s")
    for start, end in itertools.pairwise((0, *cuts, len(made))):
        desk.give(BACKTEST, [b for b, _ in made[start:end]])
        desk.give(LIVE, [l for _, l in made[start:end]])
        desk.beat(made[end - 1][0]["ts"] + 1)
        drift = DriftFeed.restore(drift.state())
        desk.feed(drift, made[end - 1][0]["ts"] + 2, intervals=False)
    first = [(one.epoch, round((one.t / S - T0 - 60.0) / 13.0)) for one in drift.trades.starts[-3:]]
    assert first == [(0, 0), (1, 2000), (2, 6000)]
    assert (drift.detectors.trades.horizon, len(drift.detectors.trades.price.ranks)) == (6000, 500)
    assert known(drift) == known(whole(made, T0 + DAY)[1])


def test_a_correlation_that_breaks_is_found_in_the_intervals():
    rng = np.random.default_rng(2)
    d = np.concatenate([rng.standard_normal(900) * 2, rng.standard_normal(300) * 80])
    _, drift, _ = whole(trades(d.tolist(), every=950.0), T0 + 14 * DAY)
    one = next(x for x in drift.raised if x.alarm.channel == "correlation")
    assert one.side == "intervals"
    assert one.adverse
    assert abs(one.changed_at - (T0 + 900 * 950) * S) < 12 * SHELF_NS
    summary = drift.summary(one.at)
    assert summary["channels"]["correlation"]["alarm"]["changed_at"] == rfc3339(one.changed_at)


def test_the_summary_is_plain_and_holds_the_rules_and_the_budget():
    d = noise(300) + [x * 3 for x in noise(30, seed=3)]
    _, drift, _ = whole(trades(d), T0 + 8 * DAY)
    out = drift.summary((T0 + 8 * DAY) * S)
    json.dumps(out, allow_nan=False)
    assert set(out["rules"]) == {"tracking_error", "correlation", "hit_rate", "slippage"}
    assert sum(out["budget"]["shares"].values()) == pytest.approx(0.05)
    assert out["budget"]["per_trades"] == 1000
    assert {"confidence", "confidence_strongest", "channels", "alarm", "past"} <= set(out)
    days = [[x for k, x in enumerate(d) if (k * 1800 + 60) // DAY == day] for day in range(7)]
    errors = [np.sqrt(np.mean(np.square(x))) for x in days]
    rule = out["rules"]["tracking_error"]
    assert rule["value"] == pytest.approx(np.mean(errors[-3:]), abs=1e-6)
    assert rule["baseline"] == pytest.approx(np.mean(errors[:-3]), abs=1e-6)
    assert out["rules"]["slippage"]["value"] is not None


def raised(channel, direction="adverse", effect=None, note=None):
    alarm = Alarm(
        channel=channel, epoch=0, index=1, key=1, change_index=0, change_key=1, evidence=1.0, limit=1.0, effect_bps=effect, before=0.0, since=0.0,
        spread_before=None, spread_since=None, direction=direction, note=note,
    )  # fmt: skip
    return Raised(side="trades", at=0, changed_at=0, alarm=alarm)


def test_of_several_standing_alarms_the_gravest_is_told():
    volatile = raised("scale", effect=40.0, note="volatility or drift")
    assert gravest([]) is None
    assert gravest([volatile, raised("mean", effect=6.0), raised("hit")]).channel == "mean"
    assert gravest([raised("mean", "favourable", -9.0), raised("hit")]).channel == "hit"
    assert gravest([volatile]).note == "volatility or drift"
