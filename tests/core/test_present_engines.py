"""State findings about engines and their surroundings: silence, health, acknowledgement, obedience; that neither order nor a restart changes any finding."""

import itertools
import random

import pytest
from core.state_desk import DAY, HOUR, MINUTE, SECOND, T0, Desk, balance, decision, fill, heartbeat, order, position

from parityd.core.parameters import Parameters, StrategyTerms

# --- stale_engine -------------------------------------------------------------------------------------------------


def test_a_silent_engine_with_an_open_position_is_stale():
    desk = Desk()
    desk.give("live", heartbeat(0), fill(1))
    assert "stale_engine" not in desk.found(30 * MINUTE)
    assert desk.found(31 * MINUTE)["stale_engine"].level == "WARNING"
    assert desk.found(2 * HOUR + 2)["stale_engine"].level == "CRITICAL"
    assert "stale_engine" not in desk.found(0)


def test_a_flat_engine_is_stale_only_within_a_day_of_its_last_fill():
    desk = Desk()
    desk.give("live", heartbeat(0), fill(1), fill(2, "sell"))
    assert desk.found(23 * HOUR)["stale_engine"].level == "CRITICAL"
    assert "stale_engine" not in desk.found(DAY + 3)


def test_an_engine_that_promised_nothing_may_be_silent():
    desk = Desk()
    desk.give("live", fill(1))
    assert "stale_engine" not in desk.found(5 * HOUR)
    told = Desk(Parameters(strategies={"s": StrategyTerms(max_silence=600.0)}))
    told.give("live", fill(1))
    assert told.found(602)["stale_engine"].level == "WARNING"


def test_silence_counts_from_the_pulse_that_was_promised():
    desk = Desk()
    desk.give("live", fill(1), heartbeat(2, next_by=T0 + 4 * HOUR))
    assert "stale_engine" not in desk.found(4 * HOUR + 29 * MINUTE)
    assert desk.found(4 * HOUR + 31 * MINUTE)["stale_engine"].level == "WARNING"
    desk.give("live", heartbeat(5 * HOUR))
    assert desk.found(5 * HOUR + 31 * MINUTE)["stale_engine"].level == "WARNING"


def test_only_session_time_is_silence_where_a_calendar_is_named():
    desk = Desk(Parameters(strategies={"s": StrategyTerms(calendar="XNYS")}))
    desk.give("live", fill(1), heartbeat(2))

    def closed(calendar, start, end):
        assert calendar == "XNYS"
        return 0.1 * (end - start) / SECOND

    assert "stale_engine" not in desk.found(4 * HOUR, session_seconds=closed)
    assert "stale_engine" in desk.found(6 * HOUR, session_seconds=closed)


def test_a_file_that_nobody_has_read_is_no_silence_of_the_engine():
    desk = Desk()
    desk.give("live", heartbeat(0), fill(1))
    assert "stale_engine" not in desk.found(5 * HOUR, oldest_live_file=3.0)


def test_imported_history_has_no_present():
    desk = Desk()
    desk.give(
        "live", heartbeat(0, broker_connected=False), heartbeat(90, broker_connected=False), fill(1), position(5, 7), now=T0 + 30 * DAY
    )
    assert desk.found(30 * DAY) == {}


# --- stale_backtest, lagging, broken_source, degraded -------------------------------------------------------------


def test_a_live_execution_waits_for_the_backtest_until_it_warns():
    desk = Desk()
    desk.give("backtest", decision(0))
    desk.give("live", fill(HOUR), fill(2 * HOUR))
    assert "stale_backtest" not in desk.found(HOUR + 30 * HOUR)
    assert desk.found(HOUR + 30 * HOUR + 60)["stale_backtest"].level == "WARNING"
    assert desk.found(HOUR + 34 * HOUR + 60)["stale_backtest"].level == "CRITICAL"
    desk.give("backtest", {"kind": "heartbeat", "strategy": "s", "ts": T0 + 3 * HOUR})
    assert "stale_backtest" not in desk.found(HOUR + 34 * HOUR + 60)


def test_a_backtest_that_said_when_it_comes_is_not_stale_before():
    desk = Desk()
    desk.give("backtest", {"kind": "heartbeat", "strategy": "s", "ts": T0, "next_by": T0 + 20 * HOUR})
    desk.give("live", fill(HOUR))
    assert "stale_backtest" not in desk.found(35 * HOUR)
    assert desk.found(50 * HOUR + 60)["stale_backtest"].level == "WARNING"


def test_what_was_traded_before_a_reset_waits_for_nothing():
    desk = Desk()
    desk.give("live", fill(HOUR))
    assert "stale_backtest" in desk.found(32 * HOUR)
    assert "stale_backtest" not in desk.found(32 * HOUR, reset=T0 + 2 * HOUR)


def test_facts_of_the_outside_become_findings():
    desk = Desk()
    desk.give("live", fill(1))
    found = desk.found(
        2, oldest_live_file=901.0, degraded=("http: port taken",), sources={"a": (250, 1000, ("s",)), "b": (900, 1000, ("other",))}
    )
    assert {code: f.level for code, f in found.items()} == {"lagging": "CRITICAL", "degraded": "WARNING", "broken_source": "CRITICAL"}
    assert all(f.state for f in found.values())
    assert "250 of the last 1000 records of a" in found["broken_source"].detail
    assert desk.found(2, oldest_live_file=301.0)["lagging"].level == "WARNING"
    assert desk.found(2, oldest_live_file=300.0, sources={"a": (49, 60, ("s",))}) == {}


# --- engine_unhealthy ---------------------------------------------------------------------------------------------


def test_a_flag_false_for_a_minute_and_two_heartbeats_is_unhealthy():
    desk = Desk()
    desk.give("live", heartbeat(0, broker_connected=True), heartbeat(10, broker_connected=False, detail="socket closed"))
    assert "engine_unhealthy" not in desk.found(100)
    desk.give("live", heartbeat(20, broker_connected=False, detail="socket closed"))
    assert "engine_unhealthy" not in desk.found(60)
    found = desk.found(70)["engine_unhealthy"]
    assert found.level == "CRITICAL"
    assert "broker_connected false for 60 s (socket closed)" in found.detail
    desk.give("live", heartbeat(80, broker_connected=True))
    assert "engine_unhealthy" not in desk.found(200)


def test_a_heartbeat_that_does_not_speak_of_a_flag_says_nothing_of_it():
    desk = Desk()
    desk.give("live", heartbeat(0, balance_synced=False), heartbeat(30), heartbeat(60, balance_synced=False))
    assert "engine_unhealthy" in desk.found(70)


def test_the_order_of_heartbeats_within_a_turn_does_not_matter():
    beats = [heartbeat(at, broker_connected=at < 25, override_sequence=at // 10) for at in (0, 10, 20, 30, 40)]
    seen = set()
    for order_ in itertools.permutations(beats):
        desk = Desk()
        desk.give("live", *order_)
        p = desk.s.live
        seen.add((p.heartbeat, p.previous, tuple(p.gaps), p.acknowledged, tuple(p.false_since.items()), p.false_count["broker_connected"]))
    assert len(seen) == 1


# --- unacknowledged -----------------------------------------------------------------------------------------------


def test_a_change_that_is_not_acknowledged_within_a_minute_warns():
    desk = Desk()
    desk.publish(0, 1, "CONTINUE", 1.0)
    desk.give("live", heartbeat(1, override_sequence=1))
    desk.publish(10, 2, "REDUCE_SIZE", 0.5)
    desk.give("live", heartbeat(11, override_sequence=1), heartbeat(21, override_sequence=1))
    assert "unacknowledged" not in desk.found(70)
    assert desk.found(71)["unacknowledged"].level == "WARNING"
    desk.give("live", heartbeat(80, override_sequence=2))
    assert "unacknowledged" not in desk.found(500)


def test_a_slow_heart_has_two_of_its_beats():
    desk = Desk()
    desk.publish(0, 1, "CONTINUE", 1.0)
    desk.give("live", *(heartbeat(at, override_sequence=1) for at in (0, 300, 600)))
    desk.publish(610, 2, "REDUCE_SIZE", 0.5)
    assert "unacknowledged" not in desk.found(610 + 600)
    assert "unacknowledged" in desk.found(610 + 601)


def test_an_engine_that_is_off_while_its_exchange_is_closed_owes_no_acknowledgement():
    """A change made overnight warned until the morning, ended with the first pulse, and that was another change."""
    desk = Desk(Parameters(strategies={"s": StrategyTerms(calendar="XNYS")}))
    desk.publish(0, 1, "CONTINUE", 1.0)
    desk.give("live", heartbeat(1, override_sequence=1))
    desk.publish(10, 2, "REDUCE_SIZE", 0.5)

    def opens_at_noon(_calendar, start, end):
        noon = (T0 + 12 * HOUR) * SECOND
        return (max(end, noon) - max(start, noon)) / SECOND

    assert "unacknowledged" not in desk.found(12 * HOUR + 60, session_seconds=opens_at_noon)
    assert "unacknowledged" in desk.found(12 * HOUR + 61, session_seconds=opens_at_noon)


def test_an_engine_that_never_acknowledged_is_not_asked_to():
    desk = Desk()
    desk.publish(0, 1, "REDUCE_SIZE", 0.5)
    desk.give("live", heartbeat(1), heartbeat(31))
    assert "unacknowledged" not in desk.found(5000)


# --- not_obeyed ---------------------------------------------------------------------------------------------------


def stopped(*, known=True, acknowledged=True):
    """A desk whose strategy is long 2 and was stopped at 1000, which its engine acknowledged at 1010."""
    desk = Desk()
    desk.publish(0, 1, "CONTINUE", 1.0)
    records = [fill(10, quantity=2, order_id="o1"), order(9, "o1"), heartbeat(20, override_sequence=1)]
    desk.give("live", *records, *([position(5, 0)] if known else []))
    desk.publish(1000, 2, "DISABLE_TRADING", 0.0)
    if acknowledged:
        desk.give("live", heartbeat(1010, override_sequence=2))
    return desk


def test_an_order_submitted_after_the_acknowledgement_that_adds_exposure_is_disobedience_told_once():
    desk = stopped()
    desk.give("live", order(1020, "o2"), fill(1021, quantity=1, order_id="o2"))
    found = desk.found()["not_obeyed"]
    assert found.level == "EMERGENCY"
    assert "X/USD +1" in found.detail
    assert "not_obeyed" not in desk.found()
    desk.give("live", order(1030, "o3"), fill(1031, quantity=1, order_id="o3"))
    assert "not_obeyed" in desk.found()


def test_an_order_submitted_before_the_acknowledgement_is_none():
    desk = stopped()
    desk.give("live", order(1005, "o2"), fill(2000, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found()


def test_an_exit_is_none_and_a_reversal_is():
    desk = stopped()
    desk.give("live", order(1020, "o2"), fill(1021, "sell", quantity=2, order_id="o2"))
    assert "not_obeyed" not in desk.found()
    again = stopped()
    again.give("live", order(1020, "o2"), fill(1021, "sell", quantity=3, order_id="o2"))
    assert "not_obeyed" in again.found()


def test_without_a_known_position_nobody_is_accused():
    desk = stopped(known=False)
    desk.give("live", order(1020, "o2"), fill(1021, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found()


def test_a_position_that_disagrees_is_not_known():
    desk = stopped()
    desk.give("live", position(1012, -5), heartbeat(1100))
    desk.give("live", order(1120, "o2"), fill(1121, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found()


def test_without_order_times_a_minute_after_the_issue_counts():
    desk = Desk()
    desk.publish(0, 1, "CONTINUE", 1.0)
    desk.give("live", position(0, 0), fill(10))
    desk.publish(1000, 2, "EMERGENCY_STOP", 0.0)
    desk.give("live", fill(1060))
    assert "not_obeyed" not in desk.found()
    desk.give("live", fill(1061))
    assert desk.found()["not_obeyed"].level == "EMERGENCY"


def test_an_engine_that_tells_order_times_is_waited_for():
    desk = stopped()
    desk.give("live", fill(1200, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found()
    desk.give("live", order(1005, "o2"))
    assert "not_obeyed" not in desk.found()
    desk.give("live", fill(1210, quantity=1, order_id="o3"))
    desk.give("live", order(1205, "o3"))
    assert "not_obeyed" in desk.found()


def test_once_permission_was_issued_an_entry_is_none():
    desk = stopped()
    desk.publish(2000, 3, "REDUCE_SIZE", 0.5)
    desk.give("live", order(2001, "o2"), fill(2002, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found()


def test_what_was_done_before_a_reset_is_not_told_after_it():
    desk = stopped()
    desk.give("live", order(1020, "o2"), fill(1021, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found(reset=T0 + 1500)


def test_a_reduced_size_is_no_stop():
    desk = Desk()
    desk.publish(1000, 2, "REDUCE_SIZE", 0.5)
    desk.give("live", position(0, 0), heartbeat(1010, override_sequence=2), order(1020, "o2"), fill(1100, quantity=5, order_id="o2"))
    assert "not_obeyed" not in desk.found()


def test_an_acknowledgement_that_is_read_after_the_fill_still_counts():
    desk = stopped(acknowledged=False)
    desk.give("live", order(1020, "o2"), fill(1021, quantity=1, order_id="o2"))
    assert "not_obeyed" not in desk.found()
    desk.give("live", heartbeat(1010, override_sequence=2))
    assert "not_obeyed" in desk.found()


# --- the whole ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_within_a_turn_the_order_of_the_records_does_not_matter(seed):
    rng = random.Random(seed)
    records = [heartbeat(at, broker_connected=rng.random() < 0.3, override_sequence=rng.choice([1, 2])) for at in range(0, 9000, 600)]
    held = 0
    for at in range(5, 9000, 300):
        q = rng.choice([1, 2, -1, -2])
        held += q
        records.append(fill(at, "buy" if q > 0 else "sell", quantity=abs(q), price=rng.choice([99, 100, 101]), order_id=f"o{at}"))
        records.append(position(at + 1, held + rng.choice([0, 0, 0, 1])))
        records.append(order(at - 2, f"o{at}"))
        if rng.random() < 0.4:
            records.append(balance(at + 2, 1000 + rng.choice([0, 30, -30])))
    seen = []
    for k in range(4):
        desk = Desk()
        desk.publish(0, 1, "CONTINUE", 1.0)
        desk.publish(4000, 2, "DISABLE_TRADING", 0.0)
        random.Random(k).shuffle(records)
        desk.give("live", *records)
        seen.append(
            (
                desk.found(9300),
                desk.s.memory.watch.floor,
                sorted(desk.s.memory.watch.totals),
                desk.s.memory.watch.positions,
                desk.s.memory.watch.balances,
            )
        )
    assert all(one == seen[0] for one in seen)


def test_a_restart_changes_nothing():
    desk, other = stopped(), stopped()
    for d in (desk, other):
        d.give("live", balance(1011, 500), position(1012, 2))
        if d is other:
            d.restart()
        d.give("live", order(1020, "o2"), fill(1021, quantity=1, order_id="o2"), position(1100, 2), position(1200, 2), heartbeat(1300))
    assert desk.found() == other.found()
    assert desk.found().keys() == {"position_mismatch"}
