"""Which files the Gate obeys: those from a trusted place that follow what it has seen and are exactly right."""

import os
import socket
import time
import types
from datetime import datetime, timedelta

import pytest
from engine.fuzz_gate import encode, entry, publication, put, rfc
from engine.gate_desk import BAD, DISABLED, REDUCED, said

from parityd.engine import Gate

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


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_not_exactly_right_permits_nothing(folder, what):
    put(folder, BAD[what])
    verdict = Gate(folder, "momentum").read()
    assert said(verdict) == DISABLED and not verdict.fresh and verdict.sequence == 0


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
