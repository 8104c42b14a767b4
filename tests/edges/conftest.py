"""A spool of this test's own, and one that every user may write."""

import tempfile
from pathlib import Path

import pytest

from parityd.edges.spool import Spool


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
