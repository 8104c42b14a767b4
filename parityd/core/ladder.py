"""One strategy's ladder: findings move it up at once, checks move it down slowly. The engine of `ladder_table`; no thresholds here. Its invariants:

1. `on_scan`, `on_period_closed`, `on_enable`, `on_clock` and a restart never lower the action; only `on_check` and `on_reset` do.
2. A fall has evidence: the rung, one at a time, after clean checks on newer trades (`ladder_recovery`); what a state finding alone asked, after clean checks.
3. EMERGENCY_STOP latches and leaves by reset alone; so does a second DISABLE_TRADING within 7 days, or any without `auto_enable`.
4. Advisory mode caps what findings and escalation raise at WARNING; what was in force when it was switched on stays until it would have gone,
   and what it held back comes into force when it is switched off.
5. A force_enable ends when the action rises over what stood when it was accepted, at an EMERGENCY finding of a new code, at `not_obeyed`, by
   either clock, or by reset; ended it never comes back.
6. State in, state out: a state restored from its bytes goes on as if nothing had happened. The reason changes with the action, or with a reset.
7. A closed period is judged once and in order; late data, other thresholds and a re-run backtest clear nothing.
"""

from collections.abc import Iterable, Sequence

import msgspec

from parityd.core.commands import Command, Moment, ended
from parityd.core.evidence import Finding
from parityd.core.ladder_escalation import judged
from parityd.core.ladder_recovery import REMEMBERED, Trial, is_second_disable, merge, present, recovered
from parityd.core.ladder_state import Enable, LadderState, Latch, Led, Outcome, asked, level_over
from parityd.core.ladder_table import ADVISORY, LEVEL_RANK, SEVERITY, TRANSITIONS, mildest, worst
from parityd.core.parameters import Escalation, Recovery, StrategyTerms

NOTHING = "nothing found"
AFTER_RESET = "reset by an operator"


def on_scan(state: LadderState, findings: Sequence[Finding], now: int, terms: StrategyTerms) -> Outcome:
    """Findings (parity and state) between two checks: they can only raise."""
    return _evaluated(state, findings, now, terms, check=False, checks=1)


def on_check(
    state: LadderState,
    findings: Sequence[Finding],
    now: int,
    terms: StrategyTerms,
    recovery: Recovery,
    *,
    trial: Trial | None = None,
    shadow: Trial | None = None,
) -> Outcome:
    """The check: raises, and lowers by one rung at most. `findings`: parity and state.

    `trial`: the same window's assessment and how much of it is newer than `state.rung_ns`; `shadow`: that of the shadow fills since then,
    None where there are none.
    """
    return _evaluated(state, findings, now, terms, check=True, checks=recovery.checks, recovery=recovery, trial=trial, shadow=shadow)


def on_period_closed(
    state: LadderState,
    day: str,
    findings: Sequence[Finding] | None,
    now: int,
    terms: StrategyTerms,
    escalation: Escalation,
    *,
    shadow: Sequence[Finding] | None = None,
) -> Outcome:
    """A closed period judged by the parity findings of its own trades (after `reset_ns`); None: fewer than `min_trades`. `shadow`: by its shadow fills."""
    after, why = judged(state, day, findings, shadow, now, escalation)
    return _settled(state, after, now, advisory=terms.advisory, rise=why)


def on_reset(state: LadderState, now: int) -> Outcome:
    """An accepted reset: latches, streaks, rung and force_enable end and a line is drawn. A state finding that still stands stays."""
    standing = tuple(one for one in state.held if one.clean == 0 and one.finding.code != "not_obeyed")
    after = msgspec.structs.replace(
        state,
        rung=TRANSITIONS[state.rung]["reset"], rung_ns=now, led=(), pins=(), clean=0, latched=(), reset_only=False,
        warning_streak=0, critical_streak=0, line=now, reset_ns=now, enable=None,
        held=standing, findings=tuple(one.finding for one in standing), level=level_over(tuple(one.finding for one in standing)),
    )  # fmt: skip
    rise = _asking(after, after.findings) if after.findings else ""
    outcome = _settled(state, after, now, advisory=state.advisory, rise=rise, fall=AFTER_RESET)
    found = outcome.state
    if found.action == state.action and rise:  # what it said before may be behind the line
        found = msgspec.structs.replace(found, reason=_sentence(found, f"{AFTER_RESET}; {rise}"))
    return _outcome(state, found, ended="reset" if state.enable is not None else "")


def on_enable(state: LadderState, command: Command) -> Outcome:
    """An accepted force_enable: what stands now is what it stands in for."""
    emergencies = tuple(sorted({finding.code for finding in state.findings if finding.level == "EMERGENCY"}))
    after = msgspec.structs.replace(state, enable=Enable(command=command, stood=state.action, emergencies=emergencies))
    return _outcome(state, after)


def on_clock(state: LadderState, moment: Moment) -> Outcome:
    """Ends a force_enable whose time is over, for good, whatever the clocks say later."""
    if state.enable is None or not ended(state.enable.command, moment):
        return _outcome(state, state)
    return _outcome(state, msgspec.structs.replace(state, enable=None), ended="expired")


def _evaluated(
    state: LadderState,
    findings: Sequence[Finding],
    now: int,
    terms: StrategyTerms,
    *,
    check: bool,
    checks: int,
    recovery: Recovery | None = None,
    trial: Trial | None = None,
    shadow: Trial | None = None,
) -> Outcome:
    parity = tuple(finding for finding in findings if not finding.state)
    counted = check and now != state.checked_ns
    held = present(state.held, (finding for finding in findings if finding.state), check=counted, checks=checks)
    after = _latched(_raised(state, parity, now), findings, now, advisory=terms.advisory)
    fall = ""
    if recovery is not None and after.rung == state.rung:
        after, fall = recovered(after, trial, shadow, now, min_trades=terms.thresholds.min_trades, recovery=recovery)
    shown = tuple(sorted((*parity, *(one.finding for one in held)), key=lambda finding: -LEVEL_RANK[finding.level]))
    checked = now if check else state.checked_ns
    after = msgspec.structs.replace(after, held=held, findings=shown, level=level_over(shown), checked_ns=checked)
    rise = _asking(after, findings)
    outcome = _settled(state, after, now, advisory=terms.advisory, rise=rise, fall=fall or _gone(state, after))
    return _enable_judged(outcome, findings)


def _raised(state: LadderState, parity: Iterable[Finding], now: int) -> LadderState:
    """The rung after the parity findings; those that ask for it, or more, lead there."""
    found = tuple(parity)
    top = worst(*(asked(finding) for finding in found))
    rung = TRANSITIONS[state.rung][f"{top} asked"]
    if SEVERITY[top] < SEVERITY[rung] or rung == "CONTINUE":
        return state
    led = merge(state.led, (Led(code=one.code, rung=rung, level=one.level) for one in found if SEVERITY[asked(one)] >= SEVERITY[rung]))
    if rung == state.rung:  # on DISABLE_TRADING the window is old: shadow fills alone speak for and against
        return msgspec.structs.replace(state, led=led, clean=state.clean if rung == "DISABLE_TRADING" else 0)
    return msgspec.structs.replace(state, led=led, rung=rung, rung_ns=now, clean=0)


def _latched(state: LadderState, findings: Iterable[Finding], now: int, *, advisory: bool) -> LadderState:
    """Every code that asks EMERGENCY_STOP latches once."""
    known = {latch.code for latch in state.latched}
    new = [
        Latch(code=one.code, action="EMERGENCY_STOP", since_ns=now, reason=one.detail, held_back=advisory)
        for one in findings
        if asked(one) == "EMERGENCY_STOP" and one.code not in known
    ]
    return msgspec.structs.replace(state, latched=(*state.latched, *new)) if new else state


def _asking(state: LadderState, findings: Iterable[Finding]) -> str:
    """The sentence of what asks for all that the state would do; "" where nothing found now does."""
    asking = [finding.detail for finding in findings if asked(finding) == state.would_be]
    return asking[0] if asking else state.latched[-1].reason if state.latched else ""


def _gone(before: LadderState, after: LadderState) -> str:
    now = {one.finding.code for one in after.held}
    codes = [one.finding.code for one in before.held if one.finding.code not in now]
    return f"{', '.join(codes)} ended" if codes else "what asked for more has passed"


def _settled(before: LadderState, after: LadderState, now: int, *, advisory: bool, rise: str, fall: str = "") -> Outcome:
    """The action that the new state puts in force, capped where advisory, and what follows from its change."""
    would_be = after.would_be
    if advisory:
        kept = mildest(would_be, before.kept if before.advisory else before.action)
        action = ADVISORY[would_be][kept]
    else:
        kept, action = "CONTINUE", would_be
        after = msgspec.structs.replace(after, latched=tuple(msgspec.structs.replace(latch, held_back=False) for latch in after.latched))
    after = msgspec.structs.replace(after, advisory=advisory, kept=kept, action=action)
    if action == "DISABLE_TRADING" and SEVERITY[before.action] < SEVERITY[action]:
        after = msgspec.structs.replace(
            after, reset_only=after.reset_only or is_second_disable(before, now), disables=(*before.disables, now)[-REMEMBERED:]
        )
    if action != before.action:
        sentence = rise if SEVERITY[action] > SEVERITY[before.action] else f"{fall}; {rise}" if rise else fall
        capped = f" (advisory: would be {would_be})" if action != would_be else ""
        after = msgspec.structs.replace(
            after, since_ns=now, reason=_sentence(after, (sentence or f"{action} was held back by advisory mode") + capped)
        )
    elif before.since_ns == 0:
        after = msgspec.structs.replace(after, since_ns=now, reason=_sentence(after, NOTHING))
    return _enable_judged(_outcome(before, after), ())


def _sentence(state: LadderState, text: str) -> str:
    return f"{state.strategy}: {text}" if state.strategy else text


def _enable_judged(outcome: Outcome, found: Sequence[Finding]) -> Outcome:
    """Whether a force_enable outlives what was just found."""
    enable = outcome.state.enable
    if enable is None:
        return outcome
    new = sorted({one.code for one in found if one.level == "EMERGENCY"} - set(enable.emergencies))
    if any(one.code == "not_obeyed" for one in found):
        why = "not_obeyed"
    elif SEVERITY[outcome.action] > SEVERITY[enable.stood]:
        why = f"{outcome.action} is over {enable.stood}, which stood when it was accepted"
    elif new:
        why = f"{new[0]} at EMERGENCY is new since it was accepted"
    else:
        return outcome
    return msgspec.structs.replace(outcome, state=msgspec.structs.replace(outcome.state, enable=None), ended=why)


def _outcome(before: LadderState, after: LadderState, ended: str = "") -> Outcome:
    return Outcome(
        state=after, action=after.action, previous=before.action, level=after.level, would_be_action=after.would_be,
        changed=after.action != before.action, reason=after.reason, findings=after.findings, ended=ended,
    )  # fmt: skip
