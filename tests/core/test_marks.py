"""Prices by time: whatever the order in which they came."""

import random

import numpy as np
import pytest

from parityd.core.marks import BACKTEST_MARK, FILL_LEAD_NS, LIVE_MARK, TRADED, TRADED_LIVE, Marks, Series, taken_back
from parityd.core.records import NO_TS

S = 1_000_000_000


@pytest.mark.parametrize("seed", range(20))
def test_a_series_is_a_function_of_its_points_not_of_their_order_or_batches(seed):
    rng = random.Random(seed)
    points = [(rng.randrange(50) * S, rng.choice([0, 1, 2, 3]), float(rng.randrange(100))) for _ in range(60)]
    whole, cut = Series(), Series()
    for t, rank, px in points:
        whole.add(np.array([t]), rank, np.array([px]))
    rng.shuffle(points)
    while points:
        n = rng.randrange(1, 9)
        for t, rank, px in points[:n]:
            cut.add(np.array([t]), rank, np.array([px]))
        cut.settle()
        points = points[n:]
    for t in range(-1, 52):
        assert whole.at(t * S) == pytest.approx(cut.at(t * S), nan_ok=True)


def put(m, rank, t, px):
    m.add(1, rank, np.array([t * S]), np.array([px]))


def test_the_newest_mark_stands_the_live_books_where_both_are_as_new():
    m = Marks()
    put(m, BACKTEST_MARK, 10, 1.0)
    put(m, LIVE_MARK, 10, 2.0)
    put(m, LIVE_MARK, 5, 3.0)
    assert m.price(1, 20 * S) == (2.0, 10 * S)
    assert m.price(1, 9 * S) == (3.0, 5 * S)
    put(m, BACKTEST_MARK, 11, 4.0)
    assert m.price(1, 20 * S) == (4.0, 11 * S)


def test_a_traded_price_counts_only_where_it_is_newer_by_more_than_a_quarter_of_an_hour():
    m = Marks()
    put(m, LIVE_MARK, 0, 1.0)
    put(m, TRADED, FILL_LEAD_NS // S, 2.0)
    assert m.price(1, 10_000 * S)[0] == 1.0
    put(m, TRADED_LIVE, FILL_LEAD_NS // S + 1, 3.0)
    assert m.price(1, 10_000 * S)[0] == 3.0
    assert m.grid(1, [0, FILL_LEAD_NS, FILL_LEAD_NS + S]).tolist() == [1.0, 1.0, 3.0]


def test_nothing_known_is_no_price():
    m = Marks()
    price, when = m.price(1, S)
    assert np.isnan(price)
    assert when == NO_TS
    put(m, LIVE_MARK, 5, 1.0)
    assert np.isnan(m.price(1, 4 * S)[0])
    assert m.first_after(1, 4 * S) == (1.0, 5 * S)


def test_where_every_trade_was_taken_back_there_is_no_price():
    m = Marks()
    m.add(1, TRADED, np.array([5]), np.array([2.0]))
    m.add(1, taken_back(TRADED), np.array([5]), np.array([2.0]))
    assert np.isnan(m.grid_of_many(1, np.array([4, 5, 6]))).all()
    assert np.isnan(m.grid(1, [5])).all()
