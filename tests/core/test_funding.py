"""Funding in another currency than the instrument's: valued like a fee, at marks that may come late, never guessed."""

from itertools import permutations

import pytest
from core.desk import Desk, same_ledgers

from parityd.core.instants import day_start
from parityd.core.parameters import Parameters, SymbolTerms
from parityd.core.report import day_report

NOON = "2026-03-02T12:00:00Z"
PERP = Parameters(symbols={"XBTUSD": SymbolTerms(base="BTC", currency="USD", inverse=True)})


def funding(amount, currency="", symbol="BTC/USD", **other):
    return {
        "kind": "funding",
        "strategy": "s",
        "symbol": symbol,
        "amount": amount,
        "ts": NOON,
        **({"currency": currency} if currency else {}),
        **other,
    }


def mark(symbol, price, ts="2026-03-02T11:00:00Z"):
    return {"kind": "mark", "symbol": symbol, "price": price, "ts": ts}


def told(*turns, parameters=None):
    desk = Desk(parameters or Parameters())
    for book, records in turns:
        desk.turn([(book, records)])
        desk.save()
    return desk


def report(desk):
    document = day_report(desk.monitor, "2026-03-02", day_start("2026-03-06"), waiting=False, standing={}, extras={}, revision=1)
    return document["strategies"]["s"]


@pytest.mark.parametrize(
    ("paid", "prices", "worth"),
    [
        (funding(2), [], 2), (funding(2, "USD"), [], 2), (funding(2, "EUR"), [mark("EUR/USD", 1.25)], 2.5), (funding(2, "EUR"), [mark("EUR-USD", 1.5)], 3),
        (funding(2, "EUR"), [mark("EUR/USD", 1.25), mark("EUR/USD", 9, "2026-03-02T13:00:00Z")], 2.5), (funding(0.01, "BTC"), [mark("BTC/USD", 60000)], 600),
        (funding(0.002, symbol="XBTUSD"), [], 0.002), (funding(3, "USD", symbol="XBTUSD"), [mark("XBTUSD", 50000)], 3 / 50000),
    ],
)  # fmt: skip
def test_funding_is_worth_the_newest_mark_of_its_currency_whenever_that_comes(paid, prices, worth):
    turns = [("live", [paid]), ("backtest", [{**paid, "amount": paid["amount"] / 4}]), *(("live", [m]) for m in prices)]
    desks = [told(*order, parameters=PERP) for order in permutations(turns)]
    for desk in desks:
        found = report(desk)
        assert found["attribution"]["currency"]["funding_impact"] == pytest.approx(worth * 3 / 4)
        assert found["unpriced_fees"] == 0
        assert same_ledgers(desk, desks[0])


def test_funding_without_a_mark_is_left_out_and_counted_until_the_mark_comes():
    desk = told(("live", [funding(2, "EUR"), funding(1)]))
    assert report(desk)["unpriced_fees"] == 1
    assert report(desk)["attribution"]["currency"]["funding_impact"] == 1
    desk.monitor.strategies["s"].books.changed_days.clear()
    desk.turn([("live", [mark("EUR/USD", 1.5)])])
    assert report(desk)["unpriced_fees"] == 0
    assert report(desk)["attribution"]["currency"]["funding_impact"] == 4
    assert day_start("2026-03-02") // (86_400 * 10**9) in desk.monitor.strategies["s"].books.changed_days, (
        "its day's report is issued again"
    )


def test_a_newer_run_takes_back_what_an_older_ones_funding_was_worth():
    run = {
        "kind": "run",
        "strategy": "s",
        "run_id": "b",
        "created": "2026-03-03T00:00:00Z",
        "from": "2026-03-02T00:00:00Z",
        "to": "2026-03-03T00:00:00Z",
        "ts": 0,
    }
    turns = [("backtest", [funding(2, "EUR")]), ("live", [mark("EUR/USD", 1.25)]), ("backtest", [run, funding(1, "EUR", funding_id="new")])]
    desks = [told(*order) for order in permutations(turns)]
    for desk in desks:
        assert report(desk)["attribution"]["currency"]["funding_impact"] == pytest.approx(-1.25)
        assert report(desk)["unpriced_fees"] == 0
