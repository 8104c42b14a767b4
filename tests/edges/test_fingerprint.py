"""The thread that hashes a file while it is decoded."""

import hashlib
import os

import pytest

from parityd.edges import fingerprint
from parityd.edges.fingerprint import Fingerprint


@pytest.mark.parametrize("size", [0, 1, 9, 10, 25])
def test_it_is_that_of_the_whole_file_whoever_reads_the_handle_meanwhile(tmp_path, monkeypatch, size):
    monkeypatch.setattr(fingerprint, "STEP", 10)
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))
    with path.open("rb") as handle, Fingerprint(handle) as found:
        handle.read(3)
        assert found.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
        assert handle.tell() == min(3, size)


def test_a_disk_that_refuses_is_told_when_it_is_asked_for(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)  # a folder cannot be read

    class Handle:
        def fileno(self):
            return fd

    with Fingerprint(Handle()) as found, pytest.raises(IsADirectoryError):
        found.sha256()
    os.close(fd)


def test_whatever_ends_the_thread_there_is_no_hash_of_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(fingerprint.os, "pread", full)
    with (tmp_path / "a").open("rb") as handle, Fingerprint(handle) as found, pytest.raises(MemoryError):
        found.sha256()


def test_where_no_thread_is_to_be_had_it_is_made_at_once(tmp_path, monkeypatch):
    def none(_):
        raise RuntimeError("can't start new thread")

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(fingerprint.Thread, "start", none)
    with (tmp_path / "a").open("rb") as handle, Fingerprint(handle) as found:
        assert found.sha256() == hashlib.sha256(b"x").hexdigest()
