"""Lowering: when a rung may be left, and how state findings end.

1. One rung at a time, after `checks` checks in a row that are clean: sufficient evidence, at least `min_trades` of it settled after the rung was
   reached, findings that ask for less, and every code that led here measured and clear of its threshold by a fifth.
2. What was not measured is not clear. Shadow fills cannot measure everything: from them the tracking error must be, the rest where it is.
3. DISABLE_TRADING is left on shadow fills alone, never where `auto_enable` is off or it was the second within 7 days.
4. What a streak raised stays until a later period has closed below the level counted.
5. A check told twice with the same time counts once.
"""

from collections.abc import Iterable

import msgspec

from parityd.core.evidence import Assessment, Finding
from parityd.core.ladder_state import Held, LadderState, Led, Pin, asked
from parityd.core.ladder_table import LEVEL_RANK, OWN_LEVEL, RECOVERY_EVIDENCE, SEVERITY, TRANSITIONS
from parityd.core.parameters import Recovery

WITHIN_NS = 7 * 86_400 * 1_000_000_000
"""A second DISABLE_TRADING within this leaves only by reset; an adverse drift alarm is latched this long."""
REMEMBERED = 8


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery is judged on: an assessment, and how many of its settled executions are newer than `LadderState.rung_ns`."""

    assessment: Assessment
    fresh: int


def is_clean(state: LadderState, trial: Trial | None, *, min_trades: int, shadow: bool) -> bool:
    """Whether this check speaks for leaving the rung."""
    if trial is None or not trial.assessment.sufficient or trial.fresh < min_trades:
        return False
    held = trial.assessment.held
    if any(SEVERITY[asked(finding)] >= SEVERITY[state.rung] for finding in trial.assessment.findings):
        return False
    if shadow and "tracking_error" not in held:
        return False
    return all(_is_clear(led, held.get(led.code), shadow=shadow) for led in state.led if led.rung == state.rung)


def _is_clear(led: Led, held: str | None, *, shadow: bool) -> bool:
    return shadow if held is None else LEVEL_RANK[held] < LEVEL_RANK[led.level]


def on_shadow(state: LadderState) -> bool:
    """Whether shadow fills are what the rung is judged on: where trading is really disabled, not where advisory mode holds that back."""
    return RECOVERY_EVIDENCE[state.rung] == "shadow fills" and SEVERITY[state.action] >= SEVERITY[state.rung]


def may_leave(state: LadderState, recovery: Recovery) -> bool:
    """Whether the rung may be left at all, clean or not."""
    below = TRANSITIONS[state.rung]["recovered"]
    if below == state.rung or any(SEVERITY[below] < SEVERITY[pin.action] for pin in state.pins):
        return False
    return state.rung != "DISABLE_TRADING" or (recovery.auto_enable and not state.reset_only)


def recovered(
    state: LadderState, trial: Trial | None, shadow: Trial | None, now: int, *, min_trades: int, recovery: Recovery
) -> tuple[LadderState, str]:
    """The state after a check's look at the rung, and the sentence of the step down; "" where it stays."""
    by_shadow = on_shadow(state)
    if state.rung == "CONTINUE" or now == state.checked_ns:
        return state, ""
    evidence = shadow if by_shadow else trial
    clean = state.clean + 1 if is_clean(state, evidence, min_trades=min_trades, shadow=by_shadow) else 0
    if clean < recovery.checks or not may_leave(state, recovery):
        return msgspec.structs.replace(state, clean=clean, checked_ns=now), ""
    below = TRANSITIONS[state.rung]["recovered"]
    said = f"left {state.rung} after {clean} clean checks in a row on {evidence.fresh if evidence else 0} newer {RECOVERY_EVIDENCE[state.rung]}"
    after = msgspec.structs.replace(
        state, rung=below, rung_ns=now, line=now, clean=0, checked_ns=now, led=_led_below(state, below), pins=_pins_below(state, below)
    )
    return after, said


def _led_below(state: LadderState, below: str) -> tuple[Led, ...]:
    """Who led to the rung left, or already stood on the one below, must now be clear of that one's own level."""
    if below == "CONTINUE":
        return ()
    merged: tuple[Led, ...] = tuple(led for led in state.led if led.rung != state.rung)
    own = OWN_LEVEL[below]
    return merge(
        merged,
        (
            Led(code=led.code, rung=below, level=min(led.level, own, key=LEVEL_RANK.__getitem__))
            for led in state.led
            if led.rung == state.rung
        ),
    )


def _pins_below(state: LadderState, below: str) -> tuple[Pin, ...]:
    return tuple(pin for pin in state.pins if SEVERITY[pin.action] <= SEVERITY[below])


def merge(led: Iterable[Led], more: Iterable[Led]) -> tuple[Led, ...]:
    """Both, once a (code, rung), at the milder level: its thresholds are the harder to clear."""
    found = {(one.code, one.rung): one for one in led}
    for one in more:
        known = found.get((one.code, one.rung))
        if known is None or LEVEL_RANK[one.level] < LEVEL_RANK[known.level]:
            found[one.code, one.rung] = one
    return tuple(found[key] for key in sorted(found))


def present(held: tuple[Held, ...], found: Iterable[Finding], *, check: bool, checks: int) -> tuple[Held, ...]:
    """The state findings after an evaluation: what is found holds, what is not found (or is milder) ends after `checks` clean checks."""
    now = {finding.code: finding for finding in found}
    after = []
    for one in held:
        seen = now.pop(one.finding.code, None)
        if seen is not None and _weight(seen) >= _weight(one.finding):
            after.append(Held(finding=seen))
        elif not check:
            after.append(one)
        elif one.clean + 1 < checks:
            after.append(Held(finding=one.finding, clean=one.clean + 1, below=_heavier(one.below, seen)))
        elif (milder := _heavier(one.below, seen)) is not None:
            after.append(Held(finding=milder))
    return tuple(sorted((*after, *(Held(finding=finding) for finding in now.values())), key=lambda one: one.finding.code))


def _weight(finding: Finding) -> int:
    return SEVERITY[asked(finding)]


def _heavier(one: Finding | None, other: Finding | None) -> Finding | None:
    if one is None or other is None:
        return one or other
    return one if _weight(one) >= _weight(other) else other


def is_second_disable(state: LadderState, now: int) -> bool:
    """Whether a DISABLE_TRADING reached now is one too many; a clock set back counts as within."""
    return any(now - before <= WITHIN_NS for before in state.disables)


def drift_latch_over(latched_ns: int, now: int) -> bool:
    """Whether an adverse drift alarm latched then has been latched for 7 days, so that its epoch may end."""
    return now - latched_ns >= WITHIN_NS
