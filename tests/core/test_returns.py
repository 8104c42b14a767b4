"""Interval returns against a computation by hand in rational numbers: what counts, what is active, windows, capital, currencies, the tape."""

import math
import random
import time
from fractions import Fraction

import numpy as np
import pytest

from parityd.core.executions import Postings
from parityd.core.index import Places
from parityd.core.ledger import ALLOWED, BOOK, LIVE_BOOK, UNIT
from parityd.core.marks import LIVE_MARK, Marks
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE
from parityd.core.returns import (
    A_DAY,
    ENOUGH,
    LONGEST,
    RECENT,
    Columns,
    correlation,
    counted_until,
    hit_rate,
    measured_returns,
    tracking_error_returns_bps,
)  # fmt: skip
from parityd.core.rows import BY_ID, SHELF_NS, blank
from parityd.core.strategy import Strategy
from parityd.core.summary import ShelfSummary

START = 2_000_000  # an interval in 2027
LATER = 2**62


def strategy(until=LATER):
    s = Strategy("momentum", Parameters(), Places(), lambda _s, _n: None)
    for book in (LIVE, BACKTEST):
        s.memory.pulses[book].watermark = until
    return s


def post(s, book, sym, interval, quantity, price, fee=0.0, offset=1):
    n = np.ones(1)
    p = Postings(
        pair=np.zeros(1, np.int64), ts=np.array([interval * SHELF_NS + offset]), quantity=quantity * n, price=price * n, fee=fee * n,
        held=quantity * n, fee_known=np.ones(1, np.bool_),
    )  # fmt: skip
    s.ledger.post(book, np.array([sym]), p)


def post_any(rng, s, book, sym, interval, quantities):
    """One of the quantities, at a price around 100."""
    post(s, book, sym, interval, rng.choice(quantities), 100.0 + rng.gauss(0, 1), 0.01)


def priced(prices, sym=1, start=START, marks=None):
    """A mark in the middle of every interval from `start` on: the price at its end."""
    marks = marks or Marks()
    ts = (start + np.arange(len(prices), dtype=np.int64)) * SHELF_NS + SHELF_NS // 2
    marks.add(sym, LIVE_MARK, ts, np.asarray(prices, np.float64))
    return marks


def at_end(interval):
    return (interval + 1) * SHELF_NS


def busy(seed=1, n=400, symbols=(1,), start=START, s=None):
    """Both books trade at random intervals, live a little dearer; a price path a symbol. Returns (strategy, marks, trades)."""
    rng = random.Random(seed)
    s = s or strategy()
    marks, trades = Marks(), []
    for sym in symbols:
        path = [100.0 * sym]
        for _ in range(n - 1):
            path.append(round(path[-1] * (1 + rng.gauss(0, 0.002)), 2))
        priced(path, sym, start, marks)
        held = 0
        for k in range(n):
            if rng.random() < 0.3:
                q = rng.choice([-2, -1, 1, 2])
                held += q
                price = round(path[k] * 1.0003, 2)
                trades += [(BACKTEST, sym, start + k, q, path[k], 0.01), (LIVE, sym, start + k, q, price, 0.02)]
    for t in trades:
        post(s, *t)
    return s, marks, trades


def by_hand(trades, paths, first, last, start=START):
    """Profit by (book, interval), in rational numbers: cash + value of what was traded + move of what was held."""
    out = {}
    for book in (BACKTEST, LIVE):
        for k in range(first, last + 1):
            total = Fraction(0)
            for sym, path in paths.items():
                price = [Fraction(str(path[min(max(j, 0), len(path) - 1)])) for j in (k - 1 - start, k - start)]
                opened, closed = price if k > start else (price[1], price[1])
                mine = [t for t in trades if t[0] == book and t[1] == sym]
                held = sum(Fraction(t[3]) for t in mine if t[2] < k)
                now = [t for t in mine if t[2] == k]
                total += held * (closed - opened)
                total += sum(Fraction(t[3]) * (closed - Fraction(str(t[4]))) - Fraction(str(t[5])) for t in now)
            out[book, k] = total
    return out


def paths_of(marks):
    return {sym: [float(x) for x in series.px] for sym, series in marks.marks.items()}


def test_profits_measures_and_capital_agree_with_rational_arithmetic():
    s, marks, trades = busy(n=200, symbols=(1, 2))
    last = START + 199
    r = measured_returns(s, marks, capital=50_000.0, now=at_end(last), first=START, last=last).returns
    for series in marks.marks.values():
        series.settle()
    want = by_hand(trades, paths_of(marks), START, last)
    b, l = ([want[book, int(k)] for k in r.numbers] for book in (BACKTEST, LIVE))
    assert np.allclose(r.pnl_allowed, [float(x) for x in b], atol=1e-9)
    assert np.allclose(r.pnl_live, [float(x) for x in l], atol=1e-9)
    assert np.array_equal(r.pnl_backtest_full, r.pnl_allowed)
    assert np.allclose(r.r_live, [float(x / 50_000) for x in l], atol=1e-14)
    on = [i for i in range(len(b)) if r.active[i]]
    n = len(on)
    mb, ml = sum(b[i] for i in on) / n, sum(l[i] for i in on) / n
    cov = sum((b[i] - mb) * (l[i] - ml) for i in on)
    vb, vl = sum((b[i] - mb) ** 2 for i in on), sum((l[i] - ml) ** 2 for i in on)
    assert correlation(r) == pytest.approx(float(cov) / math.sqrt(float(vb) * float(vl)), abs=1e-12)
    sign = lambda x: (x > 0) - (x < 0)
    assert hit_rate(r) == pytest.approx(sum(sign(b[i]) == sign(l[i]) for i in on) / n, abs=1e-15)
    diff = [(l[i] - b[i]) / 50_000 for i in on]
    mean = sum(diff) / n
    te = math.sqrt(float(sum((x - mean) ** 2 for x in diff) / (n - 1)) * n / (200 / 96)) * 1e4
    assert tracking_error_returns_bps(r) == pytest.approx(te, rel=1e-12)


def test_capital_is_the_largest_gross_notional_at_a_boundary_where_none_is_configured():
    s = strategy()
    post(s, BACKTEST, 1, START, 3.0, 100.0)
    post(s, BACKTEST, 2, START + 1, -2.0, 50.0)
    post(s, BACKTEST, 1, START + 2, -3.0, 110.0)
    marks = priced([50.0, 50.0, 40.0, 40.0], 2, marks=priced([100.0, 120.0, 110.0, 110.0], 1))
    r = measured_returns(s, marks, capital=None, now=at_end(START + 3), first=START, last=START + 3).returns
    assert r.capital == 3 * 120 + 2 * 50
    assert r.gross.tolist() == [300.0, 460.0, 460.0, 80.0]


def test_an_interval_counts_once_both_watermarks_have_passed_its_end():
    s, marks, _ = busy(n=10)
    s.memory.pulses[LIVE].watermark = at_end(START + 5)
    s.memory.pulses[BACKTEST].watermark = at_end(START + 7) - 1
    assert counted_until(s, LATER) == START + 5
    s.memory.pulses[LIVE].watermark = LATER
    assert counted_until(s, LATER) == START + 6
    assert counted_until(s, at_end(START + 2)) == START + 2
    s.memory.pulses[BACKTEST].watermark = -(2**63)
    assert counted_until(s, LATER) is None
    assert measured_returns(s, marks, capital=1.0, now=LATER).returns is None


def test_active_is_where_a_book_traded_or_held_while_the_mark_changed():
    s = strategy()
    post(s, BACKTEST, 1, START, 1.0, 100.0)
    post(s, LIVE, 1, START, 1.0, 100.0)
    post(s, BACKTEST, 1, START + 4, -1.0, 101.0)
    post(s, LIVE, 1, START + 5, -1.0, 101.0)
    marks = priced([100.0, 100.0, 101.0, 101.0, 101.0, 101.0, 105.0])
    r = measured_returns(s, marks, capital=1.0, now=at_end(START + 6), first=START, last=START + 6).returns
    assert r.active.tolist() == [True, False, True, False, True, True, False]


def test_what_only_the_full_backtest_did_while_nothing_was_allowed_makes_nothing_active():
    s = strategy()
    post(s, BACKTEST, 1, START, 1.0, 100.0, fee=0.1)
    s.ledger.adjust(1, START * SHELF_NS + 1, ALLOWED, -1.0, 100.0, -0.1)
    r = measured_returns(s, priced([100.0, 102.0, 103.0]), capital=1.0, now=at_end(START + 2), first=START, last=START + 2).returns
    assert not r.active.any()
    assert r.pnl_backtest_full.tolist() == [pytest.approx(-0.1), 2.0, 1.0]
    assert r.pnl_allowed.tolist() == [0.0, 0.0, 0.0]


def test_a_superseded_run_leaves_no_activity_behind():
    s = strategy()
    post(s, BACKTEST, 1, START, 0.3, 100.1, fee=0.03)
    for side in (BOOK, ALLOWED):
        s.ledger.adjust(1, START * SHELF_NS + 1, side, -0.3, 0.3 * 100.1, -0.03)
    r = measured_returns(s, priced([100.0, 102.0]), capital=1.0, now=at_end(START + 1), first=START, last=START + 1).returns
    assert not r.active.any()
    assert r.pnl_backtest_full.tolist() == [0.0, 0.0]


def test_rounding_is_no_profit():
    s = strategy()
    for q in (0.1, 0.2, -0.3):
        post(s, LIVE, 1, START, q, 100.1)
    post(s, BACKTEST, 1, START, 1.0, 100.1)
    r = measured_returns(s, priced([100.1]), capital=1.0, now=at_end(START), first=START, last=START).returns
    assert r.pnl_live[0] == 0.0


@pytest.mark.parametrize(
    ("activity", "days"), [(lambda k: k >= 0, 7), (lambda k: k % 3 == 0, 600 * 3 / A_DAY), (lambda k: k % 50 == 0, 30)]
)
def test_the_window_is_seven_days_or_six_hundred_active_intervals_or_thirty_days(activity, days):
    s, n = strategy(), 40 * A_DAY
    s.memory.pulses[LIVE].watermark = at_end(START + n - 1)
    for k in range(n):
        if activity(k):
            post(s, LIVE, 1, START + k, 1.0 if k % 2 == 0 else -1.0, 100.0)
    r = measured_returns(s, priced([100.0]), capital=1.0, now=LATER).returns
    assert int(r.numbers[-1]) == START + n - 1
    assert len(r.numbers) == LONGEST
    assert len(r.numbers) - r.begin == pytest.approx(days * A_DAY, abs=3)
    assert r.count >= ENOUGH or r.begin == 0
    assert r.days == pytest.approx(days, abs=0.1)


def test_a_reset_line_begins_the_window_at_the_next_whole_interval():
    s, marks, _ = busy(n=100)
    s.memory.line = (START + 40) * SHELF_NS + 5
    r = measured_returns(s, marks, capital=1.0, now=at_end(START + 99)).returns
    assert int(r.numbers[0]) == START + 41
    day = measured_returns(s, marks, capital=1.0, now=at_end(START + 99), first=START, last=START + 99).returns
    assert int(day.numbers[0]) == START


def test_no_correlation_under_thirty_intervals_or_beside_a_constant():
    s, marks, _ = busy(n=29)
    assert correlation(measured_returns(s, marks, capital=1.0, now=at_end(START + 28), first=START, last=START + 28).returns) is None
    flat = strategy()
    for k in range(60):
        post(flat, LIVE, 1, START + k, 1.0, 100.0 + k % 3)
        post(flat, BACKTEST, 1, START + k, 0.0, 100.0)
    r = measured_returns(
        flat, priced([100.0 + k % 5 for k in range(60)]), capital=1.0, now=at_end(START + 59), first=START, last=START + 59
    ).returns
    assert r.count == 60
    assert correlation(r) is None
    assert correlation(None) is hit_rate(None) is tracking_error_returns_bps(None) is None


def test_without_capital_correlation_stands_and_the_error_of_returns_does_not():
    s = strategy()
    rng = random.Random(3)
    for k in range(60):
        for book in (BACKTEST, LIVE):
            post(s, book, 1, START + k, 1.0, 100.0)
            post(s, book, 1, START + k, -1.0, 100.0 + rng.gauss(0, 1))
    r = measured_returns(s, Marks(), capital=None, now=at_end(START + 59), first=START, last=START + 59).returns
    assert r is not None
    assert r.capital is None
    assert not r.active.any()  # nothing is known of any price
    r = measured_returns(s, priced([100.0] * 60), capital=None, now=at_end(START + 59), first=START, last=START + 59).returns
    assert r.capital is None
    assert np.isnan(r.r_live).all()
    assert correlation(r) is not None
    assert tracking_error_returns_bps(r) is None


def sums_of(currency_of):
    """The summary of a shelf with one trade of each symbol."""
    r = blank(len(currency_of))
    r["sym"], r["ccy"], r["how"] = list(currency_of), list(currency_of.values()), BY_ID
    r["bkey"] = r["lkey"] = r["pk"] = np.arange(1, len(r) + 1)
    r["b_q"] = r["l_q"] = r["alpha"] = 1.0
    r["t"] = START * SHELF_NS
    return ShelfSummary(r)


def test_several_currencies_are_converted_or_there_are_no_returns():
    s, marks, _ = busy(n=50, symbols=(1, 2))
    s.books.summaries[START] = sums_of({1: 7, 2: 8})
    at = {"capital": 1.0, "now": at_end(START + 49), "first": START, "last": START + 49}
    assert measured_returns(s, marks, **at).returns is None
    assert measured_returns(s, marks, **at, rate={7: 1.0}.get).returns is None
    both = measured_returns(s, marks, **at, rate={7: 1.0, 8: 0.5}.get).returns
    s.books.summaries[START] = sums_of({1: 7, 2: 7})
    one = dict.fromkeys((1, 2))
    for sym in one:
        own, own_marks = strategy(), Marks()
        own.ledger.entries[sym] = s.ledger.entries[sym]
        own_marks.marks[sym], own_marks.traded = marks.marks[sym], marks.traded
        one[sym] = measured_returns(own, own_marks, **at).returns.pnl_live
    assert np.allclose(both.pnl_live, one[1] + 0.5 * one[2], atol=1e-9)
    assert measured_returns(s, marks, **at).returns is not None


def same(a, b):
    if a is None or b is None:
        return a is b
    return all(
        np.array_equal(getattr(a, f), getattr(b, f), equal_nan=True)
        if isinstance(getattr(a, f), np.ndarray)
        else getattr(a, f) == getattr(b, f)
        for f in a.__struct_fields__
    )


@pytest.mark.parametrize("seed", range(6))
def test_with_a_tape_that_is_told_what_changed_the_numbers_are_the_same_for_months(seed):
    rng = random.Random(seed)
    s, marks, kept = strategy(), Marks(), Columns()
    now = START
    for _ in range(220):
        now += rng.choice([1, 2, 7, 60, 200])
        for sym in rng.sample([1, 2, 3], rng.choice([1, 1, 2])):
            told = now - rng.choice([0, 0, 0, 3, 400])
            marks.add(sym, LIVE_MARK, np.array([told * SHELF_NS + rng.choice([0, 1])]), np.array([100.0 + rng.gauss(0, 3)]))
            late = rng.choice([0, 0, 0, 5, 300, 3000])
            for book in (BACKTEST, LIVE):
                post_any(rng, s, book, sym, now - late, [-1.0, 1.0, 0.5])
        if rng.random() < 0.1:
            s.ledger.split(1, now, 2.0)
        if rng.random() < 0.05:
            s.ledger.opening.setdefault(2, [0, 0, 0, 0])[LIVE_BOOK] += UNIT
        kept.tape.note(s.ledger.changed)
        s.ledger.changed.clear()
        if rng.random() < 0.3:
            s.ledger.fold(now)
        for pulse in s.memory.pulses.values():
            pulse.watermark = (now - rng.choice([0, 100])) * SHELF_NS
        got = measured_returns(s, marks, capital=None, now=LATER, kept=kept).returns
        assert same(got, measured_returns(s, marks, capital=None, now=LATER).returns)


def test_a_check_of_ten_symbols_over_thirty_days_takes_milliseconds():
    s, marks, _ = busy(n=31 * A_DAY, symbols=tuple(range(1, 11)))
    s.memory.pulses[LIVE].watermark = at_end(START + 31 * A_DAY - 1)
    kept = Columns()
    kept.tape.note(s.ledger.changed)
    s.ledger.changed.clear()
    measured_returns(s, marks, capital=None, now=LATER, kept=kept)
    best = math.inf
    for k in range(5):
        post(s, LIVE, 1, START + 31 * A_DAY - 1 - k, 1.0, 100.0)
        kept.tape.note(s.ledger.changed)
        s.ledger.changed.clear()
        t = time.perf_counter()
        r = measured_returns(s, marks, capital=None, now=LATER, kept=kept).returns
        correlation(r), hit_rate(r), tracking_error_returns_bps(r)
        best = min(best, time.perf_counter() - t)
    print(f"{best * 1e3:.2f} ms")
    assert best < 0.025  # 5 ms on an idle core
    assert len(r.numbers) - r.begin == RECENT


@pytest.mark.parametrize("seed", range(4))
def test_a_period_says_the_same_out_of_what_is_kept_of_the_looks(seed):
    rng = random.Random(seed)
    s, marks, kept = strategy(), Marks(), Columns()
    now = START
    for _ in range(60):
        now += rng.choice([1, 7, 60, 400])
        marks.add(rng.choice([1, 2]), LIVE_MARK, np.array([now * SHELF_NS]), np.array([100.0 + rng.gauss(0, 3)]))
        for book in (BACKTEST, LIVE):
            post_any(rng, s, book, rng.choice([1, 2]), now - rng.choice([0, 0, 90]), [-1.0, 1.0])
        for pulse in s.memory.pulses.values():
            pulse.watermark = (now + 1) * SHELF_NS
        kept.tape.note(s.ledger.changed)
        s.ledger.changed.clear()
        rates = {0: 1.0, 7: rng.choice([1.0, 1.0, 0.5])}.get
        if rng.random() < 0.3:
            last = now - rng.choice([0, 50])
            at = {"capital": None, "now": LATER, "first": last - rng.choice([96, 29 * A_DAY]), "last": last, "rate": rates}
            got, plain = (measured_returns(s, marks, **at, kept=k).returns for k in (kept, None))
            assert got is plain is None or same(got, plain)
        assert same(
            measured_returns(s, marks, capital=None, now=LATER, kept=kept).returns,
            measured_returns(s, marks, capital=None, now=LATER).returns,
        )


def test_a_position_is_the_same_from_the_beginning_and_from_the_end():
    rng = random.Random(1)
    s = strategy()
    for _ in range(200):
        post(s, rng.choice([BACKTEST, LIVE]), 1, START + rng.randrange(500), rng.choice([-1.0, 1.0, 2.5]), 100.0, 0.0)
    s.ledger.opening[1] = [UNIT, 2 * UNIT, 3 * UNIT, 4 * UNIT]
    s.ledger.net.clear()
    for before in (START - 5, START + 3, START + 250, START + 490, START + 900):
        s.ledger.net.pop(1, None)
        plain = s.ledger.start(1, before)
        s.ledger.net[1] = s.ledger.start(1, 2**62)
        assert s.ledger.start(1, before) == plain
