"""Content -> words: numbers, times and ages as pages show them.

1. What was not measured is shown as a dash, never as 0; what cannot be read as a number or a time is not measured.
2. A sign is written where it carries meaning (a cost, a difference); the unit stands in the heading or beside the number.
3. Times are UTC and say so.
"""

import math
from collections.abc import Mapping
from typing import Any

from parityd.core.instants import SECOND, parse_time, rfc3339
from parityd.core.records import NO_TS

DASH = "–"
MINUS = "\N{MINUS SIGN}"
ACTIONS = ("CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP")
LEVELS = ("OK", "WARNING", "CRITICAL", "EMERGENCY")


def number(value: Any) -> float | None:
    """A finite number, or None. Text of digits counts: some sources send decimals as text."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def plain(value: Any, digits: int = 1) -> str:
    """`1,234.5`, or a dash."""
    found = number(value)
    if found is None:
        return DASH
    if abs(found) >= 1e15:
        return f"{found:.3g}".replace("-", MINUS)
    text = f"{found:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: Any, digits: int = 1) -> str:
    """`+1.2`, with its sign; nothing that rounds to zero has one."""
    text = plain(value, digits)
    return text if text == DASH or text.startswith(MINUS) or not text.strip("0.,") else "+" + text


def whole(value: Any) -> str:
    return plain(value, 0)


def exact(value: Any) -> str:
    """A price or a quantity as it is, to ten digits: `3,750,000`, `1.0985`."""
    found = number(value)
    return DASH if found is None else f"{found:,.10g}".replace("-", MINUS)


def share(value: Any, digits: int = 1) -> str:
    """0.123 as `12.3 %`."""
    found = number(value)
    return DASH if found is None else f"{plain(found * 100, digits)} %"


def to_ns(value: Any) -> int | None:
    """A time as ns: text as RFC 3339, a number as epoch ns or seconds."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**14:
        return value
    found = parse_time(value) if isinstance(value, str | int | float) else NO_TS
    return None if found == NO_TS else found


def instant(value: Any) -> str:
    """`2026-11-20 10:15:03`, UTC, or a dash."""
    ns = to_ns(value)
    return DASH if ns is None else rfc3339(ns)[:19].replace("T", " ")


def span(seconds: Any) -> str:
    """A length of time in its two largest units."""
    found = number(seconds)
    if found is None:
        return DASH
    left = abs(int(found))
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for i, (name, size) in enumerate(units):
        if left >= size or size == 1:
            rest = left % size // units[i + 1][1] if size > 1 else 0
            return f"{left // size} {name}" + (f" {rest} {units[i + 1][0]}" if rest else "")
    return DASH


def ago(now: int, then: Any) -> str:
    """`3 min 5 s ago`, or a dash."""
    ns = to_ns(then)
    if ns is None:
        return DASH
    text = span((now - ns) / SECOND)
    return f"{text} ago" if now >= ns else f"in {text}"


def left(now: int, then: Any) -> float | None:
    """Seconds until a time; negative once it is past."""
    ns = to_ns(then)
    return None if ns is None else (ns - now) / SECOND


def severity(action: Any) -> int:
    """0 for CONTINUE to 4 for EMERGENCY_STOP; what is unknown is treated as the worst."""
    return ACTIONS.index(action) if action in ACTIONS else 4


def level_class(level: Any) -> str:
    """The style of a level: `l0` to `l3`."""
    return f"l{LEVELS.index(level)}" if level in LEVELS else "l3"


def listed(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; [] for anything else."""
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list | tuple) else []


def mapped(value: Any) -> Mapping[str, Any]:
    """A mapping as it is; {} for anything else."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any, length: int = 300) -> str:
    """A text cut to a length, or a dash."""
    if value is None or value == "":
        return DASH
    found = str(value)
    return found if len(found) <= length else found[: length - 1] + "…"
