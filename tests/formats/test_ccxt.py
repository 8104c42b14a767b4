"""ccxt's unified structures: real ones of 63 exchanges, and each rule on a small one."""

import json
from math import isnan
from pathlib import Path

import pytest
from formats.samples import CCXT_ORDER, CCXT_TRADE, MS, blocks, column, counts, lines, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.records import Funding
from parityd.formats import Source, Unreadable

DATA = Path(__file__).parents[3] / "shared" / "data" / "ccxt"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real payloads are not here")
SOURCE = Source(name="desk", strategy="mom")


def trades(*rows, **k):
    return blocks(lines(*rows), source=SOURCE, **k)


@needs_data
def test_own_trades_of_real_exchanges_are_taken_or_refused_for_what_they_lack():
    rows = [json.loads(r)["unified"] for r in (DATA / "my_trades_unified.jsonl").read_text().splitlines()]
    found = blocks((DATA / "my_trades_unified.jsonl").read_bytes(), source=SOURCE)
    assert len(rows) == 162
    whole = [
        r
        for r in rows
        if all(r.get(k) is not None for k in ("symbol", "order", "id", "side", "price", "amount", "timestamp")) and r["amount"] > 0
    ]
    assert counts(found)[1] == len(whole)
    assert counts(found)[1] + len(refused(found)) == 162
    assert {c for _, c in refused(found)} <= {"missing_field", "bad_value"}
    assert [f"{p:.9g}" for p in column(found, "fills", "price")] == [f"{r['price']:.9g}" for r in whole]


@needs_data
def test_orders_of_real_exchanges_are_read():
    found = blocks((DATA / "orders_unified.jsonl").read_bytes(), source=SOURCE)
    assert counts(found)[1] >= 30
    assert {c for _, c in refused(found)} <= {"missing_field", "bad_value", "too_old"}


def test_a_trade_is_what_it_says():
    found = trades({"exchange": "okx", "unified": CCXT_TRADE})
    names = (
        "fill_id",
        "order_id",
        "symbol",
        "side",
        "quantity",
        "price",
        "ts",
        "fee",
        "fee_currency",
        "currency",
        "liquidity",
        "order_type",
        "venue",
        "strategy",
    )
    assert [column(found, "fills", n)[0] for n in names] == [
        "t1", "o1", "BTC/USDT:USDT", 1, 2.0, 100.5, MS * 10**6, 0.1, "USDT", "USDT", 1, "limit", "okx", "mom"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["symbol", "side", "price", "amount", "timestamp", "id", "order"])
def test_null_is_refused_and_never_guessed(name):
    found = trades(CCXT_TRADE, {**CCXT_TRADE, name: None, "datetime": None})
    assert (counts(found)[1], refused(found)) == (1, [(2, "missing_field")])


@pytest.mark.parametrize(
    "change",
    [{"side": "SELF_TRADING"}, {"side": "1"}, {"amount": -1}, {"price": "cheap"}, {"fee": {"cost": "x", "currency": "A"}, "fees": []}],
)
def test_what_is_not_unified_is_refused(change):
    assert refused(trades({**CCXT_TRADE, **change})) == [(1, "bad_value")]


@pytest.mark.parametrize(
    ("fee", "fees", "expected"),
    [
        ({"cost": 1, "currency": "A"}, [{"cost": 1, "currency": "A"}], [(1.0, "A")]),  # the same, told twice
        ({"cost": -0.5, "currency": "A"}, [], [(-0.5, "A")]),
        (None, [{"cost": 1, "currency": "A"}, {"cost": 2, "currency": "A"}], [(3.0, "A")]),
        ({"cost": 1}, [], [(1.0, "UNKNOWN")]),
        ({"cost": None, "currency": None}, [], [None]),
        (None, None, [None]),
        ({"cost": 1, "currency": "A"}, [{"cost": None, "currency": "A"}], [(1.0, "A")]),
    ],
)
def test_fees_are_never_added_twice(fee, fees, expected):
    found = trades({**CCXT_TRADE, "fee": fee, "fees": fees})
    got = [None if isnan(f) else (f, c) for f, c in zip(column(found, "fills", "fee"), column(found, "fills", "fee_currency"), strict=True)]
    assert got == expected


def test_fees_in_two_currencies_make_two_fills_of_equal_shares():
    found = trades({**CCXT_TRADE, "fees": [{"cost": 1, "currency": "A"}, {"cost": 2, "currency": "B"}]})
    assert column(found, "fills", "quantity") == [1.0, 1.0]
    assert column(found, "fills", "fill_id") == ["t1#A", "t1#B"]
    assert column(found, "fills", "fee") == [1.0, 2.0]


def test_a_funding_execution_is_funding():
    found = trades(
        {**CCXT_TRADE, "info": {"execType": "Funding"}, "order": None, "side": None, "fees": [], "fee": {"cost": 0.25, "currency": "BTC"}}
    )
    ((paid,),) = ([x.record for b in found for x in b.rare],)
    assert isinstance(paid, Funding)
    assert (paid.amount, paid.currency, paid.funding_id) == (0.25, "BTC", "t1")


def test_without_a_strategy_it_names_the_key():
    with pytest.raises(Unreadable) as e:
        blocks(lines(CCXT_TRADE), source=Source(name="desk"))
    assert e.value.code == "unreadable_file"
    assert "[sources.desk] strategy" in e.value.reason


def state(filled, status="open", **k):
    return {
        **CCXT_ORDER,
        "filled": filled,
        "status": status,
        "average": None,
        "cost": filled * 100,
        "fee": {"cost": filled * 0.1, "currency": "USDT"},
        **k,
    }


def test_an_order_tells_the_differences_of_what_it_filled():
    found = trades(state(0), state(0.5, cost=50), state(0.5, cost=50), state(2, "closed", cost=206))
    assert refused(found) == []
    assert column(found, "fills", "fill_id") == ["o1#0.5", "o1#2"]
    assert column(found, "fills", "quantity") == [0.5, 1.5]
    assert column(found, "fills", "price") == [100.0, 104.0]
    assert column(found, "fills", "fee") == pytest.approx([0.05, 0.15])


def test_an_order_still_open_tells_its_fills_when_it_is_done():
    assert counts(trades(state(0.5)))[1] == 0
    again = trades(state(0.5), state(2, "canceled"))
    assert sum(column(again, "fills", "quantity")) == 2.0


def test_with_a_memory_each_difference_is_told_at_once_and_once():
    told = {}
    first, second, third = (trades(row, told=told) for row in (state(0.5), state(0.5), state(2, "closed")))
    assert [column(f, "fills", "quantity") for f in (first, second, third)] == [[0.5], [], [1.5]]


def test_an_order_that_lists_its_trades_tells_those():
    found = trades({**CCXT_ORDER, "trades": [{**CCXT_TRADE, "order": None, "side": None}]})
    assert column(found, "fills", "fill_id") == ["t1"]
    assert column(found, "fills", "side") == [-1]


def test_a_filled_order_without_price_or_side_is_refused():
    assert refused(trades(state(2, "closed", cost=None))) == [(1, "missing_field")]
    assert refused(trades(state(2, "closed", side=None))) == [(1, "missing_field")]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 8))
def test_however_the_states_are_cut_into_files_the_total_is_what_was_filled(steps, cut):
    reached = sorted(steps)
    rows = [state(q) for q in reached] + [state(reached[-1], "closed")]
    told = {}
    parts = [trades(*part, told=told) for part in (rows[:cut], rows[cut:]) if part]
    assert sum(sum(column(p, "fills", "quantity")) for p in parts) == pytest.approx(reached[-1])
    ids = [i for p in parts for i in column(p, "fills", "fill_id")]
    assert len(ids) == len(set(ids))
    assert sum(column(trades(*rows), "fills", "quantity")) == pytest.approx(reached[-1])


def test_orders_of_two_markets_or_venues_under_one_id_are_two_orders():
    told = {}
    for change in ({}, {"symbol": "ETH/USDT"}):
        assert column(trades(state(1, **change), told=told), "fills", "quantity") == [1.0]
    elsewhere = {"exchange": "okx", "unified": state(1)}
    assert column(trades(elsewhere, told=told), "fills", "quantity") == [1.0]


def test_what_falls_tells_nothing_until_it_grows_beyond():
    told = {}
    got = [column(trades(state(q), told=told), "fills", "fill_id") for q in (1, 0.5, 1, 2)]
    assert got == [["o1#1"], [], [], ["o1#2"]]


def whole(filled, *ids, **k):
    listed = [{**CCXT_TRADE, "id": i, "amount": 1, "order": None, "symbol": "BTC/USDT"} for i in ids]
    return state(filled, trades=listed, **k)


def test_an_order_told_by_its_trades_is_not_told_by_its_quantity_as_well():
    told = {}
    got = [
        column(trades(row, told=told), "fills", "fill_id")
        for row in (whole(1, "t1"), state(1), state(2), whole(2, "t1", "t2"), state(3, "closed"))
    ]
    assert got == [["t1"], [], ["o1#2"], [], ["o1#3"]]
    told = {}
    assert [column(trades(row, told=told), "fills", "fill_id") for row in (state(1), whole(2, "t1", "t2"))] == [["o1#1"], ["o1#2"]]
    alone = trades(whole(1, "t1"), state(1, "closed"))
    assert column(alone, "fills", "fill_id") == ["t1"]


def test_fees_in_several_currencies_of_an_order_are_left_unpriced():
    row = state(1, fee=None, fees=[{"cost": 0.1, "currency": "USDT"}, {"cost": 0.2, "currency": "BNB"}])
    assert column(trades(row, told={}), "fills", "fee_currency") == ["UNKNOWN"]


def test_a_time_of_zero_is_no_time():
    found = trades(state(1, lastTradeTimestamp=0, lastUpdateTimestamp=0), told={})
    assert (refused(found), column(found, "fills", "ts")) == ([], [MS * 10**6])
