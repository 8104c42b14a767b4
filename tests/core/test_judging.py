"""A window of rows -> the numbers that are judged: means over trades, thin days pooled, what a reset put behind it."""

from fractions import Fraction

import numpy as np
import pytest

from parityd.core.index import Places
from parityd.core.judging import cumulative_drift, runaway
from parityd.core.measures import mean_component, mean_fee
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.rows import BY_ID, SHELF_NS, SLIP_ALONE, Shelf, blank
from parityd.core.strategy import Strategy
from parityd.core.summary import summarise
from parityd.core.window import DAY_NS, Settling, Window, summed

EVER = Settling(2**62, 2**62, 2**62)
START = 20_000 * DAY_NS
HOUR = 3600 * 10**9


def matched(times, d=0.0, **columns):
    r = blank(len(times))
    r["bkey"] = r["lkey"] = r["pk"] = np.arange(1, len(times) + 1)
    r["b_q"] = r["l_q"] = r["alpha"] = r["x"] = r["n"] = 1.0
    r["how"] = BY_ID
    r["t"] = r["b_first"] = r["l_first"] = times
    r["d"] = d
    for name, values in columns.items():
        r[name] = values
    return r


def holding(rows):
    s = Strategy("s", Parameters(), Places(), lambda _s, _n: None)
    for number in np.unique(rows["t"] // SHELF_NS).tolist():
        s.books.shelves[number] = shelf = Shelf(number)
        mine = rows[rows["t"] // SHELF_NS == number]
        shelf.append(mine, np.array([""] * len(mine), object))
        s.books.mark(number)
    s.books.refresh()
    return s


def test_a_component_is_the_mean_over_trades_whatever_their_size():
    slip, x = [40.0, 1.0, 5.0], [10_000.0, 100.0, 1000.0]
    sums = summarise(matched([START] * 3, slip=slip, x=x, fee_bps=[1.0, 2.0, 6.0], flags=[SLIP_ALONE, SLIP_ALONE, 0]))
    assert mean_component(sums, "slip") == (pytest.approx((40.0 + 100.0) / 2), pytest.approx(2 / 3))
    assert mean_component(sums, "timing") == (None, 0.0)
    assert mean_fee(sums) == pytest.approx(3.0)
    assert mean_component(summarise(blank(0)), "slip") == (None, None)


def test_a_week_is_the_sum_of_its_days_means_and_a_thin_day_is_pooled_with_the_one_before():
    days = {0: [30.0] * 12 + [34.0] * 12, 1: [90.0, 110.0], 2: [10.0] * 6 + [14.0] * 6, 9: [5.0] * 10}
    rows = [matched([START + day * DAY_NS + k * 10**9 for k in range(len(d))], d) for day, d in days.items()]
    s = holding(np.concatenate(rows))
    end = START + 3 * DAY_NS - 1
    window = Window(end - DAY_NS, end, *summed(s.books, end - DAY_NS, end, EVER))
    week = cumulative_drift(s, EVER, window, StrategyTerms())
    assert week.drift == pytest.approx(32 + 100 + 12) and week.trades == 38
    both = [Fraction(x) for x in (*days[0], *days[1])]
    mean = sum(both) / len(both)
    assert week.pooled == pytest.approx(float(2 * mean + 12))
    spread = [sum((x - m) ** 2 for x in v) / (len(v) - 1) / len(v) for v, m in ((both, mean), ([Fraction(x) for x in days[2]], 12))]
    assert week.error == pytest.approx(float(4 * spread[0] + spread[1]) ** 0.5)
    assert cumulative_drift(s, EVER, window, StrategyTerms(), START + DAY_NS).drift == pytest.approx(112)
    assert cumulative_drift(s, EVER, None, StrategyTerms()).drift is None


def test_what_lies_before_a_reset_is_no_runaway_any_more():
    now = START + 3 * DAY_NS + HOUR // 4
    times = [START + k * HOUR for k in range(70)] + [now - HOUR // 2 + k * 10**9 for k in range(30)]
    s = holding(matched(times))
    live, largest, backtest, hours = runaway(s, now)
    assert (live, largest, backtest) == (30, 1, 30) and hours == pytest.approx(72.25)
    s.memory.line = now - HOUR // 4
    assert runaway(s, now)[0] == 0
