"""The audit trail as a chain: one entry, its canonical form and its hash.

1. The canonical form is JSON with sorted keys, no spaces, ASCII; `hash` is SHA-256 over it without `hash`, `previous` the hash before.
2. The first entry has sequence 1 and previous GENESIS.
3. What cannot be said in JSON never stops an entry: a number that is not finite is null, any other stranger its text.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

GENESIS = "0" * 64


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces; ValueError where a number is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def plain(value: Any) -> Any:
    """The same value in JSON's own types: text keys, lists, finite numbers."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    try:
        number = float(value) if hasattr(value, "__float__") else math.nan
    except (TypeError, ValueError):
        return str(value)
    if hasattr(value, "__float__"):
        if not math.isfinite(number):
            return None
        return int(number) if hasattr(value, "__index__") else number
    return str(value)


def entry(
    *, sequence: int, ts: str, event: str, actor: str, strategy: str | None, data: Mapping[str, Any], previous: str
) -> dict[str, Any]:
    """One entry, complete with its hash. `ts` RFC 3339; `strategy` None = concerns none in particular."""
    row = {"sequence": sequence, "ts": ts, "event": event, "actor": actor, "strategy": strategy, "data": plain(data), "previous": previous}
    return row | {"hash": hashlib.sha256(canonical(row)).hexdigest()}
