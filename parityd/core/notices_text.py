"""The words of notices: a title that says what and for whom, a body that says since when, why, what it means and what to do.

1. Plain text. Strings of records and operators are one line, printable and of bounded length.
2. A title names the instance first, so that several of them can share a channel.
3. It decides nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from parityd.core.commands import ALL
from parityd.core.instants import rfc3339
from parityd.core.ladder_table import EFFECTS

OVERRIDES = ("override.applied", "override.ended", "halt.raised", "halt.lifted")
_LONGEST = 400
_NAMES = 8


class _Moved(Protocol):
    @property
    def strategy(self) -> str: ...
    @property
    def before(self) -> str: ...
    @property
    def after(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def ts_ns(self) -> int: ...


def line(value: object) -> str:
    """One printable line of bounded length."""
    flat = "".join(c if c.isprintable() else " " for c in str(value))
    flat = " ".join(flat.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"


def when(ns: int) -> str:
    return rfc3339(ns)[:19].replace("T", " ") + " UTC"


def who(names: Sequence[str]) -> str:
    """`*` concerns all; else the names, the first few of many."""
    if ALL in names:
        return "all strategies"
    shown = ", ".join(sorted(names)[:_NAMES])
    return shown if len(names) <= _NAMES else f"{shown} and {len(names) - _NAMES} more"


def effect(action: str) -> str:
    e = EFFECTS[action]
    return f"New risk: {e.new_risk}. Exits: {e.exits}. Working orders: {e.working_orders}."


class Words:
    """Each kind of notice as (title, body). `advise`: a reason -> what to look at first, or ""."""

    def __init__(self, instance: str, advise: Callable[[str], str]) -> None:
        self.instance, self.advise = instance, advise

    def _title(self, said: str) -> str:
        return line(f"parityd {self.instance}: {said}")

    def signed(self, body: str, number: int) -> str:
        """With the number by which a notice that comes twice is known."""
        return f"{body}\nNotice {number} of {self.instance}."

    def change(self, moves: Sequence[_Moved]) -> tuple[str, str]:
        """Changes that share what they lead to and why."""
        first = moves[0]
        names = [m.strategy for m in moves]
        before = ", ".join(sorted({m.before for m in moves}))
        rows = [
            f"{who(names)}: {before} -> {first.after}, {when(min(m.ts_ns for m in moves))}",
            f"Why: {line(first.reason)}",
            effect(first.after),
        ]
        advice = self.advise(first.reason) if first.after != "CONTINUE" else ""
        return self._title(f"{first.after} for {who(names)}"), "\n".join(rows + ([f"Look at: {advice}"] if advice else []))

    def reminder(self, names: Sequence[str], action: str, reason: str, since: int, now: int) -> tuple[str, str]:
        rows = [f"{who(names)}: {action} since {when(since)} ({_lasting(now - since)})", f"Why: {line(reason)}", effect(action)]
        rows.append("Told again until it is left or an override acknowledges it.")
        return self._title(f"still {action} for {who(names)}"), "\n".join(rows)

    def digest(self, kind: str, strategy: str, held: int, since: int, last: str, action: str, now: int) -> tuple[str, str]:
        if kind == "change":
            said = f"{held} more changes of {who([strategy])}, now {action}"
        else:
            said = f"{held} more {'commands refused' if kind == 'refused' else 'operator events'}"
        return self._title(said), f"{said}, between {when(since)} and {when(now)}.\nThe last: {line(last)}"

    def override(self, row: Mapping[str, Any], ts: int) -> tuple[str, str]:
        """A row of OVERRIDES."""
        data, event = row["data"], row["event"]
        if event.startswith("halt."):
            said = f"HALT {'seen' if event == 'halt.raised' else 'lifted'}: {line(data.get('file', ''))}"
            return self._title(said), f"{said}, {when(ts)}"
        scope = who([str(data.get("strategy") or row["strategy"] or ALL)])
        done = "applied" if event == "override.applied" else "ended"
        said = f"{data.get('command', 'override')} {done} for {scope}"
        rows = [f"{said}, {when(ts)}, operator {line(data.get('operator') or row['actor'])}"]
        rows += [f"Reason: {line(data['reason'])}"] if data.get("reason") else []
        rows += [f"Size: {data['size_multiplier']:g}"] if isinstance(data.get("size_multiplier"), int | float) else []
        rows += [f"Until: {when(data['expires_ns'])}"] if isinstance(data.get("expires_ns"), int) else []
        rows += [f"Note: {line(note)}" for note in data.get("notes", ())]
        return self._title(said), "\n".join(rows)

    def refused(self, found: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        said = "a command was refused" if len(found) == 1 else f"{len(found)} commands were refused"
        rows = [f"{line(x.get('file', ''))}: {x.get('code', '')}: {line(x.get('reason', ''))}" for x in found[:5]]
        return self._title(said), "\n".join([*rows, *([f"... and {len(found) - 5} more"] if len(found) > 5 else [])])

    def lapse(self, on_expiry: str, reasons: Sequence[str], since: int) -> tuple[str, str]:
        rows = [f"No publication is renewed since {when(since)}: engines fall to {on_expiry}.", *(f"Why: {line(x)}" for x in reasons)]
        return self._title(f"publication expired, engines fall to {on_expiry}"), "\n".join(rows)

    def lapse_over(self, since: int, now: int) -> tuple[str, str]:
        return self._title("publications are renewed again"), f"Renewed again at {when(now)}, after {_lasting(now - since)}."

    def report(self, report: Mapping[str, Any]) -> tuple[str, str]:
        """The day in short: the headline, and a line a strategy."""
        rows = [line(report.get("headline", ""))]
        strategies = report.get("strategies", {})
        for name, s in list(strategies.items())[:20]:
            trades, metrics = s.get("trades", {}), s.get("metrics", {})
            error = metrics.get("tracking_error_bps")
            rows.append(
                f"{line(name)}: {s.get('action')}, level {s.get('level')}, tracking error {'not measured' if error is None else f'{error:.1f} bps'}, "
                f"{trades.get('matched', 0)} matched, {trades.get('missed', 0)} missed, {trades.get('unexpected', 0)} unexpected"
            )
        rows += [f"... and {len(strategies) - 20} more strategies"] if len(strategies) > 20 else []
        return self._title(f"report of {report.get('day')}"), "\n".join(rows)


def _lasting(ns: int) -> str:
    minutes = max(0, ns) // 60_000_000_000
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
