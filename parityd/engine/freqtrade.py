"""freqtrade obeys the Gate: `class MyStrategy(ParityMixin, IStrategy)`, and tells parityd what it wants and what it got.

1. Entries ask the Gate at each order: none while trading is disabled, stakes scaled by `size_multiplier`; open entry orders are cancelled by a
   stop, and additions to a position (which freqtrade does not confirm) are held to the same. Exits always pass.
2. A strategy's own hooks stay in force, whether they call `super()` or not: what they refuse stays refused, what they allow is asked of the Gate.
3. freqtrade takes an error in a hook for consent, so nothing here raises: what cannot be asked is refused, what cannot be written is kept.
4. Only live and dry runs obey; a backtest is the other side of the comparison (`parity_in_backtest` for trying it out).
5. Records: orders and fills as parityd reads them of freqtrade's database; a decision per pair, side and candle, at the candle's open, before
   the Gate's scale; a heartbeat that acknowledges a stop once no entry order is open.
It imports nothing of freqtrade.
"""

import contextlib
import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from parityd.engine.freqtrade_records import candle, ended, filled, submitted
from parityd.engine.gate import Gate, Verdict
from parityd.engine.recorder import Recorder

LOG = logging.getLogger(__name__)
_PARAMETERS = {
    "bot_loop_start": ("current_time",),
    "confirm_trade_entry": ("pair", "order_type", "amount", "rate", "time_in_force", "current_time", "entry_tag", "side"),
    "confirm_trade_exit": ("pair", "trade", "order_type", "amount", "rate", "time_in_force", "exit_reason", "current_time"),
    "custom_stake_amount": (
        "pair", "current_time", "current_rate", "proposed_stake", "min_stake", "max_stake", "leverage", "entry_tag", "side",
    ),
    "adjust_trade_position": ("trade", "current_time", "current_rate", "current_profit", "min_stake", "max_stake"),
    "check_entry_timeout": ("pair", "trade", "order", "current_time"),
    "order_filled": ("pair", "trade", "order", "current_time"),
}  # fmt: skip
_STOPPED = Verdict(
    action="DISABLE_TRADING", trading_enabled=False, size_multiplier=0.0, reason="the Gate could not be asked", sequence=0,
    decision_sequence=0, fresh=False, known=False,
)  # fmt: skip
_FREE = Verdict(
    action="CONTINUE", trading_enabled=True, size_multiplier=1.0, reason="not a live or dry run, or nothing to obey", sequence=0,
    decision_sequence=0, fresh=False, known=False,
)  # fmt: skip
_INSIDE = threading.local()
_LOCK = threading.Lock()
_REMEMBERED = 10_000

Call = dict[str, Any]
Own = Callable[[], Any]


def _outermost(hook: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method under its rule; not once more where a strategy's own hook calls `super()`."""
    rule, names = _RULES[hook], _PARAMETERS[hook]

    @functools.wraps(method)
    def guarded(self: "ParityMixin", *args: Any, **kwargs: Any) -> Any:
        inside = _INSIDE.__dict__.setdefault("hooks", set())
        if (here := (id(self), hook)) in inside:
            return method(self, *args, **kwargs)
        inside.add(here)
        try:
            return rule(self, dict(zip(names, args, strict=False)) | kwargs, lambda: method(self, *args, **kwargs))
        finally:
            inside.discard(here)

    guarded.obeys_parityd = True  # type: ignore[attr-defined]
    return guarded


class ParityMixin:
    """Stands before IStrategy in the class line. Paths may be absolute or relative to where freqtrade was started."""

    parity_actions: ClassVar[str | None] = "data/system_actions"
    """Where parityd publishes; None obeys nothing (records only)."""
    parity_spool: ClassVar[str | None] = None
    """`spool/live`; None writes nothing (for users who let parityd read the database)."""
    parity_strategy: ClassVar[str | None] = None
    """The name in parityd; None: the class name, as in freqtrade's own exports."""
    parity_scale: ClassVar[bool] = True
    """False where the strategy's own sizer reads `size_multiplier`: stops still hold."""
    parity_in_backtest: ClassVar[bool] = False
    parity_heartbeat: ClassVar[float] = 10.0
    """Seconds between heartbeats, at most one a bot loop."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in _PARAMETERS:
            method = getattr(cls, hook)
            if not getattr(method, "obeys_parityd", False):  # its own, or of a class that stands before the mixin
                setattr(cls, hook, _outermost(hook, method))

    def parity_name(self) -> str:
        return self.parity_strategy or type(self).__name__

    def parity_verdict(self) -> Verdict:
        """What holds now, for a strategy's own sizer; CONTINUE in a backtest."""
        return _verdict(self)


def _plain(hook: str, default: Any) -> Callable[..., Any]:
    """The hook of whoever comes after the mixin, called as it was called."""

    def beyond(self: ParityMixin, *args: Any, **kwargs: Any) -> Any:
        after = getattr(super(ParityMixin, self), hook, None)
        if after is not None:
            return after(*args, **kwargs)
        return kwargs.get(default, args[3] if len(args) > 3 else None) if hook == "custom_stake_amount" else default

    beyond.__name__, beyond.__qualname__ = hook, f"ParityMixin.{hook}"
    return beyond


# --- the rules ------------------------------------------------------------------------------------------------------------------------------


def _entry(strategy: ParityMixin, call: Call, own: Own) -> bool:
    """Its own answer first, then the decision is told, then the Gate is asked."""
    verdict = _verdict(strategy)
    if verdict.trading_enabled and not own():  # an own hook that raises counts as consent in freqtrade, and only where trading is enabled
        return False
    amount, scale = call.get("amount"), _state(strategy)["scaled"].pop(call.get("pair"), None)
    _decide(strategy, call, amount / scale if amount and scale else amount, call.get("rate"), _way(call), call.get("entry_tag"))
    return _passes(strategy, verdict, f"entry into {call.get('pair')}")


def _exit(strategy: ParityMixin, call: Call, own: Own) -> bool:
    said = bool(own())
    if said:
        way = "buy" if getattr(call.get("trade"), "is_short", False) else "sell"
        _decide(strategy, call, call.get("amount"), call.get("rate"), way, call.get("exit_reason"))
    return said


def _stake(strategy: ParityMixin, call: Call, own: Own) -> float:
    """Scaled; a stake below the venue's minimum is none, because freqtrade would raise it to that."""
    verdict = _verdict(strategy)
    wanted = _answer(strategy, own, call.get("proposed_stake"))
    if not wanted or not (scale := _scale(strategy, verdict)):
        if wanted and not verdict.trading_enabled:
            rate = call.get("current_rate")
            size = wanted * (call.get("leverage") or 1.0) / rate if rate else None
            _decide(strategy, call, size, rate, _way(call), call.get("entry_tag"))
            _passes(strategy, verdict, f"entry into {call.get('pair')}")
        return 0.0
    if scale < 1:
        _state(strategy)["scaled"][call.get("pair")] = scale
    scaled = float(wanted) * scale
    return 0.0 if scale < 1 and scaled < (call.get("min_stake") or 0.0) else scaled


def _adjust(strategy: ParityMixin, call: Call, own: Own) -> Any:
    """What adds is scaled or refused, what reduces is whole."""
    said = own()
    stake, tag = (said[0] if said else None, said[1:]) if isinstance(said, tuple) else (said, ())
    if stake is None or not stake > 0:
        return said
    verdict = _verdict(strategy)
    if not _passes(strategy, verdict, f"addition to {getattr(call.get('trade'), 'pair', 'a position')}"):
        return None
    scale = _scale(strategy, verdict)
    scaled = stake * scale
    if scale < 1 and scaled < (call.get("min_stake") or 0.0):
        return None
    return (scaled, *tag) if tag else scaled


def _timeout(strategy: ParityMixin, _call: Call, own: Own) -> bool:
    """A stop cancels open entry orders; freqtrade asks this of each of them in every loop."""
    return not _verdict(strategy).trading_enabled or bool(own())


def _loop(strategy: ParityMixin, call: Call, own: Own) -> None:
    with _kept_apart("heartbeat"):
        _pulse(strategy, call.get("current_time"))
    own()


def _filled(strategy: ParityMixin, call: Call, own: Own) -> None:
    with _kept_apart("fill"):
        if recorder := _recorder(strategy):
            order, trade = call["order"], call["trade"]
            recorder.order(**submitted(order, trade))
            if end := ended(order, trade):
                recorder.order(**end)
            if fill := filled(order, trade):
                recorder.record_live_execution(**fill)
    own()


_RULES: dict[str, Callable[[ParityMixin, Call, Own], Any]] = {
    "bot_loop_start": _loop,
    "confirm_trade_entry": _entry,
    "confirm_trade_exit": _exit,
    "custom_stake_amount": _stake,
    "adjust_trade_position": _adjust,
    "check_entry_timeout": _timeout,
    "order_filled": _filled,
}
_DEFAULTS: dict[str, Any] = {
    "confirm_trade_entry": True,
    "confirm_trade_exit": True,
    "custom_stake_amount": "proposed_stake",
    "check_entry_timeout": False,
}
for _hook in _PARAMETERS:
    setattr(ParityMixin, _hook, _outermost(_hook, _plain(_hook, _DEFAULTS.get(_hook))))


# --- what the rules need --------------------------------------------------------------------------------------------------------------------


def _state(strategy: ParityMixin) -> dict[str, Any]:
    """Made at first use: a strategy that freqtrade copies or pickles before has none."""
    with _LOCK:
        return strategy.__dict__.setdefault("_parity", {"scaled": {}, "told": {}, "said": None, "pulse": None, "acknowledged": None})  # type: ignore[no-any-return]


def _runs(strategy: ParityMixin) -> bool:
    """Whether this is a live or dry run; where nothing says so, it is."""
    if strategy.parity_in_backtest:
        return True
    mode = (getattr(strategy, "config", None) or {}).get("runmode")
    return str(getattr(mode, "value", mode) or "live") in ("live", "dry_run", "other")


def _verdict(strategy: ParityMixin) -> Verdict:
    if strategy.parity_actions is None or not _runs(strategy):
        return _FREE
    try:
        state = _state(strategy)
        gate = state.get("gate") or state.setdefault("gate", Gate(strategy.parity_actions, strategy.parity_name()))
        return gate.read()  # type: ignore[no-any-return]
    except Exception:
        LOG.exception("parityd: the Gate could not be asked")
        return _STOPPED


def _scale(strategy: ParityMixin, verdict: Verdict) -> float:
    return verdict.size_multiplier if strategy.parity_scale or not verdict.trading_enabled else 1.0


def _passes(strategy: ParityMixin, verdict: Verdict, what: str) -> bool:
    if not verdict.trading_enabled and _state(strategy)["said"] != verdict.decision_sequence:
        _state(strategy)["said"] = verdict.decision_sequence
        LOG.warning("parityd: %s refused: %s (%s)", what, verdict.action, verdict.reason)
    return verdict.trading_enabled


def _answer(strategy: ParityMixin, own: Own, default: Any) -> Any:
    """A strategy's own sizer; where it raises, the proposed stake, as in freqtrade, but scaled."""
    try:
        return own()
    except Exception:
        LOG.exception("parityd: custom_stake_amount of %s failed", strategy.parity_name())
        return default


def _way(call: Call) -> str:
    return "sell" if call.get("side") == "short" else "buy"


def _recorder(strategy: ParityMixin) -> Recorder | None:
    if strategy.parity_spool is None or not _runs(strategy):
        return None
    state = _state(strategy)
    return state.get("recorder") or state.setdefault("recorder", Recorder(strategy.parity_spool, strategy.parity_name()))  # type: ignore[no-any-return]


def _decide(strategy: ParityMixin, call: Call, amount: Any, rate: Any, way: str, why: Any) -> None:
    """One decision a pair, side and candle: a refused entry is asked again in every loop."""
    with _kept_apart("decision"):
        if recorder := _recorder(strategy):
            ts = candle(call.get("current_time") or datetime.now(UTC), getattr(strategy, "timeframe", None))
            told = _state(strategy)["told"]
            if (key := (call.get("pair"), way, ts)) in told:
                return
            told[key] = None
            if len(told) > _REMEMBERED:
                del told[next(iter(told))]
            recorder.decision(symbol=call["pair"], ts=ts, action=way, quantity=amount or None, mark=rate or None, reason=why or None)  # type: ignore[arg-type]


def _pulse(strategy: ParityMixin, now: datetime | None) -> None:
    recorder = _recorder(strategy)
    if recorder is None:
        return
    state, verdict = _state(strategy), _verdict(strategy)
    if verdict.trading_enabled or not _entries_open():
        last, state["acknowledged"] = state["acknowledged"], verdict
        changed = last is None or last.decision_sequence != verdict.decision_sequence
    else:
        changed = False
    tick = time.monotonic()
    if changed or state["pulse"] is None or tick - state["pulse"] >= strategy.parity_heartbeat:
        state["pulse"] = tick
        obeyed = state["acknowledged"]
        recorder.heartbeat(obeyed if strategy.parity_actions else None, ts=now)


def _entries_open() -> bool:
    """Whether freqtrade knows an entry order that is still open."""
    persistence = sys.modules.get("freqtrade.persistence")
    if persistence is None:
        return False
    trades = persistence.Trade.get_trades_proxy(is_open=True)
    return any(order.ft_is_open and order.ft_order_side == trade.entry_side for trade in trades for order in trade.orders)


@contextlib.contextmanager
def _kept_apart(what: str) -> Iterator[None]:
    """What concerns records must not concern orders; the recorder keeps what could not be written."""
    try:
        yield
    except Exception:
        LOG.exception("parityd: a %s was not written", what)
