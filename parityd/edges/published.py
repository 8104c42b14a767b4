"""What stands in `system_actions/` from before: the last publication, as the one that goes on from it needs it.

1. It is read for its sequences, its times and its entries: what an engine may still obey, and what must not be told less severely unasked.
2. Whatever is not a whole publication of ours reads as none; nothing here raises on content.
3. It decides nothing: whether it still holds is the publisher's to say.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from parityd.core.in_force import InForce, most_severe
from parityd.core.instants import parse_time
from parityd.core.ladder_table import EFFECTS
from parityd.core.publication import SCHEMA, Entries
from parityd.core.records import NO_TS

MOST = 4 << 20


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The last publication. Times in ns."""

    sequence: int
    decision_sequence: int
    instance: str
    boot_id: str
    issued_ns: int
    issued_boottime_ns: int
    ttl_seconds: float
    on_expiry: str
    entries: Entries

    @property
    def until_boottime_ns(self) -> int:
        """When it lapses, by the clock of its own boot."""
        return self.issued_boottime_ns + round(self.ttl_seconds * 1e9)


def _entry(value: Mapping[str, Any]) -> InForce:
    action = str(value["action"])
    if action not in EFFECTS:
        raise ValueError(action)
    return InForce(
        action=action,
        trading_enabled=EFFECTS[action].trading_enabled,
        size_multiplier=min(1.0, max(0.0, float(value["size_multiplier"]))),
        reason=str(value["reason"]),
    )


def read_published(path: Path) -> Published | None:
    """The publication that stands there; None where there is none, or none that can be read."""
    try:
        with path.open("rb") as f:
            document = json.loads(f.read(MOST))
        if document["schema"] != SCHEMA:
            return None
        strategies = {str(name): _entry(value) for name, value in document["strategies"].items()}
        default = _entry(document["default"])
        issued = parse_time(document["issued_at"])
        if issued == NO_TS:
            return None
        return Published(
            sequence=int(document["sequence"]),
            decision_sequence=int(document["decision_sequence"]),
            instance=str(document["instance"]),
            boot_id=str(document["boot_id"]),
            issued_ns=issued,
            issued_boottime_ns=int(document["issued_boottime_ns"]),
            ttl_seconds=float(document["ttl_seconds"]),
            on_expiry=str(document["on_expiry"]),
            entries=Entries(strategies, default, most_severe(strategies.values(), default)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def read_sequences(path: Path) -> tuple[int, int, str]:
    """(sequence, decision_sequence, instance) of a published file of either kind; (0, 0, "") where there is none or it cannot be read."""
    try:
        with path.open("rb") as f:
            document = json.loads(f.read(MOST))
        return int(document["sequence"]), int(document["decision_sequence"]), str(document["instance"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return 0, 0, ""


def encoded(document: Mapping[str, Any]) -> bytes:
    """As it is written. A measure that is no number is null: whatever was measured, what is in force is published."""
    try:
        return _line(document)
    except ValueError:
        return _line(msgspec.json.decode(msgspec.json.encode(document, enc_hook=str)))


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"
