"""What a store that takes another's place must not forget: stops, sequences, and the lines before which trades raise nothing."""

import msgspec

from parityd.core.commands import Halt
from parityd.core.instants import parse_time
from parityd.core.ladder_state import LadderState
from parityd.core.ladder_table import SEVERITY, worst
from parityd.core.records import NO_TS
from parityd.core.verdicts import Standing
from parityd.edges.halt import HaltState
from parityd.service.ops_backup import Backup
from parityd.service.ops_state import Past
from parityd.service.workplace import App
from parityd.settings import Settings

MARGIN = 100_000


def heavier(a: LadderState | None, b: LadderState | None) -> LadderState:
    """The more severe of two states of one strategy (`a` where they are as severe), with the latches of both."""
    if a is None or b is None:
        found = a if a is not None else b
        assert found is not None  # noqa: S101  one of them is there
        return found
    base = b if SEVERITY[b.action] > SEVERITY[a.action] else a
    codes = {latch.code for latch in base.latched}
    latched = (*base.latched, *(latch for latch in (*a.latched, *b.latched) if latch.code not in codes))
    action = worst(base.action, *(latch.action for latch in latched if not latch.held_back))
    reason = base.reason if action == base.action else next(latch.reason for latch in latched if latch.action == action)
    return msgspec.structs.replace(base, latched=latched, action=action, reason=reason, since_ns=max(a.since_ns, b.since_ns))


def merged(a: Past, b: Past, *, lost: bool) -> Past:
    """Both, the more careful of each; `a` is the newer."""
    names = {*a.standing.ladders, *b.standing.ladders}
    ladders = {name: heavier(a.standing.ladders.get(name), b.standing.ladders.get(name)) for name in names}
    commands = {(c.command, c.strategy, c.accepted_ns, c.content_hash): c for c in (*b.standing.commands, *a.standing.commands)}
    latches = {x.name: x for x in (*b.halts.latches, *a.halts.latches)}
    halts = HaltState(latches=tuple(latches[name] for name in sorted(latches)))
    standing = Standing(
        ladders=ladders, commands=sorted(commands.values(), key=lambda c: c.accepted_ns),
        halts=[Halt(scope=x.scope, reason=x.reason, since_ns=x.since_ns) for x in halts.latches],
        broken_store=lost or a.standing.broken_store or b.standing.broken_store, default_action=a.standing.default_action,
        first_start=a.standing.first_start or b.standing.first_start,
    )  # fmt: skip
    return Past(
        standing=standing, halts=halts, applied={**b.applied, **a.applied}, sequence=max(a.sequence, b.sequence),
        decision_sequence=max(a.decision_sequence, b.decision_sequence), instance=a.instance or b.instance, memories={**b.memories, **a.memories},
    )  # fmt: skip


def above(settings: Settings, past: Past, made: Backup | None, now_ns: int) -> tuple[int, int]:
    """Sequences that nobody can have seen."""
    sequence, decision = past.sequence, past.decision_sequence
    if made is not None:
        sequence, decision = max(sequence, made.sequence), max(decision, made.decision_sequence)
    if not (settings.data_dir / "system_actions/trading_override.json").exists():
        since = now_ns - parse_time(made.created) if made is not None else 0
        sequence += MARGIN + max(0, round(2 * since / 1e9 / settings.publish.interval))
        decision += MARGIN
    return sequence + 1, decision + 1


def remember(app: App, past: Past) -> None:
    """What no record tells of a strategy: what was published for it, and when."""
    for name, memory in past.memories.items():
        s = app.brain.v.m.strategy(name)
        if memory.publications.version > s.memory.publications.version:
            s.memory.publications = memory.publications


def lines(app: App) -> None:
    """The lines before which trades raise nothing, as the ladders have them."""
    for name, state in app.brain.v.standing.ladders.items():
        s = app.brain.v.m.strategies.get(name)
        if s is not None:
            s.memory.line = max(s.memory.line, state.line or NO_TS, state.reset_ns or NO_TS)
