"""What an operator's command is worth: the bytes of a file and the facts about it -> a command, or why not.

1. Lowering (`force_disable`, `reduce_size`): obeyed whoever wrote it and whatever it lacks; what is wrong with it is noted, not punished.
   No usable strategy means all; no usable size means force_disable; no usable end means until reset. Text that cannot be read as JSON
   and gives a lowering command all the same stops everything: what may have been meant as a stop is one.
2. Raising (`force_enable`, `reset`): every rule must hold, the first that does not is the answer: form, owner, modes, signature, age,
   scope, replay, end, acknowledgement.
3. Content once applied raises nothing again; content that was refused may be mended and dropped again.
4. Of two statements in one file the more careful counts: a doubled key is a reason to refuse, or to lower.
5. Pure. It opens nothing, reads no clock, knows no levels: what stands latched is told.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from parityd.core.instants import SECOND, parse_time, rfc3339
from parityd.core.records import NO_TS
from parityd.edges.command_text import fields, readable, torn_stop, verb_of
from parityd.edges.commands import (
    ALL,
    BROKEN_STORE,
    LOWERING,
    RAISING,
    UNKNOWN,
    Accepted,
    Command,
    Facts,
    Moment,
    Refused,
    Standing,
    Terms,
    Verdict,
)
from parityd.edges.signatures import Signed, Unsigned

LONGEST_ENABLE_NS = 86_400 * SECOND
OLDEST_ISSUE_NS = 900 * SECOND
AHEAD_NS = 60 * SECOND  # a signer's clock may be ahead by this much
SEVERITY = ("CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP")
_STRATEGY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}\Z", re.ASCII)
_TEXT = 2000


def content_hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _text(value: object) -> str:
    """Text of a field, safe to store; "" where it is none."""
    if isinstance(value, str):
        return value.strip()[:_TEXT].encode("utf-8", "backslashreplace").decode()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _time(value: object) -> int:
    """A time in ns; what is none, or lies beyond what can be counted, is NO_TS."""
    t = parse_time(value) if isinstance(value, str | int | float) else NO_TS
    return t if abs(t) < 2**63 - 1 else NO_TS


def judge(
    raw: bytes,
    file: Facts,
    folder: Facts,
    terms: Terms,
    moment: Moment,
    standing: Standing,
    signature: Signed | Unsigned | None = None,
) -> Verdict:
    """The verdict on one command file (CONTRACT 6). `signature` is looked at only where `terms.signers`."""
    found = fields(raw)
    digest = content_hash(raw)
    if isinstance(found, str):
        torn = made_out(raw, found, file, moment, standing)
        return torn or Refused(code="bad_json", text=found, content_hash=digest, again=True)
    body, doubled = found
    verb = verb_of(body.get("command"))
    if verb in LOWERING:
        return Accepted(command=_lower(verb, body, doubled, file, moment, standing, digest))
    if verb not in RAISING:
        text = "there is no command" if not verb else f"{_text(body.get('command'))!r} is none of {', '.join(LOWERING + RAISING)}"
        return Refused(code="unknown_command" if verb else "missing_field", text=text, content_hash=digest)
    refusal = (
        _form(verb, body, doubled, raw)
        or _authority(file, folder, terms)
        or _signature(body, terms, moment, standing, signature)
        or _state(verb, body, moment, standing, digest)
    )
    if refusal is not None:
        return Refused(code=refusal[0], text=refusal[1], content_hash=digest)
    return Accepted(command=_raise(verb, body, moment, digest, signature if terms.signers else None))


def made_out(raw: bytes, why: str, file: Facts, moment: Moment, standing: Standing) -> Accepted | None:
    """The stop that can be made out in what cannot be read (`why`): for all, until reset."""
    named = torn_stop(raw)
    if not named:
        return None
    command = _lower("force_disable", {}, [], file, moment, standing, content_hash(raw))
    return Accepted(command=msgspec.structs.replace(command, notes=(f"{why}, but it names {named}", *command.notes)), again=True)


def _lower(verb: str, body: dict[str, Any], doubled: list[str], file: Facts, moment: Moment, standing: Standing, digest: str) -> Command:
    notes = [f"{name} is given twice" for name in doubled]
    strategy = body.get("strategy")
    if not isinstance(strategy, str) or "strategy" in doubled or (strategy != ALL and not _STRATEGY.match(strategy)):
        notes.append(f"no usable strategy, so it holds for all (uid {file.uid})")
        strategy = ALL
    elif strategy != ALL and strategy not in standing.known:
        notes.append(f"strategy {strategy} is neither seen nor configured")
    size: float | None = None
    if verb == "reduce_size":
        size = None if "size_multiplier" in doubled else _size(body.get("size_multiplier"))
        if size is None:
            notes.append("no size_multiplier in [0, 1), so it disables")
            verb = "force_disable"
    expires, note = _end_of_lowering(body, "expires_at" in doubled, file, moment)
    said = {name: _text(body.get(name)) for name in ("operator", "reason")}
    notes += [f"no {name}" for name, value in said.items() if not value]
    return Command(
        command=verb, strategy=strategy, operator=said["operator"] or UNKNOWN, reason=said["reason"] or UNKNOWN,
        size_multiplier=size, id=_text(body.get("id")), content_hash=digest, notes=tuple(notes + ([note] if note else [])),
        accepted_ns=moment.now_ns, accepted_boottime_ns=moment.boottime_ns, boot_id=moment.boot_id,
        expires_ns=expires, expires_boottime_ns=_by_boottime(expires, moment),
    )  # fmt: skip


def _size(value: object) -> float | None:
    """0 <= size < 1, also as a decimal string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        size = float(value)
    except (ValueError, OverflowError):
        return None
    return size + 0.0 if math.isfinite(size) and 0 <= size < 1 else None


def _end_of_lowering(body: dict[str, Any], doubled: bool, file: Facts, moment: Moment) -> tuple[int | None, str]:
    """An end that was already past when the file was written is a mistake, and a mistake must not undo a stop."""
    if body.get("expires_at") is None and not doubled:
        return None, ""
    expires = NO_TS if doubled else _time(body.get("expires_at"))
    if expires == NO_TS:
        return None, "expires_at is no time: it stands until reset"
    if expires <= moment.now_ns and file.mtime_ns >= expires:
        return None, f"expires_at was past when it was written ({rfc3339(expires)}): it stands until reset"
    return expires, ""


def _by_boottime(expires_ns: int | None, moment: Moment) -> int | None:
    return None if expires_ns is None else moment.boottime_ns + (expires_ns - moment.now_ns)


Refusal = tuple[str, str]


def _form(verb: str, body: dict[str, Any], doubled: list[str], raw: bytes) -> Refusal | None:
    if not readable(raw):
        return "bad_encoding", "it is not UTF-8"
    if doubled:
        return "bad_value", f"{', '.join(doubled)}: given twice"
    required = ("strategy", "operator", "reason") + (("expires_at",) if verb == "force_enable" else ())
    missing = [
        name for name in required if body.get(name) is None or body[name] == "" or (isinstance(body[name], str) and not body[name].strip())
    ]
    if missing:
        return "missing_field", f"{verb} needs {', '.join(missing)}"
    wrong = [name for name in ("strategy", "operator", "reason") if not isinstance(body[name], str)]
    if wrong:
        return "bad_value", f"{', '.join(wrong)}: not text"
    if body["strategy"] != ALL and not _STRATEGY.match(body["strategy"]):
        return "bad_value", "strategy is neither * nor a name"
    if body.get("expires_at") is not None and _time(body["expires_at"]) == NO_TS:
        return "bad_value", "expires_at is no time (RFC 3339 with an offset, or epoch seconds)"
    return None


def _authority(file: Facts, folder: Facts, terms: Terms) -> Refusal | None:
    if file.uid not in {0, terms.daemon_uid} | terms.allowed_uids:
        return "wrong_owner", f"its owner (uid {file.uid}) is neither root, nor the daemon's user, nor in overrides.allowed_users"
    if file.links > 1:
        return "writable_by_others", f"it has {file.links} links"
    sticky = bool(folder.mode & 0o1000)
    for what, mode in (("the file", file.mode), ("the folder", folder.mode)):
        if mode & 0o002:
            return "writable_by_others", f"{what} is writable by the world (mode {mode:04o})"
        if mode & 0o020 and not sticky:
            return "writable_by_others", f"{what} is writable by its group (mode {mode:04o}) and the folder is not sticky"
    return None


def _signature(
    body: dict[str, Any], terms: Terms, moment: Moment, standing: Standing, signature: Signed | Unsigned | None
) -> Refusal | None:
    if not terms.signers:
        return None
    if not isinstance(signature, Signed):
        return (signature.code, signature.reason) if signature is not None else ("unsigned", "there is no signature beside it")
    name = _text(body.get("id"))
    if not name:
        return "missing_field", "with allowed_signers it needs id"
    issued = _time(body.get("issued_at"))
    if issued == NO_TS:
        return "missing_field", "with allowed_signers it needs issued_at (RFC 3339 with an offset, or epoch seconds)"
    if moment.now_ns - issued > OLDEST_ISSUE_NS:
        return "too_old", f"it was issued at {rfc3339(issued)}, more than 15 min ago"
    if issued - moment.now_ns > AHEAD_NS:
        return "bad_value", f"it was issued at {rfc3339(issued)}, which is still to come"
    if name in standing.ids:
        return "replayed", f"a command with id {name} was already applied"
    return None


def _state(verb: str, body: dict[str, Any], moment: Moment, standing: Standing, digest: str) -> Refusal | None:
    strategy = body["strategy"]
    if digest in standing.applied:
        return "replayed", "this content was already applied: write a new command"
    if strategy != ALL and strategy not in standing.known and not (verb == "reset" and strategy in standing.commanded):
        return "unknown_strategy", f"strategy {strategy} is neither seen nor configured"
    expires = _time(body["expires_at"]) if body.get("expires_at") is not None else None
    if expires is not None and expires <= moment.now_ns:
        return "expired", f"expires_at {rfc3339(expires)} is past"
    if verb == "reset":
        if standing.broken_store and strategy == ALL and body.get("acknowledge") != BROKEN_STORE:
            return "not_acknowledged", f'the store could not be read: a reset of all needs "acknowledge": "{BROKEN_STORE}"'
        return None
    if verb == "init" and strategy != ALL:
        return "bad_value", "init concerns no strategy in particular: its strategy is *"
    if standing.broken_store:
        return "broken_store", f'the store could not be read: only a reset of all with "acknowledge": "{BROKEN_STORE}" ends that'
    if verb == "init":
        return None
    if expires is not None and expires - moment.now_ns > LONGEST_ENABLE_NS:
        return "too_far_ahead", f"expires_at {rfc3339(expires)} is more than 24 h ahead"
    stands = latched_over(strategy, standing.latched)
    if stands is not None and body.get("acknowledge") != stands:
        return "not_acknowledged", f'{stands} is latched: force_enable needs "acknowledge": "{stands}"'
    return None


def latched_over(strategy: str, latched: Mapping[str, str]) -> str | None:
    """The most severe latched action that a command for `strategy` would stand in for; None where nothing is latched."""
    found = [action for name, action in latched.items() if strategy == ALL or name in (ALL, strategy)]
    return max(found, key=SEVERITY.index, default=None)


def _raise(verb: str, body: dict[str, Any], moment: Moment, digest: str, signature: Signed | Unsigned | None) -> Command:
    expires = _time(body["expires_at"]) if verb == "force_enable" else None
    return Command(
        command=verb, strategy=body["strategy"], operator=_text(body["operator"]), reason=_text(body["reason"]),
        acknowledge=_text(body.get("acknowledge")), id=_text(body.get("id")), content_hash=digest,
        signer=signature.signer if isinstance(signature, Signed) else "",
        accepted_ns=moment.now_ns, accepted_boottime_ns=moment.boottime_ns, boot_id=moment.boot_id,
        expires_ns=expires, expires_boottime_ns=_by_boottime(expires, moment),
    )  # fmt: skip
