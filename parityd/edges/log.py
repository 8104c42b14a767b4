"""Logs: one event a line with a fixed dotted name and fields; JSON, or readable on a terminal.

1. Writing never blocks the service: lines go through a bounded queue to a thread; what does not fit is dropped, counted and told (`log.dropped`).
2. The same event with the same key fields more than `BURST` times a minute is counted instead of written; the count is told afterwards.
"""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

BURST = 20
WINDOW_NS = 60_000_000_000
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}


class Sink:
    """A thread that writes lines; `dropped` counts those that found the queue full."""

    def __init__(self, stream: TextIO, size: int = 10_000) -> None:
        self.stream = stream
        self.least = LEVELS["debug"]
        self.dropped = 0
        self._queue: queue.Queue[str | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    log = debug = info = warning = warn = error = critical = fatal = failure = exception = msg

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(line + "\n")
                if self._queue.empty():
                    self._caught_up()
        with contextlib.suppress(OSError, ValueError):
            self._caught_up()

    def _caught_up(self) -> None:
        if self.dropped:
            n, self.dropped = self.dropped, 0
            self.stream.write(f'{{"event": "log.dropped", "level": "error", "lines": {n}}}\n')
        self.stream.flush()

    def at_least(self, level: str) -> None:
        """From now on lines of this level and above."""
        self.least = LEVELS[level]

    def too_low(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor that lets go of what is below the level."""
        if LEVELS.get(method, LEVELS["error"]) < self.least:
            raise structlog.DropEvent
        return event

    def close(self, seconds: float = 2.0) -> None:
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(seconds)


class _Quieter:
    """Counts repeats of an event instead of writing them."""

    def __init__(self, now: Any) -> None:
        self.now = now
        self.seen: dict[tuple[str, str], tuple[int, int]] = {}

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        key = (str(event.get("event")), str(event.get("strategy") or event.get("error") or ""))
        now = self.now()
        start, n = self.seen.get(key, (now, 0))
        if now - start > WINDOW_NS or now < start:
            if n > BURST:
                event["repeated"] = n - BURST
            start, n = now, 0
        self.seen[key] = (start, n + 1)
        if len(self.seen) > 10_000:
            self.seen.clear()
        if n + 1 > BURST:
            raise structlog.DropEvent
        return event


def to_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether the service manager's journal reads this stream (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


def _with_priority(render: Any) -> Any:
    """Each line with its level as the journal reads it (sd-daemon(3)), so that `journalctl -p err` finds it."""

    def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        return f"<{PRIORITIES.get(method, 3)}>{render(logger, method, event)}"

    return rendered


def configure(form: str, level: str, now: Any, stream: TextIO | None = None, *, journal: bool = False) -> tuple[Any, Sink]:
    """The logger of the service and its sink. `form`: auto, json or console; `journal`: lines carry their level for it."""
    target = stream or sys.stderr
    sink = Sink(target)
    console = form == "console" or (form == "auto" and target.isatty())
    sink.at_least(level)
    processors: list[Any] = [
        sink.too_low,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _Quieter(now),
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=target.isatty()) if console else structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    if journal:
        processors[-1] = _with_priority(processors[-1])
    logger = structlog.wrap_logger(sink, processors=processors, wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]))
    return logger, sink
