"""The account of a backtest: cash, positions, round trips; exact where it must balance.

1. Cash, quantities, fees and realised profit are decimals; every posting is exact or it raises (the context traps rounding), so
   cash = initial + realised profit - fees - funding - cost of what is held, to the last digit.
2. Average cost: a reduction realises its share of the cost; the share is rounded to 1e-12, what is rounded off stays with the rest.
3. A round trip goes from flat to flat; a fill that flips a position ends one trip and begins the next, its fee parted by quantity.
4. What is marked (equity, returns) is a float: a measure, not a balance.
"""

from decimal import ROUND_DOWN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext

import msgspec

ZERO, ONE = Decimal(0), Decimal(1)
_EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_ROUND = Context(prec=120)
_GRAIN = Decimal("1e-12")


def decimal(value: float) -> Decimal:
    """A float as the decimal that it is written as."""
    return Decimal(repr(float(value)))


def stepped(quantity: float, step: float) -> Decimal:
    """A quantity, cut down to whole steps."""
    unit = decimal(step)
    whole = (_ROUND.divide(decimal(quantity), unit)).to_integral_value(rounding=ROUND_DOWN)
    return _EXACT.multiply(whole, unit)


class RoundTrip(msgspec.Struct, frozen=True, kw_only=True):
    """A position from flat to flat. `profit` is net of `fees`; `quantity` the most that was held."""

    symbol: str
    side: str
    opened_ts: int
    closed_ts: int
    quantity: Decimal
    profit: Decimal
    fees: Decimal
    entry_price: float
    exit_price: float


class _Holding:
    __slots__ = ("bought", "cost", "fees", "gross", "most", "opened_ts", "quantity", "sold")

    def __init__(self) -> None:
        self.quantity = self.cost = self.gross = self.fees = self.most = ZERO  # cost: signed cash put into what is held
        self.bought = self.sold = (ZERO, ZERO)  # quantity and money of the trip, by side
        self.opened_ts = 0


class Account:
    """Postings in order of time (rules above). Money in quote currency."""

    def __init__(self, initial: float) -> None:
        self.initial = self.cash = decimal(initial)
        self.fees = self.funding = self.realised = ZERO
        self.trips: list[RoundTrip] = []
        self._held: dict[str, _Holding] = {}

    def quantity(self, symbol: str) -> Decimal:
        held = self._held.get(symbol)
        return held.quantity if held is not None else ZERO

    def opened_ts(self, symbol: str) -> int:
        held = self._held.get(symbol)
        return held.opened_ts if held is not None else 0

    def average_price(self, symbol: str, multiplier: float = 1.0) -> float:
        """What was paid a unit of what is held; 0 when flat."""
        held = self._held.get(symbol)
        return float(held.cost) / float(held.quantity) / multiplier if held is not None and held.quantity else 0.0

    @property
    def held_cost(self) -> Decimal:
        """Signed cash that stands in open positions."""
        with localcontext(_EXACT):
            return sum((h.cost for h in self._held.values()), ZERO)

    def pay(self, amount: Decimal) -> None:
        """Funding or borrow cost; negative = received."""
        with localcontext(_EXACT):
            self.cash -= amount
            self.funding += amount

    def post(self, symbol: str, *, sign: int, quantity: Decimal, price: Decimal, fee: Decimal, ts: int, multiplier: Decimal = ONE) -> None:
        """One fill. ValueError: quantity or price not above zero."""
        if quantity <= 0 or price <= 0:
            raise ValueError(f"fill of {quantity} at {price}")
        with localcontext(_EXACT):
            held = self._held.setdefault(symbol, _Holding())
            closing = min(quantity, abs(held.quantity)) if held.quantity * sign < 0 else ZERO
            opening = quantity - closing
            closing_fee = fee if not opening else ZERO if not closing else _share(fee, closing, quantity)
            if closing:
                self._book(held, sign, closing, price * multiplier, closing_fee)
                self._reduce(held, sign, closing, price * multiplier)
                if not held.quantity:
                    self._end(symbol, held, sign, ts, multiplier)
                    held = self._held[symbol]
            if opening:
                self._book(held, sign, opening, price * multiplier, fee - closing_fee)
                self._add(held, sign, opening, price * multiplier, ts)

    def _book(self, held: _Holding, sign: int, quantity: Decimal, unit: Decimal, fee: Decimal) -> None:
        money = quantity * unit
        self.cash -= money * sign + fee
        self.fees += fee
        held.fees += fee
        if sign > 0:
            held.bought = (held.bought[0] + quantity, held.bought[1] + money)
        else:
            held.sold = (held.sold[0] + quantity, held.sold[1] + money)

    def _add(self, held: _Holding, sign: int, quantity: Decimal, unit: Decimal, ts: int) -> None:
        held.opened_ts = held.opened_ts or ts
        held.quantity += quantity * sign
        held.cost += quantity * unit * sign
        held.most = max(held.most, abs(held.quantity))

    def _reduce(self, held: _Holding, sign: int, quantity: Decimal, unit: Decimal) -> None:
        share = held.cost if quantity == abs(held.quantity) else _share(held.cost, quantity, abs(held.quantity))
        profit = -quantity * unit * sign - share
        held.gross += profit
        self.realised += profit
        held.cost -= share
        held.quantity += quantity * sign

    def _end(self, symbol: str, held: _Holding, sign: int, ts: int, multiplier: Decimal) -> None:
        entry, out = (held.bought, held.sold) if sign < 0 else (held.sold, held.bought)
        self.trips.append(
            RoundTrip(
                symbol=symbol, side="long" if sign < 0 else "short", opened_ts=held.opened_ts, closed_ts=ts, quantity=held.most,
                profit=held.gross - held.fees, fees=held.fees,
                entry_price=float(entry[1]) / float(entry[0]) / float(multiplier), exit_price=float(out[1]) / float(out[0]) / float(multiplier),
            )
        )  # fmt: skip
        self._held[symbol] = _Holding()

    def check(self) -> None:
        """AssertionError where the account does not balance (rule 1): never, or this module is wrong."""
        with localcontext(_EXACT):
            want = self.initial + self.realised - self.fees - self.funding - self.held_cost
            if want != self.cash:
                raise AssertionError(f"cash {self.cash} is not {want}")


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Amount x part / whole, rounded to the grain; the caller keeps the rest."""
    return _ROUND.quantize(_ROUND.divide(_ROUND.multiply(amount, part), whole), _GRAIN)
