"""Reports: made from the core's numbers, revised only when numbers change, stored with the turn, written as files after it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from parityd.core.commands import ALL
from parityd.core.instants import DAY_NS, day_start, day_text, rfc3339
from parityd.core.portfolio import parities
from parityd.core.records import NO_TS
from parityd.core.report import day_report
from parityd.edges.files import replace_durably
from parityd.service.extras import day_extras
from parityd.service.turns import TurnDone
from parityd.store.entries import AuditDraft, Commit, ReportEntry

if TYPE_CHECKING:
    from datetime import time

    from parityd.service.brain import Brain

_PER_CHECK = 32
SHELVES_A_DAY = 96
LATE_DAYS = 30
_VOLATILE = ("generated_at", "revision")


def digest(report: dict[str, Any]) -> str:
    """Of the numbers alone: what stands, findings and times of making do not make a revision."""
    kept = {k: v for k, v in report.items() if k not in _VOLATILE}
    strategies = {}
    for name, s in report["strategies"].items():
        strategies[name] = {
            k: v
            for k, v in s.items()
            if k
            not in (
                "level",
                "grade",
                "action",
                "would_be_action",
                "evidence",
                "findings",
                "streaks",
                "drift",
                "quality_score",
                "watermarks",
                "quality_grade",
            )
        }
        strategies[name]["metrics"] = {k: v for k, v in s["metrics"].items() if k != "cumulative_drift_bps"}
        strategies[name]["series"] = {k: v for k, v in s.get("series", {}).items() if k != "drift"}
    kept["strategies"] = strategies
    return hashlib.sha256(msgspec.json.encode(kept, order="sorted")).hexdigest()


class Reporter:
    """Makes, revises and writes the reports of days."""

    def __init__(self, brain: Brain) -> None:
        self.brain = brain
        self.unwritten: list[tuple[str, bytes, bytes | None]] = []
        known = brain.store.reports()
        self.last_day = max((r.day for r in known), default=None)
        self.last_made_ns = max((r.generated_ns for r in known), default=None)

    def make(self, day: str, now: int, revision: int = 1) -> dict[str, Any]:
        b = self.brain
        standing, waiting = dict(b.view.strategies), b.facts().waiting
        report = day_report(
            b.v.m,
            day,
            now,
            waiting=waiting,
            standing=standing,
            extras=day_extras(b.v.m, b.store, day, now, self._parity(day), b.v.gauges, waiting=waiting),
            revision=revision,
        )
        start = day_start(day)
        report["data_quality"] = {"refused": b.store.refusals_of(start, start + DAY_NS - 1)}
        for name, entry in report["strategies"].items():
            pulses = b.v.m.strategies[name].memory.pulses
            entry["watermarks"] = {book: rfc3339(p.watermark) if p.watermark != NO_TS else None for book, p in pulses.items()}
        return report

    def _parity(self, day: str) -> dict[str, dict[str, float | None]]:
        """Decision and action parity of the day's own decisions, by strategy and of all."""
        v, start = self.brain.v, day_start(day)
        found = {name: v.gauges_of(name).compared_in(s, start, start + DAY_NS - 1) for name, s in v.m.strategies.items()}
        return {ALL: parities(found.values())} | {name: parities([one]) for name, one in found.items()}

    def revise(self, day: str, now: int) -> tuple[dict[str, Any], bool]:
        """The day's report with its right revision, and whether it is a new one."""
        last = self.brain.store.report(day)
        report = self.make(day, now, 1 if last is None else last.revision)
        if last is None:
            return report, True
        if last.digest == digest(report):
            return report, False
        return {**report, "revision": last.revision + 1}, True

    def into(self, c: Commit, day: str, now: int) -> dict[str, Any]:
        """The report of a day, into this commit where it is new."""
        report, new = self.revise(day, now)
        if new:
            body = msgspec.json.format(msgspec.json.encode(report), indent=1)
            html = self.html(report)
            c.reports.append(
                ReportEntry(day=day, revision=report["revision"], json=body, html=html, generated_ns=now, digest=digest(report))
            )
            c.audit.append(
                AuditDraft(ts_ns=now, event="report.written", actor="parityd", data={"day": day, "revision": report["revision"]})
            )
            self.unwritten.append((day, body, html))
            self.last_day = max(day, self.last_day or day)
        return report

    def html(self, report: dict[str, Any]) -> bytes | None:
        from parityd.web.report_page import render

        return render(report)

    def reissue(self, c: Commit, now: int) -> None:
        """Reports already written whose days have changed since (at most once a check)."""
        changed: set[int] = set()
        for s in self.brain.v.m.strategies.values():
            changed |= s.books.changed_days
        known = {r.day for r in self.brain.store.reports()} if changed else set()
        for day in sorted(changed)[-_PER_CHECK:]:
            text = day_text(day * DAY_NS)
            if text in known:
                self.into(c, text, now)
        for s in self.brain.v.m.strategies.values():
            s.books.changed_days.clear()

    def due(self, now: int, at: time) -> list[str]:
        """Days whose reports should have been written while nobody ran. `at`: the time of day at which yesterday's is."""
        at_ns = (at.hour * 3600 + at.minute * 60 + at.second) * 1_000_000_000
        last = (now - at_ns) // DAY_NS - 1
        firsts = [s.books.summaries.first for s in self.brain.v.m.strategies.values()]
        oldest = min((n for n in firsts if n is not None), default=None)
        if oldest is None:
            return []
        known = {r.day for r in self.brain.store.reports()}
        first = max(oldest // SHELVES_A_DAY, last - LATE_DAYS)
        return [text for d in range(int(first), int(last) + 1) if (text := day_text(d * DAY_NS)) not in known]

    def write(self) -> list[str]:
        """Put what was committed into parity_reports/; returns the days."""
        folder = self.brain.settings.data_dir / "parity_reports"
        done = []
        for day, body, html in self.unwritten:
            replace_durably(folder / f"parity_report_{day}.json", body, 0o640)
            if html is not None:
                replace_durably(folder / f"parity_report_{day}.html", html, 0o640)
            done.append(day)
        self.unwritten.clear()
        return done

    def of_day(self, day: str, now: int) -> tuple[dict[str, Any], bool]:
        """Write the report of a day (CLI and schedule): (report, committed)."""
        from parityd.service import memory

        day_start(day)
        c = memory.gather(self.brain.v, self.brain.saved_names)
        report = self.into(c, day, now)
        c.events.append((now, "report", day.encode()))
        ok = self.brain.commit(c, TurnDone())
        if ok:
            self.write()
        return report, ok
