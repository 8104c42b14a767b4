"""Which orders of a NautilusTrader node pass: between the strategies and the risk engine.

1. Commands for the risk engine are looked at on their way (its endpoint of the message bus is taken over): each order is asked of its strategy's Gate.
2. What reduces the strategy's position in the instrument is an exit and always whole. The rest of an order is an entry: scaled, rounded
   down to the instrument's size, denied where nothing is left. A reversing order keeps its exit; children follow their parent's size.
3. A modification may not enlarge an entry while sizes are not whole.
4. A stop cancels the strategy's working entries, and cuts an order that would reverse down to what closes. Protective orders stay.
5. Trading state: ACTIVE while any strategy may trade; else REDUCING; HALTED once all are at EMERGENCY_STOP and no position is open, because
   HALTED denies exits too. It is set when it changes, and left alone otherwise.
It knows the engine's view of positions and orders, not the venue's.
"""

from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module
from typing import Any

from parityd.engine.gate import Gate, Verdict

ENDPOINT = "RiskEngine.execute"
_ACK = "ExecEngine.process"


class Guard:
    def __init__(self, kernel: Any, log: Any, actions: str, *, names: dict[str, str], scale: bool, remote: bool) -> None:
        self._kernel, self._log, self._scale = kernel, log, scale
        self._cache, self._bus, self._risk = kernel.cache, kernel.msgbus, kernel.risk_engine
        self._actions, self._names, self._remote = actions, names, remote
        self._gates: dict[str, Gate] = {}
        self._state = ""
        self._passed: Any = kernel.risk_engine.execute
        self._events, self._uuid = import_module("nautilus_trader.model.events"), import_module("nautilus_trader.core.uuid").UUID4
        self._states = import_module("nautilus_trader.model.enums").TradingState
        self._bus.deregister(endpoint=ENDPOINT, handler=self._passed)
        self._bus.register(endpoint=ENDPOINT, handler=self.command)

    def verdict(self, strategy: Any) -> Verdict:
        name = str(strategy)
        if name not in self._gates:
            self._gates[name] = Gate(self._actions, self._names.get(name, name), remote=self._remote)
        return self._gates[name].read()

    def command(self, command: Any) -> None:
        """A command for the risk engine: passed on, with its orders cut, or answered with a denial."""
        kind = type(command).__name__
        if kind == "SubmitOrder":
            if not self._submitted([command.order], command.position_id):
                return
        elif kind == "SubmitOrderList":
            if not self._submitted(list(command.order_list.orders), command.position_id):
                return
        elif kind == "ModifyOrder" and not self._modified(command):
            return
        self._passed(command)

    # --- new orders

    def _submitted(self, orders: list[Any], position_id: Any) -> bool:
        """Whether they may go, once they are cut. One entry denied denies the whole list."""
        verdict = self.verdict(orders[0].strategy_id)
        share = verdict.size_multiplier if self._scale or not verdict.trading_enabled else 1.0
        if share >= 1:
            return True
        sizes = {
            order.client_order_id: self._allowed(order, Decimal(repr(share)), position_id) for order in orders if not self._is_child(order)
        }
        if any(size is None for size in sizes.values()):
            for order in orders:
                self._deny(order, f"parityd: {verdict.action}: {verdict.reason}")
            return False
        for order in orders:
            size = sizes.get(order.parent_order_id if self._is_child(order) else order.client_order_id)
            if size is not None and size < order.quantity:
                self._cut(order, size)
        return True

    @staticmethod
    def _is_child(order: Any) -> bool:
        return order.parent_order_id is not None

    def _allowed(self, order: Any, share: Decimal, position_id: Any = None) -> Any:
        """The quantity that may be sent; None where there is none."""
        wanted = order.quantity.as_decimal()
        if order.is_reduce_only:
            return order.quantity
        closing = min(wanted, self._closing(order, position_id))
        if closing == wanted:
            return order.quantity
        instrument = self._cache.instrument(order.instrument_id)
        if instrument is None:
            return order.quantity  # the risk engine says so
        size = closing + (wanted - closing) * share
        step = instrument.size_increment.as_decimal()
        size = size // step * step
        return instrument.make_qty(size) if size > 0 else None

    def _closing(self, order: Any, position_id: Any = None) -> Decimal:
        """How much of the order's side the strategy's position in the instrument can take before it is flat, in the order's own unit."""
        held = self._held(order.instrument_id, order.strategy_id, position_id)
        if held == 0 or (held > 0) is order.is_buy:
            return Decimal(0)
        if not order.is_quote_quantity:
            return abs(held)
        price = order.price if order.has_price else self._last(order.instrument_id)
        return Decimal("Infinity") if price is None else abs(held) * price.as_decimal()

    def _held(self, instrument_id: Any, strategy_id: Any, position_id: Any = None) -> Decimal:
        positions = self._cache.positions_open(None, instrument_id, strategy_id)
        if position_id is not None and any(one.id == position_id for one in positions):
            positions = [one for one in positions if one.id == position_id]
        return sum((one.signed_decimal_qty() for one in positions), Decimal(0))

    def _last(self, instrument_id: Any) -> Any:
        kinds = import_module("nautilus_trader.model.enums").PriceType
        return next((p for kind in (kinds.LAST, kinds.MID) if (p := self._cache.price(instrument_id, kind)) is not None), None)

    def _deny(self, order: Any, reason: str) -> None:
        self._log.warning(f"{order.client_order_id} denied: {reason}")
        if self._cache.order(order.client_order_id) is None:
            self._cache.add_order(order, None, None)
        head = {"trader_id": order.trader_id, "strategy_id": order.strategy_id, "instrument_id": order.instrument_id}
        denied = self._events.OrderDenied(
            **head, client_order_id=order.client_order_id, reason=reason, event_id=self._uuid(), ts_init=self._kernel.clock.timestamp_ns()
        )
        self._bus.send(endpoint=_ACK, msg=denied)

    def _cut(self, order: Any, size: Any) -> None:
        self._log.info(f"{order.client_order_id} cut from {order.quantity} to {size}")
        now = self._kernel.clock.timestamp_ns()
        price = order.price if order.has_price else None
        trigger = order.trigger_price if order.has_trigger_price else None
        event = self._events.OrderUpdated(
            order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id, None, None, size, price, trigger, self._uuid(), now, now
        )  # fmt: skip
        self._bus.send(endpoint=_ACK, msg=event)

    # --- working orders

    def _modified(self, command: Any) -> bool:
        order = self._cache.order(command.client_order_id)
        if order is None or command.quantity is None or command.quantity <= order.quantity or order.is_reduce_only:
            return True
        verdict = self.verdict(command.strategy_id)
        share = verdict.size_multiplier if self._scale or not verdict.trading_enabled else 1.0
        if share >= 1 or command.quantity.as_decimal() - order.filled_qty.as_decimal() <= self._closing(order):
            return True
        now, reason = self._kernel.clock.timestamp_ns(), f"parityd: {verdict.action}: {verdict.reason}"
        self._log.warning(f"{order.client_order_id} not enlarged: {reason}")
        event = self._events.OrderModifyRejected(
            order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id, order.venue_order_id, order.account_id, reason,
            self._uuid(), now, now,
        )  # fmt: skip
        self._bus.send(endpoint=_ACK, msg=event)
        return False

    def _entries(self, strategy: Any) -> Iterator[tuple[Any, Decimal]]:
        """Working orders of a strategy that would add exposure, with what of each would close."""
        orders = [*self._cache.orders_open(strategy_id=strategy), *self._cache.orders_inflight(strategy_id=strategy)]
        for order in [*orders, *self._cache.orders_emulated(strategy_id=strategy)]:
            closing = self._closing(order)
            if not order.is_reduce_only and not self._is_child(order) and order.leaves_qty.as_decimal() > closing:
                yield order, closing

    def in_line(self, strategy: Any) -> bool:
        """Whether no order is working that the verdict forbids."""
        return self.verdict(strategy).trading_enabled or not any(True for _ in self._entries(strategy))

    def bring_in_line(self) -> None:
        """Cancel what a stop forbids, and set the trading state."""
        strategies = self._kernel.trader.strategies()
        verdicts = {str(one.id): self.verdict(one.id) for one in strategies}
        for one in strategies:
            if not verdicts[str(one.id)].trading_enabled:
                self._withdraw(one)
        state = "ACTIVE"
        if verdicts and not any(verdict.trading_enabled for verdict in verdicts.values()):
            emergency = all(verdict.action == "EMERGENCY_STOP" for verdict in verdicts.values())
            state = "HALTED" if emergency and not self._cache.positions_open() else "REDUCING"
        if state != (self._state or "ACTIVE"):
            self._risk.set_trading_state(self._states[state])
        self._state = state

    def _withdraw(self, strategy: Any) -> None:
        for order, closing in list(self._entries(strategy.id)):
            if order.is_pending_cancel or order.is_pending_update:
                continue
            instrument = self._cache.instrument(order.instrument_id)
            if closing > 0 and instrument is not None and closing.is_finite() and not order.is_emulated:
                strategy.modify_order(order, quantity=instrument.make_qty(order.filled_qty.as_decimal() + closing))
            else:
                strategy.cancel_order(order)
