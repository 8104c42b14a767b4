"""One process a data directory."""

import os
import subprocess
import sys

import pytest

from parityd.edges.lock import DirectoryLock, LockedError, holder

CHILD = """
import sys, time, pathlib
from parityd.edges.lock import DirectoryLock
with DirectoryLock(pathlib.Path(sys.argv[1]), "run"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout.readline() == "locked\n"
        yield child
        child.stdin.close()


def test_the_second_process_is_refused_and_told_who_is_first(tmp_path, other):
    with pytest.raises(LockedError, match=f"process {other.pid} \\(run\\)") as refused, DirectoryLock(tmp_path):
        pytest.fail("two processes hold the lock")
    assert refused.value.pid == other.pid
    assert holder(tmp_path) == other.pid


def test_a_killed_process_leaves_no_lock(tmp_path, other):
    other.kill()
    other.wait()
    assert holder(tmp_path) is None
    with DirectoryLock(tmp_path) as lock:
        assert lock.held()


def test_it_is_free_after_use_and_then_nobody_holds_it(tmp_path):
    assert holder(tmp_path) is None
    with DirectoryLock(tmp_path, "check"):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(LockedError), DirectoryLock(tmp_path):
            pytest.fail("locked twice")
    assert holder(tmp_path) is None
    with DirectoryLock(tmp_path):
        pass


def test_a_lock_file_taken_away_is_noticed(tmp_path):
    with DirectoryLock(tmp_path) as lock:
        (tmp_path / ".lock").unlink()
        assert not lock.held()
        (tmp_path / ".lock").touch()
        assert not lock.held()


def test_programs_started_from_here_do_not_inherit_it(tmp_path):
    with DirectoryLock(tmp_path):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        assert holder(tmp_path) is None
    finally:
        child.kill()
        child.wait()


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), DirectoryLock(tmp_path):
        pytest.fail("followed")
    assert not (tmp_path / "elsewhere").exists()
