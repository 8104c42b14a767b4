"""What the ladder remembers of one strategy, and what a turn of it says.

1. All of it is frozen and plain, so that a restart restores it byte for byte (msgspec) and changes nothing.
2. `rung` is moved by trades alone (findings and escalation), `held` by the present alone; the action they would give is the most severe of both
   and of the latches, and `action` is that, capped where the strategy is advisory.
3. `line` begins the window (a reset or a recovery); `reset_ns` is the line before which trades raise nothing at all.
4. Times are ns since 1970; 0 = never. It knows no thresholds and no clock.
"""

import msgspec

from parityd.core.commands import Command
from parityd.core.evidence import Finding
from parityd.core.ladder_table import ASKS, LEVEL_RANK, worst


class Latch(msgspec.Struct, frozen=True, kw_only=True):
    """A stop that only a reset lifts. `held_back`: it arose in advisory mode and has not been in force yet."""

    code: str
    action: str
    since_ns: int
    reason: str
    held_back: bool = False


class Led(msgspec.Struct, frozen=True, kw_only=True):
    """A code that led to `rung`, and the level whose thresholds it must be clear of before that rung is left."""

    code: str
    rung: str
    level: str


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What a streak raised: not lowered under `action` before a period later than `day` has closed below `level`."""

    action: str
    level: str
    day: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A state finding in force. `clean`: checks in a row that found less; `below`: the worst that those did find."""

    finding: Finding
    clean: int = 0
    below: Finding | None = None


class Enable(msgspec.Struct, frozen=True, kw_only=True):
    """A force_enable in force, with what stood when it was accepted: the action and the codes of EMERGENCY findings."""

    command: Command
    stood: str
    emergencies: tuple[str, ...] = ()


class LadderState(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy on the ladder; `action` and `reason` are what findings and escalation put in force."""

    strategy: str = ""
    action: str = "CONTINUE"
    since_ns: int = 0
    level: str = "OK"
    reason: str = "not judged yet"
    findings: tuple[Finding, ...] = ()
    rung: str = "CONTINUE"
    rung_ns: int = 0
    led: tuple[Led, ...] = ()
    pins: tuple[Pin, ...] = ()
    clean: int = 0
    checked_ns: int = 0
    held: tuple[Held, ...] = ()
    latched: tuple[Latch, ...] = ()
    warning_streak: int = 0
    critical_streak: int = 0
    closed: str = ""
    disables: tuple[int, ...] = ()
    reset_only: bool = False
    advisory: bool = False
    kept: str = "CONTINUE"
    line: int = 0
    reset_ns: int = 0
    enable: Enable | None = None

    @property
    def would_be(self) -> str:
        """The action without advisory mode's cap."""
        return worst(self.rung, *(asked(h.finding) for h in self.held), *(latch.action for latch in self.latched))

    @property
    def latched_action(self) -> str | None:
        """The action of the latched stops in force, which a force_enable must acknowledge; None where nothing is latched."""
        real = [latch.action for latch in self.latched if not latch.held_back]
        return worst(*real) if real else None

    @property
    def streaks(self) -> dict[str, int]:
        """Closed periods in a row at this level or worse."""
        return {"WARNING": self.warning_streak, "CRITICAL": self.critical_streak}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn did. `reason`: one sentence why `action` stands; `ended`: why a force_enable ended, "" where none did."""

    state: LadderState
    action: str
    previous: str
    level: str
    would_be_action: str
    changed: bool
    reason: str
    findings: tuple[Finding, ...] = ()
    ended: str = ""


def asked(finding: Finding) -> str:
    """The action that a finding asks for."""
    return finding.asks if finding.asks is not None else ASKS[finding.level]


def level_over(findings: tuple[Finding, ...]) -> str:
    """The most severe level of some findings."""
    return max((finding.level for finding in findings), key=LEVEL_RANK.__getitem__, default="OK")
