"""A replay is the same code on another clock: what was recorded comes out again, and what is changed comes out changed."""

import io
import json
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from service.past_desk import HOUR, START, Desk, live_through, pair

from parityd.app import drain
from parityd.core.instants import rfc3339
from parityd.problem import Problem
from parityd.replaying import as_variables, replay
from parityd.service.configured import tell as tell_configuration
from parityd.service.replay import Days, NothingStoredError, Replay, all_days, stored
from parityd.settings import load


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two good days and a bad one, with an operator's stop on the first."""
    made = Desk(tmp_path_factory.mktemp("past"))
    live_through(made, [3.0, 3.0, 45.0], operator=True)
    return made


def lines(desk: Desk, *changed: str, arrival: str = "ts", first: str = "", last: str = "", as_json: bool = True) -> list[str]:
    out: list[str] = []
    with redirect_stderr(io.StringIO()):
        replay(desk.file, {}, first, last, changed, arrival, out.append, as_json=as_json)
    return out


def told(desk: Desk, *changed: str, **options: str) -> list[tuple]:
    return [(d["ts"], d["strategy"], d["from"], d["to"], d["reason"]) for d in map(json.loads, lines(desk, *changed, **options))]


def test_recorded_arrival_gives_the_actions_of_then(desk: Desk) -> None:
    then = desk.changes()
    assert {to for _, _, _, to, _ in then} > {"CONTINUE", "DISABLE_TRADING"}
    assert {to for _, _, _, to, _ in then} > {"WARNING", "REDUCE_SIZE"}
    assert told(desk, arrival="recorded") == then


def test_recorded_arrival_gives_the_reports_of_then(desk: Desk) -> None:
    with stored(desk.settings) as reads:
        run = Replay(desk.settings, reads, all_days(reads), recorded=True)
        list(run.run())
        days = [r.day for r in reads.reports()]
        assert len(days) == 3
        for day in days:
            then, again = json.loads(reads.report(day).json), json.loads(run.brain.store.report(day).json)
            assert again == then


def test_records_that_arrive_at_their_own_time_are_judged_at_whole_intervals(desk: Desk) -> None:
    changes = told(desk, "schedule.check_interval=15m")
    assert [to for _, _, _, to, _ in changes] == ["WARNING", "REDUCE_SIZE"]
    assert all(ts[14:16] in ("00", "15", "30", "45") and ts[17:19] == "00" for ts, *_ in changes)
    assert changes[0][0] > "2026-03-04T00"  # the first bad trades


def test_a_replay_ends_with_the_report_of_the_last_day(desk: Desk) -> None:
    with stored(desk.settings) as reads:
        run = Replay(desk.settings, reads, Days(first="2026-03-02", last="2026-03-03"))
        list(run.run())
        assert sorted(r.day for r in run.brain.store.reports()) == ["2026-03-02", "2026-03-03"]
        assert rfc3339(run.now) == "2026-03-04T08:00:00.000000Z"
        numbers = json.loads(run.brain.store.report("2026-03-02").json)["strategies"]["momentum"]
        assert numbers["trades"]["matched"] == 96
        assert numbers["metrics"]["mean_price_diff_bps"] == pytest.approx(3.0 * 0.9)


def test_two_runs_give_the_same_bytes(desk: Desk) -> None:
    for arrival in ("ts", "recorded"):
        for as_json in (True, False):
            assert lines(desk, arrival=arrival, as_json=as_json) == lines(desk, arrival=arrival, as_json=as_json)


def test_another_threshold_answers_what_would_have_happened(desk: Desk) -> None:
    strict = told(desk, "thresholds.warning_bps=2")
    assert strict[0][0] < "2026-03-03"
    assert strict[0][2:4] == ("CONTINUE", "WARNING")
    assert not told(desk, "auto_disable_on_drift=false")[1:]


def test_changed_settings_leave_the_operators_out_and_say_so(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(desk, "thresholds.warning_bps=19", arrival="recorded")
    assert "ann" not in str(found)
    capsys.readouterr()
    replay(desk.file, {}, "", "", ["thresholds.warning_bps=19"], "recorded", lambda _: None, as_json=True)
    assert "commands" in capsys.readouterr().err
    replay(desk.file, {}, "", "", [], "recorded", lambda _: None, as_json=True)
    assert capsys.readouterr().err == ""


def test_it_needs_no_lock_and_changes_nothing(desk: Desk) -> None:
    def held() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in desk.settings.data_dir.rglob("*") if p.is_file() and "sqlite-" not in p.name}

    with desk.open():
        before = held()
        assert lines(desk)
        assert held() == before


def test_only_the_days_asked_for_arrive(desk: Desk) -> None:
    with stored(desk.settings) as reads:
        run = Replay(desk.settings, reads, Days(first="2026-03-03", last="2026-03-03"))
        list(run.run())
        assert run.records == 2 * 4 * (24 + 8)  # until the report's hour
        assert [r.day for r in run.brain.store.reports()] == ["2026-03-03"]


def test_a_run_that_arrives_later_than_its_records_is_announced_before_them(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "runs")
    trades = [pair(k, START + k * 10**10, 3.0) for k in range(1, 31)]
    run = {
        "kind": "run",
        "strategy": "momentum",
        "run_id": "r1",
        "created": "2026-03-03T06:00:00Z",
        "from": "2026-03-02T00:00:00Z",
        "to": "2026-03-03T00:00:00Z",
    }
    with desk.open() as app:
        desk.clock.ns = START + 30 * 3600 * 10**9
        desk.drop("backtest", "a.jsonl", [run, *[d for d, _ in trades]])
        desk.drop("live", "a.jsonl", [f for _, f in trades])
        drain(app, at=desk.clock.ns)
    with stored(desk.settings) as reads:
        again = Replay(desk.settings, reads, Days(first="2026-03-02", last="2026-03-02"))
        list(again.run())
        assert json.loads(again.brain.store.report("2026-03-02").json)["strategies"]["momentum"]["trades"]["matched"] == 30


@pytest.mark.parametrize(
    ("first", "last", "changed", "arrival", "says"),
    [
        ("2026-02-30", "", [], "ts", "--from"),
        ("", "yesterday", [], "ts", "--to"),
        ("2026-03-04", "2026-03-03", [], "ts", "lies after"),
        ("", "", ["thresholds.warning_bps"], "ts", "KEY=VALUE"),
        ("", "", ["thresholds.nonsense=1"], "ts", "--set thresholds.nonsense"),
        ("", "", ["thresholds.warning_bps=x"], "ts", "--set thresholds.warning_bps"),
        ("", "", ["data_dir=/tmp"], "ts", "data_dir"),
        ("", "", [], "often", "--arrival"),
    ],
)
def test_bad_input_is_one_line(desk: Desk, first: str, last: str, changed: list[str], arrival: str, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        replay(desk.file, {}, first, last, changed, arrival, lambda _: None, as_json=True)
    assert "\n" not in str(caught.value)


def test_keys_of_one_strategy_keep_its_name() -> None:
    assert as_variables(['strategies."my Strategy".warning_bps=3']) == {"PARITYD_STRATEGIES__my Strategy__WARNING_BPS": "3"}


def test_nothing_stored_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "empty")
    with pytest.raises(NothingStoredError, match="no store"), stored(desk.settings):
        pass
    with desk.open():
        pass
    with pytest.raises(Problem, match="no records"):
        replay(desk.file, {}, "", "", [], "ts", lambda _: None, as_json=True)


def some_hours(desk: Desk, first: int, count: int, slip: float) -> None:
    """Hours of trading `slip` bps worse, a check after each; the configuration told as a daemon tells it when it starts."""
    with desk.open() as app:
        tell_configuration(app.brain, desk.settings)
        for hour in range(first, first + count):
            trades = [pair(10 * hour + i, START + hour * HOUR + (i + 1) * HOUR // 6, slip * (1 if i % 2 else 0.9)) for i in range(5)]
            desk.clock.ns = START + (hour + 1) * HOUR - 10**9
            desk.drop("backtest", f"{hour:04d}.jsonl", [d for d, _ in trades])
            desk.drop("live", f"{hour:04d}.jsonl", [f for _, f in trades])
            drain(app, at=desk.clock.ns)
            desk.clock.ns += 10**6
            app.brain.evaluate(reports=False)
            desk.clock.ns = START + (hour + 1) * HOUR
            app.brain.check()


def test_what_is_recorded_is_judged_by_the_configuration_of_then(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "changed")
    desk.clock.ns = START
    some_hours(desk, 0, 8, 25.0)
    desk.file.write_text(desk.file.read_text().replace("min_trades = 20", "min_trades = 20\nwarning_bps = 40\ncritical_bps = 60"))
    desk.settings = load(desk.file, {})
    some_hours(desk, 8, 6, 35.0)
    then = desk.changes()
    assert (then[0][3], then[0][4].split(" ")[1]) == ("WARNING", "tracking_error")
    assert told(desk, arrival="recorded") == then
    now = told(desk, "thresholds.warning_bps=40", "thresholds.critical_bps=60", arrival="recorded")
    assert now == [], "with changed settings the present ones hold throughout"


def test_a_day_that_is_not_over_ends_with_what_was_recorded(tmp_path: Path) -> None:
    """A silent engine of tomorrow was told, and tomorrow's check."""
    desk = Desk(tmp_path / "today")
    desk.clock.ns = START
    some_hours(desk, 0, 8, 3.0)
    with desk.open() as app:
        desk.drop("live", "beat.jsonl", [{"kind": "heartbeat", "strategy": "momentum", "ts": rfc3339(desk.clock.ns)}])
        drain(app, at=desk.clock.ns + 10**9)
    with stored(desk.settings) as reads:
        run = Replay(desk.settings, reads, all_days(reads), recorded=True)
        assert list(run.run()) == []
        assert run.now == START + 8 * HOUR + 10**9
        assert [r.day for r in run.brain.store.reports()] == ["2026-03-02"]


@pytest.mark.parametrize("recorded", [False, True])
def test_files_laid_away_together_hold_what_they_hold_one_by_one(desk: Desk, recorded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def held() -> tuple[list[object], ...]:
        with stored(desk.settings) as reads:
            run = Replay(desk.settings, reads, all_days(reads), recorded=recorded)
            list(run.run())
            store = run.brain.store
            keys = sorted(int(k) for own, _ in store.identities() for k in own)
            fills = sorted(
                (x, c.strategy[i], c.trade_id[i], c.price[i])
                for _, c, _, _ in store.records()
                if c is not None
                for i, x in enumerate(c.key)
            )
            decisions = sorted(
                (x, c.content[i], c.symbol[i]) for _, _, c, _ in store.records() if c is not None for i, x in enumerate(c.key)
            )
            rare = sorted((x.ts, repr(x.record)) for _, _, _, lines in store.records() for x in lines)
            reports = [store.report(r.day).json for r in store.reports()]
            counts = [sum(getattr(f, name) for f in store.files()) for name in ("accepted", "duplicates")]
            return keys, fills, decisions, rare, reports, counts

    one = held()
    monkeypatch.setattr("parityd.service.rerun.together", list)
    assert held() == one
    assert len(one[1]) > 100
