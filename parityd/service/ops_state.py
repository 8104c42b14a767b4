"""What the files and the store say of the past, for commands that must not forget any of it.

1. Nothing here changes anything, and a store that cannot be read is said to be so: it is never taken for an empty one.
2. `seen` is the highest of every sequence that anybody can have seen: files, store, audit, acknowledgements.
3. `Past` is what must hold after a store was exchanged: stops that stand, operators' words, commands that were applied once.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from parityd.core.commands import Command
from parityd.core.instants import parse_time
from parityd.core.ladder_state import LadderState, Latch
from parityd.core.records import LIVE, NO_TS
from parityd.core.strategy import Memory
from parityd.core.verdicts import Standing
from parityd.edges.audit import read as audit_entries
from parityd.edges.command_files import CommandFolder
from parityd.edges.halt import HaltState, name_in
from parityd.edges.halt import Latch as HaltLatch
from parityd.edges.publish import read_sequences
from parityd.store import StoreBroken, StoreUnavailable
from parityd.store.connect import open_reader
from parityd.store.reads import Reads


@contextmanager
def reading_store(path: Path) -> Iterator[Reads | None]:
    """The store for reading, beside whoever writes it; None where there is none. StoreBroken where it cannot be read."""
    if not path.exists():
        yield None
        return
    db = open_reader(path)
    try:
        yield Reads(db, str(path), threading.RLock())
    finally:
        db.close()


@dataclass(slots=True, kw_only=True)
class Past:
    """Of one store and the published files. `readable` False: there was a store (or its traces) and it says nothing."""

    readable: bool = True
    standing: Standing = field(default_factory=Standing)
    halts: HaltState = field(default_factory=HaltState)
    applied: dict[str, str] = field(default_factory=dict)
    sequence: int = 0
    decision_sequence: int = 0
    instance: str = ""
    memories: dict[str, Memory] = field(default_factory=dict)


def past_of_store(path: Path) -> Past:
    """What one store holds of it."""
    past = Past()
    try:
        with reading_store(path) as reads:
            if reads is None:
                return past
            _fill(past, reads)
    except (StoreBroken, StoreUnavailable, sqlite3.Error, msgspec.MsgspecError, ValueError):
        return Past(readable=False)
    return past


def _fill(past: Past, reads: Reads) -> None:
    blob = reads.state("standing")
    past.standing = msgspec.msgpack.decode(blob, type=Standing) if blob else Standing()
    halts = reads.state("halts")
    past.halts = msgspec.json.decode(halts, type=HaltState) if halts else HaltState()
    applied = reads.state("commands/applied")
    past.applied = msgspec.json.decode(applied, type=dict[str, str]) if applied else {}
    told: dict[str, Any] = msgspec.json.decode(reads.state("publisher") or b"{}")
    past.sequence, past.decision_sequence = int(told.get("sequence", 0)), int(told.get("decision_sequence", 0))
    past.instance = str(told.get("instance", ""))
    for key, value in reads.states("strategy/").items():
        past.memories[key.removeprefix("strategy/")] = memory = msgspec.msgpack.decode(value, type=Memory)
        past.decision_sequence = max(past.decision_sequence, memory.pulses[LIVE].acknowledged)


def past_of_files(data_dir: Path) -> Past:
    """What the published files, the audit trail and the operators' folder say: all that is left where no store can be read."""
    past = Past()
    for name in ("trading_override.json", "parity_action.json"):
        sequence, decision, instance = read_sequences(data_dir / "system_actions" / name)
        past.sequence, past.decision_sequence = max(past.sequence, sequence), max(past.decision_sequence, decision)
        past.instance = past.instance or instance
    for row in audit_entries(data_dir / "audit"):
        past.sequence = max(past.sequence, _number(row["data"].get("sequence")))
        past.decision_sequence = max(past.decision_sequence, _number(row["data"].get("decision_sequence")))
        if row["event"] == "override.applied" and isinstance(row["data"].get("content_hash"), str):
            past.applied[row["data"]["content_hash"]] = str(row["data"].get("id", ""))
    past.applied = dict.fromkeys(CommandFolder(data_dir / "overrides").applied_hashes(), "") | past.applied
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        _published(past, json.loads((data_dir / "system_actions/parity_action.json").read_bytes()))
    return past


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _published(past: Past, document: dict[str, Any]) -> None:
    """Latched stops, HALTs and lowering commands as they were published last."""
    latches: dict[str, HaltLatch] = {}
    commands: dict[tuple[str, str, str], Command] = {}
    for name, entry in document.get("strategies", {}).items():
        found = tuple(
            Latch(code=x["code"], action=x["action"], since_ns=_time(x.get("since")), reason=x["reason"]) for x in entry.get("latched", ())
        )
        if found:
            past.standing.ladders[name] = LadderState(strategy=name, latched=found, action=found[0].action, reason=found[0].reason)
    for entry in (*document.get("strategies", {}).values(), document.get("default", {})):
        for said in entry.get("overrides", ()):
            if said["command"] == "HALT":
                file = name_in(said["reason"])
                latches[file] = HaltLatch(
                    name=file, scope=said["strategy"], reason=said["reason"], since_ns=_time(said["since"]), folder=(0, 0, 0)
                )
            elif said["command"] in ("force_disable", "reduce_size"):
                commands[said["command"], said["strategy"], said["since"]] = _command(said)
    past.halts = HaltState(latches=tuple(sorted(latches.values(), key=lambda x: x.name)))
    past.standing.commands = list(commands.values())


def _command(said: dict[str, Any]) -> Command:
    expires = _time(said.get("expires_at"))
    return Command(
        command=said["command"], strategy=said["strategy"], operator=said["operator"], reason=said["reason"], accepted_ns=_time(said["since"]),
        accepted_boottime_ns=0, boot_id="", expires_ns=expires or None, size_multiplier=said.get("size_multiplier"),
    )  # fmt: skip


def _time(text: object) -> int:
    found = parse_time(text) if isinstance(text, str) else NO_TS
    return 0 if found == NO_TS else found


def state_of(settings_store: Path) -> Standing | None:
    """What stands by the store, None where there is none or it cannot be read."""
    past = past_of_store(settings_store)
    return past.standing if past.readable and settings_store.exists() else None
