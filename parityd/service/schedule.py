"""The schedule: APScheduler puts ticks in, and a guard on the boot-time clock catches what a wall clock step silences."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GUARD_SECONDS = 5.0


class Schedule:
    """The check at whole intervals (:00 :15 :30 :45) and the daily report, in UTC, coalesced, never lost."""

    def __init__(
        self,
        terms: Callable[[], Any],
        check: Callable[[], Awaitable[None]],
        report: Callable[[], Awaitable[None]],
        boottime: Callable[[], int],
        checked: Callable[[], int],
    ) -> None:
        self.terms, self.check, self.report = terms, check, report
        self._held: Any = None
        self.boottime, self.checked = boottime, checked

    def _built(self) -> AsyncIOScheduler:
        self._held = terms = self.terms()
        scheduler = AsyncIOScheduler(timezone=UTC)
        options: dict[str, Any] = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        scheduler.add_job(self.check, IntervalTrigger(seconds=terms.check_interval, start_date=EPOCH, timezone=UTC), id="check", **options)
        t = terms.daily_report_time
        scheduler.add_job(self.report, CronTrigger(hour=t.hour, minute=t.minute, second=t.second, timezone=UTC), id="report", **options)
        scheduler.start()
        return scheduler

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped; a check that is overdue by the boot-time clock is made here. Then, and where the terms changed, the scheduler is built anew."""
        scheduler = self._built()
        try:
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), GUARD_SECONDS)
                overdue = self.boottime() - self.checked() > round((self._held.check_interval * 1.1 + 2 * GUARD_SECONDS) * 1e9)
                if overdue and not stop.is_set():
                    await self.check()
                if overdue or self.terms() != self._held:
                    scheduler.shutdown(wait=False)
                    scheduler = self._built()
        finally:
            scheduler.shutdown(wait=False)
