"""The Spool: a file is there whole and durable, or not at all."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from parityd.engine import Spool

FILL = {
    "kind": "fill",
    "strategy": "s",
    "symbol": "BTC/USD",
    "fill_id": "1",
    "side": "buy",
    "quantity": "1",
    "price": "2",
    "ts": 1795230273,
}


def lines(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_what_is_written_is_one_json_object_a_line_in_one_visible_file(tmp_path):
    path = Spool(tmp_path).write([FILL, {**FILL, "note": "zwei\nZeilen, ₿"}])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.parent == tmp_path and path.suffix == ".jsonl" and path.read_bytes().endswith(b"\n")
    assert lines(path) == [FILL, {**FILL, "note": "zwei\nZeilen, ₿"}]


def test_nothing_to_write_writes_nothing(tmp_path):
    assert Spool(tmp_path).write([]) is None
    assert Spool(tmp_path).write(iter(())) is None
    assert not list(tmp_path.iterdir())


def test_times_decimals_and_their_kin_become_what_the_contract_reads(tmp_path):
    class Side(Enum):
        BUY = "buy"

    record = {
        "ts": datetime(2026, 11, 20, 12, 15, 0, 120, tzinfo=timezone(timedelta(hours=2))),
        "price": Decimal("1E-8"),
        "quantity": Decimal("123456789012345678901234567890.12"),
        "side": Side.BUY,
        "latency_ms": np.float64(1.5),
        "n": np.int64(3),
        "guards": ("a", "b"),
        "none": None,
    }
    assert lines(Spool(tmp_path).write([record])) == [
        {
            "ts": "2026-11-20T10:15:00.000120Z",
            "price": "0.00000001",
            "quantity": "123456789012345678901234567890.12",
            "side": "buy",
            "latency_ms": 1.5,
            "n": 3,
            "guards": ["a", "b"],
            "none": None,
        }
    ]


CIRCLE: dict[str, object] = {}
CIRCLE["circle"] = CIRCLE


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "[Oo]ut of range"),
        (float("-inf"), "[Oo]ut of range"),
        (np.float64("nan"), "[Oo]ut of range"),
        ([1, {"deep": float("inf")}], "[Oo]ut of range"),
        (Decimal("NaN"), "finite"),
        (Decimal("Infinity"), "finite"),
        (Decimal("1E+999999999"), "finite"),
        (datetime(2026, 1, 1), "offset"),
        (object(), "object cannot"),
        ({1, 2}, "set cannot"),
        (b"bytes", "bytes cannot"),
        ("\ud800", "surrogates"),
        (CIRCLE, "[Cc]ircular"),
        ("x" * (1 << 20), "longer than"),
    ],
)
def test_what_json_cannot_tell_is_refused_by_name_and_leaves_nothing_behind(tmp_path, value, why):
    with pytest.raises(ValueError, match=rf"record 2: .*{why}") as error:
        Spool(tmp_path).write([FILL, {**FILL, "bad": value}])
    assert "bad" in str(error.value) or "longer" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("records", [["text"], [None], [[("a", 1)]]])
def test_only_mappings_are_records(tmp_path, records):
    with pytest.raises(ValueError, match="record 1 is no mapping"):
        Spool(tmp_path).write(records)


def test_one_record_without_its_list_is_a_mistake(tmp_path):
    with pytest.raises(TypeError, match=r"write\(\[record\]\)"):
        Spool(tmp_path).write(FILL)


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        Spool(tmp_path / "spool" / "live").write([FILL])
    assert not (tmp_path / "spool").exists()


def test_names_sort_in_the_order_of_writing_also_when_the_wall_clock_is_set_back(tmp_path, monkeypatch):
    spool, other, paths = Spool(tmp_path), Spool(tmp_path), []
    for number in range(60):
        if number == 30:
            monkeypatch.setattr("time.time_ns", lambda: 0)
        paths.append((spool if number % 2 else other).write([{**FILL, "fill_id": str(number)}]))
    assert paths == sorted(paths) and len(set(paths)) == 60


def test_the_group_can_read_whatever_the_umask_and_nobody_else_can(tmp_path):
    before = os.umask(0o077)
    try:
        path = Spool(tmp_path).write([FILL])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640 and path.stat().st_nlink == 1


def test_the_folder_is_kept_when_the_process_changes_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spool = Spool(".")
    monkeypatch.chdir("/")
    assert spool.write([FILL]).parent == tmp_path


def test_a_name_that_is_taken_is_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr("time.clock_gettime_ns", lambda _clock: 0)
    numbers = iter([1, 1, 2, 2, 2, 3])
    monkeypatch.setattr("parityd.engine.spool._COUNTER", numbers)
    paths = {Spool(tmp_path).write([{**FILL, "fill_id": str(number)}]) for number in range(3)}
    assert len(paths) == 3
    assert {lines(path)[0]["fill_id"] for path in paths} == {"0", "1", "2"}
    assert len(list(tmp_path.iterdir())) == 3


WRITER = """
import sys, threading
from parityd.engine import Spool
folder, who = sys.argv[1:]
def write(thread):
    spool = Spool(folder)
    for number in range(25):
        spool.write([{"kind": "mark", "id": f"{who}-{thread}-{number}-{part}"} for part in range(3)])
threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
"""


def test_threads_and_processes_at_once_lose_and_mix_nothing(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(who)], env=environment()) for who in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = list(tmp_path.iterdir())
    assert len(files) == 3 * 4 * 25 and not [file for file in files if file.name.startswith(".")]
    ids = [line["id"] for file in files for line in lines(file)]
    assert len(ids) == len(set(ids)) == 3 * 4 * 25 * 3


def environment():
    import parityd

    return os.environ | {"PYTHONPATH": str(Path(parityd.__file__).parent.parent)}


def test_a_visible_file_is_always_whole_while_it_is_written(tmp_path):
    stop, torn = threading.Event(), []

    def look():
        while not stop.is_set():
            for file in tmp_path.glob("[0-9]*.jsonl"):
                raw = file.read_bytes()
                if not raw.endswith(b"\n") or raw.count(b"\n") != 200:
                    torn.append(file)

    looker = threading.Thread(target=look)
    looker.start()
    for _ in range(30):
        Spool(tmp_path).write([FILL] * 200)
    stop.set()
    looker.join()
    assert not torn


@pytest.mark.parametrize("call", ["fsync", "fchmod", "rename"])
@pytest.mark.parametrize("when", [1, 2])
def test_a_refused_system_call_is_an_error_and_leaves_no_torn_file(tmp_path, monkeypatch, call, when):
    real, calls = getattr(os, call), []

    def refuse(*args, **kwargs):
        calls.append(args)
        if len(calls) == when:
            raise OSError(5, "Input/output error")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, refuse)
    spool = Spool(tmp_path)
    written = None
    if when == 2 and call != "fsync":
        written = spool.write([FILL])
    with pytest.raises(OSError, match="Input/output"):
        spool.write([FILL])
    left = list(tmp_path.iterdir())
    if call == "fsync" and when == 2:  # the folder's: the file is there, but perhaps not after a power cut
        assert len(left) == 1 and lines(left[0]) == [FILL]
    else:
        assert left == ([written] if written else [])


def test_file_and_folder_are_synced_around_the_rename(tmp_path, monkeypatch):
    steps, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"), fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda *a, **k: (steps.append("rename"), rename(*a, **k)))
    Spool(tmp_path).write([{**FILL, "ts": datetime.now(UTC)}])
    assert steps == ["file", "rename", "folder"]


def test_no_descriptor_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        Spool(tmp_path).write([FILL])
    assert len(os.listdir("/proc/self/fd")) == before
