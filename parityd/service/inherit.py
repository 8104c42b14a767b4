"""What a new or older store must not forget: the stops, the operators' words and the applied commands that the files still tell of.

1. Only what lowers is taken over, and the memory of commands that were applied once: nothing here can raise risk.
2. A stop taken over leaves as any other of its kind: a latch and a lost HALT by `reset`, a command by its end or by `reset`.
3. What the store holds itself is kept as it is.
"""

from pathlib import Path

import msgspec

from parityd.core.commands import Halt
from parityd.edges.halt import HaltState
from parityd.service.brain import Brain
from parityd.service.ops_state import past_of_files
from parityd.service.turns import Operators


def inherit(brain: Brain, data_dir: Path) -> None:
    """Put it into the state; the caller commits."""
    past = past_of_files(data_dir)
    standing = brain.v.standing
    for name, ladder in past.standing.ladders.items():
        brain.v.m.strategy(name)
        if not brain.v.ladder(name).latched:
            standing.ladders[name] = ladder
    known = {(c.command, c.strategy, c.accepted_ns // 1000) for c in standing.commands}
    standing.commands += [c for c in past.standing.commands if (c.command, c.strategy, c.accepted_ns // 1000) not in known]
    blob = brain.store.state("halts")
    latches = {one.name: one for one in past.halts.latches}
    latches |= {one.name: one for one in (msgspec.json.decode(blob, type=HaltState).latches if blob else ())}
    halts = HaltState(latches=tuple(latches[name] for name in sorted(latches)))
    standing.halts = [Halt(scope=one.scope, reason=one.reason, since_ns=one.since_ns) for one in halts.latches]
    applied = brain.store.state("commands/applied")
    once = past.applied | (msgspec.json.decode(applied, type=dict[str, str]) if applied else {})
    brain.extra_states["halts"] = msgspec.json.encode(halts)
    brain.extra_states["commands/applied"] = msgspec.json.encode(once)
    brain.operators = Operators(tuple(standing.halts), tuple(standing.commands))
