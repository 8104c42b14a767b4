"""`parityd override`: an operator's word becomes a file in `overrides/`, and what became of it is told.

1. What the daemon would refuse is refused here already, with what mends it; it decides all the same, and its word counts.
2. Lowering needs nothing: an unknown strategy or a missing reason is a warning. Stopping (`halt`) needs no daemon, no store and no reason.
3. The file's owner is whoever runs the command, its mode 0644; with a key its signature lies there before it.
4. Any operator may run it: it takes no lock, and reads only what is published.
"""

import json
import os
import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parityd.core.instants import rfc3339
from parityd.core.ladder_table import SEVERITY
from parityd.edges.command_files import write_command
from parityd.edges.files import replace_durably, sync_folder
from parityd.edges.lock import hidden, holder
from parityd.problem import Problem
from parityd.service.ops_rights import user_name
from parityd.settings import Settings
from parityd.settings_values import parse_duration

LOWERING, RAISING, HALTS = ("force_disable", "reduce_size"), ("force_enable", "reset", "init"), ("halt", "unhalt")
COMMANDS = (*LOWERING, "force_enable", "reset", *HALTS)
LONGEST = 86_400.0
WAIT_SECONDS, LOOK_SECONDS = 10.0, 0.1
_STRATEGY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the operator typed. `expires_ns` and `lasts` (a duration) exclude each other."""

    command: str
    strategy: str = "*"
    operator: str = ""
    reason: str = ""
    expires_ns: int | None = None
    lasts: str = ""
    size: float | None = None
    acknowledge: str = ""
    sign: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where the file is, and what became of it: applied, refused (with the reason), waiting or done (HALT)."""

    command: str
    strategy: str
    file: Path
    state: str
    reason: str = ""
    warnings: list[str] = field(default_factory=list)


def operator_name() -> str:
    """Who types: through sudo the one who did."""
    return os.environ.get("SUDO_USER") or user_name(os.getuid())


def published(settings: Settings) -> dict[str, Any]:
    """parity_action.json as it stands, {} where there is none."""
    try:
        document = json.loads((settings.data_dir / "system_actions/parity_action.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def order(settings: Settings, asked: Asked, now_ns: int, *, wait: float = WAIT_SECONDS) -> Outcome:
    """Do what was asked; Problem where it cannot be."""
    command = asked.command.strip().lower().replace("-", "_")
    if command not in (*COMMANDS, "init"):
        raise Problem(f"{asked.command!r} is no command: {', '.join(COMMANDS)}")
    if asked.strategy != "*" and not _STRATEGY.match(asked.strategy):
        raise Problem(f"--strategy: {asked.strategy!r} is neither * nor a name of a strategy")
    folder = settings.data_dir / "overrides"
    if not folder.is_dir():
        raise Problem(f"{folder} is not there: make the folders with `parityd init`, or name the right configuration with --config")
    try:
        if command in HALTS:
            return _halt(settings, folder, command, asked, now_ns)
        fields, warnings = _fields(settings, command, asked, now_ns)
        path = write_command(folder, fields, now_ns=now_ns, sign_key=asked.sign)
    except PermissionError as e:
        mend = f"be a member of its group, or sudo -u {user_name(folder.stat().st_uid)} parityd override ..."
        raise Problem(f"{folder}: {e.strerror}: {mend}") from None
    except ValueError as e:
        raise Problem(f"--sign {e}") from None
    state, reason = _became(folder, path, wait if _runs(settings.data_dir) else 0.0)
    return Outcome(command=command, strategy=asked.strategy, file=path, state=state, reason=reason, warnings=warnings)


# --- command files --------------------------------------------------------------------------------------------------


def _fields(settings: Settings, command: str, asked: Asked, now_ns: int) -> tuple[dict[str, Any], list[str]]:
    """The file's fields, and warnings; Problem where the daemon would refuse them."""
    document, warnings = published(settings), list[str]()
    known = asked.strategy == "*" or asked.strategy in {*document.get("strategies", {}), *settings.strategies}
    expires = _expires(asked, now_ns)
    fields: dict[str, Any] = {
        "command": command, "strategy": asked.strategy, "operator": asked.operator or operator_name(), "reason": asked.reason or None,
        "expires_at": None if expires is None else rfc3339(expires), "acknowledge": asked.acknowledge or None,
    }  # fmt: skip
    if command == "reduce_size":
        if asked.size is None or not 0 <= asked.size < 1:
            raise Problem("reduce_size needs --size, at least 0 and below 1 (0.5 = half)")
        fields["size_multiplier"] = asked.size
    elif asked.size is not None:
        raise Problem(f"--size belongs to reduce_size, not to {command}")
    if command in LOWERING:
        if not known:
            warnings.append(f"strategy {asked.strategy} is neither seen nor configured")
        if not asked.reason:
            warnings.append("no --reason: it is recorded as unknown")
        return fields, warnings
    if not asked.reason.strip():
        raise Problem(f"{command} raises risk: give --reason")
    if not known:
        raise Problem(f"--strategy: {asked.strategy} is neither seen nor configured")
    _may_raise(settings, command, asked)
    if command == "force_enable":
        _enables(asked, expires, now_ns, document)
    return fields, warnings


def _expires(asked: Asked, now_ns: int) -> int | None:
    if asked.lasts and asked.expires_ns is not None:
        raise Problem("--for and --expires: give one of them")
    if asked.lasts:
        try:
            return now_ns + round(parse_duration(asked.lasts) * 1e9)
        except ValueError as e:
            raise Problem(f"--for: {asked.lasts!r} {e}") from None
    if asked.expires_ns is not None and asked.expires_ns <= now_ns:
        raise Problem(f"--expires: {rfc3339(asked.expires_ns)} is past")
    return asked.expires_ns


def _may_raise(settings: Settings, command: str, asked: Asked) -> None:
    folder = settings.data_dir / "overrides"
    facts = folder.stat()
    if os.geteuid() not in {0, settings.data_dir.stat().st_uid} | settings.overrides.uids():
        owner = user_name(settings.data_dir.stat().st_uid)
        me = user_name(os.geteuid())
        raise Problem(
            f"{command} raises risk, and {me} may not: be in overrides.allowed_users, or sudo -u {owner} parityd override {command} ..."
        )
    if (facts.st_mode & 0o022 and not facts.st_mode & 0o1000) or facts.st_mode & 0o002:
        raise Problem(
            f"{folder} is writable by others (mode {facts.st_mode & 0o7777:04o}), so {command} would be refused: chmod o-w,+t {shlex.quote(str(folder))}"
        )
    if settings.overrides.allowed_signers is not None and asked.sign is None:
        raise Problem(f"overrides.allowed_signers is set, so {command} must be signed: --sign KEY")


def _enables(asked: Asked, expires: int | None, now_ns: int, document: dict[str, Any]) -> None:
    if expires is None:
        raise Problem("force_enable ends by itself: give --for (at most 24h) or --expires")
    if expires - now_ns > round(LONGEST * 1e9):
        raise Problem("force_enable: at most 24h ahead")
    entries = document.get("strategies", {})
    names = entries if asked.strategy == "*" else [asked.strategy]
    stands = [one["action"] for name in names for one in entries.get(name, {}).get("latched", ()) if not one.get("held_back")]
    worst = max(stands, key=lambda action: SEVERITY[action], default=None)
    if worst is not None and asked.acknowledge != worst:
        raise Problem(f"{worst} is latched: look at its reason (parityd status), then give --acknowledge {worst}")


def _runs(data_dir: Path) -> bool:
    """Whether a daemon is there to answer; where its lock may not be read, it may be."""
    return holder(data_dir) is not None or hidden(data_dir)


def _became(folder: Path, path: Path, seconds: float) -> tuple[str, str]:
    """applied, refused with the reason, or still waiting after so many seconds."""
    for _ in range(max(1, round(seconds / LOOK_SECONDS))):
        if not os.path.lexists(path):
            return _outcome(folder, path.name)
        if seconds:
            time.sleep(LOOK_SECONDS)
    return "waiting", "" if seconds else "no daemon runs here: it is obeyed at the next start"


def _outcome(folder: Path, name: str) -> tuple[str, str]:
    try:
        told = json.loads((folder / "refused" / f"{name}.reason.json").read_bytes())
    except FileNotFoundError:
        return "applied", ""
    except (OSError, ValueError):
        return "taken", "the daemon has it; parityd status tells what is in force"
    return "refused", f"{told.get('code')}: {told.get('reason')}"


# --- HALT files -----------------------------------------------------------------------------------------------------


def _halt(settings: Settings, folder: Path, command: str, asked: Asked, now_ns: int) -> Outcome:
    path = folder / ("HALT" if asked.strategy == "*" else f"HALT.{asked.strategy}")
    warnings: list[str] = []
    if command == "halt":
        if asked.strategy != "*" and asked.strategy not in {*published(settings).get("strategies", {}), *settings.strategies}:
            warnings.append(f"strategy {asked.strategy} is neither seen nor configured: this stops everything")
        if not os.path.lexists(path):
            said = {"operator": asked.operator or operator_name(), "reason": asked.reason or None, "ts": rfc3339(now_ns)}
            _touch(path, json.dumps(said).encode() + b"\n")
        return Outcome(command=command, strategy=asked.strategy, file=path, state="done", warnings=warnings)
    if not os.path.lexists(path):
        raise Problem(f"there is no {path}" + _others(folder, path.name))
    if path.is_dir() and not path.is_symlink():
        os.rmdir(path)
    else:
        os.unlink(path)
    sync_folder(folder)
    if settings.overrides.allowed_signers is not None:
        warnings.append("overrides.allowed_signers is set: the stop lifts only by a signed reset")
    if rest := _others(folder, path.name):
        warnings.append(f"still there{rest}")
    return Outcome(command=command, strategy=asked.strategy, file=path, state="done", warnings=warnings)


def _touch(path: Path, said: bytes) -> None:
    """The file with its story; where the disk has no room for that, an empty one stops as well."""
    try:
        replace_durably(path, said, 0o644)
    except PermissionError:
        raise
    except OSError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))


def _others(folder: Path, name: str) -> str:
    found = sorted(x for x in os.listdir(folder) if x.lower().startswith("halt") and x != name)
    return f"; other stops: {', '.join(found[:10])}" if found else ""
