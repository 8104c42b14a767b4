"""The drawn evidence is the published one: at its end, at every moment before, at an alarm and after it; times are those of the trades."""

import numpy as np
import pytest
from core.drift_desk import DAY, T0, S, noise, trades, whole

from parityd.core.drift import Detectors
from parityd.core.drift_path import MOST, drift_path
from parityd.core.instants import parse_time


def ends(detectors):
    shown = detectors.summary()["channels"]
    return {k: max(0.0, c["evidence"]) / c["limit"] for k, c in shown.items() if c["evidence"] is not None}


def test_the_last_point_is_what_is_published_and_times_are_within_the_days_of_the_trades():
    now = T0 + 9 * DAY
    _, drift, _ = whole(trades(noise(400)), now)
    path = drift_path(drift, now * S)
    assert 2 < len(path) <= MOST
    assert path[-1]["channels"] == pytest.approx(ends(drift.detectors), abs=1e-4)
    assert {"mean", "scale", "slippage", "correlation", "hit"} <= set(path[-1]["channels"])
    times = [parse_time(p["ts"]) for p in path]
    assert times == sorted(set(times))
    assert times[0] > T0 * S and times[-1] <= (T0 + 400 * 1800 + 900) * S


def test_every_point_is_what_was_published_then():
    made = trades(noise(300), every=1800.0)
    now = T0 + 10 * DAY
    _, drift, _ = whole(made, now)
    path = drift_path(drift, now * S)
    for k in (150, 220, 260):
        upto = (T0 + k * 1800) * S
        plain = Detectors.fresh("s", with_slippage=True)
        side = drift.detectors.trades
        keys, d = np.array(side.price.ranks.keys)[:k], np.array(side.price.ranks.bps)[:k]
        plain.step_trades(keys, d, np.array(side.slippage.ranks.bps)[:k])
        point = [p for p in path if parse_time(p["ts"]) <= upto][-1]
        shelf = parse_time(point["ts"]) // (1800 * S)  # trades up to there: one each half hour
        again = Detectors.fresh("s", with_slippage=True)
        n = (parse_time(point["ts"]) - T0 * S - 60 * S) // (1800 * S) + 1
        assert shelf and n <= k
        again.step_trades(keys[:n], d[:n], np.array(side.slippage.ranks.bps)[:n])
        for name in ("mean", "scale", "slippage"):
            assert point["channels"][name] == pytest.approx(ends(again)[name], abs=1e-4), (k, name)


def test_an_alarm_is_at_its_limit_and_stays_there():
    now = T0 + 11 * DAY
    _, drift, state = whole(trades(noise(400) + noise(100, seed=5, mean=25.0)), now)
    assert state.alarm is not None
    mean = [p["channels"].get("mean", 0.0) for p in drift_path(drift, now * S)]
    assert mean[-1] >= 1.0 and mean[-1] == mean[-2]
    assert max(mean[: len(mean) // 2]) < 1.0
    cut = drift_path(drift, now * S, until=(T0 + 300 * 1800) * S)
    assert parse_time(cut[-1]["ts"]) <= (T0 + 300 * 1800) * S


def test_without_bets_there_is_no_path():
    _, drift, _ = whole(trades(noise(20)), T0 + DAY)
    assert drift_path(drift, (T0 + DAY) * S) == []
