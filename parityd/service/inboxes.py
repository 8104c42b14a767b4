"""The two inboxes of the spool as the daemon sees them: what waits and for how long, and whether they are still the folders they were.

1. A scan is the truth. `looked` says whether the last one saw both inboxes, at a time when files may be read.
2. `scanned_ns` (boot time) is of the last look that saw both, each the same folder as before: a renewal needs a fresh one.
3. What will never be read leaves the spool here; where the disk refuses that, the next scan tries again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

from parityd.core.records import BACKTEST, BOOKS, LIVE
from parityd.edges.files import FolderId, free_bytes
from parityd.edges.publish import STEP_NS
from parityd.edges.spool import Scan
from parityd.edges.waiting import Key, Unfit, Waiting
from parityd.service.intake import group
from parityd.service.views import DeskView
from parityd.service.workplace import App
from parityd.web.metrics import Metrics

PER_SCAN = 4096
BACK_NS = 1_000_000_000


class Inboxes:
    """What is known of them. `refused` stores that entries will never be read, and says whether it could; `outer` takes what is degraded."""

    def __init__(
        self,
        app: App,
        metrics: Metrics,
        desk: DeskView,
        outer: dict[str, str],
        log: Any,
        disk: Executor,
        refused: Callable[[list[Unfit]], Awaitable[bool]],
    ) -> None:
        self.app, self.metrics, self.desk, self.outer, self.log = app, metrics, desk, outer, log
        self._disk, self._refused = disk, refused
        self.scanned_ns = 0
        self.waiting = 0  # files in the spool
        self.unread = 0  # those of them that are neither being written nor read already
        self.kept: set[Key] = set()  # read and counted, but the disk did not let them leave
        self.unfit: set[Key] = set()  # refused whole and told, but the disk did not let them leave
        self.looked = False
        self.oldest_live: float | None = None  # seconds that a live file has waited
        self.folders: dict[str, FolderId] = {}  # as each inbox was seen last
        self.devices: dict[str, int] = {}  # the file system that each inbox lay on at first
        self.newest_ns = app.publisher.published_ns  # of the publication found at start, as long as it counts

    async def _scanned(self, now: int, most: int) -> dict[str, Scan]:
        loop = asyncio.get_running_loop()
        return {book: await loop.run_in_executor(self._disk, self.app.spool.scan, book, now, most) for book in BOOKS}

    async def scan(self) -> list[list[Waiting]]:
        """The turns that may be taken now."""
        now = self.app.now()
        self.looked = False
        if not self.sane(now):
            return []
        found, same = await self._scanned(now, PER_SCAN), True
        for book, scan in found.items():
            await self._refuse(book, scan)
            same = self._same_folder(book, scan) and same
            self._show(book, scan, now)
        self.waiting = sum(s.count for s in found.values())
        self.unread = sum(s.count - len(s.left) - len(s.refused) - sum(w.key in self.kept for w in s.ready) for s in found.values())
        if same:
            self.scanned_ns = self.app.boottime()
        self.looked = not any(scan.error for scan in found.values())
        return list(group(list(found[LIVE].ready), list(found[BACKTEST].ready))) if self._room() else []

    def _show(self, book: str, scan: Scan, now: int) -> None:
        waiting = scan.count
        age = None if scan.oldest_ns is None or not waiting else max(0.0, (now - scan.oldest_ns) / 1e9)
        self.metrics.backlog(book, waiting, 0.0 if not waiting and not scan.error else age)
        self.desk.backlog[book], self.desk.lag[book] = waiting, age or 0.0
        if book == LIVE:
            self.oldest_live = age

    def _room(self) -> bool:
        """Whether there is room for what files bring."""
        settings = self.app.settings
        free = free_bytes(settings.data_dir)
        self.desk.free = free  # type: ignore[attr-defined]
        self.metrics.free(free)
        if free is not None and free < settings.limits.min_free:
            self.outer["disk"] = f"only {free // 1_048_576} MiB are free: no file is read until there is more"
            return False
        self.outer.pop("disk", None)
        return True

    async def glance(self) -> None:
        """See that both inboxes are there, and for how long a live file has waited; nothing is taken."""
        now = self.app.now()
        found = await self._scanned(now, 1)
        oldest = found[LIVE].oldest_ns
        if self.oldest_live is not None and oldest is not None:
            self.oldest_live = max(0.0, (now - oldest) / 1e9)
        same = [self._same_folder(book, scan) for book, scan in found.items()]
        if all(same):
            self.scanned_ns = self.app.boottime()

    def empty(self, but: int) -> bool:
        """Whether nothing waits but so many files: what came meanwhile is judged with them. In the worker's thread."""
        left = [self.app.spool.scan(book, self.app.now(), PER_SCAN) for book in BOOKS]
        if sum(scan.count for scan in left) != but or any(scan.error for scan in left):
            return False
        self.waiting, self.oldest_live = 0, None
        return True

    async def _refuse(self, book: str, scan: Scan) -> None:
        loop = asyncio.get_running_loop()
        if new := [one for one in scan.refused if one.key not in self.unfit]:
            if not await self._refused(new):
                return
            self.unfit |= {one.key for one in new}
        for unfit in scan.refused:
            try:
                await loop.run_in_executor(self._disk, self.app.spool.reject_whole, unfit, unfit.code, unfit.reason)
            except OSError as e:
                self.outer["rejected"] = e.strerror or str(e)
                return
            self.unfit.discard(unfit.key)
            self.metrics.rejected(book, unfit.code, 1)
            self.log.warning("file.refused", book=book, file=unfit.name, code=unfit.code, reason=unfit.reason)
        self.outer.pop("rejected", None)

    def _same_folder(self, book: str, scan: Scan) -> bool:
        """Whether this scan saw the inbox that the one before it saw. Another file system in its place (unmounted, or mounted over) is never
        the same: what engines wrote may lie below it.
        """
        part = f"spool/{book}"
        if scan.error or scan.folder is None:
            self.outer[part] = scan.error or "not seen"
            return False
        before, self.folders[book] = self.folders.get(book, scan.folder), scan.folder
        if scan.folder[0] != self.devices.setdefault(book, scan.folder[0]):
            self.outer[part] = "it is on another file system than when parityd started: mount it again, or restart parityd"
            return False
        self.outer.pop(part, None)
        return before == scan.folder

    def sane(self, now: int) -> bool:
        """Whether records may be dated: the clocks move alike, and wall time does not lie before the newest publication."""
        publisher = self.app.publisher
        newest = max(self.newest_ns, publisher.published_ns)
        why = ""
        if publisher.stepped.is_set() or publisher.apart_ns() > STEP_NS:
            why = "the wall clock stepped: files wait until everything was judged again"
        elif now < newest - BACK_NS:
            why = f"wall time lies {(newest - now) / 1e9:.0f} s before the newest publication: files wait until it has passed it"
        if why:
            self.outer["clock"] = why
        else:
            self.outer.pop("clock", None)
        return not why
