"""`[sources.*]` with `mode = "tail"` or `"poll"`: what engines write elsewhere, brought into the spool as files, every `every` seconds.

1. What is brought is a file like any other from then on: read, committed, archived by the ordinary way. Nothing here counts records.
2. Each source has a thread of its own: one that hangs in its disk holds up neither the others nor the loop, and says so.
3. Trouble is told as `degraded` under `source NAME` until a round without any; the next round tries again.
4. `looked` is true once every source had its round: before that the start is not over.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from parityd.edges.files import free_bytes
from parityd.service.deliveries import Deliveries
from parityd.service.polling import Poll
from parityd.service.tailing import Tail
from parityd.service.targets import Round, Targets
from parityd.service.workplace import App
from parityd.settings_service import Source
from parityd.store import StoreBroken, StoreUnavailable

HUNG_NS = 60_000_000_000
FIRST_NS = 10_000_000_000  # a source that has not answered by then does not hold up the start
AGAIN_SECONDS = 0.5


class Tap:
    """One source, as it is configured now. Rounds do not overlap, also where the thread of an earlier one never came back."""

    def __init__(self, app: App, name: str, source: Source) -> None:
        self.app, self.name, self.source = app, name, source
        self.busy = threading.Lock()
        self.mode: Tail | Poll | None = None

    def round(self) -> Round:
        """Take what is new; what is wrong is in the round."""
        out = Round()
        if not self.busy.acquire(blocking=False):
            out.problems.append("its disk does not answer")
            return out
        try:
            out.attempt(self.source.path, lambda: self._round(out))
        except (StoreBroken, StoreUnavailable) as e:
            out.problems.append(str(e))
        finally:
            self.busy.release()
        return out

    def _round(self, out: Round) -> None:
        settings = self.app.settings
        free = free_bytes(settings.data_dir)
        if free < settings.limits.min_free:
            out.problems.append(f"only {free // 1_048_576} MiB are free: nothing is taken until there is more")
            return
        if self.mode is None:
            self.mode = self._made()
        got = self.mode.round()
        out.bytes, out.more = got.bytes, got.more
        out.problems += got.problems
        out.events += got.events

    def _made(self) -> Tail | Poll:
        app, folder = self.app, self.app.settings.data_dir
        book = self.source.book or "live"
        deliveries = Deliveries(folder, self.name, book, self._held, app.now)
        kind = Tail if self.source.mode == "tail" else Poll
        return kind(self.name, self.source, deliveries, Targets(self.source.path, folder), app.brain.reader.limits, app.now)

    def _held(self, book: str, sha256: str) -> bool:
        """Taken, or set aside whole: the file has gone its way."""
        return self.app.store.files_known(book, sha256) is not None


class Sources:
    """All of them. `degraded` is the daemon's; `changed` is called on the loop when something was put into the spool or the first look is over."""

    def __init__(
        self, app: App, log: Any = None, degraded: dict[str, str] | None = None, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.app, self.log, self.changed = app, log, changed
        self.degraded = degraded if degraded is not None else {}
        self.taps: dict[str, Tap] = {}
        self.done: set[str] = set()  # had their round, with nothing left to take
        self.begun: dict[str, int] = {}
        self.since = app.boottime()

    def tap(self, name: str) -> Tap | None:
        """The source as it is configured now; None where it is not tailed or polled."""
        source = self.app.settings.sources.get(name)
        if source is None or source.mode == "drop":
            self.taps.pop(name, None)
            self.degraded.pop(f"source {name}", None)
            return None
        known = self.taps.get(name)
        if known is None or known.source != source:
            fresh = Tap(self.app, name, source)
            if known is not None:
                fresh.busy = known.busy
            self.taps[name] = known = fresh
        return known

    @property
    def names(self) -> list[str]:
        return [name for name, s in self.app.settings.sources.items() if s.mode != "drop"]

    @property
    def looked(self) -> bool:
        """Every source was read to its end once, or cannot be."""
        late = self.app.boottime() - self.since > FIRST_NS
        return all(name in self.done or (late and name not in self.begun) or self._hangs(name, FIRST_NS) for name in self.names)

    def _hangs(self, name: str, after: int) -> bool:
        begun = self.begun.get(name, 0)
        return bool(begun) and self.app.boottime() - begun > after

    def once(self) -> Round:
        """A round of each, here and now: how much it brought, whether there is more."""
        all_ = Round()
        for name in self.names:
            if (tap := self.tap(name)) is not None:
                got = tap.round()
                all_.bytes += got.bytes
                all_.more = self._tell(name, got) or all_.more
        return all_

    def _tell(self, name: str, got: Round) -> bool:
        part = f"source {name}"
        if got.problems:
            if self.degraded.get(part) != (text := "; ".join(got.problems[:3])):
                self.degraded[part] = text
                self._say("warning", "source.failed", source=name, problems=got.problems[:10])
        elif self.degraded.pop(part, None) is not None:
            self._say("info", "source.recovered", source=name)
        for event, fields in got.events:
            self._say("info", event, **fields)
        if got.bytes:
            self._say("info", "source.read", source=name, bytes=got.bytes)
        if not got.more:
            self.done.add(name)
        return got.more

    def _say(self, level: str, event: str, **fields: Any) -> None:
        if self.log is not None:
            getattr(self.log, level)(event, **fields)

    # --- the daemon's -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """An outer task: follow every source for as long as it is configured."""
        self.degraded.pop("sources", None)
        tasks: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for name in self.names:
                    if name not in tasks or tasks[name].done():
                        tasks[name] = group.create_task(self._follow(name), name=f"source {name}")
                self._hung()
                await asyncio.sleep(1.0)

    def _hung(self) -> None:
        for name in self.names:
            if self._hangs(name, HUNG_NS):
                self.degraded[f"source {name}"] = "its disk does not answer"

    async def _follow(self, name: str) -> None:
        while (tap := self.tap(name)) is not None:
            self.begun[name] = self.app.boottime()
            try:
                got = await _in_thread(tap.round)
            finally:
                self.begun[name] = 0
            first = name not in self.done
            more = self._tell(name, got)
            if got.bytes or (first and not more):
                self.changed()
            await asyncio.sleep(min(tap.source.every, AGAIN_SECONDS) if more else tap.source.every)


async def _in_thread(job: Callable[[], Round]) -> Round:
    """In a thread that nobody waits for at the end: whatever it is doing may be cut off at any point."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Round] = loop.create_future()

    def work() -> None:
        try:
            then = partial(_settle, done, job(), None)
        except BaseException as e:  # noqa: BLE001  it belongs to whoever waits
            then = partial(_settle, done, None, e)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(then)

    threading.Thread(target=work, name="source", daemon=True).start()
    return await done


def _settle(done: "asyncio.Future[Round]", result: Round | None, error: BaseException | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    elif result is not None:
        done.set_result(result)
