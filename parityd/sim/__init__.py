"""The simulator and the backtest runner: pure, seeded, every part replaceable.

1. Nothing here reads a clock, a file or a setting; the edges read and write, `parityd.backtest` puts both together.
2. What is named here is the public face; the rooms behind it may move.
"""

from parityd.core.decision_document import HOLD, Decision, DecisionSink, Execution, OpenLog, PositionState, entry_text
from parityd.sim.backtest import run_backtest_production
from parityd.sim.bars import Bars, BarsError, from_frame, make_bars
from parityd.sim.config import BacktestConfig
from parityd.sim.decision_checks import DecisionError
from parityd.sim.draws import Draws
from parityd.sim.fees import FeeSchedule, FeeTier, RegulatoryFee
from parityd.sim.latency import Latency, LatencyModel, RecordedLatency
from parityd.sim.market import FixedSpread, MarketConditions, RangeSpread, SpreadModel, from_bar, from_depth
from parityd.sim.native import records
from parityd.sim.orders import Order, SimulatedFill, fill_record
from parityd.sim.partial import PartialFills
from parityd.sim.queue import ProbabilisticQueue, QueueModel
from parityd.sim.replay import by_symbol, run_orders
from parityd.sim.result import BacktestResult, DecisionTrail, LoggedDecision, Metrics
from parityd.sim.simulator import ExecutionSimulator
from parityd.sim.slippage import SlippageModel, SquareRootImpact, WalkTheBook
from parityd.sim.statistics import ExecutionFigures, ExecutionStatistics
from parityd.sim.strategy import MovingAverageCrossover, Product, Signal, Strategy
from parityd.sim.vectorised import Executions, execute_many

__all__ = [
    "HOLD",
    "BacktestConfig",
    "BacktestResult",
    "Bars",
    "BarsError",
    "Decision",
    "DecisionError",
    "DecisionSink",
    "DecisionTrail",
    "Draws",
    "Execution",
    "ExecutionFigures",
    "ExecutionSimulator",
    "ExecutionStatistics",
    "Executions",
    "FeeSchedule",
    "FeeTier",
    "FixedSpread",
    "Latency",
    "LatencyModel",
    "LoggedDecision",
    "MarketConditions",
    "Metrics",
    "MovingAverageCrossover",
    "OpenLog",
    "Order",
    "PartialFills",
    "PositionState",
    "ProbabilisticQueue",
    "Product",
    "QueueModel",
    "RangeSpread",
    "RecordedLatency",
    "RegulatoryFee",
    "Signal",
    "SimulatedFill",
    "SlippageModel",
    "SpreadModel",
    "SquareRootImpact",
    "Strategy",
    "WalkTheBook",
    "by_symbol",
    "entry_text",
    "execute_many",
    "fill_record",
    "from_bar",
    "from_depth",
    "from_frame",
    "make_bars",
    "records",
    "run_backtest_production",
    "run_orders",
]
