"""What a backtest found: decisions, figures, equity; and the same as native records.

1. A figure that cannot be taken is None, never 0; a count is 0.
2. Sharpe: mean / sample deviation of the daily returns (UTC days) x sqrt(days_per_year), from two days on; `days` says on how many it
   stands. Drawdown: the largest fall from the running peak of the equity, as a share. Win rate, profit factor: closed round trips,
   net of fees; a factor without losses is None.
3. `decisions` is a sequence that makes its records when asked, so that a run keeps no more than what the strategy gave.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, overload

import msgspec
import numpy as np

from parityd.core.decision_document import NOTHING, Decision, Execution, PositionState
from parityd.core.instants import DAY_NS, I64, rfc3339
from parityd.sim.account import Account, RoundTrip
from parityd.sim.broker import BarFill
from parityd.sim.draws import F64
from parityd.sim.statistics import ExecutionStatistics


class Track:
    """One symbol's decisions as they were made: parallel lists; executions only where something came of a decision."""

    __slots__ = ("asked", "closes", "decisions", "equities", "executions", "stamps", "states", "symbol", "warm", "window")

    def __init__(self, symbol: str, stamps: list[int], closes: list[float], window: int) -> None:
        self.symbol, self.stamps, self.closes, self.window = symbol, stamps, closes, window
        self.decisions: list[Decision] = []
        self.states: list[PositionState] = []
        self.warm: list[float] = []  # equity of the bars before the first decision
        self.asked: list[float] = []  # equity that the strategy was told
        self.equities: list[float] = []  # equity that the bar left
        self.executions: dict[int, Execution] = {}


class LoggedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision with what it was made from and what came of it. `ts` ns UTC; `equity` after the bar's fills."""

    ts: int
    symbol: str
    mark: float
    position: PositionState
    equity: float
    decision: Decision
    execution: Execution


class DecisionTrail(Sequence[LoggedDecision]):
    """All decisions, symbol after symbol, each in order of time."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._tracks = list(tracks)
        self._ends = np.cumsum([len(t.decisions) for t in self._tracks])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> LoggedDecision: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LoggedDecision]: ...
    def __getitem__(self, index: int | slice) -> LoggedDecision | Sequence[LoggedDecision]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        n = index + len(self) if index < 0 else index
        if not 0 <= n < len(self):
            raise IndexError(index)
        lane = int(np.searchsorted(self._ends, n, side="right"))
        track, k = self._tracks[lane], n - (int(self._ends[lane - 1]) if lane else 0)
        bar = k + len(track.warm)
        return LoggedDecision(
            ts=track.stamps[bar], symbol=track.symbol, mark=track.closes[bar], position=track.states[k], equity=track.equities[k],
            decision=track.decisions[k], execution=track.executions.get(k, NOTHING),
        )  # fmt: skip


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures (rules 1 and 2). Money in quote currency."""

    total_return: float
    sharpe: float | None
    days: int
    max_drawdown: float
    win_rate: float | None
    profit_factor: float | None
    trades: int
    decisions: int
    fills: int
    rejected_orders: int
    final_equity: float
    fees: float
    funding: float
    slippage_cost: float


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A finished run. `equity_ts` (ns) and `equity` are parallel; `execution` is the simulator's statistics, where one filled the orders."""

    run_id: str
    strategy_name: str
    symbols: tuple[str, ...]
    config: dict[str, Any]
    start_ts: int
    end_ts: int
    interval_ns: int
    decisions: DecisionTrail
    metrics: Metrics
    trades: list[RoundTrip]
    fills: list[BarFill]
    fundings: list[tuple[str, int, Decimal]]
    equity_ts: I64
    equity: F64
    portfolio: dict[str, Any]
    execution: ExecutionStatistics | None = None
    log_paths: tuple[str, ...] = ()

    def metrics_dict(self) -> dict[str, Any]:
        """`metrics` and `portfolio` as JSON values."""
        return {**msgspec.to_builtins(self.metrics), "portfolio": self.portfolio}

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single decisions, as JSON values."""
        return {
            "run_id": self.run_id, "strategy_name": self.strategy_name, "symbols": list(self.symbols), "start_time": rfc3339(self.start_ts),
            "end_time": rfc3339(self.end_ts), "config": self.config, "metrics": msgspec.to_builtins(self.metrics), "portfolio": self.portfolio,
            "trades": [_trip(t) for t in self.trades],
            "equity_curve": [[rfc3339(t), round(e, 9)] for t, e in zip(self.equity_ts.tolist(), self.equity.tolist(), strict=True)],
            "execution": self.execution.to_dict() if self.execution is not None else None, "log_paths": list(self.log_paths),
        }  # fmt: skip

    def summary(self) -> str:
        """The run in a few lines."""
        m = self.metrics

        def share(value: float | None) -> str:
            return "n/a" if value is None else f"{value:.2%}"

        def plain(value: float | None) -> str:
            return "n/a" if value is None else f"{value:.2f}"

        return "\n".join(
            (
                f"{self.strategy_name} on {', '.join(self.symbols)}, {rfc3339(self.start_ts)} to {rfc3339(self.end_ts)} (run {self.run_id})",
                f"  return {share(m.total_return)}   Sharpe {plain(m.sharpe)} ({m.days} days)   largest drawdown {share(m.max_drawdown)}",
                f"  trades {m.trades}   win rate {share(m.win_rate)}   profit factor {plain(m.profit_factor)}   rejected orders {m.rejected_orders}",
                f"  decisions {m.decisions}   fills {m.fills}   fees {m.fees:.2f}   slippage {m.slippage_cost:.2f}   funding {m.funding:.2f}",
                f"  final equity {m.final_equity:.2f}",
            )
        )


def _plain(amount: Decimal) -> str:
    """All digits, no exponent, no zeros at the end."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _trip(t: RoundTrip) -> dict[str, Any]:
    return {
        "symbol": t.symbol, "side": t.side, "opened": rfc3339(t.opened_ts), "closed": rfc3339(t.closed_ts), "quantity": _plain(t.quantity),
        "entry_price": t.entry_price, "exit_price": t.exit_price, "profit": _plain(t.profit), "fees": _plain(t.fees),
    }  # fmt: skip


def equity_curve(tracks: Sequence[Track], initial: float) -> tuple[I64, F64]:
    """The equity of the whole account at each time: what its last symbol left. Shapes (n,)."""
    ts = np.concatenate([np.array(t.stamps, np.int64) for t in tracks])
    values = np.concatenate([np.array(t.warm + t.equities, np.float64) for t in tracks])
    lanes = np.concatenate([np.full(len(t.stamps), n) for n, t in enumerate(tracks)])
    order = np.lexsort((lanes, ts))
    ts, values = ts[order], values[order]
    last = np.append(np.flatnonzero(np.diff(ts)), len(ts) - 1) if len(ts) else np.zeros(0, np.int64)
    return (ts[last], values[last]) if len(last) else (ts, np.array([initial])[:0])


def daily_returns(ts: I64, equity: F64, initial: float) -> F64:
    """Return of each UTC day that has a mark, on the equity at the end of the day before (the first: on the initial capital)."""
    if not len(ts):
        return np.zeros(0)
    day = ts // DAY_NS
    ends = equity[np.append(np.flatnonzero(np.diff(day)), len(day) - 1)]
    before = np.concatenate([[initial], ends[:-1]])
    return np.where(before > 0.0, ends / np.where(before > 0.0, before, 1.0) - 1.0, 0.0)


def max_drawdown(equity: F64, initial: float) -> float:
    """Largest fall from the running peak, as a share of it."""
    if not len(equity):
        return 0.0
    peak = np.maximum(np.maximum.accumulate(equity), initial)
    return float(np.max((peak - equity) / peak))


def _sharpe(returns: F64, days_per_year: float) -> float | None:
    if len(returns) < 2:
        return None
    spread = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / spread * math.sqrt(days_per_year) if spread > 0.0 else None


def _portfolio(
    trips: Sequence[RoundTrip],
    fills: Sequence[BarFill],
    positions: Mapping[str, tuple[float, float, float]],
    tracks: Sequence[Track],
    equity: F64,
) -> dict[str, Any]:
    profits = [float(t.profit) for t in trips]
    held = sum(1 for t in tracks for s in t.states if s.quantity)
    decided = sum(len(t.states) for t in tracks)
    run = worst = 0
    for profit in profits:
        run = run + 1 if profit < 0 else 0
        worst = max(worst, run)
    turnover = sum(float(f.quantity) * float(f.price) * positions[f.order.symbol][2] for f in fills)
    return {
        "open_positions": {s: {"quantity": q, "mark": m} for s, (q, m, _) in positions.items() if q},
        "profit_by_symbol": {s: sum(float(t.profit) for t in trips if t.symbol == s) for s in positions},
        "average_trade": sum(profits) / len(profits) if profits else None,
        "best_trade": max(profits, default=None),
        "worst_trade": min(profits, default=None),
        "average_holding_seconds": sum(t.closed_ts - t.opened_ts for t in trips) / len(trips) / 1e9 if trips else None,
        "consecutive_losses": worst,
        "exposure": held / decided if decided else None,
        "turnover": turnover,
        "peak_equity": float(equity.max()) if len(equity) else None,
    }


def build_result(
    *,
    run_id: str,
    strategy_name: str,
    config: dict[str, Any],
    tracks: Sequence[Track],
    account: Account,
    fills: list[BarFill],
    fundings: list[tuple[str, int, Decimal]],
    rejected: int,
    slippage_cost: float,
    days_per_year: float,
    positions: Mapping[str, tuple[float, float, float]],
    interval_ns: int,
    execution: ExecutionStatistics | None,
) -> BacktestResult:
    """The figures of a finished run from its tracks and its account."""
    initial = float(account.initial)
    ts, equity = equity_curve(tracks, initial)
    returns = daily_returns(ts, equity, initial)
    gains = sum(float(t.profit) for t in account.trips if t.profit > 0)
    losses = -sum(float(t.profit) for t in account.trips if t.profit < 0)
    final = float(equity[-1]) if len(equity) else initial
    n = len(account.trips)
    metrics = Metrics(
        total_return=final / initial - 1.0, sharpe=_sharpe(returns, days_per_year), days=len(returns), max_drawdown=max_drawdown(equity, initial),
        win_rate=sum(t.profit > 0 for t in account.trips) / n if n else None, profit_factor=gains / losses if losses > 0.0 else None,
        trades=n, decisions=sum(len(t.decisions) for t in tracks), fills=len(fills), rejected_orders=rejected, final_equity=final,
        fees=float(account.fees), funding=float(account.funding), slippage_cost=slippage_cost,
    )  # fmt: skip
    return BacktestResult(
        run_id=run_id, strategy_name=strategy_name, symbols=tuple(t.symbol for t in tracks), config=config, start_ts=min(t.stamps[0] for t in tracks),
        end_ts=max(t.stamps[-1] for t in tracks), interval_ns=interval_ns, decisions=DecisionTrail(tracks), metrics=metrics, trades=list(account.trips),
        fills=fills, fundings=fundings, equity_ts=ts, equity=equity, execution=execution,
        portfolio=_portfolio(account.trips, fills, positions, tracks, equity),
    )  # fmt: skip
