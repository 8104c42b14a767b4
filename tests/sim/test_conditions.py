"""Market conditions and orders: valid when they exist, and the field is named when they cannot be."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from parityd.sim import FixedSpread, MarketConditions, Order, RangeSpread, WalkTheBook, from_bar, from_depth
from parityd.sim.tables import quotes_from_rows

REAL = next(iter(Path(__file__).parents[3].glob("*/data/market_data")), Path("none"))  # recorded books, where they lie beside the checkout


def market(**over: Any) -> MarketConditions:
    return MarketConditions(**{"symbol": "BTC/USD", "bid": 99.9, "ask": 100.1, "bid_size": 5.0, "ask_size": 4.0, "timestamp": 0.0, **over})


def order(**over: Any) -> Order:
    return Order(**{"symbol": "BTC/USD", "side": "buy", "quantity": 1.0, "timestamp": 0.0, **over})


def test_the_spread_is_counted_on_the_last_price() -> None:
    assert market(last=99.0).spread_bps == pytest.approx(0.2 / 99.0 * 1e4)
    assert market().last == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("field", "over"),
    [
        ("bid", {"bid": 100.2}), ("bid", {"bid": math.nan}), ("ask", {"ask": math.inf}), ("ask", {"ask": -1.0}), ("bid_size", {"bid_size": -1.0}),
        ("ask_size", {"ask_size": math.nan}), ("volume_1m", {"volume_1m": -2.0}), ("volatility", {"volatility": -0.1}),
        ("timestamp", {"timestamp": math.nan}), ("last", {"last": 0.0}), ("bid", {"bid": "much"}),
    ],
)  # fmt: skip
def test_a_market_that_cannot_be_names_the_field(field: str, over: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{field}:"):
        market(**over)


def test_a_locked_market_is_a_market() -> None:
    assert market(bid=100.0, ask=100.0).spread_bps == 0.0


@pytest.mark.parametrize(
    ("field", "over"),
    [
        ("limit_price", {"order_type": "limit"}), ("stop_price", {"order_type": "stop"}), ("trail_bps", {"order_type": "trailing_stop"}),
        ("trail_bps", {"order_type": "trailing_stop", "trail_bps": 5.0, "trail_offset": 1.0}), ("quantity", {"quantity": 0.0}),
        ("quantity", {"quantity": math.nan}), ("side", {"side": "long"}), ("order_type", {"order_type": "iceberg"}),
        ("limit_price", {"order_type": "limit", "limit_price": -3.0}), ("time_in_force", {"time_in_force": "day"}), ("symbol", {"symbol": ""}),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_names_the_field(field: str, over: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{field}:"):
        order(**over)


def test_depth_gives_the_touch_and_is_checked_level_by_level() -> None:
    found = from_depth("X", bids=[(99.0, 1.0), (98.0, 2.0)], asks=[("100", "3"), ("101", "4")], timestamp=1.0)
    assert (found.bid, found.bid_size, found.ask, found.ask_size) == (99.0, 1.0, 100.0, 3.0)
    with pytest.raises(ValueError, match=r"asks\[1\]\.price"):
        from_depth("X", bids=[(99.0, 1.0)], asks=[(100.0, 1.0), (99.5, 1.0)], timestamp=1.0)
    with pytest.raises(ValueError, match=r"bids\[0\]\.size"):
        from_depth("X", bids=[(99.0, -1.0)], asks=[(100.0, 1.0)], timestamp=1.0)


def test_a_bar_becomes_a_quote_as_wide_as_its_spread_model_says() -> None:
    narrow = from_bar("X", timestamp=60.0, high=101.0, low=99.0, close=100.0, volume=600.0, spread=FixedSpread(4.0))
    assert narrow.spread_bps == pytest.approx(4.0)
    assert narrow.volume_1m == pytest.approx(600.0)
    assert narrow.volatility == pytest.approx(math.log(101 / 99) / (2 * math.sqrt(math.log(2))))
    wide = from_bar("X", timestamp=60.0, high=101.0, low=99.0, close=100.0, spread=RangeSpread(0.1))
    assert wide.spread_bps == pytest.approx(20.0)


@pytest.mark.skipif(not REAL.is_dir(), reason="real book snapshots are not here")
def test_real_book_snapshots_are_read_and_walked() -> None:
    for name, levels in (("binance-futures_book_snapshot_5_BTCUSDT.csv", 5), ("binance-futures_book_snapshot_25_BTCUSDT.csv", 25)):
        with (REAL / name).open(newline="") as file:
            quotes = quotes_from_rows([{k.lower(): v or None for k, v in row.items()} for row in csv.DictReader(file)])
        first = quotes[0]
        assert first.symbol == "BTCUSDT"
        assert len(first.asks) == len(first.bids) == levels
        assert 1.5e9 < first.timestamp < 1.7e9
        taken = sum(size for _, size in first.asks[:3]) * 0.999
        bps, had = WalkTheBook().take(sign=1, quantity=taken, any_price=True, limit=None, market=first)
        assert had == pytest.approx(taken)
        assert 0.0 < bps <= (first.asks[2][0] / first.ask - 1.0) * 1e4
