"""LEAN: events and orders in all three spellings."""

import json
from math import isnan
from pathlib import Path

import pytest
from formats.samples import LEAN_EVENT, LEAN_ORDER, LEAN_RESULT, LEAN_SUBMITTED, MS, blocks, column, counts, lines, pascal, refused, said

from parityd.core.records import Order, Run
from parityd.formats import Context, Source, Unreadable, read

DATA = Path(__file__).parents[3] / "shared" / "data" / "lean"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real exports are not here")
SOURCE = Source(name="lean", strategy="mom")


def events(*rows, **k):
    return blocks(json.dumps(rows).encode(), "x-order-events.json", source=SOURCE, **k)


def of(name):
    with (DATA / name).open("rb") as f:
        return list(read(f, Context(book="backtest", name=name, source=SOURCE)))


@needs_data
def test_the_order_fixtures_are_read_in_both_spellings():
    found = of("ReadOrdersResponseJsonConverterTests.jsonl")
    assert refused(found) == []
    assert counts(found) == (0, 0, 24)  # one submission each; none was filled


@needs_data
def test_a_real_result_gives_its_filled_orders_with_their_touch():
    found = of("test_report_data.json")
    orders = json.loads((DATA / "test_report_data.json").read_text())["Orders"].values()
    assert refused(found) == []
    got = list(
        zip(
            *(column(found, "fills", n) for n in ("symbol", "side", "quantity", "price", "arrival_bid", "arrival_ask", "currency")),
            strict=True,
        )
    )
    assert got == [
        (o["Symbol"]["Value"], 1 if o["Quantity"] > 0 else -1, abs(o["Quantity"]), o["Price"], o["OrderSubmissionData"]["BidPrice"],
         o["OrderSubmissionData"]["AskPrice"], o["PriceCurrency"])
        for o in orders
    ]  # fmt: skip
    assert len(got) == 8


def test_a_fill_is_what_its_event_says():
    found = events(LEAN_SUBMITTED, LEAN_EVENT)
    names = ("fill_id", "order_id", "symbol", "side", "quantity", "price", "ts", "fee", "fee_currency", "currency", "strategy")
    assert [column(found, "fills", n)[0] for n in names] == [
        "alg-1-2",
        "alg-1",
        "SPY",
        -1,
        10.0,
        138.5,
        MS * 10**6,
        1.0,
        "USD",
        "USD",
        "mom",
    ]
    orders = [x.record for b in found for x in b.rare]
    assert [(o.status, o.side) for o in orders] == [("submitted", "sell"), ("filled", "")]
    assert all(isinstance(o, Order) for o in orders)


def dashed(row):
    return {"".join("-" + c.lower() if c.isupper() else c for c in k): v for k, v in row.items()}


@pytest.mark.parametrize("spell", [pascal, dashed])
def test_every_spelling_says_the_same(spell):
    assert said(events(spell(LEAN_EVENT), spell(LEAN_SUBMITTED))) == said(events(LEAN_EVENT, LEAN_SUBMITTED))


@pytest.mark.parametrize("status", ["updateSubmitted", "partiallyFilled", "none", "filled"])
def test_every_quantity_is_a_fill_whatever_the_status(status):
    assert counts(events({**LEAN_EVENT, "status": status}))[1] == 1
    assert counts(events({**LEAN_EVENT, "status": status, "fillQuantity": 0.0}))[1] == 0


def test_an_order_with_events_gives_their_fills_with_its_touch():
    found = blocks(lines({**LEAN_ORDER, "events": [LEAN_EVENT]}), source=SOURCE)
    assert column(found, "fills", "fill_id") == ["alg-1-2"]
    assert (column(found, "fills", "arrival_bid"), column(found, "fills", "arrival_ask")) == ([138.4], [138.6])
    assert all(isnan(v) for v in column(found, "fills", "arrival_mark"))


def test_a_result_takes_its_own_events_for_its_orders():
    found = blocks(json.dumps({**LEAN_RESULT, "orderEvents": [LEAN_EVENT]}).encode(), "r.json", "live", source=SOURCE)
    assert column(found, "fills", "fill_id") == ["alg-1-2"]
    assert column(found, "fills", "arrival_ask") == [138.6]


def test_a_backtest_says_when_it_was_made_and_that_its_prices_are_adjusted():
    found = blocks(json.dumps(LEAN_RESULT).encode(), "r.json", "backtest", source=SOURCE)
    (run,) = [x.record for b in found for x in b.rare if isinstance(x.record, Run)]
    assert run.adjusted is True
    assert (run.created, run.from_, run.to) == (
        "2026-11-20T12:00:00.000000Z",
        "2026-11-19T00:00:00.000000Z",
        "2026-11-20T11:00:00.000000001Z",
    )


def test_an_order_that_did_not_fill_is_no_fill():
    found = blocks(lines({**LEAN_ORDER, "status": 5, "canceledTime": "2026-11-20T10:16:00Z"}), source=SOURCE)
    assert counts(found) == (0, 0, 2)
    assert [x.record.status for b in found for x in b.rare] == ["submitted", "cancelled"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fillQuantity": None}, "missing_field"),
        ({"fillPrice": "x"}, "bad_value"),
        ({"fillPrice": 0}, "bad_value"),
        ({"time": None}, "missing_field"),
        ({"orderId": None}, "missing_field"),
    ],
)
def test_a_bad_event_costs_only_itself(change, code):
    found = events(LEAN_EVENT, {**LEAN_EVENT, "id": "alg-2-2", **change})
    assert (counts(found)[1], refused(found)) == (1, [(2, code)])


@pytest.mark.parametrize("orders", [{"1": 5}, {"1": [1]}, [], 5, {"1": {**LEAN_ORDER, "quantity": 0}}])
def test_orders_that_are_none_are_refused(orders):
    found = blocks(json.dumps({**LEAN_RESULT, "orders": orders}).encode(), "r.json", source=SOURCE)
    assert counts(found)[1] == 0


def test_without_a_strategy_it_names_the_key():
    with pytest.raises(Unreadable) as e:
        blocks(json.dumps([LEAN_EVENT]).encode(), "x.json")
    assert "strategy" in e.value.reason


def test_without_a_touch_the_last_price_is_the_arrival_price():
    order = {**LEAN_ORDER, "orderSubmissionData": {"bidPrice": 0, "askPrice": 0, "lastPrice": 138.5}}
    found = blocks(lines(order), source=SOURCE)
    assert column(found, "fills", "arrival_mark") == [138.5]
    assert all(isnan(v) for v in column(found, "fills", "arrival_bid"))
