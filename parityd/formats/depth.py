"""How deeply JSON is nested, before anything is asked to decode it.

1. Strings do not count: a bracket in a text opens nothing.
2. `suspects` may name a line too many, never one too few; `deeper` is exact for valid JSON.
"""

import re

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
_FOLDED = 0x7B  # "{", and "[" with bit 5 set


def deeper(raw: bytes, limit: int) -> bool:
    """Whether brackets nest more than `limit` levels."""
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return False
    depth = 0
    for token in _TOKEN.finditer(raw):
        mark = token[0]
        if mark in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif mark in b"]}":
            depth -= 1
    return False


def suspects(data: NDArray[np.uint8], ends: NDArray[np.int64], limit: int) -> bool:
    """Whether some line opens more than `limit` brackets. `ends` are the positions of the newlines."""
    opens = (data | 0x20) == _FOLDED
    if int(np.count_nonzero(opens)) - len(ends) < limit:
        return False
    line = np.searchsorted(ends, np.flatnonzero(opens))
    return bool(np.bincount(line).max() > limit)
