"""Run by NautilusTrader's own interpreter: a real backtest that a stop meets half way. Prints what it did as one JSON object.

`python nautilus_backtest.py DATA COMMAND`: DATA is parityd's data_dir; COMMAND is what is dropped half way: `halt`, `reduce` or `disable`, or `record`
for a backtest that obeys nothing and is recorded. An hour of quotes that ends now is made here.
"""

import json
import math
import os
import re
import sys
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import nautilus_trader
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, TimeInForce, TradingState
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy, StrategyConfig

from parityd.engine import Gate
from parityd.engine.nautilus import ParityActor, ParityActorConfig, attach

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
DROPS = {"reduce": {"command": "reduce_size", "size_multiplier": 0.5}, "disable": {"command": "force_disable"}}


class SwingConfig(StrategyConfig, frozen=True):
    data: str
    command: str
    half: int


class Swing(Strategy):
    """Turns from long to short and back every minute with one order of twice its size, and keeps a bid far below. Knows nothing of parityd."""

    def on_start(self):
        self.subscribe_quote_ticks(INSTRUMENT.id)
        self.clock.set_timer("turn", timedelta(seconds=60), callback=self.on_turn)
        self.long, self.met, self.log_of, self.protected = False, 0, [], None

    def order(self, side, quantity, **fields):
        return self.order_factory.market(INSTRUMENT.id, side, INSTRUMENT.make_qty(quantity), **fields)

    def held(self):
        return self.portfolio.net_position(INSTRUMENT.id)

    def on_turn(self, event):
        self.long = not self.long
        side = OrderSide.BUY if self.long else OrderSide.SELL
        quantity = Decimal("0.2") if self.held() == 0 else abs(self.held()) + Decimal("0.2")
        self.submit_order(self.order(side, quantity))
        if not self.cache.orders_open(instrument_id=INSTRUMENT.id, side=OrderSide.BUY):
            self.submit_order(
                self.order_factory.limit(INSTRUMENT.id, OrderSide.BUY, INSTRUMENT.make_qty("0.1"), INSTRUMENT.make_price(20_000))
            )

    def on_quote_tick(self, tick):
        if self.met or tick.ts_event < self.config.half or self.held() == 0 or self.config.command == "record":
            return
        stop = OrderSide.SELL if self.held() > 0 else OrderSide.BUY
        trigger = tick.bid_price.as_double() * (0.5 if self.held() > 0 else 1.5)
        self.protected = self.order_factory.stop_market(
            INSTRUMENT.id, stop, INSTRUMENT.make_qty(abs(self.held())), INSTRUMENT.make_price(trigger), time_in_force=TimeInForce.GTC
        )
        self.submit_order(self.protected)
        self.met = self.clock.timestamp_ns()
        meet(Path(self.config.data), self.config.command)

    def on_order_event(self, event):
        self.log_of.append((type(event).__name__, str(event.client_order_id), event.ts_event, str(self.held())))


def meet(data, command):
    """Drop it, and wait until the daemon has published it: the market of the backtest stands still meanwhile."""
    gate = Gate(data / "system_actions", "Swing-000")
    whole = ("CONTINUE", "WARNING")  # a check in between finds the hour of quotes a silent engine
    assert gate.read().action in whole, gate.read()
    if command == "halt":
        (data / "overrides" / "HALT").touch()
    else:
        body = DROPS[command] | {"strategy": "Swing-000", "operator": "test", "reason": "a test"}
        temporary = data / "overrides" / f".{command}.json"
        temporary.write_text(json.dumps(body))
        temporary.rename(temporary.with_name(f"{command}.json"))
    end = time.monotonic() + 60
    while gate.read().action in whole and time.monotonic() < end:
        time.sleep(0.02)


def printed():
    """The code of the page for this engine's users."""
    text = (Path(__file__).parents[2] / "docs" / "integrations" / "nautilus.md").read_text("utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "nautilus.md", "exec"), names)
    return names


def quotes(now):
    for second in range(3600):
        ts = now - (3600 - second) * 10**9
        price = 50_000 + 200 * math.sin(second / 90) + 50 * math.sin(second / 7)
        bid, ask = INSTRUMENT.make_price(price), INSTRUMENT.make_price(price + 0.5)
        yield QuoteTick(INSTRUMENT.id, bid, ask, INSTRUMENT.make_qty(5), INSTRUMENT.make_qty(5), ts, ts)


def main(data, command):
    now = time.time_ns()
    engine = BacktestEngine(BacktestEngineConfig(trader_id="TESTER-001", logging=LoggingConfig(log_level="ERROR")))
    engine.add_venue(INSTRUMENT.id.venue, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USDT)])
    engine.add_instrument(INSTRUMENT)
    engine.add_data(list(quotes(now)))
    strategy = Swing(SwingConfig(strategy_id="Swing", order_id_tag="000", data=str(data), command=command, half=now - 1830 * 10**9))
    states = []
    engine.kernel.msgbus.subscribe("events.risk", lambda event: states.append(TradingState(event.state).name))
    engine.add_strategy(strategy)
    page = printed()
    os.chdir(data.parent)  # the page's paths are relative
    if command == "record":
        engine.add_actor(ParityActor(ParityActorConfig(spool="data/spool/backtest")))
        attach(engine)
    else:
        page["obey"](engine)
    engine.run()
    page["write_reports"](engine, data.parent)
    print(json.dumps(outcome(engine, strategy, states)))
    engine.dispose()


def outcome(engine, strategy, states):
    fills = [(order, event) for order in engine.cache.orders() for event in order.events if type(event).__name__ == "OrderFilled"]
    fills.sort(key=lambda pair: pair[1].ts_event)
    held, held_after, added_after, closed_after = Decimal(0), [], 0, 0
    for _, event in fills:
        before, held = held, held + event.last_qty.as_decimal() * (1 if event.order_side == OrderSide.BUY else -1)
        if strategy.met and event.ts_event > strategy.met:
            added_after += abs(held) > abs(before) or held * before < 0
            closed_after += abs(held) < abs(before)
            held_after.append(str(held))
    return {
        "version": nautilus_trader.__version__,
        "fills": len(fills),
        "fills_after": sum(event.ts_event > strategy.met for _, event in fills) if strategy.met else 0,
        "added_after": added_after,
        "closed_after": closed_after,
        "held_after": held_after,
        "states": states,
        "events_after": Counter(name for name, _, ts, _ in strategy.log_of if strategy.met and ts > strategy.met),
        "flat": next((event.ts_event for _, event in fills if strategy.met and event.ts_event > strategy.met), 0) - strategy.met,
        "protection_ended": strategy.protected.ts_closed - strategy.met if strategy.protected and strategy.protected.is_closed else None,
        "bids_working": engine.cache.orders_open_count(side=OrderSide.BUY),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
