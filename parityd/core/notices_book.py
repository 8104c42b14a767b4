"""What is remembered of notices: what each strategy was told last, what was sent within the hour, what waits to be delivered.

1. `Book` is everything that must outlive a restart; it is stored as one value.
2. Times are wall clock, ns; 0 = never. No address stands here: a channel is known by the hash of its own.
"""

from typing import NamedTuple

import msgspec


class Entry(NamedTuple):
    """What is in force for one strategy (`*`: for every other)."""

    action: str
    reason: str


class Notice(msgspec.Struct, kw_only=True):
    """One message. `key`: replaces an undelivered one of the same key; `pending`: the channels that do not have it yet."""

    id: int
    ts_ns: int
    kind: str
    title: str
    body: str
    key: str = ""
    urgent: bool = False
    pending: list[str] = []


class Told(msgspec.Struct, kw_only=True):
    """What was last said of a strategy. `unbooked`: told before it was stored."""

    action: str = "CONTINUE"
    reason: str = ""
    since_ns: int = 0
    told_ns: int = 0
    acknowledged: bool = False
    unbooked: bool = False


class Quota(msgspec.Struct, kw_only=True):
    """What of one kind was sent within the hour, and what is held back for the digest."""

    sent: list[int] = []
    held: int = 0
    held_ns: int = 0
    last: str = ""


class Book(msgspec.Struct, kw_only=True):
    """Everything that must outlive a restart. `cursor`: the audit row read last."""

    cursor: int = 0
    number: int = 0
    strategies: dict[str, Told] = {}
    quotas: dict[str, Quota] = {}
    outbox: list[Notice] = []
    report_day: str = ""
    signed: bool = False
    lapse: Told | None = None
    dropped: int = 0


class Move(NamedTuple):
    strategy: str
    before: str
    after: str
    reason: str
    ts_ns: int
