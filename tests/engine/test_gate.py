"""The Gate: what a valid file permits and for how long, that without one nothing is permitted, and its life among threads and forks."""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from engine.fuzz_gate import encode, entry, publication, put, rfc
from engine.gate_desk import DISABLED, REDUCED, STOPPED, said

from parityd.engine import ACTIONS, Gate

BOOTTIME = time.CLOCK_BOOTTIME


@pytest.mark.parametrize("action", ACTIONS)
def test_a_valid_file_says_what_its_entry_says(folder, action):
    put(folder, publication({"momentum": entry(action, "because")}))
    verdict = Gate(folder, "momentum").read()
    assert said(verdict) == (action, action not in {"DISABLE_TRADING", "EMERGENCY_STOP"}, entry(action)["size_multiplier"])
    assert (verdict.reason, verdict.sequence, verdict.decision_sequence, verdict.fresh, verdict.known) == ("because", 1234, 17, True, True)


def test_a_strategy_without_an_entry_uses_the_default_and_is_not_known(folder):
    put(folder, publication({"momentum": "EMERGENCY_STOP"}, default="WARNING"))
    verdict = Gate(folder, "carry").read()
    assert said(verdict) == ("WARNING", True, 1.0) and verdict.fresh and not verdict.known


def test_a_default_may_be_stricter_than_every_strategy(folder):
    put(folder, publication({"momentum": "CONTINUE"}, default="DISABLE_TRADING"))
    assert said(Gate(folder, "carry").read()) == DISABLED
    assert said(Gate(folder, "momentum").read()) == ("CONTINUE", True, 1.0)


def test_the_path_may_be_the_file_or_its_folder_also_before_either_exists(folder, monkeypatch):
    monkeypatch.chdir(folder)
    gates = [
        Gate(folder, "momentum"),
        Gate(str(folder / "trading_override.json"), "momentum"),
        Gate(".", "momentum"),
        Gate("trading_override.json", "momentum"),
    ]
    assert {said(gate.read()) for gate in gates} == {DISABLED}
    put(folder, publication())
    monkeypatch.chdir("/")
    assert {said(gate.read()) for gate in gates} == {REDUCED}


@pytest.mark.parametrize("name", ["", " ", "*", "../x", "a" * 65, "new\nline", "café", 7, None])
def test_an_impossible_strategy_is_a_mistake_at_once(folder, name):
    with pytest.raises(ValueError, match="no possible name"):
        Gate(folder, name)


def test_without_any_file_trading_is_disabled(folder):
    verdict = Gate(folder / "nowhere", "momentum").read()
    assert said(verdict) == DISABLED
    assert (verdict.sequence, verdict.decision_sequence, verdict.fresh, verdict.known) == (0, 0, False, False)


# --- time ---------------------------------------------------------------------------------------------------------------------------


def test_a_permission_lapses_by_itself_and_only_by_itself(folder):
    body = publication(ttl=0.4)
    put(folder, body)
    gate, until = Gate(folder, "momentum"), body["issued_boottime_ns"] + 400_000_000
    before = time.clock_gettime_ns(BOOTTIME)
    while (verdict := gate.read()).fresh:
        assert before < until
        before = time.clock_gettime_ns(BOOTTIME)
    assert time.clock_gettime_ns(BOOTTIME) >= until
    assert said(verdict) == DISABLED
    assert verdict.sequence == 1234 and "expired" in verdict.reason and verdict.known


@pytest.mark.parametrize(("on_expiry", "expected"), [("DISABLE_TRADING", DISABLED), ("EMERGENCY_STOP", STOPPED), ("WARNING", REDUCED)])
def test_a_gate_started_on_an_expired_file_does_what_that_file_says_on_expiry(folder, on_expiry, expected):
    put(folder, publication(age=61, on_expiry=on_expiry))
    verdict = Gate(folder, "momentum").read()
    assert said(verdict) == expected and not verdict.fresh


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("on_expiry", ["WARNING", "DISABLE_TRADING", "EMERGENCY_STOP"])
@pytest.mark.parametrize("gone", ["missing", "torn", "expired", "empty"])
def test_on_expiry_and_the_last_action_the_more_severe_holds(folder, action, on_expiry, gone):
    path = put(folder, publication({"momentum": action}, on_expiry=on_expiry))
    gate = Gate(folder, "momentum")
    assert gate.read().action == action
    if gone == "missing":
        path.unlink()
    elif gone == "expired":
        put(folder, publication({"momentum": action}, on_expiry=on_expiry, age=61, sequence=1235))
    else:
        put(folder, b"" if gone == "empty" else encode(publication())[:-7])
    verdict = gate.read()
    assert verdict.action == max(action, on_expiry, key=ACTIONS.index)
    assert verdict.trading_enabled is (verdict.action not in {"DISABLE_TRADING", "EMERGENCY_STOP"})
    assert verdict.size_multiplier == entry(verdict.action)["size_multiplier"] and not verdict.fresh


def test_what_was_never_in_force_does_not_lower_what_was(folder):
    put(folder, publication({"momentum": "EMERGENCY_STOP"}, on_expiry="DISABLE_TRADING"))
    gate = Gate(folder, "momentum")
    gate.read()
    put(folder, publication({"momentum": "CONTINUE"}, on_expiry="WARNING", sequence=1300, age=90))
    assert said(gate.read()) == STOPPED


def test_advisory_mode_is_left_for_good_with_the_file_that_leaves_it(folder):
    put(folder, publication({"momentum": "CONTINUE"}, on_expiry="WARNING"))
    gate = Gate(folder, "momentum")
    gate.read()
    path = put(folder, publication({"momentum": "CONTINUE"}, on_expiry="DISABLE_TRADING", sequence=1235))
    gate.read()
    path.unlink()
    assert said(gate.read()) == DISABLED


def test_wall_time_says_nothing_on_the_same_boot(folder):
    then = datetime.now(UTC) - timedelta(hours=3)
    put(folder, publication(issued_at=rfc(then), expires_at=rfc(then + timedelta(seconds=60))))
    assert Gate(folder, "momentum").read().fresh
    put(folder, publication(sequence=1235, issued_boottime_ns=time.clock_gettime_ns(BOOTTIME) - 61_000_000_000))
    assert not Gate(folder, "momentum").read().fresh


def test_an_issue_from_the_future_of_this_boot_is_no_permission(folder):
    put(folder, publication(issued_boottime_ns=time.clock_gettime_ns(BOOTTIME) + 5_000_000_000))
    assert said(Gate(folder, "momentum").read()) == DISABLED


@pytest.mark.parametrize(
    ("age", "remote", "fresh"),
    [(0, False, False), (0, True, True), (59, True, True), (61, True, False), (-4.5, True, True), (-6, True, False)],
)
def test_a_file_of_another_boot_is_stale_unless_remote_and_then_wall_time_decides(folder, age, remote, fresh):
    put(folder, publication(age=age, boot_id="another", issued_boottime_ns=1))
    assert Gate(folder, "momentum", remote=remote).read().fresh is fresh


def test_remote_on_the_same_boot_still_goes_by_the_boot_time_clock(folder):
    put(folder, publication(issued_boottime_ns=0))
    assert not Gate(folder, "momentum", remote=True).read().fresh


def test_a_wall_clock_set_back_does_not_prolong_a_remote_permission(folder, monkeypatch):
    path = put(folder, publication(age=30, boot_id="another"))
    gate = Gate(folder, "momentum", remote=True)
    assert gate.read().fresh
    wall, clock = time.time_ns, time.clock_gettime_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() - 3_600_000_000_000)
    assert not gate.read().fresh  # an hour ahead of the clock
    monkeypatch.setattr(time, "time_ns", lambda: wall() - 30_000_000_000)
    assert gate.read().fresh
    monkeypatch.setattr(time, "clock_gettime_ns", lambda which: clock(which) + (31_000_000_000 if which == BOOTTIME else 0))
    assert not gate.read().fresh
    os.utime(path)  # looked at again
    assert not gate.read().fresh


# --- life ---------------------------------------------------------------------------------------------------------------------------


def test_threads_during_publications_never_see_a_torn_file_or_a_falling_sequence(folder):
    put(folder, publication({"momentum": "CONTINUE"}, sequence=1))
    gate, stop, wrong = Gate(folder, "momentum"), threading.Event(), []

    def read():
        last = 0
        while not stop.is_set():
            verdict = gate.read()
            expected = "CONTINUE" if verdict.sequence % 2 else "REDUCE_SIZE"
            if not verdict.fresh or verdict.sequence < last or verdict.action != expected:
                wrong.append((last, verdict))
                return
            last = verdict.sequence

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for sequence in range(2, 1500):
        put(folder, publication({"momentum": "CONTINUE" if sequence % 2 else "REDUCE_SIZE"}, sequence=sequence))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert gate.read().sequence == 1499


def test_a_fork_under_a_held_lock_leaves_the_child_a_gate_that_answers(folder):
    put(folder, publication())
    gate = Gate(folder, "momentum")
    held, release = threading.Event(), threading.Event()

    def hold():
        with gate._lock:
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with pytest.warns(DeprecationWarning, match="fork") if os.sys.version_info >= (3, 12) else _nothing():
        child = os.fork()
    if not child:
        os._exit(0 if gate.read().fresh else 1)
    try:
        deadline = time.monotonic() + 10
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, "the child hangs"
            time.sleep(0.01)
        assert done[1] == 0
    finally:
        release.set()
        holder.join()


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_a_verdict_cannot_be_changed(folder):
    verdict = Gate(folder, "momentum").read()
    with pytest.raises(AttributeError):
        verdict.trading_enabled = True


def test_read_raises_nothing_whatever_the_path():
    for path in ("/", "/dev/null", "/proc/self/mem", "/nonexistent/x.json", "a\0b.json", "x" * 5000 + ".json", "/dev/stdin"):
        assert said(Gate(path, "momentum").read()) == DISABLED


def test_json_of_a_verdict_is_plain(folder):
    put(folder, publication())
    verdict = Gate(folder, "momentum").read()
    assert json.loads(json.dumps({name: getattr(verdict, name) for name in verdict.__slots__}))["size_multiplier"] == 0.5
