"""The outer tasks: HTTP, the watch of folders, housekeeping, notices, sources, the schedule. None of them may stop trading.

1. One that fails comes again with back-off (1 s, doubling, at most 30 s), and stands in `degraded` until it runs again.
2. One that ends in peace before the daemon does is begun again, too.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from parityd.edges.watch import watch
from parityd.service import housekeeping
from parityd.service.schedule import Schedule
from parityd.web.api import Web
from parityd.web.server import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from parityd.service.daemon import Daemon

FIRST_SECONDS, MOST_SECONDS = 1.0, 30.0


class Outside:
    """Those of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def tasks(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Each by its task's name."""
        d = self.daemon
        parts: list[tuple[str, str, Callable[[], Awaitable[None]]]] = [  # name of the task, name in `degraded`
            ("http", "http", self.http),
            ("watch", "watch", self.watching),
            ("housekeeping", "housekeeping", self.housekeeping),
            ("notices", "notify", d.notices.run),
            ("sources", "sources", d.sources.run),
        ]
        if d.scheduled:
            parts.append(("schedule", "schedule", self.schedule))
        return [(name, self.kept_up(part, make)) for name, part, make in parts]

    async def kept_up(self, name: str, make: Callable[[], Awaitable[None]]) -> None:
        """Run it, again with back-off where it fails; `degraded` says so meanwhile."""
        d, delay = self.daemon, FIRST_SECONDS
        while not d.stop.is_set():
            try:
                await make()
                if d.stop.is_set():
                    return
            except asyncio.CancelledError:
                raise
            except Exception as e:  # noqa: BLE001  an outer part must not stop trading
                d.outer[name] = str(e) or type(e).__name__
                d.log.error("outer.failed", part=name, error=d.outer[name])
            with suppress(TimeoutError):
                await asyncio.wait_for(d.stop.wait(), delay)
            delay = min(delay * 2, MOST_SECONDS)

    async def http(self) -> None:
        d = self.daemon
        web = Web(d.desk, d.metrics)

        def up(host: str, port: int) -> None:
            d.outer.pop("http", None)
            d.port = (host, port)
            d.log.info("http.listening", host=host, port=port)

        try:
            await serve(web, d.settings.http.host, d.settings.http.port, d.stop, up)
        finally:
            web.close()

    async def watching(self) -> None:
        d = self.daemon
        root = d.settings.data_dir
        d.outer.pop("watch", None)
        await watch({root / "spool" / "live": d.bell, root / "spool" / "backtest": d.bell, root / "overrides": d.order_bell})

    async def housekeeping(self) -> None:
        d = self.daemon
        d.outer.pop("housekeeping", None)
        await housekeeping.keep(d.app, d.do, d.disk, d.stop, d.outer)

    async def schedule(self) -> None:
        d = self.daemon
        d.outer.pop("schedule", None)
        made = Schedule(lambda: d.settings.schedule, d.check, d.report_yesterday, d.app.boottime, lambda: d.signs.checked_ns)
        await made.run(d.stop)
