"""Durable writes and moves: whole or not at all, and twice is once."""

import errno
import os
import stat

import pytest

from parityd.edges import files
from parityd.edges.files import cut_name, ensure_folder, folder_id, move_durably, replace_durably, safe_name, stream_durably


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_replaced_file_has_the_new_bytes_and_the_asked_mode_whatever_the_umask(tmp_path):
    target, before = tmp_path / "f.json", os.umask(0o077)
    try:
        replace_durably(target, b"one", 0o644)
        replace_durably(target, b"two", 0o644)
    finally:
        os.umask(before)
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert names(tmp_path) == ["f.json"]


def test_a_temporary_file_left_by_a_killed_process_is_no_obstacle(tmp_path):
    (tmp_path / ".f.tmp").write_bytes(b"half")
    replace_durably(tmp_path / "f", b"whole", 0o600)
    assert names(tmp_path) == ["f"]


def test_a_link_planted_as_temporary_file_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / ".f.tmp").symlink_to(tmp_path / "victim")
    replace_durably(tmp_path / "f", b"new", 0o600)
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "rename", "write", "fchmod"])
def test_the_failing_call_is_raised_and_the_old_content_stays(tmp_path, monkeypatch, call):
    target, calls = tmp_path / "f", []
    replace_durably(target, b"old", 0o600)

    def fails(*args, **kwargs):
        calls.append(args)
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(files.os, call, fails)
    with pytest.raises(OSError, match="broken disk"):
        replace_durably(target, b"new", 0o600)
    monkeypatch.undo()
    assert len(calls) == 1, "nothing is tried again on that descriptor"
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_file_and_folder_are_synced_in_that_order_around_the_rename(tmp_path, monkeypatch):
    said, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(files.os, "fsync", lambda fd: (said.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"), fsync(fd)))
    monkeypatch.setattr(files.os, "rename", lambda a, b: (said.append("rename"), rename(a, b)))
    replace_durably(tmp_path / "f", b"x", 0o600)
    assert said == ["file", "rename", "folder"]


def test_a_stream_that_breaks_leaves_nothing(tmp_path):
    def chunks():
        yield b"a"
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        stream_durably(tmp_path / "f", chunks(), 0o600)
    assert names(tmp_path) == []


def test_short_writes_are_completed(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(files.os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    replace_durably(tmp_path / "f", b"0123456789", 0o600)
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_move_done_twice_is_done_once(tmp_path):
    src, dst = tmp_path / "a", tmp_path / "b"
    src.write_bytes(b"x")
    move_durably(src, dst)
    move_durably(src, dst)
    src.write_bytes(b"x")
    move_durably(src, dst)
    assert names(tmp_path) == ["b"]


def test_a_move_overwrites_no_other_content(tmp_path):
    src, dst = tmp_path / "a", tmp_path / "b"
    src.write_bytes(b"x")
    dst.write_bytes(b"y")
    with pytest.raises(FileExistsError):
        move_durably(src, dst)
    assert (src.read_bytes(), dst.read_bytes()) == (b"x", b"y")


def test_a_move_of_nothing_to_nowhere_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        move_durably(tmp_path / "a", tmp_path / "b")


def test_across_file_systems_content_is_copied_before_the_source_goes(tmp_path, monkeypatch):
    src, dst, rename = tmp_path / "a", tmp_path / "sub" / "b", os.rename
    dst.parent.mkdir()
    src.write_bytes(b"x" * (3 << 20))

    def other_file_system(a, b):
        if os.path.dirname(a) != os.path.dirname(b):
            raise OSError(errno.EXDEV, "cross-device")
        rename(a, b)

    monkeypatch.setattr(files.os, "rename", other_file_system)
    move_durably(src, dst)
    assert dst.read_bytes() == b"x" * (3 << 20)
    assert not src.exists()
    assert names(dst.parent) == ["b"]


def test_a_link_moves_as_a_link(tmp_path):
    (tmp_path / "l").symlink_to("/nowhere")
    move_durably(tmp_path / "l", tmp_path / "m")
    assert os.readlink(tmp_path / "m") == "/nowhere"


def test_folders_are_made_with_their_mode_and_left_alone_when_there(tmp_path):
    before = os.umask(0o077)
    try:
        ensure_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o750
    (tmp_path / "a").chmod(0o711)
    ensure_folder(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o711


def test_a_folder_made_again_is_another_folder_even_with_the_same_inode(tmp_path):
    seen = set()
    for _ in range(5):
        (tmp_path / "d").mkdir()
        fd = os.open(tmp_path / "d", os.O_RDONLY)
        seen.add(folder_id(fd))
        os.close(fd)
        (tmp_path / "d").rmdir()
    if all(generation == 0 for *_, generation in seen):
        pytest.skip("this file system has no inode generations")
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain.jsonl", "plain.jsonl"),
        (b"a\nb", "a\\nb"),
        (b"\xff.csv", "\\xff.csv"),
        ("ü .jsonl".encode(), "ü .jsonl"),
        (b"\x1b[31m", "\\x1b[31m"),
    ],
)
def test_any_name_can_be_shown(raw, shown):
    assert safe_name(os.fsdecode(raw)) == shown


def test_a_long_name_is_cut_before_its_suffixes_and_between_characters():
    assert cut_name("a" * 300 + ".jsonl.gz", 255) == "a" * 246 + ".jsonl.gz"
    cut = cut_name("ü" * 150 + ".csv", 100)
    assert cut.endswith("ü.csv")
    assert len(cut.encode()) in (99, 100)
    assert cut_name("short.csv", 100) == "short.csv"
    assert len(cut_name("x" * 300, 255)) == 255
