"""Work in memory that goes on in a thread of its own while the disk is waited for."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """What it hands out begins the work; at the end that is waited for, and raises here what it raised."""
    with ExitStack() as begun:

        def begin() -> None:
            pool = begun.enter_context(ThreadPoolExecutor(1, thread_name_prefix="beside"))
            begun.callback(pool.submit(work).result)

        yield begin
