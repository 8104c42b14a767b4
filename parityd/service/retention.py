"""How far back records may reach: what is older than the kept trades is refused, because its identity may be forgotten."""

import math

from parityd.core.columns import OLDEST
from parityd.settings import Settings


def oldest(settings: Settings, now_ns: int) -> int:
    """The oldest timestamp that may come in (ns)."""
    keep = settings.retention.trades
    return OLDEST if math.isinf(keep) else max(OLDEST, now_ns - round(keep * 1e9))
