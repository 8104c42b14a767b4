"""The numbers a judgement depends on, as frozen records with their defaults.

1. `settings` is the only one that fills them from files and environment; the core receives them in the call.
2. Every default here is the contract's; units stand in the name, durations are seconds.
3. A strategy's own values replace the general ones field by field (`Parameters.of`).
"""

from collections.abc import Callable, Mapping

import msgspec

DAY = 86_400.0
Earlier = Callable[[str, int, float], int]
"""(calendar, now in ns, seconds of session) -> the time in ns from which so many have passed by now."""
HasSession = Callable[[str, int], bool]
"""(calendar, days since 1970) -> whether that UTC day has a session."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """`[thresholds]`: when a measure becomes a finding (JUDGEMENT 4)."""

    profile: str = "standard"
    min_trades: int = 10
    warning_bps: float = 20.0
    critical_bps: float = 50.0
    emergency_bps: float = 100.0
    reduce_to: float = 0.5
    correlation_warning: float = 0.80
    correlation_critical: float = 0.50
    correlation_emergency: float = 0.30
    slippage_bps: float = 30.0
    fee_impact_bps: float = 15.0
    timing_impact_bps: float = 10.0
    latency_ms: float = 1000.0
    cumulative_warning_bps: float = 100.0
    cumulative_critical_bps: float = 200.0
    cumulative_min_trades: int = 30
    unmatched_warning: float = 0.10
    unmatched_critical: float = 0.25
    parity_warning: float = 0.99
    parity_critical: float = 0.95
    drift_confidence: float = 0.80
    drift_effect_bps: float = 5.0
    max_trade_critical_bps: float = 500.0
    max_trade_emergency_bps: float = 1000.0
    max_trade_capital: float = 0.0025
    suspect_bps: float = 3000.0
    runaway_min: int = 20
    runaway_ratio: float = 3.0
    stale_engine_warning: float = 1800.0
    stale_engine_critical: float = 7200.0
    stale_backtest_warning: float = 30 * 3600.0
    stale_backtest_critical: float = 34 * 3600.0
    lagging_warning: float = 300.0
    lagging_critical: float = 900.0
    position_delay: float = 60.0
    balance_tolerance: float = 0.01
    unhealthy_after: float = 60.0
    acknowledge_within: float = 60.0
    broken_share: float = 0.20
    broken_window: int = 1000
    broken_min: int = 50
    excellent_bps: float = 5.0


class Matching(msgspec.Struct, frozen=True, kw_only=True):
    """`[matching]`: how far apart two executions may lie (seconds) and how unlike (share) two quantities."""

    gap: float = 30.0
    tolerance: float = 300.0
    grace: float = 36 * 3600.0
    quantity_tolerance: float = 0.01


class Escalation(msgspec.Struct, frozen=True, kw_only=True):
    """`[escalation]`: closed periods in a row that raise."""

    warning_periods: int = 3
    critical_periods: int = 2


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """`[recovery]`: how a level is left."""

    checks: int = 4
    auto_enable: bool = True


class TrackingError(msgspec.Struct, frozen=True, kw_only=True):
    """`[tracking_error]`: `rms` or `stdev`, `equal` or `notional`."""

    method: str = "rms"
    weighting: str = "equal"


class SymbolTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[symbols.<name>]`: what the records do not say about an instrument; None = not said."""

    currency: str | None = None
    base: str | None = None
    multiplier: float | None = None
    inverse: bool = False
    alias: str | None = None  # the name under which the other book knows it


class StrategyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy's judgement: the general parameters with its own put over them."""

    capital: float | None = None
    timeframe: float | None = None  # seconds
    calendar: str | None = None
    max_silence: float | None = None  # seconds
    obeys: bool = False
    advisory: bool = False  # auto_disable_on_drift = false
    thresholds: Thresholds = Thresholds()


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """All that the core is told."""

    thresholds: Thresholds = Thresholds()
    matching: Matching = Matching()
    escalation: Escalation = Escalation()
    recovery: Recovery = Recovery()
    tracking_error: TrackingError = TrackingError()
    symbols: Mapping[str, SymbolTerms] = {}
    strategies: Mapping[str, StrategyTerms] = {}
    advisory: bool = False
    reporting_currency: str | None = None
    check_interval: float = 900.0
    max_strategies: int = 1000
    future_tolerance: float = 300.0
    earlier: Earlier | None = None
    has_session: HasSession | None = None

    def before(self, strategy: str, now: int, seconds: float) -> int:
        """The time (ns) from which `seconds` have passed by now: of session, where the strategy has a calendar."""
        calendar = self.of(strategy).calendar
        return now - round(seconds * 1e9) if calendar is None or self.earlier is None else self.earlier(calendar, now, seconds)

    def of(self, strategy: str) -> StrategyTerms:
        """The terms of one strategy, configured or not."""
        found = self.strategies.get(strategy)
        return found if found is not None else StrategyTerms(advisory=self.advisory, thresholds=self.thresholds)
