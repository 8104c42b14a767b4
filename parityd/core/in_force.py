"""What is in force for one strategy: HALT, commands, latched stops and the ladder, by one table.

1. `IN_FORCE` is looked up with the operator's most severe word, what stands in for the judgement, and the ladder's action. It is total.
2. A HALT of the strategy or of all is above everything; lowering commands only ever add; a broken store disables until it is reset.
3. A force_enable stands in for the ladder up to the action that stood when it was accepted, for a latched stop only if it acknowledged it; what
   lies under it holds at once when either clock ends it.
4. The size is the smallest of what is asked: `reduce_to` where the ladder reduces, each reduce_size's own; 1 where trading is whole, 0 where
   it is stopped. A reduce_size without a usable size disables.
5. It keeps nothing: the same records give the same answer, after a restart too.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from parityd.core.commands import Command, Halt, Moment, concerns, ended
from parityd.core.instants import rfc3339
from parityd.core.ladder_state import Enable
from parityd.core.ladder_table import EFFECTS, IN_FORCE, OPERATOR, SEVERITY

BROKEN_STORE = "the store could not be read: trading is disabled until a reset that acknowledges BROKEN_STORE"


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of what is published. `override`: the operator's word that decides, else the first that stands; None where there is none.

    `overrides`: all that stand, in order of severity.
    """

    action: str
    trading_enabled: bool
    size_multiplier: float
    reason: str
    override: dict[str, Any] | None = None
    overrides: tuple[dict[str, Any], ...] = ()

    @property
    def severity(self) -> tuple[int, float]:
        """Orders entries: the action first, then the smaller size."""
        return SEVERITY[self.action], -self.size_multiplier


def in_force(
    strategy: str,
    *,
    ladder: str,
    reason: str,
    reduce_to: float,
    moment: Moment,
    halts: Iterable[Halt] = (),
    commands: Iterable[Command] = (),
    enable: Enable | None = None,
    latched: str | None = None,
    broken_store: bool = False,
) -> InForce:
    """The entry of one strategy (`*`: of all that are not known, whose `ladder` is the configured action and which nothing enables).

    `ladder` and `reason`: of its `LadderState`, as are `enable` and `latched` (`latched_action`). Commands whose time is over are left out here.
    """
    stopped = sorted((halt for halt in halts if concerns(halt.scope, strategy)), key=lambda halt: (halt.scope != "*", halt.since_ns))
    lowering = [one for one in commands if one.lowers and concerns(one.strategy, strategy) and not ended(one, moment)]
    word = _word(stopped, lowering, broken_store=broken_store)
    stands_in = _stands_in(enable, ladder, latched, moment)
    action = IN_FORCE[word, stands_in][ladder]
    below = IN_FORCE["-", stands_in][ladder]
    shown = _shown(stopped, lowering, enable if stands_in != "-" else None)
    size, without = _size(action, below, reduce_to, lowering), _size(below, below, reduce_to, ())
    return InForce(
        action=action,
        trading_enabled=EFFECTS[action].trading_enabled,
        size_multiplier=size,
        reason=_reason(word, stopped, lowering, enable, stands_in, reason, deciding=action != below or size < without),
        override=shown[0] if shown else None,
        overrides=shown,
    )


def most_severe(entries: Iterable[InForce], default: InForce) -> InForce:
    """The top level: the most severe strategy's entry; the default's where there is none, or where it is a stop for all."""
    found = sorted(entries, key=lambda entry: entry.severity, reverse=True)
    if not found:
        return default
    for_all = any(one["strategy"] == "*" for one in default.overrides) and default.severity >= found[0].severity
    return default if for_all else found[0]


def _usable(command: Command) -> bool:
    size = command.size_multiplier
    return command.command == "reduce_size" and size is not None and 0 <= size < 1


def _word(halts: Sequence[Halt], lowering: Sequence[Command], *, broken_store: bool) -> str:
    """The operator's most severe word, as the table names it."""
    words = {"HALT" if halt.scope == "*" else "HALT.x" for halt in halts}
    words |= {"reduce_size" if _usable(one) else "force_disable" for one in lowering}
    return max(words | ({"broken store"} if broken_store else {"-"}), key=OPERATOR.index)


def _stands_in(enable: Enable | None, ladder: str, latched: str | None, moment: Moment) -> str:
    if enable is None or ended(enable.command, moment) or SEVERITY[ladder] > SEVERITY[enable.stood]:
        return "-"
    acknowledged = latched is not None and enable.command.acknowledge == latched
    return "force_enable, acknowledged" if acknowledged else "force_enable"


def _size(action: str, below: str, reduce_to: float, lowering: Sequence[Command]) -> float:
    size = EFFECTS[action].size
    if size is not None:
        return size
    given = [one.size_multiplier for one in lowering if one.size_multiplier is not None and _usable(one)]
    return min([*given, *([reduce_to] if below == "REDUCE_SIZE" else [])])


def _shown(halts: Sequence[Halt], lowering: Sequence[Command], enable: Enable | None) -> tuple[dict[str, Any], ...]:
    """Every word that stands, the most severe first."""
    said = [
        {
            "command": "HALT",
            "strategy": one.scope,
            "operator": None,
            "reason": one.reason,
            "since": rfc3339(one.since_ns),
            "expires_at": None,
        }
        for one in halts
    ]
    ordered = sorted(lowering, key=lambda one: (_usable(one), one.size_multiplier or 0.0, one.accepted_ns))
    return tuple(said + [_told(one) for one in ordered] + ([_told(enable.command)] if enable else []))


def _told(command: Command) -> dict[str, Any]:
    told = {
        "command": command.command,
        "strategy": command.strategy,
        "operator": command.operator,
        "reason": command.reason,
        "since": rfc3339(command.accepted_ns),
        "expires_at": None if command.expires_ns is None else rfc3339(command.expires_ns),
    }
    return told if command.size_multiplier is None else {**told, "size_multiplier": command.size_multiplier}


def _reason(
    word: str,
    halts: Sequence[Halt],
    lowering: Sequence[Command],
    enable: Enable | None,
    stands_in: str,
    reason: str,
    *,
    deciding: bool,
) -> str:
    if halts:
        return halts[0].reason
    if deciding and word == "broken store":
        return BROKEN_STORE
    if deciding and lowering:
        one = min(lowering, key=lambda one: (_usable(one), one.size_multiplier or 0.0, one.accepted_ns))
        return f"{one.command} by {one.operator}: {one.reason}"
    if stands_in != "-" and enable is not None:
        return f"force_enable by {enable.command.operator}: {enable.command.reason} (in place of: {reason})"
    return reason
