"""An alarm clock for folders: rings a bell when something may have come to stand in one.

1. It says *that*, never *what*: an overflow rings like any other event, and the scan remains the truth. Only a name that begins with "."
   does not ring: that is a file on its way, which nobody opens before it is renamed.
2. A folder that is missing is no failure; the watch is set again (and the bell rung) within `recheck` seconds after it is back.
3. What the kernel refuses (no more instances or watches) is raised: the caller reports it and goes on with scans alone.
4. Setting a watch is file work and done in a thread of its own, so that a hanging mount does not hold the loop.
"""

import asyncio
import contextlib
import errno
import os
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asyncinotify import Inotify, Mask

_MASK = Mask.CREATE | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
_READ = 1 << 16
_EVENT = struct.Struct("iIII")


class WatchError(Exception):
    """The watch cannot be kept; scans go on."""


async def watch(folders: Mapping[Path, asyncio.Event], recheck: float = 2.0) -> None:
    """Set a folder's event whenever something is put into it; runs until it is cancelled, or raises WatchError."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
    try:
        async with asyncio.TaskGroup() as group:
            for folder, bell in folders.items():
                group.create_task(_watch_one(folder, bell, recheck, pool), name=f"watch {folder}")
    except ExceptionGroup as failed:
        refused, others = failed.split(OSError)
        if refused is None or others is not None:
            raise
        raise WatchError(f"{refused.exceptions[0]}: folders are scanned, not watched") from failed
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _watch_one(folder: Path, bell: asyncio.Event, recheck: float, pool: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    with Inotify() as notify:
        os.set_blocking(notify.fd, False)
        loop.add_reader(notify.fd, _drain, notify.fd, bell)
        try:
            watched: int | None = None
            while True:
                found = await loop.run_in_executor(pool, _arm, notify, folder)
                if found is not None and found != watched:
                    bell.set()  # whatever came before the watch stood
                watched = found
                await asyncio.sleep(recheck)
        finally:
            loop.remove_reader(notify.fd)


def _arm(notify: Inotify, folder: Path) -> int | None:
    """The number of the folder's watch, the same as long as it is the same folder; None while there is none to watch."""
    try:
        number: int = notify.add_watch(folder, _MASK).wd
    except OSError as e:
        if e.errno in _ABSENT:
            return None
        raise
    return number


def _drain(fd: int, bell: asyncio.Event) -> None:
    with contextlib.suppress(BlockingIOError):
        if any(_rings(os.read(fd, _READ))):
            bell.set()


def _rings(events: bytes) -> Iterator[bool]:
    """Of each event (inotify(7)), whether it is about the folder itself or a name that somebody may open."""
    at = 0
    while at + _EVENT.size <= len(events):
        size = _EVENT.unpack_from(events, at)[3]
        at += _EVENT.size
        yield size == 0 or events[at : at + 1] != b"."
        at += size
