"""The chart series of a strategy's page: made by the worker, which owns the state, at most once a minute each, and kept.

1. A page never waits longer than `PATIENCE` for them: it shows those made before, or none. What was asked for is kept when it comes.
2. One job of this kind is before the worker at a time, so that readers cannot crowd out judgement.
"""

import threading
from collections.abc import Callable
from typing import Any

from parityd.core.assessing import rate
from parityd.core.drift_path import drift_path
from parityd.core.returns import measured_returns
from parityd.core.trailing import recent
from parityd.service.brain import Brain

KEPT_NS = 60_000_000_000
PATIENCE = 1.5
MOST = 64
Series = dict[str, Any]


class Recent:
    """Series by strategy."""

    def __init__(self, brain: Brain, boottime: Callable[[], int]) -> None:
        self.brain, self.boottime = brain, boottime
        self._kept: dict[str, tuple[int, Series]] = {}
        self._busy = threading.Lock()

    def of(self, name: str, ask: Callable[[Callable[[], Any], float], Any] | None) -> Series:
        """Blocks for a moment; {} where there is nothing to show yet. `ask`: hands a job to the worker and waits so many seconds."""
        made, series = self._kept.get(name, (None, {}))
        if ask is None or (made is not None and self.boottime() - made < KEPT_NS) or not self._busy.acquire(blocking=False):
            return series
        try:
            ask(lambda: self._job(name), PATIENCE)
        except (TimeoutError, RuntimeError):  # the worker is busy, or ends
            return series
        return self._kept.get(name, (0, series))[1]

    def _job(self, name: str) -> None:
        try:
            if len(self._kept) >= MOST:
                del self._kept[min(self._kept, key=lambda n: self._kept[n][0])]
            self._kept[name] = (self.boottime(), self._make(name))
        except Exception as e:  # noqa: BLE001  a picture must not stop the worker: the page is without
            self._kept[name] = (self.boottime(), {"failed": f"{type(e).__name__}: {e}"})
        finally:
            self._busy.release()

    def _make(self, name: str) -> Series:
        m, now = self.brain.v.m, self.brain.now()
        s = m.strategies.get(name)
        if s is None:
            return {}

        returns = measured_returns(s, m.marks, capital=m.parameters.of(name).capital, now=now, rate=lambda ccy: rate(m, ccy, now)).returns
        series = recent(s, m.marks, m.names, returns, now)
        feed = self.brain.v.gauges.get(name)
        path = drift_path(feed.feed, now) if feed is not None else []
        return {**series, "drift": path} if path else series
