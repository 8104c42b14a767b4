"""FAULTS, Spool: cases 18 to 25."""

import json
import os
import shutil
import stat
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
from faults.box import Box, need_root, strace
from faults.model import DAY, Model, chunks, over, rfc, trades


def line(record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


def test_case_18_garbage_costs_only_itself(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    f = {**fills[0], "trade_id": "x"}
    bad = {
        "nul": b'{"kind":"fill",\0}\n', "utf8": b'{"kind":"fill","strategy":"\xff\xfe"}\n', "nan": line({**f, "fill_id": "n1", "price": float("nan")}),
        "huge": line({**f, "fill_id": "n2"}).replace(b'"quantity": "1"', b'"quantity": 1e400'), "deep": b"[" * 5000 + b"]" * 5000 + b"\n",
        "twice": b'{"kind":"fill","kind":"mark"}\n', "long": b'{"kind":"fill","reason":"' + b"a" * (2 << 20) + b'"}\n', "array": b"[]\n",
        "text": b"not json at all\n", "number": b"42\n", "negative": line({**f, "fill_id": "n3", "quantity": "-1"}),
    }  # fmt: skip
    good = [line(r) for r in model.take(fills)]
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop(
        "live",
        b"\xef\xbb\xbf"
        + b"".join(good[:10]).replace(b"\n", b"\r\n")
        + b"\r\n"
        + b"".join(bad.values())
        + b"".join(good[10:])
        + line(over()),
    )
    for name, raw in (
        ("empty.jsonl", b""),
        ("blank.jsonl", b"\n\n"),
        ("bin.jsonl", os.urandom(4096)),
        ("zeros.jsonl", bytes(4096)),
        ("cut.jsonl.gz", b"\x1f\x8b\x08"),
    ):
        box.drop("live", raw, name)
    model.agrees(box)
    of_file = [r for r in box.rejected() if 12 <= r["line"] < 12 + len(bad)]
    assert {r["code"] for r in of_file} <= {"bad_json", "bad_encoding", "bad_value", "too_long", "unknown_kind", "missing_field"}
    assert len(of_file) == len(bad)
    assert all(len(r["raw"]) <= 64 << 10 for r in box.rejected())


def test_case_19_the_same_twice_counts_once_and_one_id_with_two_contents_is_a_conflict(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()], "a.jsonl")
    box.drop("live", [*fills, over()], "b.jsonl")
    box.drop("live", [*fills[3:9]], "c.jsonl")
    box.drop("live", [{**fills[4], "price": "1"}], "d.jsonl")
    box.drop("live", [*fills, over()], "e.jsonl")
    model.agrees(box)
    assert [r["code"] for r in box.rejected()] == ["conflict"]
    assert json.loads(box.rejected()[0]["raw"])["price"] == "1"


def test_case_20_late_out_of_order_future_and_before_1970(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    box.drop("live", [*reversed(model.take(fills)), over()], "a.jsonl")
    box.drop("backtest", [*reversed(model.take(decisions[15:])), over()], "b.jsonl")
    box.check()
    box.drop("backtest", model.take(decisions[:15]), "c.jsonl")
    old, new = {**fills[0], "fill_id": "o", "ts": -1}, {**fills[0], "fill_id": "n", "ts": rfc(DAY + timedelta(days=40))}
    box.drop("live", [old, new, {**fills[0], "fill_id": "z", "ts": "1969-12-31T23:59:59Z"}], "d.jsonl")
    model.agrees(box)
    assert sorted(r["code"] for r in box.rejected()) == ["future_timestamp", "too_old", "too_old"]


def test_case_21_written_in_place_or_changed_after_being_seen(box: Box, model: Model) -> None:
    decisions, fills = trades(60)
    with box.running():
        box.drop("backtest", [*model.take(decisions), over()])
        with (box.data / "spool/live/grows.jsonl").open("wb", buffering=0) as f:
            for r in model.take(fills):
                raw = line(r)
                f.write(raw[:40])
                time.sleep(0.01)
                f.write(raw[40:])
            f.write(line(over())[:-1])
        box.until(lambda: not box.spooled(), 20)
    model.agrees(box)


def test_case_22_what_is_no_regular_file_is_refused_without_blocking(box: Box, model: Model) -> None:
    spool, decisions_fills = box.data / "spool/live", trades(20)
    decisions, fills = decisions_fills
    outside = box.root / "outside.jsonl"
    outside.write_bytes(b"".join(map(line, fills)))
    (spool / "link.jsonl").symlink_to(outside)
    os.mkfifo(spool / "fifo.jsonl")
    (spool / "folder.jsonl").mkdir()
    os.link(outside, spool / "hard.jsonl")
    with (spool / "sparse.jsonl").open("wb") as f:
        f.truncate(1 << 40)
    if os.geteuid() == 0:
        os.mknod(spool / "device.jsonl", stat.S_IFCHR | 0o644, os.makedev(1, 5))
    odd = ["new\nline.jsonl", "..dots.jsonl" * 2, "a" * 249 + ".jsonl", "\udcff\udcfe.jsonl", "-rf.jsonl", "sp ace.jsonl"]
    parts = chunks(model.take(fills), 4)
    for name, part in zip(odd, parts, strict=False):
        box.drop("live", part, name.lstrip("."))
    box.drop("live", [over()])
    box.drop("backtest", [*model.take(decisions), over()])
    time.sleep(2.1)
    model.agrees(box)
    assert outside.exists()
    never_read = {"link", "fifo", "folder", "hard", "sparse"}
    assert {r["name"].split(".")[0] for r in box.whole()} >= never_read
    told = [row["data"]["file"].split(".")[0] for row in box.events("file.refused")]
    assert never_read <= set(told), "a refusal without its line in the audit"
    assert len(told) == len(set(told))


def test_case_22_in_the_daemon_what_is_never_read_is_one_line_of_the_audit(box: Box) -> None:
    with box.running():
        (box.data / "spool/live/link.jsonl").symlink_to("/nowhere")
        os.mkfifo(box.data / "spool/backtest/fifo.jsonl")
        box.until(lambda: not box.spooled(), 10)
        told = box.until(lambda: len(box.events("file.refused")) == 2 and box.events("file.refused"), 5)
    assert [(row["actor"], row["data"]["file"], row["data"]["codes"]) for row in told] == [
        ("live", "link.jsonl", {"unreadable_file": 1}),
        ("backtest", "fifo.jsonl", {"unreadable_file": 1}),
    ]
    assert box.cli("audit", "verify").returncode == 0


class Renewals:
    """Looks at the publication all the time, in a thread: the longest time without a new one, until a live file may have waited for 15 min."""

    def __init__(self, box: Box) -> None:
        self.box, self.gap, self.ended = box, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _look(self) -> None:
        sequence, began = self.box.override()["sequence"], time.monotonic()
        last = began
        while not self.ended.wait(0.05) and time.monotonic() - began < 890:
            now, moment = self.box.override()["sequence"], time.monotonic()
            self.gap = max(self.gap, moment - last)
            if now != sequence:
                sequence, last = now, moment


def many_files(box: Box, model: Model, n: int) -> tuple[float, float, int]:
    """n one-record files at once: (longest gap between renewals in s, seconds to drain, peak of resident memory in bytes)."""
    decisions, fills = trades(n // 2)
    for book, records in (("backtest", model.take(decisions)), ("live", model.take(fills))):
        folder = box.data / "spool" / book
        for k, r in enumerate(records):
            (folder / f".{k:07d}.jsonl").write_bytes(line(r))
    peak = 0
    with box.running(), Renewals(box) as renewals:
        started = time.monotonic()
        for k in range(n // 2):
            for book in ("backtest", "live"):
                folder = box.data / "spool" / book
                (folder / f".{k:07d}.jsonl").rename(folder / f"{k:07d}.jsonl")
        for book in ("backtest", "live"):
            box.drop(book, [over()], "z.jsonl")
        while box.spooled_any():
            assert box.proc.poll() is None, box.log()[-1000:]
            peak = max(peak, resident(box.proc.pid))
            time.sleep(0.05)
        drained = time.monotonic() - started
        box.ready(60)
    return renewals.gap, drained, peak


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def test_case_23_many_files_at_once_in_bounded_memory_with_steady_renewals(box: Box, model: Model) -> None:
    with box.running():  # a first publication, so that there is something to renew
        pass
    started = time.monotonic()
    decisions, fills = trades(400)
    with box.running():
        for book, records in (("backtest", model.take(decisions)), ("live", model.take(fills))):
            folder = box.data / "spool" / book
            for k, r in enumerate(records):
                (folder / f".{k:07d}.jsonl").write_bytes(line(r))
            for k in range(len(records)):
                (folder / f".{k:07d}.jsonl").rename(folder / f"{k:07d}.jsonl")
            box.drop(book, [over()], "z.jsonl")
        gate, lapses = box.gate(), 0
        while box.spooled():
            lapses += not gate.read().fresh
            time.sleep(0.02)
            assert time.monotonic() - started < 60
        assert lapses == 0
        assert resident(box.proc.pid) < 400 << 20
    model.agrees(box)


def test_case_23_a_turn_that_takes_long_withholds_no_renewal(box: Box, model: Model) -> None:
    """A large file, or thousands of small ones on a slow machine: the inboxes are looked at meanwhile."""
    decisions, fills = trades(20)
    with box.running(shim="long_turns"):
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        gate = box.gate()
        while box.spooled():
            assert gate.read().fresh, box.get("/readyz")
            time.sleep(0.05)
    model.agrees(box)


def test_case_24_a_folder_deleted_and_made_again(box: Box, model: Model) -> None:
    decisions, fills = trades(40)
    with box.running():
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", model.take(fills[:20]))
        box.until(lambda: not box.spooled(), 10)
        shutil.rmtree(box.data / "spool/live")
        time.sleep(0.3)
        (box.data / "spool/live").mkdir()
        box.drop("live", [*model.take(fills[20:]), over()])
        box.until(lambda: not box.spooled(), 10)
        box.until(box.fresh, 10)
    model.agrees(box)


@pytest.mark.torture
def test_case_24_a_watch_that_lost_events_is_made_good_by_the_scan(box: Box, model: Model) -> None:
    decisions, fills = trades(300)
    with box.running():
        box.proc.send_signal(19)
        for book, records in (("backtest", decisions), ("live", fills)):
            for r in model.take(records):
                box.drop(book, [r])
            box.drop(book, [over()])
        box.proc.send_signal(18)
        box.until(lambda: not box.spooled(), 30)
    model.agrees(box)


def test_case_25_one_file_unreadable(box: Box, model: Model) -> None:
    need_root()
    decisions, fills = trades(20)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    box.drop("live", [fills[0]], "bad.jsonl")
    with box.running(*strace("read", "error=EIO", path=box.data / "spool/live/bad.jsonl"), ready=False):
        box.until(lambda: not box.spooled(), 30, "the file whose disk fails does not hold up the others, and leaves")
    assert [r["code"] for r in box.whole()] == ["unreadable_file"]
    model.agrees(box)
