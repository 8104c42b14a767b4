"""Findings of every strategy -> what is published: the turn of judgement (JUDGEMENT 3 to 5).

1. `scan` judges the strategies that a batch touched and can only raise; `check` judges all, closes periods, raises and lowers.
2. What comes back are changes, each with one sentence; nothing here writes, logs or reads a clock.
3. All that must survive a restart is in `Standing`: ladder states, commands, halts. What is measured is measured again.
4. The top level is the most severe entry; a stop for all is in every entry and in `default`.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import msgspec

from parityd.core.assessing import Assessed, Facts, assess_period, assess_strategy, shadow_period, shadow_trial
from parityd.core.commands import ALL, Command, Halt, Moment, after_reset, ended, outlasts
from parityd.core.evidence import Finding
from parityd.core.findings import grade
from parityd.core.gauges import Gauges, Past
from parityd.core.in_force import InForce
from parityd.core.instants import day_text, rfc3339
from parityd.core.ladder import on_check, on_clock, on_enable, on_period_closed, on_reset, on_scan
from parityd.core.ladder_escalation import closing
from parityd.core.ladder_recovery import Trial
from parityd.core.ladder_state import LadderState, Outcome
from parityd.core.ladder_table import worst
from parityd.core.monitor import Monitor
from parityd.core.publication import Basis
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.returns import Columns
from parityd.core.rows import NOWHEN, SHELF_NS
from parityd.core.window import settling

FEW = 200  # rows of a strategy that were written
ROOM = 256 << 20  # bytes that the ledgers' columns of all strategies may take between two looks


class Standing(msgspec.Struct):
    """What stands, and must stand again after a restart."""

    ladders: dict[str, LadderState] = msgspec.field(default_factory=dict)
    commands: list[Command] = msgspec.field(default_factory=list)
    halts: list[Halt] = msgspec.field(default_factory=list)
    broken_store: bool = False
    default_action: str = "CONTINUE"  # [publish] unknown_strategy
    first_start: str = ""  # DISABLE_TRADING until `init`, where configured


class Change(msgspec.Struct, frozen=True):
    """One change of a published action (or of a force_enable's standing), with its reason."""

    ts: int
    strategy: str
    before: str
    after: str
    reason: str


class Verdicts:
    """The judgement's state and its turns."""

    def __init__(self, monitor: Monitor, standing: Standing) -> None:
        self.m = monitor
        self.standing = standing
        self.assessed: dict[str, Assessed] = {}
        self.published: dict[str, str] = {}  # action in force a strategy, as of the last look
        self.gauges: dict[str, Gauges] = {}
        self.past: Past | None = None  # stored decisions, for decision parity
        self.saved: dict[str, bytes] = {}  # blobs as stored last
        self.ended: list[tuple[str, str]] = []  # force_enables that ended: (strategy, why)

    # --- turns --------------------------------------------------------------------------------------------------

    def scan(self, names: Iterable[str], now: int, facts: Facts) -> None:
        """Judge the touched strategies; they can only rise."""
        for name in names:
            found = self._assess(name, now, facts)
            self._take(name, on_scan(self.ladder(name), found.findings, now, self.m.parameters.of(name)))

    def keep_up(self, names: Iterable[str], now: int) -> None:
        """Between the files of a backlog: let the drift streams read what both watermarks have passed, while it is in memory; few rows can wait."""
        for name in names:
            s, gauges = self.m.strategies[name], self.gauges_of(name)
            if s.books.written - gauges.written < FEW:
                continue
            gauges.written = s.books.written
            gauges.feed.keep_up(s, settling(s, self.m.parameters, now, waiting=True, backlog=True))

    def check(self, now: int, facts: Facts) -> None:
        """The check of every strategy: closed periods first, then the window."""
        for name in sorted(self.m.strategies):
            self._close_periods(name, now, facts)
            found = self._assess(name, now, facts)
            p = self.m.parameters
            state = self.ladder(name)
            trial = None if state.rung == "CONTINUE" else Trial(assessment=found.assessment, fresh=found.fresh(state.rung_ns))
            shadow = shadow_trial(self.m, self.m.strategies[name], state, now)
            outcome = on_check(state, found.findings, now, p.of(name), p.recovery, trial=trial, shadow=shadow)
            self._take(name, outcome)

    def check_only(self, now: int, facts: Facts) -> None:
        """Measure every strategy without moving anything: for a report."""
        for name in sorted(self.m.strategies):
            self._assess(name, now, facts)

    def _close_periods(self, name: str, now: int, facts: Facts) -> None:
        p, s = self.m.parameters, self.m.strategies[name]
        shelves = s.books.summaries.order
        at = bisect_right(shelves, NOWHEN)
        if at == len(shelves):
            return
        oldest = shelves[at]
        first = day_text(max(oldest * SHELF_NS, s.memory.imported_until))
        marks = tuple(None if s.memory.pulses[b].watermark == NO_TS else s.memory.pulses[b].watermark for b in (LIVE, BACKTEST))
        state = self.ladder(name)
        for day in closing(first, state.closed, (marks[0], marks[1]), now, p.before(name, now, p.matching.grace)):
            findings = assess_period(self.m, s, day, now, facts, state.reset_ns)
            paper = shadow_period(self.m, s, self.ladder(name), day, now)
            self._take(name, on_period_closed(self.ladder(name), day, findings, now, p.of(name), p.escalation, shadow=paper))

    def _assess(self, name: str, now: int, facts: Facts) -> Assessed:
        found = assess_strategy(self.m, self.m.strategies[name], now, facts, self.gauges_of(name), self.ladder(name).reset_ns)
        self.assessed[name] = found
        self.m.strategies[name].books.evict()
        gauges = self.gauges_of(name)
        if gauges.columns.tape.size * len(self.m.strategies) > ROOM:
            gauges.columns = Columns()
        return found

    def _take(self, name: str, outcome: Outcome) -> None:
        if outcome.ended:
            self.ended.append((name, outcome.ended))
        self.standing.ladders[name] = outcome.state
        self.m.strategies[name].memory.line = max(outcome.state.line or NO_TS, outcome.state.reset_ns or NO_TS)

    def gauges_of(self, name: str) -> Gauges:
        found = self.gauges.get(name)
        if found is None:
            s = self.m.strategies[name]
            found = self.gauges[name] = Gauges(s, self.m.parameters)
            if len(s.memory.decided) > 1 and self.past is not None:
                found.fill(s, self.m.instruments, self.m.names, self.past)
        return found

    def ladder(self, name: str) -> LadderState:
        found = self.standing.ladders.get(name)
        if found is None:
            found = self.standing.ladders[name] = LadderState(strategy=name, advisory=self.m.parameters.of(name).advisory)
        return found

    # --- operators ----------------------------------------------------------------------------------------------

    def obey(self, command: Command, now: int) -> None:
        """An accepted command takes its place."""
        scope = command.strategy
        names = sorted(self.m.strategies) if scope == ALL else [scope]
        if command.command == "reset":
            self.standing.commands = list(after_reset(self.standing.commands, scope))
            for name in names:
                if name in self.m.strategies:
                    self._take(name, on_reset(self.ladder(name), now))
            if command.acknowledge == "BROKEN_STORE" and scope == ALL:
                self.standing.broken_store = False
        elif command.command == "init":
            self.standing.first_start = ""
        elif command.command == "force_enable":
            for name in names:
                if name in self.m.strategies:
                    self._take(name, on_enable(self.ladder(name), command))
        elif not any(outlasts(one, command) for one in self.standing.commands):
            self.standing.commands.append(command)

    def tick(self, moment: Moment) -> list[Command]:
        """Let go of what has ended by both clocks; returns the commands that ended."""
        over = [c for c in self.standing.commands if ended(c, moment)]
        if over:
            self.standing.commands = [c for c in self.standing.commands if not ended(c, moment)]
        for name, state in list(self.standing.ladders.items()):
            if state.enable is not None and name in self.m.strategies:
                self._take(name, on_clock(state, moment))
        return over

    # --- what is published --------------------------------------------------------------------------------------

    def basis(self) -> Basis:
        """What publication needs of the judgement, as one immutable piece."""
        st = self.standing
        terms = {name: self.m.parameters.of(name).thresholds.reduce_to for name in self.m.strategies}
        return Basis(
            ladders={name: self.ladder(name) for name in self.m.strategies}, reduce_to=terms, general_reduce_to=self.m.parameters.thresholds.reduce_to,
            default_action=st.default_action, broken_store=st.broken_store, first_start=st.first_start,
        )  # fmt: skip

    def changes(self, entries: dict[str, InForce], default: InForce, ts: int) -> list[Change]:
        """What changed since the last look, and remember it."""
        now = {**{k: f"{v.action} {v.size_multiplier:g}" for k, v in entries.items()}, ALL: f"{default.action} {default.size_multiplier:g}"}
        out = []
        for name, said in now.items():
            before = self.published.get(name, "CONTINUE 1")
            if before.split()[0] != said.split()[0]:
                entry = default if name == ALL else entries[name]
                out.append(Change(ts, name, before.split()[0], entry.action, entry.reason))
        self.published = now
        return out

    def action_entry(self, name: str, entry: InForce) -> dict[str, Any]:
        """One strategy's part of parity_action.json."""
        state = self.ladder(name) if name in self.m.strategies else LadderState(strategy=name)
        found = self.assessed.get(name)
        metrics = dict(found.metrics) if found is not None else {}
        return {
            "level": state.level,
            "grade": self._grade(name, state, found),
            "action": entry.action,
            "would_be_action": _worse(entry.action, state.would_be),
            "trading_enabled": entry.trading_enabled,
            "size_multiplier": entry.size_multiplier,
            "reason": entry.reason,
            "since": _since(state, entry),
            "evidence": found.assessment.evidence if found is not None else "insufficient",
            "findings": [finding(f) for f in state.findings],
            "trades": dict(found.trades)
            if found is not None
            else dict.fromkeys(("matched", "missed", "unexpected", "pending", "suppressed", "ambiguous"), 0),
            "metrics": metrics,
            "attribution": dict(found.attribution) if found is not None else {},
            "quality_score": metrics.get("quality_score"),
            "quality_grade": found.quality_grade if found is not None else None,
            "streaks": state.streaks,
            "latched": [{"code": x.code, "action": x.action, "since": rfc3339(x.since_ns), "reason": x.reason} for x in state.latched],
            "override": entry.override,
            "overrides": list(entry.overrides),
            "drift": found.drift if found is not None else None,
            "acknowledged_sequence": self._acknowledged(name),
        }

    def _acknowledged(self, name: str) -> int | None:
        s = self.m.strategies.get(name)
        return s.live.acknowledged if s is not None and s.live.acknowledged >= 0 else None

    def _grade(self, name: str, state: LadderState, found: Assessed | None) -> str | None:
        if found is None:
            return None
        t = found.trades
        return grade(
            level=state.level, evidence=found.assessment.evidence, tracking_error_bps=found.metrics.get("tracking_error_bps"), pending=t["pending"],
            settled=t["matched"] + t["missed"] + t["unexpected"], match_rate=found.metrics.get("match_rate"), thresholds=self.m.parameters.of(name).thresholds,
        )  # fmt: skip


def finding(f: Finding) -> dict[str, Any]:
    return {"code": f.code, "level": f.level, "value": f.value, "threshold": f.threshold, "detail": f.detail}


def _since(state: LadderState, entry: InForce) -> str | None:
    """Since when the action in force stands: the ladder's, or the operator's word that stands in its place."""
    if entry.action != state.action and entry.override is not None:
        return str(entry.override["since"])
    return rfc3339(state.since_ns) if state.since_ns else None


def _worse(a: str, b: str) -> str:
    return worst(a, b)
