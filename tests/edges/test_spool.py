"""The inboxes: what is seen, what is refused without being opened, what is read; nothing blocks, nothing is followed."""

import json
import os
import socket
import time
from contextlib import closing

import pytest
from edges.spool_desk import needs_root, only, put, scan

from parityd.edges.waiting import unchanged

# --- what is seen ---------------------------------------------------------------------------------------------------------------


def test_finished_files_come_in_order_of_their_names_bytes(spool):
    for name in (b"b.jsonl", b"B.jsonl", b"\xff.jsonl", "ä.jsonl".encode(), b"a.jsonl", b"10.jsonl", b"9.jsonl"):
        put(spool, name)
    assert [os.fsencode(w.path.name) for w in scan(spool).ready] == sorted(
        [b"b.jsonl", b"B.jsonl", b"\xff.jsonl", "ä.jsonl".encode(), b"a.jsonl", b"10.jsonl", b"9.jsonl"]
    )


@pytest.mark.parametrize("name", [".a.jsonl", "a.jsonl.tmp", "a.part", ".hidden"])
def test_a_writers_own_names_are_not_seen(spool, name):
    put(spool, name)
    found = scan(spool)
    assert (found.count, found.ready, found.left, found.refused) == (0, (), (), ())


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "A.JSONL"])
def test_a_young_line_file_without_the_end_of_its_last_line_is_left_and_later_taken(spool, name):
    put(spool, name, b"{}\n{")
    young = scan(spool, 0)
    assert [w.name for w in young.left] == [name]
    assert young.ready == ()
    assert young.count == 1
    assert [w.name for w in scan(spool, 2_100_000_000).ready] == [name]


def test_a_finished_line_file_is_taken_at_once_and_so_is_any_other_format(spool):
    put(spool, "a.jsonl", b"{}\n")
    put(spool, "b.json", b"{")
    put(spool, "c.jsonl.gz", b"\x1f\x8b")
    assert [w.name for w in scan(spool, 0).ready] == ["a.jsonl", "b.json", "c.jsonl.gz"]


def test_an_empty_young_file_may_have_just_been_opened(spool):
    put(spool, "a.json", b"")
    assert len(scan(spool, 0).left) == 1
    assert len(scan(spool).ready) == 1


def test_a_file_with_a_time_in_the_future_does_not_wait_for_that_time(spool):
    os.utime(put(spool, "a.jsonl", b"no end"), (4e9, 4e9))
    assert len(scan(spool, 0).ready) == 1


def test_the_limit_bounds_what_is_returned_and_not_what_is_counted(spool):
    for k in range(30):
        put(spool, f"{29 - k:02d}.jsonl")
    found = scan(spool, limit=7)
    assert [w.name for w in found.ready] == [f"{k:02d}.jsonl" for k in range(7)]
    assert found.count == 30
    assert found.oldest_ns is not None
    assert found.oldest_ns <= min(w.since_ns for w in found.ready)


def test_waiting_counts_from_when_the_name_came_and_not_from_the_times_inside(spool):
    path = put(spool, ".a")
    os.utime(path, (1e9, 1e9))
    before = time.time_ns() - 50_000_000
    path.rename(path.with_name("a.jsonl"))
    assert scan(spool).oldest_ns >= before


def test_a_missing_folder_is_an_error_as_a_value(spool):
    spool.inbox("live").rmdir()
    found = scan(spool)
    assert "No such file" in found.error
    assert found.folder is None


def test_a_folder_made_again_is_another_folder(spool):
    first = scan(spool).folder
    assert scan(spool).folder == first
    spool.inbox("live").rename(spool.inbox("old"))
    spool.inbox("live").mkdir()
    assert scan(spool).folder != first


# --- what is refused without being opened -------------------------------------------------------------------------------------


def odd(kind, path, tmp_path):
    if kind == "symlink":
        (tmp_path / "secret").write_text("{}\n")
        path.symlink_to(tmp_path / "secret")
    elif kind == "dangling":
        path.symlink_to("/nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
        (path / "inner.jsonl").write_text("{}\n")
    elif kind == "socket":
        with closing(socket.socket(socket.AF_UNIX)) as s:
            s.bind(str(path))
    elif kind == "hardlink":
        (tmp_path / "other").write_text("{}\n")
        os.link(tmp_path / "other", path)
    elif kind == "sparse":
        with path.open("wb") as f:
            f.truncate(1 << 40)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(k, "unreadable_file") for k in ("symlink", "dangling", "fifo", "directory", "socket", "hardlink")] + [("sparse", "too_long")],
)
def test_what_is_no_plain_file_goes_to_rejected_as_it_is(spool, tmp_path, kind, code):
    path = spool.inbox("live") / "x.jsonl"
    odd(kind, path, tmp_path)
    (unfit,) = scan(spool).refused
    assert unfit.code == code
    before = os.lstat(path)
    gone = spool.reject_whole(unfit, unfit.code, unfit.reason)
    assert gone.problem == ""
    assert os.path.samestat(os.lstat(gone.path), before), "the entry itself was moved"
    assert not os.path.lexists(path)
    told = json.loads((tmp_path / "rejected/live/x.jsonl.reason.json").read_text())
    assert (told["code"], told["name"], told["book"], told["sha256"]) == (code, "x.jsonl", "live", None)
    if kind == "symlink":
        assert (tmp_path / "secret").read_text() == "{}\n"


@needs_root
def test_a_device_is_refused(spool):
    os.mknod(spool.inbox("live") / "null.jsonl", 0o20666, os.makedev(1, 3))
    (unfit,) = scan(spool).refused
    assert "device" in unfit.reason


def test_a_second_link_may_be_how_a_writer_puts_a_file_in_place(spool):
    path = put(spool, ".new")
    os.link(path, spool.inbox("live") / "a.jsonl")
    assert [w.name for w in scan(spool, 0).left] == ["a.jsonl"]
    path.unlink()
    assert [w.name for w in scan(spool, 0).ready] == ["a.jsonl"]


@needs_root
def test_a_file_without_permission_is_refused_by_a_daemon_that_is_not_root(shared):
    put(shared, "a.jsonl").chmod(0)
    os.seteuid(65534)
    try:
        found, young = scan(shared), scan(shared, 0)
    finally:
        os.seteuid(0)
    assert [(u.code, "no permission" in u.reason) for u in found.refused] == [("unreadable_file", True)]
    assert len(young.left) == 1, "its writer may be about to set the mode"


# --- reading ----------------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_was_seen(spool):
    put(spool, "a.jsonl", b"hello\n")
    waiting = only(spool)
    with spool.open_stable(waiting) as handle:
        assert handle.read() == b"hello\n"
        assert unchanged(handle, waiting)
        with waiting.path.open("ab") as more:
            more.write(b"x")
        assert not unchanged(handle, waiting)


def test_a_file_changed_gone_or_replaced_since_the_scan_is_not_opened(spool, tmp_path):
    path = put(spool, "a.jsonl")
    waiting = only(spool)
    path.write_bytes(b"{}\n{}\n")
    assert spool.open_stable(waiting).kind == "changed"
    path.unlink()
    assert spool.open_stable(waiting).kind == "gone"
    path.symlink_to(tmp_path)
    assert spool.open_stable(waiting).kind == "changed"
    path.unlink()
    os.mkfifo(path)
    assert spool.open_stable(waiting).kind == "changed"


def test_lack_of_descriptors_is_not_the_files_fault(spool, monkeypatch):
    put(spool, "a.jsonl")
    waiting = only(spool)

    def none_left(*args, **kwargs):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", none_left)
    with pytest.raises(OSError, match="Too many"):
        spool.open_stable(waiting)


# --- many -----------------------------------------------------------------------------------------------------------------------


def test_twenty_thousand_files_are_scanned_with_a_bounded_answer(spool):
    inbox = spool.inbox("live")
    for k in range(20_000):
        os.close(os.open(inbox / f"{k:06d}.jsonl", os.O_CREAT | os.O_WRONLY))
    found = scan(spool, limit=500)
    assert (len(found.ready), found.count) == (500, 20_000)
    assert found.ready[-1].name == "000499.jsonl"
