"""One row of an engine's export -> typed values: present and right, absent, or unfit.

1. `Unfit` says why a row cannot be taken; whoever drives the reader makes it a refusal. It never leaves this package.
2. Absent is a missing field, a null, an empty text. Nothing is guessed: a text that is no number is unfit, not absent.
3. Times leave here as RFC 3339 text with `Z`, exact to the nanosecond; integers are never sent through a float.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from parityd.core.instants import parse_time
from parityd.core.records import NAN, NO_TS

Row = Mapping[str, Any]
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\Z", re.ASCII)
_NONE = frozenset({"", "None", "nan", "NaN", "NaT", "null", "<NA>"})
_UNITS = ((10**17, 1), (10**14, 1000), (10**11, 10**6), (0, 10**9))  # by size: ns, us, ms, s


class Unfit(Exception):  # noqa: N818  # says what the row is
    """A row that cannot be taken: the refusal's code and reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def given(v: float) -> bool:
    """Whether a number is there."""
    return not math.isnan(v)


def text(row: Row, name: str) -> str:
    """A text, "" where absent; a number is its digits."""
    v = row.get(name)
    if v is None:
        return ""
    if isinstance(v, str):
        return v
    if isinstance(v, bool | dict | list):
        raise Unfit("bad_value", f"{name} is {str(v)[:60]!r}: must be text")
    return str(v)


def need(row: Row, name: str) -> str:
    """A text that must be there."""
    v = text(row, name)
    if not v:
        raise Unfit("missing_field", f"{name} is missing")
    return v


def as_number(name: str, v: Any) -> float:
    """A finite number from a JSON number or decimal text."""
    if isinstance(v, str):
        v = v.strip()
        if not _NUMBER.match(v):
            raise Unfit("bad_value", f"{name} is {v[:60]!r}: must be a finite number")
    elif isinstance(v, bool) or not isinstance(v, int | float):
        raise Unfit("bad_value", f"{name} is {str(v)[:60]!r}: must be a finite number")
    try:
        number = float(v)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unfit("bad_value", f"{name} is {str(v)[:60]}: must be a finite number")
    return number


def number(row: Row, name: str) -> float:
    """A finite number, absent as the records have it."""
    v = row.get(name)
    return NAN if v is None or (isinstance(v, str) and v.strip() in _NONE) else as_number(name, v)


def amount(row: Row, name: str) -> float:
    """A finite number or absent, where a text such as "nan" is neither."""
    v = row.get(name)
    return NAN if v is None or v == "" else as_number(name, v)


def need_number(row: Row, name: str) -> float:
    v = row.get(name)
    if v is None or v == "":
        raise Unfit("missing_field", f"{name} is missing")
    return as_number(name, v)


def flag(row: Row, name: str) -> bool | None:
    """A truth in any of the usual spellings, None where absent."""
    v = row.get(name)
    if v is None or isinstance(v, bool):
        return v
    said = str(v).strip().lower()
    if said in ("true", "1", "1.0", "t"):
        return True
    if said in ("false", "0", "0.0", "f"):
        return False
    if said in ("", "none", "nan", "null"):
        return None
    raise Unfit("bad_value", f"{name} is {str(v)[:60]!r}: must be true or false")


def side(row: Row, name: str) -> Literal["buy", "sell"]:
    """Buy or sell, in any case."""
    said = need(row, name).strip().lower()
    if said == "buy":
        return "buy"
    if said == "sell":
        return "sell"
    raise Unfit("bad_value", f"{name} is {said[:60]!r}: must be buy or sell")


def instant(name: str, v: Any, zone: str = "UTC", *, unit: int | None = None) -> int:
    """A time in ns: text of ISO 8601 (without offset: in `zone`), or a number in `unit` ns, by its size where None."""
    if isinstance(v, str):
        said = v.strip()
        if _NUMBER.match(said):
            v = int(said) if said.lstrip("+-").isdigit() else float(said)
        else:
            ns = parse_time(said)
            return ns if ns != NO_TS else _naive(name, said, zone)
    if isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v):
        raise Unfit("bad_value", f"{name} is {str(v)[:60]!r}: must be a time")
    size = abs(v)
    scale = unit or next(step for least, step in _UNITS if size >= least)
    if size * scale > 9 * 10**18:
        raise Unfit("bad_value", f"{name} is {str(v)[:60]}: no time within reach")
    if isinstance(v, int):
        return v * scale
    whole = math.floor(v)
    return whole * scale + round((v - whole) * scale)


def _naive(name: str, said: str, zone: str) -> int:
    ns = parse_time(said, naive_is_utc=True)
    if ns == NO_TS:
        raise Unfit("bad_value", f"{name} is {said[:60]!r}: must be a time")
    return ns if zone == "UTC" else in_zone(ns, zone)


def in_zone(wall: int, zone: str) -> int:
    """What a clock on the wall of `zone` showed (as ns of that wall) -> ns UTC; the earlier of two where the hour is set back."""
    seconds = wall // 10**9
    there = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=ZoneInfo(zone))
    return wall - int(there.utcoffset().total_seconds()) * 10**9  # type: ignore[union-attr]


def need_instant(row: Row, name: str, zone: str = "UTC", *, unit: int | None = None) -> int:
    """A time that must be there, in ns."""
    v = row.get(name)
    if v is None or v == "":
        raise Unfit("missing_field", f"{name} is missing")
    return instant(name, v, zone, unit=unit)
