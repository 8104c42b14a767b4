"""State findings about what is held: positions and equity against what fills, funding and transfers explain."""

import pytest
from core.state_desk import HOUR, SECOND, T0, Desk, balance, fill, heartbeat, position

from parityd.core.ledger import ALLOWED, BOOK, HELD, LIVE_BOOK, UNIT
from parityd.core.parameters import Parameters, SymbolTerms


def holding(desk, symbol="X/USD"):
    sym = desk.monitor.names.code(symbol)
    return [desk.s.ledger.position(sym, side, 2**62) / UNIT for side in (BOOK, ALLOWED, LIVE_BOOK, HELD)]


# --- position_mismatch --------------------------------------------------------------------------------------------


def test_the_first_position_seeds_both_ledgers_with_what_the_fills_do_not_explain():
    desk = Desk()
    desk.give("live", fill(10, quantity=3), position(20, 10), fill(30, "sell", quantity=1))
    assert holding(desk) == [7.0, 7.0, 9.0, 9.0]


def test_a_late_fill_explains_what_the_seed_had_taken_for_an_opening():
    desk = Desk()
    desk.give("live", position(20, 10))
    assert holding(desk) == [10.0] * 4
    desk.give("live", fill(10, quantity=4))
    assert holding(desk) == [6.0, 6.0, 10.0, 10.0]


def test_two_records_in_a_row_that_differ_are_a_mismatch_and_one_is_not():
    desk = Desk()
    desk.give("live", fill(10, quantity=3), position(20, 3), position(100, 2), heartbeat(200))
    assert "position_mismatch" not in desk.found()
    desk.give("live", position(300, 2), heartbeat(400))
    found = desk.found()["position_mismatch"]
    assert found.level == "CRITICAL"
    assert found.value == -1.0
    assert "X/USD reported 2, fills add up to 3" in found.detail


def test_a_record_that_agrees_ends_it():
    desk = Desk()
    desk.give("live", position(20, 0), position(100, 2), position(200, 2), position(300, 0), heartbeat(400))
    assert "position_mismatch" not in desk.found()


def test_a_record_is_compared_only_once_the_watermark_is_a_minute_past_it():
    desk = Desk()
    desk.give("live", position(0, 0), position(100, 2), position(200, 2))
    assert "position_mismatch" not in desk.found()
    desk.give("live", heartbeat(259))
    assert "position_mismatch" not in desk.found()
    desk.give("live", heartbeat(260))
    assert "position_mismatch" in desk.found()


def test_each_record_is_compared_at_its_own_time():
    desk = Desk()
    desk.give(
        "live",
        position(0, 0),
        fill(50),
        position(60, 1),
        fill(70),
        position(80, 2),
        fill(90, "sell", quantity=2),
        position(91, 0),
        heartbeat(500),
    )
    assert "position_mismatch" not in desk.found()


def test_a_fill_that_comes_late_mends_what_looked_like_a_mismatch():
    desk = Desk()
    desk.give("live", position(0, 0), position(100, 2), position(200, 2), heartbeat(300))
    assert "position_mismatch" in desk.found()
    desk.give("live", fill(90, quantity=2))
    assert "position_mismatch" not in desk.found()


def test_a_fee_taken_in_base_is_gone_from_what_is_held():
    desk = Desk()
    desk.give(
        "live",
        position(0, 0),
        fill(10, quantity=2, fee=0.002, fee_currency="X"),
        position(100, 1.998),
        position(200, 1.998),
        heartbeat(300),
    )
    assert "position_mismatch" not in desk.found()
    assert holding(desk)[3] == 1.998


def test_accounts_have_positions_of_their_own():
    desk = Desk()
    desk.give(
        "live", position(0, 0, account="a"), position(0, 5, account="b"), fill(10, account="a"), fill(11, "sell", account="b"),
        *(position(at, q, account=a) for at in (100, 200) for a, q in (("a", 1), ("b", 4))), heartbeat(300),
    )  # fmt: skip
    assert "position_mismatch" not in desk.found()
    assert holding(desk) == [5.0, 5.0, 5.0, 5.0]
    desk.give("live", position(400, 2, account="a"), position(410, 2, account="a"), heartbeat(500))
    assert "position_mismatch" in desk.found()


def test_fills_that_name_no_account_are_those_of_the_only_one_named():
    desk = Desk()
    desk.give("live", position(0, 0, account="a"), fill(10), position(100, 1, account="a"), position(200, 1, account="a"), heartbeat(300))
    assert "position_mismatch" not in desk.found()


def test_contracts_are_counted_with_their_multiplier():
    desk = Desk(Parameters(symbols={"X/USD": SymbolTerms(multiplier=50.0)}))
    desk.give("live", position(0, 0), fill(10, quantity=2), position(100, 2), position(200, 2), heartbeat(300))
    assert "position_mismatch" not in desk.found()
    own = Desk()
    own.give("live", position(0, 0), fill(10, quantity=2, multiplier=50), position(100, 2), position(200, 2), heartbeat(300))
    assert "position_mismatch" not in own.found()


def test_a_split_multiplies_what_is_held():
    desk = Desk()
    desk.give("live", position(0, 3), fill(10, quantity=2), heartbeat(90))
    desk.give(
        "live", {"kind": "split", "symbol": "X/USD", "ratio": 4, "ts": T0 + 1000}, position(1100, 20), position(1200, 20), heartbeat(1300)
    )
    assert "position_mismatch" not in desk.found()


def test_a_bust_is_taken_back_from_what_is_held():
    desk = Desk()
    desk.give("live", position(0, 0), fill(10, quantity=2), fill(20, quantity=1))
    desk.give(
        "live",
        {"kind": "bust", "strategy": "s", "symbol": "X/USD", "fill_id": "f10buy", "ts": T0 + 30},
        position(100, 1),
        position(200, 1),
        heartbeat(300),
    )
    assert "position_mismatch" not in desk.found()
    assert holding(desk)[3] == 1.0


def test_after_a_reset_the_next_record_says_where_things_stand():
    desk = Desk()
    desk.give("live", position(0, 0), position(100, 2), position(200, 2), heartbeat(300))
    assert "position_mismatch" in desk.found()
    assert "position_mismatch" not in desk.found(reset=T0 + 310)
    desk.give("live", position(400, 2), position(500, 2), heartbeat(600))
    assert "position_mismatch" not in desk.found(reset=T0 + 310)
    desk.give("live", position(700, 3), position(800, 3), heartbeat(900))
    assert "position_mismatch" in desk.found(reset=T0 + 310)


def test_more_fills_than_are_remembered_do_not_blur_a_position():
    desk = Desk()
    desk.give("live", position(0, 0))
    for k in range(6):
        desk.give("live", *(fill(10 + k * 200 + i, quantity=1, fill_id=f"{k}-{i}") for i in range(150)))
    desk.give("live", position(1100, 840), position(1160, 900), heartbeat(1300))
    desk.restart()
    assert "position_mismatch" not in desk.found()
    assert len(desk.s.memory.watch.tape) < 20_000


# --- balance_mismatch ---------------------------------------------------------------------------------------------


def test_equity_that_neither_ledger_nor_transfers_explain_is_a_mismatch_the_second_time():
    desk = Desk()
    desk.give("live", balance(0, 10_000), balance(HOUR, 9_800), heartbeat(HOUR + 60))
    assert "balance_mismatch" not in desk.found()
    desk.give("live", balance(2 * HOUR, 9_600), heartbeat(2 * HOUR + 60))
    assert desk.found()["balance_mismatch"].level == "CRITICAL"
    assert desk.found()["balance_mismatch"].value == pytest.approx(-200 / 9800)


def test_profit_fees_funding_and_transfers_explain_equity():
    desk = Desk()
    desk.give(
        "live", balance(0, 10_000), fill(10, quantity=10, price=100, fee=5), fill(20, "sell", quantity=10, price=150, fee=5),
        {"kind": "funding", "strategy": "s", "symbol": "X/USD", "amount": 40, "ts": T0 + 30}, balance(HOUR, 10_450),
        {"kind": "transfer", "strategy": "s", "amount": 3000, "ts": T0 + HOUR + 10}, balance(2 * HOUR, 13_450), heartbeat(2 * HOUR + 60),
    )  # fmt: skip
    assert desk.s.memory.watch.balances[0][0].bad == []
    assert desk.s.memory.watch.balances[0][0].anchor.ts == (T0 + 2 * HOUR) * SECOND


def test_an_open_position_is_marked_at_both_ends_or_not_measured():
    desk = Desk()
    marks = [{"kind": "mark", "symbol": "X/USD", "price": p, "ts": T0 + at} for at, p in ((0, 100), (HOUR, 120), (2 * HOUR, 90))]
    desk.give(
        "live",
        *marks,
        position(-1, 0),
        fill(-5, quantity=0.001),
        balance(1, 10_000),
        fill(2, quantity=50, price=100),
        balance(HOUR + 1, 11_000),
        balance(2 * HOUR + 2, 9_500),
        heartbeat(3 * HOUR),
    )
    assert desk.s.memory.watch.balances[0][0].bad == []
    blind = Desk()
    blind.give(
        "live",
        fill(2, quantity=50, price=100),
        balance(10, 10_000),
        balance(HOUR + 11, 9_000),
        balance(2 * HOUR + 12, 8_000),
        heartbeat(3 * HOUR),
    )
    assert "balance_mismatch" not in blind.found()


def test_changes_within_an_hour_are_measured_over_at_least_one():
    desk = Desk()
    desk.give("live", *(balance(k * 600, 10_000 - 60 * k) for k in range(7)), heartbeat(2 * HOUR))
    assert len(desk.s.memory.watch.balances[0][0].bad) == 1


def test_a_measured_change_that_is_explained_ends_the_row():
    desk = Desk()
    desk.give("live", *(balance(k * HOUR, e) for k, e in enumerate((10_000, 9_000, 9_000, 8_000))), heartbeat(4 * HOUR))
    assert "balance_mismatch" not in desk.found()


def test_a_reset_forgets_the_changes_before_it():
    desk = Desk()
    desk.give("live", *(balance(k * HOUR, e) for k, e in enumerate((10_000, 9_000, 8_000))), heartbeat(3 * HOUR))
    assert "balance_mismatch" in desk.found()
    assert "balance_mismatch" not in desk.found(reset=T0 + 3 * HOUR)
