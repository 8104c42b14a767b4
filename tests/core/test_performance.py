"""Round trips, rates, Sharpe, drawdown, orders, agents and markouts, each against a computation by hand."""

import math
import random
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from parityd.core import performance as measures
from parityd.core.accepting import block
from parityd.core.columns import Bounds
from parityd.core.live_fills import fill_rate, live_fills, no_fills, outcomes
from parityd.core.markouts import markouts
from parityd.core.marks import LIVE_MARK, TRADED, Marks
from parityd.core.parameters import Parameters
from parityd.core.performance import daily_of_fills, daily_profits, maximum_drawdown, sharpe
from parityd.core.quality import quality_grade, quality_score
from parityd.core.records import LIVE, Line, Native
from parityd.core.round_trips import Lot, round_trips
from parityd.core.splits import Splits
from parityd.core.terms import Instruments, Names

S = 1_000_000_000
T0 = 1_790_035_200  # midnight
DAY = 86_400
ALL = (0, 2**62)


def performance(*given, **more):
    return measures.performance(*given, **more)[0]


def fills(*rows):
    """rows: (second, signed quantity, price, fee) and further fields by name."""
    records = []
    for k, (t, q, price, fee, *more) in enumerate(rows):
        r = {"kind": "fill", "strategy": "s", "symbol": "BTC/USDT", "fill_id": f"f{k}", "ts": T0 + t, "side": "buy" if q > 0 else "sell"}
        records.append(r | {"quantity": abs(q), "price": price, "fee": fee, "order_id": f"o{k}"} | (more[0] if more else {}))
    made = block(LIVE, [(i, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records, 1)], Bounds())
    assert not made.refusals, made.refusals
    return live_fills(made.fills, Instruments(Parameters(), Names()), lambda *_: None)


def orders(*rows):
    return [
        Line(k, round((T0 + t) * S), msgspec.convert({"kind": "order", "strategy": "s", "symbol": "BTC/USDT", "ts": T0 + t, "order_id": o, "status": status} | (more[0] if more else {}), Native))
        for k, (t, o, status, *more) in enumerate(rows)
    ]  # fmt: skip


def test_every_exit_is_a_trip_at_average_cost_after_the_fees_of_both_its_ends():
    f = fills((0, 2, 100, 0.2), (100, 2, 110, 0.4), (200, -1, 120, 0.1), (300, -3, 90, 0.3))
    trips, left = round_trips(f)
    assert [t.profit for t in trips] == pytest.approx([120 - 105 - 0.15 - 0.1, 3 * (90 - 105) - 3 * 0.15 - 0.3])
    assert [t.seconds for t in trips] == pytest.approx([150, 250])
    assert left == {}


def test_a_reversal_closes_the_old_position_and_opens_the_rest():
    trips, left = round_trips(fills((0, -1, 100, 0.1), (50, 3, 90, 0.3), (80, -2, 95, 0.2)))
    assert [t.profit for t in trips] == pytest.approx([10 - 0.1 - 0.1, 2 * 5 - 0.2 - 0.2])
    assert left == {}


def test_the_fills_of_one_execution_are_one_trip():
    same = {"order_id": "exit"}
    trips, _ = round_trips(fills((0, 3, 100, 0), (60, -1, 101, 0, same), (70, -2, 104, 0, same)))
    (one,) = trips
    assert (one.quantity, one.profit, one.closed) == (3, pytest.approx(9), (T0 + 70) * S)


def test_positions_carried_in_give_the_cost():
    f = fills((0, 1, 100, 0.5), (100, -1, 130, 0.1))
    sym = int(f.sym[0])
    early, late = f.between(0, (T0 + 50) * S), f.between((T0 + 50) * S, 2**62)
    _, lots = round_trips(early)
    assert lots[sym].units == 10**8
    (one,), _ = round_trips(late, lots)
    assert one.profit == pytest.approx(29.4)


def test_a_split_between_entry_and_exit_is_no_loss():
    f = fills((0, 2, 100, 0.2), (100, -4, 55, 0.4), (150, -4, 56, 0))
    splits = Splits()
    splits.learn(int(f.sym[0]), (T0 + 50) * S, 4)
    trips, left = round_trips(f, None, splits)
    assert sum(t.profit for t in trips) == pytest.approx(4 * 55 + 4 * 56 - 2 * 100 - 0.6)
    assert left == {}
    _, lots = round_trips(f.between(0, (T0 + 20) * S))
    carried = f.between((T0 + 20) * S, 2**62)
    assert sum(t.profit for t in round_trips(carried, lots, splits)[0]) == pytest.approx(244 - 0.6)


@pytest.mark.parametrize("seed", range(5))
def test_profits_of_trips_and_open_positions_are_all_the_money_there_is(seed):
    rng = random.Random(seed)
    rows = [(k * 60, rng.choice([-3, -2, -1, 1, 2, 3]), 100 + rng.randint(-50, 50) / 10, rng.randint(0, 9) / 100) for k in range(200)]
    trips, left = round_trips(fills(*rows))
    held = sum(Fraction(q) for _, q, _, _ in rows)
    cash = sum(-Fraction(q) * Fraction(str(p)) - Fraction(str(fee)) for _, q, p, fee in rows)
    rest = sum(x.units / 1e8 * x.cost + abs(x.units) / 1e8 * x.fee for x in left.values())
    assert sum(x.units for x in left.values()) == held * 10**8
    assert sum(t.profit for t in trips) == pytest.approx(float(cash) + rest, abs=1e-8)


def test_the_figures_of_trips():
    profits = [5, -1, -2, 7, 0, -3, -1, -1, 4]
    rows = [x for k, p in enumerate(profits) for x in ((k * 100, 1, 100, 0), (k * 100 + 40, -1, 100 + p, 0))]
    p = performance(fills(*rows), [], *ALL)
    assert (p.round_trips, p.max_consecutive_losses, p.consecutive_losses) == (9, 3, 0)
    assert p.win_rate == pytest.approx(3 / 9)
    assert p.average_profit == pytest.approx(8 / 9)
    assert (p.gross_profit, p.gross_loss, p.profit_factor) == pytest.approx((16, 8, 2))
    assert p.mean_holding_seconds == pytest.approx(40)
    part = performance(fills(*rows), [], (T0 + 300) * S, (T0 + 399) * S)
    assert (part.round_trips, part.average_profit) == (1, pytest.approx(7))


def test_what_was_not_measured_is_null():
    p = performance(no_fills(), [], *ALL)
    assert {getattr(p, f) for f in p.__struct_fields__ if f != "agents"} == {None, 0}
    only_wins = performance(fills((0, 1, 100, 0), (9, -1, 101, 0)), [], *ALL)
    assert only_wins.profit_factor is None
    assert only_wins.fee_efficiency == 0


def test_fees_over_notional_by_liquidity_and_over_gross_profit():
    maker, taker = {"liquidity": "maker"}, {"liquidity": "taker"}
    p = performance(fills((0, 2, 100, -0.02, maker), (60, -1, 110, 0.11, taker), (90, -1, 120, 0.05)), [], *ALL)
    assert p.effective_fee_rate_maker == pytest.approx(-0.0001)
    assert p.effective_fee_rate_taker == pytest.approx(0.001)
    assert p.effective_fee_rate == pytest.approx(0.14 / 430)
    assert p.fees == pytest.approx(0.14)
    assert p.fee_efficiency == pytest.approx(0.14 / (10 + 20 - 0.14))


def test_money_of_several_currencies_is_taken_at_its_rate():
    f = fills((0, 1, 100, 0.1), (9, -1, 103, 0.1))
    p = performance(f, [], *ALL, rates={int(f.sym[0]): 0.5})
    assert (p.average_profit, p.fees) == pytest.approx((1.4, 0.1))
    assert p.effective_fee_rate == pytest.approx(0.2 / 203)


def test_sharpe_ratio_and_drawdown():
    days = [1.0, -2.0, 3.0, 0.5]
    mean = sum(days) / 4
    spread = math.sqrt(sum((x - mean) ** 2 for x in days) / 3)
    assert sharpe(days, 365) == pytest.approx(mean / spread * math.sqrt(365))
    assert sharpe([1.0], 365) is sharpe([2.0, 2.0], 252) is None
    assert maximum_drawdown([5, -3, 1, -4, 9, -1], None) == (6, None)
    assert maximum_drawdown([-2, 1], 100) == (2, pytest.approx(0.02))
    assert maximum_drawdown([10, -11], 100) == (11, pytest.approx(0.1))
    assert maximum_drawdown([], 100) == (None, None)


def test_the_last_thirty_days_and_with_a_calendar_its_sessions():
    last = T0 // DAY
    daily = {last - k: float((k * 7) % 5 - 2) for k in range(60)}
    used = [daily[last - k] for k in range(30)]
    p = performance(no_fills(), [], 0, T0 * S, daily=daily)
    assert p.sharpe == pytest.approx(np.mean(used) / np.std(used, ddof=1) * math.sqrt(365))
    weekday = lambda d: (d + 3) % 7 < 5
    quiet = {d: x if weekday(d) else 0.0 for d, x in daily.items()}
    used = [quiet[last - k] for k in range(30) if weekday(last - k)]
    p = performance(no_fills(), [], 0, T0 * S, daily=quiet, sessions=weekday)
    assert p.sharpe == pytest.approx(np.mean(used) / np.std(used, ddof=1) * math.sqrt(252))


def test_an_order_counts_once_by_how_it_ended():
    lines = orders(
        (0, "a", "submitted"),
        (1, "a", "rejected"),
        (0, "b", "accepted"),
        (5, "b", "filled"),
        (2, "c", "cancelled"),
        (1, "c", "filled"),
        (0, "d", "accepted"),
        (3, "e", "expired"),
    )
    ends = outcomes(lines, no_fills())
    assert sorted(x.status for x in ends) == ["cancelled", "expired", "filled", "rejected"]
    assert fill_rate(ends) == 0.25
    assert fill_rate([]) is None


def test_where_an_engine_never_says_filled_its_fills_do():
    f = fills((0, 1, 100, 0, {"order_id": "a"}), (1, 1, 100, 0, {"order_id": "a"}), (2, 1, 100, 0, {"order_id": "b"}))
    assert fill_rate(outcomes(orders((5, "b", "cancelled"), (6, "c", "rejected")), f)) == pytest.approx(1 / 3)
    assert fill_rate(outcomes(orders((5, "b", "filled"), (6, "c", "rejected")), f)) == 0.5


def test_everything_also_by_agent():
    a, b = {"agent": "a", "order_id": "1"}, {"agent": "b", "order_id": "2", "trade_id": "t2"}
    f = fills(
        (0, 1, 100, 0.1, a), (10, 1, 100, 0.1, b), (20, -1, 105, 0.1, {**a, "order_id": "3"}), (30, -1, 98, 0.1, {**b, "order_id": "4"})
    )
    ends = outcomes(
        orders((1, "1", "filled"), (2, "x", "rejected", {"trade_id": "t2"}), (3, "y", "rejected", {"trade_id": "t9"})), f, {"t9": "b"}
    )
    p = performance(f, ends, *ALL)
    assert p.agents["a"].average_profit == pytest.approx(4.8)
    assert p.agents["b"].average_profit == pytest.approx(-2.2)
    assert (p.agents["a"].fill_rate, p.agents["b"].fill_rate, p.fill_rate) == (1, 0, pytest.approx(1 / 3))
    assert p.round_trips == 2
    marks = Marks()
    sym = int(f.sym[0])
    marks.add(sym, LIVE_MARK, np.array([T0 * S, (T0 + DAY) * S]), np.array([100.0, 101.0]))
    assert performance(f, ends, 0, (T0 + 2 * DAY) * S, marks=marks).agents["a"].maximum_drawdown is not None


def test_daily_profits_of_fills_add_up_to_the_money():
    f = fills((0, 2, 100, 0.1), (DAY + 60, -1, 120, 0.1), (2 * DAY + 60, -1, 90, 0.1))
    marks = Marks()
    sym = int(f.sym[0])
    marks.add(sym, LIVE_MARK, np.array([(T0 + k * DAY - 5) * S for k in (1, 2, 3)]), np.array([110.0, 115.0, 80.0]))
    daily = daily_of_fills(f, marks, (T0 + 3 * DAY) * S - 1, {})
    assert list(daily) == [T0 // DAY + k for k in range(3)]
    assert list(daily.values()) == pytest.approx([20 - 0.1, 10 + 5 - 0.1, -25 - 0.1])
    assert daily_profits(None) == {}


def test_markouts_by_maker_and_taker_where_marks_are_there():
    maker, taker = {"liquidity": "maker"}, {"liquidity": "taker"}
    f = fills((0, 1, 100, 0, maker), (10, -1, 100, 0, taker), (3600, 1, 100, 0, taker))
    marks = Marks()
    sym = int(f.sym[0])
    times = [-5, 30, 200, 320, 1700, 3590]
    marks.add(sym, LIVE_MARK, np.array([(T0 + t) * S for t in times]), np.array([90.0, 101.0, 102.0, 104.0, 95.0, 97.0]))
    marks.add(sym, TRADED, np.array([(T0 + 40) * S]), np.array([500.0]))
    m = markouts(f, marks, (T0 + 7200) * S)
    assert m["maker"]["1m"] == {"mean_bps": pytest.approx(100), "n": 1}
    assert m["maker"]["5m"]["mean_bps"] == pytest.approx(200)
    assert m["maker"]["30m"]["mean_bps"] == pytest.approx(-500)
    assert m["taker"]["1m"] == {"mean_bps": pytest.approx(-100), "n": 1}  # the third fill has no newer mark
    assert set(m) == {"maker", "taker"}
    early = markouts(f.between(0, (T0 + 1) * S), marks, 0)
    assert early["maker"]["30m"]["n"] == 1
    cut = Marks()
    cut.add(sym, LIVE_MARK, np.array([(T0 + 30) * S]), np.array([101.0]))
    soon = markouts(f.between(0, (T0 + 1) * S), cut, (T0 + 59) * S)
    assert soon["maker"]["1m"] == {"mean_bps": None, "n": 0}
    assert markouts(no_fills(), marks, 0)["taker"]["1m"] == {"mean_bps": None, "n": 0}
    assert "unknown" in markouts(fills((0, 1, 100, 0)), marks, 0)


def score(**kw):
    return quality_score(
        **{"tracking_error_bps": None, "emergency_bps": 100.0, "correlation": None, "hit_rate": None, "decision_parity": None} | kw
    )


def test_the_score_weighs_what_is_there():
    assert score(tracking_error_bps=8.0, correlation=0.99, hit_rate=0.9, decision_parity=1.0) == pytest.approx(40 * 0.92 + 29.7 + 13.5 + 15)
    assert score(tracking_error_bps=150.0) == 0
    assert score(correlation=-0.5, hit_rate=1.0) == pytest.approx(100 * 15 / 45)
    assert score(tracking_error_bps=20.0) == pytest.approx(80)
    assert score() is None


@pytest.mark.parametrize(
    ("value", "grade"), [(100, "A"), (90, "A"), (89.99, "B"), (80, "B"), (70, "C"), (60, "D"), (59.9, "F"), (0, "F"), (None, None)]
)
def test_grades(value, grade):
    assert quality_grade(value) == grade


def one_by_one(rows):
    """The same trips, a fill at a time in exact arithmetic: [(closed, quantity, profit)] of single fills."""
    held, cost, fee_of, out = Fraction(0), Fraction(0), Fraction(0), []
    for t, q, price, fee in rows:
        size, p, paid = Fraction(str(q)), Fraction(str(price)), Fraction(str(fee))
        closing = min(abs(held), abs(size)) if held * size < 0 else Fraction(0)
        if closing:
            sign = 1 if held > 0 else -1
            out.append(((T0 + t) * S, float(closing), float(sign * (p - cost) * closing - paid * closing / abs(size) - fee_of * closing)))
            held -= sign * closing
        rest = abs(size) - closing
        if rest:
            both = abs(held) + rest
            cost = (cost * abs(held) + p * rest) / both
            fee_of = (fee_of * abs(held) + paid * rest / abs(size)) / both
            held += rest if size > 0 else -rest
    return out


@pytest.mark.parametrize(
    ("seed", "sizes"), [(1, [-3, -2, -1, 1, 2, 3]), (2, [-0.3, 0.1, 0.1, 0.1]), (3, [1]), (4, [-2e8, 1e8, 3e8]), (5, [-1, 1])]
)
def test_solved_for_all_fills_at_once_each_trip_is_what_it_is_one_by_one(seed, sizes):
    rng = random.Random(seed)
    rows = [(k * 60, rng.choice(sizes), 100 + rng.randint(-50, 50) / 10, rng.randint(0, 9) / 100) for k in range(500)]
    rows.append((500 * 60, -sum(q for _, q, _, _ in rows) or 1, 100, 0))
    found = [(t.closed, t.quantity, t.profit) for t in round_trips(fills(*rows))[0]]
    for one, other in zip(found, one_by_one(rows), strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("stretch", [1, 60, 150])
def test_symbols_are_gone_through_in_stretches_of_any_size(monkeypatch, stretch):
    rng = random.Random(stretch)
    rows = [
        (k * 7 % 1000, rng.choice([-2, -1, 1, 2]), 100 + rng.random(), 0.1, {"symbol": f"S{rng.randint(1, 9)}/USD"}) for k in range(300)
    ]
    made = fills(*rows)
    known = np.unique(made.sym).tolist()
    lots = {sym: Lot(units=3 * 10**8, cost=99.0, fee=0.1, opened=float(T0 * S)) for sym in (known[1], known[5], 99)}
    want, kept = round_trips(made, lots)
    monkeypatch.setattr("parityd.core.round_trips.STRETCH", stretch)
    found, left = round_trips(made, lots)
    assert list(found) == list(want)
    assert left == kept
    assert 99 in left
