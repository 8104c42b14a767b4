"""What trades: the object that decides live is the object that is tested.

1. A strategy sees what it is handed in `decide` and nothing else: the newest mark, its position, the marks up to and including now
   (oldest first), the equity, the product. Nothing later than now is within its reach.
2. It answers with a `Decision`. `quantity` is in units of the base; where it is absent, `target_notional` / mark is meant.
3. Optional attributes: `name`; `lookback`, the marks it needs, which is then exactly how many it gets (the first decision is made when
   there are that many). Without `lookback` it gets all so far, at most `BacktestConfig.max_recent_marks`.
"""

from collections.abc import Callable, Sequence
from math import fsum
from typing import Literal, Protocol

import msgspec

from parityd.core.decision_document import HOLD, Decision, PositionState

_NEAR, _EQUAL = 1e-9, 1e-14  # shares of the sum: where rounding could matter; what is a tie


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """What is traded: steps of quantity, size of a contract, whether it can be sold short."""

    symbol: str
    currency: str = ""
    quantity_step: float = 1e-8
    min_quantity: float = 0.0
    multiplier: float = 1.0
    shortable: bool = True


class Strategy(Protocol):
    """What `run_backtest_production` and a live loop call, always with these six, in this order."""

    def decide(
        self,
        symbol: str,
        current_mark: float,
        position_state: PositionState,
        recent_marks: Sequence[float],
        equity: float,
        product: Product,
    ) -> Decision: ...


class Signal:
    """Ten lines round an existing strategy: any `signal(marks) -> wanted position` (-1 short .. 1 long) of `notional` quote currency."""

    def __init__(self, signal: Callable[[Sequence[float]], float], *, notional: float, lookback: int, name: str) -> None:
        self.signal, self.notional, self.lookback, self.name = signal, notional, lookback, name

    def decide(
        self,
        symbol: str,
        current_mark: float,
        position_state: PositionState,
        recent_marks: Sequence[float],
        equity: float,
        product: Product,
    ) -> Decision:
        del symbol, equity, product
        wanted = self.signal(recent_marks)
        held = (position_state.quantity > 0) - (position_state.quantity < 0)
        if (wanted > 0) - (wanted < 0) == held:
            return HOLD
        if held:
            return Decision("close", reason=f"signal {wanted:g} against a {position_state.side} position")
        return Decision(
            "buy" if wanted > 0 else "sell", target_notional=self.notional * abs(wanted), reason=f"signal {wanted:g} from {current_mark:g}"
        )


class MovingAverageCrossover:
    """Long while the fast mean of the marks stands above the slow one, else flat (or short, with `short`). The shipped example.

    `notional` quote currency an entry, or a share of the equity where it is at most 1; or a fixed `quantity`.
    """

    def __init__(
        self,
        fast: int = 10,
        slow: int = 30,
        *,
        notional: float = 0.95,
        quantity: float | None = None,
        short: bool = False,
        name: str = "crossover",
    ) -> None:
        if not 1 <= fast < slow:
            raise ValueError(f"fast: {fast} must be at least 1 and under slow {slow}")
        if not notional > 0.0:
            raise ValueError(f"notional: {notional:g} is not above zero")
        self.fast, self.slow, self.lookback, self.name = fast, slow, slow, name
        self.notional, self.quantity, self.short = notional, quantity, short
        self._above = Decision("hold", reason=f"mean of {fast} stays above mean of {slow}", label="above")
        self._below = Decision("hold", reason=f"mean of {fast} stays below mean of {slow}", label="below")

    def decide(
        self,
        symbol: str,
        current_mark: float,
        position_state: PositionState,
        recent_marks: Sequence[float],
        equity: float,
        product: Product,
    ) -> Decision:
        del symbol, product
        fast_sum, slow_sum = sum(recent_marks[-self.fast :]), sum(recent_marks)
        scaled = slow_sum * self.fast
        lead = fast_sum * self.slow - scaled
        if -_NEAR * scaled < lead < _NEAR * scaled:  # too near for rounding: decided exactly, so that every Python decides alike
            fast_sum, slow_sum = fsum(recent_marks[-self.fast :]), fsum(recent_marks)
            lead = fast_sum * self.slow - slow_sum * self.fast
            lead = 0.0 if abs(lead) <= _EQUAL * scaled else lead
        held = position_state.quantity
        if lead > 0.0:
            return self._above if held > 0.0 else self._enter("buy", fast_sum, slow_sum, held, equity, current_mark)
        if self.short:
            return self._below if held < 0.0 else self._enter("sell", fast_sum, slow_sum, held, equity, current_mark)
        if held > 0.0:
            return Decision("close", reason=self._means(fast_sum, slow_sum, "below"), label="below")
        return self._below

    def _means(self, fast_sum: float, slow_sum: float, where: str) -> str:
        return f"mean of {self.fast} {fast_sum / self.fast:.8g} crosses {where} mean of {self.slow} {slow_sum / self.slow:.8g}"

    def _enter(self, action: Literal["buy", "sell"], fast_sum: float, slow_sum: float, held: float, equity: float, mark: float) -> Decision:
        reason = self._means(fast_sum, slow_sum, "above" if action == "buy" else "below")
        label = "above" if action == "buy" else "below"
        if self.quantity is not None:
            return Decision(action, quantity=self.quantity + abs(held), reason=reason, label=label)
        notional = self.notional * equity if self.notional <= 1.0 else self.notional
        return Decision(action, target_notional=notional + abs(held) * mark, reason=reason, label=label)
