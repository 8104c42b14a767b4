"""freqtrade: backtest results, and trades as its database and its REST interface tell them.

1. A result is a run of its strategy: each filled order is a decision at the open of its candle, with the simulated price. `created` is the end
   of the backtest's own run; the last candle is a watermark.
2. A live order is one fill when it is done: freqtrade knows no ids of single fills. Its `decision_ts` is its time, floored to the timeframe: the
   candle that the backtest speaks of. Its times are cut to milliseconds, so database and REST tell the same fill.
3. The rate that was asked for (`open_rate_requested` of the first entry, `close_rate_requested` of the last exit) is the arrival price.
4. Fees are ratios per trade and charged in quote currency, but for one taken from the base currency itself (`ft_fee_base`).
5. Ids of trades are the database's own and join nothing: no `trade_id`. Funding is told once a trade is closed.
6. Nothing is ever unpickled; the other members of a result's zip hold no records.

Tried with exports of freqtrade 2026.9 and with results of 2022 (no orders in trades). Unknown fields are passed over.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.records import BACKTEST, NAN, Decision, Fill, Funding, Heartbeat, Native, Order, Refusal, Run
from parityd.formats.documents import document, raw_text, sliced, value
from parityd.formats.fields import Unfit, flag, given, instant, need, need_number, number, side, text
from parityd.formats.port import Context, Part, Sample, Unreadable, strategy_of
from parityd.formats.rows import converted, finished

Row = Mapping[str, Any]
MILLI = 1_000_000
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIMEFRAME = re.compile(r"(\d{1,4})([mhdw])\Z")
_COMPANION = re.compile(r"(^|/)backtest-result[^/]*\Z|\.(py|feather|pkl)\Z|\.meta\.json\Z")
_TRADE = frozenset({"pair", "open_rate", "stake_amount", "amount", "is_open", "orders"})


def is_result(sample: Sample) -> bool:
    return sample.shape == "document" and sample.keys >= {"strategy", "strategy_comparison"}


def is_meta(sample: Sample) -> bool:
    found = [v for v in sample.row.values() if isinstance(v, Mapping)]
    return sample.shape == "document" and bool(found) and len(found) == len(sample.row) and all("backtest_start_time" in v for v in found)


def is_companion(name: str) -> bool:
    return _COMPANION.search(name) is not None


def is_trades(sample: Sample) -> bool:
    return sample.keys >= _TRADE or (sample.shape == "document" and sample.keys >= {"trades", "trades_count", "total_trades"})


def quote_of(pair: str) -> str:
    """The quote currency of `BASE/QUOTE` or `BASE/QUOTE:SETTLE`."""
    return pair.partition("/")[2].partition(":")[0]


def seconds_of(timeframe: Any) -> int:
    """`15m`, or a number of minutes, in seconds; 0 where it is not known."""
    if isinstance(timeframe, int) and not isinstance(timeframe, bool):
        return max(0, timeframe) * 60
    found = _TIMEFRAME.match(timeframe) if isinstance(timeframe, str) else None
    return int(found[1]) * _UNITS[found[2]] if found else 0


def _ms(ns: int) -> int:
    return ns // MILLI * MILLI


# --- backtest results ---------------------------------------------------------------------------------------------------------------------


class _Result(msgspec.Struct, gc=False):
    """What is read of `strategy.<name>` of a result."""

    trades: list[msgspec.Raw] = []
    timeframe: str | int | None = None
    backtest_start_ts: float | str | None = None
    backtest_end_ts: float | str | None = None
    backtest_run_start_ts: float | str | None = None
    backtest_run_end_ts: float | str | None = None


def _span(result: _Result) -> tuple[int, int, int]:
    """(start, end, created) in ns; the end is that of the last candle."""
    try:
        start = instant("backtest_start_ts", result.backtest_start_ts)
        end = instant("backtest_end_ts", result.backtest_end_ts)
        created = instant("backtest_run_end_ts", result.backtest_run_end_ts)
    except Unfit as e:
        raise Unreadable("unreadable_file", f"freqtrade result: {e.reason}") from None
    return start, end + max(1, seconds_of(result.timeframe)) * 10**9, max(created, end)


def read_result(part: Part, context: Context) -> Iterator[Block]:
    top = document(part, context).members or {}
    try:
        strategies = msgspec.json.decode(top.get("strategy", b"{}"), type=dict[str, _Result])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as e:
        raise Unreadable("unreadable_file", f"freqtrade result: {e}") from None
    spans = {name: _span(result) for name, result in strategies.items()}
    line = part.first
    for name, result in strategies.items():
        start, end, created = spans[name]
        run_id = f"{name}@{rfc3339(created)}"
        if context.book == BACKTEST:
            made = rfc3339(created)
            run = Run(ts=made, strategy=name, run_id=run_id, created=made, from_=rfc3339(start), to=rfc3339(end))
            yield block(context.book, [(line, run)], context.bounds)
        for first, some in sliced(result.trades, line):
            yield _decisions(first, some, name, run_id, context)
        line += len(result.trades)
        if context.book == BACKTEST:
            yield block(context.book, [(max(part.first, line - 1), Heartbeat(ts=rfc3339(end), strategy=name))], context.bounds)


def _decisions(first: int, some: list[msgspec.Raw], strategy: str, run_id: str, context: Context) -> Block:
    records: list[tuple[int, Native]] = []
    refusals: list[Refusal] = []
    for k, raw in enumerate(some):
        found, code, reason = value(raw, context.limits.nesting)
        try:
            if not code and isinstance(found, Mapping):
                records.extend([(first + k, r) for r in _simulated(found, strategy, run_id)])
                continue
            code, reason = code or "bad_value", reason or "a trade is an object"
        except Unfit as e:
            code, reason = e.code, e.reason
        refusals.append(Refusal(line=first + k, code=code, reason=reason))
    return finished(block(context.book, records, context.bounds), refusals, lambda line: raw_text(some[line - first]))


def _simulated(trade: Row, strategy: str, run_id: str) -> list[Native]:
    """One trade of a result: its filled orders as decisions, its funding."""
    pair = need(trade, "pair")
    opened = instant("open_timestamp", trade.get("open_timestamp") or trade.get("open_date"))
    orders = trade.get("orders") or _from_trade(trade, opened)
    made: list[Native] = []
    for k, order in enumerate(orders):
        if not isinstance(order, Mapping):
            raise Unfit("bad_value", "an order is an object")
        when = order.get("order_filled_timestamp")
        if when is None:
            continue
        price, quantity = need_number(order, "safe_price"), need_number(order, "amount")
        entry = flag(order, "ft_is_entry")
        ratio = number(trade, "fee_open" if entry else "fee_close")
        made.append(
            Decision(
                ts=rfc3339(instant("order_filled_timestamp", when, unit=MILLI)),
                strategy=strategy,
                symbol=pair,
                action=side(order, "ft_order_side"),
                quantity=quantity,
                price=price,
                fee=ratio * price * quantity if given(ratio) else NAN,
                filled=True,
                currency=quote_of(pair),
                reason=text(order, "ft_order_tag"),
                trade_id=f"{pair}@{opened // MILLI}#{k}",
                run_id=run_id,
            )
        )
    return [*made, *_funding(trade, strategy, pair, f"{pair}@{opened // MILLI}")]


def _from_trade(trade: Row, opened: int) -> list[dict[str, Any]]:
    """Results of before 2023 tell no orders: one entry, one exit."""
    short = flag(trade, "is_short") is True
    amount = need_number(trade, "amount")
    ways = ("sell", "buy") if short else ("buy", "sell")
    entry = {"order_filled_timestamp": opened // MILLI, "safe_price": trade.get("open_rate"), "amount": amount, "ft_is_entry": True,
             "ft_order_side": ways[0], "ft_order_tag": trade.get("enter_tag")}  # fmt: skip
    closed = trade.get("close_timestamp") or trade.get("close_date")
    if closed is None or flag(trade, "is_open"):
        return [entry]
    leave = {"order_filled_timestamp": instant("close_timestamp", closed) // MILLI, "safe_price": trade.get("close_rate"), "amount": amount,
             "ft_is_entry": False, "ft_order_side": ways[1], "ft_order_tag": trade.get("exit_reason")}  # fmt: skip
    return [entry, leave]


def _funding(trade: Row, strategy: str, pair: str, name: str) -> list[Native]:
    """Funding received is positive there and negative here; it is told with the close of its trade."""
    amount = number(trade, "funding_fees")
    closed = trade.get("close_timestamp") or trade.get("close_date")
    if not amount or not given(amount) or closed is None or flag(trade, "is_open"):
        return []
    ts = rfc3339(_ms(instant("close_timestamp", closed)))
    return [Funding(ts=ts, strategy=strategy, symbol=pair, amount=-amount, currency=quote_of(pair), funding_id=name)]


# --- trades as the database or the REST interface tells them --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owner:
    """What an order needs of its trade."""

    strategy: str
    trade: Row
    timeframe: int


def owner_of(trade: Row, context: Context) -> Owner:
    strategy = text(trade, "strategy") or context.strategy
    if not strategy:
        raise Unfit("missing_field", "the trade names no strategy: set [sources.<name>] strategy")
    said = context.source.timeframe if context.source else None
    return Owner(strategy, trade, seconds_of(trade.get("timeframe")) or seconds_of(said))


def live_order(order: Row, owner: Owner, *, last_exit: bool, first_entry: bool) -> Iterator[Native]:
    """An order of a trade, as REST (`ft_is_entry`, timestamps) or the database (texts) tells it: its submission, its end, and its fill."""
    trade = owner.trade
    pair, order_id = need(trade, "pair"), need(order, "order_id")
    way = text(order, "side").lower() or text(order, "ft_order_side").lower()
    entry = way == ("sell" if flag(trade, "is_short") else "buy")
    way = way if way in ("buy", "sell") else "buy" if flag(trade, "is_short") else "sell"  # "stoploss" is an exit
    began = _ms(instant("order_date", order.get("order_timestamp") or order.get("order_date")))
    quantity = number(order, "amount")
    place: dict[str, Any] = {"strategy": owner.strategy, "symbol": pair, "order_id": order_id, "side": way}
    yield Order(ts=rfc3339(began), **place, status="submitted", quantity=quantity, limit_price=number(order, "price"))
    status = text(order, "status").lower()
    if flag(order, "is_open" if "is_open" in order else "ft_is_open") or status in ("open", "new"):
        return
    ended = order.get("order_filled_timestamp") or order.get("order_filled_date")
    ts = rfc3339(_ms(instant("order_filled_date", ended)) if ended is not None else began)
    if status in ("closed", "canceled", "cancelled", "expired", "rejected"):
        yield Order(ts=ts, **place, status={"closed": "filled", "canceled": "cancelled"}.get(status, status))  # type: ignore[arg-type]
    filled = tidy(number(order, "filled"))
    if not filled > 0:
        return
    price = number(order, "average")
    price = tidy(price if price > 0 else need_number(order, "price"))
    yield Fill(
        ts=ts, **place, fill_id=f"{order_id}#{filled:.12g}", quantity=filled, price=price, venue=text(trade, "exchange"), currency=quote_of(pair),
        decision_ts=rfc3339(began - began % (owner.timeframe * 10**9)) if owner.timeframe else None,
        arrival_mark=_asked(trade, "open_rate_requested") if first_entry else _asked(trade, "close_rate_requested") if last_exit else NAN,
        order_type=text(order, "order_type").lower(), **_fee(order, trade, entry, price * filled, pair),
    )  # fmt: skip


def _asked(trade: Row, name: str) -> float:
    rate = number(trade, name)
    return tidy(rate) if rate > 0 else NAN


def tidy(number: float) -> float:
    """Fifteen digits: what the database and the REST interface agree on."""
    return float(f"{number:.15g}") if given(number) else number


def _fee(order: Row, trade: Row, entry: bool, notional: float, pair: str) -> dict[str, Any]:
    taken = number(order, "ft_fee_base")
    if taken > 0:
        return {"fee": tidy(taken), "fee_currency": pair.partition("/")[0]}
    ratio = number(trade, "fee_open" if entry else "fee_close")
    return {"fee": tidy(ratio * notional), "fee_currency": quote_of(pair)} if given(ratio) else {}


def orders_of(trade: Row, orders: list[Any], owner: Owner) -> Iterator[Native]:
    """All orders of a trade, in order; which is the first entry and the last exit is known only here."""
    way = "sell" if flag(trade, "is_short") else "buy"
    filled = [o for o in orders if isinstance(o, Mapping) and number(o, "filled") > 0]
    entries = [o for o in filled if text(o, "ft_order_side").lower() == way]
    exits = [o for o in filled if text(o, "ft_order_side").lower() != way]
    for order in orders:
        if not isinstance(order, Mapping):
            raise Unfit("bad_value", "an order is an object")
        closes = bool(exits) and order is exits[-1] and not flag(trade, "is_open")
        yield from live_order(order, owner, first_entry=bool(entries) and order is entries[0], last_exit=closes)
    opened = instant("open_date", trade.get("open_timestamp") or trade.get("open_date")) // MILLI
    yield from _funding(trade, owner.strategy, need(trade, "pair"), f"{need(trade, 'pair')}@{opened}")


def read_trades(part: Part, context: Context) -> Iterator[Block]:
    """Trades as `/api/v1/trades`, `show-trades --print-json` or `Trade.to_json` write them."""
    seen = False

    def take(trade: Row) -> list[Native]:
        nonlocal seen
        if not seen and not text(trade, "strategy"):
            strategy_of(context)  # says which key is missing, before anything is taken
        seen = True
        orders = trade.get("orders")
        return list(orders_of(trade, orders if isinstance(orders, list) else [], owner_of(trade, context)))

    return converted(part, context, take, inside="trades")
