"""`parityd demo` and `parityd replay`: parse, call, print; decide nothing.

1. Bad input is one line on standard error (what and where) and exit 3; no traceback.
2. `register` hangs these two into an application.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration (TOML). Else, for a replay, /etc/parityd/parityd.toml where it exists."),
]


def demo(
    config: Config = None,
    speed: Annotated[float, typer.Option("--speed", metavar="N", help="Simulated seconds a second; 720 is a day in two minutes.")] = 720.0,
    port: Annotated[
        int | None, typer.Option("--port", metavar="P", min=0, max=65535, help="Port of the page; a busy one is replaced.")
    ] = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Run in this folder, and leave it.")] = None,
) -> None:
    """The real daemon on two bundled days of trading, on a replay clock. Ctrl-C ends it.

    Example: parityd demo --speed 2000
    """
    from parityd.demonstration import demo as shown

    raise typer.Exit(shown(config, speed, port, keep))


def replay(
    config: Config = None,
    first: Annotated[str, typer.Option("--from", metavar="D", help="First UTC day, YYYY-MM-DD; else that of the first record.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="D", help="Last UTC day; the replay ends with its report.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line: ts, strategy, from, to, reason.")] = False,
    changed: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Judge with this setting; may be given several times.")
    ] = None,
    arrival: Annotated[
        str, typer.Option("--arrival", metavar="ts|recorded", help="Records arrive at their ts, or as they once did.")
    ] = "ts",
) -> None:
    """What is stored through the same code once more, on a virtual clock: every change of action, up to the report of the last day.

    Example: parityd replay --from 2026-11-01 --to 2026-11-20 --set thresholds.warning_bps=15
    """
    from parityd.replaying import replay as again

    again(config, os.environ, first, last, changed or [], arrival, _out, as_json=json_)


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")
    if getattr(sys.stdout, "left", False):  # nobody reads on: nothing of a replay outlives it
        raise typer.Exit


def register(app: typer.Typer) -> None:
    """Hang the commands into an application."""
    app.command("demo")(demo)
    app.command("replay")(replay)
