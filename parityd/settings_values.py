"""The kinds of value a setting can have: what is accepted, and how it is shown again.

1. A duration is text with a unit ("90s", "1h30m"); inside it is seconds. A bare number is refused, since it would be a guess.
2. A size is bytes, or text with a unit ("64KiB", "1GB"); inside it is an int of bytes.
3. What is shown (`model_dump(mode="json")`) can be written into a file again and gives the same value, except a secret, which is masked.
4. Nothing here knows a key, a file or the environment.
"""

import datetime as dt
import math
import os.path
import re
import urllib.parse
import zoneinfo
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_LONGEST = 100 * 365 * 86_400.0
_SIZE_UNITS = {"": 1, "B": 1}
_SIZE_UNITS |= {f"{p}iB": 1024**n for n, p in enumerate("KMGT", 1)} | {f"{p}B": 1000**n for n, p in enumerate(("k", "M", "G", "T"), 1)}
_LARGEST = 2**60
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?) ?([A-Za-z]*)", re.ASCII)
_CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
FOREVER = "forever"
MASK = "********"


@dataclass(frozen=True)
class Kind:
    """Rides along in a type's annotations: the word for it in the reference; its text form is parsed by its own validator."""

    word: str


def parse_duration(value: object) -> float:
    """Seconds of "90s", "15m", "36h", "2d", "1h30m"; ValueError where it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        raise ValueError(f'must be a duration in quotes with its unit, such as "{value:g}s" or "15m"')
    if not isinstance(value, str):
        raise ValueError('must be a duration in quotes, such as "90s", "15m", "36h" or "2d"')  # noqa: TRY004
    text = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise ValueError(f'must be a duration with its unit, such as "{text}s" or "15m"')
    if not _DURATION.fullmatch(text):
        raise ValueError('must be a duration such as "90s", "15m", "36h" or "2d" (units: ms s m h d w)')
    seconds = math.fsum(float(n) * _DURATION_UNITS[unit] for n, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST:
        raise ValueError("must be a duration of at most 100 years")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text in one unit that `parse_duration` reads back to the same value."""
    if math.isinf(seconds):
        return FOREVER
    if seconds == 0:
        return "0s"
    for unit, least in (("d", 2), ("h", 1), ("m", 2), ("s", 1)):
        if seconds >= least * _DURATION_UNITS[unit] and math.fmod(seconds, _DURATION_UNITS[unit]) == 0:
            return f"{seconds / _DURATION_UNITS[unit]:.0f}{unit}"
    text = f"{seconds:.15f}".rstrip("0").rstrip(".") if seconds < 1e-4 else repr(seconds)
    return f"{text}s"


def _parse_keep(value: object) -> float:
    return math.inf if value == FOREVER else parse_duration(value)


def parse_size(value: object) -> int:
    """Bytes of 1048576, "64KiB", "1.5 GiB", "500MB"; ValueError where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and value <= _LARGEST:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in _SIZE_UNITS:
        raise ValueError('must be a size in bytes or such as "64KiB", "16MiB" or "1GiB"')
    size = round(Fraction(found[1]) * _SIZE_UNITS[found[2]])
    if size > _LARGEST:
        raise ValueError("must be a size of at most 1048576TiB")
    return size


def format_size(size: int) -> str:
    """Text in the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def _parse_clock_time(value: object) -> dt.time:
    if isinstance(value, dt.time) and value.tzinfo is None:
        return value
    found = _CLOCK_TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be a time of day in UTC such as "08:00"')
    return dt.time(int(found[1]), int(found[2]), int(found[3] or 0))


def _format_clock_time(value: dt.time) -> str:
    return value.isoformat(timespec="seconds" if value.second else "minutes")


def _parse_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path in quotes")
    return Path(os.path.expanduser(value))


def _parse_zone(value: object) -> str:
    try:
        zoneinfo.ZoneInfo(value if isinstance(value, str) else "")
    except (KeyError, ValueError, OSError):
        raise ValueError('must be the name of a time zone such as "UTC" or "Europe/Berlin"') from None
    return str(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _parse_notice_url(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", text) or re.search(r"\s", text):
        raise ValueError('must be an address such as "mailtos://..." or "slack://..."')
    return value


def mask_url(url: str) -> str:
    """Only the scheme: every other part of a notification address can be a secret."""
    return f"{urllib.parse.urlsplit(url).scheme}://{MASK}"


def _mask(value: SecretStr) -> str:
    return mask_url(value.get_secret_value())


_SHOW_DURATION = PlainSerializer(format_duration, return_type=str, when_used="json")
Duration = Annotated[float, BeforeValidator(parse_duration), _SHOW_DURATION, Kind("duration")]
Keep = Annotated[float, BeforeValidator(_parse_keep), _SHOW_DURATION, Kind('duration or "forever"')]
Size = Annotated[
    int, BeforeValidator(parse_size), Field(ge=0), PlainSerializer(format_size, return_type=str, when_used="json"), Kind("size")
]
TimeOfDay = Annotated[
    dt.time,
    BeforeValidator(_parse_clock_time),
    PlainSerializer(_format_clock_time, return_type=str, when_used="json"),
    Kind("time of day, UTC"),
]
Location = Annotated[Path, BeforeValidator(_parse_path), PlainSerializer(str, return_type=str, when_used="json"), Kind("path")]
Zone = Annotated[str, BeforeValidator(_parse_zone), Kind("time zone")]
NoticeUrl = Annotated[
    SecretStr, BeforeValidator(_parse_notice_url), PlainSerializer(_mask, return_type=str, when_used="json"), Kind("address, secret")
]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), Kind("share, 0 to 1")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), Kind("number")]
Count = Annotated[int, Field(ge=1, le=1_000_000_000), Kind("count")]
Text = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$"), Kind("text")]
as_tuple = BeforeValidator(_as_tuple)
