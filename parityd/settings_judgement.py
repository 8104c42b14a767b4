"""The sections that decide how a strategy is judged: thresholds, matching, escalation, recovery, strategies, symbols.

1. Every default is that of `core.parameters`, said once, there; a section here adds what a value may be and what it means.
2. `thresholds.profile` fills the three basis-point bands that were not given; a strategy's own values go over the general ones.
3. `disorder` names the first pair of thresholds that contradict each other; it is asked of the general ones and of each strategy's.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator

from parityd.core import parameters
from parityd.settings_values import Count, Duration, Kind, Positive, Share, Text

_T, _M, _E, _R = parameters.Thresholds(), parameters.Matching(), parameters.Escalation(), parameters.Recovery()
_K, _S, _Y = parameters.TrackingError(), parameters.StrategyTerms(), parameters.SymbolTerms()
STRATEGY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}", re.ASCII)
PROFILES = {
    "standard": {"warning_bps": _T.warning_bps, "critical_bps": _T.critical_bps, "emergency_bps": _T.emergency_bps},
    "strict": {"warning_bps": 15.0, "critical_bps": 30.0, "emergency_bps": 60.0},
}
Profile = Literal["standard", "strict"]


class Section(BaseModel):
    """One table of the file: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def key(default: Any, text: str, *, restart: bool = False, example: object = None) -> Any:
    """A field with its sentence for the reference; `restart` = a reload cannot change it; `example` where there is no default."""
    return Field(default, description=text, json_schema_extra={"restart": restart, "example": example})  # type: ignore[dict-item]


def _currency(value: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{2,12}", value, re.ASCII):
        raise ValueError('must be a currency code such as "USD" or "USDT"')
    return value


Currency = Annotated[str, AfterValidator(_currency), Kind("currency")]


class Thresholds(Section):
    """When a measure becomes a finding. Each of these keys can also stand in `[strategies.<name>]`, for that strategy alone."""

    profile: Profile = key(_T.profile, "Which bands of tracking error hold where the next three keys are not given.")
    min_trades: Count = key(_T.min_trades, "Settled trades that the window must hold before the parity findings may speak.")
    warning_bps: Positive = key(_T.warning_bps, "Tracking error of WARNING, in bps. Profile strict: 15.")
    critical_bps: Positive = key(_T.critical_bps, "Tracking error of CRITICAL, in bps. Profile strict: 30.")
    emergency_bps: Positive = key(_T.emergency_bps, "Tracking error of EMERGENCY, in bps. Profile strict: 60.")
    reduce_to: Share = key(_T.reduce_to, "Size multiplier published with REDUCE_SIZE.")
    correlation_warning: Share = key(_T.correlation_warning, "WARNING where the upper bound of the returns' correlation is below this.")
    correlation_critical: Share = key(_T.correlation_critical, "The same for CRITICAL.")
    correlation_emergency: Share = key(_T.correlation_emergency, "The same for EMERGENCY.")
    slippage_bps: Positive = key(_T.slippage_bps, "CRITICAL where the mean slippage component is above this, in bps.")
    fee_impact_bps: Positive = key(_T.fee_impact_bps, "CRITICAL where the mean fee component is above this, in bps.")
    timing_impact_bps: Positive = key(_T.timing_impact_bps, "CRITICAL where the mean timing component is above this, in bps.")
    latency_ms: Positive = key(_T.latency_ms, "CRITICAL where the median latency of taker fills is above this, in milliseconds.")
    cumulative_warning_bps: Positive = key(_T.cumulative_warning_bps, "WARNING where the 7-day cumulative drift is above this, in bps.")
    cumulative_critical_bps: Positive = key(
        _T.cumulative_critical_bps, "CRITICAL, asking for DISABLE_TRADING, where the 7-day cumulative drift is above this, in bps."
    )
    cumulative_min_trades: Count = key(_T.cumulative_min_trades, "Trades that the cumulative drift needs before it may speak.")
    unmatched_warning: Share = key(
        _T.unmatched_warning, "WARNING where the lower bound of the share of missed and unexpected trades is above this."
    )
    unmatched_critical: Share = key(_T.unmatched_critical, "The same for CRITICAL.")
    parity_warning: Share = key(_T.parity_warning, "WARNING where the upper bound of decision or action parity is below this.")
    parity_critical: Share = key(_T.parity_critical, "The same for CRITICAL.")
    drift_confidence: Share = key(_T.drift_confidence, "WARNING where a drift detector's confidence reaches this, alarm or not.")
    drift_effect_bps: Positive = key(_T.drift_effect_bps, "Smallest adverse effect, in bps, with which a drift alarm may be CRITICAL.")
    max_trade_critical_bps: Positive = key(_T.max_trade_critical_bps, "CRITICAL where a single trade is worse than this, in bps.")
    max_trade_emergency_bps: Positive = key(_T.max_trade_emergency_bps, "EMERGENCY where a single trade is worse than this, in bps.")
    max_trade_capital: Share = key(_T.max_trade_capital, "Share of capital that such a trade must also have lost, where capital is known.")
    suspect_bps: Positive = key(
        _T.suspect_bps, "A price difference above this, in bps, is taken for bad data and kept out of the measures."
    )
    runaway_min: Count = key(_T.runaway_min, "Live executions within an hour below which nothing is called runaway.")
    runaway_ratio: Positive = key(
        _T.runaway_ratio, "Runaway: more than this many times the busiest earlier hour, and the backtest's same hour."
    )
    stale_engine_warning: Duration = key(_T.stale_engine_warning, "WARNING after this silence of an engine that has promised a pulse.")
    stale_engine_critical: Duration = key(_T.stale_engine_critical, "The same for CRITICAL.")
    stale_backtest_warning: Duration = key(
        _T.stale_backtest_warning, "WARNING where a live execution has waited this long for the backtest to pass it."
    )
    stale_backtest_critical: Duration = key(_T.stale_backtest_critical, "The same for CRITICAL.")
    lagging_warning: Duration = key(_T.lagging_warning, "WARNING where a file has lain unread in spool/live for this long.")
    lagging_critical: Duration = key(_T.lagging_critical, "The same for CRITICAL; permission to trade is then no longer renewed.")
    position_delay: Duration = key(_T.position_delay, "How far the live watermark must be past a `position` record before it is compared.")
    balance_tolerance: Share = key(_T.balance_tolerance, "Share of equity by which balance and ledger may differ.")
    unhealthy_after: Duration = key(_T.unhealthy_after, "How long a heartbeat flag must be false (and in two heartbeats) to count.")
    acknowledge_within: Duration = key(_T.acknowledge_within, "Time that an engine has at least to acknowledge a changed publication.")
    broken_share: Share = key(_T.broken_share, "CRITICAL where more than this share of a source's recent records was refused.")
    broken_window: Count = key(_T.broken_window, "How many recent records of a source that share is taken over.")
    broken_min: Count = key(_T.broken_min, "Refusals below which a source is never called broken.")
    excellent_bps: Positive = key(_T.excellent_bps, "Within OK, a tracking error below this is graded EXCELLENT, else GOOD.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_profile(cls, given: Any) -> Any:
        profile = given.get("profile", _T.profile) if isinstance(given, dict) else None
        return {**PROFILES[profile], **given} if isinstance(profile, str) and profile in PROFILES else given

    def for_core(self) -> parameters.Thresholds:
        return parameters.Thresholds(**self.model_dump())


class Matching(Section):
    """How executions of the two books are paired. A pair further apart than `tolerance` is never made."""

    gap: Duration = key(_M.gap, "Cost of leaving an execution unpaired. Half the strategy's `timeframe` where that is configured.")
    tolerance: Duration = key(_M.tolerance, "Two executions further apart than this are never a pair (unless joined by their id).")
    grace: Duration = key(_M.grace, "After this long without the other book, a trade is declared missed or unexpected.")
    quantity_tolerance: Share = key(_M.quantity_tolerance, "Relative difference of quantity within which two decisions are alike.")


class Escalation(Section):
    """Bad days in a row that raise the action."""

    warning_periods: Count = key(_E.warning_periods, "Closed days in a row at WARNING or worse that bring REDUCE_SIZE.")
    critical_periods: Count = key(_E.critical_periods, "Closed days in a row at CRITICAL or worse that bring DISABLE_TRADING.")


class Recovery(Section):
    """How an action is left, one rung at a time."""

    checks: Count = key(_R.checks, "Checks in a row that must ask for less before the action is lowered by one rung.")
    auto_enable: bool = key(_R.auto_enable, "false: DISABLE_TRADING is left only by an operator's reset.")


class TrackingError(Section):
    """How tracking error is computed."""

    method: Literal["rms", "stdev"] = key(_K.method, "rms counts a constant bias; stdev leaves it out.")
    weighting: Literal["equal", "notional"] = key(_K.weighting, "Whether each trade counts alike, or by its notional.")


def _known_calendar(value: str) -> str:
    try:
        import exchange_calendars
    except ImportError:
        raise ValueError("needs the extra parityd[calendars], which is not installed") from None
    if value not in exchange_calendars.get_calendar_names(include_aliases=True):
        raise ValueError("is no exchange calendar")
    return value


class _StrategyTerms(Section):
    """What is particular about one strategy. The name is the records' `strategy`, matched exactly, upper and lower case."""

    capital: Positive | None = key(
        None, "Capital that returns are measured on. Without it: the window's largest gross notional.", example=100000
    )
    timeframe: Duration | None = key(None, "The strategy's bar length; decision times are compared on it.", example="1h")
    calendar: Annotated[Text, AfterValidator(_known_calendar)] | None = key(
        None, "Exchange calendar whose sessions count for staleness. Needs the extra `parityd[calendars]`.", example="XNYS"
    )
    max_silence: Duration | None = key(
        None, "Promise of a pulse: a longer silence is a finding even if no heartbeat ever came.", example="10m"
    )
    obeys: bool = key(_S.obeys, "true: the engine obeys the size multiplier, though it sends no acknowledgements.")
    auto_disable_on_drift: bool | None = key(None, "Overrides the general key for this strategy; false = advisory.", example=False)


def _own_thresholds() -> dict[str, Any]:
    fields = Thresholds.model_fields.items()
    return {name: (Optional[f.rebuild_annotation()], Field(None, description=f.description)) for name, f in fields}  # noqa: UP045


if TYPE_CHECKING:

    class Strategy(_StrategyTerms):
        """`_StrategyTerms` and every key of `Thresholds`, each None where the general one holds."""
else:
    Strategy = create_model("Strategy", __base__=_StrategyTerms, __doc__=_StrategyTerms.__doc__, **_own_thresholds())


class Symbol(Section):
    """What records do not say about an instrument. The name is the records' `symbol`, matched exactly."""

    currency: Currency | None = key(None, "Quote currency, where neither the record nor the name tells it.", example="USD")
    base: Currency | None = key(None, "Base currency, where the name does not tell it.", example="BTC")
    multiplier: Positive | None = key(None, "Contract size, where the record does not give it.", example=50)
    inverse: bool = key(_Y.inverse, "true: an inverse contract, quoted in 1/price and settled in its base.")
    alias: Text | None = key(None, "The name under which the other book knows this instrument.", example="BTC-PERP")

    def for_core(self) -> parameters.SymbolTerms:
        return parameters.SymbolTerms(**self.model_dump())


def thresholds_of(general: parameters.Thresholds, own: Mapping[str, Any]) -> parameters.Thresholds:
    """The general thresholds with a strategy's `own` over them; its own profile brings its own bands."""
    given = {name: own[name] for name in Thresholds.model_fields if own.get(name) is not None}
    return msgspec.structs.replace(general, **(PROFILES.get(given.get("profile", ""), {}) | given))


_ASCENDING = (
    ("warning_bps", "critical_bps", "emergency_bps"),
    ("correlation_emergency", "correlation_critical", "correlation_warning"),
    ("cumulative_warning_bps", "cumulative_critical_bps"),
    ("unmatched_warning", "unmatched_critical"),
    ("parity_critical", "parity_warning"),
    ("max_trade_critical_bps", "max_trade_emergency_bps", "suspect_bps"),
    ("stale_engine_warning", "stale_engine_critical"),
    ("stale_backtest_warning", "stale_backtest_critical"),
    ("lagging_warning", "lagging_critical"),
    ("broken_min", "broken_window"),
)


def disorder(thresholds: parameters.Thresholds) -> Iterator[tuple[str, str]]:
    """Pairs (lower, higher) of thresholds whose values are not in that order."""
    for names in _ASCENDING:
        for low, high in itertools.pairwise(names):
            if not getattr(thresholds, low) < getattr(thresholds, high):
                yield low, high
