"""Speed of the simulator and of the backtest runner, side by side with another backtester where it is installed.

    python benchmarks/sim.py [--bars 100000] [--rounds 3]

Prints a table; exits 1 where a promise is not kept: 200,000 bars a second of a moving-average crossover with decision logging on, one
simulated order (submit and process) under 20 microseconds, a million orders as arrays under 2 s. The best of the rounds counts: what
disturbs a machine only ever makes it slower.
"""

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from parityd.backtest import run_backtest_production
from parityd.sim import BacktestConfig, Bars, ExecutionSimulator, MarketConditions, MovingAverageCrossover, Order, execute_many, make_bars

FAST, SLOW = 10, 30


def closes_of(n: int) -> np.ndarray:
    return np.round(40_000 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 8e-4, n))), 2)


def best(rounds: int, once: Callable[[], float]) -> float:
    return min(once() for _ in range(rounds))


def crossover(bars: Bars, *, logging: bool) -> float:
    folder = tempfile.mkdtemp(prefix="parityd-bench-")
    config = BacktestConfig(enable_decision_logging=logging, log_directory=folder)
    try:
        start = time.perf_counter()
        run_backtest_production(MovingAverageCrossover(FAST, SLOW), bars, config)
        return time.perf_counter() - start
    finally:
        shutil.rmtree(folder)


def other_backtester(closes: np.ndarray) -> float | None:
    """The same crossover in backtesting.py, which writes no decision log; None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pandas as pd
            from backtesting import Backtest, Strategy
        except ImportError:
            return None

        class Crossover(Strategy):
            def init(self) -> None:
                self.fast = self.I(lambda c: pd.Series(c).rolling(FAST).mean(), self.data.Close)
                self.slow = self.I(lambda c: pd.Series(c).rolling(SLOW).mean(), self.data.Close)

            def next(self) -> None:
                if self.fast[-1] > self.slow[-1]:
                    if not self.position:
                        self.buy(size=0.95)
                elif self.position:
                    self.position.close()

        frame = pd.DataFrame(
            dict.fromkeys(("Open", "High", "Low", "Close"), closes), index=pd.date_range("2023-11-14", periods=len(closes), freq="min")
        )
        test = Backtest(frame, Crossover, cash=10_000_000, commission=0.001, trade_on_close=True)
        start = time.perf_counter()
        test.run()
        return time.perf_counter() - start


def one_by_one(n: int) -> float:
    """Seconds an order: made, submitted, processed."""
    simulator = ExecutionSimulator(1)
    market = MarketConditions(symbol="X", bid=100.0, ask=100.02, bid_size=5.0, ask_size=4.0, timestamp=0.0, volume_1m=1e5, volatility=1e-3)
    start = time.perf_counter()
    for _ in range(n):
        order_id = simulator.submit_order(Order(symbol="X", side="buy", quantity=1.0, timestamp=0.0), market)
        simulator.process_order_execution(order_id, market)
    return (time.perf_counter() - start) / n


def vectorised(n: int) -> float:
    rng = np.random.default_rng(3)
    sign, quantity = np.where(rng.random(n) < 0.5, 1.0, -1.0), rng.uniform(0.1, 10.0, n)
    start = time.perf_counter()
    execute_many(
        ExecutionSimulator(1),
        sign=sign,
        quantity=quantity,
        bid=100.0,
        ask=100.02,
        bid_size=5.0,
        ask_size=4.0,
        volume_1m=1e5,
        volatility=1e-3,
    )
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    closes = closes_of(args.bars)
    bars = make_bars("BTC/USD", 1_700_000_000 * 10**9 + np.arange(args.bars) * 60 * 10**9, closes)
    logged = args.bars / best(args.rounds, lambda: crossover(bars, logging=True))
    silent = args.bars / best(args.rounds, lambda: crossover(bars, logging=False))
    order = best(args.rounds, lambda: one_by_one(20_000)) * 1e6
    million = best(args.rounds, lambda: vectorised(1_000_000))
    theirs = other_backtester(closes)
    rows = [
        (f"crossover, {args.bars:,} bars, decision log on", f"{logged:,.0f} bars/s", ">= 200,000", logged >= 200_000),
        ("the same without the log", f"{silent:,.0f} bars/s", "", True),
        ("the same in backtesting.py (no log)", "not installed" if theirs is None else f"{args.bars / theirs:,.0f} bars/s", "", True),
        ("one simulated order", f"{order:.1f} us", "< 20 us", order < 20.0),
        ("a million orders, vectorised", f"{million:.2f} s", "< 2 s", million < 2.0),
    ]
    for what, measured, promise, kept in rows:
        print(f"{what:<45} {measured:>18}  {promise:<12}{'' if kept else '  NOT KEPT'}")
    return 0 if all(kept for *_, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
