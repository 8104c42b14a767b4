"""p-values: uniform under ties, reproducible in any process, equal to brute force and to the bit however the stream is cut."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.drift import Detectors
from parityd.core.drift_ranks import ARM, CALIBRATION, NOTHING, Ranks, merged, salt_of, theta, thetas, whitening


def fed(x, *, sizes=None, salt=7, absolute=False):
    ranks = Ranks(salt=salt, absolute=absolute)
    x = np.asarray(x, dtype=np.float64)
    keys = np.arange(len(x), dtype=np.uint64) * np.uint64(0x9E3779B1)
    done = 0
    cuts = iter(sizes or [])
    while done < len(x):
        size = min(next(cuts, len(x)), ranks.room, len(x) - done)
        if size == 1:
            ranks.add(int(keys[done]), float(x[done]), float(x[done]))
        else:
            ranks.extend(keys[done : done + size], x[done : done + size], x[done : done + size])
        done += size
    return ranks


def test_p_values_equal_brute_force_with_ties():
    x = np.random.default_rng(1).integers(0, 12, 900).astype(float)
    ranks = fed(x)
    assert ranks.phi == 0.0
    toss = thetas(7, np.frombuffer(ranks.keys, dtype=np.uint64))
    for n in range(CALIBRATION, len(x)):
        less, equal = (x[:n] < x[n]).sum(), (x[:n] == x[n]).sum()
        assert ranks.p[n] == pytest.approx((less + toss[n] * (1 + equal)) / (n + 1), abs=1e-15)


@pytest.mark.parametrize("levels", [2, 5, 10**9])
def test_p_values_are_uniform_under_any_number_of_ties(levels):
    rng = np.random.default_rng(levels)
    p = np.concatenate([fed(rng.integers(0, levels, 600), salt=salt_of("s", seed)).p[CALIBRATION:] for seed in range(25)])
    steps = np.arange(1, len(p) + 1) / len(p)
    assert np.abs(np.sort(p) - steps).max() < 1.63 / np.sqrt(len(p)), "Kolmogorov-Smirnov at 1 %"
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 3.0 / np.sqrt(len(p))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), max_size=40), seed=st.integers(0, 10**6), rho=st.sampled_from([0.0, 0.6]), absolute=st.booleans()
)
def test_any_cut_gives_the_same_bits(sizes, seed, rho, absolute):
    x = np.random.default_rng(seed).standard_normal(1100).round(2)
    for i in range(1, len(x)):
        x[i] += rho * x[i - 1]
    assert fed(x, sizes=sizes, absolute=absolute).state() == fed(x, absolute=absolute).state()


def test_one_by_one_gives_the_same_bits():
    x = np.random.default_rng(5).standard_t(3, 1500).round(1)
    assert fed(x, sizes=[1] * 1500).state() == fed(x).state()


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 2048), earlier=st.integers(1, 300), levels=st.sampled_from([3, 60, 10**9]), seed=st.integers(0, 10**6))
def test_ranks_among_the_earlier_ones_of_a_block_equal_counting_them(size, earlier, levels, seed):
    rng = np.random.default_rng(seed)
    reference, part = np.sort(rng.integers(0, levels, earlier).astype(float)), rng.integers(0, levels, size).astype(float)
    less, equal, both = merged(reference, part)
    before = [np.concatenate([reference, part[:n]]) for n in range(size)]
    assert less.tolist() == [int((known < x).sum()) for known, x in zip(before, part, strict=True)]
    assert equal.tolist() == [int((known == x).sum()) for known, x in zip(before, part, strict=True)]
    assert both.tolist() == sorted([*reference.tolist(), *part.tolist()])


@pytest.mark.parametrize("zeros", [0, 500])
def test_numbers_that_differ_in_their_last_bits_alone_are_told_apart(zeros):
    rng = np.random.default_rng(zeros)
    close = 7.25 + rng.integers(-40, 40, 600) * 2.0**-50
    part = rng.permutation(np.concatenate([close, -close, np.zeros(zeros), rng.standard_normal(300)]))
    reference = np.sort(rng.choice(part, 50))
    less, equal, both = merged(reference, part)
    assert less.tolist() == [int((reference < x).sum() + (part[:n] < x).sum()) for n, x in enumerate(part)]
    assert equal.tolist() == [int((reference == x).sum() + (part[:n] == x).sum()) for n, x in enumerate(part)]
    assert both.tolist() == sorted([*reference.tolist(), *part.tolist()])


def test_nothing_is_bet_on_before_arming():
    ranks = fed(np.arange(60.0))
    assert np.isnan(ranks.p[:ARM]).all()
    assert np.isfinite(ranks.p[ARM:]).all()


def test_theta_is_the_same_in_a_column_and_in_another_process():
    keys = np.random.default_rng(2).integers(0, 2**64, 500, dtype=np.uint64)
    salt = salt_of("momentum", 3)
    assert thetas(salt, keys).tolist() == [theta(salt, key) for key in keys.tolist()]
    program = "from parityd.core.drift_ranks import salt_of, theta; print(repr(theta(salt_of('momentum', 3), 2**63 + 11)))"
    seen = set()
    for seed in ("0", "4711"):
        run = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, capture_output=True
        )
        assert run.returncode == 0, run.stderr
        seen.add(run.stdout.decode().strip())
    assert seen == {repr(theta(salt, 2**63 + 11))}


def test_theta_depends_on_strategy_epoch_and_key():
    tosses = {theta(salt_of(name, epoch), key) for name in ("a", "b", "1", "11") for epoch in (0, 1, 11) for key in (0, 1, 2**64 - 1)}
    assert len(tosses) == 36
    assert all(0.0 < toss < 1.0 for toss in tosses)


def test_white_noise_is_left_alone_and_correlation_is_removed():
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((400, 200))
    assert np.mean([whitening(x, errors=2.0) == 0.0 for x in noise]) > 0.95
    correlated = noise.copy()
    for i in range(1, 200):
        correlated[:, i] += 0.5 * correlated[:, i - 1]
    found = [whitening(x, errors=2.0) for x in correlated]
    assert np.median(found) == pytest.approx(0.5, abs=0.08)
    assert max(found) <= 0.9


@pytest.mark.parametrize("x", [np.zeros(50), np.r_[np.zeros(49), 5.0]])
def test_a_stream_without_spread_is_not_whitened(x):
    assert whitening(x, errors=2.0) == 0.0


@pytest.mark.parametrize("cuts", [(), (60, 61, 130, 500)])
def test_where_nothing_differs_nothing_is_bet_on(cuts):
    """Until the first other value; from then on ties are tossed for."""
    ranks = Ranks(salt=7)
    x = np.full(900, 8.0)
    x[600] = 9.0
    keys = np.arange(900, dtype=np.uint64)
    for start, end in itertools.pairwise((0, *cuts, 900)):
        done = start
        while done < end:
            stop = min(end, done + ranks.room)
            if stop - done == 1:
                ranks.add(int(keys[done]), float(x[done]), float(x[done]))
            else:
                ranks.extend(keys[done:stop], x[done:stop], x[done:stop])
            done = stop
    p = np.frombuffer(ranks.p)[ARM:]
    assert (p[: 600 - ARM] == NOTHING).all()
    assert p[600 - ARM] > 0.998
    assert len(set(p[601 - ARM :].tolist())) == 299
    detectors = Detectors.fresh("s")
    for k in range(20):
        assert detectors.step_trades(keys + np.uint64(900 * k), np.full(900, 22.0)) == []
