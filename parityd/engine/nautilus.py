"""NautilusTrader obeys the Gate: an actor beside the strategies, which need not know of it.

    guard = ParityActor(ParityActorConfig(actions="/var/lib/parityd/system_actions", spool="/var/lib/parityd/spool/live"))
    node.trader.add_actor(guard)
    attach(node)  # a TradingNode or a BacktestEngine

1. Every order passes the Gate of its strategy before the risk engine sees it (`nautilus_guard`): entries are scaled or denied, exits are whole.
2. Every `check_seconds`: a stop cancels entries, the trading state follows, and what was said is brought to the spool (`nautilus_records`).
3. A heartbeat acknowledges a verdict once no entry that it forbids is working: at each change at once, else every `heartbeat_seconds`.
4. An actor that was told to obey and is not attached does not start, so the node does not trade unguarded.
5. Importing this imports nothing of NautilusTrader: `ParityActor` and `ParityActorConfig` are made when they are first asked for.
"""

import time
from datetime import timedelta
from importlib import import_module
from typing import Any

from parityd.engine.nautilus_guard import Guard
from parityd.engine.nautilus_records import Teller

__all__ = ["ParityActor", "ParityActorConfig", "attach"]  # noqa: F822  made in __getattr__
TIMER = "parityd"
_FLUSH = 1.0


def attach(engine: Any) -> None:
    """Put every ParityActor of a TradingNode or BacktestEngine between its strategies and its risk engine. Call it before the run."""
    kernel = engine.kernel
    found = [actor for actor in kernel.trader.actors() if hasattr(actor, "parity_attach")]
    if not found:
        raise ValueError("there is no ParityActor: add one with trader.add_actor() first")
    for actor in found:
        actor.parity_attach(kernel)


def _made() -> dict[str, Any]:
    """Both classes, built on the engine's. Raises ImportError where it is not installed."""
    try:
        actors, configs = import_module("nautilus_trader.common.actor"), import_module("nautilus_trader.common.config")
    except ImportError as error:
        raise ImportError("parityd.engine.nautilus needs NautilusTrader: pip install nautilus_trader") from error

    class ParityActorConfig(configs.ActorConfig, frozen=True):  # type: ignore[misc,name-defined,call-arg]
        """`actions`: where parityd publishes (None: obey nothing). `spool`: `spool/live` or `spool/backtest` (None: write nothing).
        `names`: strategy id -> name in parityd, where they differ. `scale`: False where the strategies' sizers read `size_multiplier`.
        `remote`: the publication is carried from another machine. Seconds by the engine's clock, but for heartbeats and accounts.
        """

        actions: str | None = None
        spool: str | None = None
        names: dict[str, str] = {}  # noqa: RUF012  copied for each instance by the engine's configuration class
        scale: bool = True
        remote: bool = False
        check_seconds: float = 1.0
        heartbeat_seconds: float = 10.0
        account_seconds: float = 60.0

    class ParityActor(actors.Actor):  # type: ignore[misc,name-defined]
        def __init__(self, config: Any = None) -> None:
            super().__init__(config or ParityActorConfig())
            self._watch: _Watch | None = None

        def parity_attach(self, kernel: Any) -> None:
            """See `attach`."""
            if self._watch is None:
                self._watch = _Watch(self, kernel)

        def parity_check(self, _event: Any = None) -> None:
            """Bring orders and trading state in line with what parityd says now, and tell it so."""
            if self._watch is not None:
                self._watch.check()

        def on_start(self) -> None:
            if self._watch is None:
                raise RuntimeError("a ParityActor must be attached: parityd.engine.nautilus.attach(engine) before the run")
            self._watch.start()

        def on_stop(self) -> None:
            if self._watch is not None:
                self._watch.stop()

    made: dict[str, Any] = {"ParityActor": ParityActor, "ParityActorConfig": ParityActorConfig}
    for name, one in made.items():
        one.__module__, one.__qualname__ = __name__, name
    return made


def __getattr__(name: str) -> Any:
    if name not in ("ParityActor", "ParityActorConfig"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update(_made())
    return globals()[name]


class _Watch:
    """What the actor does, once it is attached."""

    def __init__(self, actor: Any, kernel: Any) -> None:
        self.actor, self.kernel, self.config = actor, kernel, actor.config
        config = self.config
        self.guard = (
            Guard(kernel, actor.log, config.actions, names=config.names, scale=config.scale, remote=config.remote)
            if config.actions
            else None
        )
        self.teller = Teller(kernel, actor.log, config.spool, names=config.names) if config.spool else None
        self.pulse: dict[str, float] = {}
        self.acknowledged: dict[str, int] = {}
        self.accounted: float | None = None
        self.flushed: float | None = None

    def start(self) -> None:
        self.actor.clock.set_timer(TIMER, timedelta(seconds=self.config.check_seconds), callback=self.actor.parity_check)
        if self.teller:
            self.teller.start(self.actor.msgbus)
        self.check()

    def check(self) -> None:
        if self.guard:
            self.guard.bring_in_line()
        if self.teller is None or self.teller.is_run:
            return
        for strategy in self.kernel.trader.strategy_ids():
            self._pulse(self.teller, strategy)
        tick = time.monotonic()
        if self.accounted is None or tick - self.accounted >= self.config.account_seconds:
            self.accounted = tick
            self.teller.accounts()
        if self.flushed is None or tick - self.flushed >= min(self.config.check_seconds, _FLUSH):
            self.flushed = tick
            self.teller.flush()

    def _pulse(self, teller: Teller, strategy: Any) -> None:
        """Paced by real time, so that the days of a backtest do not become a million heartbeats."""
        name, obeyed = str(strategy), None
        if self.guard:
            verdict = self.guard.verdict(strategy)
            if self.guard.in_line(strategy) and verdict.sequence:
                obeyed = verdict.decision_sequence
        changed = obeyed is not None and obeyed != self.acknowledged.get(name)
        tick = time.monotonic()
        if changed or name not in self.pulse or tick - self.pulse[name] >= self.config.heartbeat_seconds:
            if obeyed is not None:
                self.acknowledged[name] = obeyed
            self.pulse[name] = tick
            teller.heartbeat(strategy, self.acknowledged.get(name))

    def stop(self) -> None:
        if self.guard:
            self.guard.bring_in_line()
        if self.teller:
            if not self.teller.is_run:
                self.teller.accounts()
            for strategy in self.kernel.trader.strategy_ids():
                self.teller.heartbeat(strategy, self.acknowledged.get(str(strategy)))
            self.teller.stop()
