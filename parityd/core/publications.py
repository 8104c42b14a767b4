"""What was published for one strategy over time, what its engine acknowledged, and so what held at its decisions (JUDGEMENT 1).

1. A publication holds from its issue until the next; in between it may lapse, and then the more severe of it and `on_expiry` holds.
2. Sizes scale the allowed book from the time at which the engine acknowledged the publication (or, where it obeys without a word, from its issue);
   an engine that never said anything is scaled by nothing, nor is one in advisory mode.
3. An acknowledgement of a sequence is one of all below it; of several the earliest stands, whatever the order in which they came.
4. Bounded: the oldest changes go first, and with them the times before `floor` are as if never scaled.
"""

from bisect import bisect_right, insort

import msgspec

from parityd.core.ladder_table import EFFECTS, SEVERITY, worst
from parityd.core.records import NO_TS

KEPT = 512
ENDLESS = 2**62
STOPS = SEVERITY["DISABLE_TRADING"]


class Change(msgspec.Struct, frozen=True, array_like=True):
    """An entry as it was published; `advisory`: it scales nothing."""

    issued_ns: int
    decision_sequence: int
    action: str
    size_multiplier: float
    advisory: bool = False


class Lapse(msgspec.Struct, frozen=True, array_like=True):
    """A time in which no publication was valid: [from_ns, to_ns)."""

    from_ns: int
    to_ns: int
    on_expiry: str


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A published stop: acknowledged at (None: not yet), and until when it held."""

    action: str
    decision_sequence: int
    issued_ns: int
    acknowledged_ns: int | None
    until_ns: int


class Publications(msgspec.Struct):
    """The record. `sequences`: (decision_sequence, issued) not yet acknowledged; `acks`: (sequence, time), both rising."""

    changes: list[Change] = msgspec.field(default_factory=list)
    lapses: list[Lapse] = msgspec.field(default_factory=list)
    acks: list[tuple[int, int]] = msgspec.field(default_factory=list)
    sequences: list[tuple[int, int]] = msgspec.field(default_factory=list)
    floor: int = NO_TS
    cuts: bool = False  # whether anything here could scale
    version: int = 0  # rises with every change, so that readers know when to look again

    # --- what is told -------------------------------------------------------------------------------------------

    def publish(self, issued_ns: int, decision_sequence: int, action: str, size_multiplier: float, *, advisory: bool = False) -> None:
        """An entry was published under this `decision_sequence`; the same entry under a new one is noted as to be acknowledged only."""
        if not self.sequences or decision_sequence > self.sequences[-1][0]:
            self.sequences.append((decision_sequence, issued_ns))
            del self.sequences[1:-KEPT]
        last = self.changes[-1] if self.changes else None
        if last is not None and (last.action, last.size_multiplier, last.advisory) == (action, size_multiplier, advisory):
            return
        self.changes.append(Change(issued_ns, decision_sequence, action, size_multiplier, advisory))
        self.cuts |= size_multiplier < 1 and not advisory
        self.version += 1
        if len(self.changes) > KEPT:
            del self.changes[0]
            self.floor = self.changes[0].issued_ns

    def lapse(self, from_ns: int, to_ns: int, on_expiry: str) -> None:
        """No publication was valid in [from_ns, to_ns): the engine was to act by `on_expiry`. Told again with a later end, it grows."""
        if to_ns <= from_ns or not self.changes:
            return
        self.lapses = [one for one in self.lapses if one.from_ns != from_ns]
        insort(self.lapses, Lapse(from_ns, to_ns, on_expiry), key=lambda one: one.from_ns)
        del self.lapses[:-KEPT]
        self.cuts |= EFFECTS[on_expiry].size == 0
        self.version += 1

    def acknowledge(self, sequence: int, ts: int) -> None:
        """A heartbeat of `ts` said that the engine obeys this decision_sequence."""
        if any(known >= sequence and at <= ts for known, at in self.acks):
            return
        self.acks = sorted([ack for ack in self.acks if not (ack[0] <= sequence and ack[1] >= ts)] + [(sequence, ts)])[-KEPT:]
        newest = self.acks[-1][0]
        self.sequences = [one for one in self.sequences[:-1] if one[0] > newest] + self.sequences[-1:]
        self.version += 1

    # --- what is asked ------------------------------------------------------------------------------------------

    def acknowledged_at(self, sequence: int) -> int | None:
        """When the engine first said that it obeys this sequence or a later one; None: not yet."""
        k = bisect_right(self.acks, (sequence, NO_TS))
        return self.acks[k][1] if k < len(self.acks) else None

    def unacknowledged_since(self) -> int | None:
        """Issue of the oldest decision_sequence that an engine which acknowledges has not acknowledged; None: none, or it never does."""
        if not self.acks:
            return None
        newest = self.acks[-1][0]
        return next((issued for sequence, issued in self.sequences if sequence > newest), None)

    def action_at(self, t: int) -> str | None:
        """The action published at a time; None before the first publication."""
        k = bisect_right(self.changes, t, key=lambda one: one.issued_ns) - 1
        if k < 0:
            return None
        lapsed = [one.on_expiry for one in self.lapses if one.from_ns <= t < one.to_ns]
        return worst(self.changes[k].action, *lapsed)

    def multiplier_at(self, t: int, *, obeys: bool) -> float:
        """The multiplier that scaled an entry decided at a time."""
        return scale_at(self.scales(obeys=obeys), t)

    def scales(self, *, obeys: bool) -> list[tuple[int, float]]:
        """(from ns, multiplier) as steps, rising in time; 1 before the first. Empty where nothing was ever scaled."""
        if not self.cuts or not (obeys or self.acks):
            return []
        steps = [
            (start, 1.0 if one.advisory else one.size_multiplier)
            for one in self.changes
            if (start := self._start(one, obeys=obeys)) is not None
        ]
        steps.sort(key=lambda step: step[0])
        first = min((at for _, at in self.acks), default=ENDLESS)
        advisory = self._advisory()
        gaps = [(one.from_ns, one.to_ns) for one in self.lapses if EFFECTS[one.on_expiry].size == 0 and (obeys or first <= one.from_ns)]
        gaps = [gap for gap in gaps if scale_at(advisory, gap[0]) > 0]
        out: list[tuple[int, float]] = []
        for t in sorted({t for t, _ in steps} | {t for gap in gaps for t in gap}):
            size = 0.0 if any(a <= t < b for a, b in gaps) else scale_at(steps, t)
            if size != (out[-1][1] if out else 1.0):
                out.append((t, size))
        return out

    def _start(self, one: Change, *, obeys: bool) -> int | None:
        if obeys:
            return one.issued_ns
        acknowledged = self.acknowledged_at(one.decision_sequence)
        return None if acknowledged is None else max(acknowledged, one.issued_ns)

    def _advisory(self) -> list[tuple[int, float]]:
        """Steps that are 0 while the strategy was advisory: a lapse scales nothing then."""
        return [(one.issued_ns, 0.0 if one.advisory else 1.0) for one in self.changes]

    def stops(self) -> list[Stop]:
        """Every published stop and until when it held; a stop that follows a stop is one of its own, to be acknowledged anew."""
        out = []
        for k, one in enumerate(self.changes):
            if SEVERITY[one.action] >= STOPS:
                lifted = next((later.issued_ns for later in self.changes[k + 1 :] if SEVERITY[later.action] < STOPS), ENDLESS)
                acknowledged = self.acknowledged_at(one.decision_sequence)
                at = None if acknowledged is None else max(acknowledged, one.issued_ns)
                out.append(
                    Stop(
                        action=one.action,
                        decision_sequence=one.decision_sequence,
                        issued_ns=one.issued_ns,
                        acknowledged_ns=at,
                        until_ns=lifted,
                    )
                )
        return out


def scale_at(scales: list[tuple[int, float]], t: int) -> float:
    """The step in force at a time; 1 before the first."""
    k = bisect_right(scales, t, key=lambda step: step[0]) - 1
    return scales[k][1] if k >= 0 else 1.0


def first_difference(old: list[tuple[int, float]], new: list[tuple[int, float]], floor: int = NO_TS) -> int | None:
    """From when on (not before `floor`) two scalings differ; None: nowhere."""
    for t in sorted({max(t, floor) for t, _ in (*old, *new)}):
        if scale_at(old, t) != scale_at(new, t):
            return t
    return None
