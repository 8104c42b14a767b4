"""Lines of the audit trail that judgement and operators leave: made from what is given, stored by the turn that they tell of.

The dotted names and the fields are read by others (docs/reference/files.md); a line is written once, in the transaction of what it tells.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from parityd.core.commands import Command
from parityd.core.verdicts import Change
from parityd.store.entries import AuditDraft


def _line(now: int, event: str, actor: str, strategy: str, data: dict[str, Any]) -> AuditDraft:
    return AuditDraft(ts_ns=now, event=event, actor=actor, strategy=strategy, data=data)


def changed(changes: Iterable[Change], why: str, now: int) -> list[AuditDraft]:
    """Actions that changed. `why`: which turn judged."""
    return [
        _line(now, "action.changed", "parityd", x.strategy, {"from": x.before, "to": x.after, "reason": x.reason, "by": why})
        for x in changes
    ]


def ended(commands: Iterable[Command], enables: Iterable[tuple[str, str]], now: int) -> list[AuditDraft]:
    """Commands whose time is over, and force_enables that judgement ended: (strategy, why)."""
    over = [_line(now, "override.ended", "parityd", x.strategy, {"command": x.command, "operator": x.operator}) for x in commands]
    return over + [_line(now, "override.ended", "parityd", name, {"command": "force_enable", "reason": why}) for name, why in enables]


def applied(c: Command, name: str, now: int) -> AuditDraft:
    """A command that was accepted, with what it says. `name`: of its file."""
    said = {k: x for k, x in msgspec.to_builtins(c).items() if x not in (None, "", [], ())}
    return _line(now, "override.applied", c.operator or "unknown", c.strategy, {"file": name, **said})


def halts(raised: Iterable[tuple[str, str]], lifted: Iterable[tuple[str, str]], now: int) -> list[AuditDraft]:
    """Halts that came and went: (scope, name of the file)."""
    both = (("halt.raised", raised), ("halt.lifted", lifted))
    return [_line(now, event, "operator", scope, {"file": name}) for event, those in both for scope, name in those]
