"""The demo is the real daemon: what it judges is what a check would judge, its publications are of now, and it leaves nothing behind."""

import asyncio
import gzip
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from parityd.app import built, drain
from parityd.core.instants import day_start, parse_time, rfc3339
from parityd.demonstration import demo
from parityd.edges import clock
from parityd.edges.log import configure
from parityd.problem import Problem
from parityd.service.daemon import Daemon
from parityd.service.demo import CAPITAL, MULTIPLIER, STEP_NS, STRATEGY, SYMBOL, Clock, Driver, Drop, drops, sample_folder
from parityd.service.demo_screen import Terminal
from parityd.settings import Settings, load
from parityd.web.server import listen

FOUR_HOURS = day_start("2024-01-08") + 4 * 3600 * 10**9
FAST = 1e7


def settings(folder: Path, port: int = 0) -> Settings:
    own = {"PARITYD_DATA_DIR": str(folder), "PARITYD_HTTP__PORT": str(port), f"PARITYD_SYMBOLS__{SYMBOL}__MULTIPLIER": str(MULTIPLIER)}
    return load(None, {**own, f"PARITYD_STRATEGIES__{STRATEGY}__CAPITAL": str(CAPITAL)}, default_file=folder / "none")


def free_port() -> int:
    with listen("127.0.0.1", 0) as bound:
        return int(bound.getsockname()[1])


def test_the_sample_is_dropped_whole_and_in_order_of_time() -> None:
    cut = drops(sample_folder())
    for book in ("live", "backtest"):
        for stem in ("fills_report", "order_events"):
            whole = gzip.decompress((sample_folder() / book / f"{stem}.jsonl.gz").read_bytes()).splitlines()
            files = [f for f in cut if f.book == book and f.name.startswith(stem)]
            assert sorted(line for f in files for line in f.data.splitlines()) == sorted(whole)
            for f in files:
                for line in f.data.splitlines():
                    t = json.loads(line)["ts_event"]
                    at = t if isinstance(t, int) else parse_time(t)
                    assert f.due - STEP_NS < at <= f.due
    assert [f.due for f in cut] == sorted(f.due for f in cut)
    assert len({(f.book, f.name) for f in cut}) == len(cut)


async def run(folder: Path, files: list[Drop]) -> tuple[dict, dict, str, list[dict]]:
    """The daemon over these files: (action file, override file, what the screen said, audit rows)."""
    said = io.StringIO()
    replay = Clock(day_start("2024-01-08"))
    log, sink = configure("json", "info", clock.boottime, io.StringIO())
    with built(settings(folder, free_port()), command="demo", evaluation=replay) as app, Terminal(Console(file=said, width=200)) as screen:
        daemon = Daemon(app, None, log, schedule=False)
        serving = asyncio.ensure_future(daemon.serve())
        try:
            await Driver(daemon, replay, files, FAST, screen).run()
            action, override = (
                json.loads((folder / f"system_actions/{n}.json").read_bytes()) for n in ("parity_action", "trading_override")
            )
        finally:
            daemon.stop.set()
            await serving
        rows = list(app.store.audit_rows())
    sink.close()
    return action, override, said.getvalue(), rows


async def test_it_judges_what_a_check_judges_and_publishes_at_the_real_time(tmp_path: Path) -> None:
    files = [f for f in drops(sample_folder()) if f.due <= FOUR_HOURS]
    action, override, said, rows = await run(tmp_path / "demo", files)
    once = settings(tmp_path / "once")
    with built(once, command="check", evaluation=lambda: FOUR_HOURS) as app:
        for f in files:
            (once.data_dir / "spool" / f.book / f.name).write_bytes(f.data)
        drain(app, at=FOUR_HOURS)
        app.brain.check()
        expected = app.publisher.action["strategies"][STRATEGY]
    shown = action["strategies"][STRATEGY]
    assert shown["trades"] == expected["trades"]
    assert shown["metrics"]["tracking_error_bps"] == pytest.approx(expected["metrics"]["tracking_error_bps"])
    assert shown["trades"]["matched"] > 5
    assert parse_time(override["expires_at"]) > clock.now()
    changed = [r for r in rows if r["event"] == "action.changed"]
    assert changed
    for r in changed:
        assert r["ts"].startswith("2024-01-08T")
        assert f"{r['data']['from']} -> {r['data']['to']}  {r['data']['reason']}" in said
    assert "report of 2024-01-08: Live trails the backtest" in said
    report = json.loads((tmp_path / "demo/parity_reports/parity_report_2024-01-08.json").read_bytes())
    assert report["generated_at"] <= rfc3339(FOUR_HOURS)


def test_a_busy_port_is_replaced_and_said_and_a_stop_ends_it_cleanly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "parityd", "demo", "--port", str(port)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        )
        first, second = process.stdout.readline(), process.stdout.readline()
        third = process.stdout.readline()  # the first moment: the daemon has started
        folder = next(tmp_path.glob("parityd-demo-*"))
        assert (folder / "system_actions/trading_override.json").exists()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, (rest, errors)
    assert first.startswith(f"port {port} is taken: the demo uses ")
    assert f"http://127.0.0.1:{first.split()[-1]}/" in second
    assert third.startswith("2024-01-08 00:00")
    assert errors == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_whole_sample_from_the_command_line(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    command = [sys.executable, "-m", "parityd", "demo", "--speed", "100000000", "--keep", str(kept), "--port", str(free_port())]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, ""), time.monotonic() - started
    named = [Path(x) for x in re.findall(r"^(?:override file|report) +(\S+)$", done.stdout, re.MULTILINE)]
    assert [p.name for p in named] == ["trading_override.json", "parity_report_2024-01-08.html", "parity_report_2024-01-09.html"]
    assert all(p.is_file() for p in named)
    assert "2024-01-08 09:00" in done.stdout
    assert load(kept / "parityd.toml", {}).data_dir == kept
    assert list((kept / "spool").rglob("*.jsonl")) == []
    assert list((kept / "rejected").rglob("*.json*")) == []


def test_bad_options_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(Problem, match="--keep"):
        demo(None, keep=tmp_path)
    with pytest.raises(Problem, match="--speed"):
        demo(None, speed=0)
    with pytest.raises(Problem, match="nonsense"):
        demo(tmp_path / "nonsense.toml")


async def test_a_day_without_a_report_is_reported_as_it_stands_and_nothing_is_written(tmp_path: Path) -> None:
    replay = Clock(FOUR_HOURS)
    log, sink = configure("json", "info", clock.boottime, io.StringIO())
    with built(settings(tmp_path, free_port()), command="demo", evaluation=replay) as app, Terminal(Console(file=io.StringIO())) as screen:
        daemon = Daemon(app, None, log, schedule=False)
        serving = asyncio.ensure_future(daemon.serve())
        driver = Driver(daemon, replay, [f for f in drops(sample_folder()) if f.due <= FOUR_HOURS], FAST, screen)
        try:
            await driver._until(lambda: daemon.signs.started and daemon.port is not None)
            await driver._drop(driver.files)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{app.settings.http.port}") as client:
                found = (await client.get("/api/v1/reports/2024-01-08")).json()
                missing = await client.get("/api/v1/reports/2024-01-07")
            assert (found["day"], found["revision"]) == ("2024-01-08", 0)
            assert found["strategies"][STRATEGY]["trades"]["matched"] > 5
            assert missing.status_code == 404
            assert app.store.reports() == []
            assert list((tmp_path / "parity_reports").iterdir()) == []
        finally:
            daemon.stop.set()
            await serving
    sink.close()
