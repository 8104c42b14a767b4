"""The execution simulator: what an order may become, what never happens, and the same for the same seed."""

import hashlib
import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.sim import (
    ExecutionSimulator,
    FeeSchedule,
    LatencyModel,
    MarketConditions,
    Order,
    PartialFills,
    ProbabilisticQueue,
    SimulatedFill,
    SlippageModel,
    WalkTheBook,
    by_symbol,
    execute_many,
    fill_record,
    from_depth,
    run_orders,
)

PINNED = "27ea7cf9bd7044ee"
WHOLE = PartialFills(market_probability=0.0, limit_cap=0.0)
STILL = LatencyModel(submit_ms=(0.0, 0.0), market_data_ms=(0.0, 0.0), notice_ms=(0.0, 0.0))


def market(**over: Any) -> MarketConditions:
    return MarketConditions(
        **{"symbol": "X", "bid": 99.9, "ask": 100.1, "bid_size": 5.0, "ask_size": 4.0, "timestamp": 0.0, "volume_1m": 600.0, **over}
    )


def order(**over: Any) -> Order:
    return Order(**{"symbol": "X", "side": "buy", "quantity": 1.0, "timestamp": 0.0, **over})


def simulator(seed: int = 0, **over: Any) -> ExecutionSimulator:
    return ExecutionSimulator(seed, **{"partial": WHOLE, "latency": STILL, **over})


def step(sim: ExecutionSimulator, o: Order, *looks: MarketConditions) -> tuple[str, list[SimulatedFill]]:
    order_id = sim.submit_order(o, looks[0])
    return order_id, [f for f in (sim.process_order_execution(order_id, m) for m in looks) if f is not None]


def test_a_market_order_pays_the_touch_and_the_reference_slippage_and_fee() -> None:
    _, (fill,) = step(simulator(), order(quantity=2.0), market(last=100.0, volatility=0.01))
    bps = 2 + 50 * 2 / 4 + 50 * 0.01 + 0.2 * 20
    assert fill.slippage_bps == pytest.approx(bps)
    assert fill.price == pytest.approx(100.1 * (1 + bps / 1e4))
    assert fill.fee == pytest.approx(2 * fill.price * 15e-4)
    assert (fill.liquidity, fill.queue_position) == ("taker", 0)


def test_a_limit_that_crosses_is_a_taker_and_its_limit_is_never_passed() -> None:
    _, (fill,) = step(simulator(), order(order_type="limit", limit_price=100.15, quantity=4.0), market())
    assert fill.price == 100.15
    assert fill.liquidity == "taker"
    assert fill.fee == pytest.approx(4 * 100.15 * 10e-4)


def test_a_passive_limit_waits_in_its_queue_and_fills_at_its_price_as_a_maker() -> None:
    sim = simulator()
    passive = order(order_type="limit", limit_price=99.9)
    order_id, fills = step(sim, passive, market(), market(timestamp=5.0))
    assert fills == []
    assert sim.status(order_id) == "resting"
    fill = sim.process_order_execution(order_id, market(bid=99.7, ask=99.85, timestamp=6.0))
    assert fill is not None
    assert (fill.price, fill.liquidity, fill.slippage_bps) == (99.9, "maker", 0.0)
    assert fill.queue_position >= 1
    assert sim.status(order_id) == "filled"


def test_a_queue_is_used_up_by_what_trades_and_only_the_rest_fills_the_order() -> None:
    sim = simulator(queue=ProbabilisticQueue())
    order_id, _ = step(sim, order(order_type="limit", limit_price=99.9, quantity=10.0), market())
    assert sim.process_order_execution(order_id, market(timestamp=0.8)) is None  # 600 a minute x 0.8 s x half = 4 of the 5 before it
    fill = sim.process_order_execution(order_id, market(timestamp=2.0))  # 6 more: 1 of the queue, 5 of ours
    assert fill is not None
    assert fill.quantity == pytest.approx(5.0)
    assert sim.remaining(order_id) == pytest.approx(5.0)


def test_nothing_trades_at_a_price_behind_the_touch() -> None:
    sim = simulator(queue=ProbabilisticQueue())
    _, fills = step(sim, order(order_type="limit", limit_price=99.0), *(market(timestamp=float(t)) for t in range(0, 600, 60)))
    assert fills == []


def test_a_stop_waits_for_its_price() -> None:
    sim = simulator()
    order_id, fills = step(sim, order(side="sell", order_type="stop", stop_price=99.0), market(), market(bid=99.1, ask=99.2, timestamp=1.0))
    assert fills == []
    fill = sim.process_order_execution(order_id, market(bid=98.0, ask=98.2, timestamp=2.0))
    assert fill is not None
    assert fill.price < 98.0


def test_a_stop_inside_a_bar_fills_from_its_own_price_and_a_gap_from_the_open() -> None:
    bar = {"bid": 99.95, "ask": 100.05, "last": 100.0, "low": 97.0, "high": 101.0, "timestamp": 60.0}
    for opened, reference in ((100.5, 98.0), (97.5, 97.5)):
        _, (fill,) = step(simulator(), order(side="sell", order_type="stop", stop_price=98.0), market(), market(**bar, open=opened))
        assert fill.price < reference
        assert fill.price == pytest.approx(reference, rel=4e-3)


def test_a_trailing_stop_follows_the_best_price_and_never_goes_back() -> None:
    sim = simulator()
    looks = [market(bid=p - 0.1, ask=p + 0.1, timestamp=float(t)) for t, p in enumerate((100.0, 105.0, 104.0, 103.0))]
    order_id, fills = step(sim, order(side="sell", order_type="trailing_stop", trail_offset=2.0), *looks[:3])
    assert fills == []
    assert sim.process_order_execution(order_id, looks[3]) is not None


def test_an_order_expires_and_can_be_cancelled_and_stays_closed() -> None:
    sim = simulator()
    limited = order(order_type="limit", limit_price=99.0, expires_at=10.0)
    order_id, _ = step(sim, limited, market(), market(timestamp=9.9))
    assert sim.process_order_execution(order_id, market(bid=90.0, ask=90.1, timestamp=10.0)) is None
    assert sim.status(order_id) == "expired"
    assert not sim.cancel_order(order_id)
    other, _ = step(sim, order(order_type="limit", limit_price=99.0), market())
    assert sim.cancel_order(other)
    assert sim.process_order_execution(other, market(bid=90.0, ask=90.1, timestamp=11.0)) is None
    assert sim.status(other) == "cancelled"


def test_all_or_nothing_and_now_or_never() -> None:
    book = from_depth("X", bids=[(99.0, 1.0)], asks=[(100.0, 1.0), (101.0, 1.0)], timestamp=0.0)
    sim = simulator(slippage=WalkTheBook())
    fok, fills = step(sim, order(quantity=3.0, time_in_force="fok"), book)
    assert (fills, sim.status(fok)) == ([], "cancelled")
    ioc, (fill,) = step(sim, order(quantity=3.0, time_in_force="ioc"), book)
    assert (fill.quantity, sim.status(ioc)) == (2.0, "cancelled")
    assert fill.price == pytest.approx(100.5)


def test_an_order_arrives_after_its_latency_and_its_fill_is_told_later() -> None:
    sim = ExecutionSimulator(1, partial=WHOLE)
    _, (fill,) = step(sim, order(timestamp=100.0), market(timestamp=100.0))
    assert fill.timestamp == pytest.approx(100.0 + fill.submit_ms / 1e3)
    assert fill.latency_ms == pytest.approx(fill.submit_ms + fill.market_data_ms + fill.notice_ms)
    assert 0.05 <= fill.timestamp - 100.0 <= 1.0


def test_misuse_is_named() -> None:
    sim = simulator()
    sim.submit_order(order(order_id="a"))
    with pytest.raises(ValueError, match="order_id"):
        sim.submit_order(order(order_id="a"))
    with pytest.raises(ValueError, match="order_id"):
        sim.process_order_execution("b", market())
    with pytest.raises(ValueError, match="symbol"):
        sim.process_order_execution("a", market(symbol="Y"))
    with pytest.raises(ValueError, match="preset"):
        ExecutionSimulator(preset="dreams")


sides = st.sampled_from(["buy", "sell"])
prices = st.floats(90.0, 110.0)


@given(seed=st.integers(0, 2**31), side=sides, limit=prices, quantity=st.floats(1e-3, 5e3), mids=st.lists(prices, min_size=1, max_size=25))
def test_whatever_the_market_does_a_limit_is_kept_and_quantity_is_conserved(
    seed: int, side: str, limit: float, quantity: float, mids: list[float]
) -> None:
    sim = ExecutionSimulator(seed)
    looks = [market(bid=m - 0.05, ask=m + 0.05, timestamp=float(i)) for i, m in enumerate(mids)]
    order_id, fills = step(sim, order(side=side, order_type="limit", limit_price=limit, quantity=quantity), *looks)
    sign = 1 if side == "buy" else -1
    assert all((f.price - limit) * sign <= 0.0 and f.quantity > 0.0 for f in fills)
    assert sum(f.quantity for f in fills) + sim.remaining(order_id) == pytest.approx(quantity, rel=1e-9)
    assert all(b.timestamp >= a.timestamp for a, b in pairwise(fills))
    assert (sim.status(order_id) == "filled") == (sim.remaining(order_id) == 0.0)


@given(
    seed=st.integers(0, 2**31),
    rows=st.lists(
        st.tuples(sides, st.floats(0.1, 3000.0), st.floats(99.0, 101.0) | st.none(), st.floats(0.0, 50.0)), min_size=1, max_size=20
    ),
)
def test_many_at_once_are_the_same_as_one_by_one(seed: int, rows: list[tuple[str, float, float | None, float]]) -> None:
    single, many = ExecutionSimulator(seed), ExecutionSimulator(seed)
    fills: list[SimulatedFill | None] = []
    for side, quantity, limit, size in rows:
        look = market(bid_size=size, ask_size=size, volatility=0.01)
        sent = order(side=side, quantity=quantity, order_type="market" if limit is None else "limit", limit_price=limit)
        fills.append(single.process_order_execution(single.submit_order(sent), look))
    sizes = np.array([r[3] for r in rows])
    got = execute_many(
        many, sign=[1 if r[0] == "buy" else -1 for r in rows], quantity=[r[1] for r in rows], bid=99.9, ask=100.1, bid_size=sizes, ask_size=sizes,
        volume_1m=600.0, volatility=0.01, limit_price=[math.nan if r[2] is None else r[2] for r in rows],
    )  # fmt: skip
    for n, fill in enumerate(fills):
        assert got.quantity[n] == pytest.approx(0.0 if fill is None else fill.quantity, rel=1e-9)
        if fill is not None:
            assert (got.price[n], got.fee[n], got.latency_ms[n]) == pytest.approx((fill.price, fill.fee, fill.latency_ms), rel=1e-12)
            assert got.slippage_bps[n] == pytest.approx(fill.slippage_bps, abs=1e-9)


def test_vectors_name_the_field_and_the_row_that_cannot_be() -> None:
    base: dict[str, Any] = {"sign": [1, 1], "quantity": [1.0, 1.0], "bid": 99.0, "ask": 100.0, "bid_size": 1.0, "ask_size": 1.0}
    for name, value in (("quantity", [1.0, math.nan]), ("bid", [99.0, 101.0]), ("sign", [1, 0]), ("ask_size", [1.0, -1.0])):
        with pytest.raises(ValueError, match=rf"^{name}: .* row 1"):
            execute_many(ExecutionSimulator(), **{**base, name: value})
    with pytest.raises(TypeError):
        execute_many(ExecutionSimulator(slippage=WalkTheBook()), **base)


def test_shares_of_partial_fills_follow_their_theory() -> None:
    n = 40_000
    got = execute_many(ExecutionSimulator(9), sign=np.ones(n), quantity=np.ones(n), bid=99.9, ask=100.1, bid_size=5.0, ask_size=5.0)
    part = got.quantity[got.quantity < 1.0]
    assert len(part) / n == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / n))
    x = np.sort((part - 0.1) / 0.8)
    assert 0.0 <= x.min() <= x.max() <= 1.0
    assert np.abs(x - (np.arange(len(x)) + 0.5) / len(x)).max() * math.sqrt(len(x)) < 1.95


def scripted(seed: int, **over: Any) -> list[dict[str, Any]]:
    sim = ExecutionSimulator(seed, **over)
    looks = [market(bid=100 + math.sin(t / 7) - 0.05, ask=100 + math.sin(t / 7) + 0.05, timestamp=float(t)) for t in range(400)]
    orders = [
        order(
            side="buy" if n % 2 else "sell",
            quantity=1.0 + n,
            timestamp=5.0 * n,
            order_type="limit" if n % 3 else "market",
            limit_price=99.8 if n % 3 else None,
        )
        for n in range(60)
    ]
    outcome = run_orders(sim, orders, by_symbol(looks))
    return [{k: round(v, 9) if isinstance(v, float) else v for k, v in fill_record(f).items()} for f in outcome.fills]


def test_the_same_seed_gives_the_same_output_on_every_python() -> None:
    text = json.dumps(scripted(42), sort_keys=True)
    assert text == json.dumps(scripted(42), sort_keys=True)
    assert text != json.dumps(scripted(43), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == PINNED


def test_replacing_one_part_leaves_the_draws_of_the_others() -> None:
    plain, other = scripted(5), scripted(5, fees=FeeSchedule(market_bps=99.0), slippage=SlippageModel(market_base_bps=40.0))
    assert [(f["quantity"], f["ts"], f["latency_ms"]) for f in plain] == [(f["quantity"], f["ts"], f["latency_ms"]) for f in other]


def test_statistics_count_orders_fills_and_means_by_symbol_and_hour() -> None:
    sim = simulator()
    step(sim, order(timestamp=3600.0), market(timestamp=3600.0))
    step(sim, order(timestamp=7200.0, symbol="Y"), market(timestamp=7200.0, symbol="Y"))
    step(sim, order(timestamp=7200.0, order_type="limit", limit_price=1.0), market(timestamp=7200.0))
    found = sim.get_execution_statistics()
    assert (found.total.orders, found.total.fills, found.total.fill_rate) == (3, 2, pytest.approx(2 / 3))
    assert found.by_symbol["X"].fill_rate == 0.5
    assert sorted(found.by_hour) == [1, 2]
    assert found.total.mean_latency_ms == 0.0
    empty = ExecutionSimulator().get_execution_statistics().total
    assert (empty.orders, empty.fill_rate, empty.mean_fee) == (0, None, None)


def test_an_order_without_quotes_or_fill_ends_as_an_order_record() -> None:
    outcome = run_orders(
        simulator(), [order(symbol="Z", order_id="z"), order(order_type="limit", limit_price=1.0, order_id="x")], by_symbol([market()])
    )
    assert outcome.fills == []
    assert [(r["order_id"], r["status"], r["reason"]) for r in outcome.records()] == [
        ("z", "cancelled", "no quote"),
        ("x", "cancelled", "open at the last quote"),
    ]
