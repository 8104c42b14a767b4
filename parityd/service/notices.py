"""Notices at work: audit rows into the outbox (worker's thread), the outbox out to the channels (its own task), both stored with the state.

1. What is told follows the audit trail by a stored cursor, so a restart neither loses nor repeats it. A notice is sent after it is stored, or
   after HOLD seconds where the store or the worker does not come round; its delivery is stored at once.
2. Stops are heard from the publisher, not from the trail: a busy worker or a full disk does not silence them.
3. A channel that fails is tried again after 5 s, 10 s, ... 5 min; after three failures in a row `degraded` names it.
4. Nothing here is waited for by a renewal, by the worker (but for the folding of a few rows) or by the end of the process.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec

from parityd.core.commands import ALL
from parityd.core.notices import Book, Desk, Entry, Notice, Words
from parityd.core.publication import Entries
from parityd.edges.notify import Channel, channels
from parityd.service.workplace import App
from parityd.web.advice import first

KEY = "notices/book"
ROWS = 2000
LOOK_SECONDS = 2.0
HOLD_NS = 5_000_000_000
UNWRITABLE_NS = 10_000_000_000
FIRST_DELAY, LONGEST_DELAY = 5.0, 300.0
DEAD_AFTER = 3

_pack = msgspec.msgpack.Encoder().encode


class Line:
    """One channel and how it fares."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.failures = 0
        self.why = ""
        self.due_ns = 0
        self.busy = False
        self.tried: dict[int, int] = {}


class Notices:
    """Owns the book. `do` puts a job before the worker; `outer` is where failing parts are named."""

    def __init__(self, app: App, do: Callable[[Callable[[], Any]], Awaitable[Any]], log: Any, outer: dict[str, str]) -> None:
        self.app, self.do, self.log, self.outer = app, do, log, outer
        blob = app.store.state(KEY)
        book = msgspec.msgpack.decode(blob, type=Book) if blob else Book(cursor=app.store.last_audit()[0])
        self.desk = Desk(book, Words(app.instance, first), self._report)
        self.lines: list[Line] = []
        self._urls: tuple[str, ...] | None = None
        self._lock = threading.Lock()
        self._saved = blob or b""
        self._stored = book.number  # notices up to here outlive a restart
        self._born: dict[int, int] = {}
        self._tried_ns = 0
        self._published_ns = app.boottime()
        self._published = False  # in this process
        self._flying: set[asyncio.Task[None]] = set()
        self._present: Mapping[str, Entry] = {}
        self._bell, self._post = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        app.publisher.told.append(self._heard)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _heard(self, _before: Entries | None, entries: Entries, _head: object) -> None:
        """The publisher's thread, or whoever published: only remembers and rings."""
        self._published_ns, self._published = self.app.boottime(), True
        stopped = not all(e.trading_enabled for e in (entries.default, *entries.strategies.values()))
        changed, self._present = self._present, standing(entries)
        if self._loop is not None and (stopped or changed != self._present):
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopped)

    def _stopped(self) -> None:
        if self.lines and self._lock.acquire(blocking=False):
            try:
                self.desk.published(self._present, self.app.now())
                self._note_births()
            finally:
                self._lock.release()
        self.ring()

    def ring(self) -> None:
        """Something may have been booked."""
        self._bell.set()
        self._post.set()

    def _collect(self) -> str:
        """Worker's thread: rows after the cursor, what is due, then stored. Returns what went wrong: a notice must not stop the worker."""
        with self._lock:
            try:
                self._fold(self.app.now())
            except Exception as e:  # noqa: BLE001  an outer part must not stop trading; `run` raises it
                return f"{type(e).__name__}: {e}"
            finally:
                self._note_births()
            blob, number = _pack(self.desk.book), self.desk.book.number
        self._save(blob, number)
        return ""

    def _fold(self, now: int) -> None:
        desk = self.desk
        rows = list(islice(self.app.store.audit_rows(desk.book.cursor), ROWS))
        desk.fold(rows, standing(self.app.brain.compose()), now, whole=len(rows) < ROWS)
        expired = self._expired()
        if expired or self._published:
            desk.lapsed(expired, self.app.publisher.terms.on_expiry, now)
        desk.due(now)

    def _save(self, blob: bytes, number: int) -> None:
        boot = self.app.boottime()
        brain = self.app.brain
        if blob == self._saved:
            self._stored = number
            return
        if not brain.writable and boot - self._tried_ns < UNWRITABLE_NS:
            return
        self._tried_ns = boot
        brain.extra_states[KEY] = blob
        if not brain.commit_extras().failed:
            self._saved, self._stored = blob, number

    def _expired(self) -> list[str]:
        """Why the last publication has run out; [] while it is valid."""
        p = self.app.publisher
        if self.app.boottime() - self._published_ns <= round(p.terms.ttl * 1e9):
            return []
        return list(p.reasons) or [f"{p.failures} publications failed: the disk refuses them"]

    def _note_births(self) -> None:
        boot = self.app.boottime()
        waiting = {n.id for n in self.desk.book.outbox}
        self._born = {k: self._born.get(k, boot) for k in waiting}

    def _report(self, day: str) -> Mapping[str, Any] | None:
        entry = self.app.store.report(day)
        return None if entry is None else msgspec.json.decode(entry.json)

    # --- the task ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For as long as the daemon runs."""
        self._loop = asyncio.get_running_loop()
        self._degraded()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collecting())
            group.create_task(self._delivering())

    async def end(self, seconds: float = 2.0) -> None:
        """What is under way may arrive; what did is remembered. The worker must have ended: the caller's next commit stores it."""
        if self._flying:
            await asyncio.wait(self._flying, timeout=seconds)
        for line in self.lines:
            line.channel.abandon()
        if self.lines:
            self.app.brain.extra_states[KEY] = _pack(self.desk.book)

    async def _collecting(self) -> None:
        while True:
            self._configured()
            if self.lines:
                failed = await self.do(self._collect)
                if failed:
                    raise RuntimeError(failed)
                self._post.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), LOOK_SECONDS)
            self._bell.clear()

    def _configured(self) -> None:
        """Channels as the settings name them now; with none nothing is kept."""
        urls = tuple(u.get_secret_value() for u in self.app.settings.notify.urls)
        if urls == self._urls:
            return
        self._urls = urls
        old = {line.channel.key: line for line in self.lines}
        self.lines = [old.get(c.key) or Line(c) for c in channels(urls)]
        with self._lock:
            self.desk.serve([line.channel.key for line in self.lines])
        self._degraded()

    async def _delivering(self) -> None:
        while True:
            for line in self.lines:
                notice = None if line.busy else self._next(line)
                if notice is not None:
                    line.busy = True
                    task = asyncio.create_task(self._deliver(line, notice))
                    self._flying.add(task)
                    task.add_done_callback(self._flying.discard)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._post.wait(), 1.0)
            self._post.clear()

    def _next(self, line: Line) -> Notice | None:
        """What a channel gets now: what is stored (or could not be), once its pause is over; a new stop does not wait for that."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            found = self.desk.waiting(line.channel.key, line.tried)
        finally:
            self._lock.release()
        boot = self.app.boottime()
        if found is None or (found.id > self._stored and boot - self._born.get(found.id, 0) < HOLD_NS):
            return None
        return found if boot >= line.due_ns or (found.urgent and found.id not in line.tried) else None

    async def _deliver(self, line: Line, n: Notice) -> None:
        try:
            why = await line.channel.attempt(n.title, n.body, n.kind)
        finally:
            line.busy = False
        if why:
            line.failures += 1
            line.why = why
            line.tried[n.id] = line.tried.get(n.id, 0) + 1
            delay = min(FIRST_DELAY * 2 ** min(line.failures - 1, 10), LONGEST_DELAY)
            line.due_ns = self.app.boottime() + round(delay * 1e9)
            self.log.warning("notice.failed", channel=line.channel.label, kind=n.kind, number=n.id, error=why, again_seconds=delay)
        else:
            line.failures, line.due_ns = 0, 0
            line.tried.pop(n.id, None)
            await asyncio.to_thread(self._delivered, n.id, line.channel.key)
            self.log.info("notice.sent", channel=line.channel.label, kind=n.kind, number=n.id)
        self._degraded()
        self.ring()

    def _delivered(self, number: int, key: str) -> None:
        with self._lock:
            self.desk.delivered(number, key)

    def _degraded(self) -> None:
        dead = [f"{x.channel.label} {x.why}" for x in self.lines if x.failures >= DEAD_AFTER]
        if dead:
            self.outer["notify"] = "; ".join(dead)
        else:
            self.outer.pop("notify", None)


def standing(entries: Entries) -> dict[str, Entry]:
    """What is in force, by strategy and for all others."""
    return {ALL: Entry(entries.default.action, entries.default.reason)} | {
        k: Entry(v.action, v.reason) for k, v in entries.strategies.items()
    }
