"""Whether a strategy's decision can be carried out: what is wrong is a DecisionError that names the field.

1. A hold asks for nothing and is not looked at; of anything else the order type, its prices and its size must make sense.
"""

from parityd.core.decision_document import Decision


class DecisionError(ValueError):
    """A decision that cannot be: the field, and where it was made."""


def complete(decision: Decision, symbol: str) -> None:
    """An order type that can be, with the prices it needs."""
    kind = decision.order_type
    needed = {"market": (), "limit": ("limit_price",), "stop": ("stop_price",), "trailing_stop": ("trail_bps",)}.get(kind)
    if needed is None:
        raise DecisionError(f"order_type: {kind!r} is none of market, limit, stop, trailing_stop ({symbol})")
    if kind == "market" and decision.limit_price is not None:
        raise DecisionError(f"limit_price: a market order has none ({symbol})")
    for name in (*needed, *(("limit_price",) if decision.limit_price is not None else ())):
        value = getattr(decision, name)
        if value is None or not 0.0 < value < float("inf"):
            raise DecisionError(f"{name}: a {kind} order needs one above zero, not {value!r} ({symbol})")


def size_of(name: str, value: float) -> float:
    if not 0.0 <= value < float("inf"):
        raise DecisionError(f"{name}: {value!r} is not a size")
    return float(value)
