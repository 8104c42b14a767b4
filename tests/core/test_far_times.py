"""Records whose times lie days apart and still belong together: what is found must not hang on which of them came first."""

from itertools import permutations

import pytest
from core.desk import Desk, differences

DAY = 86_400
NOON = 1_780_315_200


def decision(ts, **other):
    return {"kind": "decision", "strategy": "s", "symbol": "X/USD", "ts": ts, "action": "buy", "quantity": 1, "price": 100, **other}


def fill(ts, **other):
    return {
        "kind": "fill",
        "strategy": "s",
        "symbol": "X/USD",
        "fill_id": f"f{ts}",
        "side": "buy",
        "quantity": 1,
        "price": 100,
        "ts": ts,
        **other,
    }


def run(run_id, created, start, end):
    return {"kind": "run", "strategy": "s", "run_id": run_id, "created": created, "from": start, "to": end, "ts": 0}


def in_every_order(files, between):
    """The trades that all orders of these files give, saved or restarted in between."""
    found = []
    for order in permutations(files):
        desk = Desk(symbols={})
        for book, records in order:
            desk.turn([(book, records)])
            getattr(desk, between)()
        found.append(desk.trades())
    assert all(differences(got, found[0]) == [] for got in found[1:])
    return found[0]


@pytest.mark.parametrize("between", ["save", "restart"])
@pytest.mark.parametrize("days", [2, 20])
def test_a_fill_days_after_its_decision_pairs_whichever_comes_first(days, between):
    decided = NOON - days * DAY
    told = [
        ("backtest", [decision(decided)]),
        ("live", [fill(NOON, decision_ts=decided + 1)]),
        ("live", [fill(NOON - 1.5 * DAY, side="sell")]),
    ]
    by_decision, alone = sorted(in_every_order(told, between), key=lambda shape: shape[2], reverse=True)
    assert by_decision[3] == "decision"
    assert alone[3] == ""


@pytest.mark.parametrize("between", ["save", "restart"])
@pytest.mark.parametrize("hours", [2, 40])
def test_a_newer_run_replaces_its_part_of_a_trade_that_began_long_before(hours, between):
    late = NOON + hours * 3600
    whole = run("a", NOON + 1, NOON - DAY, late + DAY)
    part = run("b", NOON + 2, late - 60, late + 60)
    told = [
        ("backtest", [whole, fill(NOON, trade_id="t", fill_id="1", price=101), fill(late, trade_id="t", fill_id="2", price=101)]),
        ("backtest", [part, fill(late, trade_id="t", fill_id="2", price=103)]),
        ("live", [fill(NOON, trade_id="t")]),
    ]
    (shape,) = in_every_order(told, between)
    assert shape[4:6] == (2, 204)
