"""Rows of what stays alive while the daemon drains a backlog and then makes the report of that day.

1. Lateness of the loop is seen from outside only: the longest that a request over an open connection waits for an answer, asked every 10 ms. It
   counts the answer itself and what the machine adds; beside it stands how late the asking thread itself was woken.
2. A HALT is set while files wait, and timed until the published action is EMERGENCY_STOP. It is lifted and set again for as long as they wait.
3. A renewal is late by what the time between two publications exceeds the interval, which is a second here.
"""

import http.client
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from daemon import PATIENCE, Daemon, until
from place import DAY, Place, iso, midnight
from rows import Goal, Row, at, over

INTERVAL = 1.0
ASK_EVERY = 0.01
REPORT_IN = 8.0  # seconds; the daemon looks every 5 whether its schedule has changed
TERMS = f'[publish]\ninterval = "{INTERVAL:.0f}s"\nttl = "10s"\n'


@dataclass
class Seen:
    """What the watchers saw: (when, how long) each."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    woken: list[tuple[float, float]] = field(default_factory=list)
    renewals: list[float] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def during(self, found: list[tuple[float, float]], since: float, to: float) -> list[float]:
        """In ms."""
        return [took * 1e3 for began, took in found if since <= began + took and began <= to]


def ask(d: Daemon, seen: Seen) -> None:
    """Health over one open connection."""
    asking = http.client.HTTPConnection("127.0.0.1", d.port, timeout=60)
    while not seen.over.is_set():
        began = time.perf_counter()
        asking.request("GET", "/healthz")
        asking.getresponse().read()
        ended = time.perf_counter()
        seen.answers.append((began, ended - began))
        time.sleep(ASK_EVERY)
        seen.woken.append((ended, time.perf_counter() - ended - ASK_EVERY))


def look(d: Daemon, seen: Seen) -> None:
    """When the publication is replaced."""
    last = None
    while not seen.over.is_set():
        found = os.stat(d.published).st_ino, os.stat(d.published).st_mtime_ns
        if found != last:
            seen.renewals.append(time.perf_counter())
            last = found
        time.sleep(0.005)


def halts(d: Daemon) -> list[float]:
    """Milliseconds from a HALT to its stop, as often as there is time for while files wait."""
    took = []
    stopped = lambda: d.override()["action"] == "EMERGENCY_STOP"  # noqa: E731
    flag = d.data / "overrides/HALT"
    while d.waiting():
        if not stopped():
            flag.touch()
            took.append(until(stopped, "HALT is obeyed") * 1e3)
            flag.unlink()
        time.sleep(0.5)
    return took


def one_run(place: Place) -> dict[str, float]:
    """A daemon, its backlog, its report."""
    config = place.data("alive", place.day())
    away = config.parent / "away"
    os.rename(config.parent / "data/spool", away)
    d, seen = Daemon(config.parent, TERMS), Seen()
    with d.running():
        until(d.published.exists, "something is published")
        threads = [threading.Thread(target=_kept, args=(watch, d, seen)) for watch in (ask, look)]
        for t in threads:
            t.start()
        try:
            found = _lived(d, away, seen)
        finally:
            seen.over.set()
            for t in threads:
                t.join()
    if seen.failed:
        raise seen.failed[0]
    return found


def _lived(d: Daemon, away: Path, seen: Seen) -> dict[str, float]:
    """Rest, the backlog, the report."""
    quiet = time.perf_counter()
    time.sleep(2)
    began, cpu = time.perf_counter(), d.cpu()
    for book in ("backtest", "live"):
        for path in sorted((away / book).iterdir()):
            os.rename(path, d.data / "spool" / book / path.name)
    stops = halts(d)
    drained, used = time.perf_counter(), d.cpu() - cpu
    took, told = _report(d)
    marks = (quiet, began, drained, told, time.perf_counter())
    return _numbers(seen, marks) | {
        "drain": drained - began, "cpu": used, "halt": max(stops, default=float("nan")), "halts": len(stops), "report": took, "peak": d.peak(),
    }  # fmt: skip


def _kept(watch, d: Daemon, seen: Seen) -> None:
    try:
        watch(d, seen)
    except Exception as e:
        seen.failed.append(e)


def _report(d: Daemon) -> tuple[float, float]:
    """The daily report, moved to a few seconds from now; (seconds that it took, when it was due)."""
    count, total = "parityd_report_duration_seconds_count", "parityd_report_duration_seconds_sum"
    before, waited, due = (d.metric(count), d.metric(total)), time.perf_counter(), 0.0
    while d.metric(count) == before[0]:
        if time.time() > due + REPORT_IN * 2:  # not yet, or the new time came before the daemon had read it
            due = time.time() + REPORT_IN
            d.configure(f'daily_report_time = "{time.strftime("%H:%M:%S", time.gmtime(due))}"')
            d.process.send_signal(signal.SIGHUP)
        if time.perf_counter() - waited > PATIENCE:
            raise RuntimeError("the daily report was not made")
        time.sleep(0.2)
    written = d.data / "parity_reports" / f"parity_report_{iso(midnight() - DAY)[:10]}.html"
    until(written.exists, "the daily report is written", 0.05)
    return (d.metric(total) - before[1]) / (d.metric(count) - before[0]), waited


def _numbers(seen: Seen, marks: tuple[float, ...]) -> dict[str, float]:
    quiet, began, drained, told, ended = marks
    drain = seen.during(seen.answers, began, drained)
    gaps = [(b - a - INTERVAL) * 1e3 for a, b in zip(seen.renewals, seen.renewals[1:], strict=False) if b >= began]
    return {
        "quiet": at(seen.during(seen.answers, quiet, began), 0.99),
        "p99": at(drain, 0.99),
        "late": max(drain),
        "reporting": max(seen.during(seen.answers, told, ended)),
        "woken": max(seen.during(seen.woken, began, ended), default=0.0),
        "renewal": max(0.0, *gaps),
    }


def alive(place: Place) -> list[Row]:
    """All of it."""
    o, found = place.options, []
    for one in range(o.runs):
        place.say(f"alive, run {one + 1} of {o.runs}")
        found.append(one_run(place))
    column = {k: [f[k] for f in found] for k in found[0]}
    ms = lambda limit: Goal(of="value", limit=limit, text=f"{limit:,} ms")  # noqa: E731
    return [
        Row(
            what=f"the daemon drains {o.trades:,} trades, asked all the while", values=column["drain"], cpu=column["cpu"], peak=column["peak"],
            goal=Goal(of="peak", limit=300, text="300 MB"),
        ),
        Row(what="`/healthz` p99 before it", values=column["quiet"], unit="ms"),
        Row(
            what="`/healthz` p99 while it drains", values=column["p99"], unit="ms", ratio=over(column["p99"], column["quiet"]),
            against="before it", goal=ms(100),
        ),
        Row(what="longest wait for `/healthz` while it drains (loop late at most)", values=column["late"], unit="ms", goal=ms(50)),
        Row(what="longest wait for `/healthz` while the daily report is made", values=column["reporting"], unit="ms", goal=ms(50)),
        Row(what="the asking thread itself was woken late by", values=column["woken"], unit="ms"),
        _halt_row(column),
        Row(what="renewal late by at most, drain and report", values=column["renewal"], unit="ms", goal=ms(1000)),
        Row(what=f"the daily report of {o.trades:,} trades inside the daemon, JSON and HTML", values=column["report"], goal=Goal(of="value", limit=5, text="5 s")),
    ]  # fmt: skip


def _halt_row(column: dict[str, list[float]]) -> Row:
    goal = Goal(of="value", limit=300, text="300 ms")
    values = [x for x in column["halt"] if x == x]  # noqa: PLR0124  a run in which nothing was measured is NaN
    what = f"HALT obeyed while it drains, the slowest of {sum(map(int, column['halts']))}"
    if not values:
        return Row(what=what, goal=goal, skipped="the backlog was gone too soon")
    return Row(what=what, values=values, unit="ms", goal=goal)
