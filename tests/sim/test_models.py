"""Fees, latency, queue, slippage, partial fills: formulas to the digit, random parts against their theory (fixed seeds)."""

import math
from typing import Any

import numpy as np
import pytest

from parityd.sim import (
    Draws,
    FeeSchedule,
    FeeTier,
    LatencyModel,
    MarketConditions,
    PartialFills,
    ProbabilisticQueue,
    QueueModel,
    RecordedLatency,
    RegulatoryFee,
    SlippageModel,
    SquareRootImpact,
    WalkTheBook,
    from_depth,
)
from parityd.sim.fees import TradedVolume

N = 40_000


def market(**over: Any) -> MarketConditions:
    base = {
        "symbol": "X",
        "bid": 99.9,
        "ask": 100.1,
        "bid_size": 5.0,
        "ask_size": 4.0,
        "timestamp": 0.0,
        "volume_1m": 2e6,
        "volatility": 0.02,
    }
    return MarketConditions(**{**base, **over})


def fee(schedule: FeeSchedule, **over: Any) -> float:
    base: dict[str, Any] = {
        "side": "buy",
        "quantity": 10.0,
        "notional": 1000.0,
        "liquidity": "taker",
        "crosses_any_price": True,
        "volume_30d": 0.0,
    }
    return schedule.fee(**{**base, **over})


def kolmogorov(sample: np.ndarray[Any, Any], cdf: Any) -> float:
    """Distance of the empirical distribution from a theoretical one, in units of its 99.9 % bound."""
    x = np.sort(sample)
    n = len(x)
    theory = cdf(x)
    return float(max((np.arange(1, n + 1) / n - theory).max(), (theory - np.arange(n) / n).max()) * math.sqrt(n) / 1.95)


def test_reference_fees_by_the_way_an_order_was_filled() -> None:
    s = FeeSchedule()
    assert fee(s) == pytest.approx(1.5)
    assert fee(s, crosses_any_price=False) == pytest.approx(1.0)
    assert fee(s, crosses_any_price=False, liquidity="maker") == pytest.approx(0.5)
    assert fee(s, notional=1.0) == 0.01


def test_a_rebate_is_paid_out_and_not_lifted_to_the_minimum() -> None:
    assert fee(FeeSchedule(maker_bps=-2.0), liquidity="maker", notional=1.0) == pytest.approx(-0.0002)
    assert fee(FeeSchedule(maker_bps=0.0), liquidity="maker") == 0.0


def test_tiers_replace_the_rates_from_their_volume_on() -> None:
    s = FeeSchedule(
        tiers=(
            FeeTier(volume_30d=1e6, maker_bps=2, taker_bps=4, market_bps=6),
            FeeTier(volume_30d=1e7, maker_bps=-1, taker_bps=3, market_bps=3),
        )
    )
    assert [fee(s, volume_30d=v) for v in (999_999.0, 1e6, 9e6, 1e7)] == pytest.approx([1.5, 0.6, 0.6, 0.3])
    with pytest.raises(ValueError, match="tiers"):
        FeeSchedule(
            tiers=(
                FeeTier(volume_30d=5, maker_bps=0, taker_bps=0, market_bps=0),
                FeeTier(volume_30d=5, maker_bps=0, taker_bps=0, market_bps=0),
            )
        )


def test_regulatory_fees_come_on_top_of_one_side_and_are_capped() -> None:
    s = FeeSchedule(market_bps=0.0, regulatory=(RegulatoryFee(name="levy", per_unit=0.5, maximum=3.0, side="sell"),))
    assert [fee(s, side="buy"), fee(s, side="sell"), fee(s, side="sell", quantity=2.0)] == pytest.approx([0.0, 3.0, 1.0])
    assert FeeSchedule(borrow_rate=0.1).borrow_cost(short_value=1000.0, seconds=365 * 86_400 / 2) == pytest.approx(50.0)


def test_thirty_day_volume_forgets_whole_days() -> None:
    v, day = TradedVolume(100.0), 86_400.0
    v.add(0.0, 10.0)
    assert v.at(0.0) == 110.0
    v.add(day, 5.0)
    assert [v.at(29.9 * day), v.at(30 * day), v.at(31 * day)] == [115.0, 5.0, 0.0]


def test_latency_is_uniform_with_spikes_of_the_stated_share_and_size() -> None:
    drawn = LatencyModel().draw_many(Draws(11, "latency"), N)
    for column, (low, high) in zip(drawn.T, ((50, 200), (5, 50), (20, 100)), strict=True):
        quiet = LatencyModel(spike_probability=0.0)
        assert column.min() >= low
        assert column.max() <= 5 * high

        def cdf(x: Any, low: float = low, high: float = high) -> Any:
            plain, spiked = np.clip((x - low) / (high - low), 0, 1), np.clip((x / 5 - low) / (high - low), 0, 1)
            return 0.95 * plain + 0.05 * spiked

        assert kolmogorov(column, cdf) < 1.0
        mean, sd = (low + high) / 2 * 1.2, column.std()
        assert column.mean() == pytest.approx(mean, abs=4 * sd / math.sqrt(N))
        assert quiet.submit_ms == (50.0, 200.0)
    spikes = (drawn[:, 0] > 250.0).mean()  # only spikes pass 200 ms, all of them start at 250
    assert spikes == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / N))


def test_latency_one_by_one_is_the_latency_of_many() -> None:
    one, many = Draws(5, "latency"), Draws(5, "latency")
    assert [tuple(LatencyModel().draw(one)) for _ in range(50)] == [tuple(r) for r in LatencyModel().draw_many(many, 50).tolist()]


def test_recorded_latency_keeps_frequencies_and_keeps_spikes_together() -> None:
    record = [10.0] * 180 + [500.0] * 20
    model = RecordedLatency(record, mean_run=20.0)
    drawn = model.draw_many(Draws(4, "latency"), N)[:, 0]
    spiked = (drawn == 500.0).astype(float)
    assert spiked.mean() == pytest.approx(0.1, abs=0.02)
    lag = np.corrcoef(spiked[:-1], spiked[1:])[0, 1]
    expected = 0.95 * np.corrcoef(np.roll(np.array(record) == 500.0, 1), np.array(record) == 500.0)[0, 1]
    assert lag == pytest.approx(expected, abs=0.03)
    one_by_one, draws = RecordedLatency(record, mean_run=20.0), Draws(4, "latency")
    assert [one_by_one.draw(draws).submit for _ in range(300)] == drawn[:300].tolist()


def test_recorded_latency_continues_over_calls_and_refuses_nonsense() -> None:
    whole, parts = RecordedLatency(range(50)), RecordedLatency(range(50))
    a, b = Draws(1, "x"), Draws(1, "x")
    assert whole.draw_many(a, 90).tolist() == np.vstack([parts.draw_many(b, 40), parts.draw_many(b, 50)]).tolist()
    for bad in ([], [-1.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="records"):
            RecordedLatency(bad)


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"bid": 99.875, "ask": 100.125}, int(100 * 2.5 * 2.0 / 2.0)),
        ({"volatility": 0.0, "bid": 100.0, "ask": 100.0, "volume_1m": 1e6}, 100),
        ({"volatility": 0.0, "bid": 100.0, "ask": 100.0, "volume_1m": 0.0}, 200),
        ({"volatility": 0.0, "bid": 100.0, "ask": 100.0, "volume_1m": 1e9}, 50),
    ],
)
def test_reference_queue_position(over: dict[str, Any], expected: int) -> None:
    assert QueueModel().position(market(**over)) == expected


def test_slippage_is_the_reference_formula() -> None:
    m = market()
    assert SlippageModel().bps(sign=1, quantity=2.0, any_price=True, market=m) == pytest.approx(2 + 50 * 2 / 4 + 50 * 0.02 + 0.2 * 20.0)
    assert SlippageModel().bps(sign=-1, quantity=2.0, any_price=False, market=m) == pytest.approx(1 + 50 * 2 / 5 + 50 * 0.02 + 0.2 * 20.0)
    assert SlippageModel().bps(sign=1, quantity=2.0, any_price=True, market=market(ask_size=0.0)) == pytest.approx(2 + 50 + 1 + 4)


@pytest.mark.parametrize(
    ("remaining", "over", "expected"),
    [
        (500.0, {}, 0.5 * 1.0 * 0.1), (5000.0, {"volume_1m": 0.0, "bid": 100.0, "ask": 100.0}, 0.8), (100.0, {"volume_1m": 2e5}, 0.1 * 1.0 * 0.5),
        (1000.0, {"bid": 98.0, "ask": 102.0, "volume_1m": 1.0}, max(0.1, 20 / 400)),
    ],
)  # fmt: skip
def test_probability_of_a_partial_limit_fill(remaining: float, over: dict[str, Any], expected: float) -> None:
    assert PartialFills().probability(any_price=False, remaining=remaining, market=market(**over)) == pytest.approx(expected)
    assert PartialFills().probability(any_price=True, remaining=remaining, market=market(**over)) == 0.1


def test_formulas_over_arrays_are_the_formulas_one_by_one() -> None:
    rng = np.random.default_rng(2)
    n = 300
    half, size, volume = (
        rng.uniform(0, 1, n) * (rng.random(n) > 0.1),
        rng.uniform(0, 5, n) * (rng.random(n) > 0.1),
        rng.uniform(0, 3e6, n) * (rng.random(n) > 0.1),
    )
    swing, quantity, any_price = rng.uniform(0, 0.05, n), rng.uniform(0.1, 3000, n), rng.integers(0, 2, n).astype(float)
    looks = [
        market(bid=100 - h, ask=100 + h, ask_size=s, volume_1m=v, volatility=w)
        for h, s, v, w in zip(half, size, volume, swing, strict=True)
    ]
    spread = np.array([m.spread_bps for m in looks])
    for model in (SlippageModel(), SquareRootImpact()):
        many = model.bps_many(quantity=quantity, liquidity=size, any_price=any_price, volatility=swing, spread_bps=spread, volume_1m=volume)
        single = [
            model.take(sign=1, quantity=q, any_price=p > 0, limit=None, market=m)[0]
            for q, p, m in zip(quantity, any_price, looks, strict=True)
        ]
        assert many == pytest.approx(single, rel=1e-12)
    many = PartialFills().probability_many(any_price=any_price, remaining=quantity, spread_bps=spread, volume_1m=volume)
    assert many == pytest.approx(
        [PartialFills().probability(any_price=p > 0, remaining=q, market=m) for p, q, m in zip(any_price, quantity, looks, strict=True)]
    )
    positions = QueueModel().position_many(spread_bps=spread, volatility=swing, volume_1m=volume)
    assert positions.tolist() == [QueueModel().position(m) for m in looks]


def test_walking_the_book_pays_the_mean_of_the_levels_and_stops_at_the_limit() -> None:
    m = from_depth("X", bids=[(99.0, 1.0)], asks=[(100.0, 1.0), (101.0, 2.0), (110.0, 5.0)], timestamp=0.0)
    bps, had = WalkTheBook().take(sign=1, quantity=3.0, any_price=True, limit=None, market=m)
    assert had == 3.0
    assert bps == pytest.approx(((100 + 2 * 101) / 3 / 100 - 1) * 1e4)
    assert WalkTheBook().take(sign=1, quantity=4.0, any_price=False, limit=101.0, market=m)[1] == 3.0
    assert WalkTheBook().take(sign=-1, quantity=4.0, any_price=True, limit=None, market=m) == (0.0, 1.0)


def test_square_root_impact_doubles_when_the_quantity_is_four_times_as_large() -> None:
    law, m = SquareRootImpact(gamma=0.0), market()
    assert law.bps(4.0, m) == pytest.approx(2 * law.bps(1.0, m))
    day = m.volume_1m * 1440
    assert SquareRootImpact.fitted().bps(day * 0.1, m) == pytest.approx(0.02 * (0.142 * 0.1**0.6 + 0.157 * 0.1) * 1e4)
    assert SquareRootImpact().bps(5.0, market(volume_1m=0.0)) == pytest.approx(0.02 * (0.142 + 0.157) * 1e4)


@pytest.mark.parametrize(("function", "form"), [("power", 1), ("power", 2), ("power", 3), ("log", 1), ("log", 2)])
def test_cancellations_move_an_order_forward_but_never_fill_it(function: Any, form: Any) -> None:
    queue = ProbabilisticQueue(function=function, form=form, exponent=2.0)
    ahead = queue.join(market(), 10.0)
    assert ahead == 10.0
    assert queue.advance(10.0, traded=3.0, before=10.0, after=7.0) == 7.0  # the decrease was the trade
    moved = queue.advance(6.0, traded=0.0, before=10.0, after=8.0)
    assert 4.0 <= moved < 6.0
    assert queue.advance(6.0, traded=0.0, before=10.0, after=0.0) == 0.0
    assert queue.advance(6.0, traded=7.0, before=10.0, after=0.0) == -1.0
    assert queue.behind(0.0, 5.0) == 1.0
    assert queue.behind(5.0, 0.0) == 0.0
    assert 0.0 < queue.behind(5.0, 5.0) < 1.0


def test_equal_parts_ahead_and_behind_share_a_cancellation_equally_in_form_one() -> None:
    assert ProbabilisticQueue(function="power", exponent=3.0).behind(4.0, 4.0) == pytest.approx(0.5)
    assert ProbabilisticQueue(function="log").behind(4.0, 1.0) == pytest.approx(math.log(2) / (math.log(2) + math.log(5)))
    assert ProbabilisticQueue(function="power", exponent=2.0, form=3).behind(1.0, 3.0) == pytest.approx(1 - 1 / 16)
