"""What `trading_override.json` says, or why it says nothing: bytes -> Publication, or `Unfit` with one short reason.

1. Strict JSON: UTF-8, no duplicate keys, no NaN or infinity; a boolean is never a number, a float never a sequence.
2. Every key of the contract is there with its type; unknown keys are allowed.
3. It must not contradict itself: an entry's permission follows from its action, the top level is the most severe of the entries,
   `expires_at` is `issued_at` + `ttl_seconds`.
4. Pure: it knows no file, no clock and no earlier publication; `gate` judges those.
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

SCHEMA = "parityd/trading_override/1"
ACTIONS = ("CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP")
RANK = {action: rank for rank, action in enumerate(ACTIONS)}
STOPS = frozenset({"DISABLE_TRADING", "EMERGENCY_STOP"})
ON_EXPIRY = frozenset({"WARNING", *STOPS})
STRATEGY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}")

_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDING_SECONDS = 0.001 + 1e-9  # both times are published in milliseconds


class Unfit(ValueError):  # noqa: N818  a value on its way to a verdict, not an error of the program
    """These bytes give no permission; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one strategy may do. `size_multiplier` scales orders that add exposure, never exits."""

    action: str
    trading_enabled: bool
    size_multiplier: float
    reason: str

    @property
    def severity(self) -> tuple[int, float]:
        """Orders entries: the action first, then the smaller size."""
        return RANK[self.action], -self.size_multiplier


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One well-formed issue of the file. Times in ns; `issued_ns` since 1970, `issued_boottime_ns` since the boot named `boot_id`."""

    sequence: int
    decision_sequence: int
    instance: str
    boot_id: str
    issued_ns: int
    issued_boottime_ns: int
    ttl_ns: int
    on_expiry: str
    top: Entry
    strategies: dict[str, Entry]
    default: Entry


def parse(raw: bytes) -> Publication:
    """Decode and check one file. Raises `Unfit`, and nothing else, on any content."""
    try:
        body = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except Unfit:
        raise
    except (ValueError, RecursionError) as error:
        raise Unfit(f"torn or not JSON ({type(error).__name__})") from None
    if not isinstance(body, dict):
        raise Unfit("not a JSON object")
    if body.get("schema") != SCHEMA:
        raise Unfit(f"foreign: not {SCHEMA}")
    publication = _publication(body)
    _agree(publication)
    return publication


def _publication(body: dict[str, Any]) -> Publication:
    ttl = _number(body, "ttl_seconds")
    issued, expires = _time(body, "issued_at"), _time(body, "expires_at")
    if ttl <= 0:
        raise Unfit("ttl_seconds is not positive")
    if abs((expires - issued).total_seconds() - ttl) > _ROUNDING_SECONDS:
        raise Unfit("contradiction: expires_at is not issued_at + ttl_seconds")
    on_expiry = _text(body, "on_expiry")
    if on_expiry not in ON_EXPIRY:
        raise Unfit("on_expiry is not an action for that")
    strategies = body.get("strategies")
    if not isinstance(strategies, dict):
        raise Unfit("strategies is missing or no object")
    return Publication(
        sequence=_count(body, "sequence"),
        decision_sequence=_count(body, "decision_sequence"),
        instance=_name(body, "instance"),
        boot_id=_name(body, "boot_id"),
        issued_ns=(issued - _EPOCH) // timedelta(microseconds=1) * 1000,
        issued_boottime_ns=_count(body, "issued_boottime_ns"),
        ttl_ns=round(ttl * 1e9),
        on_expiry=on_expiry,
        top=_entry(body, "top level"),
        strategies={_strategy(name): _entry(entry, name) for name, entry in strategies.items()},
        default=_entry(body.get("default"), "default"),
    )


def _agree(publication: Publication) -> None:
    """The top level is the most severe strategy's, or a stop for all, which is then in every entry and in `default`."""
    strategies = [entry.severity for entry in publication.strategies.values()]
    top = publication.top.severity
    if strategies and top < max(strategies):
        raise Unfit("contradiction: the top level is less severe than an entry")
    if top > max([*strategies, publication.default.severity]):
        raise Unfit("contradiction: the top level is more severe than every entry")


def _entry(value: Any, name: str) -> Entry:
    if not isinstance(value, dict):
        raise Unfit(f"{name}: missing or no object")
    action, enabled, size = value.get("action"), value.get("trading_enabled"), _number(value, "size_multiplier")
    if not isinstance(action, str) or action not in RANK:
        raise Unfit(f"{name}: unknown action")
    if enabled is not (action not in STOPS):
        raise Unfit(f"contradiction: {name}: trading_enabled does not follow from {action}")
    fits = size == 0 if action in STOPS else 0 <= size < 1 if action == "REDUCE_SIZE" else size == 1
    if not fits:
        raise Unfit(f"contradiction: {name}: size_multiplier does not follow from {action}")
    return Entry(action=action, trading_enabled=enabled, size_multiplier=float(size), reason=_text(value, "reason"))


def _strategy(name: str) -> str:
    if not STRATEGY.fullmatch(name):
        raise Unfit("strategies has an impossible name")
    return name


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise Unfit(f"{key} is missing or no text")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unfit(f"{key} is no Unicode text")
    return value


def _name(body: dict[str, Any], key: str) -> str:
    value = _text(body, key)
    if not value.strip():
        raise Unfit(f"{key} is empty")
    return value


def _count(body: dict[str, Any], key: str) -> int:
    value = body.get(key)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise Unfit(f"{key} is missing or no count")
    return value


def _number(body: dict[str, Any], key: str) -> float:
    value = body.get(key)
    if type(value) is float or (type(value) is int and abs(value) < 1 << 53):
        return value
    raise Unfit(f"{key} is missing or no number")


def _time(body: dict[str, Any], key: str) -> datetime:
    value = _text(body, key)
    try:
        if _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise Unfit(f"{key} is no RFC 3339 time")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise Unfit("duplicate keys")
    return body


def _no_constant(text: str) -> Any:
    raise Unfit(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Unfit("a number is out of range")
    return value
