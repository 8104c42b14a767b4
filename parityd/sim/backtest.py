"""The production-parity backtest: the very strategy object that trades live, bar after bar.

1. No look-ahead by construction: at bar i a strategy is handed marks up to i, in a list of its own, and nothing that leads to later ones.
2. At each bar: orders left resting meet the bar, then the strategy decides at its close, then its market orders are filled (at the mark,
   or at the next open). Several symbols are stepped in order of time, then in the order given; they share one account.
3. An order that opens or adds needs gross exposure <= leverage x equity after it; one that reduces is always taken. A sell of a product
   that cannot be shorted is cut to what is held.
4. Same strategy, data, configuration and seed: same result and same `run_id`, which is a hash of these.
5. It writes nothing itself: decisions go as text to the sinks that `open_log` opens, one a symbol.
"""

import copy
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np

from parityd.core.decision_document import ACTIONS, Decision, Execution, OpenLog, OtherFill, PositionState, head_text
from parityd.core.instants import SECOND, rfc3339
from parityd.sim.account import ZERO, Account, decimal, stepped
from parityd.sim.bars import BarsError, Data, gathered
from parityd.sim.broker import MONEY, BarFill, Broker, FixedCosts, Placed, Simulated
from parityd.sim.config import BacktestConfig, parameters, run_identity
from parityd.sim.decision_checks import DecisionError, complete, size_of
from parityd.sim.fees import YEAR
from parityd.sim.lane import BATCH, Lane, LaneText
from parityd.sim.result import BacktestResult, build_result
from parityd.sim.simulator import ExecutionSimulator
from parityd.sim.strategy import Product, Strategy


class _Run:
    def __init__(self, strategy: Strategy, lanes: list[Lane], config: BacktestConfig, broker: Broker, run_id: str) -> None:
        self.strategy, self.lanes, self.config, self.broker, self.run_id = strategy, lanes, config, broker, run_id
        self.account = Account(config.initial_capital)
        self.cash = config.initial_capital
        self.fills: list[BarFill] = []
        self.fundings: list[tuple[str, int, Decimal]] = []
        self.rejected = 0
        self.slippage_cost = 0.0

    def steps(self) -> Iterator[tuple[Lane, int, int]]:
        """Runs of neighbouring bars of one symbol, in order of time: (lane, first, after the last)."""
        if len(self.lanes) == 1:
            yield self.lanes[0], 0, len(self.lanes[0].bars)
            return
        stamps = np.concatenate([lane.bars.ts for lane in self.lanes])
        which = np.concatenate([np.full(len(lane.bars), n) for n, lane in enumerate(self.lanes)])
        order = which[np.lexsort((which, stamps))]
        cuts = [0, *(np.flatnonzero(np.diff(order)) + 1).tolist(), len(order)]
        at = [0] * len(self.lanes)
        for start, end in pairwise(cuts):
            n = int(order[start])
            yield self.lanes[n], at[n], at[n] + end - start
            at[n] += end - start

    def walk(self, lane: Lane, start: int, stop: int) -> None:
        """The loop over bars: what is constant between two fills stays in locals."""
        decide, symbol, product, closes = self.strategy.decide, lane.symbol, lane.product, lane.closes
        window, track, borrows, unit = lane.window, lane.track, self.config.borrow_rate > 0.0, lane.unit
        decisions, equities, states, asked = track.decisions, track.equities, track.states, track.asked
        waiting = self.broker.resting(symbol)
        base, quantity, state = self.cash + self._others(lane), lane.quantity, lane.state
        for i in range(start, stop):
            mark = lane.mark = closes[i]
            early: list[BarFill] = []
            if waiting or (borrows and quantity < 0.0):
                early = self._before(lane, i)
                waiting = self.broker.resting(symbol)
                base, quantity, state = self.cash + self._others(lane), lane.quantity, lane.state
            equity = base + quantity * mark * unit
            if i < lane.first:
                track.warm.append(equity)
                continue
            decision = decide(symbol, mark, state, closes[i + 1 - window if i >= window else 0 : i + 1], equity, product)
            action = decision.action
            decisions.append(decision)
            states.append(state)
            asked.append(equity)
            if action == "hold" and not early:
                equities.append(equity)
                continue
            execution = self._act(lane, i, decision, equity, early)
            track.executions[len(decisions) - 1] = execution
            waiting = self.broker.resting(symbol)
            base, quantity, state = self.cash + self._others(lane), lane.quantity, lane.state
            equities.append(base + quantity * mark * unit)

    def _others(self, lane: Lane) -> float:
        return sum(other.value() for other in self.lanes if other is not lane) if len(self.lanes) > 1 else 0.0

    def _before(self, lane: Lane, i: int) -> list[BarFill]:
        """What happens in a bar before its decision: the cost of borrowing, then orders left resting."""
        if self.config.borrow_rate and lane.quantity < 0.0:
            self._borrow(lane, i)
        fills = self.broker.work(lane.bars, i) if self.broker.resting(lane.symbol) else []
        for fill in fills:
            self._book(lane, fill)
        return fills

    def _borrow(self, lane: Lane, i: int) -> None:
        seconds = (lane.stamps[i] - lane.stamps[i - 1]) / SECOND if i else 0.0
        amount = decimal(round(-lane.quantity * lane.closes[i - 1] * lane.unit * self.config.borrow_rate * seconds / YEAR, 12))
        if amount:
            self.account.pay(amount)
            self.cash = float(self.account.cash)
            self.fundings.append((lane.symbol, lane.stamps[i], amount))

    def _book(self, lane: Lane, fill: BarFill) -> None:
        self.account.post(
            lane.symbol,
            sign=fill.order.sign,
            quantity=fill.quantity,
            price=fill.price,
            fee=fill.fee,
            ts=fill.ts,
            multiplier=lane.multiplier,
        )
        self.fills.append(fill)
        self.cash = float(self.account.cash)
        lane.quantity = float(self.account.quantity(lane.symbol))
        lane.state = PositionState(lane.quantity, self.account.average_price(lane.symbol, lane.unit), self.account.opened_ts(lane.symbol))

    def _act(self, lane: Lane, i: int, decision: Decision, equity: float, early: list[BarFill]) -> Execution:
        other = tuple(
            OtherFill(
                order_id=f.order.order_id,
                side=_side(f.order.sign),
                fill_price=float(f.price),
                filled_quantity=float(f.quantity),
                commission=float(f.fee),
            )
            for f in early
        )
        if decision.action == "hold":
            return Execution(other_fills=other)
        if decision.action not in ACTIONS:
            raise DecisionError(f"action: {decision.action!r} is none of {', '.join(ACTIONS)} ({lane.symbol} at {rfc3339(lane.stamps[i])})")
        complete(decision, lane.symbol)
        sign, quantity, note = self._wanted(lane, decision, lane.closes[i])
        if decision.action == "close":
            self.broker.cancel(lane.symbol)
        if not note and not self._affordable(lane, sign, quantity, equity):
            note = "insufficient buying power"
            self.rejected += 1
        if note:
            return Execution(note=note, other_fills=other)
        lane.placed += 1
        order = Placed(
            order_id=f"{self.run_id}-{lane.symbol}-{lane.placed}",
            symbol=lane.symbol,
            sign=sign,
            quantity=quantity,
            decision=decision,
            bar=i,
            ts=lane.stamps[i],
        )
        fill = self.broker.place(order, lane.bars, i)
        if fill is None:
            return Execution(side=_side(sign), order_id=order.order_id, note="resting", other_fills=other)
        self._book(lane, fill)
        worse = sign * (float(fill.price) - lane.closes[i]) * float(fill.quantity) * lane.unit
        self.slippage_cost += worse
        return Execution(
            filled=True, fill_price=float(fill.price), filled_quantity=float(fill.quantity), commission=float(fill.fee), slippage=worse,
            side=_side(sign), order_id=order.order_id if fill.quantity != quantity else "", other_fills=other,
        )  # fmt: skip

    def _wanted(self, lane: Lane, decision: Decision, mark: float) -> tuple[int, Decimal, str]:
        """(side, quantity, why there is none)."""
        held = self.account.quantity(lane.symbol)
        if decision.action == "close":
            if not held:
                return 1, ZERO, "nothing to close"
            size = (
                abs(held)
                if decision.quantity is None
                else min(abs(held), stepped(size_of("quantity", decision.quantity), lane.product.quantity_step))
            )
            return (-1 if held > 0 else 1), size, "" if size else "under one step"
        sign = 1 if decision.action == "buy" else -1
        if decision.quantity is not None:
            wanted = size_of("quantity", decision.quantity)
        elif decision.target_notional is not None:
            wanted = size_of("target_notional", decision.target_notional) / (mark * lane.unit)
        else:
            raise DecisionError(f"quantity: a {decision.action} needs this or target_notional ({lane.symbol})")
        quantity = stepped(wanted, lane.product.quantity_step)
        reducible = max(ZERO, -held * sign)
        if decision.reduce_only or (sign < 0 and not (self.config.allow_short and lane.product.shortable)):
            quantity = min(quantity, reducible)
        if not quantity or float(quantity) < lane.product.min_quantity:
            return (
                sign,
                ZERO,
                "nothing to reduce" if reducible == ZERO and quantity == ZERO and wanted > 0 else "under the smallest quantity",
            )
        return sign, quantity, ""

    def _affordable(self, lane: Lane, sign: int, quantity: Decimal, equity: float) -> bool:
        after = lane.quantity + sign * float(quantity)
        if abs(after) <= abs(lane.quantity):
            return True
        gross = sum(abs(other.value()) for other in self.lanes if other is not lane)
        with localcontext(MONEY):
            costs = float(quantity * decimal(lane.mark) * lane.multiplier) * (
                self.config.commission_rate + self.config.slippage_rate if self.config.simulator is None else 0.0
            )
        return gross + abs(after) * lane.mark * lane.unit <= self.config.leverage * (equity - max(0.0, costs)) * (1.0 + 1e-12)


def _side(sign: int) -> str:
    return "buy" if sign > 0 else "sell"


def _broker(config: BacktestConfig, lanes: Sequence[Lane]) -> tuple[Broker, ExecutionSimulator | None]:
    if config.simulator is None:
        multipliers = {lane.symbol: lane.multiplier for lane in lanes}
        fixed = FixedCosts(
            commission_rate=config.commission_rate,
            slippage_rate=config.slippage_rate,
            next_open=config.fill_at == "next_open",
            multipliers=multipliers,
        )
        return fixed, None
    simulator = copy.deepcopy(config.simulator)  # a run begins where the given one stands, and leaves it there
    return Simulated(simulator, config.spread), simulator


def run_backtest_production(
    strategy: Strategy, data: Data, config: BacktestConfig | None = None, *, open_log: OpenLog | None = None
) -> BacktestResult:
    """Run `strategy` over `data` (Bars, several, a mapping by symbol, pandas or Polars frames). Pure: see rule 5.

    BarsError: data that cannot be taken, or fewer bars than the strategy needs. DecisionError: a decision that cannot be.
    """
    config = config or BacktestConfig()
    found = gathered(data)
    name = str(getattr(strategy, "name", "") or type(strategy).__name__)
    lookback = int(getattr(strategy, "lookback", 0) or 0)
    for one in found:
        if len(one) < max(lookback, 1):
            need = max(lookback, 1)
            raise BarsError(one.symbol, 0, f"{name} needs {need} bars, {len(one)} given: {need - len(one)} missing")
    lanes = [Lane(b, config.products.get(b.symbol) or Product(symbol=b.symbol), lookback, config.max_recent_marks) for b in found]
    run_id = run_identity(name, strategy, found, config)
    broker, simulator = _broker(config, lanes)
    run = _Run(strategy, lanes, config, broker, run_id)
    texts: dict[str, LaneText] = {}
    described = {"strategy": parameters(strategy), **config.to_dict()}
    for lane in lanes:
        if open_log is not None and config.enable_decision_logging:
            head = head_text(run_id=run_id, strategy_name=name, symbol=lane.symbol, start_time=rfc3339(lane.stamps[0]), config=described)
            lane.sink = open_log(run_id=run_id, symbol=lane.symbol, head=head)
            texts[lane.symbol] = LaneText(lane, config.logged_marks)
    try:
        for lane, start, stop in run.steps():
            for at in range(start, stop, BATCH):
                run.walk(lane, at, min(at + BATCH, stop))
                if lane.symbol in texts and len(lane.track.decisions) - texts[lane.symbol].made >= BATCH // 2:
                    texts[lane.symbol].flush(lane)
    finally:
        for lane in lanes:  # a strategy that fails leaves a readable log of what it decided so far
            if lane.symbol in texts:
                texts[lane.symbol].flush(lane)
    run.account.check()
    result = build_result(
        run_id=run_id, strategy_name=name, config=described, tracks=[lane.track for lane in lanes], account=run.account, fills=run.fills,
        fundings=run.fundings, rejected=run.rejected, slippage_cost=run.slippage_cost, days_per_year=config.days_per_year,
        positions={lane.symbol: (lane.quantity, lane.mark, lane.unit) for lane in lanes}, interval_ns=max(b.interval_ns for b in found),
        execution=simulator.get_execution_statistics() if simulator is not None else None,
    )  # fmt: skip
    for lane in lanes:
        if lane.sink is not None:
            lane.sink.close(result.metrics_dict())
    return result
