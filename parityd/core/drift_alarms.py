"""An alarm of the detectors in time: when it was raised, since when things had changed, how long it stands.

1. An adverse alarm is latched for 7 days from the trade (or the end of the interval) that raised it, or until a reset; then its side's next
   epoch begins with the first point from there on. So an epoch is a function of the points alone, not of when somebody looked.
2. A favourable alarm ends its epoch by itself with the next trade.
"""

from typing import Any, Literal

import msgspec

from parityd.core.drift_lane import Alarm
from parityd.core.evidence import DriftAlarm
from parityd.core.instants import rfc3339

LATCH_NS = 7 * 86_400 * 1_000_000_000
Side = Literal["trades", "intervals"]


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """`at`, `changed_at`: ns UTC of the point that raised it and of the first changed one."""

    side: Side
    at: int
    changed_at: int
    alarm: Alarm

    @property
    def adverse(self) -> bool:
        return self.alarm.direction == "adverse"

    @property
    def until(self) -> int:
        """When its latch ends by itself."""
        return self.at + LATCH_NS

    def shown(self) -> dict[str, Any]:
        """As published."""
        times = {"at": rfc3339(self.at), "changed_at": rfc3339(self.changed_at), "until": rfc3339(self.until)}
        return {**msgspec.to_builtins(self.alarm), **times}


def latch_of(raised: list[Raised], side: Side, epoch: int) -> int | None:
    """When the adverse alarms of an epoch cease to hold it; None where there is none."""
    ends = [one.until for one in raised if one.side == side and one.alarm.epoch == epoch and one.adverse]
    return max(ends, default=None)


def gravest(standing: list[Raised]) -> DriftAlarm | None:
    """The alarm that a judgement is told: adverse before favourable, one that is no mere volatility before one that may be, the largest effect."""
    if not standing:
        return None
    one = max(standing, key=lambda r: (r.adverse, r.alarm.note is None, abs(r.alarm.effect_bps or 0.0), -r.at)).alarm
    return DriftAlarm(channel=one.channel, adverse=one.direction == "adverse", effect_bps=one.effect_bps, note=one.note)
