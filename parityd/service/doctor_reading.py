"""One file as the doctor reads it: by the code and the configuration with which the daemon would take it.

1. The file's source is the one it would have in the spool; a file that a tailed or polled source names is read as that source reads it.
2. Its book is what was said, else its source's, else the folder it lies in, else what it holds: decisions are a backtest's, the rest is live.
3. Nothing is stored, moved or copied.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from parityd.core.columns import OLDEST, Bounds
from parityd.core.intake import FileBatch
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS
from parityd.edges.spool import Spool
from parityd.edges.waiting import Waiting
from parityd.formats import Context, Source, Unreadable, identify, read
from parityd.service import polling, tailing
from parityd.service.ops_archive import digest, waiting
from parityd.service.reading import Read, Reader, _batch, as_source
from parityd.service.targets import Round, Targets
from parityd.settings import Settings
from parityd.settings_service import Source as Configured


@dataclass(frozen=True, slots=True)
class Asked:
    """A file that was named, and the book that was said ("" = to be found out)."""

    path: Path
    book: str


@dataclass(slots=True)
class Seen:
    """One file as read."""

    asked: Asked
    book: str
    format: str = ""
    source: str = ""
    batch: FileBatch | None = None
    problem: tuple[str, str] | None = None
    size: int = 0
    first: int = NO_TS
    last: int = NO_TS


def seen(settings: Settings, asked: Asked, now_ns: int) -> Seen:
    """What is in a file, or what is wrong with it."""
    path = asked.path
    follower = _follower(settings, path)
    out = Seen(asked, asked.book or (follower[1].book if follower else None) or _by_place(path))
    try:
        facts = os.stat(path)
    except OSError as e:
        out.problem = ("unreadable_file", e.strerror or str(e))
        return out
    out.size = facts.st_size
    if not stat.S_ISREG(facts.st_mode):
        out.problem = ("unreadable_file", "no regular file")
        return out
    reader = Reader.of(Spool(settings.data_dir), settings)
    try:
        _read(out, out.book or LIVE, reader, follower, now_ns)
        if not out.book and out.batch is not None:
            out.book = BACKTEST if out.batch.decisions is not None and out.batch.fills is None else LIVE
            _read(out, out.book, reader, follower, now_ns)
    except Unreadable as e:
        out.problem = (e.code, e.reason)
    except OSError as e:
        out.problem = ("unreadable_file", e.strerror or str(e))
    return out


def _by_place(path: Path) -> str:
    return next((part for part in reversed(Path(os.path.abspath(path)).parent.parts) if part in BOOKS), "")


def _follower(settings: Settings, path: Path) -> tuple[str, Configured] | None:
    """The tailed or polled source that names the file."""
    real = os.path.realpath(path)
    for name, source in settings.sources.items():
        if source.mode != "drop" and real in map(os.path.realpath, Targets(source.path, settings.data_dir).paths(Round())):
            return name, source
    return None


def _read(out: Seen, book: str, reader: Reader, follower: tuple[str, Configured] | None, now_ns: int) -> None:
    path = out.asked.path
    w = waiting(book, path, path.name)
    with path.open("rb") as handle:
        name, source = path.name, _source(out, w, reader, follower)
        if follower is not None:
            name = "file" + _suffix(path, handle, follower[1])
        bounds = Bounds(latest=now_ns + reader.future_ns, oldest=OLDEST)
        context = Context(book=book, name=name, bounds=bounds, limits=reader.limits, source=source, told={})
        handle.seek(0)
        got = Read(w, size=w.size, sha256=digest(handle), source=out.source)
        handle.seek(0)
        blocks = list(read(handle, context))
        handle.seek(0)
        out.format = identify(handle, context)
    out.batch = _batch(w, got, blocks)
    out.first, out.last = got.first_ts, got.last_ts


def _source(out: Seen, w: Waiting, reader: Reader, follower: tuple[str, Configured] | None) -> Source | None:
    if follower is not None:
        out.source = follower[0]
        return as_source(*follower)
    out.source, source = reader.source_of(w)
    return source


def _suffix(path: Path, handle: BinaryIO, source: Configured) -> str:
    """The container that the source would take the file for."""
    if source.mode == "tail":
        return tailing.suffix_of(str(path), handle, source)
    return ".sqlite" if handle.read(len(polling.MAGIC)) == polling.MAGIC else polling.suffix_of(str(path), handle)
