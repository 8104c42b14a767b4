"""docs/ladder.md, printed from the tables: what is asked, what it means, every move, and who may overrule whom.

1. No number and no move is written here: thresholds come from the readings of a specimen, moves from `ladder_table`.
2. Pure: `page()` gives the text, a test holds the file equal to it.
"""

from collections.abc import Iterable, Mapping

from parityd.core.evidence import DriftAlarm, Evidence, LargeTrade
from parityd.core.findings import ROWS, WITHOUT_EVIDENCE
from parityd.core.findings_bars import Reading, clear_of
from parityd.core.ladder_table import (
    ACTIONS,
    ADVISORY,
    ASKS,
    EFFECTS,
    ESCALATES,
    EVENTS,
    IN_FORCE,
    LEVELS,
    OWN_LEVEL,
    RECOVERY_EVIDENCE,
    SEVERITY,
    TRANSITIONS,
)
from parityd.core.parameters import Parameters, StrategyTerms

SPECIMEN = Evidence(
    settled=100, tracking_error_bps=1.0, tracking_error_without_largest_bps=1.0, correlation=0.9, correlation_n=600,
    slippage_bps=1.0, slippage_share=1.0, fee_impact_bps=1.0, fee_impact_share=1.0, timing_impact_bps=1.0, timing_impact_share=1.0,
    median_latency_ms=1.0, cumulative_drift_bps=1.0, cumulative_error_bps=0.1, cumulative_trades=100, executions=100,
    decisions_alike=100, decisions=100, actions_alike=100, actions=100, drift_confidence=0.5,
    drift_alarm=DriftAlarm(channel="mean", adverse=False), large_trades=(LargeTrade(d_bps=1.0, matched_by="id"),),
    hour_live=20, hour_largest=1, hour_backtest=1, history_hours=24.0,
)  # fmt: skip
CONDITIONS: Mapping[str, str] = {
    "tracking_error": "also with the largest absolute difference left out",
    "correlation": "upper 90 % bound",
    "slippage": "mean cost, measured unmerged in at least half of the trades",
    "fee_impact": "as slippage",
    "timing_impact": "as slippage",
    "latency": "median of the fills not marked maker",
    "cumulative_drift": "absolute; at least 30 trades and more than 4 standard errors",
    "unmatched": "lower 90 % bound",
    "decision_parity": "upper 90 % bound",
    "action_parity": "upper 90 % bound",
    "drift": "or an alarm; CRITICAL: an adverse one of 5 bps or more that is no mere volatility, with tracking_error at WARNING or worse",
    "max_trade_diff": "absolute, one settled pair by id or decision; and a loss over 0.25 % of capital where that is known",
    "suspect_data": "kept out of every other measure",
    "runaway": "times the larger of the largest earlier hour and the backtest's same hour; at least 20 live executions, 24 h of history",
}
HEAD = """# The ladder

What the numbers ask for, what each action means, how it is reached and left, and who may overrule it. Printed from the tables in
`parityd/core`; do not edit:

    python -c "import sys; from parityd.core.ladder_page import page; sys.stdout.write(page())" > docs/ladder.md
"""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell or "-" for cell in line) + " |" for line in lines) + "\n"


def _bar(reading: Reading, level: str) -> str:
    bar = dict(reading.bars).get(level)
    if bar is None:
        return "alarm" if reading.code == "drift" and level == "CRITICAL" else ""
    sign = "<" if reading.low_is_bad else ">=" if reading.inclusive else ">"
    clear = clear_of(bar, low_is_bad=reading.low_is_bad)
    action = dict(reading.asks).get(level)
    if reading.code == "suspect_data":
        return f"{sign} {bar:g} (left when none is in the window)"
    left = f"left {'above' if reading.low_is_bad else 'below'} {clear:g}"
    return f"{sign} {bar:g} ({f'asks {action}, ' if action else ''}{left})"


def _findings() -> str:
    readings = {code: reading for code, row in ROWS.items() if (reading := row(SPECIMEN, StrategyTerms())) is not None}
    rows = (
        [
            f"`{code}`{' *' if code in WITHOUT_EVIDENCE else ''}",
            reading.unit,
            *(_bar(reading, level) for level in LEVELS[1:]),
            CONDITIONS[code],
        ]
        for code, reading in readings.items()
    )
    return _table(["code", "unit", *LEVELS[1:], "condition"], rows)


def _state_findings() -> str:
    t = StrategyTerms().thresholds
    hour = 3600.0
    rows = (
        ("stale_engine", f"> {t.stale_engine_warning / 60:g} min, or `max_silence`", f"> {t.stale_engine_critical / hour:g} h", "silence of a book that promised a pulse, with open positions or fills of 24 h"),
        ("stale_backtest", f"> {t.stale_backtest_warning / hour:g} h", f"> {t.stale_backtest_critical / hour:g} h", "age of the oldest live execution that waits for the backtest"),
        ("lagging", f"> {t.lagging_warning / 60:g} min", f"> {t.lagging_critical / 60:g} min", "age of the oldest unread file in `spool/live`"),
        ("position_mismatch", "", "yes", "two records in a row"),
        ("balance_mismatch", "", f"> {t.balance_tolerance:.0%}", "of equity, twice"),
        ("engine_unhealthy", "", "yes", f"a flag false for {t.unhealthy_after:g} s and two heartbeats"),
        ("not_obeyed", "", "EMERGENCY, latched", "exposure added after the stop was acknowledged"),
        ("unacknowledged", f"> {t.acknowledge_within:g} s", "", "or two heartbeat intervals, where that is more"),
        ("broken_source", "", f"> {t.broken_share:.0%}", f"of its last {t.broken_window} records refused, at least {t.broken_min}"),
        ("degraded", "yes", "", "an outer part fails"),
    )  # fmt: skip
    return _table(["state finding", "WARNING", "CRITICAL", "condition"], ([f"`{code}`", *rest] for code, *rest in rows))


def _levels() -> str:
    return _table(["level", "asks for"], ([level, f"`{ASKS[level]}`"] for level in LEVELS))


def _actions() -> str:
    def size(action: str) -> str:
        found = EFFECTS[action].size
        return f"{found:g}" if found is not None else f"{StrategyTerms().thresholds.reduce_to:g} (`reduce_to`)"

    rows = (
        [str(SEVERITY[a]), f"`{a}`", "yes" if e.trading_enabled else "no", size(a), e.new_risk, e.exits, e.working_orders]
        for a, e in EFFECTS.items()
    )
    return _table(["", "action", "trading_enabled", "size_multiplier", "new risk", "exits", "working orders"], rows)


def _moves() -> str:
    return _table(["on \\ at", *EVENTS], ([f"`{rung}`", *(TRANSITIONS[rung][event] for event in EVENTS)] for rung in ACTIONS))


def _edges() -> Mapping[tuple[str, str], list[str]]:
    """Every move that changes the rung, by (from, to)."""
    edges: dict[tuple[str, str], list[str]] = {}
    for rung in ACTIONS:
        for event, to in TRANSITIONS[rung].items():
            if to != rung:
                edges.setdefault((rung, to), []).append(event.removesuffix(" asked"))
    return edges


def diagram() -> str:
    """The moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    direction LR", f"    [*] --> {ACTIONS[0]}"]
    lines += [f"    {here} --> {there}: {', '.join(events)}" for (here, there), events in _edges().items()]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _recoveries() -> str:
    rows = (
        [
            f"`{rung}`",
            f"`{TRANSITIONS[rung]['recovered']}`" if RECOVERY_EVIDENCE[rung] else "only by reset",
            RECOVERY_EVIDENCE[rung],
            OWN_LEVEL[rung],
        ]
        for rung in ACTIONS[1:]
    )
    return _table(["from", "to", "judged on", "clear of the thresholds of"], rows)


def _advisory() -> str:
    return _table(
        ["would be \\ kept", *ACTIONS], ([f"`{would_be}`", *(ADVISORY[would_be][kept] for kept in ACTIONS)] for would_be in ACTIONS)
    )


def _in_force() -> str:
    rows = ([word, stands_in, *(row[action] for action in ACTIONS)] for (word, stands_in), row in IN_FORCE.items())
    return _table(["operator", "stands in", *(f"ladder: {action}" for action in ACTIONS)], rows)


ASKED = """Defaults, profile `standard`. Findings marked * are raised on insufficient evidence too; the others are not. State findings ask by
their level and end by themselves; `not_obeyed` alone among them is an EMERGENCY.
"""
SIZES = "Sizes apply to orders that add exposure, never to exits; a reversing order is a full exit and a scaled entry.\n"
MOVES = "The row is the rung, the column what happens. What is asked raises at once; an action milder than the rung moves nothing.\n"
STREAKS = """{warning} closed days in a row at WARNING or worse ask `{reduce}`, {critical} at CRITICAL or worse `{disable}`; then that streak starts anew. What a
streak raised is left only after a later day has closed below the level counted.
"""
LEFT = """One rung after {checks} checks in a row whose findings ask for less, on sufficient evidence newer than the rung, every code that led there measured
and clear of its threshold by a fifth. A second `DISABLE_TRADING` within 7 days, and any with `recovery.auto_enable = false`, leaves only by
reset.
"""
CAPPED = "Findings and escalation are capped at WARNING. *Kept* is what was in force when it was switched on, for as long as it would have stood.\n"
OVERRULED = """By the operator's most severe word, what stands in for the judgement, and the ladder's action (its `EMERGENCY_STOP` is latched). `HALT` and
commands of `*` concern every strategy, `HALT.x` and commands of `x` that one. A `force_enable` counts up to the action that stood when it
was accepted, *acknowledged* where it names the latched action. `reset` ends commands, latches and streaks of its scope and puts the rung to
its foot: then this table holds without them. `reduce_size` publishes the smallest size of all.
"""


def page() -> str:
    """The whole page, Markdown."""
    e, r = Parameters().escalation, Parameters().recovery
    streaks = STREAKS.format(
        warning=e.warning_periods, critical=e.critical_periods, reduce=ESCALATES["WARNING"], disable=ESCALATES["CRITICAL"]
    )
    parts = (
        (HEAD,),
        ("## What is asked\n", ASKED, _findings(), _state_findings(), _levels()),
        ("## What an action means\n", _actions(), SIZES),
        ("## Every move\n", diagram(), MOVES, _moves(), streaks),
        ("## How it is left\n", LEFT.format(checks=r.checks), _recoveries()),
        ("## Advisory mode\n", CAPPED, _advisory()),
        ("## In force\n", OVERRULED, _in_force()),
    )
    return "\n".join(text for part in parts for text in part)
