"""A time as people write it in market data -> ns UTC, where `instants` would be stricter.

1. Times without a zone are UTC; a date alone is its midnight.
2. Numbers are seconds, milliseconds, microseconds or nanoseconds by their size: seconds up to 1e11 (the year 5138), then each a
   thousand times more.
"""

import math
from datetime import datetime

import numpy as np

from parityd.core.instants import SECOND, parse_time
from parityd.core.records import NO_TS


def any_time(value: object) -> int:
    """One time in ns, NO_TS where it is none."""
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.lstrip("+-").replace(".", "", 1).isdigit():
            return _scaled(float(stripped)) if "." in stripped else _scaled(int(stripped))
        if len(stripped) == 10:
            stripped += "T00:00:00"
        return parse_time(stripped, naive_is_utc=True)
    if isinstance(value, datetime):
        return parse_time(value.isoformat(), naive_is_utc=True)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return NO_TS
    number = value.item() if isinstance(value, np.generic) else value
    return _scaled(number)


def _scaled(number: float) -> int:
    if not math.isfinite(number):
        return NO_TS
    size = abs(number)
    unit = SECOND if size < 1e11 else 1_000_000 if size < 1e14 else 1_000 if size < 1e17 else 1
    return (
        number * unit if isinstance(number, int) else round(number * 1e6) * (unit // 1_000_000) if unit >= 1_000_000 else int(number * unit)
    )
