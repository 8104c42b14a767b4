"""The machine's clocks: the only place that reads them.

1. `now` is wall time, `boottime` the time since boot including suspend; both int64 nanoseconds.
2. Whoever needs time is handed these two callables; a replay hands its own.
"""

import time
from pathlib import Path


def now() -> int:
    """Wall-clock time, ns since 1970 UTC."""
    return time.time_ns()


def boottime() -> int:
    """Nanoseconds since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's name for this boot; "" where it gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
