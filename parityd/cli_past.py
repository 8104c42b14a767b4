"""`parityd demo` and `parityd replay`: parse, call, print; decide nothing.

1. Bad input is one line on standard error (what and where) and exit 3; no traceback.
2. `register` hangs these two into an application.
"""

from pathlib import Path
from typing import Annotated

import typer

from parityd.cli_compare import ConfigOption


def demo(
    config: ConfigOption = None,
    speed: Annotated[float, typer.Option("--speed", metavar="N", help="Simulated seconds a second; 720 is a day in two minutes.")] = 720.0,
    port: Annotated[int | None, typer.Option("--port", metavar="P", min=0, max=65535, help="Port of the page; a busy one is replaced.")] = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Run in this folder, and leave it.")] = None,
) -> None:
    """The real daemon on two bundled days of trading, on a replay clock. Ctrl-C ends it.

    Example: parityd demo --speed 2000
    """
    from parityd.demonstration import demo as shown

    raise typer.Exit(shown(config, speed, port, keep))


def register(app: typer.Typer) -> None:
    """Hang the commands into an application."""
    app.command("demo")(demo)
