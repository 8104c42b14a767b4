"""What is stored, through the same code once more, on a virtual clock (CONTRACT 8, `replay`).

1. Nothing outside is changed and no lock is needed: records come over a connection that cannot write, results go into a store in memory.
2. `ts`: records arrive at their own time, checks come at whole intervals of the virtual clock, reports at their hour; operators' commands
   and halts are left out. `recorded`: files, checks, commands, halts and reports come in the order and at the times in which they came,
   by the configuration of then, so that actions and reports are those of then. With changed settings commands are left out there too: they
   answered other actions; and the present configuration holds throughout. What lies after all that was recorded never was: a last day that is
   not over ends with the newest thing recorded, and its report is made there.
3. The same store, days and settings give the same bytes: no clock, no random number, no unordered set decides anything.
4. Between two checks what has arrived is one turn, and judged at the check.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from parityd.core.assessing import Facts
from parityd.core.commands import Command, Halt
from parityd.core.instants import DAY_NS, day_start, day_text
from parityd.core.verdicts import Change
from parityd.service.arrivals import AsRecorded, ByTime
from parityd.service.obeying import command, halted
from parityd.service.past_settings import Past, past_settings
from parityd.service.rerun import Rerun
from parityd.service.turns import Sources, TurnDone
from parityd.settings import Settings
from parityd.store import connect
from parityd.store.entries import Event
from parityd.store.reads import Reads

OPERATORS = ("command", "halts")


class NothingStoredError(Exception):
    """There is no store to replay from, or nothing in it; the text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """UTC days, both included. The run ends with the last one's report."""

    first: str
    last: str

    def bounds(self, report_at: int) -> tuple[int, int]:
        return day_start(self.first), day_start(self.last) + DAY_NS + report_at


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the virtual time, and records so far."""

    now: int
    records: int
    total: int


@contextmanager
def stored(settings: Settings) -> Iterator[Reads]:
    """The store of a data directory, to be read only: a daemon may be at work in it."""
    path = settings.store_path()
    if not path.exists():
        raise NothingStoredError(f"{path}: there is no store to replay")
    db = connect.open_reader(path)
    try:
        yield Reads(db, str(path), threading.RLock())
    finally:
        db.close()


def all_days(reads: Reads) -> Days:
    """From the first record to the last one taken."""
    times = [(e.first_ts, e.last_ts) for e in reads.files() if e.accepted]
    if not times:
        raise NothingStoredError(f"{reads.name}: the store holds no records")
    return Days(first=day_text(min(a for a, _ in times)), last=day_text(max(b for _, b in times)))


def newest(reads: Reads) -> int:
    """When something was last recorded."""
    return max([0, *(e.ingested_ns for e in reads.files()), *(e.ts_ns for e in reads.events())])


class Replay:
    """One run. `brain` is what a daemon would hold at its end."""

    def __init__(self, settings: Settings, reads: Reads, days: Days, *, recorded: bool = False, operators: bool = True) -> None:
        t = settings.schedule.daily_report_time
        self.report_at = (t.hour * 3600 + t.minute * 60 + t.second) * 1_000_000_000
        self.interval = round(settings.schedule.check_interval * 1e9)
        self.days, self.recorded, self.operators = days, recorded, operators and recorded
        self.start, self.end = days.bounds(self.report_at)
        self.now = self.start
        self.records = 0
        self.reads = reads
        self.past = past_settings(reads, settings) if self.operators else Past([(0, settings)])
        self.brain = Rerun(self.past.steps[0][1], lambda: self.now)
        self.total = 0

    def run(self, tell: Callable[[Progress], None] = lambda _: None) -> Iterator[Change]:
        """Every change of action, in order."""
        for done in self._as_recorded() if self.recorded else self._by_time():
            yield from done.changes
            tell(Progress(self.now, self.records, self.total))

    # --- by their own times ---------------------------------------------------------------------------------------

    def _by_time(self) -> Iterator[TurnDone]:
        arrivals = ByTime(self.reads, self.start, self.end)
        self.total = arrivals.total
        first = max(self.start, arrivals.first)
        for moment, check, report in self._moments(first // self.interval * self.interval):
            self.now = moment
            reads = arrivals.until(moment)
            if reads:
                yield self._turn(self.brain.files(reads, now=moment))
            if check:
                yield self.brain.check(now=moment)
            if report:
                self.brain.reporter.of_day(day_text(moment - DAY_NS), moment)

    def _moments(self, first: int) -> Iterator[tuple[int, bool, bool]]:
        """(time, a check is due, a report is due) from `first` to the report of the last day."""
        reports = {m for d in range(self.start, self.end, DAY_NS) if first <= (m := d + DAY_NS + self.report_at) <= self.end}
        checks = range(-(-first // self.interval) * self.interval, self.end + 1, self.interval)
        for moment in sorted(reports.union(checks)):
            yield moment, moment % self.interval == 0, moment in reports

    def _turn(self, done: TurnDone) -> TurnDone:
        self.records += sum(sum(got.accepted.values()) for got in done.counted.values())
        return done

    # --- as they came ---------------------------------------------------------------------------------------------

    def _as_recorded(self) -> Iterator[TurnDone]:
        arrivals = AsRecorded(self.reads, self.start, self.end)
        self.total = arrivals.total
        reported = set()
        steps = deque(self.past.steps[1:])
        for now, turn in arrivals.turns():
            self.now = now
            while steps and steps[0][0] < now:
                self.brain.reconfigure(steps.popleft()[1])
            if isinstance(turn, list):
                yield self._turn(self.brain.files(turn, now=now))
                continue
            if turn.kind == "report":
                reported.add(turn.data.decode())
            if self.operators or turn.kind not in OPERATORS:
                yield from self._event(turn)
        if self.days.last not in reported:
            self.now = min(self.end, max(self.now, newest(self.reads)))
            if self.now == self.end:
                yield self.brain.check(now=self.end)
            self.brain.reporter.of_day(self.days.last, self.now)

    def _event(self, event: Event) -> Iterator[TurnDone]:
        """What the daemon did then, done again."""
        b, now = self.brain, event.ts_ns
        if event.kind in ("scan", "check", "look"):
            said = msgspec.json.decode(event.data)
            facts = Facts(waiting=said["waiting"], oldest_live_file=said["oldest_live_file"], degraded=tuple(said["degraded"]))
            b.facts_of, b.backlog = lambda: facts, said["backlog"]
            yield b.evaluate(now=now, reports=False) if event.kind == "scan" else b.check(now=now, report_due=event.kind == "check")
        elif event.kind == "command":
            yield command(b, msgspec.json.decode(event.data, type=Command), "recorded")
        elif event.kind == "halts":
            yield halted(b, msgspec.json.decode(event.data, type=tuple[Halt, ...]), [], [])
        elif event.kind == "report":
            b.reporter.of_day(event.data.decode(), now)
        elif event.kind == "start":
            b.sources = Sources()
            b.v.standing.first_start = event.data.decode() if self.operators else ""
            b.refresh_basis()
        elif event.kind == "lapse":
            since, on_expiry = msgspec.json.decode(event.data, type=tuple[int, str])
            for s in b.v.m.strategies.values():
                s.memory.publications.lapse(since, now, on_expiry)
