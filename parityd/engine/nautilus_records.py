"""What happens in a NautilusTrader node, as native records in the spool.

1. Decisions are orders as the strategy made them, before the Gate; children and slices of other orders are nobody's decision. Several at one time,
   instrument and side are one, quantities added. A tag `trade_id=...` of an order becomes the `trade_id` of decision and fills.
2. Fills are told with the market at their order's submission, where the cache knows it. Fills that reconciliation made up are not told.
3. Positions are the node's, a zero after each close. A balance is told where one strategy trades in one account of one currency: else nobody
   can say whose money it is.
4. In `spool/live` records are written as they come, at each check of the actor; what could not be written waits for the next.
   In `spool/backtest` all is one run of each strategy, written when the backtest stops, without positions and balances.
Symbols and venues are the two halves of an instrument id, as parityd reads them of the engine's own reports.
"""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

from parityd.engine.native import native_record
from parityd.engine.spool import Spool, encode

_ENDS = {
    "OrderSubmitted": "submitted", "OrderAccepted": "accepted", "OrderRejected": "rejected", "OrderDenied": "rejected",
    "OrderCanceled": "cancelled", "OrderExpired": "expired",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG = "trade_id="
Fields = dict[str, Any]


class Teller:
    def __init__(self, kernel: Any, log: Any, spool: str, *, names: dict[str, str]) -> None:
        self._kernel, self._log, self._cache, self._names = kernel, log, kernel.cache, names
        self._spool = Spool(spool)
        self.is_run = self._spool.folder.name == "backtest"
        self._lines: deque[bytes] = deque()
        self._decided: dict[tuple[str, str, int, str], Fields] = {}
        self._touch: dict[str, Fields] = {}
        self._held: set[tuple[str, str]] = set()
        self._began = 0

    def start(self, bus: Any) -> None:
        self._began = self._kernel.clock.timestamp_ns()
        bus.subscribe(topic="events.order.*", handler=self._order)

    # --- events

    def _order(self, event: Any) -> None:
        """Any event of an order. What cannot be told is said in the log and stops nothing."""
        try:
            kind = type(event).__name__
            if kind == "OrderInitialized":
                self._decision(event)
            elif kind == "OrderFilled":
                self._fill(event)
            elif status := _ENDS.get(kind):
                self._state(event, status)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._log.error(f"parityd: {type(event).__name__} not told: {error}")

    def _decision(self, event: Any) -> None:
        order_id = str(event.client_order_id)
        self._touch[order_id] = touch = self._market(event.instrument_id)
        if event.parent_order_id is not None or event.exec_spawn_id not in (None, event.client_order_id) or event.quote_quantity:
            return
        symbol, _ = _place(event.instrument_id)
        side = _side(event.side)
        key = (str(event.strategy_id), symbol, event.ts_init, side)
        if known := self._decided.get(key):
            known["quantity"] += event.quantity.as_decimal()
            return
        mark = touch.get("arrival_mark")
        self._decided[key] = {
            "ts": _moment(event.ts_init), "symbol": symbol, "action": side, "quantity": event.quantity.as_decimal(), "mark": mark,
            "trade_id": _tagged(event.tags), **self._contract(event.instrument_id),
        }  # fmt: skip

    def _state(self, event: Any, status: str) -> None:
        order = self._cache.order(event.client_order_id)
        symbol, _ = _place(event.instrument_id)
        fields: Fields = {"symbol": symbol, "order_id": str(event.client_order_id), "status": status, "ts": _moment(event.ts_event)}
        if status == "submitted":
            self._touch[fields["order_id"]] = self._market(event.instrument_id)
            if order is not None:
                limit = order.price.as_decimal() if order.has_price else None
                fields |= {
                    "side": _side(order.side),
                    "quantity": order.quantity.as_decimal(),
                    "limit_price": limit,
                    "trade_id": _tagged(order.tags),
                }
        elif status in ("rejected", "cancelled", "expired"):
            self._touch.pop(fields["order_id"], None)
            fields["reason"] = getattr(event, "reason", None) or None
        self._put("order", event.strategy_id, fields)

    def _fill(self, event: Any) -> None:
        if event.reconciliation:
            return
        order_id, order = str(event.client_order_id), self._cache.order(event.client_order_id)
        symbol, venue = _place(event.instrument_id)
        liquidity = import_module("nautilus_trader.model.enums").liquidity_side_to_str(event.liquidity_side).lower()
        kind = import_module("nautilus_trader.model.enums").order_type_to_str(event.order_type).lower()
        spawn = None if order is None else order.exec_spawn_id
        self._put("fill", event.strategy_id, {
            "symbol": symbol, "venue": venue or None, "fill_id": str(event.trade_id), "order_id": order_id, "side": _side(event.order_side),
            "quantity": event.last_qty.as_decimal(), "price": event.last_px.as_decimal(), "ts": _moment(event.ts_event),
            "decision_ts": None if order is None else _moment(self._first(order).ts_init),
            "parent_id": None if spawn is None else str(spawn), "trade_id": None if order is None else _tagged(order.tags),
            "fee": event.commission.as_decimal(), "fee_currency": event.commission.currency.code,
            "liquidity": liquidity if liquidity in ("maker", "taker") else None, "order_type": kind,
            "reduce_only": None if order is None else bool(order.is_reduce_only), "account": str(event.account_id),
            **self._touch.get(order_id, {}), **self._contract(event.instrument_id),
        })  # fmt: skip
        if order is not None and order.is_closed:
            self._touch.pop(order_id, None)
            self._put(
                "order", event.strategy_id, {"symbol": symbol, "order_id": order_id, "status": "filled", "ts": _moment(event.ts_event)}
            )

    def _first(self, order: Any) -> Any:
        """The order that a slice was cut from."""
        spawn = order.exec_spawn_id
        return order if spawn is None else self._cache.order(spawn) or order

    def _market(self, instrument_id: Any) -> Fields:
        """The touch, or the last price, as the cache has it."""
        quote = self._cache.quote_tick(instrument_id)
        if quote is not None:
            bid, ask = quote.bid_price.as_decimal(), quote.ask_price.as_decimal()
            return {"arrival_bid": bid, "arrival_ask": ask, "arrival_mark": (bid + ask) / 2} if bid > 0 and ask > 0 else {}
        kinds = import_module("nautilus_trader.model.enums").PriceType
        price = self._cache.price(instrument_id, kinds.LAST)
        return {} if price is None or price.as_decimal() <= 0 else {"arrival_mark": price.as_decimal()}

    def _contract(self, instrument_id: Any) -> Fields:
        instrument = self._cache.instrument(instrument_id)
        if instrument is None:
            return {}
        multiplier = instrument.multiplier.as_decimal()
        return {"currency": instrument.quote_currency.code, "multiplier": None if multiplier == 1 else multiplier}

    # --- state

    def heartbeat(self, strategy: Any, acknowledged: int | None) -> None:
        connected = (
            None if self.is_run or self._kernel.environment.value == "backtest" else bool(self._kernel.exec_engine.check_connected())
        )
        self._put("heartbeat", strategy, {"ts": self._now(), "override_sequence": acknowledged, "broker_connected": connected})

    def accounts(self) -> None:
        """Positions of all strategies, and the balance where it is one strategy's."""
        held: dict[tuple[str, str], list[Any]] = {}
        for position in self._cache.positions_open():
            held.setdefault((str(position.strategy_id), str(position.instrument_id)), []).append(position)
        for strategy, instrument in self._held - held.keys():
            self._put("position", strategy, {"symbol": _place(instrument)[0], "quantity": 0, "ts": self._now()})
        for (strategy, instrument), positions in held.items():
            quantity = sum((one.signed_decimal_qty() for one in positions), Decimal(0))
            average = positions[0].avg_px_open if len(positions) == 1 else None
            fields = {
                "symbol": _place(instrument)[0],
                "quantity": quantity,
                "average_price": average,
                "account": str(positions[0].account_id),
            }
            self._put("position", strategy, {**fields, "ts": self._now()})
        self._held |= held.keys()
        self._balance()

    def _balance(self) -> None:
        strategies, accounts = self._kernel.trader.strategy_ids(), self._cache.accounts()
        if len(strategies) != 1 or len(accounts) != 1 or len(currencies := accounts[0].currencies()) != 1:
            return
        account, currency = accounts[0], currencies[0]
        cash = account.balance_total(currency)
        if cash is None:
            return
        venue = next((one.instrument_id.venue for one in self._cache.positions_open()), None)
        open_profit = Decimal(0)
        if venue is not None and account.is_margin_account:
            profits = self._kernel.portfolio.unrealized_pnls(venue)
            if set(profits) - {currency}:
                return
            open_profit = sum((money.as_decimal() for money in profits.values()), Decimal(0))
        fields = {
            "equity": cash.as_decimal() + open_profit,
            "cash": cash.as_decimal(),
            "currency": currency.code,
            "account": str(account.id),
        }
        self._put("balance", strategies[0], {**fields, "ts": self._now()})

    # --- the spool

    def _now(self) -> datetime:
        return _moment(self._kernel.clock.timestamp_ns())

    def _name(self, strategy: Any) -> str:
        return self._names.get(str(strategy), str(strategy))

    def _put(self, kind: str, strategy: Any, fields: Mapping[str, Any]) -> None:
        try:
            self._lines.append(encode(native_record(kind, self._name(strategy), fields), kind))
        except (ValueError, TypeError) as error:
            self._log.error(f"parityd: not told: {error}")

    def flush(self) -> None:
        """Write what waits; never raises, and keeps what could not be written."""
        decided, self._decided = self._decided, {}
        for (strategy, *_), fields in decided.items():
            self._put("decision", strategy, fields)
        if not self.is_run:
            self._write()

    def stop(self) -> None:
        self.flush()
        if self.is_run:
            now, began, ended = datetime.now(UTC), _moment(self._began), self._now() + timedelta(microseconds=1)
            for strategy in self._kernel.trader.strategy_ids():
                name = self._name(strategy)
                run = {"run_id": f"{name}@{now:%Y-%m-%dT%H:%M:%S.%fZ}", "created": max(now, ended), "from": began, "to": ended}
                self._lines.appendleft(encode(native_record("run", name, run), "run"))
            self._write()

    def _write(self) -> None:
        lines = list(self._lines)
        try:
            self._spool.write_lines(lines)
        except OSError as error:
            self._log.error(f"parityd: {len(lines)} records not written, and kept: {error}")
            return
        for _ in lines:
            self._lines.popleft()


def _place(instrument_id: Any) -> tuple[str, str]:
    """(symbol, venue): split at the last dot."""
    symbol, _, venue = str(instrument_id).rpartition(".")
    return symbol or venue, venue if symbol else ""


def _side(side: Any) -> str:
    return "buy" if side == 1 else "sell"


def _tagged(tags: Any) -> str | None:
    return next((tag.removeprefix(_TAG) for tag in tags or () if tag.startswith(_TAG)), None) or None


def _moment(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)
