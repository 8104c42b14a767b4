"""What is kept of a window from look to look says what a look without it says: at any time, after any records, whatever waits."""

import random

import numpy as np
import pytest
from core.desk import Desk
from core.test_against_reference import told

from parityd.core.assessing import window_attribution
from parityd.core.instants import parse_time
from parityd.core.judging import judge
from parityd.core.keeping import Windows
from parityd.core.marks import LIVE_MARK, TRADED, Marks, taken_back
from parityd.core.rows import SHELF_NS
from parityd.core.window import settling

HOUR = 3600 * 10**9


class Looks:
    """Two looks at every strategy at once: with and without what is kept."""

    def __init__(self, desk):
        self.m = desk.monitor
        self.kept, self.again = {}, 0

    def look(self, now, **facts):
        for name, s in self.m.strategies.items():
            kept = self.kept.setdefault(name, Windows())
            until = settling(s, self.m.parameters, now, **facts)
            before = kept._judged
            mine, plain = kept.judge(s, self.m.parameters, until, now), judge(s, self.m.parameters, until, now)
            self.again += kept._judged is before
            assert (mine.evidence, mine.metrics, mine.trades) == (plain.evidence, plain.metrics, plain.trades)
            assert window_attribution(self.m, s, mine, until, kept) == window_attribution(self.m, s, plain, until, Windows())


@pytest.mark.parametrize("seed", range(6))
def test_with_and_without_what_is_kept_the_window_says_the_same(seed):
    rng, desk = random.Random(seed), Desk()
    looks = Looks(desk)
    records = [(book, r) for book, all_ in zip(("backtest", "live"), told(seed, dense=seed % 2 == 0), strict=True) for r in all_]
    rng.shuffle(records)
    times = [parse_time(r["ts"]) if isinstance(r["ts"], str) else int(r["ts"]) for _, r in records if "ts" in r]
    now = max(times)
    for _ in range(12):
        part, records = records[: len(records) // 6 + 1], records[len(records) // 6 + 1 :]
        desk.turn([(book, [r for b, r in part if b == book]) for book in ("backtest", "live")])
        for _ in range(5):
            now += rng.choice([0, 1, HOUR // 4, HOUR, 30 * HOUR, 300 * HOUR])
            looks.look(now, waiting=rng.random() < 0.2, backlog=rng.random() < 0.1)
        name = rng.choice(sorted(desk.monitor.strategies))
        desk.monitor.strategies[name].memory.line = rng.choice(times)
        sym = rng.choice([1, 2, 3])
        desk.monitor.add_marks(sym, LIVE_MARK, np.array([rng.choice(times)]), np.array([rng.uniform(50, 150)]))
        looks.look(now, waiting=False)
    assert looks.again > 10


def test_a_price_counts_as_unchanged_until_one_of_before_comes_is_taken_back_or_is_let_go_of():
    marks = Marks()
    marks.add(1, LIVE_MARK, np.array([100, 200]), np.array([1.0, 2.0]))
    seen = marks.version(1)
    assert marks.stands(1, 150, seen)
    marks.add(1, LIVE_MARK, np.array([300]), np.array([3.0]))
    assert marks.stands(1, 299, seen)
    assert not marks.stands(1, 300, seen)
    marks.splits.learn(1, 250, 1.0, 2)
    assert len(marks.version(1)) == 4


@pytest.mark.parametrize("seed", range(20))
def test_few_times_have_the_prices_that_many_have(seed):
    rng, marks = random.Random(seed), Marks()
    for _ in range(30):
        t = np.array(sorted(rng.sample(range(0, 10**13, 10**9), 5)))
        marks.add(rng.choice([1, 2]), rng.choice([0, 1, 2, 3]), t, np.array([rng.uniform(1, 2) for _ in t]))
    if seed % 3:
        marks.splits.learn(1, 5 * 10**12, 2.5)
    if seed % 3 == 2:
        marks.splits.learn(1, 7 * 10**12, 3.0, 2)
    ends = np.array(sorted(rng.sample(range(0, 10**13, 10**8), 40)))
    many = marks.grid_of_many(1, ends)
    for k in range(len(ends)):
        assert np.array_equal(marks.grid(1, ends[k : k + 3]), many[k : k + 3], equal_nan=True)


def test_what_was_given_of_a_series_stays_as_it_was_however_it_grows():
    marks = Marks()
    given, expected = [], []
    for k in range(200):
        marks.add(1, LIVE_MARK, np.array([10 * k + 1, 10 * k + 2]), np.array([float(k), k + 0.5]))
        given.append(marks.marks_only(1))
        expected += [float(k), k + 0.5]
    for k, (ts, px) in enumerate(given):
        assert px.tolist() == expected[: 2 * k + 2]
        assert len(ts) == 2 * k + 2


@pytest.mark.parametrize("seed", range(4))
def test_prices_at_boundaries_that_were_asked_before_are_those_of_now(seed, monkeypatch):
    monkeypatch.setattr("parityd.core.marks.GRIDS", 5)
    rng, marks = random.Random(seed), Marks()
    for turn in range(120):
        sym = rng.choice([1, 2])
        rank = rng.choice([TRADED, LIVE_MARK])
        price = float(rng.randrange(1, 4))
        marks.add(sym, rng.choice([rank, taken_back(rank)]), np.array([rng.randrange(40) * SHELF_NS]), np.array([price]))
        if turn in (50, 80):
            marks.splits.learn(1, rng.randrange(40) * SHELF_NS, 2.0 + turn, 2)
        for _ in range(3):
            sym, first, n = rng.choice([1, 2]), rng.choice([0, 3]), rng.choice([2, 20, 30])
            ends = (first + np.arange(n + 1)) * SHELF_NS
            assert np.array_equal(marks.boundaries(sym, first, n), marks.grid(sym, ends), equal_nan=True)
