"""Files put into an inbox, and what a scan finds: what the tests of the spool share."""

import os
import time
from pathlib import Path

import pytest

HASH = "0123456789abcdef" * 4
LATER = 10_000_000_000


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes owners and makes devices")


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
