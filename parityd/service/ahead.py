"""The next turn's files, read by a process beside this one while the present turn is applied (`[ingest] processes = 1`).

1. Only large files of lines, and only in a backlog: below `WORTH` bytes no process is started, and when the backlog is over it ends.
2. What the process says of a file is used only if the file still is what it was; where it says nothing, or died, the file is read as usual.
   Only native records need nothing but their file; what orders of other formats were told before is known here alone.
3. Whether a file is known is asked here, by the content hash that the process found.
4. Codes of owners do not travel: columns carry names (`Columns.__reduce__`).
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from parityd.edges.spool import Spool
from parityd.edges.waiting import Key, Waiting, key_of
from parityd.service.reading import Read, Reader

WORTH = 64 << 20
LARGE = 1 << 20
LINES = (".jsonl", ".ndjson")
NATIVE = "native"


def _prepare() -> None:
    """In the process: give way to the one that publishes."""
    with suppress(OSError):
        os.nice(5)


def _read(asked: tuple[Any, ...], w: Waiting, now: int, oldest: int) -> Read:
    """In the process: one file, as the reader there would have it."""
    data_dir, limits, sources, future_ns = asked
    reader = Reader(Spool(data_dir), limits, sources, future_ns)
    return reader.read(w, now, lambda _book, _sha256: False, oldest)


class Ahead:
    """Reads ahead of the turns of one backlog."""

    def __init__(self, reader: Reader, *, allowed: bool) -> None:
        self.reader, self.allowed = reader, allowed
        self._pool: ProcessPoolExecutor | None = None
        self._asked: dict[Key, Future[Read]] = {}

    @property
    def running(self) -> bool:
        """Whether a process reads ahead."""
        return self._pool is not None

    def expect(self, waiting: Iterable[Waiting]) -> None:
        """What waits: a backlog that is worth a process gets one."""
        if self.allowed and self._pool is None and sum(w.size for w in waiting if self._fits(w)) >= WORTH:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare)

    def _fits(self, w: Waiting) -> bool:
        return w.size >= LARGE and w.name.endswith(LINES)

    def ask(self, turn: Iterable[Waiting], now: int, oldest: int) -> None:
        """Let these files be read."""
        if self._pool is None:
            return
        r = self.reader
        asked = (r.spool.data_dir, r.limits, dict(r.sources), r.future_ns)
        for w in turn:
            if self._fits(w) and w.key not in self._asked:
                try:
                    self._asked[w.key] = self._pool.submit(_read, asked, w, now, oldest)
                except RuntimeError:  # the process died, or was ended
                    self.end()
                    return

    def read(self, w: Waiting, is_known: Callable[[str, str], bool]) -> Read | None:
        """What was read of a file, None where nothing was or it is not the same file any more."""
        future = self._asked.pop(w.key, None)
        if future is None:
            return None
        try:
            found = future.result()
            same = key_of(os.lstat(w.path)) == w.key
        except Exception:  # noqa: BLE001  whatever went wrong there: the file is read here, where it is told in full
            self.end()
            return None
        if not same or found.later or found.unreadable is not None or found.format != NATIVE:
            return None
        return replace(found, batch=None, known=True) if is_known(w.book, found.sha256) else found

    def end(self) -> None:
        """The backlog is over."""
        pool, self._pool = self._pool, None
        self._asked.clear()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
