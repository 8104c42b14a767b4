"""What a turn leaves behind for others: its outcome, what readers see, what operators have in force, what each source sent of late.

1. `View` and the halves of `Operators` are replaced whole, never changed, so that other threads may read them.
2. Nothing here touches the store, the spool or a clock.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from parityd.core.commands import Command, Halt
from parityd.core.intake import Counted
from parityd.core.verdicts import Change
from parityd.service.reading import Read

LAST_RECORDS = 1000


@dataclass(slots=True)
class View:
    """What readers see: replaced whole, never changed."""

    strategies: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    checked_ns: int = 0
    check_seconds: float = 0.0
    evaluated_ns: int = 0


@dataclass(slots=True)
class Operators:
    """Halts and commands in force, swapped whole: what is stored is the worker's, what was only seen so far is the watch's."""

    stored_halts: tuple[Halt, ...] = ()
    stored_commands: tuple[Command, ...] = ()
    seen_halts: tuple[Halt, ...] = ()
    seen_commands: tuple[Command, ...] = ()

    @property
    def halts(self) -> tuple[Halt, ...]:
        stored = self.stored_halts
        return stored + tuple(h for h in self.seen_halts if h not in stored)

    @property
    def commands(self) -> tuple[Command, ...]:
        stored = self.stored_commands
        return stored + tuple(c for c in self.seen_commands if c not in stored)


@dataclass(slots=True)
class TurnDone:
    """What a turn did, for metrics, logs and notices."""

    reads: list[Read] = field(default_factory=list)
    counted: dict[str, Counted] = field(default_factory=dict)  # by `Read.counted_as`
    changes: list[Change] = field(default_factory=list)
    failed: str = ""  # nothing of it counts
    stuck: str = ""  # it counts, but files could not leave the spool
    audit: int = 0


class Sources:
    """Refused and taken of the last thousand records a source."""

    def __init__(self) -> None:
        self.recent: dict[str, deque[tuple[int, int]]] = {}  # (refused, seen) a file, newest last
        self.sums: dict[str, tuple[int, int]] = {}  # of these
        self.feeds: dict[str, set[str]] = {}

    def add(self, source: str, refused: int, seen: int, strategies: Iterable[str]) -> None:
        if not seen:
            return
        table = self.recent.setdefault(source, deque())
        table.append((refused, seen))
        bad, all_ = self.sums.get(source, (0, 0))
        bad, all_ = bad + refused, all_ + seen
        while len(table) > 1 and all_ - table[0][1] >= LAST_RECORDS:
            gone = table.popleft()
            bad, all_ = bad - gone[0], all_ - gone[1]
        self.sums[source] = bad, all_
        self.feeds.setdefault(source, set()).update(strategies)

    def facts(self) -> dict[str, tuple[int, int, tuple[str, ...]]]:
        out = {}
        for name, table in self.recent.items():
            refused, seen = self.sums[name]
            if seen > LAST_RECORDS and len(table) == 1:  # one large file: its share stands for the last thousand
                refused, seen = round(refused * LAST_RECORDS / seen), LAST_RECORDS
            out[name] = (refused, seen, tuple(sorted(self.feeds.get(name, ()))))
        return out
