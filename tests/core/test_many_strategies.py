"""Many strategies in one turn: each is judged as if it had come alone, however they are worked on together."""

import copy

import pytest
from core.desk import Desk, differences, expected
from core.test_against_reference import told

from parityd.core import joining
from parityd.core.books import Books
from parityd.core.parameters import Parameters, StrategyTerms, Thresholds
from parityd.core.rows import DEAD, ROW, SUSPECT

COPIES = 7
PLACES = ("tid_at", "sym", "ccy")  # where a text lies, and codes in order of first sight


def renamed(records, k):
    """The same records of strategies of their own."""
    out = copy.deepcopy(records)
    for r in out:
        if "strategy" in r:
            r["strategy"] = f"{r['strategy']}.{k}"
    return out


def living(desk, name):
    s = desk.monitor.strategies[name]
    shelves = [s.books.shelf(number) for number in sorted({*s.books.summaries, *s.books.shelves})]
    return sorted(
        tuple(repr(row[f]) for f in ROW.names if f not in PLACES) for x in shelves for row in x.rows if not int(row["flags"]) & DEAD
    )


@pytest.mark.parametrize("block", [1, 40, joining.BLOCK])
@pytest.mark.parametrize("seed", range(3))
def test_strategies_of_one_turn_are_as_if_each_had_come_alone(seed, block, monkeypatch):
    monkeypatch.setattr(joining, "BLOCK", block)
    backtest, live = told(seed, dense=True)
    books = {"backtest": [renamed(backtest, k) for k in range(COPIES)], "live": [renamed(live, k) for k in range(COPIES)]}
    together = Desk()
    for half in (slice(None, None, 2), slice(1, None, 2)):  # two turns, so that much of the second is known
        together.turn([(book, [r for own in all_ for r in own[half]]) for book, all_ in books.items()])
    assert differences(together.trades(), expected(*([r for own in books[book] for r in own] for book in ("backtest", "live")))) == []
    for k in range(COPIES):
        alone = Desk()
        for half in (slice(None, None, 2), slice(1, None, 2)):
            alone.turn([(book, all_[k][half]) for book, all_ in books.items()])
        for name in alone.monitor.strategies:
            assert living(together, name) == living(alone, name), name
            mine = {key: x for key, x in together.ledgers().items() if key[0] == name}
            theirs = alone.ledgers()
            assert mine.keys() == {key for key in theirs if key[0] == name}
            assert all(mine[key] == theirs[key].expected for key in mine)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_learned_of_a_symbol_from_what_was_found_in_its_rows_is_what_the_rows_say(seed, dense, monkeypatch):
    backtest, live = told(seed, dense=dense)
    cells = []
    for looked_at in (False, True):
        if looked_at:
            monkeypatch.setattr(Books, "learn", lambda self, sym, _found, rows: self._note_symbol(sym, rows()))
        desk = Desk()
        for k in range(4):
            desk.turn([("backtest", backtest[k::4]), ("live", live[(k + 1) % 4 :: 4])])
        cells.append({(name, sym): cell for name, s in desk.monitor.strategies.items() for sym, cell in s.books.cells.items()})
    assert cells[0] == cells[1]


def test_each_strategy_keeps_its_own_bound_of_suspicion():
    fill = {
        "kind": "fill",
        "symbol": "ACME/USD",
        "trade_id": "t",
        "fill_id": "f",
        "side": "buy",
        "quantity": 1,
        "ts": 1_700_000_001,
        "price": 101,
    }
    decision = {**fill, "kind": "decision", "action": "buy", "price": 100, "ts": 1_700_000_000}
    bounds = {"a": 50.0, "b": 200.0, "c": 50.0, "d": 200.0}
    terms = {name: StrategyTerms(thresholds=Thresholds(suspect_bps=bound)) for name, bound in bounds.items()}
    desk = Desk(Parameters(strategies=terms))
    desk.turn([("backtest", [{**decision, "strategy": n} for n in bounds]), ("live", [{**fill, "strategy": n} for n in bounds])])
    assert {name: bool(int(row["flags"]) & SUSPECT) for name, row in desk.rows()} == {"a": True, "b": False, "c": True, "d": False}
