"""What freqtrade's orders say, as fields of native records: the same that parityd reads of freqtrade's database.

1. freqtrade knows no single fills: an order is one fill, when it is done, named by its id and the quantity that it reached.
2. `decision_ts` is the order's time, floored to the timeframe: the candle that the backtest speaks of.
3. The rate that was asked for is the arrival price: of the first entry, and of the exit that closed the trade.
4. Times are cut to milliseconds, numbers to fifteen digits, as the database and the REST interface agree on them.
"""

import re
from datetime import UTC, datetime
from typing import Any, Literal

from parityd.engine.native import Fill, Order

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIMEFRAME = re.compile(r"(\d{1,4})([mhdw])")
_ENDS: dict[str, Literal["filled", "cancelled", "expired", "rejected"]] = {
    "closed": "filled",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
}


def candle(moment: datetime, timeframe: Any) -> datetime:
    """The open of the candle that is forming; the moment itself where no timeframe is known."""
    if isinstance(timeframe, int):
        seconds = timeframe * 60
    else:
        found = _TIMEFRAME.fullmatch(timeframe or "")
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    moment = _aware(moment)
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC) if seconds else _millis(moment)


def submitted(order: Any, trade: Any) -> Order:
    return {
        "symbol": trade.pair,
        "order_id": order.order_id,
        "status": "submitted",
        "ts": _millis(_aware(order.order_date)),
        "side": _side(order, trade),
        "quantity": order.amount or order.ft_amount,
        "limit_price": order.price or None,
    }


def ended(order: Any, trade: Any) -> Order | None:
    status = _ENDS.get(order.status or "")
    if status is None:
        return None
    return {"symbol": trade.pair, "order_id": order.order_id, "status": status, "ts": _ended_at(order), "side": _side(order, trade)}


def filled(order: Any, trade: Any) -> Fill | None:
    """None where nothing of it was filled."""
    quantity = _tidy(order.filled)
    if not quantity:
        return None
    price = _tidy(order.average or order.price or order.ft_price)
    fill: Fill = {
        "symbol": trade.pair,
        "fill_id": f"{order.order_id}#{quantity:.12g}",
        "side": _side(order, trade),
        "quantity": quantity,
        "price": price,
        "ts": _ended_at(order),
        "order_id": order.order_id,
        "decision_ts": candle(order.order_date, trade.timeframe) if trade.timeframe else None,
        "currency": _quote(trade.pair),
        "venue": trade.exchange or None,
        "arrival_mark": _asked(order, trade),
        "order_type": (order.order_type or "").lower() or None,
    }
    fee, currency = _fee(order, trade, price * quantity)
    if fee is not None:
        fill["fee"], fill["fee_currency"] = fee, currency
    return fill


def _side(order: Any, trade: Any) -> Any:
    """`stoploss` is an exit."""
    way = (order.side or order.ft_order_side or "").lower()
    return way if way in ("buy", "sell") else "buy" if trade.is_short else "sell"


def _is_entry(order: Any, trade: Any) -> bool:
    return bool(_side(order, trade) == ("sell" if trade.is_short else "buy"))


def _asked(order: Any, trade: Any) -> float | None:
    done = [one for one in trade.orders if (one.filled or 0) > 0 and _is_entry(one, trade) == _is_entry(order, trade)]
    if _is_entry(order, trade):
        first = not done or done[0].order_id == order.order_id
        return _tidy(trade.open_rate_requested) or None if first else None
    last = not trade.is_open and (not done or done[-1].order_id == order.order_id)
    return _tidy(trade.close_rate_requested) or None if last else None


def _fee(order: Any, trade: Any, notional: float) -> tuple[float | None, str]:
    if (order.ft_fee_base or 0) > 0:
        return _tidy(order.ft_fee_base), trade.pair.partition("/")[0]
    ratio = trade.fee_open if _is_entry(order, trade) else trade.fee_close
    return (None if ratio is None else _tidy(ratio * notional)), _quote(trade.pair)


def _quote(pair: str) -> str:
    """The quote currency of `BASE/QUOTE` or `BASE/QUOTE:SETTLE`."""
    return pair.partition("/")[2].partition(":")[0]


def _ended_at(order: Any) -> datetime:
    return _millis(_aware(order.order_filled_date or order.order_date))


def _aware(moment: datetime) -> datetime:
    """Times of freqtrade are UTC without saying so."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _millis(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _tidy(number: float | None) -> float:
    return float(f"{number:.15g}") if number else 0.0
