"""What the web asks of the daemon: one protocol, plain content in, nothing back.

1. The web reads and never writes: every call answers with content that the caller may keep and that nobody changes afterwards.
2. `now`, `not_ready`, `action`, `override`, `status` and `strategy` answer at once from memory and are called on the loop alone; `trades`,
   `series` and the reports may block and are called in threads, several at a time.
3. A key that is absent or None was not measured and is shown as such; nothing is computed here from other keys.
4. Times are ns since 1970 (`now`) or RFC 3339 text (in content); a series point may carry either, or epoch seconds.

Content of `status()`, each key optional: `version instance pid started_at uptime_seconds advisory last_check last_report` (times as text), `judged_at` (judgement's own clock,
where it is another),
`lag` and `backlog` (`{book: seconds}`, `{book: files}`), `watermarks` (`{book: time}`), `free_bytes`, `degraded` (list of sentences),
`halts` (list of `{name, strategy, since}`), `commands` (list of `{strategy, command, operator, reason, expires_at, size_multiplier}`),
`last_actions` (list, newest first, of `{ts, strategy, from, to, reason}`), `refused` (`{code: n}`).

An entry of `action()` names the commands in force on it in `overrides` (a list), or in `override` (one or null); so does `default`.

Content of `strategy(name)`: its entry of `action()`.

A trade, here and in reports, each key optional: `trade_id strategy symbol side state matched_by ts day ambiguous currency
backtest_quantity backtest_price backtest_fee live_quantity live_price live_fee price_diff_bps total_pnl_diff total_pnl_diff_bps
latency_ms timing_diff_ms` and `components`, a dict of MATH 2's `*_impact` in quote currency (null = not measured).
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol

Content = dict[str, Any]


class Desk(Protocol):
    """The daemon as its readers see it."""

    def now(self) -> int:
        """Wall time, ns."""
        ...

    def not_ready(self) -> list[str]:
        """Why the daemon is not ready, one sentence each; [] = ready."""
        ...

    def action(self) -> Content:
        """The content of `parity_action.json` as it stands."""
        ...

    def override(self) -> Content:
        """The content of `trading_override.json` as it stands; {} before the first publication."""
        ...

    def status(self) -> Content:
        """Lag, backlog, uptime, commands in force and last actions, as the module says."""
        ...

    def strategy(self, name: str) -> Content | None:
        """One strategy's entry; None where there is no such strategy."""
        ...

    def series(self, name: str) -> Content:
        """A strategy's chart series of the last days, as `charts` names them; {} while there are none. Blocks for a moment."""
        ...

    def trades(self, strategy: str | None, day: str | None, limit: int, cursor: str | None) -> tuple[list[Content], str | None]:
        """Trades, newest quarter hour first, and the cursor of the next page or None. Blocks.

        A cursor is text of `A-Za-z0-9._~=-`, at most 512 long. ValueError: it is none of ours.
        """
        ...

    def report_days(self) -> list[Content]:
        """The reports at hand, newest first: `{day, revision, generated_at, headline}`. Blocks."""
        ...

    def report(self, day: str) -> Content | None:
        """The report of a UTC day as JSON content. Blocks."""
        ...

    def report_html(self, day: str) -> bytes | None:
        """The report of a UTC day as it was written. Blocks."""
        ...

    def subscribe(self) -> AsyncIterator[Content]:
        """`{"type": "change", ...}` at once when something changed, `{"type": "heartbeat"}` every few seconds otherwise."""
        ...


class Seen(NamedTuple):
    """What the desk said at one moment, taken on the loop, rendered elsewhere."""

    now: int
    not_ready: list[str]
    action: Content
    override: Content
    status: Content

    @classmethod
    def of(cls, desk: Desk) -> "Seen":
        return cls(desk.now(), desk.not_ready(), desk.action(), desk.override(), desk.status())
