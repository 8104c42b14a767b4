"""An unchanged file costs microseconds and keeps nothing; the commands that show it work."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from engine.fuzz_gate import publication, put

import parityd
from parityd.engine import Gate

ROOT = Path(parityd.__file__).parent.parent


def settled(folder):
    """A Gate that has read its file after the tick in which it was written."""
    folder.chmod(0o755)
    put(folder, publication(ttl=600))
    gate = Gate(folder, "momentum")
    gate.read()
    end = time.monotonic() + 5
    while not gate._cached.settled:
        gate.read()
        assert time.monotonic() < end
    return gate


def test_an_unchanged_file_costs_under_five_microseconds(tmp_path):
    gate, rounds = settled(tmp_path), []
    for _ in range(15):  # the best round: the machine may be shared
        started = time.perf_counter_ns()
        for _ in range(5000):
            gate.read()
        rounds.append((time.perf_counter_ns() - started) / 5000)
    assert min(rounds) < 5000


def test_an_unchanged_file_is_not_opened(tmp_path, monkeypatch):
    gate = settled(tmp_path)
    monkeypatch.setattr(os, "open", lambda *_a, **_k: 1 / 0)
    assert gate.read().fresh
    put(tmp_path, publication(ttl=600, sequence=1235))
    monkeypatch.undo()
    assert gate.read().sequence == 1235


def test_reads_keep_no_memory(tmp_path):
    gate = settled(tmp_path)
    for path in (tmp_path, tmp_path / "missing"):
        gate = gate if path == tmp_path else Gate(path, "momentum")
        gate.read()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50_000):
            gate.read()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert kept < 4096


def run(*command):
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


def test_the_benchmark_is_a_command():
    done = run("benchmarks/gate.py", "20000")
    assert "unchanged file" in done.stdout and not done.stderr, done.stderr


def test_the_fuzz_is_a_command_and_repeats_itself_by_seed():
    first, second = run("tests/engine/fuzz_gate.py", "300", "7"), run("tests/engine/fuzz_gate.py", "300", "7")
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout.startswith("300 mutations, seed 7")
    assert first.stdout.splitlines()[1:] == second.stdout.splitlines()[1:]
