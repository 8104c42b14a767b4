"""What operators asked for, kept: an accepted command, halts as the watch sees them.

1. Only the worker's thread calls in here. Each is one transaction: the state, its lines of audit, the event that a replay obeys again, and
   the states that the caller wants stored with it.
2. What lowers was published by the watch already, and is in force; here it is stored, judged with, and told in full.
3. A commit that fails leaves no trace (`failed`): the caller comes again.
"""

import msgspec

from parityd.core.commands import Command, Halt
from parityd.service import memory, trail
from parityd.service.brain import Brain
from parityd.service.turns import TurnDone


def command(b: Brain, c: Command, name: str, states: dict[str, bytes] | None = None) -> TurnDone:
    """An accepted command. `name`: of the file that said it, for the audit."""
    now = b.now()
    b.v.obey(c, now)
    done, commit = TurnDone(), memory.gather(b.v, b.saved_names)
    commit.audit.append(trail.applied(c, name, now))
    commit.events.append((now, "command", msgspec.json.encode(c)))
    commit.states |= states or {}
    if b.commit(commit, done):
        b.swap_commands()
        if c.command == "reset":
            more = b.check(now=now, report_due=False, recorded=False)
        else:
            more = b.conclude(now, sorted(b.v.m.strategies), "command", reports=False)
        done.changes += more.changes
    return done


def halted(
    b: Brain, halts: tuple[Halt, ...], raised: list[tuple[str, str]], lifted: list[tuple[str, str]], states: dict[str, bytes] | None = None
) -> TurnDone:
    """All halts that stand now. `raised` and `lifted`: (scope, name of the file)."""
    now = b.now()
    b.v.standing.halts = list(halts)
    done, commit = TurnDone(), memory.gather(b.v, b.saved_names)
    commit.states |= states or {}
    commit.audit += trail.halts(raised, lifted, now)
    commit.events.append((now, "halts", msgspec.json.encode(halts)))
    if b.commit(commit, done):
        b.swap_commands()
        done.changes += b.conclude(now, [], "halt", reports=False).changes
    return done
