"""Run by NautilusTrader's own interpreter: a live node without any client takes the actor, and one that is not attached does not start."""

import json
import tempfile

from nautilus_trader.config import LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode

from parityd.engine.nautilus import ParityActor, ParityActorConfig, attach


def raised(call):
    try:
        call()
    except (RuntimeError, ValueError) as error:
        return type(error).__name__
    return None


node = TradingNode(TradingNodeConfig(trader_id="TESTER-001", logging=LoggingConfig(log_level="ERROR")))
told = {"empty": raised(lambda: attach(node))}
with tempfile.TemporaryDirectory() as folder:
    actor = ParityActor(ParityActorConfig(actions=folder))
    node.trader.add_actor(actor)
    told["unattached"] = raised(actor.on_start)
    attach(node)
    attach(node)
    told["attached"] = "RiskEngine.execute" in node.kernel.msgbus.endpoints()
node.dispose()
print(json.dumps(told))
