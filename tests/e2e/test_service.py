"""The daemon: reacts at once, HTTP and metrics as the contract names them, SIGHUP, HALT, and the end (contract 3-6, 8)."""

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.box import Box, Record, at, decision, fill, heartbeat, lines, stamp, trades

CONFIG = '[publish]\ninterval = "1s"\nttl = "4s"\n'
METRICS: dict[str, set[str]] = {
    "records_ingested_total": {"book", "kind"}, "records_rejected_total": {"book", "code"}, "records_duplicate_total": {"book"}, "files_ingested_total": {"book"},
    "spool_backlog_files": {"book"}, "ingest_lag_seconds": {"book"}, "trades": {"strategy", "state"}, "match_rate": {"strategy"}, "tracking_error_bps": {"strategy"},
    "mean_price_diff_bps": {"strategy"}, "attribution_bps": {"strategy", "component"}, "quality_score": {"strategy"},
    "action_level": {"strategy"}, "trading_enabled": {"strategy"}, "size_multiplier": {"strategy"}, "escalation_streak": {"strategy", "level"},
    "finding_active": {"strategy", "code"}, "free_bytes": set(), "check_duration_seconds_count": set(), "report_duration_seconds_count": set(),
    "last_check_timestamp_seconds": set(), "publish_timestamp_seconds": set(), "publish_failures_total": set(),
    "config_last_reload_successful": set(), "audit_entries_total": set(), "build_info": {"version"}, "acknowledged_sequence": {"strategy"},
}  # fmt: skip


def case(name: str, bps: float, n: int = 16) -> tuple[list[Record], list[Record]]:
    return trades(name, [bps if i % 4 < 2 else -bps for i in range(n)], start=datetime.now(UTC) - timedelta(hours=3))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    box = Box(tmp_path_factory.mktemp("service"), CONFIG)
    with box.daemon():
        for name, bps in (("bad", 70.0), ("good", 3.0)):
            decided, filled = case(name, bps)
            box.drop("backtest", *decided)
            box.drop(
                "live",
                *filled,
                *filled[:1],
                {**filled[0], "price": 3},
                {"kind": "martian"},
                heartbeat(name, datetime.now(UTC), override_sequence=1),
            )
        box.until(lambda: box.override()["strategies"]["bad"]["action"] == "REDUCE_SIZE", "a raise without waiting for the check", 15)
        box.until(
            lambda: box.metric("action_level", strategy="bad") == 2 and box.metric("files_ingested_total", book="live") == 2,
            "metrics follow",
        )
        yield box
        assert box.end() == 0


def test_metrics_have_the_names_and_labels_of_the_contract(running: Box) -> None:
    found = running.metrics()
    for name, labels in METRICS.items():
        assert name in found, name
        assert all(set(own) == labels for own, _ in found[name]), (name, found[name][:2])


def test_metrics_count_what_happened(running: Box) -> None:
    m = running.metric
    assert (
        m("records_ingested_total", book="live", kind="fill") == 32 and m("records_ingested_total", book="backtest", kind="decision") == 32
    )
    assert m("records_ingested_total", book="live", kind="heartbeat") == 2 and m("records_duplicate_total", book="live") == 2
    assert (
        m("records_rejected_total", book="live", code="conflict") == 2
        and m("records_rejected_total", book="live", code="unknown_kind") == 2
    )
    assert m("trades", strategy="good", state="matched") == 16 and math.isclose(
        m("tracking_error_bps", strategy="bad") or 0, 70, abs_tol=1e-6
    )
    assert (
        m("finding_active", strategy="bad", code="tracking_error") == 1
        and m("size_multiplier", strategy="bad") == 0.5
        and m("trading_enabled", strategy="bad") == 1
    )
    assert m("action_level", strategy="good") == 0 and not m("spool_backlog_files", book="live")
    assert {x["component"] for x, _ in running.metrics()["attribution_bps"]} >= {
        "slippage",
        "fee",
        "sizing",
        "model",
        "funding",
        "total_pnl_diff",
    }
    assert abs((m("publish_timestamp_seconds") or 0) - time.time()) < 10
    assert m("acknowledged_sequence", strategy="good") == 1


def test_what_was_not_measured_is_no_sample(running: Box) -> None:
    assert (
        not [v for own, v in running.metrics().get("correlation", []) if math.isnan(v)]
        and running.metric("correlation", strategy="good") is None
    )


def test_pages_and_documents_answer(running: Box) -> None:
    today = datetime.now(UTC).date().isoformat()
    for path, kind in {
        "/healthz": "", "/readyz": "", "/metrics": "text/plain", "/": "text/html", "/api/v1/status": "application/json", "/api/v1/strategies/bad": "application/json",
        "/api/v1/trades": "application/json", "/api/v1/reports": "application/json", "/openapi.json": "application/json",
    }.items():  # fmt: skip
        status, _, headers = running.get(path)
        assert status == 200 and headers.get("content-type", "").startswith(kind), (path, status, headers)
    entry, told = running.json("/api/v1/strategies/bad"), running.action()["strategies"]["bad"]
    assert set(told) <= set(entry) and entry["action"] == "REDUCE_SIZE" and entry["findings"][0]["code"] == "tracking_error"
    assert running.json("/openapi.json")["openapi"].startswith("3.") and running.get(f"/api/v1/reports/{today}")[0] in (200, 404)


def test_the_daemon_holds_the_folder_and_a_report_beside_it_prints_only(running: Box) -> None:
    done = running.run("check")
    assert done.returncode == 3 and len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
    assert running.run("status").returncode == 0
    before = sorted((running.data / "parity_reports").glob("*.json"))
    printed = running.run("report", "--json", "--day", datetime.now(UTC).date().isoformat())
    assert printed.returncode == 0 and sorted((running.data / "parity_reports").glob("*.json")) == before
    assert json.loads(printed.stdout)["schema"] == "parityd/report/1"
    for env in ({}, {"PARITYD_HTTP__PORT": "1"}, {"http_proxy": "http://127.0.0.1:1"}):  # nobody listens on port 1
        running.env |= env
        try:
            quiet, status = running.run("report", "--json", "--day", "2020-02-02"), running.run("status", "--json")
        finally:
            for name in env:
                del running.env[name]
        assert quiet.returncode == 0 and json.loads(quiet.stdout)["revision"] == 0, quiet.stderr
        assert ("uptime_seconds" in json.loads(status.stdout)["daemon"]) == ("PARITYD_HTTP__PORT" not in env), status.stdout
    assert sorted((running.data / "parity_reports").glob("*.json")) == before


def test_the_published_file_is_whole_and_readable_by_all(running: Box) -> None:
    path = running.data / "system_actions/trading_override.json"
    one = running.override()
    assert path.stat().st_mode & 0o777 == 0o644
    assert set(one) >= {
        "schema", "sequence", "decision_sequence", "instance", "boot_id", "issued_at", "issued_boottime_ns", "ttl_seconds", "expires_at", "on_expiry", "action", "trading_enabled",
        "size_multiplier", "reason", "strategies", "default",
    }  # fmt: skip
    issued, expires = (datetime.fromisoformat(one[k]) for k in ("issued_at", "expires_at"))
    assert abs((expires - issued).total_seconds() - one["ttl_seconds"]) < 0.01 and one["ttl_seconds"] == 4
    running.until(lambda: running.override()["sequence"] > one["sequence"], "renewed", 5)
    assert running.override()["decision_sequence"] == one["decision_sequence"]


def test_a_file_that_is_still_being_written_waits(running: Box) -> None:
    path = running.data / "spool/live/slow.jsonl"
    first = lines([fill("slow", "1", datetime.now(UTC))])
    with path.open("wb") as f:
        for k in range(0, len(first), 40):
            f.write(first[k : k + 40])
            f.flush()
            time.sleep(0.25)
    running.until(lambda: not path.exists(), "read when it was whole")
    assert not [r for r in running.refused() if r["file"].endswith("slow.jsonl.rejected.jsonl")]
    assert running.json("/api/v1/strategies/slow")["trades"]["pending"] == 1


def test_a_reload_takes_a_good_file_and_keeps_the_old_one_beside_a_bad(running: Box) -> None:
    assert running.process is not None
    running.configure(CONFIG + "typo = 1\n")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: running.metric("config_last_reload_successful") == 0, "a bad file is told")
    running.configure(CONFIG + "[thresholds]\nreduce_to = 0.25\n")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: running.metric("config_last_reload_successful") == 1, "a good file is taken")
    running.until(lambda: running.override()["strategies"]["bad"]["size_multiplier"] == 0.25, "and judged by")
    assert running.override()["strategies"]["bad"]["action"] == "REDUCE_SIZE"
    running.until(lambda: [r for r in running.audit() if r["event"] == "config.changed"], "audited")
    (told,) = [r["data"]["changed"] for r in running.audit() if r["event"] == "config.changed"]
    assert told == {"thresholds.reduce_to": [0.5, 0.25]}


def test_halt_stops_within_a_second_and_lifts_with_its_file_alone(running: Box) -> None:
    halt = running.data / "overrides/Halt-please"
    os.symlink("nowhere", halt)
    started = time.monotonic()
    running.until(
        lambda: running.override()["action"] == "EMERGENCY_STOP" and not running.override()["default"]["trading_enabled"], "stopped", 5
    )
    assert time.monotonic() - started < 2.5
    running.until(lambda: running.action()["strategies"]["good"]["override"] or running.action()["override"], "told in the other file", 5)
    halt.unlink()
    running.until(lambda: running.override()["action"] == "REDUCE_SIZE", "lifted, and nothing else", 10)


def test_commands_are_counted_while_they_hold(running: Box) -> None:
    running.command(
        "cut.json",
        command="force_disable",
        strategy="good",
        operator="ops",
        reason="drill",
        expires_at=stamp(datetime.now(UTC) + timedelta(seconds=4)),
    )
    running.until(lambda: running.override()["strategies"]["good"]["action"] == "DISABLE_TRADING", "disabled", 5)
    running.until(lambda: running.metric("override_active", command="force_disable"), "counted", 5)
    running.until(lambda: running.override()["strategies"]["good"]["action"] in ("CONTINUE", "WARNING"), "ended by its time", 12)
    assert (running.data / "overrides/applied").is_dir() and list((running.data / "overrides/applied").iterdir())


def test_the_audit_is_whole_beside_the_running_daemon(running: Box) -> None:
    done = running.run("audit", "verify")
    assert done.returncode == 0, done.stderr
    for row in running.audit():
        assert set(row) == {"sequence", "ts", "event", "actor", "strategy", "data", "previous", "hash"}


def test_a_decision_log_settles_a_live_trade_in_the_daemon(running: Box) -> None:
    """A new backtest file raises at once as well: what it does not hold was unexpected."""
    now = datetime.now(UTC)
    running.drop("live", *(fill("late", f"{i}", now - timedelta(minutes=90 - i)) for i in range(12)), heartbeat("late", now))
    running.drop("backtest", *(decision("late", f"{i}", now - timedelta(minutes=90 - i)) for i in range(6)), heartbeat("late", now))
    running.until(lambda: running.override()["strategies"]["late"]["action"] == "REDUCE_SIZE", "unmatched at CRITICAL", 10)


def test_a_reload_reaches_the_schedule_the_limits_and_the_log(running: Box) -> None:
    assert running.process is not None
    before, told = running.metric("last_check_timestamp_seconds") or 0, len(running.log())
    running.configure(
        CONFIG + '[thresholds]\nreduce_to = 0.25\n[schedule]\ncheck_interval = "1s"\n[limits]\nline = "1KiB"\n[log]\nlevel = "error"\n'
    )
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: (running.metric("last_check_timestamp_seconds") or 0) > before + 3, "checks come by the new interval")
    name = running.drop("live", {"kind": "heartbeat", "strategy": "long", "ts": stamp(datetime.now(UTC)), "detail": "x" * 2000})
    running.until(lambda: [r["code"] for r in running.refused() if name in r["file"]] == ["too_long"], "a line is too long now")
    assert '"event": "config.reloaded"' in running.log()[told:]
    assert name not in running.log()  # neither taken in nor refused is an error
    running.configure(CONFIG + "[thresholds]\nreduce_to = 0.25\n")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: running.audit()[-1]["event"] == "config.changed", "back")


def test_what_another_parityd_answers_on_its_port_is_not_taken_for_its_own(running: Box, tmp_path: Path) -> None:
    other = Box(tmp_path, CONFIG)
    other.port = running.port
    other.configure(CONFIG)
    with other.daemon(wait=False):
        other.until(lambda: "outer.failed" in other.log() and other.override(), "it runs without a port", 40)
        said = other.run("status").stdout
        assert said.startswith(f"daemon: process {other.process.pid if other.process else 0}; it does not answer on [http]: ")
        assert "is another parityd's" in said.splitlines()[0] and "bad" not in said
        told = other.run("doctor", "--json")
        assert [c["state"] for c in json.loads(told.stdout)["checks"] if c["area"] == "port"] == ["warning"]
        assert json.loads(other.run("report", "--json").stdout)["strategies"] == {}
    assert json.loads(running.run("status", "--json").stdout)["daemon"]["instance"] == running.override()["instance"]


def test_since_is_of_what_is_in_force_and_a_restart_forgets_no_change(tmp_path: Path) -> None:
    box = Box(tmp_path)
    decided, filled = trades("s", [60.0] * 12)
    box.drop("backtest", *decided, heartbeat("s", at(20)))
    box.drop("live", *filled, heartbeat("s", at(20)))
    box.check(at(21))
    reduced = box.action()["strategies"]["s"]["since"]
    halt = box.data / "overrides/HALT"
    halt.touch()
    with box.daemon():
        entry = box.until(lambda: next((e for e in [box.action()["strategies"]["s"]] if e["action"] == "EMERGENCY_STOP"), None), "stopped")
        assert entry["since"] == entry["override"]["since"] > reduced
        halt.unlink()
        lifted = box.until(lambda: next((e for e in [box.action()["strategies"]["s"]] if e["action"] == "REDUCE_SIZE"), None), "lifted")
        assert lifted["since"] == reduced
    with box.daemon():
        told = box.json("/api/v1/status")["last_actions"]
        assert [(c["from"], c["to"]) for c in told if c["strategy"] == "s"][:3] == [
            ("EMERGENCY_STOP", "REDUCE_SIZE"), ("REDUCE_SIZE", "EMERGENCY_STOP"), ("CONTINUE", "REDUCE_SIZE"),
        ]  # fmt: skip
        page = box.get("/")[1].decode()
        assert "Last change: " in page and "none yet" not in page[page.index("Last change: ") :][:200]
