"""The desk that the web reads: the brain's view, the published files and the store, through connections of its own."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import numpy as np

from parityd import __version__
from parityd.core.instants import DAY_NS, day_start, day_text, rfc3339
from parityd.core.records import BOOKS, NO_TS
from parityd.core.report import day_report
from parityd.core.rows import SHELF_NS, shelf_of
from parityd.core.summary import classes
from parityd.core.trade_view import values, view
from parityd.core.window import settled_rows, settling
from parityd.service.recent import Recent
from parityd.service.workplace import App

Content = dict[str, Any]
KEPT_NS = 5_000_000_000
CHANGES, TRAIL = 50, 2000  # changes that are shown; entries of the trail that are looked through for those of before the start


class _Headline(msgspec.Struct):
    headline: str = ""


class DeskView:
    """Implements `web.desk.Desk`."""

    def __init__(self, app: App, started_ns: int) -> None:
        self.app = app
        self.started_ns = started_ns
        self.reasons: list[str] = ["starting: the files found are not evaluated yet"]
        self.lag: dict[str, float] = {}
        self.backlog: dict[str, int] = {}
        self.degraded: tuple[str, ...] = ()
        self.change = asyncio.Event()
        self.refused: dict[str, int] = {}
        self.ask: Callable[..., Any] | None = None  # the worker, where one runs: (job, seconds); blocks
        self.recent = Recent(app.brain, app.boottime)
        self.past = _changes(app)
        self._made: tuple[str, int, Content] | None = None

    def now(self) -> int:
        return self.app.now()

    def not_ready(self) -> list[str]:
        return list(self.reasons)

    def action(self) -> Content:
        """As published, with what was measured since."""
        published = dict(self.app.publisher.action)
        shown = self.app.brain.view.strategies
        strategies = dict(published.get("strategies", {}))
        for name, own in shown.items():
            entry = strategies.get(name)
            strategies[name] = (
                {**own, **{k: entry[k] for k in ("action", "trading_enabled", "size_multiplier", "reason", "override", "overrides")}}
                if entry
                else own
            )
        published["strategies"] = strategies
        return published

    def override(self) -> Content:
        return self.app.publisher.override

    def status(self) -> Content:
        b = self.app.brain
        v = b.view
        operators = b.operators
        return {
            "version": __version__, "instance": self.app.instance, "pid": os.getpid(), "started_at": rfc3339(self.started_ns),
            "uptime_seconds": max(0.0, (self.app.now() - self.started_ns) / 1e9), "advisory": not self.app.settings.auto_disable_on_drift,
            "ready": not self.reasons, "not_ready": list(self.reasons),
            "last_check": rfc3339(v.checked_ns) if v.checked_ns else None, "judged_at": rfc3339(b.now()), "last_report": b.reporter.last_day,
            "watermarks": self._watermarks(), "lag": dict(self.lag), "backlog": dict(self.backlog),
            "free_bytes": getattr(self, "free", None), "degraded": list(self.degraded), "withheld": list(self.app.publisher.reasons),
            "sequence": self.app.publisher.sequence, "decision_sequence": self.app.publisher.decision_sequence,
            "halts": [{"name": h.reason, "strategy": h.scope, "since": rfc3339(h.since_ns)} for h in operators.halts],
            "commands": [
                {"strategy": c.strategy, "command": c.command, "operator": c.operator, "reason": c.reason, "size_multiplier": c.size_multiplier,
                 "expires_at": rfc3339(c.expires_ns) if c.expires_ns is not None else None, "since": rfc3339(c.accepted_ns)}
                for c in operators.commands
            ],
            "last_actions": [*reversed([_change(x.ts, x.strategy, x.before, x.after, x.reason) for x in v.changes[-CHANGES:]]), *self.past][:CHANGES],
            "refused": dict(self.refused),
        }  # fmt: skip

    def _watermarks(self) -> dict[str, str | None]:
        """By book: the newest that any strategy has reached."""
        memories = [s.memory for s in list(self.app.brain.v.m.strategies.values())]
        newest = {book: max((m.pulses[book].watermark for m in memories), default=NO_TS) for book in BOOKS}
        return {book: None if t == NO_TS else rfc3339(t) for book, t in newest.items()}

    def series(self, name: str) -> Content:
        """What the charts of a strategy's page show. Blocks for a moment."""
        return self.recent.of(name, self.ask)

    def strategy(self, name: str) -> Content | None:
        entry = self.action()["strategies"].get(name)
        return None if entry is None else dict(entry)

    # --- blocking: called in threads ------------------------------------------------------------------------------

    def trades(self, strategy: str | None, day: str | None, limit: int, cursor: str | None) -> tuple[list[Content], str | None]:
        """Newest first, from the store."""
        at_shelf, at_place, at_strategy = _cursor(cursor)
        m = self.app.brain.v.m
        names = [strategy] if strategy else sorted(m.strategies)
        days = (day_start(day), day_start(day) + DAY_NS - 1) if day else (-(2**62), 2**62)
        with self.app.store.reader() as reader:
            out: list[Content] = []
            numbers = sorted(
                {
                    (k, n)
                    for n in names
                    if n in m.strategies
                    for k in list(m.strategies[n].books.summaries)
                    if shelf_of(days[0]) <= k <= shelf_of(days[1])
                },
                reverse=True,
            )
            for number, name in numbers:
                if cursor is not None and (number, name) > (at_shelf, at_strategy):
                    continue
                s = m.strategies[name]
                shelf = reader.load_shelf(name, number)
                r = shelf.rows
                kinds = classes(r)
                places = np.flatnonzero((kinds[0] | kinds[1] | kinds[2] | kinds[3]) & (r["t"] >= days[0]) & (r["t"] <= days[1]))
                order = places[np.lexsort((places, r["t"][places]))][::-1]
                until = settling(s, m.parameters, self.app.brain.now(), waiting=False)
                done = settled_rows(r, until)
                for p in order.tolist():
                    key = (int(r["t"][p]), p)
                    if cursor is not None and (number, name) == (at_shelf, at_strategy) and key >= at_place:
                        continue
                    if len(out) == limit:
                        last = out[-1].pop("_at")
                        return [{k: v for k, v in x.items() if k != "_at"} for x in out], _encode(*last)
                    end = (int(r["t"][p]) // DAY_NS + 1) * DAY_NS - 1
                    price = float(values(r[p : p + 1], m.marks, end)[0])
                    out.append({**view(shelf, p, name, m.names, price, settled=bool(done[p])), "_at": (number, name, key)})
        return [{k: v for k, v in x.items() if k != "_at"} for x in out], None

    def report_days(self) -> list[Content]:
        with self.app.store.reader() as reader:
            out = []
            for r in reader.reports():
                document = reader.report(r.day)
                out.append(
                    {
                        "day": r.day,
                        "revision": r.revision,
                        "generated_at": rfc3339(r.generated_ns),
                        "headline": msgspec.json.decode(document.json, type=_Headline).headline if document is not None else "",
                    }
                )
        return sorted(out, key=lambda x: x["day"], reverse=True)

    def report(self, day: str) -> Content | None:
        with self.app.store.reader() as reader:
            found = reader.report(day)
        if found is None:
            return self._unwritten(day)
        content: Content = json.loads(found.json)
        return content

    def _unwritten(self, day: str) -> Content | None:
        """The report of a day that has trades and no report yet: made by the worker as of now, revision 0, and kept for a moment."""
        first, last = shelf_of(day_start(day)), shelf_of(day_start(day) + DAY_NS - 1)
        b, boot = self.app.brain, self.app.boottime()
        if self.ask is None or not any(first <= k <= last for s in list(b.v.m.strategies.values()) for k in list(s.books.summaries)):
            return None
        if self._made is None or self._made[0] != day or boot - self._made[1] > KEPT_NS:
            made = self.ask(lambda: _caught(lambda: b.reporter.make(day, b.now(), revision=0)))
            if isinstance(made, Exception):
                raise made
            self._made = (day, boot, made)
        return self._made[2]

    def report_html(self, day: str) -> bytes | None:
        with self.app.store.reader() as reader:
            found = reader.report(day)
        return None if found is None else found.html

    async def subscribe(self) -> AsyncIterator[Content]:
        while True:
            try:
                await asyncio.wait_for(self.change.wait(), 5)
                self.change = asyncio.Event() if self.change.is_set() else self.change
                yield {"type": "change"}
            except TimeoutError:
                yield {"type": "heartbeat"}


def _change(ts: int | str, strategy: str, before: str, after: str, reason: str) -> Content:
    return {"ts": ts if isinstance(ts, str) else rfc3339(ts), "strategy": strategy, "from": before, "to": after, "reason": reason}


def _changes(app: App) -> list[Content]:
    """The newest changes of action of the audit trail, newest first: those before this start."""
    last, _ = app.store.last_audit()
    told = [row for row in app.store.audit_rows(max(0, last - TRAIL)) if row["event"] == "action.changed"][-CHANGES:]
    return [
        _change(row["ts"], row["strategy"] or "*", row["data"]["from"], row["data"]["to"], row["data"]["reason"]) for row in reversed(told)
    ]


def _caught(job: Callable[[], Any]) -> Any:
    """What a job gives, or the exception it raised: a reader's question must not take the worker down."""
    try:
        return job()
    except Exception as e:  # noqa: BLE001  raised again where it was asked
        return e


def _encode(number: int, name: str, key: tuple[int, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, name, key[0], key[1]]).encode()).decode().rstrip("=")


def _cursor(text: str | None) -> tuple[int, tuple[int, int], str]:
    if text is None:
        return 0, (0, 0), ""
    try:
        number, name, t, p = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise ValueError("none of ours") from None
    if not isinstance(name, str) or any(type(n) is not int or abs(n) > 2**63 for n in (number, t, p)):
        raise ValueError("none of ours")
    return number, (t, p), name


__all__ = ["SHELF_NS", "DeskView", "day_report", "day_text"]
