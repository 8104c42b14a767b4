"""The demo's driver: hands a running daemon the bundled sample as time passes on a clock of its own.

1. It is an engine, a backtester and a clock, and nothing else: files are renamed into the spool when their time comes, ticks are the daemon's
   own `check` and `report`. What is judged, published and written, the daemon does.
2. Judgement's clock is the replay's; publications, operators and the spool's scan stay on the machine's.
3. Every five simulated minutes what the two sides wrote is dropped, and the next tick waits until the daemon has taken it: the same sample
   gives the same actions at any speed.
"""

import asyncio
import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

import parityd
from parityd.core.instants import DAY_NS, day_start, day_text, parse_time
from parityd.core.records import BOOKS
from parityd.core.verdicts import Change
from parityd.edges.files import replace_durably
from parityd.service.daemon import Daemon

DAY_IN_TWO_MINUTES = 720.0  # simulated seconds a second
STEP_NS = 300_000_000_000
FRAME = 0.1
SLOW = 10.0
STRATEGY, SYMBOL = "LimitFade-6E", "6EH4"
MULTIPLIER, CAPITAL = 125_000, 2_000_000


class _When(msgspec.Struct):
    ts_event: int | str


@dataclass(frozen=True, slots=True)
class Drop:
    """A file that appears in an inbox at `due` (simulated, ns)."""

    due: int
    book: str
    name: str
    data: bytes


class Clock:
    """The replay's time (ns): moved by the driver alone."""

    def __init__(self, start: int) -> None:
        self.ns = start

    def __call__(self) -> int:
        return self.ns


class Screen(Protocol):
    """Where the run is told."""

    def moved(self, now: int, strategies: dict[str, dict[str, Any]]) -> None: ...
    def changed(self, change: Change) -> None: ...
    def reported(self, day: str, headline: str) -> None: ...
    def said(self, text: str) -> None: ...


def sample_folder() -> Path:
    """The sample: of a wheel inside the package, of a checkout beside it."""
    package = Path(parityd.__file__).parent
    for folder in (package / "sample", package.parent / "data" / "sample"):
        if all((folder / book).is_dir() for book in BOOKS):
            return folder
    raise FileNotFoundError(2, "the bundled sample is missing: install parityd again", str(package / "sample"))


def drops(folder: Path) -> list[Drop]:
    """The sample's exports, line for line as the engine wrote them, cut into the files of each five minutes."""
    decode = msgspec.json.Decoder(_When).decode
    cut: dict[tuple[int, str, str], list[bytes]] = {}
    for book in BOOKS:
        for path in sorted((folder / book).glob("*.jsonl.gz")):
            for line in gzip.decompress(path.read_bytes()).splitlines():
                t = decode(line).ts_event
                at = t if isinstance(t, int) else parse_time(t)
                cut.setdefault((-(-at // STEP_NS) * STEP_NS, book, path.name.partition(".")[0]), []).append(line)
    return [Drop(due, book, f"{stem}-{_stamp(due)}.jsonl", b"\n".join(lines) + b"\n") for (due, book, stem), lines in sorted(cut.items())]


def _stamp(ns: int) -> str:
    minutes = ns % DAY_NS // 60_000_000_000
    return f"{day_text(ns)}T{minutes // 60:02d}{minutes % 60:02d}"


class Driver:
    """Moves the clock, drops the files, gives the ticks. The last day, which the sample does not finish, is reported at the end."""

    def __init__(self, daemon: Daemon, clock: Clock, files: list[Drop], speed: float, screen: Screen) -> None:
        self.daemon, self.clock, self.files, self.speed, self.screen = daemon, clock, files, speed, screen
        self._told: Change | None = None
        self.first_day = day_start(day_text(clock.ns))
        schedule = daemon.settings.schedule
        self.interval = round(schedule.check_interval * 1e9)
        t = schedule.daily_report_time
        self.report_at = (t.hour * 3600 + t.minute * 60 + t.second) * 1_000_000_000

    def _moments(self) -> Iterator[int]:
        """Every moment at which something is dropped or due, in order, until all is told and judged."""
        start, last = self.clock.ns, max(f.due for f in self.files)
        end = -(-last // self.interval) * self.interval
        due = {f.due for f in self.files} | set(range(-(-start // self.interval) * self.interval, end + 1, self.interval))
        yield from sorted(due | {m for d in range(self.first_day, end, DAY_NS) if (m := d + DAY_NS + self.report_at) <= end})

    async def run(self) -> None:
        """From the clock's start to the last file and the check after it; returns early where the daemon is told to stop."""
        await self._until(lambda: self.daemon.signs.started)
        began, first, rest = asyncio.get_running_loop().time(), self.clock.ns, list(self.files)
        for moment in self._moments():
            await self._advance(moment, began, first)
            if self.daemon.stop.is_set():
                return
            fresh = [f for f in rest if f.due <= moment]
            rest = rest[len(fresh) :]
            if fresh:
                await self._drop(fresh)
            if moment % self.interval == 0:
                await self.daemon.check()
            if moment % DAY_NS == self.report_at and moment - DAY_NS >= self.first_day:
                await self._report(day_text(moment - DAY_NS))
            self._show()
        await self._report(day_text(self.clock.ns))

    async def _advance(self, to: int, began: float, first: int) -> None:
        """Let the clock run up to a moment, not faster than asked."""
        loop = asyncio.get_running_loop()
        while not self.daemon.stop.is_set():
            elapsed = first + round((loop.time() - began) * self.speed * 1e9)
            self.clock.ns = max(self.clock.ns, min(to, elapsed))
            if self.clock.ns >= to:
                return
            self._show()
            await asyncio.sleep(min(FRAME, (to - self.clock.ns) / 1e9 / self.speed))

    async def _drop(self, files: list[Drop]) -> None:
        spool = self.daemon.settings.data_dir / "spool"
        for f in files:
            await asyncio.to_thread(replace_durably, spool / f.book / f.name, f.data, 0o640)
        self.daemon.bell.set()
        await self._until(self._taken)

    def _taken(self) -> bool:
        """Whether everything dropped has been read, stored and judged."""
        d = self.daemon
        if d.signs.job_since or d.brain.touched or not d.inbox.empty():
            return False
        spool = d.settings.data_dir / "spool"
        return all(name[0] == "." for book in BOOKS for name in os.listdir(spool / book))

    async def _until(self, done: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        patience = loop.time() + SLOW
        while not done() and not self.daemon.stop.is_set():
            if loop.time() > patience:
                why = [*self.daemon.outer.values(), *self.daemon.signs.withheld()] or ["the daemon is busy"]
                self.screen.said("waiting: " + "; ".join(why))
                patience += SLOW
            await asyncio.sleep(0.005)

    async def _report(self, day: str) -> None:
        await self.daemon.report(day)
        found = await asyncio.to_thread(self.daemon.desk.report, day)
        if found is not None:
            self.screen.reported(day, str(found["headline"]))

    def _show(self) -> None:
        view = self.daemon.brain.view
        news: list[Change] = []
        for change in reversed(view.changes):
            if change is self._told:
                break
            news.append(change)
        for change in reversed(news):
            self.screen.changed(change)
        self._told = view.changes[-1] if view.changes else None
        self.screen.moved(self.clock.ns, view.strategies)
