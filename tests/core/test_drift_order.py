"""A shelf's rows as the detectors read them: few and many alike, in order, and how far a stream has come in them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.drift_order import TRADE, in_columns, joined, pieces, reached, taken, trades_of
from parityd.core.rows import DEAD, FEW, PART, SHELF_NS, SLIP_ALONE, SUPPRESSED, SUSPECT, blank


def rows_of(seed, n):
    """Rows with and without each thing that leaves a trade out, few of them at different times."""
    rng = np.random.default_rng(seed)
    r = blank(n)
    r["t"], r["bkey"] = rng.integers(-3, 6, n) * SHELF_NS // 4, rng.integers(0, 2**64, n, np.uint64)
    r["lkey"], r["b_q"], r["l_q"] = rng.integers(0, 5, n), rng.integers(0, 5, n), rng.integers(0, 5, n)
    r["flags"] = np.bitwise_or.reduce(
        [np.where(rng.random(n) < share, f, 0) for f, share in ((DEAD | PART, 0.1), (SUSPECT, 0.1), (SUPPRESSED, 0.1), (SLIP_ALONE, 0.5))]
    )
    r["d"] = np.where(rng.random(n) < 0.2, np.nan, rng.normal(0, 1, n) * rng.choice([1e-10, 1.0, 1e12, 0.0], n))
    r["slip"], r["x"] = rng.normal(0, 5, n), rng.uniform(1, 9, n)
    return r


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, FEW), line=st.integers(-2, 2), frontier=st.integers(0, 5))
def test_few_rows_give_the_bits_of_many(seed, n, line, frontier):
    rows, span = rows_of(seed, n), (line * SHELF_NS // 4, frontier * SHELF_NS // 4)
    few, many = trades_of(rows, *span), in_columns(rows, *span)
    assert few.tobytes() == many.tobytes()
    assert few.dtype == TRADE
    assert [tuple(x) for x in few[["t", "key"]].tolist()] == sorted(few[["t", "key"]].tolist())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 60), place=st.integers(0, 70))
def test_a_head_has_reached_what_is_not_after_it(seed, n, place):
    trades = trades_of(rows_of(seed, n), -(2**62), 2**62)
    keys = [*trades[["t", "key"]].tolist(), (0, 0), (-(2**62), 0), (2**62, 5)]
    head = keys[place % len(keys)]
    assert reached(trades, head) == sum(one <= head for one in trades[["t", "key"]].tolist())
    assert taken(trades, head) == taken(trades[: reached(trades, head)], (2**62, 0))


def test_pieces_put_together_again_are_the_whole():
    trades = trades_of(rows_of(3, 200), -(2**62), 2**62)
    parts = list(pieces(trades, SHELF_NS))
    assert [number for number, _ in parts] == sorted({int(t) // SHELF_NS for t in trades["t"]})
    assert joined([part for _, part in parts]).tobytes() == trades.tobytes()
    assert joined([trades]) is trades
