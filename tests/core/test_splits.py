"""Splits: four new for one changes quantities and prices and no money, whoever tells it, however often, before or after the fills."""

from itertools import permutations

import numpy as np
import pytest
from core.desk import Desk, same_ledgers

from parityd.core.instants import day_start, parse_time
from parityd.core.ledger import ALLOWED, BOOK, LIVE_BOOK, UNIT
from parityd.core.marks import LIVE_MARK, Marks
from parityd.core.parameters import Parameters
from parityd.core.report import day_report
from parityd.core.splits import Splits

DAY = "2026-03-0{}T{:02}:00:00Z"


def decision(day, hour, **other):
    return {
        "kind": "decision",
        "strategy": "s",
        "symbol": "ACME/USD",
        "ts": DAY.format(day, hour),
        "action": "buy",
        "trade_id": f"{day}-{hour}",
        **other,
    }


def fill(day, hour, **other):
    head = {"kind": "fill", "strategy": "s", "symbol": "ACME/USD", "ts": DAY.format(day, hour), "side": "buy"}
    return {**head, "trade_id": f"{day}-{hour}", "fill_id": f"{day}-{hour}", **other}


def mark(day, hour, price):
    return {"kind": "mark", "symbol": "ACME/USD", "price": price, "ts": DAY.format(day, hour)}


def position(day, hour, quantity):
    return {"kind": "position", "strategy": "s", "symbol": "ACME/USD", "quantity": quantity, "ts": DAY.format(day, hour)}


SPLIT = {"kind": "split", "symbol": "ACME/USD", "ratio": 4, "ts": DAY.format(2, 12)}
EARLIER = {**SPLIT, "ts": DAY.format(2, 8)}  # the same split, told with another time of its day
BEAT = {"kind": "heartbeat", "strategy": "s", "ts": DAY.format(4, 12)}
BACKTEST = [decision(2, 6, quantity=10, price=100), decision(3, 6, quantity=40, price=25, action="sell"), BEAT]
FILLS = [fill(2, 6, quantity=8, price=100), fill(3, 6, quantity=32, price=26, side="sell"), BEAT]
MARKS = [mark(2, 11, 104), mark(2, 19, 30), mark(3, 5, 31)]


def report(desk, day):
    return day_report(desk.monitor, f"2026-03-0{day}", day_start("2026-03-06"), waiting=False, standing={}, extras={}, revision=1)[
        "strategies"
    ]["s"]


def test_a_split_between_trade_and_price_changes_no_money_and_days_add_up_to_the_ledgers_difference():
    found = []
    for order in permutations([("backtest", BACKTEST), ("live", FILLS), ("live", [SPLIT, *MARKS]), ("backtest", [SPLIT])]):
        desk = Desk(Parameters())
        for turn in order:
            desk.turn([turn])
            desk.save()
        days = [report(desk, day)["attribution"]["currency"] for day in (2, 3)]
        found.append((desk, days))
    assert days[0]["sizing_impact"] == pytest.approx((10 - 8) * (4 * 30 - 100))
    assert days[1]["carry_impact"] == pytest.approx((40 - 32) * (26 - 30))
    assert sum(d["total_pnl_diff"] for d in days) == pytest.approx(10 * (25 * 4 - 100) - 8 * (26 * 4 - 100))
    assert all(d == days for _, d in found)
    assert all(same_ledgers(desk, found[0][0]) for desk, _ in found)
    sym = desk.monitor.names.codes["ACME/USD"]
    ledger = desk.monitor.strategies["s"].ledger
    noon = parse_time(DAY.format(2, 13)) // (900 * 10**9)
    assert [ledger.position(sym, side, noon) / UNIT for side in (BOOK, ALLOWED, LIVE_BOOK)] == [40, 40, 32]
    assert [ledger.position(sym, side, 2**62) for side in (BOOK, ALLOWED, LIVE_BOOK)] == [0, 0, 0]


def test_positions_that_the_engine_reports_agree_on_both_sides_of_a_split_in_whatever_order_all_comes():
    told = [position(2, 5, 3), position(2, 10, 11), position(2, 13, 44), position(3, 7, 12)]
    for order in permutations([FILLS, [SPLIT], told]):
        desk = Desk(Parameters())
        for records in order:
            desk.turn([("live", records)])
        aligned = desk.monitor.strategies["s"].memory.watch.positions
        ((account,),) = [list(table.values()) for table in aligned.values()]
        assert [(c.reported / UNIT, c.expected / UNIT) for c in account.compared] == [(44, 44), (12, 12)]


def test_one_split_of_a_day_is_one_whoever_tells_it_and_one_of_another_day_is_another():
    splits = Splits()
    assert [splits.learn(1, parse_time(r["ts"]), r["ratio"]) for r in (SPLIT, SPLIT, EARLIER)] == [True, False, False]
    assert splits.learn(1, parse_time(DAY.format(3, 12)), 4)
    assert splits.learn(1, parse_time(DAY.format(2, 12)), 0.5)
    assert not splits.learn(1, 0, 1.0)
    assert splits.factor(1, 0, 2**62) == 8
    assert splits.factors(1, np.array([0, parse_time(DAY.format(2, 12))]), 2**62).tolist() == [8, 4]


def test_what_got_a_new_name_is_valued_at_the_new_ones_price():
    renamed = {**SPLIT, "ratio": 2, "new_symbol": "NEW/USD"}
    prices = [mark(2, 11, 104), {**mark(2, 19, 60), "symbol": "NEW/USD"}, {**mark(3, 5, 62), "symbol": "NEW/USD"}]
    for order in permutations([("backtest", BACKTEST[:1]), ("live", [FILLS[0], BEAT]), ("live", [renamed]), ("live", prices)]):
        desk = Desk(Parameters())
        for turn in order:
            desk.turn([turn])
        desk.turn([("live", [fill(3, 6, symbol="NEW/USD", quantity=16, price=63, side="sell")]), ("backtest", [BEAT])])
        days = [report(desk, day)["attribution"]["currency"] for day in (2, 3)]
        assert days[0]["sizing_impact"] == pytest.approx((10 - 8) * (2 * 60 - 100))
        assert days[1]["carry_impact"] == pytest.approx((20 - 16) * (63 - 60))
        sym = desk.monitor.names.codes["ACME/USD"]
        noon = parse_time(DAY.format(2, 12))
        assert desk.monitor.marks.grid(sym, [noon - 1, noon, noon + 10 * 3600 * 10**9]).tolist() == [104, 52, 60]


def test_names_that_change_in_a_circle_end():
    splits = Splits()
    assert splits.learn(1, 500, 1.0, 2)
    assert splits.learn(2, 600, 1.0, 1)
    assert not splits.learn(2, 700, 1.0, 3)
    marks = Marks(splits)
    marks.add(1, LIVE_MARK, np.array([100, 650]), np.array([1.0, 3.0]))
    marks.add(2, LIVE_MARK, np.array([550]), np.array([2.0]))
    assert [marks.price(1, t)[0] for t in (499, 560, 660)] == [1, 2, 3]


def test_a_price_of_before_a_split_is_that_of_a_new_unit_after_it():
    splits = Splits()
    splits.learn(1, 500, 4)
    marks = Marks(splits)
    marks.add(1, LIVE_MARK, np.array([100]), np.array([100.0]))
    assert [marks.price(1, t) for t in (99, 100, 499, 500)][1:] == [(100, 100), (100, 100), (25, 100)]
    assert marks.grid(1, [100, 499, 500, 900]).tolist() == [100, 100, 25, 25]
    marks.add(1, LIVE_MARK, np.array([600]), np.array([26.0]))
    assert marks.grid(1, [599, 600]).tolist() == [25, 26]
    assert marks.first_after(1, 450) == (104, 600)
