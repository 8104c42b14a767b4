"""The daemon: one TaskGroup of named tasks around the worker (HOUSE, "Time, state, life").

1. intake finds files and hands turns to the worker; the worker alone changes state; ticks, reports and commands pass the same inbox.
2. Stops do not: the operators' thread publishes them itself, the publisher's thread renews by the boot-time clock.
3. An essential task that dies takes the process down with its name in the log; outer tasks (HTTP, the watch, the scheduler) come again with
   back-off and raise `degraded`.
4. The watchdog is fed by a tick that has passed the worker, also while a renewal is withheld on purpose.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from parityd import __version__
from parityd.core.assessing import Facts
from parityd.core.instants import DAY_NS, day_text
from parityd.edges.files import unwritable
from parityd.edges.heap import set_apart
from parityd.edges.sdnotify import Notifier
from parityd.edges.waiting import Unfit
from parityd.edges.watch import watch
from parityd.service import configured, housekeeping
from parityd.service.inboxes import Inboxes
from parityd.service.notices import Notices
from parityd.service.operators import Watch
from parityd.service.ops_notes import take as take_notes
from parityd.service.schedule import Schedule
from parityd.service.sources import Sources
from parityd.service.telling import Telling
from parityd.service.turns import TurnDone
from parityd.service.views import DeskView
from parityd.service.workplace import App, export_audit, set_aside, suspects, take, tell_unfit
from parityd.settings import Settings, SettingsError, load, reload_differences
from parityd.store import CommitFailed, StoreBroken, StoreUnavailable
from parityd.web.api import Web
from parityd.web.metrics import Metrics
from parityd.web.server import serve

SCAN_SECONDS = 2.0
LOOK_SECONDS = 0.2
STALE_SCAN_NS, SCAN_AGAIN_NS = 30_000_000_000, 10_000_000_000
WAITED_SECONDS = 900.0
CHECK_GRACE_NS = 300_000_000_000
WRITE_AGAIN_NS = 5_000_000_000
STUCK_NS = 120_000_000_000
ASKED_SECONDS = 4.0
PATIENCE_NS = 60_000_000_000  # a turn may hold the worker for this long before the watchdog is no longer fed
BEAT_NS = 10_000_000_000
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
        self.started = False
        self.told_first = False
        self.scheduled = schedule
        self.job_since = 0
        self.checked_ns = app.boottime()
        self.beaten_ns = app.boottime()
        self.abandoned = False  # at the end a thread did not come back
        self.unwritable = ""  # why the store's disk takes nothing, as it is now
        self.written_ns = app.boottime()
        self.outer: dict[str, str] = {}
        self.told = 0
        self.port: tuple[str, int] | None = None
        self.notices = Notices(app, self.do, log, self.outer)
        self.telling = Telling(self.metrics, self.desk, log, self.notices, self.outer)
        self.tell = self.telling.tell
        self.inboxes = Inboxes(app, self.metrics, self.desk, self.outer, log, self.disk, self._refused)
        self.sources = Sources(app, log, self.outer, self.bell.set)
        self.log_level: Callable[[str], None] = lambda _level: None
        app.publisher.withheld = self.withheld
        self.brain.facts_of = self.facts
        app.publisher.told.append(lambda _before, _entries, head: self.metrics.published(head.issued_ns))
        app.publisher.refused.append(self._not_published)
        app.publisher.remade.append(self._remade)

    # --- what the core is told, and what a renewal must earn --------------------------------------------------------

    def facts(self) -> Facts:
        degraded = tuple(f"{k}: {v}" for k, v in sorted(self.outer.items()))
        return Facts(waiting=self.inboxes.waiting > 0, oldest_live_file=self.inboxes.oldest_live, degraded=degraded)

    def withheld(self) -> list[str]:
        """Why a renewal is not earned; [] = it is."""
        boot = self.app.boottime()
        out = []
        if not self.started:
            out.append("starting: the files found are not evaluated yet")
        if boot - self.checked_ns > round(self.settings.schedule.check_interval * 1e9) + CHECK_GRACE_NS:
            out.append("no check has finished within its interval and 5 minutes")
        if not self.brain.writable or self.unwritable:
            out.append("the store cannot be written" + (f": {self.unwritable}" if self.unwritable else ""))
        if boot - self.inboxes.scanned_ns > STALE_SCAN_NS:
            out.append("the spool has not been scanned for 30 s")
        if self.inboxes.oldest_live is not None and self.inboxes.oldest_live > WAITED_SECONDS:
            out.append("a live file has waited for 15 minutes")
        if self.job_since and boot - self.job_since > STUCK_NS:
            out.append("the worker does not move")
        if boot - self.operators.moved_ns > BEAT_NS:
            out.append("the operators' folder is not being watched")
        if boot - self.beaten_ns > BEAT_NS:
            out.append("the event loop does not move")
        return out

    def _why_not_ready(self) -> list[str]:
        if self.told_first:
            return self.withheld()
        clock = self.outer.get("clock")
        return ["starting: nothing has been published yet", *([clock] if clock else [])]

    def _not_published(self, error: OSError) -> None:
        """The publisher's thread: counted at once, told by its log."""
        self.metrics.publish_failed()
        self.log.error("override.failed", error=error.strerror or str(error), failures=self.app.publisher.failures)

    def _remade(self) -> None:
        """The publisher's thread: whoever removed the folder may not know what engines do meanwhile. Told until a check has seen it."""
        self.outer["actions"] = "system_actions was removed: it was made anew, until then every engine was stopped"
        self.log.error("override.folder_remade", folder=str(self.app.publisher.folder))

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
            self.job_since = self.app.boottime()
            try:
                result = await loop.run_in_executor(self.worker, job)
            except Exception as e:
                done.cancel()
                self.log.exception("pump.failed", error=str(e))
                raise
            finally:
                self.job_since = 0
            if not done.cancelled():
                done.set_result(result)

    async def intake(self) -> None:
        """The scan is the truth; the watch only rings."""
        await self._suspects()
        evaluated, inboxes = self.app.boottime(), self.inboxes
        while True:
            moved = False
            all_there = self.sources.looked  # asked before the scan: what they brought by then is seen by it
            turns = await inboxes.scan()
            all_ready = inboxes.looked and inboxes.waiting == inboxes.unread == sum(map(len, turns))
            self.app.ahead.expect(w for turn in turns for w in turn)
            for k, turn in enumerate(turns):
                following = turns[k + 1] if k + 1 < len(turns) else []
                done, *judged = await self._meanwhile(partial(self._turn, turn, last=all_ready and turn is turns[-1], following=following))
                for one in (done, *judged):
                    self.tell(one)
                inboxes.kept = {r.waiting.key for r in done.reads if os.path.lexists(r.waiting.path)} if done.stuck else set()
                moved = moved or bool(done.reads)
                if self.app.boottime() - evaluated > 60_000_000_000:
                    evaluated = self.app.boottime()
                    self.tell(await self._meanwhile(lambda: self._evaluate(backlog=True)))
                if done.failed or done.stuck:
                    moved = False
                    break
            if moved:
                continue
            self.app.ahead.end()
            if inboxes.looked and not inboxes.unread:
                if self.brain.touched:
                    self.tell(await self.do(self._evaluate))
                evaluated = self.app.boottime()
                if not self.started and all_there:
                    await self._start()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.bell.wait(), SCAN_SECONDS)
            self.bell.clear()

    async def _meanwhile(self, job: Callable[[], Any]) -> Any:
        """`do`, however long it takes: a renewal needs a fresh look at the inboxes, also during a large file or after thousands of small ones."""
        task = asyncio.ensure_future(self.do(job))
        try:
            while True:
                due = (self.inboxes.scanned_ns + SCAN_AGAIN_NS - self.app.boottime()) / 1e9
                done, _ = await asyncio.wait({task}, timeout=max(due, SCAN_SECONDS))
                if done:
                    return task.result()
                await self.inboxes.glance()
        finally:
            task.cancel()

    async def _suspects(self) -> None:
        """What the process before this one was reading when it ended is tried in a child first."""
        loop = asyncio.get_running_loop()
        poisoned = await loop.run_in_executor(self.disk, suspects, self.app)
        if poisoned:
            self.tell(await self.do(lambda: set_aside(self.app, poisoned)))

    async def _refused(self, entries: list[Unfit]) -> bool:
        """Entries that will never be read, stored and told before they are moved."""
        done = await self.do(partial(tell_unfit, self.app, entries))
        self.tell(done)
        return not done.failed

    def _turn(self, turn: list[Any], *, last: bool, following: list[Any]) -> list[TurnDone]:
        """Take a turn. Where nothing waits after it, it is judged as soon as it counts, before its files leave."""
        now = self.brain.now()
        if not self.inboxes.sane(self.app.now()):
            return [TurnDone()]
        judged: list[TurnDone] = []

        def judge() -> None:
            if self.inboxes.empty(but=len(turn)):
                judged.append(self._evaluate())

        return [take(self.app, turn, now, then=judge if last else None, following=following), *judged]

    def _evaluate(self, *, backlog: bool = False) -> TurnDone:
        self.brain.backlog = backlog
        done = self.brain.evaluate(reports=False)
        self.brain.backlog = False
        return done

    async def _start(self) -> None:
        """The files found are evaluated: from here on renewals can be earned."""
        await self.do(self.operators.settle)
        self.tell(await self.do(self.brain.check))
        self.checked_ns = self.app.boottime()
        self.metrics.checked(self.app.now(), self.brain.view.check_seconds)
        await self.do(set_apart)
        self.started, self.inboxes.newest_ns = True, 0
        await self.do(self.app.publisher.renew)
        self.told_first = True
        self.desk.reasons = self.withheld()
        self.tell(TurnDone())
        self.notifier.status(f"{len(self.brain.v.m.strategies)} strategies")
        self.log.info(
            "service.ready", strategies=len(self.brain.v.m.strategies), sequence=self.app.publisher.sequence, instance=self.app.instance
        )
        if not self.scheduled:
            return
        for day in self._days_due():
            self.tell(await self.do(partial(self._report, day)))

    def _days_due(self) -> list[str]:
        """Reports that should have been written while nobody ran."""
        now = self.brain.now()
        t = self.settings.schedule.daily_report_time
        at = (t.hour * 3600 + t.minute * 60 + t.second) * 1_000_000_000
        last = (now - at) // DAY_NS - 1
        firsts = [s.books.summaries.first for s in self.brain.v.m.strategies.values()]
        oldest = min((n for n in firsts if n is not None), default=None)
        if oldest is None:
            return []
        known = {r.day for r in self.app.store.reports()}
        first = max(oldest // 96, last - 30)
        return [text for d in range(int(first), int(last) + 1) if (text := day_text(d * DAY_NS)) not in known]

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
        self.checked_ns = self.app.boottime()
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
            self.desk.reasons = self._why_not_ready()
            self.desk.degraded = self.facts().degraded
            self.metrics.follow(self.desk.action())
            if self.app.publisher.stepped.is_set():
                await self.check()

    def _attend(self) -> None:
        """Whether the store can be written, also while nothing comes that would be; and again when it can."""
        self.app.store.attend()
        try:
            self.unwritable = unwritable(self.settings.store_path().parent)
        except OSError as e:
            self.unwritable = e.strerror or str(e)
        if self.brain.writable or self.unwritable:
            self.written_ns = self.app.boottime()
        elif self.app.boottime() - self.written_ns > WRITE_AGAIN_NS:
            self.written_ns = self.app.boottime()
            self.brain.commit_extras()

    def _tick(self) -> None:
        self._attend()
        moment = self.brain.moment()
        if any(True for c in self.brain.v.standing.commands if _over(c, moment)) or any(
            s.enable is not None and _over(s.enable.command, moment) for s in self.brain.v.standing.ladders.values()
        ):
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
            self.beaten_ns = boot = self.app.boottime()
            if not self.job_since or boot - self.job_since < PATIENCE_NS:
                self.notifier.watchdog()
            await asyncio.sleep(1.0)

    # --- outer tasks ------------------------------------------------------------------------------------------------

    async def outer_task(self, name: str, make: Callable[[], Awaitable[None]]) -> None:
        """Run it, again with back-off where it fails; `degraded` says so meanwhile."""
        delay = 1.0
        while not self.stop.is_set():
            try:
                await make()
                if self.stop.is_set():
                    return
            except asyncio.CancelledError:
                raise
            except Exception as e:  # noqa: BLE001  an outer part must not stop trading
                self.outer[name] = str(e) or type(e).__name__
                self.log.error("outer.failed", part=name, error=self.outer[name])
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), delay)
            delay = min(delay * 2, 30.0)

    async def http(self) -> None:
        web = Web(self.desk, self.metrics)

        def up(host: str, port: int) -> None:
            self.outer.pop("http", None)
            self.port = (host, port)
            self.log.info("http.listening", host=host, port=port)

        try:
            await serve(web, self.settings.http.host, self.settings.http.port, self.stop, up)
        finally:
            web.close()

    async def watching(self) -> None:
        root = self.settings.data_dir
        self.outer.pop("watch", None)
        await watch({root / "spool" / "live": self.bell, root / "spool" / "backtest": self.bell, root / "overrides": self.order_bell})

    async def housekeeping(self) -> None:
        self.outer.pop("housekeeping", None)
        await housekeeping.keep(self.app, self.do, self.disk, self.stop, self.outer)

    async def schedule(self) -> None:
        self.outer.pop("schedule", None)
        await Schedule(lambda: self.settings.schedule, self.check, self.report_yesterday, self.app.boottime, lambda: self.checked_ns).run(
            self.stop
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """SIGHUP: prepared whole, then swapped; a bad file keeps the old one running."""
        self.notifier.reloading(self.app.boottime())
        try:
            new = load(self.config, os.environ)
            changed, refused = reload_differences(self.settings, new)
            if refused:
                raise SettingsError(f"{', '.join(refused)}: cannot be changed while running")  # noqa: TRY301
        except SettingsError as e:
            self.metrics.reloaded(successful=False)
            self.log.error("config.refused", error=str(e))
        except Exception as e:  # a configuration that cannot even be judged is a bad one
            self.metrics.reloaded(successful=False)
            self.log.exception("config.refused", error=f"{type(e).__name__}: {e}")
        else:
            await self.do(lambda: self.brain.reconfigure(new))
            await self.do(lambda: configured.tell(self.brain, new, changed))
            self.log_level(new.log.level)
            self.settings = self.app.settings = new
            self.operators.app.settings = new
            self.app.publisher.terms.interval, self.app.publisher.terms.ttl = new.publish.interval, new.publish.ttl
            self.app.publisher.terms.on_expiry = new.publish.on_expiry
            self.metrics.reloaded(successful=True)
            self.log.info("config.reloaded", changed=changed)
            await self.check()
        self.notifier.ready()

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
        self._loop.add_signal_handler(signal.SIGHUP, lambda: setattr(self, "_reloading", asyncio.ensure_future(self.reload())))
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
                    ("intake", self.intake()),
                    ("orders", self.orders()),
                    ("pulse", self.pulse()),
                    ("beat", self.beat()),
                ]
                make += [("http", self.outer_task("http", self.http)), ("watch", self.outer_task("watch", self.watching))]
                make.append(("housekeeping", self.outer_task("housekeeping", self.housekeeping)))
                make.append(("notices", self.outer_task("notify", self.notices.run)))
                make.append(("sources", self.outer_task("sources", self.sources.run)))
                if self.scheduled:
                    make.append(("schedule", self.outer_task("schedule", self.schedule)))
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


def _over(c: Any, moment: Any) -> bool:
    from parityd.core.commands import ended

    return ended(c, moment)
