"""HALT files: what is in force while they are there, and when they count as gone.

1. Any entry whose name begins with HALT, in any case and of any file type, stops everything; `HALT.<strategy>`, its strategy written
   exactly and known when the file is seen, stops that one. A strategy that is not known stops everything, and says so.
2. Latched when seen, with the scope it had then: a record that arrives later narrows no stop.
3. It lifts when two successful looks at least a second apart, at the same folder it was last seen in and with no other look between
   them, find it gone. A folder missing, unreadable, replaced or too full to list keeps it. That lifts this stop and nothing else.
4. With signers it lifts only by `release` (an accepted, signed reset), and even then never while the file is there.
5. Pure but for `look`: what was seen and the boot-time clock in, the next state out. A restart (`resumed`) clears nothing.
"""

import heapq
import os
import re
from collections.abc import Container
from pathlib import Path

import msgspec

from parityd.edges.files import FolderId, folder_id, safe_name

ALL = "*"
APART_NS = 1_000_000_000
MOST = 1000
_HALT = re.compile(r"halt", re.IGNORECASE | re.ASCII)
_SAID, _UNKNOWN = "operator halt: ", " names a strategy that is neither seen nor configured, so everything is stopped"


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the folder. `folder` is None where there was nothing to look at, and `error` says why."""

    folder: FolderId | None = None
    names: tuple[str, ...] = ()
    cut: bool = False  # more than MOST names: what is not listed may still be there
    error: str = ""


class Latch(msgspec.Struct, frozen=True, kw_only=True):
    """A stop in force. `gone_ns`: boot time of the first of the looks that found it gone."""

    name: str
    scope: str
    reason: str
    since_ns: int
    folder: FolderId
    gone_ns: int | None = None


class HaltState(msgspec.Struct, frozen=True, kw_only=True):
    """All that must survive a restart; in order of the names."""

    latches: tuple[Latch, ...] = ()

    def reasons(self, strategy: str) -> tuple[str, ...]:
        """Why this strategy (`*`: all of them) is stopped; empty where it is not."""
        return tuple(latch.reason for latch in self.latches if latch.scope in (ALL, strategy))

    def scopes(self) -> frozenset[str]:
        return frozenset(latch.scope for latch in self.latches)

    @property
    def leaving(self) -> bool:
        """Whether a look has found one gone: another a second later may lift it."""
        return any(latch.gone_ns is not None for latch in self.latches)

    def resumed(self) -> "HaltState":
        """The state after a restart: in force as before; a first look before it no longer counts."""
        return HaltState(latches=tuple(msgspec.structs.replace(latch, gone_ns=None) for latch in self.latches))


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The next state, and what changed: for the audit and the log."""

    state: HaltState
    raised: tuple[Latch, ...] = ()
    lifted: tuple[Latch, ...] = ()


def look(folder: Path) -> Sighting:
    """The HALT entries of the folder, whatever they are; nothing is opened but the folder."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        return Sighting(error=f"{folder}: {e.strerror}")
    try:
        with os.scandir(fd) as listing:
            names = heapq.nsmallest(MOST + 1, (safe_name(entry.name) for entry in listing if _HALT.match(entry.name)))
        return Sighting(folder=folder_id(fd), names=tuple(names[:MOST]), cut=len(names) > MOST)
    except OSError as e:
        return Sighting(error=f"{folder}: {e.strerror}")
    finally:
        os.close(fd)


def scope_of(name: str, known: Container[str]) -> tuple[str, str]:
    """Whom a HALT file stops, and the sentence that says so."""
    strategy = name[5:] if name[4:5] == "." else ""
    if not strategy or strategy == ALL:
        return ALL, _SAID + name
    if strategy in known:
        return strategy, _SAID + name
    return ALL, _SAID + name + _UNKNOWN


def name_in(reason: str) -> str:
    """The file of which `scope_of` made this sentence."""
    return reason.removeprefix(_SAID).removesuffix(_UNKNOWN)


def step(state: HaltState, seen: Sighting, *, now_ns: int, boottime_ns: int, known: Container[str], by_reset_only: bool = False) -> Step:
    """One look taken into account. `known`: strategies seen or configured. `by_reset_only`: allowed_signers is set."""
    if seen.folder is None:
        return Step(state=state.resumed())
    present = frozenset(seen.names)
    kept: dict[str, Latch] = {}
    lifted: list[Latch] = []
    for latch in state.latches:
        after = (
            _seen_again(latch, seen.folder) if latch.name in present else _not_seen(latch, seen, boottime_ns, by_reset_only=by_reset_only)
        )
        if after is None:
            lifted.append(latch)
        else:
            kept[latch.name] = after
    raised = []
    for name in seen.names:
        if name not in kept:
            scope, reason = scope_of(name, known)
            raised.append(Latch(name=name, scope=scope, reason=reason, since_ns=now_ns, folder=seen.folder))
    latches = sorted((*kept.values(), *raised), key=lambda latch: latch.name)
    return Step(state=HaltState(latches=tuple(latches)), raised=tuple(raised), lifted=tuple(lifted))


def _seen_again(latch: Latch, folder: FolderId) -> Latch:
    if latch.gone_ns is None and latch.folder == folder:
        return latch
    return msgspec.structs.replace(latch, gone_ns=None, folder=folder)


def _not_seen(latch: Latch, seen: Sighting, boottime_ns: int, *, by_reset_only: bool) -> Latch | None:
    """The latch after a look that did not find its file; None = lifted."""
    if by_reset_only or seen.cut or seen.folder != latch.folder:
        return msgspec.structs.replace(latch, gone_ns=None)
    if latch.gone_ns is None or boottime_ns < latch.gone_ns:
        return msgspec.structs.replace(latch, gone_ns=boottime_ns)
    return None if boottime_ns - latch.gone_ns >= APART_NS else latch


def release(state: HaltState, scope: str, seen: Sighting) -> Step:
    """An accepted reset of `scope` (`*`: all): ends the stops whose files a successful look does not find, never another."""
    if seen.folder is None or seen.cut:
        return Step(state=state)
    lifted = tuple(latch for latch in state.latches if scope in (ALL, latch.scope) and latch.name not in seen.names)
    return Step(state=HaltState(latches=tuple(latch for latch in state.latches if latch not in lifted)), lifted=lifted)
