"""The recursion, its martingale, its latch and its memory of the last N points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.drift_bets import SHIFT
from parityd.core.drift_evidence import Evidence


def evidence(**changes):
    return Evidence(**{"size": 6, "share": 0.01, "zeta": 0.57, "horizon": 1000} | changes)


def test_the_statistic_is_the_mean_of_the_plain_recursions():
    bets = SHIFT.over(np.random.default_rng(1).uniform(0.001, 0.999, 700))
    seen = evidence(share=1e-9)
    plain = np.zeros(6)
    for row in bets:
        plain = (1.0 + plain) * row
        seen.step(row.tolist())
        assert seen.log_evidence == pytest.approx(math.log(plain.mean()), abs=1e-11)


def test_in_control_the_statistic_less_its_weights_is_a_martingale():
    rng = np.random.default_rng(2)
    for ramp, total in ((0, 5.0), (4, 3.5)):
        ends = []
        for p in rng.uniform(1e-6, 1 - 1e-6, (20_000, 5)):
            one = evidence(share=1e-12, ramp=ramp)
            one.run(SHIFT.over(p))
            ends.append(one.mean)
        error = np.std(ends) / math.sqrt(len(ends))
        assert abs(np.mean(ends) - total) < 4 * error


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 200), max_size=30),
    seed=st.integers(0, 10**6),
    ramp=st.sampled_from([0, 90, 150]),
    low=st.sampled_from([0.0, 0.2]),
)
def test_any_cut_gives_the_same_bits_up_to_the_latch(sizes, seed, ramp, low):
    bets = SHIFT.over(np.random.default_rng(seed).uniform(max(low, 1e-6), 1 - 1e-6, 900))
    whole, cut = evidence(ramp=ramp, horizon=300), evidence(ramp=ramp, horizon=300)
    place = whole.run(bets)
    done, sizes, found = 0, iter(sizes), -1
    while done < len(bets) and found < 0:
        size = next(sizes, 1)
        if size == 1:
            found = done if cut.step(bets[done].tolist()) else -1
        else:
            at = cut.run(bets[done : done + size])
            found = done + at if at >= 0 else -1
        done += size
    assert found == place
    assert cut.state() == whole.state()
    assert (place >= 0) == whole.latched


def test_a_latched_channel_is_frozen():
    one = evidence()
    bets = SHIFT.over(np.full(200, 0.97))
    place = one.run(bets)
    assert place > 0
    assert one.log_evidence >= one.limit == pytest.approx(math.log(1000 / 0.01))
    before = one.state()
    assert one.run(bets) == -1
    assert one.step(bets[0].tolist()) is False
    assert one.state() == before
    assert before["count"] == place + 1


def test_the_leader_of_a_rise_bets_on_a_rise():
    up, down = evidence(), evidence()
    up.run(SHIFT.over(np.full(200, 0.95)))
    down.run(SHIFT.over(np.full(200, 0.05)))
    assert up.leader in {0, 1, 4}
    assert down.leader in {2, 3, 5}


def test_confidence_looks_at_the_last_horizon_only():
    one = evidence(horizon=100)
    burst, calm = SHIFT.over(np.full(5, 0.95)), SHIFT.over(np.random.default_rng(4).uniform(0.3, 0.7, 99))
    assert one.confidence == 0.0
    one.run(burst)
    highest = one.mean
    one.run(calm)
    assert one.confidence == pytest.approx(math.exp(-100 * 0.57 / highest))
    one.run(calm[:20])
    assert one.confidence < math.exp(-100 * 0.57 / highest)


def test_confidence_is_uniform_in_control():
    rng = np.random.default_rng(5)
    shown = []
    for _ in range(600):
        one = evidence()
        one.run(SHIFT.over(rng.uniform(1e-6, 1 - 1e-6, 1000)))
        shown.append(one.confidence)
    for level in (0.5, 0.8):
        assert np.mean(np.array(shown) >= level) == pytest.approx(1 - level, abs=0.07)
