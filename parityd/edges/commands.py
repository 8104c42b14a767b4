"""An operator's command as a record, and what is needed to judge one.

1. A command is frozen and complete when it exists: whom it concerns, who gave it and why, when it ends by either clock.
2. A lowering command ends when both clocks agree; a raising one as soon as either says so; after a reboot wall time alone tells.
3. Who may raise is a matter of numbers (uids) taken from an open descriptor, never of names.
"""

from collections.abc import Container, Mapping

import msgspec

ALL = "*"
LOWERING = ("force_disable", "reduce_size")
RAISING = ("force_enable", "reset", "init")
UNKNOWN = "unknown"
BROKEN_STORE = "BROKEN_STORE"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Of an open descriptor: numeric owner and group, permission bits (sticky included), links, last change of content."""

    uid: int
    gid: int
    mode: int
    links: int = 1
    mtime_ns: int = 0


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Now, by both clocks (ns), and which boot the second one counts from."""

    now_ns: int
    boottime_ns: int
    boot_id: str = ""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Who may raise: root, the daemon's user and the allowed, by number; with `signers`, a signature beside."""

    daemon_uid: int
    allowed_uids: frozenset[int] = frozenset()
    signers: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force and what has been. `latched`: strategy (or `*`) -> action of its latched stop; `applied`, `ids`: of applied commands.

    `commanded`: strategies that a standing command or HALT names, be they known or not.
    """

    known: Container[str] = ()
    commanded: Container[str] = ()
    latched: Mapping[str, str] = {}
    broken_store: bool = False
    applied: Container[str] = ()
    ids: Container[str] = ()


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted command. Times in ns; `expires_ns` None = until reset. `notes`: what was missing or wrong, for the alert."""

    command: str
    strategy: str
    operator: str
    reason: str
    accepted_ns: int
    accepted_boottime_ns: int
    boot_id: str
    expires_ns: int | None = None
    expires_boottime_ns: int | None = None
    size_multiplier: float | None = None
    acknowledge: str = ""
    id: str = ""
    signer: str = ""
    content_hash: str = ""
    notes: tuple[str, ...] = ()

    @property
    def lowers(self) -> bool:
        return self.command in LOWERING


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Obey it. `again`: it was made out in what cannot be read as it stands, so it may still be being written."""

    command: Command
    again: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is one word; `text` tells the operator what to mend. `again`: unreadable as it stands, so it may still be being written."""

    code: str
    text: str
    content_hash: str = ""
    again: bool = False


Verdict = Accepted | Refused


def ended(command: Command, moment: Moment) -> bool:
    """Whether its time is over; after a reboot wall time alone tells."""
    if command.expires_ns is None:
        return False
    wall = moment.now_ns >= command.expires_ns
    if command.expires_boottime_ns is None or moment.boot_id != command.boot_id:
        return wall
    boot = moment.boottime_ns >= command.expires_boottime_ns
    return (wall and boot) if command.lowers else (wall or boot)
