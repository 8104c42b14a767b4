"""Run by freqtrade's own interpreter: a real backtest that a stop meets half way. Prints what it did as one JSON object.

`python freqtrade_backtest.py DATA FOLDER CANDLES`: DATA is parityd's data_dir, FOLDER a place to work in, CANDLES a folder of freqtrade's 5m
feather files (real ones; where it does not exist, a random walk is made). The exchange's markets are written down here: nothing is fetched.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

import freqtrade
import numpy as np
import pandas as pd
from freqtrade.commands.optimize_commands import setup_optimize_configuration
from freqtrade.enums import RunMode
from freqtrade.exchange import Binance
from freqtrade.optimize.backtesting import Backtesting

PAIRS = ["ADA/BTC", "ETH/BTC", "LTC/BTC"]
STRATEGY = """
import time
from pathlib import Path

import talib.abstract as ta
from freqtrade.strategy import IStrategy

from parityd.engine.freqtrade import ParityMixin


class Dips(ParityMixin, IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "15m"
    minimal_roi = {"0": 0.012}
    stoploss = -0.03
    startup_candle_count = 30
    position_adjustment_enable = True
    max_entry_position_adjustment = 1

    parity_actions = "DATA/system_actions"
    parity_spool = "DATA/spool/live"
    parity_in_backtest = True

    confirmed = []

    def populate_indicators(self, df, metadata):
        df["rsi"] = ta.RSI(df, timeperiod=9)
        return df

    def populate_entry_trend(self, df, metadata):
        df.loc[(df["rsi"] < 38) & (df["volume"] > 0), ["enter_long", "enter_tag"]] = (1, "rsi_dip")
        return df

    def populate_exit_trend(self, df, metadata):
        df.loc[df["rsi"] > 70, ["exit_long", "exit_tag"]] = (1, "rsi_hot")
        return df

    def confirm_trade_entry(self, pair, order_type, amount, rate, time_in_force, current_time, entry_tag, side, **kwargs):
        self.confirmed.append(current_time.isoformat())
        return True  # a hook of its own, which knows nothing of parityd

    def adjust_trade_position(self, trade, current_time, current_rate, current_profit, min_stake, max_stake, *args, **kwargs):
        if current_profit < -0.012 and trade.nr_of_successful_entries == 1:
            return trade.stake_amount / 2
        return None

    def bot_loop_start(self, current_time, **kwargs):
        half = self.config["half_way"]
        if current_time.timestamp() >= half and not self.config.get("halted") and trades_are_open():
            self.config["halted"] = current_time.timestamp()
            Path("DATA/overrides/HALT").touch()
            end = time.monotonic() + 60
            while self.parity_verdict().trading_enabled and time.monotonic() < end:
                time.sleep(0.05)


def trades_are_open():
    from freqtrade.persistence import LocalTrade

    return LocalTrade.bt_open_open_trade_count > 0
"""


def candles(source, folder):
    """15m candles from 5m ones, moved so that they end now: parityd takes no records of another age for the present."""
    folder.mkdir(parents=True)
    now = pd.Timestamp.now("UTC").floor("15min")
    made = {}
    for number, pair in enumerate(PAIRS):
        name = pair.replace("/", "_")
        frame = pd.read_feather(source / f"{name}-5m.feather") if source.is_dir() else walk(number)
        frame = (
            frame.set_index("date")
            .resample("15min")
            .agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
            .dropna()
        )
        frame = frame.iloc[-900:].reset_index()
        frame["date"] = pd.date_range(end=now - pd.Timedelta("15min"), periods=len(frame), freq="15min").as_unit("ms")
        frame.to_feather(folder / f"{name}-15m.feather")
        made[pair] = frame
    first = made[PAIRS[0]]["date"]
    return first.iloc[0], first.iloc[-1], first.iloc[len(first) // 2].timestamp()


def walk(seed):
    draws = np.random.default_rng(seed)
    close = 0.01 * np.exp(np.cumsum(draws.normal(0, 0.004, 2800)))
    opened = np.r_[close[0], close[:-1]]
    spread = np.abs(draws.normal(0, 0.002, close.size)) + 1
    return pd.DataFrame({
        "date": pd.date_range("2018-01-10", periods=close.size, freq="5min", tz="UTC"), "open": opened,
        "high": np.maximum(opened, close) * spread, "low": np.minimum(opened, close) / spread, "close": close, "volume": 1000.0,
    })  # fmt: skip


def market(pair):
    base, quote = pair.split("/")
    return {
        "id": base + quote, "symbol": pair, "base": base, "quote": quote, "active": True, "spot": True, "swap": False, "future": False, "margin": False,
        "linear": None, "type": "spot", "contract": False, "contractSize": None, "taker": 0.001, "maker": 0.001, "info": {},
        "precision": {"amount": 1e-6, "price": 1e-9}, "limits": {"amount": {"min": 1e-6, "max": None}, "cost": {"min": 1e-5, "max": None}, "price": {}},
    }  # fmt: skip


def exchange(config):
    made = Binance(config, validate=False, load_leverage_tiers=False)
    made._markets = {pair: market(pair) for pair in PAIRS}
    made._api.markets = made._markets
    made.validate_config = made.reload_markets = lambda *_, **__: None
    return made


def main(data, folder, source):
    start, end, half = candles(source, folder / "data")
    (folder / "strategies").mkdir()
    (folder / "strategies" / "dips.py").write_text(STRATEGY.replace("DATA", str(data)))
    (folder / "config.json").write_text(json.dumps({
        "max_open_trades": 3, "stake_currency": "BTC", "stake_amount": 0.05, "dry_run": True, "dry_run_wallet": 1.0, "trading_mode": "spot",
        "exchange": {"name": "binance", "key": "", "secret": "", "pair_whitelist": PAIRS}, "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "same"}, "exit_pricing": {"price_side": "same"}, "half_way": half,
    }))  # fmt: skip
    config = setup_optimize_configuration({
        "config": [str(folder / "config.json")], "strategy": "Dips", "strategy_path": str(folder / "strategies"), "user_data_dir": str(folder),
        "datadir": str(folder / "data"), "timerange": f"{int(start.timestamp())}-{int(end.timestamp())}", "export": "none",
        "backtest_cache": "none", "verbosity": 0,
    }, RunMode.BACKTEST)  # fmt: skip
    backtest = Backtesting(config, exchange(config))
    backtest.start()
    orders = [order | {"pair": row.pair} for row in backtest.all_bt_content["Dips"]["results"].itertuples() for order in row.orders]
    strategy = backtest.strategylist[0]
    stop = config["halted"] * 1000
    split = {
        name: [order for order in orders if order["ft_is_entry"] is entry and (order["order_filled_timestamp"] > stop) is after]
        for name, entry, after in (("entries_before", True, False), ("entries_after", True, True), ("exits_after", False, True))
    }
    reasons = sorted({order["ft_order_tag"] for order in split["exits_after"]})
    print(json.dumps({
        "version": freqtrade.__version__, "halted": config["halted"], **{name: len(some) for name, some in split.items()}, "reasons": reasons,
        "asked_after": sum(datetime.fromisoformat(moment).timestamp() > config["halted"] for moment in strategy.confirmed),
    }))  # fmt: skip


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
