"""Who may overrule whom: every pair, with restart and expiry between, against a model that knows no table."""

import itertools

import msgspec
import pytest
from core.ladder_desk import ADVISORY, START, TERMS, finding, present

from parityd.core.commands import Command, Halt, Moment, after_reset, ended, outlasts, still_running
from parityd.core.in_force import InForce, in_force, most_severe
from parityd.core.ladder import on_check, on_clock, on_enable, on_period_closed, on_reset, on_scan
from parityd.core.ladder_state import Enable, LadderState
from parityd.core.ladder_table import ACTIONS, ASKS, EFFECTS, IN_FORCE, OPERATOR, SEVERITY, STANDS_IN
from parityd.core.ladder_table import ADVISORY as ADVISORY_TABLE
from parityd.core.parameters import Escalation, Recovery

HOUR = 3600 * 10**9
LATER = START + 10**12
ITEMS = ("HALT", "HALT.x", "force_disable", "reduce_size", "force_enable", "reset", "WARNING", "CRITICAL", "EMERGENCY", "OK", "advisory")


def moment(now=START, boot=10**12, boot_id="b"):
    return Moment(now_ns=now, boottime_ns=boot, boot_id=boot_id)


def command(verb, strategy="x", ends=HOUR, **given):
    expires = {} if ends is None else {"expires_ns": START + ends, "expires_boottime_ns": 10**12 + ends}
    fields = {"operator": "ops", "reason": "drill", "accepted_ns": START, "accepted_boottime_ns": 10**12, "boot_id": "b"}
    return Command(command=verb, strategy=strategy, **{**fields, **expires, **given})


def halt(scope="*"):
    return Halt(scope=scope, reason=f"operator halt: {scope}", since_ns=START)


def entry(ladder="CONTINUE", **given) -> InForce:
    return in_force(given.pop("strategy", "x"), **{"ladder": ladder, "reason": "x: why", "reduce_to": 0.5, "moment": moment(), **given})


def enable(stood="REDUCE_SIZE", **given):
    return Enable(command=command("force_enable", **given), stood=stood)


class Scene:
    """One strategy with everything that can be done to it; `restart` goes through bytes."""

    def __init__(self):
        self.state, self.halts, self.commands, self.terms, self.at = LadderState(strategy="x"), [], (), TERMS, START

    def restart(self):
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=LadderState)
        self.commands = msgspec.json.decode(msgspec.json.encode(self.commands), type=tuple[Command, ...])

    def do(self, item):
        self.at += 1
        if item.startswith("HALT"):
            self.halts.append(halt("*" if item == "HALT" else "x"))
        elif item in ("force_disable", "reduce_size"):
            self.commands += (command(item, size_multiplier=0.25 if item == "reduce_size" else None),)
        elif item == "force_enable":
            self.state = on_enable(self.state, command(item, acknowledge=self.state.latched_action or "")).state
        elif item == "reset":
            self.state, self.commands = on_reset(self.state, self.at).state, after_reset(self.commands, "x")
        elif item == "advisory":
            self.terms = ADVISORY
            self.state = on_scan(self.state, self.state.findings, self.at, self.terms).state
        else:
            found = () if item == "OK" else (finding(item),)
            self.state = on_scan(self.state, found, self.at, self.terms).state

    def entry(self, now=START + 1):
        return in_force(
            "x", ladder=self.state.action, reason=self.state.reason, reduce_to=0.5, moment=moment(now, 10**12 + now - START), halts=self.halts,
            commands=self.commands, enable=self.state.enable, latched=self.state.latched_action,
        )  # fmt: skip


class Model:
    """What must be in force, from the sentences of the contract."""

    def __init__(self):
        self.halted, self.lowering, self.stood, self.ladder, self.advisory = False, set(), None, 0, False

    def do(self, item):
        if item.startswith("HALT"):
            self.halted = True
        elif item in ("force_disable", "reduce_size"):
            self.lowering.add(3 if item == "force_disable" else 2)
        elif item == "force_enable":
            self.stood = self.ladder
        elif item == "reset":
            self.lowering, self.stood, self.ladder = set(), None, 0
        elif item == "advisory":
            self.advisory = True
        else:
            asked = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "EMERGENCY": 4}[item]
            self.ladder = max(self.ladder, min(asked, 1) if self.advisory else asked)
            if self.stood is not None and self.ladder > self.stood:
                self.stood = None

    def expire(self):
        self.lowering, self.stood = set(), None

    def action(self):
        return ACTIONS[4 if self.halted else max([0 if self.stood is not None else self.ladder, *self.lowering])]


@pytest.mark.parametrize("items", list(itertools.product(ITEMS, repeat=2)), ids="-".join)
def test_every_pair_with_restart_and_expiry_between(items):
    scene, model = Scene(), Model()
    for item in items:
        scene.do(item)
        model.do(item)
        assert scene.entry().action == model.action()
        scene.restart()
        assert scene.entry().action == model.action(), "a restart changes nothing"
    model.expire()
    assert scene.entry(START + HOUR).action == model.action(), "what lies under it holds at once"
    scene.state = on_clock(scene.state, moment(START + HOUR, 10**12 + HOUR)).state
    assert scene.state.enable is None
    assert scene.entry(START + HOUR).action == model.action()


def test_every_three_in_a_row():
    for items in itertools.product(ITEMS, repeat=3):
        scene, model = Scene(), Model()
        for item in items:
            scene.do(item)
            model.do(item)
        assert scene.entry().action == model.action(), items


def test_the_tables_are_total():
    assert set(IN_FORCE) == set(itertools.product(OPERATOR, STANDS_IN))
    assert all(set(row) == set(ACTIONS) for row in (*IN_FORCE.values(), *ADVISORY_TABLE.values()))
    assert set(ADVISORY_TABLE) == set(ACTIONS) == set(EFFECTS)


def test_the_in_force_table_is_the_most_severe_of_its_parts():
    words = dict(
        zip(OPERATOR, ("CONTINUE", "REDUCE_SIZE", "DISABLE_TRADING", "DISABLE_TRADING", "EMERGENCY_STOP", "EMERGENCY_STOP"), strict=True)
    )
    for (word, stands_in), row in IN_FORCE.items():
        for ladder, action in row.items():
            replaced = stands_in == STANDS_IN[2] or (stands_in == STANDS_IN[1] and ladder != "EMERGENCY_STOP")
            assert action == max(words[word], "CONTINUE" if replaced else ladder, key=SEVERITY.__getitem__)


def test_the_advisory_table_caps_and_keeps():
    for would_be, row in ADVISORY_TABLE.items():
        for kept, action in row.items():
            limit = max(SEVERITY["WARNING"], SEVERITY[kept])
            assert SEVERITY[action] == min(SEVERITY[would_be], limit)


@pytest.mark.parametrize("ladder", ACTIONS)
@pytest.mark.parametrize("scope", ["*", "x"])
def test_a_halt_is_above_everything(ladder, scope):
    got = entry(ladder, halts=[halt(scope)], enable=enable(ladder, acknowledge="EMERGENCY_STOP"), latched="EMERGENCY_STOP")
    assert (got.action, got.trading_enabled, got.size_multiplier, got.override["command"]) == ("EMERGENCY_STOP", False, 0.0, "HALT")


def test_what_concerns_another_strategy_concerns_nobody_here():
    got = entry(halts=[halt("y")], commands=[command("force_disable", "y")])
    assert (got.action, got.override, got.reason) == ("CONTINUE", None, "x: why")


@pytest.mark.parametrize(
    ("ladder", "sizes", "want"),
    [("CONTINUE", [0.8], 0.8), ("CONTINUE", [0.8, 0.3], 0.3), ("WARNING", [0.0], 0.0), ("REDUCE_SIZE", [0.8], 0.5), ("REDUCE_SIZE", [0.2], 0.2), ("REDUCE_SIZE", [], 0.5)],
)  # fmt: skip
def test_the_smallest_size_is_published(ladder, sizes, want):
    got = entry(ladder, commands=[command("reduce_size", size_multiplier=size) for size in sizes])
    assert (got.action, got.trading_enabled, got.size_multiplier) == ("REDUCE_SIZE", True, want)


def test_the_size_under_a_force_enable_is_the_commands_alone():
    got = entry("REDUCE_SIZE", commands=[command("reduce_size", size_multiplier=0.8)], enable=enable())
    assert (got.action, got.size_multiplier) == ("REDUCE_SIZE", 0.8)


@pytest.mark.parametrize("size", [None, 1.0, -0.1, float("nan")])
def test_a_size_out_of_its_range_disables(size):
    assert entry(commands=[command("reduce_size", size_multiplier=size)]).action == "DISABLE_TRADING"


def test_a_broken_store_disables_and_nothing_enables_it():
    got = entry(broken_store=True, enable=enable("DISABLE_TRADING", acknowledge="DISABLE_TRADING"))
    assert got.action == "DISABLE_TRADING"
    assert "BROKEN_STORE" in got.reason


def test_a_latched_stop_is_enabled_only_where_it_was_acknowledged():
    def stop(acknowledge):
        return entry("EMERGENCY_STOP", latched="EMERGENCY_STOP", enable=enable("EMERGENCY_STOP", acknowledge=acknowledge)).action

    assert [stop(""), stop("DISABLE_TRADING"), stop("EMERGENCY_STOP")] == ["EMERGENCY_STOP", "EMERGENCY_STOP", "CONTINUE"]


def test_a_force_enable_never_stands_in_for_more_than_stood():
    assert [entry(ladder, enable=enable("REDUCE_SIZE")).action for ladder in ACTIONS[:4]] == ["CONTINUE"] * 3 + ["DISABLE_TRADING"]


def test_the_reason_and_the_override_name_who_decides():
    got = entry("WARNING", commands=[command("reduce_size", size_multiplier=0.5), command("force_disable", ends=None)], enable=enable())
    assert got.reason == "force_disable by ops: drill"
    assert [one["command"] for one in got.overrides] == ["force_disable", "reduce_size", "force_enable"]
    assert (got.override["expires_at"], got.override["operator"]) == (None, "ops")
    assert entry("REDUCE_SIZE", enable=enable()).reason == "force_enable by ops: drill (in place of: x: why)"


@pytest.mark.parametrize(
    ("verb", "now", "boot", "boot_id", "over"),
    [("force_disable", HOUR, HOUR - 1, "b", False), ("force_disable", HOUR - 1, HOUR, "b", False), ("force_disable", HOUR, HOUR, "b", True),
     ("force_enable", HOUR, HOUR - 1, "b", True), ("force_enable", HOUR - 1, HOUR, "b", True), ("force_enable", HOUR - 1, HOUR - 1, "b", False),
     ("force_disable", HOUR, 0, "other", True), ("force_enable", HOUR - 1, 9 * HOUR, "other", False)],
)  # fmt: skip
def test_lowering_ends_by_both_clocks_and_raising_by_either(verb, now, boot, boot_id, over):
    at = moment(START + now, 10**12 + boot, boot_id)
    one = command(verb)
    assert ended(one, at) == over
    assert still_running([one], at) == (() if over else (one,))


def test_a_reset_ends_the_commands_of_its_scope():
    mine, his, all_ = (command("force_disable", scope) for scope in ("x", "y", "*"))
    assert after_reset([mine, his, all_], "x") == (his, all_)
    assert after_reset([mine, his, all_], "*") == ()


@pytest.mark.parametrize(
    ("change", "adds"),
    [
        ({}, False),
        ({"content_hash": "other"}, True),
        ({"expires_boottime_ns": 10**12 + HOUR + 1}, True),  # the wall clock was set back between: by the other one it ends later
        ({"expires_boottime_ns": 10**12 + HOUR - 1}, False),
        ({"boot_id": "another"}, True),
        ({"expires_ns": None, "expires_boottime_ns": None}, True),
    ],
)
def test_the_same_stop_again_adds_nothing_unless_it_lasts_longer(change, adds):
    first = command("force_disable", content_hash="h")
    assert outlasts(first, msgspec.structs.replace(first, **change)) != adds


def test_a_stop_without_an_end_outlasts_every_other_of_its_content():
    endless = command("force_disable", ends=None, content_hash="h")
    assert outlasts(endless, command("force_disable", content_hash="h"))
    assert not outlasts(command("force_disable", ends=None), command("force_disable", ends=None))  # whose content nobody knows


def emergency_state():
    return on_scan(LadderState(), [finding("EMERGENCY")], START, TERMS).state


def test_a_force_enable_outlives_what_it_was_accepted_against():
    state = on_enable(emergency_state(), command("force_enable", acknowledge="EMERGENCY_STOP")).state
    again = on_check(state, [finding("EMERGENCY")], LATER, TERMS, Recovery())
    assert (again.state.enable is not None, again.ended) == (True, "")


def test_an_emergency_of_a_new_code_ends_a_force_enable():
    state = on_enable(emergency_state(), command("force_enable", acknowledge="EMERGENCY_STOP")).state
    outcome = on_scan(state, [finding("EMERGENCY"), finding("EMERGENCY", "correlation")], LATER, TERMS)
    assert (outcome.state.enable, outcome.ended) == (None, "correlation at EMERGENCY is new since it was accepted")


def test_disobedience_ends_a_force_enable():
    state = on_enable(emergency_state(), command("force_enable", acknowledge="EMERGENCY_STOP")).state
    assert on_scan(state, [present("EMERGENCY", "not_obeyed")], LATER, TERMS).ended == "not_obeyed"


def test_a_streak_that_raises_over_what_stood_ends_a_force_enable_for_good():
    state = on_enable(on_scan(LadderState(), [finding("WARNING")], START, TERMS).state, command("force_enable")).state
    for day in ("2026-03-01", "2026-03-02"):
        outcome = on_period_closed(state, day, [finding()], LATER, TERMS, Escalation())
        state = outcome.state
    assert outcome.ended == "DISABLE_TRADING is over WARNING, which stood when it was accepted"
    assert on_reset(state, LATER).state.enable is None


def test_an_ended_force_enable_does_not_come_back_when_the_clock_is_set_back():
    state = on_enable(on_scan(LadderState(), [finding()], START, TERMS).state, command("force_enable")).state
    over = on_clock(state, moment(START + HOUR, 10**12 + HOUR))
    assert (over.ended, over.changed) == ("expired", False)
    assert on_clock(over.state, moment(START)).state.enable is None


def test_the_top_level_is_the_most_severe_entry_or_a_stop_for_all():
    default, warned, reduced = entry(strategy="*"), entry("WARNING"), entry("REDUCE_SIZE")
    smaller = entry(commands=[command("reduce_size", size_multiplier=0.1)])
    assert most_severe([], default) == default
    assert most_severe([warned, reduced, smaller], default) == smaller
    assert most_severe([warned], entry("DISABLE_TRADING", strategy="*")) == warned, "a default that is only configured is no stop for all"
    for_all = entry(strategy="*", halts=[halt()])
    assert most_severe([entry(halts=[halt()]), warned], for_all).action == "EMERGENCY_STOP"


def test_levels_ask_as_the_table_says():
    assert ASKS == {"OK": "CONTINUE", "WARNING": "WARNING", "CRITICAL": "REDUCE_SIZE", "EMERGENCY": "EMERGENCY_STOP"}
