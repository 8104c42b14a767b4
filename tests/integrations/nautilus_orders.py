"""Run by NautilusTrader's own interpreter: brackets, modifications and sizes in quote currency under one publication that stands.

`python nautilus_orders.py ACTIONS`: ACTIONS is the folder of the publication. Prints the quantities and states that orders ended with.
"""

import json
import sys
from decimal import Decimal
from pathlib import Path

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.objects import Money, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy, StrategyConfig

from parityd.engine.nautilus import ParityActor, ParityActorConfig, attach

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
START = 1_700_000_000_000_000_000


class Orders(Strategy):
    """One order after the other, on a market that stands still at 50,000."""

    def on_start(self):
        self.subscribe_quote_ticks(INSTRUMENT.id)
        self.made, self.step, self.rejected = {}, 0, 0

    def on_order_modify_rejected(self, event):
        self.rejected += 1

    def on_quote_tick(self, tick):
        make, size, price = self.order_factory, INSTRUMENT.make_qty, INSTRUMENT.make_price
        self.step += 1
        if self.step == 2:
            bracket = make.bracket(INSTRUMENT.id, OrderSide.BUY, size("0.2"), tp_price=price(60_000), sl_trigger_price=price(40_000))
            self.made |= dict(zip(("entry", "stop", "profit"), bracket.orders, strict=True))
            self.submit_order_list(bracket)
        if self.step == 4:
            self.made["bid"] = make.limit(INSTRUMENT.id, OrderSide.BUY, size("0.1"), price(45_000))
            self.submit_order(self.made["bid"])
        if self.step == 6 and self.made["bid"].is_open:
            self.modify_order(self.made["bid"], quantity=size("0.4"))
        if self.step == 8:
            self.made["quote"] = make.market(INSTRUMENT.id, OrderSide.BUY, Quantity(Decimal(10_000), 3), quote_quantity=True)
            self.submit_order(self.made["quote"])


def main(actions):
    engine = BacktestEngine(BacktestEngineConfig(trader_id="TESTER-001", logging=LoggingConfig(log_level="ERROR")))
    engine.add_venue(INSTRUMENT.id.venue, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USDT)])
    engine.add_instrument(INSTRUMENT)
    bid, ask, size = INSTRUMENT.make_price(49_999), INSTRUMENT.make_price(50_001), INSTRUMENT.make_qty(50)
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, START + n * 10**9, START + n * 10**9) for n in range(12)])
    strategy = Orders(StrategyConfig(strategy_id="Orders", order_id_tag="000"))
    engine.add_strategy(strategy)
    engine.add_actor(ParityActor(ParityActorConfig(actions=str(actions), names={"Orders-000": "momentum"})))
    attach(engine)
    engine.run()
    told = {name: [str(order.quantity), order.status_string()] for name, order in strategy.made.items()}
    print(json.dumps(told | {"rejected": strategy.rejected}))
    engine.dispose()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
