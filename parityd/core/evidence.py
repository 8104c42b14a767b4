"""What is judged and what is found: the numbers of a window, and findings as records.

1. A number that was not measured is None, a count is 0; nothing here compares anything.
2. All of it is frozen and plain, so that a state that holds findings restores byte for byte.
"""

from collections.abc import Mapping

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `asks`: the action it asks for where that is not its level's. `state`: from the present, not from trades.

    `clear`: the value that a recovery must be beyond; None where no number tells.
    """

    code: str
    level: str
    value: float | None = None
    threshold: float | None = None
    detail: str = ""
    asks: str | None = None
    state: bool = False
    clear: float | None = None


class DriftAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """A latched alarm of the drift detectors. A `note` says that it may be volatility; `effect_bps` None where the channel has no bps."""

    channel: str
    adverse: bool
    effect_bps: float | None = None
    note: str | None = None


class LargeTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One settled pair with a large price difference (signed bps); `loss` in quote currency (positive = lost), None where not known."""

    d_bps: float
    matched_by: str
    loss: float | None = None
    trade: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Every number that the parity table needs; None = not measurable, a count is 0.

    Shares are of the trades in which the component was measured unmerged. `unmatched` = missed + unexpected of `executions` settled ones. `large_trades`
    holds at least the pairs over 0.8 x `max_trade_critical_bps`. `hour_*`: live executions of the last hour, the largest earlier hour of either
    book in 30 days, the backtest's same hour.
    """

    settled: int
    ambiguous_share: float | None = None
    tracking_error_bps: float | None = None
    tracking_error_without_largest_bps: float | None = None
    correlation: float | None = None
    correlation_n: int = 0
    slippage_bps: float | None = None
    slippage_share: float = 0.0
    fee_impact_bps: float | None = None
    fee_impact_share: float = 0.0
    timing_impact_bps: float | None = None
    timing_impact_share: float = 0.0
    median_latency_ms: float | None = None
    cumulative_drift_bps: float | None = None
    cumulative_error_bps: float | None = None
    cumulative_trades: int = 0
    unmatched: int = 0
    executions: int = 0
    decisions_alike: int = 0
    decisions: int = 0
    actions_alike: int = 0
    actions: int = 0
    drift_confidence: float | None = None
    drift_alarm: DriftAlarm | None = None
    large_trades: tuple[LargeTrade, ...] = ()
    capital: float | None = None
    suspects: int = 0
    suspect_d_bps: float | None = None
    suspect_example: str = ""
    hour_live: int | None = None
    hour_largest: int = 0
    hour_backtest: int = 0
    history_hours: float = 0.0


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """`evidence` is `sufficient` or `insufficient`; `held`: measured code -> level it is not clear of by a fifth."""

    evidence: str
    findings: tuple[Finding, ...] = ()
    held: Mapping[str, str] = {}

    @property
    def sufficient(self) -> bool:
        return self.evidence == "sufficient"
