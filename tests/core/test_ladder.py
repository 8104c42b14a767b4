"""The ladder rises at once and falls slowly: examples of every rule of the moves, recovery, latches and advisory mode."""

import itertools

import pytest
from core.ladder_desk import ADVISORY, CHECK, START, TERMS, Desk, disabled, finding, present, trial

from parityd.core.evidence import Assessment
from parityd.core.ladder import on_check
from parityd.core.ladder_recovery import WITHIN_NS, Trial, drift_latch_over
from parityd.core.ladder_table import ACTIONS, ASKS, EVENTS, SEVERITY, TRANSITIONS
from parityd.core.parameters import Recovery


def test_the_table_is_total_and_only_recovery_and_reset_lead_down():
    assert set(TRANSITIONS) == set(ACTIONS)
    for rung, event in itertools.product(ACTIONS, EVENTS):
        to = TRANSITIONS[rung][event]
        if event == "reset":
            assert to == "CONTINUE"
        elif event == "recovered":
            assert SEVERITY[rung] - SEVERITY[to] == (0 if rung in ("CONTINUE", "EMERGENCY_STOP") else 1)
        else:
            asked = {"WARNING streak": "REDUCE_SIZE", "CRITICAL streak": "DISABLE_TRADING"}.get(event, event.removesuffix(" asked"))
            assert to == max(rung, asked, key=SEVERITY.__getitem__)


def test_cold_it_continues_and_says_so():
    outcome = Desk().check(evidence=trial(sufficient=False))
    assert (outcome.action, outcome.level, outcome.changed, outcome.reason) == ("CONTINUE", "OK", False, "momentum: nothing found")


@pytest.mark.parametrize("level", ["WARNING", "CRITICAL", "EMERGENCY"])
def test_a_scan_raises_at_once_to_what_the_level_asks(level):
    desk = Desk()
    outcome = desk.scan(finding(level))
    assert (outcome.action, outcome.level, outcome.changed) == (ASKS[level], level, True)
    assert outcome.reason == "momentum: tracking_error 62.1 bps >= 50"
    assert desk.state.since_ns == desk.now


def test_a_finding_may_ask_for_more_than_its_level():
    assert Desk().scan(finding(asks="DISABLE_TRADING")).action == "DISABLE_TRADING"


def test_scans_never_lower_however_often_they_are_clean():
    desk = Desk()
    desk.scan(finding())
    assert {desk.scan().action for _ in range(50)} == {"REDUCE_SIZE"}


def test_recovery_goes_one_rung_after_four_clean_checks():
    desk = Desk()
    desk.scan(finding())
    good = trial()
    assert desk.checks(8, evidence=good) == ["REDUCE_SIZE"] * 3 + ["WARNING"] * 4 + ["CONTINUE"]
    assert desk.state.reason == "momentum: left WARNING after 4 clean checks in a row on 32 newer fills"


def test_a_recovery_begins_a_new_window_and_a_raise_does_not():
    desk = Desk()
    desk.scan(finding())
    assert desk.state.line == 0
    desk.checks(4, evidence=trial())
    assert desk.state.line == desk.state.rung_ns == desk.now


@pytest.mark.parametrize(
    "bad",
    [
        None,
        trial(sufficient=False),
        trial(fresh=9),
        trial(finding("CRITICAL")),
        trial(tracking_error="CRITICAL"),
        Trial(assessment=Assessment(evidence="sufficient"), fresh=99),
    ],
    ids=["no evidence", "insufficient", "too little of it newer", "asks for as much", "not clear by a fifth", "not measured"],
)
def test_one_check_that_is_not_clean_starts_the_count_anew(bad):
    desk = Desk()
    desk.scan(finding())
    assert desk.checks(3, evidence=trial()) == ["REDUCE_SIZE"] * 3
    assert desk.check(evidence=bad).action == "REDUCE_SIZE"
    assert desk.checks(4, evidence=trial()) == ["REDUCE_SIZE"] * 3 + ["WARNING"]


def test_a_milder_finding_does_not_keep_a_rung_whose_own_threshold_is_clear():
    desk = Desk()
    desk.scan(finding())
    mild = finding("WARNING")
    assert desk.checks(9, mild, evidence=trial(mild, tracking_error="WARNING")) == ["REDUCE_SIZE"] * 3 + ["WARNING"] * 6


def test_what_led_to_the_lower_rung_earlier_must_be_clear_there_too():
    desk = Desk()
    desk.scan(finding("WARNING", "correlation"))
    desk.scan(finding("CRITICAL"))
    assert desk.checks(4, evidence=trial(correlation="WARNING"))[-1] == "WARNING"
    assert set(desk.checks(9, evidence=trial(correlation="WARNING"))) == {"WARNING"}
    assert desk.checks(4, evidence=trial(correlation="OK"))[-1] == "CONTINUE"


def test_a_scan_between_two_checks_that_finds_trouble_breaks_the_row():
    desk = Desk()
    desk.scan(finding())
    desk.checks(3, evidence=trial())
    desk.scan(finding())
    assert desk.checks(4, evidence=trial()) == ["REDUCE_SIZE"] * 3 + ["WARNING"]


def test_the_same_check_told_again_counts_once():
    desk = Desk()
    desk.scan(finding())
    for _ in range(9):
        desk.take(on_check(desk.state, (), START + CHECK, TERMS, Recovery(), trial=trial()))
    assert (desk.state.action, desk.state.clean) == ("REDUCE_SIZE", 1)


def test_from_disable_trading_only_shadow_fills_lead_and_only_to_reduced_size():
    desk = Desk()
    desk.scan(finding(code="cumulative_drift", asks="DISABLE_TRADING"))
    assert set(desk.checks(9, evidence=trial())) == {"DISABLE_TRADING"}
    old = finding(code="cumulative_drift", asks="DISABLE_TRADING")
    assert desk.checks(4, old, evidence=trial(old), shadow=trial())[-1] == "REDUCE_SIZE"
    assert set(desk.checks(9, shadow=trial())) == {"REDUCE_SIZE"}, "the next rung is judged on real fills"
    assert desk.checks(4, evidence=trial(cumulative_drift="OK"))[-1] == "WARNING"


def test_shadow_fills_must_measure_the_tracking_error_and_be_good():
    for bad in (trial(finding(asks="DISABLE_TRADING")), Trial(assessment=Assessment(evidence="sufficient"), fresh=99), trial(fresh=9)):
        desk = Desk()
        desk.scan(finding(asks="DISABLE_TRADING"))
        assert set(desk.checks(9, shadow=bad)) == {"DISABLE_TRADING"}


def test_without_auto_enable_disable_trading_leaves_only_by_reset():
    desk = disabled(recovery=Recovery(auto_enable=False))
    assert set(desk.checks(9, shadow=trial())) == {"DISABLE_TRADING"}
    assert desk.reset().action == "CONTINUE"


@pytest.mark.parametrize(("apart", "leaves"), [(WITHIN_NS - 10 * CHECK, False), (WITHIN_NS + CHECK, True)])
def test_a_second_disable_trading_within_seven_days_leaves_only_by_reset(apart, leaves):
    desk = disabled()
    first = desk.now
    desk.checks(4, shadow=trial())
    assert desk.state.action == "REDUCE_SIZE"
    desk.now = first + apart - 1
    assert desk.scan(finding(asks="DISABLE_TRADING")).action == "DISABLE_TRADING"
    assert ("REDUCE_SIZE" in desk.checks(9, shadow=trial())) == leaves
    assert desk.reset().action == "CONTINUE"


def test_staying_disabled_is_not_a_second_time():
    desk = disabled()
    desk.scan(finding(asks="DISABLE_TRADING"))
    assert desk.checks(4, shadow=trial())[-1] == "REDUCE_SIZE"


def test_an_emergency_stop_latches_and_leaves_by_reset_alone():
    desk = Desk()
    desk.scan(finding("EMERGENCY"))
    assert set(desk.checks(20, evidence=trial(), shadow=trial())) == {"EMERGENCY_STOP"}
    assert [(latch.code, latch.action) for latch in desk.state.latched] == [("tracking_error", "EMERGENCY_STOP")]
    outcome = desk.reset()
    assert (outcome.action, outcome.state.latched, outcome.state.line, outcome.state.reset_ns) == ("CONTINUE", (), desk.now, desk.now)
    assert outcome.reason == "momentum: reset by an operator"


def test_disobedience_latches_though_the_finding_ends():
    desk = Desk()
    desk.scan(present("EMERGENCY", "not_obeyed"))
    assert set(desk.checks(9, evidence=trial())) == {"EMERGENCY_STOP"}
    assert desk.state.held == ()
    assert desk.reset().action == "CONTINUE"


def test_a_state_finding_ends_after_four_clean_checks_without_trade_evidence():
    desk = Desk()
    assert desk.scan(present()).action == "REDUCE_SIZE"
    outcomes = [desk.check() for _ in range(4)]
    assert [one.action for one in outcomes] == ["REDUCE_SIZE"] * 3 + ["CONTINUE"]
    assert [[one.code for one in outcome.findings] for outcome in outcomes] == [["stale_engine"]] * 3 + [[]]
    assert outcomes[-1].reason == "momentum: stale_engine ended"


def test_a_state_finding_seen_again_starts_its_count_anew_also_by_a_scan():
    desk = Desk()
    desk.scan(present())
    desk.checks(3)
    desk.scan(present())
    assert desk.checks(4) == ["REDUCE_SIZE"] * 3 + ["CONTINUE"]


def test_scans_never_end_a_state_finding():
    desk = Desk()
    desk.scan(present())
    assert {desk.scan().action for _ in range(20)} == {"REDUCE_SIZE"}
    assert desk.checks(4) == ["REDUCE_SIZE"] * 3 + ["CONTINUE"]


def test_clean_checks_of_a_lower_rung_do_not_count_on_a_higher_one():
    desk = Desk()
    desk.scan(finding("WARNING"))
    desk.checks(3, evidence=trial())
    desk.scan(finding("CRITICAL"))
    assert desk.checks(4, evidence=trial()) == ["REDUCE_SIZE"] * 3 + ["WARNING"]


def test_a_state_finding_that_eases_falls_to_its_milder_level_first():
    desk = Desk()
    desk.scan(present("CRITICAL"))
    assert desk.checks(4, present("WARNING")) == ["REDUCE_SIZE"] * 3 + ["WARNING"]
    assert desk.checks(4) == ["WARNING"] * 3 + ["CONTINUE"]


def test_what_a_state_finding_asked_ends_with_it_and_what_trades_asked_stays():
    desk = Desk()
    desk.scan(finding("WARNING"), present("CRITICAL"))
    outcome = [desk.check() for _ in range(4)][-1]
    assert outcome.action == "WARNING"
    assert set(desk.checks(9)) == {"WARNING"}, "without evidence the trades' part stays"


def test_a_reset_ends_state_findings_that_are_mended_and_keeps_those_that_stand():
    desk = Desk()
    desk.scan(present(code="stale_engine"), present(code="lagging"))
    desk.check(present(code="lagging"))
    outcome = desk.reset()
    assert [one.finding.code for one in outcome.state.held] == ["lagging"]
    assert (outcome.action, outcome.level) == ("REDUCE_SIZE", "CRITICAL")


def test_after_a_reset_the_reason_is_what_still_stands_and_not_what_lies_behind_the_line():
    desk = Desk()
    desk.scan(finding("CRITICAL"), present(code="lagging"))
    assert "tracking_error" in desk.state.reason
    since = desk.state.since_ns
    outcome = desk.reset()
    assert (outcome.action, outcome.changed, outcome.state.since_ns) == ("REDUCE_SIZE", False, since)
    assert outcome.reason.startswith("momentum: reset by an operator; lagging")
    desk.scan(finding("EMERGENCY"), present(code="lagging"))
    assert desk.reset().reason.startswith("momentum: reset by an operator; lagging")


def test_advisory_mode_caps_what_rises_and_says_what_would_be():
    desk = Desk(terms=ADVISORY)
    outcome = desk.scan(finding("EMERGENCY"))
    assert (outcome.action, outcome.would_be_action, outcome.level) == ("WARNING", "EMERGENCY_STOP", "EMERGENCY")
    assert outcome.reason == "momentum: tracking_error 62.1 bps >= 50 (advisory: would be EMERGENCY_STOP)"
    assert outcome.state.latched_action is None, "it was never a stop"


@pytest.mark.parametrize("what", [finding(), finding(asks="DISABLE_TRADING"), finding("EMERGENCY"), present()])
def test_switching_advisory_mode_on_lifts_nothing_that_is_in_force(what):
    desk = Desk()
    stood = desk.scan(what).action
    desk.terms = ADVISORY
    assert desk.scan(what).action == stood
    assert desk.check(what, evidence=trial(what)).action == stood


def test_what_stood_when_advisory_mode_came_on_recovers_as_ever_and_then_the_cap_holds():
    desk = Desk()
    desk.scan(finding())
    desk.terms = ADVISORY
    assert desk.checks(4, evidence=trial())[-1] == "WARNING"
    outcome = desk.scan(finding())
    assert (outcome.action, outcome.would_be_action) == ("WARNING", "REDUCE_SIZE")


def test_what_advisory_mode_held_back_is_in_force_when_it_is_switched_off():
    desk = Desk(terms=ADVISORY)
    desk.scan(finding("EMERGENCY"))
    desk.terms = TERMS
    outcome = desk.check()
    assert (outcome.action, outcome.state.latched_action) == ("EMERGENCY_STOP", "EMERGENCY_STOP")


def test_a_stop_that_was_only_advised_recovers_on_real_fills():
    desk = Desk(terms=ADVISORY)
    desk.scan(finding(asks="DISABLE_TRADING"))
    desk.checks(4, evidence=trial())
    assert desk.state.would_be == "REDUCE_SIZE"
    assert desk.state.disables == ()


def test_the_reason_stands_as_long_as_the_action_does():
    desk = Desk()
    first = desk.scan(finding(detail="tracking_error 62.1 bps >= 50")).reason
    assert desk.scan(finding(detail="tracking_error 63.0 bps >= 50")).reason == first


def test_an_adverse_alarm_is_latched_for_seven_days():
    assert [drift_latch_over(START, START + WITHIN_NS - 1), drift_latch_over(START, START + WITHIN_NS)] == [False, True]
