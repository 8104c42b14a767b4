"""The hit channel: its rates, its bets, what it raises, and that clustered misses are not taken for more misses."""

import numpy as np
import pytest

from parityd.core.drift_hits import ODDS, Hits, Rates
from parityd.core.drift_lane import channel
from parityd.core.drift_ranks import CALIBRATION


def fed(hits):
    seen = Hits(channel("hit", horizon=1000), epoch=2)
    return seen, [alarm for key, hit in enumerate(hits) if (alarm := seen.add(1000 + key, bool(hit)))]


def test_a_bet_is_fair_at_its_own_rate():
    rates = Rates()
    for miss in [False, False, True, False, True, True, False]:
        rates.count(miss)
    on_miss, on_hit = rates.bets(True), rates.bets(False)
    pooled = (3 + 0.5) / 8
    after_hit = (2 + 20 * pooled) / (3 + 20)
    assert rates.previous is False
    for miss, hit, odds in zip(on_miss, on_hit, ODDS, strict=True):
        assert after_hit * miss + (1 - after_hit) * hit == pytest.approx(1.0, abs=1e-14)
        assert miss / hit == pytest.approx(odds, abs=1e-12)


def test_a_fall_of_the_hit_rate_is_found_with_its_time_and_size():
    rng = np.random.default_rng(1)
    hits = np.r_[rng.random(600) < 0.8, rng.random(400) < 0.45]
    seen, alarms = fed(hits)
    (alarm,) = alarms
    assert 600 < alarm.index < 660
    assert 580 <= alarm.change_index <= 620
    assert (alarm.key, alarm.change_key) == (1000 + alarm.index, 1000 + alarm.change_index)
    assert (alarm.channel, alarm.direction, alarm.effect_bps, alarm.epoch) == ("hit", "adverse", None, 2)
    assert alarm.before == pytest.approx(hits[: alarm.change_index].mean())
    assert alarm.since == pytest.approx(hits[alarm.change_index : alarm.index + 1].mean())
    assert seen.channel.evidence.latched


def test_a_rise_of_the_hit_rate_raises_nothing():
    rng = np.random.default_rng(2)
    assert fed(np.r_[rng.random(600) < 0.6, np.ones(600)])[1] == []


def test_nothing_is_raised_before_the_calibration_is_over():
    seen, alarms = fed(np.r_[np.ones(60), np.zeros(CALIBRATION - 60)])
    assert alarms == []
    assert seen.channel.evidence.count == 0


def test_clustered_misses_are_mostly_not_taken_for_drift():
    rng = np.random.default_rng(3)
    raised = 0
    for _ in range(150):
        hits, miss = [], False
        for toss in rng.random(1200):
            miss = toss < (0.32 if miss else 0.17)
            hits.append(not miss)
        raised += bool(fed(hits)[1])
    assert raised / 150 < 0.12


def test_a_constant_stream_is_calm():
    assert fed(np.ones(3000))[1] == []
    assert fed(np.zeros(3000))[1] == []
