"""What the shell may complete: commands of operators, strategies, days, by what lies in the data directory.

1. Nothing here fails or speaks: where something cannot be read there is nothing to complete.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

COMMANDS = ("force_disable", "reduce_size", "force_enable", "reset", "halt", "unhalt")
LATCHED = ("DISABLE_TRADING", "EMERGENCY_STOP", "BROKEN_STORE")


def words(of: Iterable[str]) -> Callable[[str], list[str]]:
    """Completes one of some words."""
    known = list(of)
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def strategies(ctx: typer.Context, incomplete: str) -> list[str]:
    """The strategies that are published."""
    return [name for name in _published(ctx).get("strategies", {}) if name.startswith(incomplete)]


def days(ctx: typer.Context, incomplete: str) -> list[str]:
    """The days that have a report, newest first."""
    folder = _data_dir(ctx)
    names = [p.stem.removeprefix("parity_report_") for p in folder.glob("parity_reports/parity_report_*.json")] if folder else []
    return sorted((name for name in names if name.startswith(incomplete)), reverse=True)


def _data_dir(ctx: typer.Context) -> Path | None:
    from parityd.settings import load

    try:
        return load(ctx.params.get("config"), os.environ).data_dir
    except Exception:  # noqa: BLE001  a shell that completes is no place for an error
        return None


def _published(ctx: typer.Context) -> dict[str, Any]:
    folder = _data_dir(ctx)
    try:
        found = json.loads((folder / "system_actions/parity_action.json").read_bytes()) if folder else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
