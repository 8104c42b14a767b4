"""The inboxes and the ways out: nothing blocks, nothing is followed, nothing disappears."""

import json
import os
import socket
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from parityd.core.records import Refusal
from parityd.edges.spool import Spool
from parityd.edges.waiting import SpoolLimits, unchanged

HASH = "0123456789abcdef" * 4
LATER = 10_000_000_000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes owners and makes devices")


@pytest.fixture
def spool(tmp_path):
    found = Spool(tmp_path)
    for book in ("live", "backtest"):
        found.inbox(book).mkdir(parents=True)
    return found


@pytest.fixture
def shared():
    """A spool that every user may enter and write, as pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o777)
        found = Spool(root)
        found.inbox("live").mkdir(parents=True)
        found.inbox("live").chmod(0o777)
        yield found


def put(spool, name, data=b"{}\n", book="live"):
    path = Path(os.fsdecode(os.path.join(os.fsencode(spool.inbox(book)), os.fsencode(name))))
    path.write_bytes(data)
    return path


def scan(spool, after_ns=LATER, **kw):
    return spool.scan("live", time.time_ns() + after_ns, **kw)


def only(spool):
    (waiting,) = scan(spool).ready
    return waiting


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() or p.is_symlink())


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


# --- archive ---------------------------------------------------------------------------------------------------------------------


def test_a_read_file_goes_to_the_archive_under_its_hash(spool, tmp_path):
    put(spool, "a b.jsonl", b"x\n")
    there = spool.archive(only(spool), HASH, "2026-11-20")
    assert there == tmp_path / "archive/live/2026-11-20/0123456789ab-a b.jsonl"
    assert there.read_bytes() == b"x\n"
    assert everything(spool.inbox("live")) == []


def test_archiving_twice_is_archiving_once(spool, tmp_path):
    put(spool, "a.jsonl")
    waiting = only(spool)
    first = spool.archive(waiting, HASH, "2026-11-20")
    assert spool.archive(waiting, HASH, "2026-11-20") == first
    put(spool, "a.jsonl")
    assert spool.archive(only(spool), HASH, "2026-11-20") == first
    assert everything(tmp_path / "archive") == ["live/2026-11-20/0123456789ab-a.jsonl"]


def test_a_file_that_grew_after_reading_stays_for_the_next_scan(spool, tmp_path):
    path = put(spool, "a.jsonl")
    waiting = only(spool)
    with path.open("ab") as f:
        f.write(b"{}\n")
    assert spool.archive(waiting, HASH, "2026-11-20") is None
    assert path.read_bytes() == b"{}\n{}\n"


def test_a_new_file_under_the_old_name_is_never_taken_for_the_old_one(spool, monkeypatch):
    path = put(spool, "a.jsonl", b"old\n")
    waiting, rename = only(spool), os.rename

    def raced(src, dst):
        fresh = put(spool, ".a.jsonl", b"new\n")
        rename(fresh, src)
        rename(src, dst)

    monkeypatch.setattr(os, "rename", raced)
    assert spool.archive(waiting, HASH, "2026-11-20") is None
    assert path.read_bytes() == b"new\n"


def test_other_content_under_the_same_archive_name_is_kept_beside(spool, tmp_path):
    put(spool, "a.jsonl", b"one\n")
    spool.archive(only(spool), HASH, "2026-11-20")
    put(spool, "a.jsonl", b"two\n")
    spool.archive(only(spool), HASH[:12] + "f" * 52, "2026-11-20")
    assert sorted(p.read_bytes() for p in (tmp_path / "archive").rglob("*.jsonl")) == [b"one\n", b"two\n"]


@pytest.mark.parametrize("name", [b"x" * 248 + b".sqlite", b"a\nb.jsonl", b"\xff\xfe.csv.zst", "€".encode() * 83 + b".csv", b"-rf", b"a.."])
def test_every_name_can_be_archived_and_rejected(spool, name):
    put(spool, name)
    waiting = only(spool)
    suffix = ".sqlite" if name.endswith(b"sqlite") else ""
    lines = spool.reject_lines("live", HASH, waiting.name, [Refusal(line=1, code="bad_json", reason="r", raw="x")])
    there = spool.archive(waiting, HASH, "2026-11-20")
    assert there.name.startswith("0123456789ab-")
    assert there.name.endswith(suffix)
    assert there.name.isprintable()
    assert max(len(os.fsencode(p.name)) for p in (there, lines)) <= 255
    put(spool, name)
    assert spool.reject_whole(only(spool), "poison", "died").problem == ""
    assert everything(spool.inbox("live")) == []


# --- rejected -------------------------------------------------------------------------------------------------------------------


def refusals(n, raw="{"):
    return (Refusal(line=k + 1, code="bad_json", reason="no JSON", raw=raw) for k in range(n))


def test_refused_records_are_lines_with_place_code_reason_and_text(spool, tmp_path):
    path = spool.reject_lines("live", HASH, "a.jsonl", [Refusal(line=7, code="bad_value", reason="price", raw='{"price": "ü\udc80"}')])
    assert path == tmp_path / "rejected/live/0123456789ab-a.jsonl.rejected.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"line": 7, "code": "bad_value", "reason": "price", "raw": '{"price": "ü\\udc80"}'}
    ]


def test_saying_it_again_changes_nothing_and_no_refusals_make_no_file(spool, tmp_path):
    first = spool.reject_lines("live", HASH, "a.jsonl", refusals(3)).read_bytes()
    assert spool.reject_lines("live", HASH, "a.jsonl", refusals(3)).read_bytes() == first
    assert spool.reject_lines("live", HASH, "b.jsonl", []) is None
    assert everything(tmp_path / "rejected") == ["live/0123456789ab-a.jsonl.rejected.jsonl"]


def test_the_text_of_a_refused_record_is_at_most_64_kib_and_never_half_a_character(spool):
    path = spool.reject_lines("live", HASH, "a.jsonl", refusals(1, "x" + "€" * 50_000))
    raw = json.loads(path.read_text())["raw"]
    assert 65_533 <= len(raw.encode()) <= 65_536


def test_a_hundred_thousand_refusals_are_bounded_and_the_rest_is_counted(tmp_path):
    spool = Spool(tmp_path, SpoolLimits(rejected_bytes=1 << 20))
    path = spool.reject_lines("live", HASH, "a.jsonl", refusals(100_000))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert path.stat().st_size < (1 << 20) + 1000
    assert rows[-1]["more"] + len(rows) - 1 == 100_000
    assert rows[-1]["line"] == len(rows)
    assert rows[-1]["codes"] == {"bad_json": rows[-1]["more"]}
    assert [r["line"] for r in rows] == list(range(1, len(rows) + 1))


def test_two_files_of_one_name_are_both_kept(spool, tmp_path):
    for content, digest in ((b"one", "1" * 64), (b"two", "2" * 64), (b"three", None), (b"four", None)):
        put(spool, "z.gz", content)
        assert spool.reject_whole(only(spool), "unreadable_file", "no gzip", digest).problem == ""
    kept = sorted(p.read_bytes() for p in (tmp_path / "rejected/live").iterdir() if not p.name.endswith(".reason.json"))
    assert kept == [b"four", b"one", b"three", b"two"]
    assert len(list((tmp_path / "rejected/live").glob("*.reason.json"))) == 4


def test_the_same_broken_file_again_is_one_file(spool, tmp_path):
    for _ in range(3):
        put(spool, "z.gz", b"junk")
        spool.reject_whole(only(spool), "unreadable_file", "no gzip", HASH)
    assert everything(tmp_path / "rejected/live") == ["z.gz", "z.gz.reason.json"]


def test_a_crash_between_the_reason_and_the_move_is_finished_the_next_time(spool, tmp_path, monkeypatch):
    put(spool, "z.gz", b"junk")
    rename, calls = os.rename, []

    def dies(src, dst):
        calls.append(src)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(src, dst)

    monkeypatch.setattr(os, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        spool.reject_whole(only(spool), "poison", "died", HASH)
    monkeypatch.undo()
    assert everything(tmp_path / "rejected/live") == ["z.gz.reason.json"]
    spool.reject_whole(only(spool), "poison", "died", HASH)
    assert everything(tmp_path / "rejected/live") == ["z.gz", "z.gz.reason.json"]


def test_a_file_mended_in_place_since_it_was_judged_is_not_thrown_out(spool):
    path = put(spool, "a.jsonl", b"junk")
    waiting = only(spool)
    path.write_bytes(b"{}\n")
    assert "changed" in spool.reject_whole(waiting, "unreadable_file", "x").problem
    assert path.exists()


@needs_root
def test_what_cannot_be_moved_is_said_once_and_then_passed_by(shared):
    (shared.inbox("live") / "shut").mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        (unfit,) = scan(shared).refused
        assert shared.reject_whole(unfit, unfit.code, unfit.reason).problem == "Permission denied"
        found = scan(shared)
    finally:
        os.seteuid(0)
    assert (found.refused, found.count) == ((), 0)
    assert list(shared.stuck.values()) == ["Permission denied"]


def test_twenty_thousand_files_are_scanned_with_a_bounded_answer(spool):
    inbox = spool.inbox("live")
    for k in range(20_000):
        os.close(os.open(inbox / f"{k:06d}.jsonl", os.O_CREAT | os.O_WRONLY))
    found = scan(spool, limit=500)
    assert (len(found.ready), found.count) == (500, 20_000)
    assert found.ready[-1].name == "000499.jsonl"
