"""The Gate: what a valid file permits, and that nothing else permits anything."""

import json
import os
import socket
import threading
import time
import types
from datetime import UTC, datetime, timedelta

import pytest
from engine.fuzz_gate import encode, entry, publication, put, rfc

from parityd.engine import ACTIONS, Gate

BOOTTIME = time.CLOCK_BOOTTIME


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "system_actions"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    return folder


def said(verdict):
    return verdict.action, verdict.trading_enabled, verdict.size_multiplier


DISABLED = ("DISABLE_TRADING", False, 0.0)
STOPPED = ("EMERGENCY_STOP", False, 0.0)
REDUCED = ("REDUCE_SIZE", True, 0.5)


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


# --- place --------------------------------------------------------------------------------------------------------------------------


def spoil_by_symlink(path):
    path.rename(path.with_name("elsewhere.json"))
    path.symlink_to(path.with_name("elsewhere.json"))


def spoil_by_fifo(path):
    path.unlink()
    os.mkfifo(path, 0o644)


def spoil_by_folder(path):
    path.unlink()
    path.mkdir()


def spoil_by_socket(path):
    path.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def spoil_by_size(path):
    put(path.parent, encode(publication()) + b" " * (4 << 20))


def spoil_by_owner(path):
    if os.geteuid():
        pytest.skip("needs root to give a file away")
    os.chown(path, 65534, 65534)


SPOIL = {
    "symlink": spoil_by_symlink,
    "fifo": spoil_by_fifo,
    "folder": spoil_by_folder,
    "socket": spoil_by_socket,
    "over 4 MiB": spoil_by_size,
    "of another owner": spoil_by_owner,
    "group may write": lambda path: path.chmod(0o664),
    "world may write": lambda path: path.chmod(0o646),
    "group may write the folder": lambda path: path.parent.chmod(0o775),
    "world may write the folder": lambda path: path.parent.chmod(0o757),
    "world may write the sticky folder": lambda path: path.parent.chmod(0o1777),
}


@pytest.mark.parametrize("how", SPOIL)
@pytest.mark.parametrize("seen", [True, False])
def test_a_file_from_an_untrusted_place_says_nothing(folder, how, seen, request):
    socket_path_limit = 100
    if how == "socket" and len(str(folder)) > socket_path_limit - 30:
        folder = folder.rename(request.getfixturevalue("tmp_path_factory").getbasetemp() / f"s{seen}")
    put(folder, publication({"momentum": "CONTINUE"}))
    gate = Gate(folder, "momentum")
    if seen:
        assert gate.read().fresh
    SPOIL[how](folder / "trading_override.json")
    if "folder" in how and seen:
        put(folder, publication({"momentum": "CONTINUE"}, sequence=1235)) if how != "folder" else None
    verdict = gate.read()
    assert said(verdict) == DISABLED and not verdict.fresh


def test_trust_that_was_mended_is_given_again(folder):
    path = put(folder, publication())
    path.chmod(0o666)
    gate = Gate(folder, "momentum")
    assert said(gate.read()) == DISABLED
    path.chmod(0o644)
    assert said(gate.read()) == REDUCED
    folder.chmod(0o777)
    put(folder, publication(sequence=1235))
    assert said(gate.read()) == DISABLED
    folder.chmod(0o1775)  # a group, but sticky
    assert said(gate.read()) == REDUCED


def test_a_file_of_four_mebibytes_is_read(folder):
    raw = encode(publication())
    put(folder, raw + b" " * ((4 << 20) - len(raw)))
    assert Gate(folder, "momentum").read().fresh


# --- succession ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sequence": 1233}, "backwards"),
        ({"sequence": 1234}, "another content"),
        ({"sequence": 1235, "decision_sequence": 16}, "backwards"),
        ({"sequence": 1235, "instance": "desk-2"}, "foreign"),
        ({"sequence": 1235, "schema": "parityd/trading_override/2"}, "foreign"),
    ],
)
def test_a_publication_that_does_not_follow_is_refused_and_the_next_that_does_is_obeyed(folder, change, why):
    put(folder, publication({"momentum": "WARNING"}))
    gate = Gate(folder, "momentum")
    gate.read()
    put(folder, publication({"momentum": "CONTINUE"}, **change))
    verdict = gate.read()
    assert said(verdict) == DISABLED and why in verdict.reason and verdict.sequence == 1234
    put(folder, publication({"momentum": "CONTINUE"}, sequence=1236))
    assert gate.read().action == "CONTINUE"


def test_the_same_publication_written_again_is_obeyed(folder):
    raw = encode(publication())
    path = put(folder, raw)
    gate = Gate(folder, "momentum")
    path.unlink()
    assert not gate.read().fresh
    for _ in range(3):
        put(folder, raw)
        assert said(gate.read()) == REDUCED


class CoarseTimes:
    """A file system that stamps files by the tick, as most kernels do: 4 ms, also where this kernel is finer."""

    TICK = 4_000_000

    def __init__(self, monkeypatch):
        lstat, fstat, clock = os.lstat, os.fstat, time.clock_gettime_ns
        monkeypatch.setattr(os, "lstat", lambda *a, **k: self.coarse(lstat(*a, **k)))
        monkeypatch.setattr(os, "fstat", lambda *a, **k: self.coarse(fstat(*a, **k)))
        monkeypatch.setattr(time, "clock_gettime_ns", lambda which: self.floor(clock(which)) if which == 5 else clock(which))

    def floor(self, ns):
        return ns // self.TICK * self.TICK

    def coarse(self, info):
        fields = {name: getattr(info, name) for name in ("st_mode", "st_ino", "st_uid", "st_size")}
        return types.SimpleNamespace(**fields, st_mtime_ns=self.floor(info.st_mtime_ns), st_ctime_ns=self.floor(info.st_ctime_ns))


def test_a_change_in_place_of_the_same_size_within_one_tick_is_seen(folder, monkeypatch):
    CoarseTimes(monkeypatch)
    for attempt in range(100):
        body = publication({"momentum": "CONTINUE"}, sequence=2000 + attempt)
        put(folder, body, in_place=True)
        gate = Gate(folder, "momentum")
        assert gate.read().fresh
        put(folder, encode(body).replace(b'"CONTINUE"', b'"CONTINUF"'), in_place=True)
        assert not gate.read().fresh, attempt


# --- content ------------------------------------------------------------------------------------------------------------------------


def mutated(**change):
    return encode(publication({"momentum": "CONTINUE"}) | change)


BAD = {
    "an array": b"[]",
    "null": b"null",
    "a byte order mark": b"\xef\xbb\xbf" + encode(publication()),
    "bad UTF-8": encode(publication()).replace(b"as expected", b"as \xff\xfected"),
    "two documents": encode(publication()) * 2,
    "NaN": mutated(ttl_seconds=float("nan")),
    "infinity": mutated(ttl_seconds=float("inf")),
    "a number out of range": encode(publication()).replace(b'"ttl_seconds": 60', b'"ttl_seconds": 1e400'),
    "a sequence of ten thousand digits": encode(publication()).replace(b"1234", b"9" * 10_000),
    "deep nesting": b"[" * 200_000,
    "a key twice": encode(publication({"momentum": "CONTINUE"}))[:-1] + b', "action": "CONTINUE"}',
    "a key twice within an entry": encode(publication({"momentum": "CONTINUE"})).replace(
        b'{"momentum": {', b'{"momentum": {"reason": "", '
    ),
    "a boolean sequence": mutated(sequence=True),
    "a fractional sequence": mutated(sequence=5.0),
    "a negative sequence": mutated(sequence=-1),
    "a boolean size": mutated(size_multiplier=True),
    "a number for trading_enabled": mutated(trading_enabled=1),
    "a size as text": mutated(size_multiplier="1.0"),
    "an unknown action": mutated(action="GO"),
    "an action that is a list": mutated(action=["CONTINUE"]),
    "lower case": mutated(action="continue"),
    "trading enabled against the action": mutated(action="DISABLE_TRADING", size_multiplier=0),
    "trading disabled against the action": mutated(trading_enabled=False),
    "a size over 1": mutated(size_multiplier=1.5),
    "a size under 0": mutated(action="REDUCE_SIZE", size_multiplier=-0.1),
    "a full size that is reduced": mutated(size_multiplier=0.5),
    "a reduced size that is full": encode(publication({"momentum": entry("REDUCE_SIZE", size=1.0)})),
    "a stop with a size": encode(publication({"momentum": entry("DISABLE_TRADING", size=0.5)})),
    "an entry more severe than the top level": mutated(strategies={"momentum": entry("WARNING")}),
    "an entry smaller than the top level": encode(
        publication({"momentum": "REDUCE_SIZE"}) | {"strategies": {"momentum": entry("REDUCE_SIZE", size=0.3)}}
    ),
    "a stop at the top that no entry knows": mutated(**entry("EMERGENCY_STOP")),
    "a contradiction in another entry": mutated(strategies={"momentum": entry(), "carry": entry() | {"trading_enabled": False}}),
    "an entry that is no object": mutated(strategies={"momentum": "CONTINUE"}),
    "strategies as a list": mutated(strategies=[]),
    "an impossible name": mutated(strategies={"momentum": entry(), "": entry()}),
    "expiry later than issue and ttl": mutated(expires_at=rfc(datetime.now(UTC) + timedelta(days=1))),
    "a longer ttl than the expiry": mutated(ttl_seconds=6000),
    "no ttl": mutated(ttl_seconds=0),
    "a time without an offset": mutated(issued_at="2026-11-20T10:15:00"),
    "a day that does not exist": mutated(issued_at="2026-02-30T10:15:00Z"),
    "a time that is a number": mutated(issued_at=1795230273),
    "CONTINUE on expiry": mutated(on_expiry="CONTINUE"),
    "an empty instance": mutated(instance=" "),
    "half a character": mutated(reason="\ud800"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_not_exactly_right_permits_nothing(folder, what):
    put(folder, BAD[what])
    verdict = Gate(folder, "momentum").read()
    assert said(verdict) == DISABLED and not verdict.fresh and verdict.sequence == 0


REQUIRED = [key for key in publication() if key != "strategies"]


@pytest.mark.parametrize("place", ["top", "entry", "default"])
def test_no_key_may_be_missing(folder, place):
    body = publication({"momentum": "CONTINUE"})
    part = {"top": body, "entry": body["strategies"]["momentum"], "default": body["default"]}[place]
    for key in list(part):
        value = part.pop(key)
        put(folder, body)
        assert said(Gate(folder, "momentum").read()) == DISABLED, key
        part[key] = value
    put(folder, body)
    assert Gate(folder, "momentum").read().fresh


def test_a_field_may_be_added(folder):
    body = publication({"momentum": entry() | {"since": None}}, evidence="insufficient", extra=[{"a": 1e-3}])
    put(folder, body)
    assert Gate(folder, "momentum").read().fresh


@pytest.mark.parametrize(
    "text", ["2026-11-20T10:15:00Z", "2026-11-20T10:15:00.1Z", "2026-11-20T12:15:00.120000+02:00", "2026-11-20T10:15:00.123456789Z"]
)
def test_times_may_be_written_in_any_precision_and_offset(folder, text):
    issued = datetime.fromisoformat(text)
    put(folder, publication(issued_at=text, expires_at=rfc(issued + timedelta(seconds=60))))
    assert Gate(folder, "momentum").read().fresh


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
