"""FAULTS, Process: cases 1 to 11."""

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from faults.box import FAST, Box, strace
from faults.model import Model, chunks, over, trades


def spread(model: Model, n: int, size: int, rng: random.Random) -> list[tuple[str, list]]:
    decisions, fills = trades(n)
    parts = [("backtest", c) for c in chunks(model.take(decisions), size)] + [("live", c) for c in chunks(model.take(fills), size)]
    rng.shuffle(parts)
    return [*parts, ("backtest", [over()]), ("live", [over()])]


def kill_cycles(box: Box, model: Model, cycles: int, seed: int) -> None:
    """Files come all the time; the process is killed at random moments, and started again."""
    rng = random.Random(seed)
    parts = spread(model, 40 * max(cycles, 4), 8, rng)
    each = -(-len(parts) // cycles)
    sequence = 0
    for k in range(cycles):
        box.start()
        for book, records in parts[k * each : (k + 1) * each]:
            box.drop(book, records)
            time.sleep(rng.uniform(0, 0.03))
        time.sleep(rng.uniform(0.0, 1.6))
        box.kill()
        if (box.actions / "trading_override.json").exists():
            now = box.override()["sequence"]
            assert now >= sequence, f"seed {seed}, cycle {k}: the sequence fell from {sequence} to {now}"
            sequence = now
    model.agrees(box)
    assert not box.rejected()
    assert not box.whole()


def test_case_01_sigkill_at_random_under_load_loses_nothing_and_counts_nothing_twice(box: Box, model: Model) -> None:
    kill_cycles(box, model, 4, seed=int(os.environ.get("FAULTS_SEED", "1")))


STEPS = {"fsync": "fsync", "write": "pwrite64", "rename": "/^rename", "unlink": "/^unlink"}


def killed_at(box: Box, model: Model, call: str, n: int) -> bool:
    """One `check` killed at its n-th call; False where it made fewer."""
    command = [*strace(call, f"signal=SIGKILL:when={n}"), *box.command("check", "--json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=box.env, check=False)
    return done.returncode not in (0, 1, 2)


@pytest.mark.parametrize(("call", "n"), [("fsync", 3), ("/^rename", 4)])
def test_case_02_sigkill_at_a_step_is_repeated_and_counts_once(box: Box, model: Model, call: str, n: int) -> None:
    decisions, fills = trades(40)
    bad = {**fills[0], "fill_id": "bad", "quantity": "-1"}
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over(), bad])
    assert killed_at(box, model, call, n)
    model.agrees(box)
    assert [(r["code"], r["line"]) for r in box.rejected()] == [("bad_value", 42)]


def test_case_03_sigstop_for_longer_than_the_ttl_and_no_stale_permission_is_accepted(box: Box) -> None:
    box.configure('[publish]\ninterval = "250ms"\nttl = "1s"\n')
    with box.running():
        gate = box.gate()
        assert gate.read().trading_enabled
        os.kill(box.proc.pid, signal.SIGSTOP)
        box.until(lambda: not gate.read().fresh, 4, "it lapses")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert not gate.read().trading_enabled
            time.sleep(0.02)
        os.kill(box.proc.pid, signal.SIGCONT)
        box.until(lambda: gate.read().fresh, 10, "permission is earned again")
        assert gate.read().trading_enabled


def test_case_04_a_blocked_loop_earns_no_renewal(tmp_path: Path) -> None:
    """And no watchdog ping: what the ping says is what `beat` says."""
    box = Box(tmp_path, '[publish]\ninterval = "250ms"\nttl = "1s"\n')
    heard = tmp_path / "notify"
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(heard))
        manager.settimeout(0.1)
        with box.running(shim="blocked_loop", env={"NOTIFY_SOCKET": str(heard)}):
            gate = box.gate()
            box.until(lambda: gate.read().fresh, 10)
            box.until(lambda: not gate.read().fresh, 25, "it lapses")
            pings = 0
            end = time.monotonic() + 1.2
            while time.monotonic() < end:
                try:
                    drained = manager.recv(4096)
                except TimeoutError:
                    pings = 0  # the queue is empty: what comes now is new
                    continue
                pings += b"WATCHDOG=1" in drained
            assert pings == 0
            assert not gate.read().trading_enabled
            box.proc.send_signal(signal.SIGABRT)  # as the service manager does
            assert box.ended() == -signal.SIGABRT
    assert "Current thread" in box.log() or "Thread 0x" in box.log()


@pytest.mark.parametrize("shim", ["dead_task", pytest.param("dead_thread", marks=pytest.mark.torture)])
def test_case_05_one_task_dead_ends_the_process(box: Box, shim: str) -> None:
    with box.running(shim=shim, ready=False):
        assert box.ended(25) != 0
    assert "service.died" in box.log()


def test_case_06_sigterm_under_load_twice_ends_quickly_with_0_and_loses_nothing(box: Box, model: Model) -> None:
    decisions, fills = trades(4000)
    for book, records in (("backtest", decisions), ("live", fills)):
        for part in chunks(model.take(records), 100):
            box.drop(book, part)
        box.drop(book, [over()])
    with box.running(ready=False):
        box.until(lambda: len(box.spooled()) < 80, 20, "it has begun")
        started = time.monotonic()
        box.proc.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        box.proc.send_signal(signal.SIGTERM)
        assert box.ended(15) == 0
        assert time.monotonic() - started < 10
    model.agrees(box)


def test_case_07_sighup_with_a_bad_file_keeps_the_old_one_running_without_a_gap(box: Box) -> None:
    with box.running():
        gate = box.gate()
        for broken in ("typo = 1\n", "[publish\n", '[publish]\ninterval = "60s"\nttl = "61s"\n'):
            box.configure(broken)
            box.proc.send_signal(signal.SIGHUP)
            box.until(lambda: box.metric("config_last_reload_successful") == 0.0, 5, "told")
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                assert gate.read().fresh
                time.sleep(0.01)
        box.configure(FAST + "[thresholds]\nreduce_to = 0.25\n")
        box.proc.send_signal(signal.SIGHUP)
        box.until(lambda: box.metric("config_last_reload_successful") == 1.0, 5, "and mended")
        box.until(lambda: box.events("config.changed"), 5)
    assert [row["data"]["changed"] for row in box.events("config.changed")] == [{"thresholds.reduce_to": [0.5, 0.25]}]
    box.configure(FAST + "[thresholds]\nreduce_to = 0.25\nmin_trades = 12\n")
    box.check()
    box.check()
    assert [row["data"]["changed"] for row in box.events("config.changed")[1:]] == [{"thresholds.min_trades": [10, 12]}]


def test_case_08_descriptors_exhausted_is_safe_and_ends_when_they_are_back(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    with box.running():
        old = resource.prlimit(box.proc.pid, resource.RLIMIT_NOFILE, (12, resource.prlimit(box.proc.pid, resource.RLIMIT_NOFILE)[1]))
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        gate = box.gate()
        box.until(lambda: not gate.read().trading_enabled, 8, "no renewal, or a dead process: safe either way")
        if box.proc.poll() is None:
            resource.prlimit(box.proc.pid, resource.RLIMIT_NOFILE, old)
            box.until(lambda: box.proc.poll() is not None or gate.read().fresh, 40, "it goes on, or ends to be started anew")
    model.agrees(box)


def test_case_08_memory_exhausted_is_safe_and_costs_no_file(box: Box, model: Model) -> None:
    decisions, fills = trades(6000)
    with box.running():
        pid, gate = box.proc.pid, box.gate()
        size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (size + (1 << 20), resource.RLIM_INFINITY))
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        box.until(lambda: box.proc.poll() is not None or not gate.read().trading_enabled or not box.spooled(), 20, "it ends, or is safe")
    model.agrees(box)
    assert not box.whole()


def test_case_09_a_second_daemon_on_the_directory_is_refused(box: Box) -> None:
    with box.running():
        second = box.cli("run", timeout=20)
        assert second.returncode == 3
        assert "in use by process" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        assert box.fresh()
        assert box.cli("check", timeout=20).returncode == 3
        (box.data / ".lock").unlink()  # now another could take it: the first gives up, and publishes nothing more
        assert box.ended(10) not in (0, None)
        assert "its lock is gone" in box.log()


def test_case_10_a_crash_loop_is_never_given_up_and_safe_throughout(box: Box, model: Model) -> None:
    decisions, fills = trades(20)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    gate = box.gate()
    for _ in range(3):
        box.start(shim="eager_crash")
        box.ended()
        assert not gate.read().trading_enabled
    unit = (Path(__file__).parents[2] / "systemd").glob("*.service")
    text = "".join(p.read_text() for p in unit)
    assert "Restart=always" in text
    assert "StartLimitIntervalSec=0" in text
    model.agrees(box)


def test_case_11_a_newer_schema_is_set_aside_and_safe(box: Box, model: Model) -> None:
    decisions, fills = trades(20)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    box.check()
    store = box.data / "parityd.sqlite"
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with box.running():
        assert box.override()["action"] == "DISABLE_TRADING"
        aside = [p for p in box.data.glob("parityd.sqlite.broken-*") if not p.name.endswith(("-wal", "-shm"))]
        assert len(aside) == 1
        assert json.loads(box.get("/api/v1/status")[1])["ready"]
    with sqlite3.connect(aside[0]) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (999,)
    db.close()
