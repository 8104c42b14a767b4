"""The policy of notices: who is told what, how often, and what a restart makes of it."""

import msgspec
import pytest

from parityd.core.instants import day_text, rfc3339
from parityd.core.notices import AGAIN_NS, HOUR_NS, MINUTE_NS, Book, Desk, Entry, Words

T0 = 1_790_000_000_000_000_000
CALM = Entry("CONTINUE", "nothing found")


class Trail:
    """A desk, the audit rows that it is given, and what it has to say."""

    def __init__(self, channels=("a",), book=None, report=None):
        self.sequence = 0 if book is None else book.cursor
        self.report = report
        self.desk = Desk(
            book or Book(), Words("desk-1", lambda reason: "the attribution" if "tracking_error" in reason else ""), lambda day: self.report
        )
        self.desk.serve(channels)
        self.present = {"*": CALM}
        self.action = {}

    def row(self, event, now, *, strategy=None, actor="parityd", **data):
        self.sequence += 1
        return {"sequence": self.sequence, "ts": rfc3339(now), "event": event, "actor": actor, "strategy": strategy, "data": data}

    def moved(self, name, after, reason, now, by="scan"):
        row = self.row("action.changed", now, strategy=name, reason=reason, to=after, by=by, **{"from": self.action.get(name, "CONTINUE")})
        self.action[name] = after
        self.present[name] = Entry(after, reason)
        return row

    def fold(self, *rows, now):
        self.desk.fold(rows, self.present, now)
        self.desk.due(now)
        return self.take()

    def wait(self, now):
        return self.fold(now=now)

    def take(self, channel="a"):
        """Everything that waits for a channel, delivered."""
        out = []
        while (n := self.desk.waiting(channel, {})) is not None:
            out.append(n)
            self.desk.delivered(n.id, channel)
        return out

    def restarted(self):
        book = msgspec.msgpack.decode(msgspec.msgpack.encode(self.desk.book), type=Book)
        again = Trail(tuple(self.desk.channels), book, self.report)
        again.present, again.action = self.present, self.action
        return again


def titles(notices):
    return [n.title.removeprefix("parityd desk-1: ") for n in notices]


def test_a_change_is_told_once_with_what_why_and_what_to_do():
    t = Trail()
    (n,) = t.fold(t.moved("momentum", "REDUCE_SIZE", "momentum: tracking_error 62.1 bps >= 50", T0), now=T0)
    assert n.title == "parityd desk-1: REDUCE_SIZE for momentum"
    assert n.kind == "change"
    for part in (
        "CONTINUE -> REDUCE_SIZE",
        "tracking_error 62.1 bps >= 50",
        "New risk: scaled",
        "Look at: the attribution",
        "2026-09-21 14:13:20 UTC",
    ):
        assert part in n.body
    assert t.wait(T0 + MINUTE_NS) == []


@pytest.mark.parametrize(("action", "every"), [*AGAIN_NS.items(), ("WARNING", None), ("CONTINUE", None)])
def test_what_stands_is_told_again_after_its_time_and_never_a_warning(action, every):
    t = Trail()
    t.fold(t.moved("m", action, "why", T0), now=T0)
    step = MINUTE_NS
    heard = [now for now in range(T0 + step, T0 + 9 * HOUR_NS, step) if t.wait(now)]
    assert heard == ([] if every is None else list(range(T0 + every, T0 + 9 * HOUR_NS, every)))


def test_a_named_operators_command_acknowledges_and_a_nameless_one_does_not():
    for actor, still in (("alice", 0), ("unknown", 1)):
        t = Trail()
        t.fold(t.moved("m", "EMERGENCY_STOP", "why", T0), now=T0)
        t.fold(t.row("override.applied", T0, strategy="m", actor=actor, command="force_disable", operator=actor), now=T0)
        assert len(t.wait(T0 + 16 * MINUTE_NS)) == still


def test_a_command_for_another_strategy_acknowledges_nothing():
    t = Trail()
    t.fold(t.moved("m", "EMERGENCY_STOP", "why", T0), now=T0)
    t.fold(t.row("override.applied", T0, strategy="x", actor="alice", command="reset", operator="alice"), now=T0)
    assert titles(t.wait(T0 + 15 * MINUTE_NS)) == ["still EMERGENCY_STOP for m"]


def test_a_stop_that_a_named_operator_ordered_is_not_repeated_and_a_halt_is():
    t = Trail()
    t.fold(
        t.row("override.applied", T0, strategy="m", actor="alice", command="force_disable", operator="alice", reason="news"),
        t.moved("m", "DISABLE_TRADING", "force_disable by alice: news", T0, by="command"),
        t.moved("n", "EMERGENCY_STOP", "HALT.n in overrides", T0, by="halt"),
        now=T0,
    )
    assert titles(t.wait(T0 + 15 * MINUTE_NS)) == ["still EMERGENCY_STOP for n"]


def test_what_follows_an_acknowledged_stop_is_not_acknowledged():
    t = Trail()
    t.fold(t.moved("m", "DISABLE_TRADING", "a", T0), now=T0)
    t.fold(t.row("override.applied", T0, strategy="*", actor="alice", command="reduce_size", operator="alice"), now=T0)
    t.fold(t.moved("m", "EMERGENCY_STOP", "b", T0 + MINUTE_NS), now=T0 + MINUTE_NS)
    assert titles(t.wait(T0 + 16 * MINUTE_NS)) == ["still EMERGENCY_STOP for m"]


def test_a_flapping_level_is_told_four_times_an_hour_then_in_a_digest():
    t = Trail()
    heard = []
    for i in range(20):
        now = T0 + i * 2 * MINUTE_NS
        heard += t.fold(t.moved("m", "CONTINUE" if i % 2 else "WARNING", f"turn {i}", now), now=now)
    assert len(heard) == 4
    assert t.wait(T0 + HOUR_NS - 1) == []
    (digest,) = t.wait(T0 + HOUR_NS)
    assert digest.kind == "digest"
    assert "16 more changes of m, now CONTINUE" in digest.title
    assert "turn 19" in digest.body
    assert t.wait(T0 + 3 * HOUR_NS) == []


def test_within_any_hour_of_flapping_there_are_never_more_than_four():
    t = Trail()
    heard = []
    for i in range(400):
        now = T0 + i * MINUTE_NS
        heard += [now] * len(t.fold(t.moved("m", "CONTINUE" if i % 2 else "WARNING", f"turn {i}", now), now=now))
    assert max(sum(1 for h in heard if start <= h < start + HOUR_NS) for start in heard) == 4


def test_stops_are_never_held_back_nor_their_end():
    t = Trail()
    for i in range(30):
        now = T0 + i * MINUTE_NS
        assert len(t.fold(t.moved("m", "CONTINUE" if i % 2 else "EMERGENCY_STOP", f"turn {i}", now), now=now)) == 1


def test_a_flapping_strategy_does_not_silence_another():
    t = Trail()
    for i in range(10):
        t.fold(t.moved("m", "CONTINUE" if i % 2 else "WARNING", f"turn {i}", T0), now=T0)
    assert len(t.fold(t.moved("n", "WARNING", "why", T0), now=T0)) == 1


def test_a_stop_for_all_is_one_notice_however_many_strategies_there_are():
    t = Trail()
    rows = [t.moved(f"s{i}", "EMERGENCY_STOP", "HALT", T0, by="halt") for i in range(50)] + [
        t.moved("*", "EMERGENCY_STOP", "HALT", T0, by="halt")
    ]
    assert titles(t.fold(*rows, now=T0)) == ["EMERGENCY_STOP for all strategies"]
    assert len(t.wait(T0 + 15 * MINUTE_NS)) == 1
    late = T0 + 16 * MINUTE_NS
    assert t.fold(t.moved("new", "EMERGENCY_STOP", "HALT", late), now=late) == []


def test_many_strategies_with_one_reason_are_named_up_to_a_few():
    t = Trail()
    (n,) = t.fold(*[t.moved(f"s{i:02}", "WARNING", "same", T0) for i in range(12)], now=T0)
    assert n.title.endswith("s00, s01, s02, s03, s04, s05, s06, s07 and 4 more")


def test_a_stop_heard_from_the_publisher_is_told_at_once_and_its_row_tells_nothing_more():
    t = Trail()
    assert t.desk.published({"*": CALM, "m": Entry("EMERGENCY_STOP", "HALT.m")}, T0)
    assert titles(t.take()) == ["EMERGENCY_STOP for m"]
    older = t.moved("m", "WARNING", "judged before the halt", T0)
    booked = t.moved("m", "EMERGENCY_STOP", "HALT.m", T0 + 1)
    assert t.fold(older, booked, now=T0 + 1) == []
    assert titles(t.fold(t.moved("m", "CONTINUE", "gone", T0 + MINUTE_NS), now=T0 + MINUTE_NS)) == ["CONTINUE for m"]


def test_the_publisher_is_believed_about_stops_alone():
    t = Trail()
    assert not t.desk.published({"*": CALM, "m": Entry("REDUCE_SIZE", "early")}, T0)
    assert t.take() == []


def test_a_restart_neither_loses_nor_repeats():
    t = Trail()
    t.fold(t.moved("m", "DISABLE_TRADING", "why", T0), now=T0)
    t.desk.fold([t.moved("n", "WARNING", "other", T0 + MINUTE_NS)], t.present, T0 + MINUTE_NS)
    again = t.restarted()
    assert titles(again.take()) == ["WARNING for n"]
    assert again.wait(T0 + 14 * MINUTE_NS) == []
    assert titles(again.wait(T0 + 15 * MINUTE_NS)) == ["still DISABLE_TRADING for m"]


def test_what_ended_while_nobody_ran_is_told_at_the_next_start():
    t = Trail()
    t.fold(t.moved("m", "DISABLE_TRADING", "force_disable by bob: x", T0), now=T0)
    again = t.restarted()
    again.present = {"*": CALM, "m": CALM}
    assert titles(again.wait(T0 + MINUTE_NS)) == ["CONTINUE for m"]
    again.present = {"*": Entry("DISABLE_TRADING", "the store could not be read")}
    assert "DISABLE_TRADING for all strategies" in titles(again.wait(T0 + 2 * MINUTE_NS))


def test_rows_older_than_a_day_are_not_news():
    t = Trail()
    now = T0 + 30 * HOUR_NS
    assert t.fold(t.moved("m", "EMERGENCY_STOP", "old", T0), t.moved("m", "CONTINUE", "over", T0 + 1), now=now) == []


def test_after_a_long_sleep_a_stop_is_repeated_once():
    t = Trail()
    t.fold(t.moved("m", "EMERGENCY_STOP", "why", T0), now=T0)
    assert len(t.wait(T0 + 30 * HOUR_NS)) == 1


def test_a_clock_put_back_delays_a_repeat_by_no_more_than_its_own_time():
    t = Trail()
    t.fold(t.moved("m", "EMERGENCY_STOP", "why", T0), now=T0)
    back = T0 - 5 * HOUR_NS
    assert t.wait(back) == []
    assert len(t.wait(back + 15 * MINUTE_NS)) == 1


def test_overrides_and_halts_are_told_with_who_and_until_when():
    t = Trail()
    (n,) = t.fold(
        t.row("override.applied", T0, strategy="m", actor="unknown", command="reduce_size", operator="unknown", reason="x\ny", size_multiplier=0.25,
              expires_ns=T0 + HOUR_NS, notes=["operator is missing"]),
        now=T0,
    )  # fmt: skip
    assert n.title.endswith("reduce_size applied for m")
    for part in ("operator unknown", "Reason: x y", "Size: 0.25", "Until: 2026-09-21 15:13:20 UTC", "Note: operator is missing"):
        assert part in n.body
    assert titles(t.fold(t.row("halt.raised", T0, file="HALT"), now=T0)) == ["HALT seen: HALT"]
    assert titles(t.fold(t.row("halt.lifted", T0, file="HALT"), now=T0)) == ["HALT lifted: HALT"]


def test_refused_commands_of_one_look_are_one_notice_and_a_flood_is_a_digest():
    t = Trail()
    rows = [t.row("override.refused", T0, actor="operator", file=f"{i}.json", code="expired", reason="late") for i in range(9)]
    (n,) = t.fold(*rows, now=T0)
    assert n.title.endswith("9 commands were refused")
    assert "and 4 more" in n.body
    heard = []
    for i in range(30):
        now = T0 + i * MINUTE_NS
        heard += t.fold(t.row("override.refused", now, actor="operator", file="x.json", code="bad_json", reason="torn"), now=now)
    assert len(heard) == 3
    assert titles(t.wait(T0 + HOUR_NS)) == ["27 more commands refused"]


def test_the_daily_report_is_told_once_when_its_day_is_over():
    day = day_text(T0)
    end = T0 // (24 * HOUR_NS) * 24 * HOUR_NS + 24 * HOUR_NS
    report = {
        "day": day,
        "headline": "live trails by 3",
        "strategies": {"m": {"action": "CONTINUE", "level": "OK", "trades": {"matched": 4}, "metrics": {}}},
    }
    t = Trail(report=report)
    assert t.fold(t.row("report.written", T0, day=day, revision=1), now=T0) == []
    (n,) = t.fold(t.row("report.written", end + HOUR_NS, day=day, revision=2), now=end + HOUR_NS)
    assert n.title.endswith(f"report of {day}")
    assert n.body.startswith("live trails by 3\nm: CONTINUE, level OK, tracking error not measured, 4 matched")
    assert t.restarted().fold(t.row("report.written", end + 2 * HOUR_NS, day=day, revision=3), now=end + 2 * HOUR_NS) == []


def test_reports_made_up_for_a_long_absence_are_one_notice():
    t = Trail(report={"day": "x", "headline": "", "strategies": {}})
    days = [day_text(T0 - k * 24 * HOUR_NS) for k in range(20, 0, -1)]
    assert len(t.fold(*[t.row("report.written", T0, day=day, revision=1) for day in days], now=T0)) == 1


def test_an_expired_publication_is_a_stop_told_again_until_renewed():
    t = Trail()
    t.desk.lapsed(["the store cannot be written"], "DISABLE_TRADING", T0)
    (n,) = t.take()
    assert n.urgent
    assert "the store cannot be written" in n.body
    t.desk.lapsed(["the store cannot be written"], "DISABLE_TRADING", T0 + MINUTE_NS)
    assert t.take() == []
    assert len(t.wait(T0 + 15 * MINUTE_NS)) == 1
    t.desk.lapsed([], "DISABLE_TRADING", T0 + 20 * MINUTE_NS)
    assert titles(t.take()) == ["publications are renewed again"]


def test_each_channel_gets_each_notice_and_stops_first():
    t = Trail(channels=("a", "b"))
    t.desk.fold([t.moved("m", "WARNING", "w", T0), t.moved("n", "EMERGENCY_STOP", "e", T0)], t.present, T0)
    assert titles(t.take("a")) == ["EMERGENCY_STOP for n", "WARNING for m"]
    assert titles(t.take("b")) == ["EMERGENCY_STOP for n", "WARNING for m"]
    assert t.desk.book.outbox == []


def test_a_notice_that_fails_lets_the_next_one_pass():
    t = Trail()
    t.desk.fold([t.moved("m", "WARNING", "w", T0), t.moved("n", "WARNING", "v", T0)], t.present, T0)
    first = t.desk.waiting("a", {})
    assert t.desk.waiting("a", {first.id: 1}).id != first.id


def test_repeats_for_a_dead_channel_do_not_pile_up():
    t = Trail()
    t.desk.fold([t.moved("m", "EMERGENCY_STOP", "e", T0)], t.present, T0)
    for i in range(1, 300):
        t.desk.fold([], t.present, T0 + i * 15 * MINUTE_NS)
        t.desk.due(T0 + i * 15 * MINUTE_NS)
    assert len(t.desk.book.outbox) == 2


def test_the_outbox_is_bounded_and_stops_outlast_the_rest():
    t = Trail()
    t.desk.fold([t.moved("halted", "EMERGENCY_STOP", "e", T0)], t.present, T0)
    t.desk.fold([t.moved(f"s{i}", "WARNING", f"w {i}", T0) for i in range(700)], t.present, T0)
    assert len(t.desk.book.outbox) == 500
    assert t.desk.book.dropped == 201
    assert t.desk.waiting("a", {}).urgent


def test_a_channel_taken_out_of_the_settings_is_forgotten():
    t = Trail(channels=("a", "b"))
    t.desk.fold([t.moved("m", "WARNING", "w", T0)], t.present, T0)
    t.desk.serve(["b", "c"])
    assert t.desk.waiting("a", {}) is None
    assert t.desk.waiting("c", {}) is None
    assert t.desk.waiting("b", {}) is not None


def test_strings_of_records_stay_on_one_line_of_bounded_length():
    t = Trail()
    (n,) = t.fold(t.moved("m", "WARNING", "bad\nTitle: forged\x07" + "x" * 9000, T0), now=T0)
    assert "\nTitle" not in n.body
    assert "\x07" not in n.body
    assert len(n.body) < 1500
