"""What was published, noted by the next turn: the allowed book and obedience need to know what engines were told, and when nothing was.

1. Publications come in from the publisher's thread and wait; the worker alone notes them.
2. What is told again without a change is noted only for strategies that are new since.
3. Where a publication comes after the one before it has expired, nothing valid was there in between: that is an event, for a replay too.
"""

from collections import deque

import msgspec

from parityd.core.publication import Entries, Head
from parityd.core.verdicts import Verdicts


class Issued:
    """Publications that wait to be noted, and until when the newest of those noted holds."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Head, Entries]] = deque()
        self.expires_ns = 0
        self._noted = (0, 0)  # decision_sequence, and how many strategies there were

    def add(self, head: Head, told: Entries) -> None:
        """Called by the publisher's thread."""
        self._waiting.append((head, told))

    def note(self, v: Verdicts, events: list[tuple[int, str, bytes]]) -> None:
        """Note them in each strategy's memory; a lapse goes into `events`."""
        while self._waiting:
            head, told = self._waiting.popleft()
            lapsed = bool(self.expires_ns) and head.issued_ns > self.expires_ns
            known = (head.decision_sequence, len(v.m.strategies))
            if lapsed:
                events.append((head.issued_ns, "lapse", msgspec.json.encode((self.expires_ns, head.on_expiry))))
            if lapsed or known != self._noted:
                self._noted = known
                self._into(v, head, told, lapsed=lapsed)
            self.expires_ns = head.issued_ns + round(head.ttl_seconds * 1e9)

    def _into(self, v: Verdicts, head: Head, told: Entries, *, lapsed: bool) -> None:
        for name, s in v.m.strategies.items():
            entry = told.strategies.get(name, told.default)
            past, advisory = s.memory.publications, v.m.parameters.of(name).advisory
            if lapsed:
                past.lapse(self.expires_ns, head.issued_ns, head.on_expiry)
            past.publish(head.issued_ns, head.decision_sequence, entry.action, entry.size_multiplier, advisory=advisory)
