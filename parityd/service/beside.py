"""Work in memory that goes on in a thread of its own while the disk is waited for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self


class Beside:
    """The work, which `begin` begins. At the end of the `with` it is over; what it raised is raised where `check` asks."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._pool: ThreadPoolExecutor | None = None
        self._result: Future[None] | None = None

    def begin(self) -> None:
        """Where no thread can be had, `check` does it."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
        with suppress(RuntimeError):
            self._result = self._pool.submit(self._work)

    def wait(self) -> None:
        """Until it is over, however it ended."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def check(self) -> None:
        """Raise what it raised."""
        if self._result is not None:
            self._result.result()
        elif self._pool is not None:
            self._work()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wait()
