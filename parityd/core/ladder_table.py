"""The ladder as tables: what each level asks for, what each action means, and every move there is.

1. `TRANSITIONS` is total: every rung with every event. Nothing else moves a rung; the engine looks the next one up.
2. Only two columns lead down: `recovered` by one rung, `reset` to the foot. EMERGENCY_STOP has no recovery.
3. `ADVISORY` is total over (would be, kept): what is in force while findings and escalation are capped at WARNING.
4. `IN_FORCE` is total over (the operator's most severe word, what stands in for the judgement, the ladder's action).
5. docs/ladder.md is printed from these tables; they hold no threshold.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

LEVELS: Final = ("OK", "WARNING", "CRITICAL", "EMERGENCY")
ACTIONS: Final = ("CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP")
LEVEL_RANK: Final[Mapping[str, int]] = {level: rank for rank, level in enumerate(LEVELS)}
SEVERITY: Final[Mapping[str, int]] = {action: rank for rank, action in enumerate(ACTIONS)}
ASKS: Final[Mapping[str, str]] = {"OK": "CONTINUE", "WARNING": "WARNING", "CRITICAL": "REDUCE_SIZE", "EMERGENCY": "EMERGENCY_STOP"}


class Effect(msgspec.Struct, frozen=True):
    """What an action means to the engine. `size` None: as configured (`reduce_to`) or as an operator gave it."""

    trading_enabled: bool
    size: float | None
    new_risk: str
    exits: str
    working_orders: str


EFFECTS: Final[Mapping[str, Effect]] = {
    "CONTINUE": Effect(True, 1.0, "yes", "full", "keep"),
    "WARNING": Effect(True, 1.0, "yes", "full", "keep"),
    "REDUCE_SIZE": Effect(True, None, "scaled", "full", "keep"),
    "DISABLE_TRADING": Effect(False, 0.0, "no", "full", "cancel entries"),
    "EMERGENCY_STOP": Effect(False, 0.0, "no", "reduce-only", "cancel all entries now; protective stops stay"),
}

# The level whose thresholds a rung is left by.
OWN_LEVEL: Final[Mapping[str, str]] = {
    "CONTINUE": "OK",
    "WARNING": "WARNING",
    "REDUCE_SIZE": "CRITICAL",
    "DISABLE_TRADING": "CRITICAL",
    "EMERGENCY_STOP": "EMERGENCY",
}
# Whose trades a recovery from the rung is judged on.
RECOVERY_EVIDENCE: Final[Mapping[str, str]] = {
    "CONTINUE": "",
    "WARNING": "fills",
    "REDUCE_SIZE": "fills",
    "DISABLE_TRADING": "shadow fills",
    "EMERGENCY_STOP": "",
}

EVENTS: Final = (
    "CONTINUE asked", "WARNING asked", "REDUCE_SIZE asked", "DISABLE_TRADING asked", "EMERGENCY_STOP asked",
    "WARNING streak", "CRITICAL streak", "recovered", "reset",
)  # fmt: skip

_C, _W, _R, _D, _E = ACTIONS
TRANSITIONS: Final[Mapping[str, Mapping[str, str]]] = {
    rung: dict(zip(EVENTS, row, strict=True))
    for rung, row in {
        #      asked: C   W   R   D   E  | streak: W   C  | recovered  reset
        _C: (_C, _W, _R, _D, _E, _R, _D, _C, _C),
        _W: (_W, _W, _R, _D, _E, _R, _D, _C, _C),
        _R: (_R, _R, _R, _D, _E, _R, _D, _W, _C),
        _D: (_D, _D, _D, _D, _E, _D, _D, _R, _C),
        _E: (_E, _E, _E, _E, _E, _E, _E, _E, _C),
    }.items()
}
ESCALATES: Final[Mapping[str, str]] = {"WARNING": _R, "CRITICAL": _D}

# What the ladder would do -> what was in force when advisory mode was switched on and has not been left since.
ADVISORY: Final[Mapping[str, Mapping[str, str]]] = {
    would_be: dict(zip(ACTIONS, row, strict=True))
    for would_be, row in {
        # kept: C   W   R   D   E
        _C: (_C, _C, _C, _C, _C),
        _W: (_W, _W, _W, _W, _W),
        _R: (_W, _W, _R, _R, _R),
        _D: (_W, _W, _R, _D, _D),
        _E: (_W, _W, _R, _D, _E),
    }.items()
}

OPERATOR: Final = ("-", "reduce_size", "force_disable", "broken store", "HALT.x", "HALT")
STANDS_IN: Final = ("-", "force_enable", "force_enable, acknowledged")
# (the operator's most severe word, what stands in for the judgement) -> by the ladder's action; its EMERGENCY_STOP is latched.
IN_FORCE: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    key: dict(zip(ACTIONS, row, strict=True))
    for key, row in {
        #                                          ladder: C   W   R   D   E
        ("-", "-"): (_C, _W, _R, _D, _E),
        ("-", "force_enable"): (_C, _C, _C, _C, _E),
        ("-", "force_enable, acknowledged"): (_C, _C, _C, _C, _C),
        ("reduce_size", "-"): (_R, _R, _R, _D, _E),
        ("reduce_size", "force_enable"): (_R, _R, _R, _R, _E),
        ("reduce_size", "force_enable, acknowledged"): (_R, _R, _R, _R, _R),
        ("force_disable", "-"): (_D, _D, _D, _D, _E),
        ("force_disable", "force_enable"): (_D, _D, _D, _D, _E),
        ("force_disable", "force_enable, acknowledged"): (_D, _D, _D, _D, _D),
        ("broken store", "-"): (_D, _D, _D, _D, _E),
        ("broken store", "force_enable"): (_D, _D, _D, _D, _E),
        ("broken store", "force_enable, acknowledged"): (_D, _D, _D, _D, _D),
        ("HALT.x", "-"): (_E, _E, _E, _E, _E),
        ("HALT.x", "force_enable"): (_E, _E, _E, _E, _E),
        ("HALT.x", "force_enable, acknowledged"): (_E, _E, _E, _E, _E),
        ("HALT", "-"): (_E, _E, _E, _E, _E),
        ("HALT", "force_enable"): (_E, _E, _E, _E, _E),
        ("HALT", "force_enable, acknowledged"): (_E, _E, _E, _E, _E),
    }.items()
}


def worst(*actions: str) -> str:
    """The most severe of some actions; CONTINUE of none."""
    return max(actions, key=SEVERITY.__getitem__, default=_C)


def mildest(*actions: str) -> str:
    return min(actions, key=SEVERITY.__getitem__)
