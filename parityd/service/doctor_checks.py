"""What a look at an installation says: checks with their mends, and the worst of them.

1. A check says `ok`, `warning` (it runs, but look) or `problem` (it will not run, or not rightly); the worst of them is the answer.
2. Whatever is not ok names the command, or the step, that puts it right.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from parityd.edges.asking import ask_ours
from parityd.settings import Settings

OK, WARNING, PROBLEM = "ok", "warning", "problem"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `mend`: the command (or the step) that puts it right, "" where nothing is wrong."""

    area: str
    state: str
    text: str
    mend: str = ""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything found. `files`: of files that were named (see `doctor_files`)."""

    worst: str
    checks: list[Check] = msgspec.field(default_factory=list)
    files: list[dict[str, Any]] = msgspec.field(default_factory=list)
    books: list[dict[str, Any]] = msgspec.field(default_factory=list)


def worst(checks: Iterable[Check]) -> str:
    states = {c.state for c in checks}
    return PROBLEM if PROBLEM in states else WARNING if WARNING in states else OK


def lines(found: Findings) -> Iterator[str]:
    """For a terminal."""
    for c in found.checks:
        yield f"{c.state:8} {c.area:12} {c.text}"
        if c.mend:
            yield f"{'':8} {'':12} mend: {c.mend}"


def asked(settings: Settings, path: str) -> Any:
    """What a daemon of ours answers, None where nobody does."""
    try:
        return ask_ours(settings.data_dir, settings.http.host, settings.http.port, path, 3)
    except (OSError, ValueError):
        return None


def published(settings: Settings) -> dict[str, Any]:
    """trading_override.json as it lies there, {} where it cannot be read."""
    try:
        found = json.loads((settings.data_dir / "system_actions/trading_override.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def said(program: str, *arguments: str) -> str | None:
    """What a program of this machine prints; None where it does not answer."""
    command = [program, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603  arguments as a list, no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout
