"""The allowed book: the backtest as the published actions allowed it."""

import random
from fractions import Fraction

import pytest
from core.state_desk import SECOND, T0, Desk, decision, fill, heartbeat

from parityd.core.ledger import ALLOWED, BOOK, UNIT
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.rows import SUPPRESSED
from parityd.core.summary import SYM_AT

OBEYS = Parameters(strategies={"s": StrategyTerms(obeys=True)})
ENDLESS = 2**62


def alphas(desk):
    return {name: round(float(row["alpha"]), 9) for name, row in desk.rows().items()}


def positions(desk, symbol="X/USD"):
    sym = desk.monitor.names.code(symbol)
    return desk.s.ledger.position(sym, BOOK, ENDLESS) / UNIT, desk.s.ledger.position(sym, ALLOWED, ENDLESS) / UNIT


def cut_desk(*changes, parameters=OBEYS):
    desk = Desk(parameters)
    desk.publish(0, 1, "CONTINUE", 1.0)
    for k, (at, action, size) in enumerate(changes, 2):
        desk.publish(at, k, action, size)
    return desk


HALF = (1000, "REDUCE_SIZE", 0.5)
STOP = (1000, "DISABLE_TRADING", 0.0)


def test_a_strategy_that_was_never_scaled_is_not_looked_at():
    desk = cut_desk()
    desk.give("backtest", decision(10), decision(20, "sell"))
    assert alphas(desk) == {"t10": 1.0, "t20": 1.0}
    assert desk.s.memory.cut.shelves == {}
    assert desk.s.memory.scales == []


def test_an_entry_is_scaled_by_the_multiplier_at_its_decision():
    desk = cut_desk(HALF)
    desk.give("backtest", decision(10, quantity=4), decision(1010, quantity=2))
    assert alphas(desk) == {"t10": 1.0, "t1010": 0.5}
    assert positions(desk) == (6.0, 5.0)


def test_an_exit_closes_the_same_fraction_of_the_allowed_position_as_of_the_full_one():
    desk = cut_desk(STOP)
    desk.give(
        "backtest",
        decision(10, quantity=4),
        decision(1010, quantity=4),
        decision(1020, "sell", quantity=2),
        decision(1030, "sell", quantity=6),
    )
    assert alphas(desk) == {"t10": 1.0, "t1010": 0.0, "t1020": 0.5, "t1030": 0.5}
    assert positions(desk) == (0.0, 0.0)


def test_a_reversing_execution_is_a_full_exit_and_a_scaled_entry():
    desk = cut_desk(HALF)
    desk.give("backtest", decision(10, quantity=4), decision(1010, "sell", quantity=10))
    assert alphas(desk) == {"t10": 1.0, "t1010": 0.7}
    assert positions(desk) == (-6.0, -3.0)


def test_an_execution_of_which_nothing_is_allowed_is_suppressed():
    desk = cut_desk(STOP)
    desk.give("backtest", decision(1010), decision(1020, "sell"))
    assert alphas(desk) == {"t1010": 0.0, "t1020": 0.0}
    assert all(int(row["flags"]) & SUPPRESSED for row in desk.rows().values())
    assert positions(desk) == (0.0, 0.0)


def test_after_the_cut_entries_are_whole_again_and_exits_still_close_what_is_there():
    desk = cut_desk(HALF, (2000, "CONTINUE", 1.0))
    desk.give("backtest", decision(1010, quantity=4), decision(2010, quantity=4), decision(2020, "sell", quantity=8))
    assert alphas(desk) == {"t1010": 0.5, "t2010": 1.0, "t2020": 0.75}
    desk.give("backtest", decision(2030, quantity=3), decision(2040, "sell", quantity=3))
    assert alphas(desk)["t2040"] == 1.0
    assert positions(desk) == (0.0, 0.0)


def test_scaling_starts_with_the_acknowledgement():
    desk = cut_desk(HALF, parameters=Parameters())
    desk.give("backtest", decision(1010), decision(1100))
    assert alphas(desk) == {"t1010": 1.0, "t1100": 1.0}
    desk.give("live", heartbeat(1050, override_sequence=2))
    assert alphas(desk) == {"t1010": 1.0, "t1100": 0.5}
    assert positions(desk) == (2.0, 1.5)


def test_in_advisory_mode_nothing_is_scaled():
    desk = Desk(OBEYS)
    desk.publish(0, 1, "CONTINUE", 1.0)
    desk.publish(1000, 2, "EMERGENCY_STOP", 0.0, advisory=True)
    desk.give("backtest", decision(1010))
    assert alphas(desk) == {"t1010": 1.0}


def test_while_nothing_was_valid_on_expiry_scales():
    desk = cut_desk()
    desk.s.memory.publications.lapse((T0 + 1000) * SECOND, (T0 + 2000) * SECOND, "DISABLE_TRADING")
    desk.give("backtest", decision(10), decision(1010), decision(2010))
    assert alphas(desk) == {"t10": 1.0, "t1010": 0.0, "t2010": 1.0}


def test_another_symbol_has_a_position_of_its_own():
    desk = cut_desk(STOP)
    desk.give("backtest", decision(10, quantity=2), decision(1010, "sell", quantity=2), decision(1020, "sell", symbol="Y/USD", quantity=2))
    assert alphas(desk) == {"t10": 1.0, "t1010": 1.0, "t1020": 0.0}


def test_an_opening_position_is_whole():
    desk = cut_desk(STOP)
    desk.give("live", {"kind": "position", "strategy": "s", "symbol": "X/USD", "quantity": 5, "ts": T0})
    desk.give("backtest", decision(1010, "sell", quantity=5), decision(1020, quantity=1))
    assert alphas(desk) == {"t1010": 1.0, "t1020": 0.0}


def test_a_run_that_supersedes_takes_its_cuts_with_it():
    desk = cut_desk(HALF)
    desk.give("backtest", decision(1010, quantity=4), decision(5000, quantity=2))
    assert positions(desk) == (6.0, 3.0)
    run = {"kind": "run", "strategy": "s", "run_id": "r", "created": T0 + 9000, "from": T0, "to": T0 + 4000, "ts": T0 + 9000}
    desk.give("backtest", run, decision(1500, quantity=10, run_id="r"))
    assert alphas(desk) == {"t5000": 0.5, "t1500": 0.5}
    assert positions(desk) == (12.0, 6.0)


def test_what_the_actions_took_is_the_action_impact_of_the_sums():
    desk = cut_desk(HALF)
    desk.give("backtest", decision(1010, quantity=4, price=100.0, fee=0.4))
    sums = next(iter(desk.s.books.summaries.values())).parts
    table = sum(part.sym[sym] for part in sums for sym in part.sym)
    assert table[SYM_AT["action_a"]] == 2.0
    assert table[SYM_AT["action_b"]] == pytest.approx(-200.2)


def test_a_live_half_fill_of_a_halved_trade_is_no_sizing_cost():
    desk = cut_desk(HALF)
    desk.give("backtest", decision(1010, quantity=4))
    desk.give("live", fill(1011, quantity=2, trade_id="t1010"))
    row = desk.rows()["t1010"]
    assert row["oa"] == 0.0
    assert row["ob"] == 0.0


def reference(executions, steps):
    """Allowed quantity of each (decision, signed quantity), in fractions."""
    out, full, allowed = {}, Fraction(0), Fraction(0)
    for at, quantity in sorted(executions):
        q = Fraction(quantity)
        m = next((Fraction(size) for start, size in reversed(steps) if start <= at), Fraction(1))
        if full * q >= 0:
            got = q * m
        elif abs(q) <= abs(full):
            got = -allowed * abs(q) / abs(full)
        else:
            got = -allowed + (q + full) * m
        full, allowed = full + q, allowed + got
        out[f"t{at}"] = got / q
    return out, full, allowed


@pytest.mark.parametrize("seed", range(25))
def test_however_the_records_arrive_the_allowed_book_is_that_of_rational_arithmetic(seed):
    rng = random.Random(seed)
    times = sorted(rng.sample(range(1, 40_000), 60))
    executions = [(at, rng.choice([1, 2, 3, 5]) * rng.choice([1, -1])) for at in times]
    changes = [
        (at, "REDUCE_SIZE" if size else "DISABLE_TRADING", size)
        for at in sorted(rng.sample(range(100, 40_000), 5))
        if (size := rng.choice([0.0, 0.25, 0.5])) is not None
    ]
    changes.append((30_000, "CONTINUE", 1.0))
    changes.sort()
    steps = [(at, size) for at, _, size in changes]
    want, full, allowed = reference(executions, steps)
    desk = cut_desk(*changes)
    records = [decision(at, "buy" if q > 0 else "sell", quantity=abs(q), fee=0.01 * abs(q)) for at, q in executions]
    rng.shuffle(records)
    while records:
        n = rng.choice([1, 1, 2, 7])
        desk.give("backtest", *records[:n])
        del records[:n]
        if rng.random() < 0.2:
            desk.restart()
    got = alphas(desk)
    assert got.keys() == want.keys()
    assert all(abs(got[name] - float(alpha)) < 1e-6 for name, alpha in want.items())
    assert positions(desk) == (float(full), pytest.approx(float(allowed), abs=1e-6))
    sym = desk.monitor.names.code("X/USD")
    table = desk.s.ledger.entries[sym]
    fees = sum(e.fees[ALLOWED] for e in table.values())
    cash = sum(e.cash[ALLOWED] for e in table.values())
    assert fees == pytest.approx(float(sum(0.01 * abs(q) * want[f"t{at}"] for at, q in executions)), abs=1e-6)
    assert cash == pytest.approx(float(sum(-100 * q * want[f"t{at}"] for at, q in executions)), abs=1e-4)
