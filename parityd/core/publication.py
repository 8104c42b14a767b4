"""What the engine is told: ladders, halts and commands -> entries -> the two documents (CONTRACT 3).

1. The content is a function of state: saying it again is harmless, and only `sequence`, the times and nothing else differ.
2. The top level is the most severe entry; a stop for all stands in every entry and in `default`.
3. `no_better_than` keeps every entry at least as severe as an earlier one: a rise may be told before it is stored, a fall may not.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from parityd.core.commands import ALL, Command, Halt, Moment
from parityd.core.in_force import InForce, in_force, most_severe
from parityd.core.instants import rfc3339
from parityd.core.ladder_state import LadderState

SCHEMA = "parityd/trading_override/1"
ACTION_SCHEMA = "parityd/parity_action/1"
MILLI = 1_000_000
REASON = 500  # characters: with a thousand strategies the file stays below what a Gate reads
STOPPED = "parityd was stopped (publish.on_stop): trading is disabled until it runs again"
FIRST_START = "first start: trading is disabled until `parityd init`"


class Basis(msgspec.Struct, frozen=True):
    """The judgement's share of a publication."""

    ladders: Mapping[str, LadderState]
    reduce_to: Mapping[str, float]
    general_reduce_to: float = 0.5
    default_action: str = "CONTINUE"
    broken_store: bool = False
    first_start: str = ""


class Entries(msgspec.Struct, frozen=True):
    """All entries of one publication."""

    strategies: Mapping[str, InForce]
    default: InForce
    top: InForce

    def severity(self, name: str) -> tuple[int, float]:
        return self.strategies.get(name, self.default).severity


def entries(basis: Basis, halts: Iterable[Halt], commands: Iterable[Command], moment: Moment) -> Entries:
    """What is in force for every known strategy, for unknown ones, and on top."""
    halts, commands = tuple(halts), tuple(commands)
    broken = basis.broken_store or bool(basis.first_start)
    names = {*basis.ladders, *(c.strategy for c in commands if c.lowers), *(h.scope for h in halts)} - {ALL}
    out: dict[str, InForce] = {}
    for name in sorted(names):
        state = basis.ladders.get(name) or LadderState(strategy=name, action=basis.default_action)
        out[name] = in_force(
            name, ladder=state.action, reason=state.reason or f"{name}: nothing found", reduce_to=basis.reduce_to.get(name, basis.general_reduce_to),
            moment=moment, halts=halts, commands=commands, enable=state.enable, latched=state.latched_action, broken_store=broken,
        )  # fmt: skip
    default = in_force(
        ALL, ladder=basis.default_action, reason="no finding concerns a strategy of this name", reduce_to=basis.general_reduce_to, moment=moment,
        halts=[h for h in halts if h.scope == ALL], commands=[c for c in commands if c.strategy == ALL], broken_store=broken,
    )  # fmt: skip
    if basis.first_start and not basis.broken_store:
        out = {k: _first(v) for k, v in out.items()}
        default = _first(default)
    return Entries(out, default, most_severe(out.values(), default))


def _first(entry: InForce) -> InForce:
    return msgspec.structs.replace(entry, reason=FIRST_START) if entry.reason.startswith("the store could not be read") else entry


def no_better_than(new: Entries, old: Entries | None) -> Entries:
    """Each entry the more severe of both: rises pass, falls wait."""
    if old is None:
        return new
    out = {k: _worse(v, old.strategies.get(k, old.default if k not in old.strategies else v)) for k, v in new.strategies.items()}
    for k, v in old.strategies.items():  # whom the new one does not name, it tells its default
        out.setdefault(k, _worse(v, new.default))
    default = _worse(new.default, old.default)
    return Entries(out, default, most_severe(out.values(), default))


def stopped(e: Entries) -> Entries:
    """Nothing less than DISABLE_TRADING, for everyone: what is told last where nobody will judge any more."""
    least = InForce(action="DISABLE_TRADING", trading_enabled=False, size_multiplier=0.0, reason=STOPPED)
    out = {k: _least(v, least) for k, v in e.strategies.items()}
    default = _least(e.default, least)
    return Entries(out, default, most_severe(out.values(), default))


def _least(entry: InForce, least: InForce) -> InForce:
    if entry.severity >= least.severity:
        return entry
    return msgspec.structs.replace(least, override=entry.override, overrides=entry.overrides)


def _worse(a: InForce, b: InForce) -> InForce:
    return a if a.severity >= b.severity else b


def rises(new: Entries, old: Entries | None) -> bool:
    """Whether anything is more severe than what stands."""
    if old is None:
        return True
    names = {*new.strategies, *old.strategies}
    return new.default.severity > old.default.severity or any(new.severity(k) > old.severity(k) for k in names)


def same(new: Entries, old: Entries | None) -> bool:
    """Whether an engine would do the same: what `decision_sequence` counts."""
    if old is None:
        return False
    if set(new.strategies) != set(old.strategies) or new.default.severity != old.default.severity:
        return False
    return all(v.severity == old.strategies[k].severity for k, v in new.strategies.items())


class Head(msgspec.Struct, frozen=True):
    """What differs from issue to issue. Times in ns, whole milliseconds on the wall."""

    sequence: int
    decision_sequence: int
    instance: str
    boot_id: str
    issued_ns: int
    issued_boottime_ns: int
    ttl_seconds: float
    on_expiry: str


def _millis(ns: int) -> str:
    return rfc3339(ns // MILLI * MILLI)[:-4] + "Z"


def _head(h: Head, schema: str) -> dict[str, Any]:
    issued = h.issued_ns // MILLI * MILLI
    ttl: float = int(h.ttl_seconds) if h.ttl_seconds == int(h.ttl_seconds) else h.ttl_seconds
    return {
        "schema": schema, "sequence": h.sequence, "decision_sequence": h.decision_sequence, "instance": h.instance, "boot_id": h.boot_id,
        "issued_at": _millis(issued), "issued_boottime_ns": h.issued_boottime_ns, "ttl_seconds": ttl,
        "expires_at": _millis(issued + round(h.ttl_seconds * 1000) * MILLI), "on_expiry": h.on_expiry,
    }  # fmt: skip


def _entry(e: InForce) -> dict[str, Any]:
    return {"action": e.action, "trading_enabled": e.trading_enabled, "size_multiplier": e.size_multiplier, "reason": e.reason[:REASON]}


def override_document(h: Head, e: Entries) -> dict[str, Any]:
    """trading_override.json."""
    return {
        **_head(h, SCHEMA),
        **_entry(e.top),
        "strategies": {k: _entry(v) for k, v in e.strategies.items()},
        "default": _entry(e.default),
    }


def action_document(h: Head, e: Entries, strategies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """parity_action.json: the same head and entries, with what was found. `strategies` holds each one's own part."""
    out: dict[str, Any] = {}
    for name, entry in e.strategies.items():
        own = dict(strategies.get(name, {}))
        own.update(_entry(entry), override=entry.override, overrides=list(entry.overrides))
        out[name] = own
    return {
        **_head(h, ACTION_SCHEMA), **_entry(e.top), "strategies": out,
        "default": {**_entry(e.default), "override": e.default.override, "overrides": list(e.default.overrides)},
        "override": e.default.override,
    }  # fmt: skip
