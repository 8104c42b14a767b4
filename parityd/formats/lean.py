"""LEAN (QuantConnect): order events, and orders as results and the REST interface hold them; camelCase, PascalCase and the old dash-case.

1. Every non-zero `fillQuantity` is a fill, whatever the event's status; its sign is the side. Its id is the event's own: the two books never share one.
2. Orders know what the events do not: `orderSubmissionData` is the arrival touch, or its last price the arrival price where there is no touch.
   Where an order carries its events (or the result does), these are its fills; else an order that is filled is one fill of its whole quantity at
   its price.
3. The symbol is the ticker (`symbolValue`), not the security id. Times are UTC.
4. No strategy is named (the algorithm's id changes with each deployment): `[sources.<name>] strategy`.
5. A backtest's result whose prices are adjusted for splits says so with its run, where it tells when it was made.

Tried with the order fixtures and a result of the LEAN repository (2021 to 2025). Unknown fields are passed over.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.records import BACKTEST, NAN, Fill, Native, Order, Refusal, Run
from parityd.formats.documents import document, raw_text, sliced, value
from parityd.formats.fields import Unfit, amount, given, instant, need, need_instant, need_number, text
from parityd.formats.increments import digits
from parityd.formats.port import Context, Part, Sample, strategy_of
from parityd.formats.rows import converted, finished

Row = Mapping[str, Any]
_EVENT = frozenset({"orderid", "ordereventid", "algorithmid", "fillquantity", "fillprice", "status"})
_ORDER = frozenset({"id", "symbol", "quantity", "status", "createdtime", "direction", "type"})
_STATES = {"submitted": "submitted", "filled": "filled", "canceled": "cancelled", "invalid": "rejected"}
_BY_NUMBER = {1: "submitted", 2: "partiallyfilled", 3: "filled", 5: "canceled", 7: "invalid"}
_TYPES = {0: "market", 1: "limit", 2: "stop_market", 3: "stop_limit", 4: "market_on_open", 5: "market_on_close"}


def plain(row: Any) -> Any:
    """Names in lower case without dashes, all the way down: the three spellings are one."""
    if isinstance(row, Mapping):
        return {str(k).replace("-", "").replace("_", "").lower(): plain(v) for k, v in row.items()}
    return [plain(v) for v in row] if isinstance(row, list) else row


def is_events(sample: Sample) -> bool:
    return frozenset(plain(dict.fromkeys(sample.keys))) >= _EVENT


def is_orders(sample: Sample) -> bool:
    return frozenset(plain(dict.fromkeys(sample.keys))) >= _ORDER


def is_result(sample: Sample) -> bool:
    keys = frozenset(plain(dict.fromkeys(sample.keys)))
    return sample.shape == "document" and keys >= {"orders", "charts"} and bool(keys & {"statistics", "runtimestatistics", "profitloss"})


def _status(said: Any) -> str:
    return _BY_NUMBER.get(said, "") if isinstance(said, int) else str(said or "").lower()


def event(row: Row, strategy: str, touch: Row | None = None) -> Iterator[Native]:
    """One order event. `touch` is the order's submission data, where it is known."""
    order_id = f"{need(row, 'algorithmid')}-{need(row, 'orderid')}"
    symbol = text(row, "symbolvalue") or need(row, "symbol")
    ts = rfc3339(need_instant(row, "time"))
    filled = need_number(row, "fillquantity")
    if filled:
        yield Fill(
            ts=ts, strategy=strategy, symbol=symbol, fill_id=text(row, "id") or f"{order_id}-{need(row, 'ordereventid')}", order_id=order_id,
            side="buy" if filled > 0 else "sell", quantity=abs(filled), price=need_number(row, "fillprice"), currency=text(row, "fillpricecurrency"),
            fee=amount(row, "orderfeeamount"), fee_currency=text(row, "orderfeecurrency"), **_touched(touch),
        )  # fmt: skip
    state = _STATES.get(_status(row.get("status")))
    if state is not None:
        wanted = amount(row, "quantity")
        told: dict[str, Any] = {}
        if state == "submitted" and wanted:
            told = {"side": "buy" if wanted > 0 else "sell", "quantity": abs(wanted), "limit_price": _positive(amount(row, "limitprice"))}
        yield Order(ts=ts, strategy=strategy, symbol=symbol, order_id=order_id, status=state, reason=text(row, "message"), **told)  # type: ignore[arg-type]


def _positive(number: float) -> float:
    return number if number > 0 else NAN


def _touched(touch: Row | None) -> dict[str, Any]:
    if not isinstance(touch, Mapping):
        return {}
    bid, ask, last = (_positive(amount(touch, name)) for name in ("bidprice", "askprice", "lastprice"))
    return {"arrival_bid": bid, "arrival_ask": ask} if given(bid) and given(ask) else {"arrival_mark": last}


def order(row: Row, strategy: str, events: list[Any] | None = None) -> Iterator[Native]:
    """An order, with its events where they are told."""
    listed = events or row.get("events")
    touch = row.get("ordersubmissiondata")
    if isinstance(listed, list) and listed:
        for one in listed:
            if not isinstance(one, Mapping):
                raise Unfit("bad_value", "an event is an object")
            yield from event(one, strategy, touch)
        return
    place = row.get("symbol")
    symbol = need(place, "value") if isinstance(place, Mapping) else need(row, "symbol")
    made = instant("time", row.get("createdtime") or need(row, "time"))
    wanted = need_number(row, "quantity")
    if not wanted:
        raise Unfit("bad_value", "quantity is 0")
    way = "buy" if wanted > 0 else "sell"
    name = f"{need(row, 'id')}@{rfc3339(made)}"  # ids count from 1 in every deployment
    base: dict[str, Any] = {"strategy": strategy, "symbol": symbol, "order_id": name, "side": way}
    yield Order(ts=rfc3339(made), **base, status="submitted", quantity=abs(wanted), limit_price=_positive(amount(row, "limitprice")))
    state = _status(row.get("status"))
    ended = row.get("lastfilltime") if state == "filled" else row.get("canceledtime") or row.get("lastupdatetime")
    if state in ("filled", "canceled", "invalid"):
        ts = rfc3339(instant("time", ended)) if ended else rfc3339(made)
        yield Order(ts=ts, **base, status=_STATES[state])  # type: ignore[arg-type]
        if state == "filled":
            kind = row.get("type")
            yield Fill(
                ts=ts, **base, fill_id=f"{name}#{digits(abs(wanted))}", quantity=abs(wanted), price=need_number(row, "price"),
                currency=text(row, "pricecurrency"), order_type=_TYPES.get(kind, "") if isinstance(kind, int) else "", **_touched(touch),
            )  # fmt: skip


def read_events(part: Part, context: Context) -> Iterator[Block]:
    strategy = strategy_of(context)
    return converted(part, context, lambda row: event(plain(row), strategy))


def read_orders(part: Part, context: Context) -> Iterator[Block]:
    strategy = strategy_of(context)
    return converted(part, context, lambda row: order(plain(row), strategy))


def read_result(part: Part, context: Context) -> Iterator[Block]:
    strategy = strategy_of(context)
    top = {k.lower(): v for k, v in (document(part, context).members or {}).items()}
    events = _events(top, context)
    try:
        orders = list(msgspec.json.decode(top["orders"], type=dict[str, msgspec.Raw]).values())
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        orders = []
    run = _run(top, strategy, orders, context)
    if run is not None:
        yield block(context.book, [(part.first, run)], context.bounds)
    for first, some in sliced(orders, part.first):
        records: list[tuple[int, Native]] = []
        refusals: list[Refusal] = []
        for k, raw in enumerate(some):
            found, code, reason = value(raw, context.limits.nesting)
            try:
                if not code and isinstance(found, Mapping):
                    row = plain(found)
                    records.extend([(first + k, r) for r in order(row, strategy, events.get(text(row, "id")))])
                    continue
                code, reason = code or "bad_value", reason or "an order is an object"
            except Unfit as e:
                code, reason = e.code, e.reason
            refusals.append(Refusal(line=first + k, code=code, reason=reason))
        yield finished(block(context.book, records, context.bounds), refusals, partial(_shown, first, some))


def _shown(first: int, some: list[msgspec.Raw], line: int) -> str:
    return raw_text(some[line - first])


def _events(top: Mapping[str, msgspec.Raw], context: Context) -> dict[str, list[Any]]:
    """A result's own events, by order."""
    found: dict[str, list[Any]] = {}
    listed = plain(value(top["orderevents"], context.limits.nesting)[0]) if "orderevents" in top else None
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, Mapping):
            found.setdefault(str(one.get("orderid")), []).append(one)
    return found


def _run(top: Mapping[str, msgspec.Raw], strategy: str, orders: list[msgspec.Raw], context: Context) -> Run | None:
    """The run of a backtest's result, where it says when it was made and over what span."""
    if context.book != BACKTEST:
        return None
    said = {k: plain(value(top[k], context.limits.nesting)[0]) for k in ("state", "algorithmconfiguration") if k in top}
    state, config = said.get("state"), said.get("algorithmconfiguration")
    if not isinstance(state, Mapping) or not isinstance(config, Mapping):
        return None
    try:
        created = instant("endtime", need(state, "endtime"))
        start, end = (instant(name, need(config, name)) for name in ("startdate", "enddate"))
    except Unfit:
        return None
    first = plain(value(orders[0], context.limits.nesting)[0]) if orders else None
    adjusted = isinstance(first, Mapping) and first.get("priceadjustmentmode") in (1, 2, 3)
    made = rfc3339(created)
    return Run(
        ts=made, strategy=strategy, run_id=f"{strategy}@{made}", created=made, from_=rfc3339(start), to=rfc3339(end + 1), adjusted=adjusted
    )
