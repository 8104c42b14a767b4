"""The operators' commands: override, init, requeue, backup, restore, rebuild, doctor. Parse, call, print; decide nothing.

1. Bad input, or a state that a command cannot work with, is one line on standard error (what, where, what mends it) and exit 3.
2. What changes the store or the published files runs as the owner of `data_dir`; `restore` and `rebuild` take the daemon's lock besides.
3. `override` needs neither: an operator's right is that of the file.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from parityd.completing import COMMANDS, LATCHED, strategies, words
from parityd.problem import Problem
from parityd.progress import bar
from parityd.settings import Settings, SettingsError, load

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration (TOML). Else /etc/parityd/parityd.toml where it exists.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
SignOption = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="Sign with this ssh key (a private key, or a public one that an agent holds).")
]
OperatorOption = Annotated[str, typer.Option("--operator", help="Who says so; else the user who runs this.")]
REFUSED, OK, WARNINGS, PROBLEMS = 3, 0, 1, 2


def register(app: typer.Typer) -> None:
    """Hang the commands into an application."""
    for function in (override, init, requeue, backup, restore, rebuild, doctor):
        app.command()(function)


def _settings(config: Path | None) -> Settings:
    try:
        settings = load(config, os.environ)
    except SettingsError as e:
        raise Problem(str(e)) from None
    for warning in settings.warnings():
        typer.echo(f"parityd: {warning}", err=True)
    return settings


def _ours(config: Path | None) -> Settings:
    """Settings of a directory that is there and ours."""
    from parityd.service.ops_rights import demand

    settings = _settings(config)
    demand(settings)
    if not settings.data_dir.is_dir():
        raise Problem(f"{settings.data_dir} is not there: make it with `parityd init`, or name the right configuration with --config")
    return settings


def _now() -> int:
    from parityd.edges import clock

    return clock.now()


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")


def _warn(text: str) -> None:
    sys.stderr.write(f"parityd: {text}\n")


def _moment(text: str) -> int | None:
    from parityd.core.instants import parse_time
    from parityd.core.records import NO_TS

    if not text:
        return None
    t = parse_time(text)
    if t == NO_TS:
        raise Problem(f"--expires: {text!r} is no time; give RFC 3339 with an offset, such as 2026-11-20T08:00:00Z")
    return t


def override(
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND", help="force_disable, reduce_size, force_enable, reset, halt or unhalt.", autocompletion=words(COMMANDS)
        ),
    ],
    config: ConfigOption = None,
    strategy: Annotated[str, typer.Option("--strategy", help="Whom it concerns; * is everything.", autocompletion=strategies)] = "*",
    operator: OperatorOption = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; what raises risk needs one.")] = "",
    expires: Annotated[str, typer.Option("--expires", metavar="TS", help="When it ends (RFC 3339).")] = "",
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long it holds, such as 2h.")] = "",
    size: Annotated[float | None, typer.Option("--size", help="For reduce_size: at least 0 and below 1.")] = None,
    acknowledge: Annotated[
        str,
        typer.Option(
            "--acknowledge",
            metavar="WHAT",
            help="The latched action that force_enable stands in for; BROKEN_STORE for reset.",
            autocompletion=words(LATCHED),
        ),
    ] = "",
    sign: SignOption = None,
    json_: JsonOption = False,
) -> None:
    """Stop, reduce, enable or reset: writes a correct command file (and signs it), and tells what became of it.

    Example: parityd override force_disable --strategy momentum --reason "venue outage"
    """
    from parityd.service.ops_override import Asked, order

    asked = Asked(
        command=command, strategy=strategy, operator=operator, reason=reason, expires_ns=_moment(expires), lasts=lasts, size=size, acknowledge=acknowledge,
        sign=sign,
    )  # fmt: skip
    done = order(_settings(config), asked, _now())
    for warning in done.warnings:
        _warn(warning)
    if json_:
        _out(
            msgspec.json.encode(
                {"command": done.command, "strategy": done.strategy, "file": str(done.file), "state": done.state, "reason": done.reason}
            ).decode()
        )
    elif done.state != "refused":
        _out(f"{done.state}: {done.command} {done.strategy} ({done.file})" + (f"; {done.reason}" if done.reason else ""))
    if done.state == "refused":
        raise Problem(f"refused: {done.reason} ({done.file.name} is in overrides/refused)")


def init(
    config: ConfigOption = None,
    operator: OperatorOption = "",
    reason: Annotated[str, typer.Option("--reason", help="Why trading may begin; told in the audit trail.")] = "",
    write_config: Annotated[
        Path | None, typer.Option("--write-config", metavar="FILE", help="Write an annotated configuration there first, and use it.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="With --write-config: the folder that it names.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="As root: the user that the folders are for.")] = "",
    sign: SignOption = None,
    json_: JsonOption = False,
) -> None:
    """First start in production: make the folders with their modes, and end the first start's DISABLE_TRADING.

    Example: sudo -u parityd parityd init --reason "folders, clock and engine looked at"
    """
    from parityd.app import built
    from parityd.edges.lock import LockedError
    from parityd.service import ops_init
    from parityd.service.ops_override import order

    made: list[object] = []
    if write_config is not None:
        made.append(ops_init.sample(write_config, data_dir.absolute() if data_dir is not None else None))
    elif data_dir is not None:
        raise Problem("--data-dir belongs to --write-config: else the configuration names the folder")
    settings = _settings(config or write_config)
    if user:
        ops_init.become(user, settings.data_dir)
    from parityd.service.ops_rights import demand

    demand(settings)
    made += ops_init.folders(settings.data_dir)
    if not json_:
        for one in made:
            _made(one)
    if settings.overrides.allowed_signers is None:
        try:
            with built(settings, command="init") as app:
                said = ops_init.end_first_start(app, operator, reason)
                _export(app)
                _ended(made, said, json_=json_)
                return
        except LockedError:
            pass
    elif not ops_init.waits(settings):
        _ended(made, "trading does not wait for init", json_=json_)
        return
    done = order(settings, ops_init.request(settings, sign, operator, reason), _now())
    if done.state == "refused":
        raise Problem(f"refused: {done.reason}")
    _ended(made, f"{done.state}: init ({done.file})" + (f"; {done.reason}" if done.reason else ""), json_=json_)


def _ended(made: list[object], said: str, *, json_: bool) -> None:
    folders = [{"path": str(getattr(one, "path")), "what": getattr(one, "what")} for one in made]  # noqa: B009
    _out(msgspec.json.encode({"made": folders, "said": said}).decode() if json_ else said)


def _made(made: object) -> None:
    _out(f"{getattr(made, 'path')}: {getattr(made, 'what')}")  # noqa: B009


def _export(app: object) -> None:
    from parityd.service.workplace import App, export_audit

    if isinstance(app, App):
        export_audit(app)


def requeue(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="FILE.rejected.jsonl, or a file that was rejected whole.")],
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Put refused records, or whole rejected files, back into their inbox.

    Example: parityd requeue data/rejected/live/0123456789ab-fills.jsonl.rejected.jsonl
    """
    from parityd.service.ops_notes import Note, leave
    from parityd.service.ops_override import operator_name
    from parityd.service.ops_requeue import requeue as put_back

    settings = _ours(config)
    told = []
    for named in files:
        now = _now()
        done = put_back(settings, named, now)
        data = {"file": done.file.name, "into": done.into.name, "records": done.records, "left": done.left}
        leave(settings, Note(ts_ns=now, event="file.requeued", actor=operator_name(), data=data))
        what = f"{done.records} records" if done.records else "the whole file"
        told.append({**data, "into": str(done.into), "note": done.note or None})
        if not json_:
            _out(f"{done.into}: {what}" + (f" ({done.note})" if done.note else ""))
        if done.left:
            _warn(f"{done.file}: {done.left} records stay: their text was not kept and their file is not in the archive")
    if json_:
        _out(msgspec.json.encode(told).decode())


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder, or one of an earlier backup.")],
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Copy store, archive, audit trail and reports while the daemon runs, proven by opening the copy.

    Example: parityd backup /var/backups/parityd
    """
    from parityd.service.ops_backup import backup as make
    from parityd.service.ops_notes import Note, leave
    from parityd.service.ops_override import operator_name
    from parityd.settings import DEFAULT_FILE

    settings = _ours(config)
    now = _now()
    done = make(settings, folder.absolute(), config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None), now)
    leave(settings, Note(ts_ns=now, event="store.backed_up", actor=operator_name(), data={"folder": str(done.folder), "files": done.files}))
    if json_:
        _out(msgspec.json.encode({k: str(v) if isinstance(v := getattr(done, k), Path) else v for k in done.__slots__}).decode())
    else:
        _out(
            f"{done.folder}: {done.files} files and {done.audit_sequence} audit entries in the store, {done.archived} files in the archive"
        )
    if done.missing:
        _warn(f"{done.missing} files that the store knows are in no archive: `rebuild` and `replay` cannot read them")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `parityd backup` made.")],
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Put a backup in the place of what is there. Stops in force, HALTs and commands survive; newer files are read again from the archive.

    Example: parityd restore /var/backups/parityd
    """
    from parityd.app import built
    from parityd.service.ops_restore import restore as put

    settings = _settings(config)
    _demand(settings)
    with bar("files") as tell:
        done = put(settings, folder.absolute(), built, _now(), tell)
    _exchanged(done, json_=json_)


def rebuild(config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Refill a new store from the archive, in the order in which the files came.

    Example: parityd rebuild
    """
    from parityd.app import built
    from parityd.service.ops_restore import rebuild as refill

    settings = _ours(config)
    with bar("files") as tell:
        done = refill(settings, built, _now(), tell)
    _exchanged(done, json_=json_)


def _demand(settings: Settings) -> None:
    from parityd.service.ops_rights import demand

    demand(settings)


def _exchanged(done: object, *, json_: bool) -> None:
    from parityd.service.ops_restore import Exchanged

    assert isinstance(done, Exchanged)  # noqa: S101
    r = done.records
    if json_:
        kept = [str(path) for path in done.kept]
        _out(msgspec.json.encode({"files": r.files, "records": r.records, "sequence": done.sequence, "kept": kept}).decode())
        return
    _out(f"{r.files} files with {r.records} records read from the archive; sequences go on above {done.sequence}")
    for path in done.kept:
        _out(f"kept: {path}")
    for path, why in r.unreadable:
        _warn(f"{path}: {why}")
    if done.halts:
        _out(f"{done.halts} HALT still in force")
    if done.must_reset:
        _out('trading stays disabled until: parityd override reset --acknowledge BROKEN_STORE --reason "..."')


def doctor(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files to look at, of one book or of both.")] = None,
    config: ConfigOption = None,
    live: Annotated[list[Path] | None, typer.Option("--live", metavar="FILE", help="A file of the live book.")] = None,
    backtest: Annotated[list[Path] | None, typer.Option("--backtest", metavar="FILE", help="A file of the backtest's book.")] = None,
    json_: JsonOption = False,
) -> None:
    """Check folders, permissions, clock, store, port; or what files hold, what of it would be taken and how the books fit together.

    Exit 0 fine, 1 warnings, 2 problems, 3 it could not look.

    Example: parityd doctor --live fills.jsonl --backtest decisions.jsonl
    """
    from parityd.service import doctor as surgery
    from parityd.service.doctor_files import Asked, look

    settings = _settings(config)
    named = (
        [Asked(path, "") for path in files or ()]
        + [Asked(path, "live") for path in live or ()]
        + [Asked(path, "backtest") for path in backtest or ()]
    )
    found = look(settings, named, _now()) if named else surgery.look(settings, os.environ)
    if json_:
        _out(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        for line in surgery.lines(found):
            _out(line)
    raise typer.Exit({"ok": OK, "warning": WARNINGS, "problem": PROBLEMS}[found.worst])
