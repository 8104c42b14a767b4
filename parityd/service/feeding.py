"""The intake's loop: what a scan of the spool found goes to the worker, turn by turn, and is judged when nothing else waits.

1. The scan is the truth; the watch only rings.
2. In a backlog judgement comes once a minute, else when the spool is empty; the last turn is judged as soon as it counts.
3. A disk that refuses ends the round: the next scan tries again.
4. While the worker is at a turn the inboxes are glanced at, so that a renewal can be earned however long it takes.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from parityd.service.turns import TurnDone
from parityd.service.workplace import set_aside, suspects, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from parityd.edges.waiting import Waiting
    from parityd.service.daemon import Daemon

SCAN_SECONDS = 2.0
SCAN_AGAIN_NS = 10_000_000_000
JUDGED_NS = 60_000_000_000


class Feeding:
    """The intake of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.judged_ns = 0

    async def run(self) -> None:
        """Look, take, judge, wait for the bell; for ever."""
        d = self.daemon
        await self._suspects()
        self.judged_ns = d.app.boottime()
        while True:
            all_there = d.sources.looked  # asked before the scan: what they brought by then is seen by it
            if await self._taken(await d.inboxes.scan()):
                continue
            d.app.ahead.end()
            if d.inboxes.looked and not d.inboxes.unread:
                await self._emptied(all_there=all_there)
            with suppress(TimeoutError):
                await asyncio.wait_for(d.bell.wait(), SCAN_SECONDS)
            d.bell.clear()

    async def _suspects(self) -> None:
        """What the process before this one was reading when it ended is tried in a child first."""
        d, loop = self.daemon, asyncio.get_running_loop()
        poisoned = await loop.run_in_executor(d.disk, suspects, d.app)
        if poisoned:
            d.tell(await d.do(lambda: set_aside(d.app, poisoned)))

    async def _taken(self, turns: list[list[Waiting]]) -> bool:
        """Take the turns; whether there is reason to look again at once."""
        d, moved = self.daemon, False
        all_ready = d.inboxes.looked and d.inboxes.waiting == d.inboxes.unread == sum(map(len, turns))
        d.app.ahead.expect(w for turn in turns for w in turn)
        for k, turn in enumerate(turns):
            following = turns[k + 1] if k + 1 < len(turns) else []
            done, *judged = await self._meanwhile(partial(self._turn, turn, last=all_ready and turn is turns[-1], following=following))
            for one in (done, *judged):
                d.tell(one)
            d.inboxes.kept = {r.waiting.key for r in done.reads if os.path.lexists(r.waiting.path)} if done.stuck else set()
            moved = moved or bool(done.reads)
            if d.app.boottime() - self.judged_ns > JUDGED_NS:
                self.judged_ns = d.app.boottime()
                d.tell(await self._meanwhile(lambda: self._judge(backlog=True)))
            if done.failed or done.stuck:
                return False
        return moved

    async def _emptied(self, *, all_there: bool) -> None:
        """Nothing is left to be read. `all_there`: nor do sources have anything to bring that stood there at the start."""
        d = self.daemon
        if d.brain.touched:
            d.tell(await d.do(self._judge))
        self.judged_ns = d.app.boottime()
        if not d.signs.started and all_there:
            await d.begin()

    async def _meanwhile(self, job: Callable[[], Any]) -> Any:
        """`do`, however long it takes: a renewal needs a fresh look at the inboxes, also during a large file or after thousands of small ones."""
        d = self.daemon
        task = asyncio.ensure_future(d.do(job))
        try:
            while True:
                due = (d.inboxes.scanned_ns + SCAN_AGAIN_NS - d.app.boottime()) / 1e9
                done, _ = await asyncio.wait({task}, timeout=max(due, SCAN_SECONDS))
                if done:
                    return task.result()
                await d.inboxes.glance()
        finally:
            task.cancel()

    # --- in the worker's thread -----------------------------------------------------------------------------------

    def _turn(self, turn: list[Waiting], *, last: bool, following: list[Waiting]) -> list[TurnDone]:
        """Take a turn. Where nothing waits after it, it is judged as soon as it counts, before its files leave."""
        d = self.daemon
        now = d.brain.now()
        if not d.inboxes.sane(d.app.now()):
            return [TurnDone()]
        judged: list[TurnDone] = []

        def judge() -> None:
            if d.inboxes.empty(but=len(turn)):
                judged.append(self._judge())

        return [take(d.app, turn, now, then=judge if last else None, following=following), *judged]

    def _judge(self, *, backlog: bool = False) -> TurnDone:
        brain = self.daemon.brain
        brain.backlog = backlog
        done = brain.evaluate(reports=False)
        brain.backlog = False
        return done
