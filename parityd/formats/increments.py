"""Sources that tell only how much of an order is filled by now -> fills: differences of the cumulative quantity, named `order_id#cum`.

1. A fill's id names the quantity it reaches, so the same state of an order told twice is the same fill. An order is known by its venue, symbol and
   id: venues count orders from one in every market.
2. Where the caller keeps what was told before (`Context.told`), each difference is told at once.
3. Where nothing is known of earlier files (a file is read alone), an order's fills are told when the order is done: then all of them that the file
   shows, the first counting from zero. An order still open at the end of the file gives no fill yet: else the next file would count it twice.
4. A cumulative quantity that falls, or that does not grow, tells nothing: what was told stands until it grows beyond that.
5. An order that was told by its single trades is told so from then on; what it fills beyond them, where a state lists none, is a difference.
"""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field

import msgspec

from parityd.core.records import NAN, Fill
from parityd.formats.fields import Unfit

_SLACK = 1e-12


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an order is filled: quantity, what it cost (price x quantity), fees in one currency."""

    quantity: float = 0.0
    value: float = 0.0
    fee: float = 0.0


Told = MutableMapping[str, tuple[float, float, float]]


BY_TRADES = "trades\x1f"
"""Before the key of an order that its single trades told."""


def key_of(venue: str, symbol: str, order: str) -> str:
    """What is kept of an order is kept under this; its id stands behind the last separator."""
    return f"{venue}\x1f{symbol}\x1f{order}"


def digits(quantity: float) -> str:
    """The shortest text of a quantity, without an exponent where that is readable."""
    text = repr(float(quantity))
    return text.removesuffix(".0")


@dataclass(slots=True)
class Increments:
    """Orders of one file. `told` is the caller's memory, by order."""

    told: Told | None = None
    held: dict[str, list[Fill]] = field(default_factory=dict)
    reached: dict[str, Reached] = field(default_factory=dict)

    def at(self, template: Fill, now: Reached, *, done: bool, priced: bool = True) -> Iterator[Fill]:
        """An order's state as told now. `template` carries everything but id, quantity, price and fee."""
        order, key = str(template.order_id), key_of(str(template.venue), template.symbol, str(template.order_id))
        before = self._before(key)
        if now.quantity > before.quantity * (1 + _SLACK):
            if not priced:
                raise Unfit("missing_field", "the average price of what was filled is missing")
            quantity = now.quantity - before.quantity
            price = (now.value - before.value) / quantity
            fee = now.fee - before.fee if template.fee_currency or now.fee else NAN
            made = _with(template, f"{order}#{digits(now.quantity)}", quantity, price, fee)
            self._after(key, now)
            if self._before(BY_TRADES + key).quantity > 0:
                self._after(BY_TRADES + key, Reached())
            if self.told is not None:
                yield made
                return
            self.held.setdefault(key, []).append(made)
        if done:
            yield from self.held.pop(key, [])

    def singly(self, venue: str, symbol: str, order: str) -> bool:
        """Whether an order whose single trades are at hand is to be told by them: not where differences told some of them already."""
        key = key_of(venue, symbol, order)
        return self._before(key).quantity <= 0 or self._before(BY_TRADES + key).quantity > 0

    def told_singly(self, venue: str, symbol: str, order: str, now: Reached) -> None:
        """The single trades, `now` in all, were told."""
        key = key_of(venue, symbol, order)
        if now.quantity > self._before(key).quantity:
            self._after(key, now)
            self._after(BY_TRADES + key, now)

    def _before(self, key: str) -> Reached:
        if self.told is not None:
            return Reached(*self.told.get(key, (0.0, 0.0, 0.0)))
        return self.reached.get(key, Reached())

    def _after(self, key: str, now: Reached) -> None:
        if self.told is not None:
            self.told[key] = (now.quantity, now.value, now.fee)
        else:
            self.reached[key] = now


def _with(template: Fill, fill_id: str, quantity: float, price: float, fee: float) -> Fill:
    return msgspec.structs.replace(template, fill_id=fill_id, quantity=quantity, price=price, fee=fee)


def charged(fill: Fill, fees: dict[str, float]) -> Iterator[Fill]:
    """A fill with its fees. Fees in several currencies: as many fills of equal shares, each with one fee, since a fill has room for one."""
    if len(fees) <= 1:
        for currency, amount in fees.items():
            fill = msgspec.structs.replace(fill, fee=amount, fee_currency=currency)
        yield fill
        return
    for currency, amount in sorted(fees.items()):
        share = fill.quantity / len(fees)
        yield msgspec.structs.replace(fill, fill_id=f"{fill.fill_id}#{currency}", quantity=share, fee=amount, fee_currency=currency)
