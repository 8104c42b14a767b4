"""The publication: one thread that replaces both files, paced by the boot-time clock (CONTRACT 3).

1. The files are always a whole publication, durable before anyone is told; of contents that wait, the newest is written, the rest dropped.
2. Permission is earned: while `withheld()` names a reason, or the two clocks moved apart since the last renewal, only rises are written, and
   such a one prolongs nothing: it ends when the publication before it would have ended. A stop for all needs no such care.
3. A fall is told only by `publish`, after it was booked; where it was not earned then, the next renewal tells it. `sequence` rises with every issue, `decision_sequence` when an entry changes; both go on above everything seen before.
   What an engine acknowledges beyond that was published by a state that is lost (a snapshot put back): once a process, both go above it.
4. What has become more severe, by whatever (a clock that ended a force_enable, a disk that refused the last stop), is written within a second.
5. Where the folder is no longer ours (`owned`), nothing is written at all: another may publish there.
6. It decides nothing: entries come from `compose`, a function of state. A failing disk is counted and tried again, each time with a new file;
   on a full one a stop may use the reserve.
7. A folder or a file that somebody removed is made anew within a second, where telling it again is earned: to an engine a missing file is a stop.
"""

import errno
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parityd.core.in_force import InForce, most_severe
from parityd.core.ladder_table import EFFECTS, SEVERITY
from parityd.core.publication import Entries, Head, action_document, no_better_than, override_document, rises, same
from parityd.edges.files import exists, replace_durably, sync_folder
from parityd.edges.published import Published, encoded, read_published, read_sequences
from parityd.edges.reserve import Reserve

MODE, FOLDER_MODE = 0o644, 0o755
STEP_NS = 2_000_000_000  # the two clocks may differ by this between renewals
LOOK_NS = 1_000_000_000
RESERVE_NS = 30_000_000_000
LEAST_TTL = 0.2


@dataclass(slots=True)
class Terms:
    """How it is published."""

    interval: float
    ttl: float
    on_expiry: str
    instance: str
    boot_id: str


@dataclass(slots=True)
class Content:
    """What is to be told: a way to compose the entries now, and each strategy's part of the action file."""

    compose: Callable[[], Entries]
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Publisher:
    """Owns both files of `system_actions/`."""

    def __init__(
        self, folder: Path, terms: Terms, now: Callable[[], int], boottime: Callable[[], int], withheld: Callable[[], list[str]]
    ) -> None:
        self.folder = folder
        self.terms = terms
        self.now, self.boottime = now, boottime
        self.withheld = withheld
        self.owned: Callable[[], bool] = lambda: True
        self.sequence = 0
        self.decision_sequence = 0
        self.entries: Entries | None = None  # as published last
        self.override: dict[str, Any] = {}
        self.action: dict[str, Any] = {}
        self.failures = 0
        self.failing = ""  # why the last issue could not be written
        self.published_ns = 0
        self.newest_ns = 0  # the latest wall time that any publication carried
        self.until_ns = 0  # boot time at which the last publication lapses; 0 = nothing is in force
        self.reasons: list[str] = []
        self.stepped = threading.Event()  # clocks disagree: a re-evaluation is needed
        self.told: list[Callable[[Entries | None, Entries, Head], None]] = []
        self.refused: list[Callable[[OSError], None]] = []
        self.remade: list[Callable[[], None]] = []  # told when the folder had to be made anew
        self._content: Content | None = None
        self._allowed: Entries | None = None  # booked, and perhaps not told yet; None = no less than what was told last
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._beyond = False  # the next issue is another decision, whatever it says
        self._outrun = False
        self._thread: threading.Thread | None = None
        self._last: tuple[int, int] | None = None  # (wall, boot) of the last renewal
        self._reserve = Reserve(folder)
        self.moving_ns = 0

    def go_on_from(self, last: Published | None) -> None:
        """What was published before this process: its sequences, what it tells engines now, and until when."""
        if last is None:
            return
        self.sequence, self.decision_sequence = max(self.sequence, last.sequence), max(self.decision_sequence, last.decision_sequence)
        self.entries, self.published_ns, self.newest_ns = last.entries, last.issued_ns, last.issued_ns
        self.until_ns = last.until_boottime_ns if last.boot_id == self.terms.boot_id else 0

    def heard(self, acknowledged: int) -> None:
        """An engine has seen this `decision_sequence`."""
        with self._lock:
            if acknowledged > self.decision_sequence and not self._outrun:
                self.decision_sequence, self._beyond, self._outrun = acknowledged, True, True
                self.sequence = max(self.sequence, self.now() // 1_000_000)

    # --- from the pump and the operators' watch -----------------------------------------------------------------

    def publish(self, content: Content | None = None, *, rises_only: bool = False, then: Callable[[], Entries] | None = None) -> bool:
        """Replace the files now, in the caller's thread; False where the disk refused. `rises_only`: falls wait for a later call."""
        with self._lock:
            if content is not None:
                self._content = content
            if self._content is None:
                return False
            fresh = (then or self._content.compose)()
            if not rises_only:
                self._allowed = fresh
            return self._issue(fresh, rises_only=rises_only)

    def _issue(self, fresh: Entries, *, rises_only: bool) -> bool:
        """Write what may be told now: all of it, or what is more severe."""
        self.reasons = self._unearned()
        if not self.reasons:
            return self._write(no_better_than(fresh, self.entries) if rises_only else fresh, self.terms.ttl)
        left = self._left()
        standing = self._standing(left)
        if not rises(fresh, standing):
            return True
        told = no_better_than(fresh, standing)
        whole = not left or stops_all(told)  # of what has lapsed nothing but stops is left to prolong
        return self._write(told, self.terms.ttl if whole else min(left // 0.001 / 1000, self.terms.ttl), earned=False)

    def _unearned(self) -> list[str]:
        reasons = self.withheld()
        apart = self.apart_ns()
        if apart > STEP_NS:
            reasons = [*reasons, f"the wall clock and the boot clock moved {apart / 1e9:.1f} s apart: evaluating again first"]
            self.stepped.set()
        return reasons

    def apart_ns(self) -> int:
        """How differently the two clocks moved since the last renewal."""
        last = self._last
        return 0 if last is None else abs((self.now() - last[0]) - (self.boottime() - last[1]))

    def _left(self) -> float:
        """For how many seconds the last publication holds; 0 where it holds no longer, or too short to be told again."""
        left = (self.until_ns - self.boottime()) / 1e9
        return left if left >= LEAST_TTL else 0.0

    def _standing(self, left: float) -> Entries:
        """What engines do now: the last publication while it holds, else the more severe of it and `on_expiry`."""
        lapsed = expired(self.terms.on_expiry)
        if self.entries is None:
            return lapsed
        if left:
            return self.entries
        return no_better_than(Entries(dict.fromkeys(self.entries.strategies, lapsed.default), lapsed.default, lapsed.default), self.entries)

    def _write(self, entries: Entries, ttl: float, *, earned: bool = True) -> bool:
        assert self._content is not None  # noqa: S101  publish and renew see to it
        if not self.owned():
            return False
        before = self.entries
        wall, boot = self.now(), self.boottime()
        decision = self.decision_sequence + (0 if same(entries, before) and not self._beyond else 1)
        head = Head(self.sequence + 1, decision, self.terms.instance, self.terms.boot_id, wall, boot, ttl, self.terms.on_expiry)
        try:
            self._replace("trading_override.json", encoded(override_document(head, entries)), stop=stops_more(entries, before))
        except OSError as e:
            self._failed(e)
            self.sequence = head.sequence  # whether it reached the disk is not known: never used again
            self.decision_sequence = max(self.decision_sequence, decision)
            return False
        self.sequence, self.decision_sequence, self.entries, self._allowed = head.sequence, decision, entries, None
        self._beyond, self.failing = False, ""
        self.override = override_document(head, entries)
        self.published_ns, self.until_ns, self.newest_ns = wall, boot + round(ttl * 1e9), max(wall, self.newest_ns)
        if earned:
            self._last = (wall, boot)
        self.action = action_document(head, entries, self._content.strategies)
        try:
            self._replace("parity_action.json", encoded(self.action), stop=False)
        except OSError as e:
            self._failed(e)
        for tell in self.told:
            tell(before, entries, head)
        return True

    def _replace(self, name: str, data: bytes, *, stop: bool) -> None:
        path = self.folder / name
        try:
            replace_durably(path, data, MODE)
        except FileNotFoundError:
            self._remake()
            replace_durably(path, data, MODE)
        except OSError as e:
            if not (stop and e.errno in (errno.ENOSPC, errno.EDQUOT) and self._reserve.free()):
                raise
            replace_durably(path, data, MODE)

    def _remake(self) -> None:
        """The folder that somebody removed. What it lies in is `owned`, and never made here."""
        os.mkdir(self.folder, FOLDER_MODE)
        os.chmod(self.folder, FOLDER_MODE)
        sync_folder(self.folder.parent)
        for tell in self.remade:
            tell()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self.failing = f"{error.filename or self.folder}: {error.strerror or error}"
        for tell in self.refused:
            tell(error)

    # --- renewal ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._reserve.keep()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5)

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        due = looked = kept = self.boottime()
        while not self._ended.wait(min(0.25, self.terms.interval / 4)):
            self.moving_ns = self.boottime()
            if self.moving_ns >= due:
                self.renew()
                due = max(due + round(self.terms.interval * 1e9), self.moving_ns)
            elif self.moving_ns - looked >= LOOK_NS:
                looked = self.moving_ns
                self.look()
            if self.moving_ns - kept >= RESERVE_NS:
                kept = self.moving_ns
                self._reserve.keep()

    def renew(self) -> bool:
        """Re-issue what stands, if it is earned; what has become more severe in any case."""
        with self._lock:
            if self._content is None:
                self.reasons = self._unearned()
                return False
            fresh = no_better_than(self._content.compose(), self._allowed or self.entries)
            return self._issue(fresh, rises_only=False) and not self.reasons

    def look(self) -> None:
        """Write what has become more severe since the last issue, whoever forgot to ask for it or failed; and all of it where it is gone."""
        with self._lock:
            if self.entries is not None and not exists(self.folder / "trading_override.json"):
                self.renew()
            if self._content is not None and rises(fresh := self._content.compose(), self._standing(self._left())):
                self._issue(fresh, rises_only=True)

    def evaluated(self) -> None:
        """Everything has been judged by the clocks as they are now: renewals may go on."""
        with self._lock:
            self._last = (self.now(), self.boottime())
            self.stepped.clear()


def expired(on_expiry: str) -> Entries:
    """What no publication means."""
    effect = EFFECTS[on_expiry]
    entry = InForce(
        action=on_expiry, trading_enabled=effect.trading_enabled, size_multiplier=effect.size or 0.0, reason="no publication was valid"
    )
    return Entries({}, entry, entry)


def stops_all(entries: Entries) -> bool:
    """Whether nobody is permitted anything by it."""
    least = SEVERITY["DISABLE_TRADING"]
    return all(SEVERITY[one.action] >= least for one in (entries.default, *entries.strategies.values()))


def stops_more(entries: Entries, before: Entries | None) -> bool:
    """Whether somebody loses a permission by it: what the reserve is for."""
    stopped = {name: one for name, one in (("", entries.default), *entries.strategies.items()) if not one.trading_enabled}
    if before is None:
        return bool(stopped)
    return any(before.strategies.get(name, before.default).trading_enabled for name in stopped)


__all__ = ["Content", "Publisher", "Terms", "encoded", "expired", "most_severe", "read_published", "read_sequences", "stops_all"]
