"""What people are told and when: audit rows and what is in force -> notices, waiting in an outbox until each channel has them.

1. A change of action is told once. What a strategy was told last is kept, so that a restart neither repeats nor forgets.
2. REDUCE_SIZE is told again every 4 h and a stop every 15 min, until it is left or an operator who gives a name has sent a command after it
   (or caused it by one). A HALT names nobody: it is told again.
3. At most 4 changes an hour and strategy, the rest in one digest; what leads into or out of a stop is never held back.
4. A stop is told before its row is stored; the row, when it comes, tells nothing new. Rows older than a day move what is known, silently.
5. Times are wall clock, ns; one that lies ahead of `now` (the clock was put back) counts as `now`. It reads no clock and sends nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from parityd.core import notices_text as text
from parityd.core.commands import ALL, concerns
from parityd.core.instants import DAY_NS, day_start, parse_time
from parityd.core.ladder_table import SEVERITY
from parityd.core.notices_book import Book, Entry, Move, Notice, Quota, Told
from parityd.core.notices_text import Words

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
AGAIN_NS: Mapping[str, int] = {"REDUCE_SIZE": 4 * HOUR_NS, "DISABLE_TRADING": 15 * MINUTE_NS, "EMERGENCY_STOP": 15 * MINUTE_NS}
QUOTA: Mapping[str, int] = {"change": 4, "override": 12, "refused": 4}
KEPT_NS = 3 * DAY_NS  # an undelivered notice is given up after this
OUTBOX = 500
STOP = SEVERITY["DISABLE_TRADING"]


class Desk:
    """The policy over one book. `channels`: the keys of those who are told. One thread at a time."""

    def __init__(self, book: Book, words: Words, report_of: Callable[[str], Mapping[str, Any] | None]) -> None:
        self.book, self.words, self.report_of = book, words, report_of
        self.channels: list[str] = []

    # --- what happened ----------------------------------------------------------------------------------------------

    def fold(self, rows: Iterable[Mapping[str, Any]], present: Mapping[str, Entry], now: int, *, whole: bool = True) -> None:
        """Audit rows after the cursor, then (`whole`: no row is left) what is in force: an end that no row tells is told from that."""
        moves: list[Move] = []
        days: list[str] = []
        refused: list[Mapping[str, Any]] = []
        for row in rows:
            self.book.cursor = row["sequence"]
            ts = parse_time(row["ts"])
            quiet = not now - DAY_NS <= ts
            if row["event"] == "action.changed":
                self._moved(row, ts, present, moves, quiet=quiet)
            elif row["event"] == "override.refused":
                refused += [] if quiet else [row["data"]]
            elif row["event"] == "report.written":
                days += self._report_due(row["data"], ts, now)
            else:
                self._overridden(row, ts, now, quiet=quiet)
        self._tell(moves, now)
        if whole:
            self._tell(self._missing(present, now), now)
        self._refused(refused, now)
        if days:
            self._report(max(days), now)

    def published(self, present: Mapping[str, Entry], now: int) -> bool:
        """Stops that have just been published, before they are stored. True where one was news."""
        moves = []
        for name, entry in present.items():
            told = self.book.strategies.get(name, Told())
            if told.unbooked and SEVERITY[entry.action] < SEVERITY[told.action]:
                told.unbooked = False
            if SEVERITY[entry.action] >= STOP and SEVERITY[entry.action] > SEVERITY[told.action]:
                moves.append(self._move(name, told.action, entry.action, entry.reason, now))
                self.book.strategies[name].unbooked = True
        self._tell(moves, now)
        return bool(moves)

    def lapsed(self, reasons: Sequence[str], on_expiry: str, now: int) -> None:
        """Whether the last publication has run out ([] = it has not): to every engine that is a stop."""
        lapse = self.book.lapse
        if reasons and lapse is None:
            self.book.lapse = Told(action=on_expiry, reason="; ".join(reasons), since_ns=now, told_ns=now)
            self._put("stop", *self.words.lapse(on_expiry, reasons, now), now, urgent=True)
        elif not reasons and lapse is not None:
            self.book.lapse = None
            self._put("recovery", *self.words.lapse_over(lapse.since_ns, now), now, urgent=True)

    def due(self, now: int) -> None:
        """Reminders and digests whose time has come; undelivered notices whose time is over."""
        self._remind(now)
        for name, quota in self.book.quotas.items():
            kind, _, who = name.partition("/")
            if quota.held and not self._full(quota, kind, now):
                told = self.book.strategies.get(who)
                self._put(
                    "digest", *self.words.digest(kind, who, quota.held, quota.held_ns, quota.last, told.action if told else "", now), now
                )
                quota.sent.append(now)
                quota.held = 0
        self.book.quotas = {k: q for k, q in self.book.quotas.items() if q.held or (q.sent and now - max(q.sent) < HOUR_NS)}
        kept = [n for n in self.book.outbox if n.pending and (n.urgent or now - n.ts_ns <= KEPT_NS)]
        self.book.dropped += sum(1 for n in self.book.outbox if n.pending) - len(kept)
        self.book.outbox = kept

    # --- the outbox -------------------------------------------------------------------------------------------------

    def waiting(self, channel: str, tried: Mapping[int, int]) -> Notice | None:
        """The next notice for a channel: stops first, then what was tried least, then the oldest."""
        mine = [n for n in self.book.outbox if channel in n.pending]
        return min(mine, key=lambda n: (not n.urgent, tried.get(n.id, 0), n.id), default=None)

    def delivered(self, number: int, channel: str) -> None:
        for n in self.book.outbox:
            if n.id == number and channel in n.pending:
                n.pending.remove(channel)
        self.book.outbox = [n for n in self.book.outbox if n.pending]

    def serve(self, channels: Sequence[str]) -> None:
        """These are told from now on; what waited for others is dropped."""
        self.channels = list(dict.fromkeys(channels))
        for n in self.book.outbox:
            n.pending = [c for c in n.pending if c in self.channels]
        self.book.outbox = [n for n in self.book.outbox if n.pending]

    def _put(self, kind: str, title: str, body: str, now: int, *, urgent: bool = False, key: str = "") -> None:
        if not self.channels:
            return
        self.book.number += 1
        number = self.book.number
        if key:
            self.book.outbox = [n for n in self.book.outbox if n.key != key]
        if len(self.book.outbox) >= OUTBOX:  # the oldest that is no stop makes room
            self.book.outbox.remove(min(self.book.outbox, key=lambda n: (n.urgent, n.id)))
            self.book.dropped += 1
        self.book.outbox.append(
            Notice(id=number, ts_ns=now, kind=kind, title=title, body=self.words.signed(body, number), key=key, urgent=urgent, pending=list(self.channels))
        )  # fmt: skip

    # --- changes of action ------------------------------------------------------------------------------------------

    def _moved(self, row: Mapping[str, Any], ts: int, present: Mapping[str, Entry], moves: list[Move], *, quiet: bool) -> None:
        name, data = row["strategy"], row["data"]
        told = self.book.strategies.get(name, Told())
        if data["to"] == told.action:
            told.unbooked = False
            return
        if self._as_for_all(name, data["to"], data["reason"]):
            return
        ahead = name in present and present[name].action == told.action and SEVERITY[data["to"]] < SEVERITY[told.action]
        if told.unbooked and ahead:
            return  # a row from before the stop that has been told already
        move = self._move(name, told.action, data["to"], data["reason"], ts)
        self.book.strategies[name].acknowledged = data.get("by") == "command" and self.book.signed
        if not quiet:
            moves.append(move)

    def _missing(self, present: Mapping[str, Entry], now: int) -> list[Move]:
        """What is in force and was not told; what was told of names that nothing is in force for any more."""
        moves = []
        default = present.get(ALL, Entry("CONTINUE", ""))
        for name in [*present, *(k for k in self.book.strategies if k not in present)]:
            told, entry = self.book.strategies.get(name, Told()), present.get(name, default)
            if told.action != entry.action and not self._as_for_all(name, entry.action, entry.reason):
                moves.append(self._move(name, told.action, entry.action, entry.reason, now))
            if name not in present:
                self.book.strategies.pop(name, None)
        return moves

    def _as_for_all(self, name: str, action: str, reason: str) -> bool:
        """A strategy first heard of under a stop for all that has been told is no news."""
        common = self.book.strategies.get(ALL)
        if name in self.book.strategies or common is None or (common.action, common.reason) != (action, reason):
            return False
        self.book.strategies[name] = msgspec.structs.replace(common)
        return True

    def _move(self, name: str, before: str, after: str, reason: str, ts: int) -> Move:
        self.book.strategies[name] = Told(action=after, reason=reason, since_ns=ts, told_ns=ts)
        return Move(name, before, after, reason, ts)

    def _tell(self, moves: Sequence[Move], now: int) -> None:
        """One notice for those that share action and reason; held back where a strategy has had its share of the hour."""
        groups: dict[tuple[str, str, bool], list[Move]] = {}
        for m in moves:
            stop = SEVERITY[m.before] >= STOP or SEVERITY[m.after] >= STOP
            self.book.strategies.setdefault(m.strategy, Told()).told_ns = now
            if stop or self._admitted(f"change/{m.strategy}", now, f"{m.after}: {m.reason}"):
                groups.setdefault((m.after, m.reason, SEVERITY[m.after] < SEVERITY[m.before]), []).append(m)
        for (after, _, falls), found in groups.items():
            stop = any(SEVERITY[m.before] >= STOP for m in found) or SEVERITY[after] >= STOP
            kind = "recovery" if falls else "stop" if SEVERITY[after] >= STOP else "change"
            self._put(kind, *self.words.change(found), now, urgent=stop)

    def _remind(self, now: int) -> None:
        groups: dict[tuple[str, str], list[tuple[str, Told]]] = {}
        for name, told in self.book.strategies.items():
            if self._again(told, now):
                groups.setdefault((told.action, told.reason), []).append((name, told))
        for (action, reason), found in groups.items():
            since = min(told.since_ns for _, told in found)
            said = self.words.reminder([name for name, _ in found], action, reason, since, now)
            self._put("reminder", *said, now, urgent=SEVERITY[action] >= STOP, key=f"reminder/{action}/{reason}")
        lapse = self.book.lapse
        if lapse is not None and self._again(lapse, now):
            self._put("reminder", *self.words.lapse(lapse.action, [lapse.reason], lapse.since_ns), now, urgent=True, key="reminder/lapse")

    def _again(self, told: Told, now: int) -> bool:
        """Whether this is to be said again; if so it counts as said now."""
        told.told_ns = min(told.told_ns, now)
        if told.acknowledged or told.action not in AGAIN_NS or now - told.told_ns < AGAIN_NS[told.action]:
            return False
        told.told_ns = now
        return True

    def _admitted(self, name: str, now: int, said: str) -> bool:
        quota = self.book.quotas.setdefault(name, Quota())
        if not quota.held and not self._full(quota, name.partition("/")[0], now):
            quota.sent.append(now)
            return True
        if not quota.held:
            quota.held_ns = now
        quota.held += 1
        quota.last = said
        return False

    def _full(self, quota: Quota, kind: str, now: int) -> bool:
        quota.sent = [min(t, now) for t in quota.sent if now - t < HOUR_NS]
        return len(quota.sent) >= QUOTA[kind]

    # --- operators and reports --------------------------------------------------------------------------------------

    def _overridden(self, row: Mapping[str, Any], ts: int, now: int, *, quiet: bool) -> None:
        if row["event"] not in text.OVERRIDES:
            return
        if row["event"] == "override.applied":
            self.book.signed = row["actor"] not in ("", "unknown")
            if self.book.signed:
                for name, told in self.book.strategies.items():
                    told.acknowledged |= concerns(str(row["data"].get("strategy") or row["strategy"] or ALL), name)
        said = self.words.override(row, ts)
        if not quiet and self._admitted("override/", now, said[0]):
            self._put("override", *said, now)

    def _refused(self, found: Sequence[Mapping[str, Any]], now: int) -> None:
        """Refused commands of one look are one notice."""
        if found and self._admitted("refused/", now, str(found[-1].get("reason", ""))):
            self._put("refused", *self.words.refused(found), now)

    def _report_due(self, data: Mapping[str, Any], ts: int, now: int) -> list[str]:
        """The day, where it is over, recent and not told yet."""
        day = str(data.get("day", ""))
        end = day_start(day) + DAY_NS
        return [day] if end <= ts and now - end <= 2 * DAY_NS and day > self.book.report_day else []

    def _report(self, day: str, now: int) -> None:
        report = self.report_of(day)
        if report is not None:
            self.book.report_day = day
            self._put("report", *self.words.report(report), now)


__all__ = ["AGAIN_NS", "HOUR_NS", "MINUTE_NS", "Book", "Desk", "Entry", "Notice", "Words"]
