"""The same crossover in another backtester, with equal fees and fills at the close: the same trades, the same equity."""

import warnings

import numpy as np
import pandas as pd
import pytest

from parityd.sim import BacktestConfig, MovingAverageCrossover, from_frame, run_backtest_production

CASH, SIZE, FEE, FAST, SLOW = 1_000_000.0, 10, 0.001, 10, 30


def test_backtesting_py_finds_the_same_trades_and_the_same_equity() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = pytest.importorskip("backtesting")
        steps = np.concatenate(
            [np.full(45, -1e-3), np.random.default_rng(8).normal(0, 2e-3, 2955)]
        )  # it begins to decide a bar later than we do
        closes = np.round(1000 * np.exp(np.cumsum(steps)), 2)
        frame = pd.DataFrame(
            {"Open": closes, "High": closes, "Low": closes, "Close": closes}, index=pd.date_range("2024-01-01", periods=3000, freq="h")
        )

        class Crossover(other.Strategy):  # type: ignore[misc, name-defined]
            def init(self) -> None:
                self.fast = self.I(lambda c: pd.Series(c).rolling(FAST).mean(), self.data.Close)
                self.slow = self.I(lambda c: pd.Series(c).rolling(SLOW).mean(), self.data.Close)

            def next(self) -> None:
                if self.fast[-1] > self.slow[-1] + 1e-9:
                    if not self.position:
                        self.buy(size=SIZE)
                elif self.position:
                    self.position.close()

        theirs = other.Backtest(frame, Crossover, cash=CASH, commission=FEE, trade_on_close=True).run()
    config = BacktestConfig(initial_capital=CASH, commission_rate=FEE, slippage_rate=0.0, enable_decision_logging=False)
    ours = run_backtest_production(MovingAverageCrossover(FAST, SLOW, quantity=SIZE), from_frame(frame, symbol="X"), config)
    trades = theirs["_trades"]
    n = len(ours.trades)
    assert n > 50
    assert len(trades) - n in (0, 1)  # it may count a position still open at the end
    assert trades["EntryPrice"].to_numpy()[:n] == pytest.approx([t.entry_price for t in ours.trades])
    assert trades["ExitPrice"].to_numpy()[:n] == pytest.approx([t.exit_price for t in ours.trades])
    gross = [float(t.profit + t.fees) for t in ours.trades]
    assert ((trades["ExitPrice"] - trades["EntryPrice"]) * trades["Size"]).to_numpy()[:n] == pytest.approx(gross, abs=1e-6)
    assert theirs["Equity Final [$]"] == pytest.approx(
        ours.metrics.final_equity, abs=20.0 * FEE * 1000 if ours.portfolio["open_positions"] else 1e-6
    )
