"""Run by freqtrade's own interpreter: the real bot in dry-run mode, loop by loop, on a market that is written down here.

`python freqtrade_dry_run.py DATA FOLDER`: DATA is parityd's data_dir, FOLDER a place to work in; `tradesv3.dryrun.sqlite` is left there. Three pairs: A is
bought and sold again, B is a bid that is never filled, C asks for an entry only after the stop. Prints what happened as one JSON object.
"""

import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import freqtrade
import pandas as pd
from freqtrade.configuration.config_setup import setup_utils_configuration
from freqtrade.enums import RunMode, State
from freqtrade.exchange import Binance
from freqtrade.freqtradebot import FreqtradeBot
from freqtrade.persistence import Trade
from freqtrade.resolvers import StrategyResolver

PAIRS = ["AAA/USDT", "BBB/USDT", "CCC/USDT"]
STRATEGY = """
from freqtrade.strategy import IStrategy

from parityd.engine.freqtrade import ParityMixin


class Quiet(ParityMixin, IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "5m"
    minimal_roi = {"0": 10.0}
    stoploss = -0.5
    process_only_new_candles = False
    parity_actions = "DATA/system_actions"
    parity_spool = "DATA/spool/live"
    parity_heartbeat = 0.0
    wanted, leave = {"AAA/USDT", "BBB/USDT"}, False

    def populate_indicators(self, df, metadata):
        return df

    def populate_entry_trend(self, df, metadata):
        if metadata["pair"] in self.wanted:
            df.loc[:, ["enter_long", "enter_tag"]] = (1, "wanted")
        return df

    def populate_exit_trend(self, df, metadata):
        if self.leave:
            df.loc[:, ["exit_long", "exit_tag"]] = (1, "leave")
        return df

    def custom_entry_price(self, pair, trade, current_time, proposed_rate, entry_tag, side, **kwargs):
        return proposed_rate * (0.9 if pair == "BBB/USDT" else 1.01)

    def custom_exit_price(self, pair, trade, current_time, proposed_rate, current_profit, exit_tag, **kwargs):
        return proposed_rate * 0.99
"""


class Market(Binance):
    """Binance, as far as it needs no network: the bid is 99.9, the ask 100.1."""

    def reload_markets(self, *_, **__):
        self._markets = self._api.markets = {pair: market(pair) for pair in PAIRS}

    def refresh_latest_ohlcv(self, pairs, **__):
        dates = pd.date_range(end=pd.Timestamp.now("UTC").floor("5min") - pd.Timedelta("5min"), periods=60, freq="5min").as_unit("ms")
        for pair in pairs:
            self._klines[pair] = pd.DataFrame({"date": dates, "open": 100.0, "high": 100.5, "low": 99.5, "close": 100.0, "volume": 10.0})
        return self._klines

    def fetch_l2_order_book(self, pair, limit=100):
        return {"symbol": pair, "bids": [[99.9, 1000.0]], "asks": [[100.1, 1000.0]], "timestamp": int(time.time() * 1000)}

    def fetch_ticker(self, pair):
        return {"symbol": pair, "bid": 99.9, "ask": 100.1, "last": 100.0, "quoteVolume": 1e6, "baseVolume": 1e4}

    def get_tickers(self, *_, **__):
        return {pair: self.fetch_ticker(pair) for pair in PAIRS}

    def get_balances(self, *_):
        return {}


def market(pair):
    base, quote = pair.split("/")
    return {
        "id": base + quote, "symbol": pair, "base": base, "quote": quote, "active": True, "spot": True, "swap": False, "future": False, "margin": False,
        "linear": None, "type": "spot", "contract": False, "contractSize": None, "taker": 0.001, "maker": 0.001, "info": {},
        "precision": {"amount": 1e-4, "price": 1e-2}, "limits": {"amount": {"min": 1e-4, "max": None}, "cost": {"min": 5, "max": None}, "price": {}},
    }  # fmt: skip


def config(folder):
    (folder / "config.json").write_text(json.dumps({
        "max_open_trades": 3, "stake_currency": "USDT", "stake_amount": 100, "dry_run": True, "dry_run_wallet": 1000, "trading_mode": "spot",
        "exchange": {"name": "binance", "key": "", "secret": "", "pair_whitelist": PAIRS}, "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "db_url": f"sqlite:///{folder}/tradesv3.dryrun.sqlite", "strategy": "Quiet", "strategy_path": str(folder / "strategies"), "internals": {},
    }))  # fmt: skip
    made = setup_utils_configuration({"config": [str(folder / "config.json")], "user_data_dir": str(folder), "verbosity": 0}, RunMode.OTHER)
    made["runmode"], made["dry_run"] = RunMode.DRY_RUN, True
    made["db_url"] = f"sqlite:///{folder}/tradesv3.dryrun.sqlite"
    return made


def printed():
    """The strategy on the page for this engine's users."""
    text = (Path(__file__).parents[2] / "docs" / "integrations" / "freqtrade.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block


def told():
    return {
        trade.pair: {"open": trade.is_open, "orders": [[order.ft_order_side, order.status, order.safe_filled] for order in trade.orders]}
        for trade in Trade.get_trades([]).all()
    }


def main(data, folder):
    (folder / "strategies").mkdir()
    (folder / "strategies" / "quiet.py").write_text(STRATEGY.replace("DATA", str(data)))
    (folder / "strategies" / "printed.py").write_text(printed())
    made = config(folder)
    market = Market(made, validate=False, load_leverage_tiers=False)
    market.reload_markets()
    with patch("freqtrade.resolvers.ExchangeResolver.load_exchange", return_value=market):
        bot = FreqtradeBot(made)
    bot.state = State.RUNNING
    for _ in range(3):
        bot.process()
    before = told()
    (data / "overrides" / "HALT").touch()
    end = time.monotonic() + 60
    while bot.strategy.parity_verdict().trading_enabled and time.monotonic() < end:
        time.sleep(0.05)
    type(bot.strategy).wanted = {"AAA/USDT", "BBB/USDT", "CCC/USDT"}
    bot.process()
    stopped = told()
    type(bot.strategy).wanted, type(bot.strategy).leave = set(), True
    for _ in range(3):
        bot.process()
    after = told()
    bot.cleanup()
    page = StrategyResolver.load_strategy(made | {"strategy": "MyStrategy"})
    obeys = not page.confirm_trade_entry("AAA/USDT", "limit", 1.0, 1.0, "GTC", datetime.now(UTC), None, "long")  # its Gate is not there
    print(json.dumps({"page": obeys, "version": freqtrade.__version__, "before": before, "stopped": stopped, "after": after}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
