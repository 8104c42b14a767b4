"""First starts, identities, limits, lagging files and the end of a process (contract 1-3, 8)."""

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.box import Box, at, decision, fill, heartbeat, lines, mark, stamp, trades


def test_the_first_start_continues_without_evidence_or_waits_for_init(tmp_path: Path) -> None:
    free = Box(tmp_path / "free")
    assert free.check()["action"] == "CONTINUE"
    held = Box(tmp_path / "held", '[publish]\nfirst_start = "DISABLE_TRADING"\n')
    assert held.check()["action"] == "DISABLE_TRADING" and held.override()["default"]["trading_enabled"] is False
    held.drop("live", fill("s", "1", datetime.now(UTC)))
    assert held.check()["strategies"]["s"]["action"] == "DISABLE_TRADING", "also for a strategy that comes later, also in the second start"
    assert held.run("init").returncode == 0
    assert held.check()["action"] == "CONTINUE"


def test_an_unknown_strategy_is_told_what_is_configured(tmp_path: Path) -> None:
    box = Box(tmp_path, '[publish]\nunknown_strategy = "DISABLE_TRADING"\n')
    box.drop("live", fill("s", "1", datetime.now(UTC)))
    document = box.check()
    assert box.override()["default"]["action"] == "DISABLE_TRADING" and document["strategies"]["s"]["action"] == "CONTINUE"


def test_identities(tmp_path: Path) -> None:
    """A fill: book, strategy, account, venue, symbol, id. A decision: book, run, strategy, symbol, trade id, time, action."""
    box = Box(tmp_path)
    one = fill("s", None, at(6), fill_id="1")
    others = [
        {**one, "account": "a"},
        {**one, "venue": "v"},
        {**one, "symbol": "ETH/USD"},
        {**one, "strategy": "t"},
        {**one, "fill_id": "2"},
    ]
    same = [one, {**one, "unknown": 5}, {**one, "quantity": "1.0"}, {**one, "ts": at(6).timestamp()}]
    box.drop("live", one, *others, *same, {**one, "trade_id": "x"}, {**one, "price": 100.5})
    d = decision("s", "1", at(6))
    box.drop("backtest", d, d, {**d, "action": "sell"}, {**d, "ts": stamp(at(6, 1))}, {**d, "price": 99})
    box.check(at(12))
    assert sorted((r["file"].split("-")[1][:6], r["line"], r["code"]) for r in box.refused()) == [
        ("000001", 11, "conflict"), ("000001", 12, "conflict"), ("000002", 5, "conflict"),
    ]  # fmt: skip


def test_strategies_over_the_limit_are_refused(tmp_path: Path) -> None:
    box = Box(tmp_path, "[limits]\nstrategies = 3\n")
    box.drop("live", *(fill(f"s{i}", "1", at(6)) for i in range(5)))
    document = box.check(at(12))
    assert len(document["strategies"]) == 3 and len(box.refused()) == 2 and all(r["raw"] for r in box.refused())


def test_a_timestamp_may_be_five_minutes_ahead_of_the_clock(tmp_path: Path) -> None:
    box = Box(tmp_path)
    now = datetime.now(UTC)
    box.drop("live", fill("s", "1", now + timedelta(minutes=4)), fill("s", "2", now + timedelta(minutes=6)))
    box.check()
    assert [(r["line"], r["code"]) for r in box.refused()] == [(2, "future_timestamp")]


def test_a_check_of_the_past_takes_what_came_after_it_too(tmp_path: Path) -> None:
    box = Box(tmp_path)
    decided, filled = trades("s", [60.0, 60.0, -60.0, -60.0] * 3, start=at(6, day=-1))
    later = trades("s", [60.0, 60.0, -60.0, -60.0] * 3, first=100)
    box.drop("backtest", *decided, *later[0], heartbeat("s", at(23)))
    box.drop("live", *filled, *later[1], heartbeat("s", at(23)))
    box.check(at(21, day=-1))
    assert box.refused() == [] and box.check(at(23))["strategies"]["s"]["trades"]["matched"] >= 12


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_ends_with_0_and_leaves_its_publication_to_expire(tmp_path: Path, by: int) -> None:
    config = '[publish]\ninterval = "1s"\nttl = "3s"\n' + ('on_stop = "disable"\n' if by == signal.SIGINT else "")
    box = Box(tmp_path, config)
    with box.daemon():
        assert box.end(by) == 0
    told = box.override()
    assert told["action"] == told["default"]["action"] == ("DISABLE_TRADING" if by == signal.SIGINT else "CONTINUE")
    assert ("publish.on_stop" in told["reason"]) == (by == signal.SIGINT)
    events = [x["event"] for x in box.audit()]
    assert "service.started" in events and events[-1] == "service.stopped"


def test_a_live_file_that_is_never_done_is_told_and_withholds_the_renewal(tmp_path: Path) -> None:
    """The file grows as long as the test looks: it can never be read."""
    config = '[publish]\ninterval = "1s"\nttl = "3s"\n[thresholds]\nlagging_warning = "1s"\nlagging_critical = "4s"\n[schedule]\ncheck_interval = "2s"\n'
    box = Box(tmp_path, config)
    box.drop("live", mark(1, datetime.now(UTC)), heartbeat("s", datetime.now(UTC)))
    with box.daemon():
        path = box.data / "spool/live/growing.jsonl"
        end = time.monotonic() + 25
        levels: set[str] = set()
        with path.open("ab") as f:
            while time.monotonic() < end and "CRITICAL" not in levels:
                f.write(b" ")
                f.flush()
                time.sleep(0.05)
                found = {x["code"]: x["level"] for x in box.action()["strategies"].get("s", {"findings": []})["findings"]}
                levels |= {found["lagging"]} if "lagging" in found else set()
        assert "CRITICAL" in levels, box.log()[-800:]
        assert (box.metric("spool_backlog_files", book="live") or 0) >= 1


def test_a_backlog_is_judged_when_it_is_drained_not_between_its_files(tmp_path: Path) -> None:
    """Forty files, decisions first: half of them would look like missed trades."""
    box = Box(tmp_path, '[publish]\ninterval = "1s"\nttl = "3s"\n')
    decided, filled = trades("s", [3.0, -3.0] * 20, start=datetime.now(UTC) - timedelta(hours=8))
    for i, d in enumerate(decided):
        box.put("backtest", f"d{i:02d}.jsonl", lines([d]))
    box.put("backtest", "d99.jsonl", lines([heartbeat("s", datetime.now(UTC))]))
    box.put("live", "a-heartbeat.jsonl", lines([heartbeat("s", datetime.now(UTC))]))
    for i, f in enumerate(filled):
        box.put("live", f"f{i:02d}.jsonl", lines([f]))
    with box.daemon():
        box.until(lambda: box.json("/api/v1/strategies/s")["trades"]["matched"] == 40, "all read")
        assert box.override()["strategies"]["s"]["action"] == "CONTINUE"
    assert not [x for x in box.audit() if x["event"] == "action.changed"]


def test_environment_variables_set_every_key(tmp_path: Path) -> None:
    box = Box(tmp_path, env={"PARITYD_THRESHOLDS__REDUCE_TO": "0.2", "PARITYD_PUBLISH__INSTANCE": "desk-9"})
    decided, filled = trades("s", [70.0, 70.0, -70.0, -70.0] * 4)
    box.drop("backtest", *decided)
    box.drop("live", *filled)
    assert box.check(at(21))["strategies"]["s"]["size_multiplier"] == 0.2 and box.override()["instance"] == "desk-9"


def test_a_bug_is_never_taken_for_an_answer(tmp_path: Path) -> None:
    """What cannot be written ends with 3, not with the 1 of a warning."""
    box = Box(tmp_path)
    box.check()
    folder = box.data / "system_actions"
    for p in folder.iterdir():
        p.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    done = box.run("check", "--json")
    assert done.returncode == 3 and done.stderr.strip() and "Traceback" not in done.stderr, done
    os.unlink(folder)


def test_explain_tells_records_match_and_chain(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop("backtest", decision("s", "t-1", at(6), mark=100), heartbeat("s", at(8)))
    box.drop("live", fill("s", "t-1", at(6), price=100.5, decision_mark=100.1), heartbeat("s", at(8)))
    box.check(at(9))
    done = box.run("explain", "t-1", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    text = json.dumps(told)
    assert "matched" in text and "slippage" in text and "f-s-t-1" in text
