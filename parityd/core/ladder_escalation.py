"""Escalation: closed periods (UTC days) in a row.

1. A period closes when both watermarks have reached its end, or the grace has passed since; in order, none twice, also after a downtime.
2. A period with fewer than `min_trades` settled trades neither extends nor breaks a streak. Parity findings count, state findings never.
3. `warning_periods` in a row at WARNING or worse ask REDUCE_SIZE, `critical_periods` at CRITICAL or worse DISABLE_TRADING; that streak starts anew.
4. What a streak raised is pinned until a later period closes below the level counted; while trading is disabled shadow fills tell, they alone come.
"""

from collections.abc import Iterator, Sequence

import msgspec

from parityd.core.evidence import Finding
from parityd.core.instants import DAY_NS, day_start, day_text
from parityd.core.ladder_recovery import merge
from parityd.core.ladder_state import LadderState, Led, Pin, level_over
from parityd.core.ladder_table import ESCALATES, LEVEL_RANK, SEVERITY, TRANSITIONS
from parityd.core.parameters import Escalation


def closing(first_day: str, closed: str, watermarks: tuple[int | None, int | None], now: int, late_ns: int) -> Iterator[str]:
    """The days to close now, oldest first. `watermarks`: of live and backtest (ns), None where that book sent nothing; `late_ns`: whatever ended
    by then has had its grace.
    """
    start = max(day_start(first_day), day_start(closed) + DAY_NS if closed else day_start(first_day))
    live, backtest = watermarks
    reached = min(live, backtest) if live is not None and backtest is not None else None
    while start + DAY_NS <= now:
        end = start + DAY_NS
        if not (reached is not None and reached >= end) and late_ns < end:
            return
        yield day_text(start)
        start = end


def _counted(state: LadderState, level: str) -> dict[str, int]:
    """Both streaks after a period of this level."""
    rank = LEVEL_RANK[level]
    return {name: n + 1 if rank >= LEVEL_RANK[name] else 0 for name, n in state.streaks.items()}


def judged(
    state: LadderState, day: str, findings: Sequence[Finding] | None, shadow: Sequence[Finding] | None, now: int, escalation: Escalation
) -> tuple[LadderState, str]:
    """The state after one period, and why it raised; "" where it did not. `findings` None: under `min_trades`."""
    if day <= state.closed:
        return state, ""
    state = msgspec.structs.replace(state, closed=day)
    told = findings if findings is not None else shadow
    if told is not None:
        state = _unpinned(state, level_over(_parity(told)))
    if findings is None:
        return state, ""
    own = _parity(findings)
    streaks, said = _counted(state, level_over(own)), ""
    for name, needed in (("WARNING", escalation.warning_periods), ("CRITICAL", escalation.critical_periods)):
        if streaks[name] < needed:
            continue
        said = f"{streaks[name]} closed days in a row at {name} or worse, the last {day}"
        streaks[name] = 0
        state = _raised(state, name, day, own, now)
    return msgspec.structs.replace(state, warning_streak=streaks["WARNING"], critical_streak=streaks["CRITICAL"]), said


def _parity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if not finding.state)


def _unpinned(state: LadderState, level: str) -> LadderState:
    kept = tuple(pin for pin in state.pins if LEVEL_RANK[level] >= LEVEL_RANK[pin.level])
    return msgspec.structs.replace(state, pins=kept)


def _raised(state: LadderState, name: str, day: str, findings: tuple[Finding, ...], now: int) -> LadderState:
    action = ESCALATES[name]
    rung = TRANSITIONS[state.rung][f"{name} streak"]
    codes = (finding.code for finding in findings if LEVEL_RANK[finding.level] >= LEVEL_RANK[name])
    return msgspec.structs.replace(
        state,
        pins=(*(pin for pin in state.pins if pin.level != name), Pin(action=action, level=name, day=day)),
        led=merge(state.led, (Led(code=code, rung=action, level=name) for code in codes)),
        rung=rung,
        rung_ns=now if rung != state.rung else state.rung_ns,
        clean=0 if SEVERITY[action] >= SEVERITY[state.rung] else state.clean,
    )
