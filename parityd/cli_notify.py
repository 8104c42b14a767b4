"""`parityd notify test`: one notice to every configured address, and what became of it.

1. Needs neither the daemon nor its lock; an address is never shown.
2. Exit 0 where every address took it, 3 where one did not or none is configured.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from parityd import __version__
from parityd.edges.notify import channels
from parityd.problem import Problem
from parityd.settings import SettingsError, load

ERROR = 3
notify_app = typer.Typer(no_args_is_help=True, help="Who is told, and whether that works.")


@notify_app.callback()
def _group() -> None:
    """Who is told, and whether that works."""


@notify_app.command("test")
def send_test(
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration (TOML).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Send a test notice to every address in notify.urls and say what became of it.

    Example: PARITYD_NOTIFY__URLS=json://127.0.0.1:8080/ parityd notify test
    """
    try:
        settings = load(config, os.environ)
    except SettingsError as e:
        raise Problem(str(e)) from None
    found = channels(u.get_secret_value() for u in settings.notify.urls)
    if not found:
        raise Problem("notify.urls names no address: nobody would be told")
    name = settings.publish.instance or "parityd"
    text = f"This is a test by parityd {__version__}. Nothing happened."

    async def send() -> list[str]:
        return list(await asyncio.gather(*(c.attempt(f"parityd {name}: test", text, "test") for c in found)))

    said = asyncio.run(send())
    if json_:
        typer.echo(
            json.dumps([{"channel": c.label, "sent": not why, "error": why or None} for c, why in zip(found, said, strict=True)], indent=1)
        )
    else:
        for c, why in zip(found, said, strict=True):
            typer.echo(f"parityd: {c.label}: {why}" if why else f"{c.label}: sent", err=bool(why))
    raise typer.Exit(ERROR if any(said) else 0)


def register(app: typer.Typer) -> None:
    """Hang `notify` into an application."""
    app.add_typer(notify_app, name="notify")
