"""The account balances to the last digit, whatever is posted."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.sim.account import Account, stepped

amounts = st.decimals("0.00000001", "5000", places=8)
prices = st.decimals("0.0001", "99999", places=12)
fees = st.decimals("-3", "9", places=12)


@given(
    st.lists(st.tuples(st.sampled_from(["A", "B"]), st.sampled_from([1, -1]), amounts, prices, fees), max_size=30),
    st.decimals("-5", "5", places=10),
)
def test_cash_is_initial_plus_profit_less_costs_less_what_is_held(
    posts: list[tuple[str, int, Decimal, Decimal, Decimal]], funding: Decimal
) -> None:
    account = Account(10_000.1)
    for n, (symbol, sign, quantity, price, fee) in enumerate(posts):
        account.post(symbol, sign=sign, quantity=quantity, price=price, fee=fee, ts=n)
        account.check()
    account.pay(funding)
    account.check()
    for symbol in ("A", "B"):
        left = account.quantity(symbol)
        if left:
            account.post(symbol, sign=-1 if left > 0 else 1, quantity=abs(left), price=Decimal(7), fee=Decimal(0), ts=99)
        assert account.quantity(symbol) == 0
    account.check()
    assert account.held_cost == 0
    with localcontext(prec=200):
        assert sum((t.profit for t in account.trips), Decimal(0)) == account.cash + account.funding - account.initial


def test_a_flip_ends_one_trip_and_begins_the_next_with_its_share_of_the_fee() -> None:
    account = Account(1000.0)
    account.post("A", sign=1, quantity=Decimal(2), price=Decimal(10), fee=Decimal(1), ts=1)
    account.post("A", sign=-1, quantity=Decimal(6), price=Decimal(11), fee=Decimal(3), ts=2)
    (trip,) = account.trips
    assert (trip.side, trip.profit, trip.fees, trip.quantity) == ("long", Decimal(2) - 1 - 1, Decimal(2), Decimal(2))
    assert (account.quantity("A"), account.opened_ts("A"), account.average_price("A")) == (Decimal(-4), 2, 11.0)
    account.post("A", sign=1, quantity=Decimal(4), price=Decimal(10), fee=Decimal(0), ts=3)
    assert (account.trips[1].side, account.trips[1].profit) == ("short", Decimal(4) - 2)


def test_average_cost_over_two_entries_and_a_part_taken_out() -> None:
    account = Account(1000.0)
    for quantity, price in ((1, 10), (2, 13)):
        account.post("A", sign=1, quantity=Decimal(quantity), price=Decimal(price), fee=Decimal(0), ts=1)
    assert account.average_price("A") == 12.0
    account.post("A", sign=-1, quantity=Decimal(1), price=Decimal(15), fee=Decimal(0), ts=2)
    assert account.realised == 3
    assert account.trips == []


def test_contracts_count_with_their_multiplier() -> None:
    account = Account(1000.0)
    account.post("A", sign=1, quantity=Decimal(1), price=Decimal(10), fee=Decimal(0), ts=1, multiplier=Decimal(50))
    account.post("A", sign=-1, quantity=Decimal(1), price=Decimal(11), fee=Decimal(0), ts=2, multiplier=Decimal(50))
    assert (account.cash, account.trips[0].entry_price, account.trips[0].exit_price) == (Decimal(1050), 10.0, 11.0)


def test_steps_cut_down_and_never_up() -> None:
    assert stepped(0.123456789, 1e-8) == Decimal("0.12345678")
    assert stepped(0.3, 0.1) == Decimal("0.3")
    assert stepped(2.9, 1.0) == 2
    assert stepped(0.05, 0.1) == 0


def test_a_fill_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="fill of"):
        Account(1.0).post("A", sign=1, quantity=Decimal(0), price=Decimal(1), fee=Decimal(0), ts=0)
