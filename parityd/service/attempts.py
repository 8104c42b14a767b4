"""A file that kills its reader must not kill every restart: what is being read is written down first, and tried elsewhere after a death.

1. The files of a turn stand in `data_dir/.reading`, durable before the first of them is opened; when the turn is over it names none. It stands
   between every fill and its publication, so it is written over in place, in whole blocks: that costs the disk no entry in its journal. One that
   is torn says nothing, and the files are read as usual.
2. Files marked by a process that ended are read in a child process before anything else is. One that the child dies of is `poison`; what
   the child merely refuses, or cannot say, is read as usual.
3. A child ended by the signals that end the service, or by the death of its parent, has said nothing about the file.
4. It knows files, not records, and moves nothing.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from parityd.edges.files import exists, sync_folder, write_all
from parityd.edges.waiting import Key, Waiting
from parityd.service.reading import Reader

MARK = ".reading"
BLOCK = 4096
SECONDS = 60.0
BYTES_A_SECOND = 1_000_000
ENDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_KEEP = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ", "TMPDIR")


class Marked(msgspec.Struct, frozen=True):
    """A file that was being read: its inbox and its name there."""

    book: str
    name: str


class Task(msgspec.Struct, frozen=True):
    """What the child is given: the files, and how they are read."""

    data_dir: str
    files: list[tuple[str, str, Key]]  # book, name, key
    limits: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    future_ns: int
    now_ns: int


@dataclass(slots=True)
class Poisoned:
    """A file that a reader died of, and how."""

    waiting: Waiting
    how: str


class Attempts:
    """The mark of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.path = data_dir / MARK

    def begin(self, turn: Iterable[Waiting]) -> None:
        """Before the first of them is opened. OSError where it cannot be made durable: then nothing may be opened."""
        there = exists(self.path)
        self._write([[w.book, w.path.name] for w in turn], durably=True)
        if not there:
            sync_folder(self.path.parent)

    def end(self) -> None:
        """The turn is over, whatever came of it."""
        with contextlib.suppress(OSError):
            self._write([], durably=False)

    def _write(self, rows: list[list[str]], *, durably: bool) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            text = json.dumps(rows).encode("ascii")
            size = max(-(-len(text) // BLOCK) * BLOCK, os.fstat(fd).st_size)
            write_all(fd, text.ljust(size - 1) + b"\n")
            if durably:
                os.fdatasync(fd)
        finally:
            os.close(fd)

    def left(self) -> list[Marked]:
        """The files that a process was reading when it ended."""
        try:
            rows = json.loads(self.path.read_bytes())
            return [Marked(str(book), str(name)) for book, name in rows]
        except (OSError, ValueError, TypeError):
            return []

    def tried(self, reader: Reader, waiting: Mapping[tuple[str, str], Waiting], now_ns: int) -> list[Poisoned]:
        """Read the marked files (those of them that `waiting` knows) in a child; what it died of. Blocks for as long as that takes."""
        files = [w for m in self.left() if (w := waiting.get((m.book, m.name))) is not None]
        found: list[Poisoned] = []
        while files:
            read, how = _child(self._task(reader, files, now_ns), sum(w.size for w in files))
            if how and read < len(files):
                found.append(Poisoned(files[read], how))
                read += 1
            elif read < len(files):
                return found  # it could say nothing of these
            files = files[read:]
        return found

    def _task(self, reader: Reader, files: list[Waiting], now_ns: int) -> bytes:
        fields = ("book", "path", "format", "strategy", "timezone", "columns")
        sources = {name: {f: getattr(s, f) for f in fields} for name, s in reader.sources.items()}
        limits = {f: getattr(reader.limits, f) for f in reader.limits.__dataclass_fields__}
        rows = [(w.book, w.path.name, w.key) for w in files]
        task = {
            "data_dir": str(self.data_dir), "files": rows, "limits": limits, "sources": sources, "future_ns": reader.future_ns, "now_ns": now_ns
        }  # fmt: skip
        return json.dumps(task, default=str).encode("ascii")


def _child(task: bytes, size: int) -> tuple[int, str]:
    """(how many files it read to their end, how it died of the next one; "" where it did not)."""
    env = {k: os.environ[k] for k in _KEEP if k in os.environ} | {"OPENBLAS_NUM_THREADS": "1"}
    seconds = SECONDS + size / BYTES_A_SECOND
    try:
        done = subprocess.run(  # our own module
            [sys.executable, "-P", "-m", "parityd.service.trial"], input=task, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=seconds, env=env, check=False, start_new_session=True,
        )  # fmt: skip
        out, how = done.stdout, _how(done.returncode)
    except subprocess.TimeoutExpired as e:
        out, how = e.stdout or b"", f"its reader did not end within {seconds:.0f} s"
    read, began = out.count(b"+"), out.count(b"-")
    return read, how if began > read else ""


def _how(code: int) -> str:
    if code in (0, 3) or -code in ENDED:
        return ""
    return f"its reader died of signal {-code}" if code < 0 else f"its reader ended with {code}"
