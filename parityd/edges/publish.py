"""The publication: one thread that replaces both files, paced by the boot-time clock (CONTRACT 3).

1. The files are always a whole publication, durable before anyone is told; of contents that wait, the newest is written, the rest dropped.
2. A renewal is earned: while `withheld()` names a reason nothing is re-issued and the last permission lapses.
3. `sequence` rises with every issue, `decision_sequence` when an entry changes; both go on above everything seen before.
4. The wall clock and the boot-time clock must have moved alike since the last renewal; else a re-evaluation is asked for first.
5. It decides nothing: entries come from `compose`, a function of state; a failing disk is counted and tried again.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parityd.core.publication import Entries, Head, action_document, no_better_than, override_document, same
from parityd.edges.files import replace_durably

MODE = 0o644
STEP_NS = 2_000_000_000  # the two clocks may differ by this between renewals


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

    def __init__(self, folder: Path, terms: Terms, now: Callable[[], int], boottime: Callable[[], int], withheld: Callable[[], list[str]]) -> None:
        self.folder = folder
        self.terms = terms
        self.now, self.boottime = now, boottime
        self.withheld = withheld
        self.sequence = 0
        self.decision_sequence = 0
        self.entries: Entries | None = None  # as published last
        self.override: dict[str, Any] = {}
        self.action: dict[str, Any] = {}
        self.failures = 0
        self.published_ns = 0
        self.reasons: list[str] = []
        self.stepped = threading.Event()  # clocks disagree: a re-evaluation is needed
        self.told: list[Callable[[Entries | None, Entries, Head], None]] = []
        self._content: Content | None = None
        self._lock = threading.RLock()
        self._due = threading.Condition()
        self._stop = False
        self._thread: threading.Thread | None = None
        self._last: tuple[int, int] | None = None  # (wall, boot) of the last renewal
        self.moving_ns = 0

    # --- from the pump and the operators' watch -----------------------------------------------------------------

    def publish(self, content: Content | None = None, *, rises_only: bool = False, then: Callable[[], Entries] | None = None) -> bool:
        """Replace the files now, in the caller's thread; False where the disk refused. `rises_only`: falls wait for a later call."""
        with self._lock:
            if content is not None:
                self._content = content
            if self._content is None:
                return False
            fresh = (then or self._content.compose)()
            return self._write(no_better_than(fresh, self.entries) if rises_only else fresh)

    def _write(self, entries: Entries) -> bool:
        assert self._content is not None  # noqa: S101  publish and _renew see to it
        before = self.entries
        wall, boot = self.now(), self.boottime()
        decision = self.decision_sequence + (0 if same(entries, before) else 1)
        head = Head(self.sequence + 1, decision, self.terms.instance, self.terms.boot_id, wall, boot, self.terms.ttl, self.terms.on_expiry)
        override = override_document(head, entries)
        action = action_document(head, entries, self._content.strategies)
        try:
            replace_durably(self.folder / "trading_override.json", encoded(override), MODE)
            self.sequence, self.decision_sequence, self.entries, self.override = head.sequence, decision, entries, override
            self.published_ns = wall
            self._last = (wall, boot)
            replace_durably(self.folder / "parity_action.json", encoded(action), MODE)
        except OSError:
            self.failures += 1
            self.sequence = head.sequence  # whether it reached the disk is not known: never used again
            self.decision_sequence = max(self.decision_sequence, decision)
            return False
        self.action = action
        for tell in self.told:
            tell(before, entries, head)
        return True

    # --- renewal ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._due:
            self._stop = True
            self._due.notify_all()
        if self._thread is not None:
            self._thread.join(5)

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        due = self.boottime()
        while True:
            with self._due:
                if self._stop:
                    return
                self._due.wait(min(0.25, self.terms.interval / 4))
                if self._stop:
                    return
            self.moving_ns = self.boottime()
            if self.moving_ns >= due:
                self.renew()
                due = max(due + round(self.terms.interval * 1e9), self.moving_ns)

    def renew(self) -> bool:
        """Re-issue what stands, if it is earned."""
        with self._lock:
            reasons = self.withheld()
            if self._last is not None and self._content is not None:
                drift = abs((self.now() - self._last[0]) - (self.boottime() - self._last[1]))
                if drift > STEP_NS:
                    reasons = [*reasons, f"the wall clock and the boot clock moved {drift / 1e9:.1f} s apart: evaluating again first"]
                    self.stepped.set()
            self.reasons = reasons
            if self._content is None or reasons:
                return False
            return self._write(self._content.compose())

    def evaluated(self) -> None:
        """An evaluation has been made since the clocks stepped: renewals may go on."""
        with self._lock:
            if self.stepped.is_set():
                self._last = (self.now(), self.boottime())
                self.stepped.clear()


def encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


def read_sequences(path: Path) -> tuple[int, int, str]:
    """(sequence, decision_sequence, instance) of a published file; (0, 0, "") where there is none or it cannot be read."""
    try:
        with path.open("rb") as f:
            document = json.loads(f.read(4 << 20))
        return int(document["sequence"]), int(document["decision_sequence"]), str(document["instance"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0, ""
