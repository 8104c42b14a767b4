"""The command line: parses, calls, prints; decides nothing.

1. Every command takes `--config FILE`. Bad input is one line on standard error, what and where, exit 3, never a traceback.
2. With `--json` standard output is the JSON content and nothing else.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from parityd import __version__
from parityd.completing import days, strategies
from parityd.problem import Problem
from parityd.progress import bar
from parityd.settings import Settings, SettingsError, load

app = typer.Typer(
    name="parityd",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Is live still the strategy that was backtested?",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at the configuration.")
app.add_typer(config_app, name="config")

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration (TOML). Else /etc/parityd/parityd.toml where it exists.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
ERROR = 3


_USAGE: type[Exception] = typer.BadParameter.__mro__[2]  # the command line library's own root of usage errors


def settings_of(config: Path | None) -> Settings:
    """Load the configuration or end with one clear line."""
    try:
        settings = load(config, os.environ)
    except SettingsError as e:
        raise Problem(str(e)) from None
    for warning in settings.warnings():
        typer.echo(f"parityd: {warning}", err=True)
    return settings


def out(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def out_json(document: Any) -> None:
    """JSON, in which what is no number is null."""
    try:
        out(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1))
    except ValueError:
        import msgspec

        out_json(msgspec.json.decode(msgspec.json.encode(document, enc_hook=str)))


def moment(text: str, name: str) -> int:
    """A time given on the command line, in ns."""
    from parityd.core.instants import parse_time
    from parityd.core.records import NO_TS

    t = parse_time(text)
    if t == NO_TS:
        raise Problem(f"{name}: {text!r} is no time; give RFC 3339 with an offset, such as 2026-11-20T08:00:00Z")
    return t


def _version(asked: bool) -> None:
    if asked:
        out(f"parityd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Is live still the strategy that was backtested?"""


@app.command()
def run(config: Config = None) -> None:
    """Run the daemon. SIGTERM and SIGINT end it.

    Example: parityd run --config /etc/parityd/parityd.toml
    """
    from parityd.running import main

    raise typer.Exit(main(settings_of(config), config))


@app.command()
def check(
    config: Config = None, json_: Json = False, at: Annotated[str, typer.Option("--at", metavar="TS", help="Judge as of this time.")] = ""
) -> None:
    """Drain the spool, evaluate, publish once. Exit 0 CONTINUE, 1 WARNING, 2 worse.

    Example: parityd check --json
    """
    from parityd.commands import check as once

    settings = settings_of(config)
    with bar("files") as tell:
        document = once(settings, moment(at, "--at") if at else None, tell)
    if json_:
        out_json(document)
    else:
        from parityd.service.tables import action_table

        action_table(document)
    raise typer.Exit({"CONTINUE": 0, "WARNING": 1}.get(document["action"], 2))


@app.command()
def report(
    config: Config = None,
    day: Annotated[str, typer.Option("--day", metavar="D", help="UTC day, YYYY-MM-DD; else yesterday.", autocompletion=days)] = "",
    json_: Json = False,
) -> None:
    """Write a day's report and print it (beside a running daemon: print only).

    Example: parityd report --day 2026-11-20 --json
    """
    from parityd.commands import report as once

    document = once(settings_of(config), day)
    if json_:
        out_json(document)
    else:
        from parityd.service.tables import report_table

        report_table(document)


@app.command()
def explain(
    trade: Annotated[str, typer.Argument(metavar="TRADE")],
    config: Config = None,
    json_: Json = False,
    strategy: Annotated[str, typer.Option(help="Only this strategy's.", autocompletion=strategies)] = "",
) -> None:
    """Everything known of one trade: records, match, chain of components.

    Example: parityd explain t-1017
    """
    from parityd.commands import explain as once

    found = once(settings_of(config), trade, strategy)
    if not found:
        raise Problem(f"no trade {trade!r} is known" + (f" of strategy {strategy!r}" if strategy else ""))
    if json_:
        out_json(found)
    else:
        from parityd.service.tables import trade_table

        trade_table(found)


@app.command()
def status(config: Config = None, json_: Json = False) -> None:
    """What is in force: every strategy's action, since when and why, operators' commands, the daemon's health.

    Example: parityd status
    """
    from parityd.commands import status as once

    document = once(settings_of(config))
    if json_:
        out_json(document)
    else:
        from parityd.service.tables import status_table

        status_table(document)


audit_app = typer.Typer(no_args_is_help=True, help="The audit trail.")
app.add_typer(audit_app, name="audit")


@audit_app.command("verify")
def audit_verify(config: Config = None, json_: Json = False) -> None:
    """Prove the chain across all files and its end against the store. Exit 0, or 2 naming the first broken line.

    Example: parityd audit verify
    """
    from parityd.commands import verify_audit

    settings = settings_of(config)
    with bar("entries") as tell:
        broken = verify_audit(settings, tell)
    if json_:
        out_json({"whole": not broken, "broken": broken or None})
        raise typer.Exit(2 if broken else 0)
    if broken:
        typer.echo(f"broken: {broken}", err=True)
        raise typer.Exit(2)
    out("the audit trail is whole")


@config_app.command("show")
def config_show(config: Config = None, json_: Json = False) -> None:
    """Every key with its value and where it comes from; secrets masked.

    Example: parityd config show --json
    """
    settings = settings_of(config)
    shown, origins = settings.shown(), settings.origins()
    if json_:
        out_json({k: {"value": v, "source": origins[k]} for k, v in shown.items()})
        return
    for k, v in shown.items():
        out(f"{k} = {json.dumps(v, default=str)}  # {origins[k]}")


@config_app.command("check")
def config_check(config: Config = None, json_: Json = False) -> None:
    """Exit 0 where `run` would start with this configuration, else 3 with the reason.

    Example: parityd config check --config /etc/parityd/parityd.toml
    """
    warnings = list(settings_of(config).warnings())
    if json_:
        out_json({"good": True, "warnings": warnings})
    else:
        out("the configuration is good")


LIGHT = frozenset({"run", "check", "report", "explain", "status"})


def mount() -> None:
    """Add the commands of the other rooms; those of this one start without loading them."""
    from parityd import cli_notify, cli_ops, cli_past, cli_sim

    for room in (cli_sim, cli_past, cli_ops, cli_notify):
        room.register(app)


def run_command(args: list[str]) -> int:
    """Call a command; its exit status."""
    result = app(args, standalone_mode=False, prog_name="parityd")
    return int(result) if isinstance(result, int) else 0


def main(args: list[str]) -> int:
    """The entry point: every failure that is the operator's to mend is one line and exit 3."""
    from parityd.edges.lock import LockedError
    from parityd.store import CommitFailed, StoreBroken, StoreUnavailable

    try:
        if not args or args[0] not in LIGHT:
            mount()
        return run_command(args)
    except (Problem, LockedError, CommitFailed, StoreBroken, StoreUnavailable) as e:
        sys.stderr.write(f"parityd: {e}\n")
    except _USAGE as e:
        said = getattr(e, "format_message", None)
        text = str(said() if said is not None else e)
        sys.stderr.write(f"parityd: {text or 'no command was named: these are the commands'}\n")
    except typer.Abort:
        return 130
    except BrokenPipeError:
        return 0
    except OSError as e:
        sys.stderr.write(f"parityd: {e.filename or ''}{': ' if e.filename else ''}{e.strerror or e}\n")
    return ERROR
