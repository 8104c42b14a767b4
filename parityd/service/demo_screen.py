"""How the demo is told: a moving line under what has happened on a terminal, plain lines elsewhere.

1. Every change of action is a line of its own, with its reason; progress is one line that moves, or one line every three simulated hours.
2. It decides nothing and asks nothing: what it shows is what the daemon's readers see.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from parityd.core.instants import rfc3339
from parityd.core.verdicts import Change
from parityd.service.tables import painted, shown

EVERY_NS = 3 * 3600 * 1_000_000_000


def minute(ns: int) -> str:
    """2024-01-08 09:15"""
    return rfc3339(ns)[:16].replace("T", " ")


def summary(strategies: Mapping[str, Mapping[str, Any]]) -> str:
    """One strategy after the other: its trades, its tracking error, its action."""
    out = []
    for name, s in sorted(strategies.items()):
        trades, metrics = s["trades"], s["metrics"]
        counts = "  ".join(f"{k} {trades[k]}" for k in ("matched", "missed", "unexpected"))
        out.append(f"{escape(name)}: {counts}  tracking error {shown(metrics.get('tracking_error_bps'))} bps  {painted(s['action'])}")
    return "  |  ".join(out) or "nothing has traded yet"


class Terminal:
    """Follows a run. Use as a context: the moving line goes when it ends."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live = Live(console=self.console, refresh_per_second=8, transient=True) if self.console.is_terminal else None
        self._next = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def moved(self, now: int, strategies: dict[str, dict[str, Any]]) -> None:
        line = f"[bold]{minute(now)}[/]  {summary(strategies)}"
        if self._live is not None:
            self._live.update(line)
        elif now >= self._next:
            self._next = (now // EVERY_NS + 1) * EVERY_NS
            self._print(line)

    def changed(self, change: Change) -> None:
        who = "every other strategy" if change.strategy == "*" else change.strategy
        self._print(
            f"[bold]{minute(change.ts)}[/]  {escape(who)}: {painted(change.before)} -> {painted(change.after)}  {escape(change.reason)}"
        )

    def reported(self, day: str, headline: str) -> None:
        self._print(f"report of {day}: {escape(headline)}")

    def said(self, text: str) -> None:
        self._print(escape(text))

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)
