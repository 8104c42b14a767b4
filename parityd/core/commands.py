"""An operator's command and a halt as the judgement needs them.

1. A command is frozen and complete when it exists: whom it concerns, who gave it and why, when it ends by either clock.
2. A lowering command ends when both clocks agree; a raising one as soon as either says so; after a reboot wall time alone tells.
3. A command of `*` concerns every strategy; a reset of `*` ends every command, a reset of one strategy only that strategy's own.
4. It does not know files, owners or signatures: whoever made the record has judged them.
"""

from collections.abc import Iterable

import msgspec

ALL = "*"
LOWERING = ("force_disable", "reduce_size")
RAISING = ("force_enable", "reset", "init")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Now, by both clocks (ns), and which boot the second one counts from."""

    now_ns: int
    boottime_ns: int
    boot_id: str = ""


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


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """A HALT file in force: its scope (`*` or a strategy), the sentence that says so, since when (ns)."""

    scope: str
    reason: str
    since_ns: int


def ended(command: Command, moment: Moment) -> bool:
    """Whether its time is over; after a reboot wall time alone tells."""
    if command.expires_ns is None:
        return False
    wall = moment.now_ns >= command.expires_ns
    if command.expires_boottime_ns is None or moment.boot_id != command.boot_id:
        return wall
    boot = moment.boottime_ns >= command.expires_boottime_ns
    return (wall and boot) if command.lowers else (wall or boot)


def outlasts(standing: Command, again: Command) -> bool:
    """Whether a command that stands is the same content and ends no earlier by either clock: then the second one adds nothing."""
    if not again.content_hash or standing.content_hash != again.content_hash:
        return False
    if standing.expires_ns is None or again.expires_ns is None:
        return standing.expires_ns is None
    later = (standing.expires_boottime_ns or 0) >= (again.expires_boottime_ns or 0)
    return standing.expires_ns >= again.expires_ns and standing.boot_id == again.boot_id and later


def concerns(scope: str, strategy: str) -> bool:
    """Whether something of `scope` (`*` or a name) is about this strategy."""
    return scope in (ALL, strategy)


def after_reset(commands: Iterable[Command], scope: str) -> tuple[Command, ...]:
    """The commands that a reset of `scope` leaves standing."""
    return tuple(command for command in commands if scope not in (ALL, command.strategy))


def still_running(commands: Iterable[Command], moment: Moment) -> tuple[Command, ...]:
    """The commands whose time is not over."""
    return tuple(command for command in commands if not ended(command, moment))
