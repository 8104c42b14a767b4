"""A state machine drives random findings, clocks, commands, late data and restarts through the ladder and holds its invariants:

1. Scans, closed periods, commands, clocks and restarts never lower the action; only a check and a reset do.
2. A fall has evidence: the rung by one and after four clean checks on newer trades, a state finding's share after four checks without it.
3. EMERGENCY_STOP leaves by reset alone; so does a second DISABLE_TRADING within 7 days.
4. Advisory mode never raises over WARNING, lifts nothing when it is switched on, and hides no HALT, command or latched stop.
5. A force_enable that has ended never comes back, and none stands in for more than stood when it was accepted.
6. A restart changes nothing, and so raises no risk.
7. A closed period is judged once, in order, whatever arrives late.
8. What is in force is total and consistent: HALT always wins, every lowering command is obeyed, the size follows from the action.
"""

import msgspec
from core.ladder_desk import START, finding, present
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parityd.core.commands import Command, Halt, Moment, after_reset, concerns, still_running
from parityd.core.evidence import Assessment
from parityd.core.in_force import in_force, most_severe
from parityd.core.instants import DAY_NS, day_text
from parityd.core.ladder import AFTER_RESET, on_check, on_clock, on_enable, on_period_closed, on_reset, on_scan
from parityd.core.ladder_recovery import WITHIN_NS, Trial
from parityd.core.ladder_state import LadderState, asked
from parityd.core.ladder_table import ACTIONS, LEVELS, SEVERITY
from parityd.core.parameters import Escalation, Recovery, StrategyTerms

PARITY = ("tracking_error", "correlation", "drift", "cumulative_drift")
STATE = ("stale_engine", "lagging", "not_obeyed")
CHECKS = Recovery().checks
MIN = StrategyTerms().thresholds.min_trades


@st.composite
def parity_findings(draw):
    codes = draw(st.lists(st.sampled_from(PARITY), unique=True, max_size=2))
    found = []
    for code in codes:
        level = draw(st.sampled_from(LEVELS[1:3] * 3 + LEVELS[3:]))
        stop = code == "cumulative_drift" and level == "CRITICAL"
        found.append(finding(level, code, asks="DISABLE_TRADING" if stop else None))
    return found


@st.composite
def state_findings(draw):
    codes = draw(st.lists(st.sampled_from(STATE * 3 + ("not_obeyed",)), max_size=1))
    return [present("EMERGENCY" if code == "not_obeyed" else draw(st.sampled_from(LEVELS[1:3])), code) for code in codes]


@st.composite
def trials(draw, findings):
    found = tuple(one for one in findings if not one.state)
    held = {code: draw(st.sampled_from(("OK",) * 6 + LEVELS)) for code in draw(st.sampled_from((PARITY,) * 4 + (PARITY[:1], ())))}
    held |= {one.code: one.level for one in found}
    assessment = Assessment(evidence=draw(st.sampled_from(("sufficient",) * 6 + ("insufficient",))), findings=found, held=held)
    return Trial(assessment=assessment, fresh=draw(st.sampled_from((50, 50, 50, MIN, MIN - 1))))


def severity(action):
    return SEVERITY[action]


class Ladder(RuleBasedStateMachine):
    @initialize(advisory=st.booleans())
    def begin(self, advisory):
        self.state, self.terms = LadderState(strategy="x"), StrategyTerms(advisory=advisory)
        self.wall, self.boot, self.boot_id = START, 10**15, "boot-0"
        self.halts, self.commands, self.ended_enables = [], (), []
        self.clean, self.absent, self.disables, self.judged = 0, {}, [], []
        self.at_switch, self.reset_only = "CONTINUE", False

    def moment(self):
        return Moment(now_ns=self.wall, boottime_ns=self.boot, boot_id=self.boot_id)

    def take(self, outcome, *, may_fall=False):
        before, self.state = self.state, outcome.state
        assert (outcome.action, outcome.previous) == (self.state.action, before.action)
        assert outcome.changed == (outcome.action != before.action)
        assert outcome.reason
        assert outcome.changed or before.since_ns == 0 or outcome.reason == before.reason or AFTER_RESET in outcome.reason, "6"
        if not may_fall:
            assert severity(outcome.action) >= severity(before.action), "1: only a check or a reset lowers"
            assert severity(self.state.rung) >= severity(before.rung), "1"
        if before.enable is not None and self.state.enable is None:
            self.ended_enables.append(before.enable.command.id)
            assert outcome.ended
        if outcome.action == "DISABLE_TRADING" and severity(before.action) < severity("DISABLE_TRADING"):
            self.reset_only |= any(self.wall - then <= WITHIN_NS for then in self.disables[-8:])
            self.disables.append(self.wall)
        return before

    @rule(seconds=st.sampled_from((1, 60, 900, 900, 900, 6 * 3600, 2 * 86400, 8 * 86400)))
    def time_passes(self, seconds):
        self.wall += seconds * 10**9
        self.boot += seconds * 10**9
        self.take(on_clock(self.state, self.moment()))

    @rule(seconds=st.sampled_from((-3600, 3600, -30 * 86400, 400 * 86400)))
    def the_wall_clock_jumps(self, seconds):
        self.wall += seconds * 10**9
        self.take(on_clock(self.state, self.moment()))

    @rule(reboot=st.booleans())
    def restart(self, reboot):
        before = self.entry()
        kept = msgspec.msgpack.encode((self.state, self.commands, self.halts))
        self.state, self.commands, self.halts = msgspec.msgpack.decode(kept, type=tuple[LadderState, tuple[Command, ...], list[Halt]])
        assert self.entry() == before, "6: a restart changes nothing"
        if reboot:
            self.boot, self.boot_id = 10**9, self.boot_id + "'"
            self.take(on_clock(self.state, self.moment()))

    @rule(parity=parity_findings(), state=state_findings())
    def scan(self, parity, state):
        self._saw(parity, state)
        before = self.take(on_scan(self.state, [*parity, *state], self.wall, self.terms))
        self._raises(before, parity, state)

    @rule(
        data=st.data(),
        parity=st.one_of(st.just([]), parity_findings()),
        state=st.one_of(st.just([]), st.just([]), state_findings()),
        repeat=st.integers(1, 6),
    )
    def check(self, data, parity, state, repeat):
        trial, shadow = data.draw(trials(parity)), data.draw(st.none() | trials([]))
        for _ in range(repeat):
            self.wall += 900 * 10**9
            self.boot += 900 * 10**9
            self._check(parity, state, trial, shadow)

    def _check(self, parity, state, trial, shadow):
        self._saw(parity, state, count=-1)
        shadowed = self.state.rung == self.state.action == "DISABLE_TRADING" or (
            self.state.rung == "DISABLE_TRADING" and severity(self.state.action) > 3
        )
        used = shadow if shadowed else trial
        good = used is not None and used.assessment.sufficient and used.fresh >= MIN
        good = good and all(severity(asked(one)) < severity(self.state.rung) for one in used.assessment.findings)
        self.clean = self.clean + 1 if good else 0
        for code in self.absent:
            self.absent[code] += 1
        outcome = on_check(self.state, [*parity, *state], self.wall, self.terms, Recovery(), trial=trial, shadow=shadow)
        before = self.take(outcome, may_fall=True)
        self._raises(before, parity, state)
        fell = severity(before.rung) - severity(self.state.rung)
        assert fell <= 1, "2: one rung at a time"
        if fell == 1:
            assert self.clean >= CHECKS, "2: never lowered without evidence"
            assert before.rung != "EMERGENCY_STOP", "3"
            assert before.rung != "DISABLE_TRADING" or not self.reset_only, "3: a second one leaves only by reset"
            assert self.state.line == self.wall
        if self.state.rung != before.rung:
            self.clean = 0
        elif severity(self.state.action) < severity(before.action):
            gone = {one.finding.code for one in before.held} - {
                one.finding.code for one in self.state.held if one.clean or one.finding in state
            }
            eased = {one.finding.code for one in before.held} & {one.finding.code for one in self.state.held if one.clean == 0}
            assert any(self.absent.get(code, 0) >= CHECKS for code in gone | eased), "2: the state finding was away for four checks"
        for one in self.state.held:
            if one.clean == 0:
                self.absent[one.finding.code] = 0
        if before.action == "EMERGENCY_STOP" and before.latched_action:
            assert self.state.action == "EMERGENCY_STOP", "3"

    def _saw(self, parity, state, count=0):
        """What breaks the rows of clean checks that the model counts."""
        if any(severity(asked(one)) >= severity(self.state.rung) for one in parity) and self.state.rung != "DISABLE_TRADING":
            self.clean = 0
        for one in state:
            standing = {held.finding.code: held.finding for held in self.state.held}.get(one.code)
            if standing is None or severity(asked(one)) >= severity(asked(standing)):
                self.absent[one.code] = count

    def _raises(self, before, parity, state):
        by_shadow = before.rung == "DISABLE_TRADING" and severity(self.state.rung) < severity(before.rung)  # the real window is of before
        asks = max([severity(asked(one)) for one in [*([] if by_shadow else parity), *state]], default=0)
        assert severity(self.state.would_be) >= asks, "what is asked is answered at once"
        if not self.terms.advisory:
            assert self.state.action == self.state.would_be
        if severity(self.state.rung) > severity(before.rung):
            self.clean = 0

    @rule(ahead=st.sampled_from((1, 1, 1, 2, 0, -1)), findings=st.none() | parity_findings(), shadow=st.none() | parity_findings())
    def a_period_closes(self, ahead, findings, shadow):
        last = self.judged[-1] if self.judged else START // DAY_NS
        day = last + ahead
        outcome = on_period_closed(self.state, day_text(day * DAY_NS), findings, self.wall, self.terms, Escalation(), shadow=shadow)
        before = self.take(outcome)
        if self.judged and day <= last:
            assert self.state.streaks == before.streaks, "7: judged once"
            assert self.state.action == before.action or before.advisory != self.terms.advisory, "7"
        else:
            self.judged.append(day)
        if severity(self.state.rung) > severity(before.rung):
            self.clean = 0

    @rule(advisory=st.booleans(), parity=parity_findings())
    def a_new_configuration(self, advisory, parity):
        if advisory and not self.terms.advisory:
            self.at_switch = self.state.action
        self.terms = StrategyTerms(advisory=advisory)
        self._saw(parity, [])
        before = self.take(on_scan(self.state, parity, self.wall, self.terms))
        assert severity(self.state.action) >= severity(before.action), "4: switching lifts nothing"

    @rule(
        verb=st.sampled_from(("force_disable", "reduce_size")),
        size=st.sampled_from((None, 0.0, 0.3, 0.9)),
        scope=st.sampled_from(("*", "x")),
        hours=st.none() | st.integers(1, 48),
    )
    def a_lowering_command(self, verb, size, scope, hours):
        self.commands = (*self.commands[-4:], self._command(verb, scope, hours, size_multiplier=size))

    @rule(hours=st.integers(1, 24), acknowledge=st.booleans())
    def a_force_enable(self, hours, acknowledge):
        if self.state.enable is not None:
            self.ended_enables.append(self.state.enable.command.id)
        command = self._command("force_enable", "x", hours, acknowledge=(self.state.latched_action or "") if acknowledge else "")
        self.take(on_enable(self.state, command))

    def _command(self, verb, scope, hours, **given):
        ends = (
            {}
            if hours is None
            else {"expires_ns": self.wall + hours * 3600 * 10**9, "expires_boottime_ns": self.boot + hours * 3600 * 10**9}
        )
        self.count = getattr(self, "count", 0) + 1
        return Command(
            command=verb, strategy=scope, operator="ops", reason="drill", accepted_ns=self.wall, accepted_boottime_ns=self.boot, boot_id=self.boot_id,
            id=str(self.count), **ends, **given,
        )  # fmt: skip

    @rule(scope=st.sampled_from(("*", "x", "y")))
    def halt(self, scope):
        self.halts = [*self.halts[-2:], Halt(scope=scope, reason=f"operator halt: {scope}", since_ns=self.wall)]

    @precondition(lambda self: self.halts)
    @rule()
    def a_halt_lifts(self):
        self.halts = self.halts[1:]

    @rule()
    def reset(self):
        standing = [one for one in self.state.held if one.clean == 0 and one.finding.code != "not_obeyed"]
        before = self.take(on_reset(self.state, self.wall), may_fall=True)
        self.commands = after_reset(self.commands, "x")
        self.clean, self.reset_only = 0, False
        assert severity(self.state.action) <= severity(before.action)
        assert (self.state.rung, self.state.latched, self.state.streaks) == ("CONTINUE", (), {"WARNING": 0, "CRITICAL": 0})
        assert severity(self.state.would_be) == max([severity(asked(one.finding)) for one in standing], default=0)

    def entry(self):
        s = self.state
        return in_force(
            "x", ladder=s.action, reason=s.reason, reduce_to=0.5, moment=self.moment(), halts=self.halts, commands=self.commands,
            enable=s.enable, latched=s.latched_action,
        )  # fmt: skip

    @invariant()
    def what_is_in_force_is_total_and_consistent(self):
        got = self.entry()
        assert got.action in ACTIONS
        assert got.trading_enabled == (severity(got.action) < 3)
        assert {0: got.size_multiplier == 1, 1: got.size_multiplier == 1, 2: 0 <= got.size_multiplier < 1}.get(
            severity(got.action), got.size_multiplier == 0
        )
        if any(concerns(one.scope, "x") for one in self.halts):
            assert got.action == "EMERGENCY_STOP", "8: HALT always wins"
        for one in still_running(self.commands, self.moment()):
            disables = one.command == "force_disable" or one.size_multiplier is None
            assert severity(got.action) >= (3 if disables else 2), "8: lowering commands are obeyed"
            assert disables or got.size_multiplier <= one.size_multiplier
        if self.state.enable is None:
            assert severity(got.action) >= severity(self.state.action), "8"
        else:
            assert self.state.enable.command.id not in self.ended_enables, "5: ended, it never comes back"
            assert severity(self.state.action) <= severity(self.state.enable.stood), "5"
            if self.state.latched_action and self.state.enable.command.acknowledge != self.state.latched_action:
                assert got.action == "EMERGENCY_STOP", "5: a latched stop must be acknowledged"
        default = in_force("*", ladder="CONTINUE", reason="", reduce_to=0.5, moment=self.moment(), halts=self.halts, commands=self.commands)
        assert most_severe([got], default).severity >= got.severity

    @invariant()
    def advisory_mode_caps_and_hides_nothing(self):
        s = self.state
        assert severity(s.action) <= severity(s.would_be)
        if s.advisory:
            assert severity(s.action) <= max(1, severity(self.at_switch)), "4"
        if s.latched_action is not None:
            assert s.action == "EMERGENCY_STOP", "4: latched stops hold"

    @invariant()
    def the_state_survives_its_bytes(self):
        assert msgspec.json.decode(msgspec.json.encode(self.state), type=LadderState) == self.state, "6"


Ladder.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestLadder = Ladder.TestCase
