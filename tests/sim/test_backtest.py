"""The backtest: the strategy that trades live, no look-ahead, and an account that adds up."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from formats.samples import blocks, column, refused

from parityd.backtest import DecisionLogger, compare_logs, load_decision_log, run_backtest_production
from parityd.core.decision_document import NOTHING
from parityd.sim import (
    HOLD,
    BacktestConfig,
    Bars,
    BarsError,
    Decision,
    DecisionError,
    Execution,
    ExecutionSimulator,
    MovingAverageCrossover,
    PositionState,
    Product,
    Signal,
    entry_text,
    from_frame,
    make_bars,
    records,
)
from parityd.sim import run_backtest_production as run_pure

START = 1_700_000_000 * 10**9
MINUTE = 60 * 10**9
FREE = BacktestConfig(commission_rate=0.0, slippage_rate=0.0, enable_decision_logging=False)


def walk(n: int = 2000, seed: int = 3) -> np.ndarray[Any, Any]:
    return np.round(1000 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 1e-3, n))), 2)


def bars_of(closes: Any, symbol: str = "BTC/USD", **over: Any) -> Bars:
    return make_bars(symbol, START + np.arange(len(closes)) * MINUTE, closes, **over)


class Scripted:
    """Does what a table says: bar number -> decision."""

    def __init__(self, table: dict[int, Decision], name: str = "scripted") -> None:
        self.table, self.name, self.at, self.seen = table, name, -1, []

    def decide(self, symbol: str, mark: float, state: PositionState, recent: Sequence[float], equity: float, product: Product) -> Decision:
        self.at += 1
        self.seen.append((state.quantity, equity, len(recent)))
        return self.table.get(self.at, HOLD)


def test_no_decision_depends_on_what_comes_later() -> None:
    closes, cut = walk(), 1200
    poisoned = closes.copy()
    poisoned[cut:] = np.linspace(1e-6, 1e9, len(closes) - cut)
    clean, dirty = (run_pure(MovingAverageCrossover(5, 20), bars_of(c), FREE).decisions for c in (closes, poisoned))
    k = cut - 19
    assert [clean[i].decision for i in range(k)] == [dirty[i].decision for i in range(k)]
    assert [clean[i].equity for i in range(k)] == [dirty[i].equity for i in range(k)]
    assert any(clean[i].decision != dirty[i].decision for i in range(k, len(clean)))


def test_a_strategy_gets_marks_up_to_now_in_a_list_of_its_own() -> None:
    closes = walk(60)
    given: list[list[float]] = []

    class Spoiler:
        lookback = 7
        name = "spoiler"

        def decide(self, symbol: str, mark: float, state: PositionState, recent: list[float], equity: float, product: Product) -> Decision:
            given.append(list(recent))
            recent.clear()
            return HOLD

    run_pure(Spoiler(), bars_of(closes), FREE)
    assert given == [closes[i - 6 : i + 1].tolist() for i in range(6, 60)]


def live_like(strategy: Any, closes: Any, folder: Path, config: BacktestConfig) -> Path:
    """What a trading engine does: a buffer of marks, the same `decide`, fills at the mark with the same costs."""
    cash, quantity, marks = config.initial_capital, 0.0, []
    state, product = PositionState(), Product(symbol="BTC/USD")
    with DecisionLogger(folder, strategy_name=strategy.name, symbol="BTC/USD", prefix="live") as log:
        for i, mark in enumerate(closes):
            marks = [*marks, float(mark)][-strategy.lookback :]
            if len(marks) < strategy.lookback:
                continue
            equity = cash + quantity * mark
            decision = strategy.decide("BTC/USD", float(mark), state, marks, equity, product)
            execution, before = NOTHING, state
            if decision.action in ("buy", "close"):
                sign = 1 if decision.action == "buy" else -1
                size = math.floor((decision.target_notional or 0) / mark * 1e8) / 1e8 if sign > 0 else quantity
                price = mark * (1 + sign * config.slippage_rate)
                cash -= sign * size * price + size * price * config.commission_rate
                quantity = round(quantity + sign * size, 8)
                state = PositionState(quantity, price if quantity else 0.0, i if quantity else 0)
                execution = Execution(
                    filled=True, fill_price=price, filled_quantity=size, commission=size * price * config.commission_rate, slippage=0.0
                )
            stamp = START + i * MINUTE + 350_000_000  # a live decision comes a little after its bar
            log.log(
                timestamp=stamp,
                current_mark=float(mark),
                recent_marks=marks,
                position_state=before,
                equity=equity,
                decision=decision,
                execution=execution,
            )
        return log.path


def test_a_live_like_loop_on_the_same_candles_is_in_full_parity(tmp_path: Path) -> None:
    closes, config = walk(3000), BacktestConfig(log_directory=str(tmp_path))
    result = run_backtest_production(MovingAverageCrossover(10, 30), bars_of(closes), config)
    live = live_like(MovingAverageCrossover(10, 30), closes, tmp_path, config)
    found = compare_logs(load_decision_log(result.log_paths[0]), load_decision_log(live))
    assert (found.parity_rate, found.mismatch_count, found.go) == (1.0, 0, True)
    assert found.decisions == 2971


def test_one_changed_window_is_found_and_named_with_both_reasons(tmp_path: Path) -> None:
    closes, config = walk(3000), BacktestConfig(log_directory=str(tmp_path))
    result = run_backtest_production(MovingAverageCrossover(10, 30), bars_of(closes), config)
    live = live_like(MovingAverageCrossover(10, 34), closes, tmp_path, config)
    found = compare_logs(load_decision_log(result.log_paths[0]), load_decision_log(live))
    first = found.mismatches[0]
    assert not found.go
    assert "mean of 30" in (first.reason_a or "")
    assert "mean of 34" in (first.reason_b or "")
    assert found.cause == "indicator window"


def test_too_few_bars_say_how_many_are_missing() -> None:
    with pytest.raises(BarsError, match=r"^BTC/USD: crossover needs 30 bars, 12 given: 18 missing$"):
        run_pure(MovingAverageCrossover(10, 30), bars_of(walk(12)))
    assert len(run_pure(MovingAverageCrossover(10, 30), bars_of(walk(30)), FREE).decisions) == 1


@pytest.mark.parametrize(
    ("closes", "stamps", "row", "reason"),
    [
        ([1.0, math.nan, 3.0], [0, 1, 2], 2, "close is not a finite number"), ([1.0, 2.0, 3.0], [0, 2, 2], 3, "duplicate time"),
        ([1.0, 2.0, 3.0], [0, 2, 1], 3, "not sorted"), ([1.0, 2.0, -3.0], [0, 1, 2], 3, "not above zero"), ([1.0, 2.0, 3.0], [0, 1, "soon"], 3, "time cannot be read"),
        ([1.0, "x", 3.0], [0, 1, 2], 2, "close 'x' is not a number"),
    ],
)  # fmt: skip
def test_a_bar_that_cannot_be_is_refused_with_its_row(closes: Any, stamps: Any, row: int, reason: str) -> None:
    with pytest.raises(BarsError, match=reason) as caught:
        make_bars("X", stamps, closes)
    assert caught.value.row == row


def test_frames_of_pandas_and_polars_are_the_same_bars() -> None:
    closes = walk(50)
    stamps = pd.date_range("2024-01-01", periods=50, freq="min", tz="Europe/Paris")
    table = {"Close": closes, "High": closes + 1, "Low": closes - 1, "Open": closes, "Volume": np.ones(50)}
    indexed = pd.DataFrame(table, index=stamps)
    column = pd.DataFrame({"timestamp": stamps, **table})
    plain = pd.DataFrame({"ts": (stamps.tz_convert("UTC").tz_localize(None) - pd.Timestamp(0)) // pd.Timedelta("1ms"), **table})
    a, b, c = (from_frame(f, symbol="X")["X"] for f in (indexed, column, plain))
    assert a.ts.tolist() == b.ts.tolist() == c.ts.tolist()
    assert a.high.tolist() == (closes + 1).tolist()
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"timestamp": stamps.tz_convert("UTC").tz_localize(None).to_numpy(), **table, "symbol": ["X"] * 25 + ["Y"] * 25}
    )
    parted = from_frame(frame)
    assert sorted(parted) == ["X", "Y"]
    assert parted["Y"].ts.tolist() == a.ts.tolist()[25:]
    assert run_pure(MovingAverageCrossover(2, 5), indexed, FREE).symbols == ("SYMBOL",)


def test_money_adds_up_and_costs_are_what_the_rates_say() -> None:
    script = Scripted({1: Decision("buy", quantity=2.0, reason="in"), 3: Decision("close", reason="out")})
    result = run_pure(script, bars_of([100.0, 100.0, 110.0, 120.0, 90.0]), BacktestConfig(commission_rate=0.001, slippage_rate=0.0005))
    bought, sold = 100 * 1.0005, 120 * 0.9995
    profit = 2 * (sold - bought) - 2 * (sold + bought) * 0.001
    assert float(result.trades[0].profit) == pytest.approx(profit, abs=1e-12)
    assert result.metrics.final_equity == pytest.approx(10_000 + profit)
    assert (result.metrics.trades, result.metrics.win_rate, result.metrics.profit_factor, result.metrics.fills) == (1, 1.0, None, 2)
    assert script.seen[2][0] == 2.0


def test_a_short_gains_when_the_price_falls_and_pays_for_what_it_borrowed() -> None:
    table = {0: Decision("sell", target_notional=1000.0), 2: Decision("close")}
    result = run_pure(Scripted(table), bars_of([100.0, 90.0, 80.0, 80.0]), msgspec.structs.replace(FREE, borrow_rate=0.5))
    paid = 10 * (100 + 90) * 0.5 * 60 / (365 * 86_400)
    assert result.metrics.final_equity == pytest.approx(10_200 - paid)
    assert result.metrics.funding == pytest.approx(paid)
    assert [r["kind"] for r in records(result, created_ns=0)].count("funding") == 2
    barred = run_pure(Scripted(table), bars_of([100.0, 90.0, 80.0, 80.0]), msgspec.structs.replace(FREE, allow_short=False))
    assert barred.metrics.fills == 0


def ohlc(rows: list[tuple[float, float, float, float]]) -> Bars:
    o, h, low, c = (list(x) for x in zip(*rows, strict=True))
    return bars_of(c, open=o, high=h, low=low)


@pytest.mark.parametrize(
    ("decision", "rows", "price"),
    [
        (Decision("buy", quantity=1.0, order_type="limit", limit_price=95.0), [(99, 100, 94, 99)], 95.0),
        (Decision("buy", quantity=1.0, order_type="limit", limit_price=95.0), [(93, 96, 92, 94)], 93.0),
        (Decision("buy", quantity=1.0, order_type="limit", limit_price=95.0), [(99, 100, 95.5, 99)], None),
        (Decision("buy", quantity=1.0, order_type="stop", stop_price=105.0), [(101, 106, 100, 103)], 105.0),
        (Decision("buy", quantity=1.0, order_type="stop", stop_price=105.0), [(107, 108, 106, 107)], 107.0),
        (Decision("buy", quantity=1.0, order_type="stop", stop_price=105.0, limit_price=106.0), [(107, 108, 106.5, 107), (107, 107, 105, 106)], 106.0),
        (Decision("buy", quantity=1.0, order_type="trailing_stop", trail_bps=100.0), [(99, 100, 90, 91), (90.5, 92, 90, 91)], 90 * 1.01),
        (Decision("buy", quantity=1.0, order_type="limit", limit_price=95.0, good_for=1), [(99, 100, 96, 99), (99, 100, 90, 99)], None),
    ],
)  # fmt: skip
def test_resting_orders_fill_as_the_bar_allows(decision: Decision, rows: Any, price: float | None) -> None:
    result = run_pure(Scripted({0: decision}), ohlc([(100, 100, 100, 100), *rows]), FREE)
    assert [float(f.price) for f in result.fills] == ([] if price is None else [pytest.approx(price)])


def test_a_stop_that_protects_is_cancelled_when_the_position_is_closed() -> None:
    table = {
        0: Decision("buy", quantity=1.0), 1: Decision("sell", quantity=1.0, order_type="stop", stop_price=90.0, reduce_only=True), 2: Decision("close"),
    }  # fmt: skip
    result = run_pure(Scripted(table), bars_of([100.0, 100.0, 100.0, 80.0]), FREE)
    assert result.metrics.fills == 2
    held = run_pure(Scripted({k: v for k, v in table.items() if k < 2}), bars_of([100.0, 100.0, 100.0, 80.0]), FREE)
    assert held.trades[0].exit_price == 80.0  # marks alone: it gapped past its price
    assert held.decisions[3].execution.other_fills[0].fill_price == 80.0


def test_an_order_beyond_the_means_is_rejected_and_said_so() -> None:
    result = run_pure(
        Scripted({0: Decision("buy", quantity=101.0), 1: Decision("buy", quantity=99.0)}), bars_of([100.0, 100.0, 100.0]), FREE
    )
    assert (result.metrics.rejected_orders, result.metrics.fills) == (1, 1)
    assert result.decisions[0].execution.note == "insufficient buying power"
    assert (
        run_pure(
            Scripted({0: Decision("buy", quantity=199.0)}), bars_of([100.0, 100.0]), msgspec.structs.replace(FREE, leverage=2.0)
        ).metrics.fills
        == 1
    )


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        (Decision("buy"), "quantity"), (Decision("buy", quantity=math.nan), "quantity"), (Decision("sell", target_notional=-5.0), "target_notional"),
        (Decision("hodl", quantity=1.0), "action"), (Decision("buy", quantity=1.0, order_type="limit"), "limit_price"),  # type: ignore[arg-type]
        (Decision("buy", quantity=1.0, order_type="iceberg"), "order_type"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_decision_that_cannot_be_names_the_field(decision: Decision, field: str) -> None:
    with pytest.raises(DecisionError, match=f"^{field}:"):
        run_pure(Scripted({1: decision}), bars_of([1.0, 1.0, 1.0]), FREE)


def test_several_symbols_share_one_account_in_order_of_time() -> None:
    a = bars_of([100.0, 100.0, 110.0], "A")
    b = make_bars("B", START + np.array([0, 2, 3]) * MINUTE, [50.0, 50.0, 60.0])
    order: list[tuple[str, float]] = []

    class Both:
        name = "both"

        def decide(
            self, symbol: str, mark: float, state: PositionState, recent: Sequence[float], equity: float, product: Product
        ) -> Decision:
            order.append((symbol, equity))
            return HOLD if state.quantity else Decision("buy", quantity=10.0)

    result = run_pure(Both(), [a, b], FREE)
    assert [s for s, _ in order] == ["A", "B", "A", "A", "B", "B"]
    assert order[-1][1] == 10_000 + 10 * 10 + 10 * 10
    assert result.equity.tolist() == [10_000.0, 10_000.0, 10_100.0, 10_200.0]
    assert len(result.decisions) == 6
    assert [result.decisions[i].symbol for i in (0, 2, 3, -1)] == ["A", "A", "B", "B"]


def test_the_same_run_has_the_same_name_and_the_same_numbers() -> None:
    config = BacktestConfig(simulator=ExecutionSimulator(5), enable_decision_logging=False)
    data = bars_of(walk(500), volume=np.full(500, 600.0))
    one, two = (run_pure(MovingAverageCrossover(5, 20), data, config) for _ in range(2))
    assert one.run_id == two.run_id
    assert one.equity.tolist() == two.equity.tolist()
    assert one.metrics.fills > 0
    other = run_pure(MovingAverageCrossover(5, 21), data, config)
    assert other.run_id != one.run_id
    assert one.execution is not None
    assert one.execution.total.orders >= one.metrics.trades
    later = run_pure(MovingAverageCrossover(5, 20), data, msgspec.structs.replace(config, simulator=ExecutionSimulator(6)))
    assert later.equity.tolist() != one.equity.tolist()


def test_a_simulated_position_comes_back_to_exactly_nothing() -> None:
    data = bars_of(walk(1500), volume=np.full(1500, 6000.0))
    result = run_pure(MovingAverageCrossover(5, 20), data, BacktestConfig(simulator=ExecutionSimulator(2), enable_decision_logging=False))
    quantities = {d.position.quantity for d in result.decisions}
    assert 0.0 in quantities
    assert not [q for q in quantities if 0 < abs(q) < 1e-7]
    assert len(result.trades) > 10


def test_the_fast_text_of_the_runner_is_the_text_of_the_logger(tmp_path: Path) -> None:
    result = run_backtest_production(
        MovingAverageCrossover(5, 20), bars_of(walk(400), 'ETH/USDT:é"'), BacktestConfig(log_directory=str(tmp_path))
    )
    written = load_decision_log(result.log_paths[0])
    assert len(written["decisions"]) == len(result.decisions) == 381
    closes = walk(400).tolist()
    for n, (row, made) in enumerate(zip(written["decisions"], result.decisions, strict=True)):
        equity = float(row["context"]["equity"])
        text = entry_text(
            timestamp=row["context"]["timestamp"], symbol=made.symbol, current_mark=made.mark, recent_marks=closes[n : n + 20],
            position_state=made.position, equity=equity, decision=made.decision, execution=made.execution,
        )  # fmt: skip
        assert msgspec.json.decode(text) == row
    assert written["metrics"]["trades"] == result.metrics.trades
    assert written["run_id"] == result.run_id


def test_a_strategy_that_fails_leaves_a_readable_log_of_what_it_decided(tmp_path: Path) -> None:
    class Failing(Scripted):
        def decide(self, *args: Any) -> Decision:
            if self.at == 40:
                raise KeyError("gone")
            return super().decide(*args)

    with pytest.raises(KeyError):
        run_backtest_production(Failing({}), bars_of(walk(100)), BacktestConfig(log_directory=str(tmp_path)))
    (path,) = tmp_path.rglob("*.json")
    assert len(load_decision_log(path)["decisions"]) == 41


def test_native_records_carry_the_run_the_acts_and_a_watermark() -> None:
    script = Scripted({1: Decision("buy", quantity=2.0), 2: Decision("sell", quantity=2.0, order_type="stop", stop_price=90.0)})
    result = run_pure(script, bars_of([100.0, 100.0, 100.0, 80.0, 80.0]), FREE)
    found = list(records(result, created_ns=START))
    assert [r["kind"] for r in found] == ["run", "decision", "decision", "fill", "heartbeat"]
    assert found[0]["from"] < found[0]["to"]
    assert (found[1]["price"], found[1]["quantity"], found[1]["filled"]) == (100.0, 2.0, True)
    assert found[2]["filled"] is False
    assert "price" not in found[2]
    assert found[3]["decision_ts"] == found[2]["ts"]
    assert found[4]["ts"] < found[0]["to"]
    assert len([r for r in records(result, created_ns=0, holds=True) if r["kind"] == "decision"]) == 5


def test_an_existing_strategy_is_wrapped_in_ten_lines() -> None:
    strategy = Signal(lambda marks: 1.0 if marks[-1] > marks[0] else -1.0, notional=1000.0, lookback=3, name="momentum")
    result = run_pure(strategy, bars_of([1.0, 2.0, 3.0, 2.0, 1.0, 1.0]), FREE)
    assert [d.decision.action for d in result.decisions] == ["buy", "close", "sell", "hold"]


def test_figures_follow_their_definitions() -> None:
    stamps = START + np.arange(5) * 24 * 60 * MINUTE
    result = run_pure(Scripted({0: Decision("buy", quantity=50.0)}), make_bars("X", stamps, [100.0, 110.0, 99.0, 120.0, 120.0]), FREE)
    equity = np.array([10_000.0, 10_500.0, 9_950.0, 11_000.0, 11_000.0])
    assert result.equity.tolist() == equity.tolist()
    returns = np.diff(np.concatenate([[10_000.0], equity])) / np.concatenate([[10_000.0], equity[:-1]])
    assert result.metrics.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(365))
    assert result.metrics.max_drawdown == pytest.approx(550 / 10_500)
    assert result.metrics.win_rate is None
    assert "final equity 11000.00" in result.summary()
    assert msgspec.json.decode(msgspec.json.encode(result.to_dict()))["metrics"]["total_return"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "over", [{"initial_capital": 0.0}, {"slippage_rate": -0.1}, {"fill_at": "later"}, {"commission_rate": math.nan}, {"leverage": math.inf}]
)
def test_a_configuration_that_cannot_be_names_the_field(over: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(over))}"):
        BacktestConfig(**over)


def test_orders_at_the_next_open_are_filled_there() -> None:
    bars = bars_of([100.0, 101.0, 102.0], open=[100.0, 105.0, 102.0], high=[106.0] * 3)
    result = run_pure(Scripted({0: Decision("buy", quantity=1.0)}), bars, msgspec.structs.replace(FREE, fill_at="next_open"))
    assert [float(f.price) for f in result.fills] == [105.0]


def test_flat_prices_cross_nothing() -> None:
    result = run_pure(MovingAverageCrossover(3, 7), bars_of([0.1] * 50), FREE)
    assert result.metrics.fills == 0


@pytest.mark.parametrize("simulated", [False, True])
def test_the_intake_takes_log_and_records_without_a_refusal(tmp_path: Path, simulated: bool) -> None:
    config = BacktestConfig(log_directory=str(tmp_path), simulator=ExecutionSimulator(3) if simulated else None)
    result = run_backtest_production(MovingAverageCrossover(5, 20), bars_of(walk(900), volume=np.full(900, 600.0)), config)
    path = Path(result.log_paths[0])
    from_log = blocks(path.read_bytes(), path.name, "backtest")
    native = b"\n".join(msgspec.json.encode(r) for r in records(result, created_ns=START)) + b"\n"
    from_records = blocks(native, "run.jsonl", "backtest")
    for found in (from_log, from_records):
        assert refused(found) == []
    acts = [a for a in column(from_log, "decisions", "action") if a]
    assert acts == column(from_records, "decisions", "action")
    assert len(column(from_log, "decisions", "action")) == len(result.decisions)

    def executed(found: Any) -> float:
        whole = [q for q, f in zip(column(found, "decisions", "quantity"), column(found, "decisions", "filled"), strict=True) if f == 1]
        return float(sum(whole) + sum(column(found, "fills", "quantity")))

    assert executed(from_log) == pytest.approx(executed(from_records)) == pytest.approx(sum(float(f.quantity) for f in result.fills))
