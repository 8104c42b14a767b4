"""The daemon: one TaskGroup of named tasks around the worker (HOUSE, "Time, state, life").

1. `feeding` finds files and hands turns to the worker; the worker alone changes state; ticks, reports and commands pass the same inbox.
2. Stops do not: the operators' thread publishes them itself, the publisher's thread renews by the boot-time clock.
3. An essential task that dies takes the process down with its name in the log; outer tasks (`outside`) come again and raise `degraded`.
4. What a renewal must earn is in `signs`. The watchdog is fed by a tick that has passed the worker, also while a renewal is withheld on purpose.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from parityd import __version__
from parityd.core.assessing import Facts
from parityd.core.commands import ended
from parityd.core.instants import DAY_NS, day_text
from parityd.edges.heap import set_apart
from parityd.edges.sdnotify import Notifier
from parityd.edges.waiting import Unfit
from parityd.service import configured
from parityd.service.feeding import Feeding
from parityd.service.inboxes import Inboxes
from parityd.service.notices import Notices
from parityd.service.operators import Watch
from parityd.service.ops_notes import take as take_notes
from parityd.service.outside import Outside
from parityd.service.reloading import reload
from parityd.service.signs import Signs
from parityd.service.sources import Sources
from parityd.service.telling import Telling
from parityd.service.turns import TurnDone
from parityd.service.views import DeskView
from parityd.service.workplace import App, export_audit, tell_unfit
from parityd.settings import Settings
from parityd.store import CommitFailed, StoreBroken, StoreUnavailable
from parityd.web.metrics import Metrics

LOOK_SECONDS = 0.2
ASKED_SECONDS = 4.0
PATIENCE_NS = 60_000_000_000  # a turn may hold the worker for this long before the watchdog is no longer fed
STOP_SECONDS = 10.0
AGAIN_SECONDS = 2.0


class Daemon:
    """Everything that runs."""

    def __init__(self, app: App, config: Path | None, log: Any, *, schedule: bool = True) -> None:
        self.app, self.config, self.log = app, config, log
        self.brain = app.brain
        self.settings: Settings = app.settings
        self.metrics = Metrics(__version__)
        self.metrics.reloaded(successful=True)
        if app.brain.reporter.last_made_ns is not None:
            self.metrics.reported(app.brain.reporter.last_made_ns)
        self.desk = DeskView(app, app.now())
        self.operators = Watch(app)
        self.notifier = Notifier.from_environment(os.environ)
        self.inbox: asyncio.Queue[tuple[Callable[[], Any], asyncio.Future[Any]]] = asyncio.Queue(16)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self.disk = ThreadPoolExecutor(2, thread_name_prefix="disk")
        self.stop = asyncio.Event()
        self.bell = asyncio.Event()
        self.scheduled = schedule
        self.abandoned = False  # at the end a thread did not come back
        self.outer: dict[str, str] = {}
        self.port: tuple[str, int] | None = None
        self.notices = Notices(app, self.do, log, self.outer)
        self.telling = Telling(self.metrics, self.desk, log, self.notices, self.outer)
        self.tell = self.telling.tell
        self.inboxes = Inboxes(app, self.metrics, self.desk, self.outer, log, self.disk, self._refused)
        self.signs = Signs(app, self.inboxes, self.operators, self.outer)
        self.feeding = Feeding(self)
        self.outside = Outside(self)
        self.sources = Sources(app, log, self.outer, self.bell.set)
        self.log_level: Callable[[str], None] = lambda _level: None
        app.publisher.withheld = self.signs.withheld
        self.brain.facts_of = self.facts
        app.publisher.told.append(lambda _before, _entries, head: self.metrics.published(head.issued_ns))
        app.publisher.refused.append(lambda error: self.telling.not_published(error, app.publisher.failures))
        app.publisher.remade.append(lambda: self.telling.folder_remade(str(app.publisher.folder)))

    # --- for others -------------------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        degraded = tuple(f"{k}: {v}" for k, v in sorted(self.outer.items()))
        return Facts(waiting=self.inboxes.waiting > 0, oldest_live_file=self.inboxes.oldest_live, degraded=degraded)

    async def do(self, job: Callable[[], Any]) -> Any:
        """Put a job into the inbox and wait for its result."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.inbox.put((job, done))
        return await done

    def _ask(self, job: Callable[[], Any], seconds: float = ASKED_SECONDS) -> Any:
        """`do` for another thread than the loop's."""
        return asyncio.run_coroutine_threadsafe(self.do(job), self._loop).result(seconds)

    # --- essential tasks --------------------------------------------------------------------------------------------

    async def pump(self) -> None:
        """The only consumer: one job at a time, in the worker's thread."""
        loop = asyncio.get_running_loop()
        while True:
            job, done = await self.inbox.get()
            self.signs.job_since = self.app.boottime()
            try:
                result = await loop.run_in_executor(self.worker, job)
            except Exception as e:
                done.cancel()
                self.log.exception("pump.failed", error=str(e))
                raise
            finally:
                self.signs.job_since = 0
            if not done.cancelled():
                done.set_result(result)

    async def _refused(self, entries: list[Unfit]) -> bool:
        """Entries that will never be read, stored and told before they are moved."""
        done = await self.do(partial(tell_unfit, self.app, entries))
        self.tell(done)
        return not done.failed

    async def begin(self) -> None:
        """The files found are evaluated: from here on renewals can be earned."""
        await self.do(self.operators.settle)
        self.tell(await self.do(self.brain.check))
        self.signs.checked_ns = self.app.boottime()
        self.metrics.checked(self.app.now(), self.brain.view.check_seconds)
        await self.do(set_apart)
        self.signs.started, self.inboxes.newest_ns = True, 0
        await self.do(self.app.publisher.renew)
        self.signs.told_first = True
        self.desk.reasons = self.signs.withheld()
        self.tell(TurnDone())
        self.notifier.status(f"{len(self.brain.v.m.strategies)} strategies")
        self.log.info(
            "service.ready", strategies=len(self.brain.v.m.strategies), sequence=self.app.publisher.sequence, instance=self.app.instance
        )
        if not self.scheduled:
            return
        for day in self.brain.reporter.due(self.brain.now(), self.settings.schedule.daily_report_time):
            self.tell(await self.do(partial(self._report, day)))

    def _report(self, day: str) -> TurnDone:
        started = self.app.boottime()
        report, ok = self.brain.reporter.of_day(day, self.brain.now())
        done = TurnDone(failed="" if ok else "the report could not be stored")
        if ok:
            self.metrics.reported(self.app.now(), (self.app.boottime() - started) / 1e9)
            self.log.info("report.written", day=day, revision=report["revision"], headline=report["headline"])
        return done

    def _check(self) -> TurnDone:
        for done in self.operators.settle():
            self.telling.changes(done)
        seen = self.outer.get("actions")
        done = self.brain.check()
        if seen:
            self.outer.pop("actions", None)
        self._write_reports()
        return done

    def _write_reports(self) -> None:
        try:
            self.brain.reporter.write()
        except OSError as e:
            self.outer["reports"] = f"{e.filename or 'parity_reports'}: {e.strerror or e}"
        else:
            self.outer.pop("reports", None)

    async def check(self) -> None:
        """A tick of the schedule: judge everything."""
        done = await self.do(self._check)
        self.signs.checked_ns = self.app.boottime()
        self.metrics.checked(self.app.now(), self.brain.view.check_seconds)
        self.tell(done)

    async def report_yesterday(self) -> None:
        await self.report(day_text(self.brain.now() - DAY_NS))

    async def report(self, day: str) -> None:
        """Write the report of a day."""
        self.tell(await self.do(lambda: self._report(day)))

    def _look(self) -> None:
        """The operators' thread: several looks a second, whatever the worker does."""
        loop = self._loop
        while not self._ended.wait(LOOK_SECONDS):
            if self.operators.look() or self.operators.queue:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self.order_bell.set)

    async def orders(self) -> None:
        """Book-keeping for what operators asked."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.order_bell.wait(), 1.0)
            self.order_bell.clear()
            while self.operators.queue:
                refused = False
                for done in await self.do(self.operators.settle):
                    self.tell(done)
                    refused = refused or bool(done.failed or done.stuck)
                if refused:  # what was seen is in force already; its book-keeping waits for the disk
                    await asyncio.sleep(AGAIN_SECONDS)
                    break
            if not self.publisher_alive() or not self.looker.is_alive():
                raise RuntimeError("the publisher's or the operators' thread has ended")

    def publisher_alive(self) -> bool:
        return self.app.publisher.alive

    async def pulse(self) -> None:
        """Every second through the worker: ends what has expired, exports the audit trail, judges again where the clocks stepped."""
        while True:
            await asyncio.sleep(1.0)
            if not self.app.owned():
                raise RuntimeError(f"{self.settings.data_dir}: its lock is gone (removed, or mounted over): another may work here")
            if self.app.publisher.failing:
                self.outer["publish"] = f"nothing can be published: {self.app.publisher.failing}"
            else:
                self.outer.pop("publish", None)
            if self.operators.errors:
                self.outer["overrides"] = f"operators are not heard: {self.operators.errors}"
            else:
                self.outer.pop("overrides", None)
            await self.do(self._tick)
            self.desk.reasons = self.signs.not_ready()
            self.desk.degraded = self.facts().degraded
            self.metrics.follow(self.desk.action())
            if self.app.publisher.stepped.is_set():
                await self.check()

    def _tick(self) -> None:
        self.signs.attend()
        moment = self.brain.moment()
        standing = self.brain.v.standing
        enables = [s.enable.command for s in standing.ladders.values() if s.enable is not None]
        if any(ended(c, moment) for c in [*standing.commands, *enables]):
            done = self.brain.check(report_due=False)
            self.telling.changes(done)
        if self.brain.reporter.unwritten:
            self._write_reports()
        take_notes(self.brain, self.settings.data_dir)
        try:
            export_audit(self.app)
        except OSError as e:
            self.outer["audit"] = f"{e.filename or 'audit'}: {e.strerror or e}"
        else:
            self.outer.pop("audit", None)

    async def beat(self) -> None:
        """Proves that the loop moves; feeds the watchdog while it and the worker do."""
        while True:
            self.signs.beaten_ns = boot = self.app.boottime()
            if not self.signs.job_since or boot - self.signs.job_since < PATIENCE_NS:
                self.notifier.watchdog()
            await asyncio.sleep(1.0)

    # --- life -------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until told to stop."""
        self._loop = asyncio.get_running_loop()
        self.desk.ask = self._ask
        self.order_bell = asyncio.Event()
        self._ended = threading.Event()
        self.operators.look()
        self.looker = threading.Thread(target=self._look, name="operators", daemon=True)
        self.looker.start()
        self.app.publisher.start()
        self.inboxes.scanned_ns = self.app.boottime()
        for name in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(name, self.stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: setattr(self, "_reloading", asyncio.ensure_future(reload(self))))
        self.brain.note(
            "service.started",
            "parityd",
            None,
            {
                "version": __version__,
                "instance": self.app.instance,
                "broken_store": self.app.broken or None,
                "sequence": self.app.publisher.sequence,
                "decision_sequence": self.app.publisher.decision_sequence,
            },
        )
        configured.tell(self.brain, self.settings)
        self.log.info("service.started", version=__version__, data_dir=str(self.settings.data_dir), broken=self.app.broken or None)
        self.notifier.ready("looking at what was found")
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as tg:
                make = [
                    ("pump", self.pump()),
                    ("intake", self.feeding.run()),
                    ("orders", self.orders()),
                    ("pulse", self.pulse()),
                    ("beat", self.beat()),
                ]
                make += self.outside.tasks()
                tasks += [tg.create_task(coro, name=name) for name, coro in make]
                tasks.append(tg.create_task(self._until_stopped(tasks), name="stop"))
        except* _Stopped:
            pass
        finally:
            await self._end()

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        await self.stop.wait()
        self.notifier.stopping("stopping")
        web = [t for t in tasks if t.get_name() == "http"]
        if web:
            await asyncio.wait(web, timeout=3)
        raise _Stopped

    async def _end(self) -> None:
        """Stop intake (done), never drain the backlog, last publication, close."""
        self._ended.set()
        self.app.publisher.stop()
        ended = asyncio.get_running_loop().run_in_executor(None, lambda: self.worker.shutdown(wait=True, cancel_futures=True))
        try:
            await asyncio.wait_for(asyncio.shield(ended), STOP_SECONDS)
        except TimeoutError:  # what it was doing is not committed, or it is: both are found out at the next start
            self.abandoned = True
            self.log.warning("service.stopped", worker="left in the middle of a turn")
            return
        if not self.app.owned():
            self.log.error("service.stopped", error="the folder is no longer ours: nothing more is written into it")
            return
        if self.settings.publish.on_stop == "disable":
            self.app.publisher.publish(then=self.brain.stopped_entries)
        await self.notices.end()
        try:
            self.brain.note("service.stopped", "parityd", None, {"sequence": self.app.publisher.sequence})
            export_audit(self.app)
        except (OSError, CommitFailed, StoreBroken, StoreUnavailable) as e:
            self.log.error("service.stopped", error=str(e))
            return
        self.log.info("service.stopped")


class _Stopped(Exception):  # noqa: N818
    """Ends the task group in peace."""
