"""State findings: what is wrong at present, told from plain numbers and needing no trades.

1. Each function takes numbers and gives a finding or None; None as an argument means not known, which never asks.
2. All of them are marked `state`: the ladder ends them after clean checks and never counts them for escalation.
3. `not_obeyed` alone is an EMERGENCY, and it is an event: tell it once for each order that disobeyed, the ladder latches it.
4. Ages and silences are seconds that count (session time, promises and grace are taken off by the caller).
"""

from collections.abc import Sequence

from parityd.core.evidence import Finding
from parityd.core.findings_bars import SAME
from parityd.core.parameters import Thresholds

TWICE = 2


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _aged(code: str, what: str, age: float | None, warning: float, critical: float) -> Finding | None:
    if age is None or age <= warning + SAME:
        return None
    level, bar = ("CRITICAL", critical) if age > critical + SAME else ("WARNING", warning)
    return Finding(code=code, level=level, value=age, threshold=bar, state=True, detail=f"{code}: {what} {_span(age)} > {_span(bar)}")


def stale_engine(
    silence: float | None, *, promised: bool, exposed: bool, thresholds: Thresholds, max_silence: float | None = None
) -> Finding | None:
    """Silence (s) of a live book that sent heartbeats (`promised`) or has `max_silence`, with open positions or fills of 24 h (`exposed`).

    A `max_silence` is the strategy's own promise: the warning comes when it is broken, the critical level not before it is.
    """
    if not exposed or not (promised or max_silence is not None):
        return None
    warning = thresholds.stale_engine_warning if max_silence is None else max_silence
    return _aged("stale_engine", "the engine has been silent for", silence, warning, max(warning, thresholds.stale_engine_critical))


def stale_backtest(age: float | None, thresholds: Thresholds) -> Finding | None:
    """Age (s) of the oldest live execution that still waits for the backtest's watermark."""
    what = "the oldest live execution has waited for the backtest"
    return _aged("stale_backtest", what, age, thresholds.stale_backtest_warning, thresholds.stale_backtest_critical)


def lagging(age: float | None, thresholds: Thresholds) -> Finding | None:
    """Age (s) of the oldest unread file in spool/live."""
    return _aged("lagging", "the oldest unread file has waited", age, thresholds.lagging_warning, thresholds.lagging_critical)


def position_mismatch(in_a_row: int, *, symbol: str, reported: float, expected: float) -> Finding | None:
    """`in_a_row`: position records, the newest last, that differ from the ledger at their own time."""
    if in_a_row < TWICE:
        return None
    said = f"position_mismatch: {symbol} reported {reported:g}, fills add up to {expected:g}, {in_a_row} records in a row"
    return Finding(code="position_mismatch", level="CRITICAL", value=reported - expected, threshold=0.0, state=True, detail=said)


def balance_mismatch(in_a_row: int, share: float | None, thresholds: Thresholds) -> Finding | None:
    """`share`: of equity, the change that neither ledger nor transfers explain, over at least an hour; `in_a_row`: times it was too large."""
    if share is None or in_a_row < TWICE or abs(share) <= thresholds.balance_tolerance + SAME:
        return None
    said = f"balance_mismatch: equity changed by {share:+.2%} beyond fills and transfers, {in_a_row} times in a row"
    return Finding(code="balance_mismatch", level="CRITICAL", value=share, threshold=thresholds.balance_tolerance, state=True, detail=said)


def engine_unhealthy(flags: Sequence[str], seconds: float, heartbeats: int, thresholds: Thresholds, detail: str = "") -> Finding | None:
    """`flags`: names that have been false for `seconds`, through `heartbeats` of them, without one in between that says true."""
    if not flags or heartbeats < TWICE or seconds < thresholds.unhealthy_after - SAME:
        return None
    said = f"engine_unhealthy: {', '.join(flags)} false for {_span(seconds)}{f' ({detail})' if detail else ''}"
    bar = thresholds.unhealthy_after
    return Finding(code="engine_unhealthy", level="CRITICAL", value=seconds, threshold=bar, state=True, detail=said)


def not_obeyed(orders: int, *, action: str, position_known: bool, example: str = "") -> Finding | None:
    """`orders`: those that added exposure after the engine acknowledged the stop `action` (without order times: 60 s after its issue)."""
    if orders <= 0 or not position_known:
        return None
    such = f", such as {example}" if example else ""
    said = f"not_obeyed: {orders} order{'s' if orders > 1 else ''} added exposure under {action}{such}"
    return Finding(code="not_obeyed", level="EMERGENCY", value=float(orders), threshold=0.0, state=True, detail=said)


def unacknowledged(waited: float | None, heartbeat_interval: float | None, thresholds: Thresholds) -> Finding | None:
    """`waited`: seconds since a changed decision_sequence was issued that an engine which acknowledges has not acknowledged."""
    limit = max(thresholds.acknowledge_within, 2 * (heartbeat_interval or 0.0))
    if waited is None or waited <= limit + SAME:
        return None
    said = f"unacknowledged: the newest decision has waited {_span(waited)} > {_span(limit)} for the engine"
    return Finding(code="unacknowledged", level="WARNING", value=waited, threshold=limit, state=True, detail=said)


def broken_source(source: str, refused: int, seen: int, thresholds: Thresholds) -> Finding | None:
    """`refused` of the last `seen` records of a source (at most `broken_window`); conflicts and duplicates are not counted in `refused`."""
    share = refused / seen if seen > 0 else 0.0
    if refused < thresholds.broken_min or share <= thresholds.broken_share + SAME:
        return None
    said = f"broken_source: {refused} of the last {seen} records of {source} were refused"
    return Finding(code="broken_source", level="CRITICAL", value=share, threshold=thresholds.broken_share, state=True, detail=said)


def degraded(parts: Sequence[str]) -> Finding | None:
    """`parts`: the outer parts that fail, one sentence each."""
    if not parts:
        return None
    return Finding(
        code="degraded", level="WARNING", value=float(len(parts)), threshold=0.0, state=True, detail=f"degraded: {'; '.join(parts)}"
    )
