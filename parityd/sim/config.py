"""How a backtest costs and counts: the configuration, and what of it and of the strategy makes a run the run that it is.

1. A configuration is valid when it exists; ValueError names the field.
2. `run_identity` is a hash of strategy, parameters, configuration and data: the same run has the same name everywhere.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from parityd.sim.bars import Bars
from parityd.sim.market import SpreadModel
from parityd.sim.simulator import ExecutionSimulator
from parityd.sim.strategy import Product


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a backtest costs and counts. Rates are shares (0.001 = 10 bps); `simulator` replaces both with a full simulator.

    `logged_marks`: how many of the recent marks a logged decision shows; `borrow_rate`: a year's share of a short position's value.
    """

    initial_capital: float = 10_000.0
    commission_rate: float = 0.001
    slippage_rate: float = 0.0005
    simulator: ExecutionSimulator | None = None
    spread: SpreadModel | None = None
    enable_decision_logging: bool = True
    log_directory: str = "decision_logs"
    fill_at: Literal["close", "next_open"] = "close"
    leverage: float = 1.0
    allow_short: bool = True
    borrow_rate: float = 0.0
    max_recent_marks: int = 500
    logged_marks: int = 20
    days_per_year: float = 365.0
    products: Mapping[str, Product] = {}

    def __post_init__(self) -> None:
        for name in ("initial_capital", "leverage", "days_per_year"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: {getattr(self, name)!r} is not above zero")
        for name in ("slippage_rate", "borrow_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a share from 0 to 1")
        if not -1.0 < self.commission_rate < 1.0:
            raise ValueError(f"commission_rate: {self.commission_rate!r} is not a share")
        if self.fill_at not in ("close", "next_open"):
            raise ValueError(f"fill_at: {self.fill_at!r} is neither close nor next_open")
        if self.max_recent_marks < 1 or self.logged_marks < 0:
            raise ValueError("max_recent_marks: at least 1; logged_marks: at least 0")

    def to_dict(self) -> dict[str, Any]:
        """What the run depended on, as JSON values (the decision log's `config`)."""
        plain = {
            f: getattr(self, f)
            for f in self.__struct_fields__
            if f not in ("simulator", "spread", "products", "log_directory", "enable_decision_logging")
        }
        sim = self.simulator
        plain["simulator"] = (
            None
            if sim is None
            else {"seed": sim.seed, **{p: repr(getattr(sim, p)) for p in ("fees", "latency", "queue", "slippage", "partial")}}
        )
        plain["spread"] = None if self.spread is None else repr(self.spread)
        plain["products"] = {k: msgspec.to_builtins(v) for k, v in self.products.items()}
        return plain


def parameters(strategy: object) -> dict[str, Any]:
    """A strategy's own plain values: what makes it differ from another of its class."""
    return (
        {k: v for k, v in sorted(vars(strategy).items()) if isinstance(v, int | float | str) and not k.startswith("_")}
        if hasattr(strategy, "__dict__")
        else {}
    )


def run_identity(name: str, strategy: object, lanes: Iterable[Bars], config: BacktestConfig) -> str:
    """`bt-` and 16 hex digits of the hash of all that the run depends on."""
    digest = hashlib.sha256(msgspec.json.encode([name, parameters(strategy), config.to_dict()], order="sorted"))
    for lane in lanes:
        digest.update(lane.symbol.encode())
        for column in (lane.ts, lane.open, lane.high, lane.low, lane.close, lane.volume):
            digest.update(np.ascontiguousarray(column).tobytes())
    return f"bt-{digest.hexdigest()[:16]}"
