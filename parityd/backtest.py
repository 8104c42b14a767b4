"""The front door of the backtest: the pure runner with files put to it.

1. `run_backtest_production` here is the runner of `parityd.sim` that also writes the decision logs where `BacktestConfig` says, one a
   symbol, and gives their paths with the result.
2. `load_strategy` finds a strategy by name: `crossover`, `package.module:Name`, or `file.py:Name`. What it loads is the user's code.
3. Everything that a user of the simulator, of backtests and of decision logs needs can be imported from here.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from parityd.core.compare import Comparison, LogError, Side, compare_logs, compare_sides, read_side
from parityd.edges.clock import now
from parityd.edges.decision_log import DecisionLogError, DecisionLogger, load_decision_log
from parityd.edges.market_data import MarketDataError, read_table, write_records
from parityd.sim import (
    HOLD,
    BacktestConfig,
    BacktestResult,
    Bars,
    BarsError,
    Decision,
    DecisionError,
    Execution,
    ExecutionSimulator,
    FeeSchedule,
    LatencyModel,
    MarketConditions,
    MovingAverageCrossover,
    Order,
    PositionState,
    Product,
    QueueModel,
    Signal,
    SimulatedFill,
    SlippageModel,
    Strategy,
    from_frame,
    make_bars,
    records,
)
from parityd.sim.backtest import run_backtest_production as run_pure
from parityd.sim.bars import Data
from parityd.sim.market import SpreadModel
from parityd.sim.tables import RowError, bars_from_rows, orders_from_rows, quotes_from_rows


class StrategyNotFoundError(ValueError):
    """A strategy's name that leads nowhere: which, and why."""


def load_bars(path: Path | str, *, symbol: str = "") -> dict[str, Bars]:
    """Bars by symbol from a file; one without a column `symbol` is of `symbol`, else named as the file. MarketDataError."""
    try:
        return bars_from_rows(read_table(path), symbol=symbol, name=Path(path).name.partition(".")[0])
    except RowError as e:
        raise MarketDataError(path, e.reason, e.row) from None


def load_quotes(path: Path | str, *, symbol: str = "", spread: SpreadModel | None = None) -> list[MarketConditions]:
    """Market conditions from a file of quotes, L2 levels, or bars. MarketDataError."""
    try:
        return quotes_from_rows(read_table(path), symbol=symbol, spread=spread)
    except RowError as e:
        raise MarketDataError(path, e.reason, e.row) from None


def load_orders(path: Path | str, *, strategy: str = "simulated") -> list[Order]:
    """Orders from a file. MarketDataError."""
    try:
        return orders_from_rows(read_table(path), strategy=strategy)
    except RowError as e:
        raise MarketDataError(path, e.reason, e.row) from None


def run_backtest_production(strategy: Strategy, data: Data | Path | str, config: BacktestConfig | None = None) -> BacktestResult:
    """Run a backtest; a path is read first. With `enable_decision_logging` the logs' paths are in `log_paths`.

    BarsError, MarketDataError: data that cannot be taken. ValueError: configuration or decision. OSError: the log cannot be written.
    """
    config = config or BacktestConfig()
    table: Data = load_bars(data) if isinstance(data, Path | str) else data
    loggers: list[DecisionLogger] = []
    created = now()

    def open_log(*, run_id: str, symbol: str, head: str) -> DecisionLogger:
        loggers.append(DecisionLogger(config.log_directory, symbol=symbol, run_id=run_id, head=head, created_ns=created))
        return loggers[-1]

    try:
        result = run_pure(strategy, table, config, open_log=open_log)
    finally:
        for logger in loggers:
            logger.close()
    return msgspec.structs.replace(result, log_paths=tuple(str(logger.path) for logger in loggers))


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)
    path = Path(name)
    if not path.is_file():
        raise StrategyNotFoundError(f"strategy: no file {name}")
    spec = importlib.util.spec_from_file_location(f"strategy_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StrategyNotFoundError(f"strategy: {name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_strategy(where: str, parameters: Mapping[str, Any] | None = None) -> Strategy:
    """A strategy object by name (rule 2), made with `parameters` where it is a class. StrategyNotFoundError: it is none."""
    given = dict(parameters or {})
    found: Any
    if where == "crossover":
        found = MovingAverageCrossover
    else:
        module, _, name = where.rpartition(":")
        if not module or not name:
            raise StrategyNotFoundError(f"strategy: {where!r} is neither crossover nor module:Name nor file.py:Name")
        try:
            found = getattr(_module(module), name)
        except AttributeError:
            raise StrategyNotFoundError(f"strategy: no {name} in {module}") from None
        except ImportError as e:
            raise StrategyNotFoundError(f"strategy: {module}: {e}") from None
        except SyntaxError as e:
            raise StrategyNotFoundError(f"strategy: {module}: line {e.lineno}: {e.msg}") from None
    if isinstance(found, type):
        try:
            found = found(**given)
        except TypeError as e:
            raise StrategyNotFoundError(f"strategy: {where}: {e}") from None
    elif given:
        raise StrategyNotFoundError(f"strategy: {where} is an object already: it takes no parameters")
    if not callable(getattr(found, "decide", None)):
        raise StrategyNotFoundError(f"strategy: {where} has no method decide")
    strategy: Strategy = found
    return strategy


__all__ = [
    "HOLD",
    "BacktestConfig",
    "BacktestResult",
    "Bars",
    "BarsError",
    "Comparison",
    "Decision",
    "DecisionError",
    "DecisionLogError",
    "DecisionLogger",
    "Execution",
    "ExecutionSimulator",
    "FeeSchedule",
    "LatencyModel",
    "LogError",
    "MarketConditions",
    "MarketDataError",
    "MovingAverageCrossover",
    "Order",
    "PositionState",
    "Product",
    "QueueModel",
    "Side",
    "Signal",
    "SimulatedFill",
    "SlippageModel",
    "Strategy",
    "StrategyNotFoundError",
    "compare_logs",
    "compare_sides",
    "from_frame",
    "load_bars",
    "load_decision_log",
    "load_orders",
    "load_quotes",
    "load_strategy",
    "make_bars",
    "read_side",
    "records",
    "run_backtest_production",
    "write_records",
]
