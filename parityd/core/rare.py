"""Rare records (marks, positions, balances, ...): accepted one at a time, with their time and line, or refused.

1. What is looked at first names the refusal: the time, then names, ids and numbers, then whether the time may be.
2. Absent optional numbers stay NAN; one that is there must be finite, and above 0 where it is a price or a quantity.
3. A number that products and sums of it could carry beyond all bounds is none: one such record would leave nothing to publish.
"""

import math
from collections.abc import Sequence

from parityd.core import owners
from parityd.core.columns import Bounds
from parityd.core.instants import parse_time, parse_times, rfc3339
from parityd.core.records import NAN, NO_TS, Heartbeat, Line, Rare, Refusal, Run, is_absent

LEAST, MOST, MOST_QUANTITY = 1e-18, 1e18, 4e10
"""What a price, a quantity or an amount may be, sign apart."""
_IDS = {"bust": "fill_id", "order": "order_id", "run": "run_id"}
_NUMBERS: dict[str, tuple[tuple[str, bool, bool], ...]] = {  # (name, above 0, required)
    "mark": (("price", True, True), ("bid", True, False), ("ask", True, False), ("volume", False, False)),
    "split": (("ratio", True, True),),
    "order": (("quantity", True, False), ("limit_price", True, False)),
    "position": (("quantity", False, True), ("average_price", True, False)),
    "funding": (("amount", False, True),),
    "balance": (("equity", False, True), ("cash", False, False)),
    "transfer": (("amount", False, True),),
    "bust": (),
    "run": (),
    "heartbeat": (),
}


def most(name: str) -> float:
    """The largest that a number of this name may be."""
    return MOST_QUANTITY if name == "quantity" else MOST


def why_not(name: str, v: float, *, positive: bool) -> str:
    """What is wrong with a number."""
    if v is None or not math.isfinite(v) or (positive and v <= 0):
        return f"{name} is {v if v is None else f'{v:g}'}: must be a finite number{' above 0' if positive else ''}"
    return (
        f"{name} is {v:g}: must lie between {LEAST:g} and {most(name):g}"
        if positive
        else f"{name} is {v:g}: must lie within {most(name):g} of 0"
    )


def _number_fault(kind: str, record: Rare) -> str | None:
    for name, positive, required in _NUMBERS[kind]:
        v = getattr(record, name)
        if v is NAN and not required:
            continue
        if v is None or not abs(v) <= most(name) or (positive and v < LEAST):
            if not required and is_absent(v):
                continue
            return why_not(name, v, positive=positive)
    return None


def _fault(kind: str, record: Rare) -> str | None:
    """What is wrong with a rare record's values, or None."""
    strategy = getattr(record, "strategy", None)
    if strategy is not None and not owners.STRATEGY_NAME.match(strategy):
        return f"strategy {strategy[:80]!r} is no strategy's name"
    symbol = getattr(record, "symbol", None)
    if symbol is not None and len(symbol) > owners.MAX_NAME:
        return f"symbol is over {owners.MAX_NAME} characters"
    if symbol == "" and kind != "run":
        return "symbol is empty"
    name = _IDS.get(kind)
    if name is not None and getattr(record, name) in ("", None):
        return f"{name} is empty"
    return _number_fault(kind, record)


def rare_lines(lines: Sequence[int], records: Sequence[Rare], bounds: Bounds) -> tuple[list[Line], list[Refusal]]:
    """Rare records with their lines, their times read as one column."""
    accepted: list[Line] = []
    refused: list[Refusal] = []
    times = parse_times([r.created if type(r) is Run else r.ts for r in records])
    for line, record, ts in zip(lines, records, times.tolist(), strict=True):
        made = rare_line(line, record, bounds, ts)
        if isinstance(made, Line):
            accepted.append(made)
        else:
            refused.append(made)
    return accepted, refused


def rare_line(line: int, record: Rare, bounds: Bounds, ts: int | None = None) -> Line | Refusal:
    """One rare record, accepted with its time, or refused. `ts` where it has been read already."""
    kind = str(record.__struct_config__.tag)
    raw = record.created if isinstance(record, Run) else record.ts
    ts = parse_time(raw) if ts is None else ts
    if ts == NO_TS:
        name = "created" if isinstance(record, Run) else "ts"
        return Refusal(line=line, code="bad_value", reason=f"{name} {str(raw)[:80]!r} is neither RFC 3339 with an offset nor epoch seconds")
    fault = _fault(kind, record)
    if fault is None and isinstance(record, Run):
        a, b = parse_time(record.from_), parse_time(record.to)
        fault = "from and to must be times, from before to" if NO_TS in (a, b) or a >= b else None
    if fault is None and isinstance(record, Heartbeat) and not 0 <= (record.override_sequence or 0) < 2**53:
        fault = f"override_sequence is {record.override_sequence}: must be a decision_sequence, at least 0 and below 2^53"
    if fault is None and isinstance(record, Heartbeat) and record.next_by not in (None, "") and parse_time(record.next_by) == NO_TS:
        fault = f"next_by {str(record.next_by)[:80]!r} is neither RFC 3339 with an offset nor epoch seconds"
    if fault is not None:
        return Refusal(line=line, code="bad_value", reason=fault)
    if ts > bounds.latest:
        return Refusal(line=line, code="future_timestamp", reason=f"ts {rfc3339(ts)} lies more than the allowed time ahead of the clock")
    if ts < bounds.oldest:
        return Refusal(line=line, code="too_old", reason=f"ts {rfc3339(ts)} is before {rfc3339(bounds.oldest)}")
    return Line(line=line, ts=ts, record=record)
