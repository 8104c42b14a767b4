"""Times: what was written -> int64 nanoseconds since 1970, UTC.

1. RFC 3339 needs its offset; a number (or the digits of one) is epoch seconds. Anything else is not a time.
2. The usual form `YYYY-MM-DDTHH:MM:SS.ffffffZ` is read as a matrix of digits; whatever is not of that form takes the slow way,
   with the same result.
3. Up to nine digits of fraction count; further digits are cut. A time out of reach of 64 bits (1677 to 2262) is the first or last within it.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from parityd.core.records import NO_TS

I64 = NDArray[np.int64]
SECOND = 1_000_000_000
DAY_NS = 86_400 * SECOND
MILLI = 1_000_000
LAST = 2**63 - 1
_EPOCH = date(1970, 1, 1).toordinal()
_FORM = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|z|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_WIDTH = 28  # the usual form and a newline
_LOWEST = np.frombuffer(b"0000-00-00T00:00:00.000000Z\n", np.uint8)
_SPAN = np.frombuffer(b"9999-19-39T29:59:59.999999Z\n", np.uint8) - _LOWEST
_WEIGHTS = np.zeros((_WIDTH, 3))
_WEIGHTS[[0, 1, 2, 3, 5, 6, 8, 9], 0] = [10**7, 10**6, 10**5, 10**4, 10**3, 100, 10, 1]  # the day as YYYYMMDD
_WEIGHTS[[11, 12, 14, 15, 17, 18], 1] = [36000, 3600, 600, 60, 10, 1]  # the second of the day
_WEIGHTS[[20, 21, 22, 23, 24, 25], 2] = [10**5, 10**4, 10**3, 100, 10, 1]  # microseconds


def parse_time(value: str | float | None, *, naive_is_utc: bool = False) -> int:
    """One time in ns, or NO_TS where it is none. Numbers are epoch seconds."""
    if value is None or isinstance(value, bool):
        return NO_TS
    if isinstance(value, str):
        found = _FORM.match(value.strip())
        if found is None:
            try:
                value = float(value) if re.fullmatch(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*", value, re.ASCII) else math.nan
            except ValueError:
                return NO_TS
        else:
            return _from_match(found, naive_is_utc=naive_is_utc)
    if isinstance(value, int):
        return _within(value * SECOND)
    if not math.isfinite(value):
        return NO_TS
    whole = math.floor(value)
    return _within(whole * SECOND + round((value - whole) * 1e7) * 100)  # a double holds epoch seconds to about 1e-7


def _from_match(found: re.Match[str], *, naive_is_utc: bool) -> int:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if zone is None and not naive_is_utc:
        return NO_TS
    offset = timedelta(0)
    if zone and zone not in "Zz":
        text = zone.replace(":", "")
        if int(text[3:5]) > 59 or int(text[1:3]) > 23:
            return NO_TS
        offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:5])) * (-1 if text[0] == "-" else 1)
    leap = second == "60" and minute == "59"  # RFC 3339 5.6: the second that a clock may add, counted as the next one
    try:
        t = datetime(int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second), tzinfo=timezone(offset))
    except ValueError:
        return NO_TS
    since = t - datetime(1970, 1, 1, tzinfo=UTC)
    ns = (since.days * 86_400 + since.seconds + leap) * SECOND + int(((fraction or "") + "000000000")[:9])
    return _within(ns)


def _within(ns: int) -> int:
    """The year 9999 is a time, though none that 64 bits can hold: it becomes the last one."""
    return max(-LAST, min(LAST, ns))


def _fast(values: Sequence[str]) -> I64 | None:
    """All of one form, or None. A newline stands where each text ends and nowhere else, so none is longer or shorter."""
    n = len(values)
    data = ("\n".join(values) + "\n").encode("utf-8", "surrogatepass")
    if len(data) != _WIDTH * n:
        return None
    text = np.frombuffer(data, np.uint8).reshape(n, _WIDTH) - _LOWEST
    if (text > _SPAN).any():
        return None
    numbers = (text.astype(np.float64) @ _WEIGHTS).astype(np.int64)
    day, clock = numbers[:, 0], numbers[:, 1]
    if clock.max() >= 86_400:
        return None
    days, place = (day[:1], np.zeros(1, np.int64)) if (day == day[0]).all() else np.unique(day, return_inverse=True)
    try:
        ordinals = np.array([date(d // 10_000, d // 100 % 100, d % 100).toordinal() - _EPOCH for d in days.tolist()], np.int64)
    except ValueError:
        return None
    if abs(ordinals).max() > 100_000:
        return None
    return (ordinals[place] * 86_400 + clock) * SECOND + numbers[:, 2] * 1000


def parse_times(values: Sequence[str | float | None]) -> I64:
    """A column of times in ns; NO_TS where one is no time. Shape (n,)."""
    if len(values) == 0:
        return np.zeros(0, np.int64)
    try:
        found = _fast(values)  # type: ignore[arg-type]
    except TypeError:
        found = None
    if found is not None:
        return found
    return np.fromiter((parse_time(v) for v in values), np.int64, len(values))


def rfc3339(ns: int) -> str:
    """`2026-11-20T10:15:00.120000Z`; nine digits only where they are needed."""
    whole, rest = divmod(ns, SECOND)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 1000:06d}Z" if rest % 1000 == 0 else f"{text}.{rest:09d}Z"


def day_text(ns: int) -> str:
    """The UTC day of a time, `YYYY-MM-DD`."""
    return date.fromordinal(ns // DAY_NS + _EPOCH).isoformat()


def day_start(text: str) -> int:
    """The first nanosecond of a UTC day; ValueError where the text is no day."""
    return (date.fromisoformat(text).toordinal() - _EPOCH) * DAY_NS
