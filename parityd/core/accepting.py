"""Where a record is accepted: what a draft says becomes columns, and refusals of what is not acceptable.

1. Each row has its first fault: a name, a time, then its values. A faulty row costs only itself (bad_value, missing_field, future_timestamp, too_old).
2. A column that is absent throughout is neither looked at nor read.
3. A required number must be there; one that is there must be finite (`rare` says how large it may be), and above 0 where it is a price, a quantity or a multiplier.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from parityd.core.columns import CLOSE, F64, HOLD, I8, Block, Bools, Bounds, Columns, DecisionColumns, FillColumns
from parityd.core.drafts import DECISIONS, FILLS, Draft, all_absent
from parityd.core.hashing import NAN_WORD, U64, hash_numbers, hash_same, hash_text, mix, seed
from parityd.core.identities import place, seeds
from parityd.core.instants import I64, rfc3339
from parityd.core.rare import LEAST, MOST, most, rare_lines, why_not
from parityd.core.records import ABSENT_BITS, NAN, NO_TS, Decision, Fill, Rare, Refusal
from parityd.core.text import TextColumn

C = TypeVar("C", bound=Columns)
NO_TIME = "is neither RFC 3339 with an offset nor epoch seconds"


class _Checks:
    """Collects, for each row, the first thing that is wrong with it."""

    def __init__(self, draft: Draft, lines: I64) -> None:
        self.n, self.lines = draft.n, lines
        self.bad: dict[int, tuple[str, str]] = {i: ("bad_value", why) for i, why in draft.unnamed.items()}

    def refuse(self, mask: Bools, code: str, why: str | Callable[[int], str]) -> None:
        for i in np.flatnonzero(mask).tolist():
            self.bad.setdefault(i, (code, why if isinstance(why, str) else why(i)))

    def finite(self, name: str, v: F64, *, positive: bool, required: bool = False) -> None:
        if not required and all_absent(v):
            return
        fine = (v >= LEAST) & (v <= most(name)) if positive else np.abs(v) <= MOST
        if fine.all():
            return
        wrong = ~fine if required else ~fine & (v.view(np.int64) != ABSENT_BITS)
        if wrong.any():
            self.refuse(wrong, "bad_value", lambda i: why_not(name, float(v[i]), positive=positive))

    def times(self, name: str, ts: I64, bounds: Bounds) -> None:
        """Times that are there (NO_TS is none)."""
        there = ts != NO_TS
        if int(ts.max()) > bounds.latest:
            ahead = "lies more than the allowed time ahead of the clock"
            self.refuse(ts > bounds.latest, "future_timestamp", lambda i: f"{name} {rfc3339(int(ts[i]))} {ahead}")
        if int(ts.min()) < bounds.oldest:
            self.refuse(
                there & (ts < bounds.oldest), "too_old", lambda i: f"{name} {rfc3339(int(ts[i]))} is before {rfc3339(bounds.oldest)}"
            )

    def taken(self, c: C) -> tuple[C | None, list[Refusal]]:
        """The rows without fault, and why the others are none of them."""
        if not self.bad:
            return c, []
        keep = np.ones(self.n, np.bool_)
        keep[list(self.bad)] = False
        refusals = [Refusal(line=int(self.lines[i]), code=code, reason=why) for i, (code, why) in sorted(self.bad.items())]
        return (c.take(keep) if keep.any() else None), refusals


class _Said:
    """What is said by the accepted rows of a draft, into hashes."""

    def __init__(self, draft: Draft, c: Columns) -> None:
        self.c, self.has = c, draft.has

    def text(self, h: U64, *names: str) -> U64:
        for name in names:
            h = hash_text(getattr(self.c, name), h)
        return h

    def numbers(self, h: U64, *names: str) -> U64:
        for name in names:
            v = getattr(self.c, name)
            h = mix(h, NAN_WORD) if name not in self.has or all_absent(v) else hash_numbers(v, h)
        return h


def _own_times(check: _Checks, draft: Draft, ts: I64, bounds: Bounds) -> None:
    for i, raw in draft.untimed["ts"].items():
        check.bad.setdefault(i, ("bad_value", f"ts {str(raw)[:80]!r} {NO_TIME}"))
    check.times("ts", ts, bounds)


def _fill_faults(draft: Draft, t: Mapping[str, Any], bounds: Bounds) -> _Checks:
    check = _Checks(draft, t["line"])
    _own_times(check, draft, t["ts"], bounds)
    if "decision_ts" in draft.has:
        for i in draft.untimed["decision_ts"]:
            check.bad.setdefault(i, ("bad_value", f"decision_ts {NO_TIME}"))
        check.times("decision_ts", t["decision_ts"], bounds)
    if not t["fill_id"].full():
        check.refuse(~t["fill_id"].given(), "bad_value", "fill_id is empty")
    for name in ("quantity", "price"):
        check.finite(name, t[name], positive=True, required=True)
    for name in ("decision_mark", "arrival_mark", "arrival_bid", "arrival_ask", "multiplier", "fee", "latency_ms"):
        if name in draft.has:
            check.finite(name, t[name], positive=name not in ("fee", "latency_ms"))
    return check


def accepted_fills(draft: Draft, book: str, bounds: Bounds, run: str = "") -> tuple[FillColumns | None, list[Refusal]]:
    """Fills -> columns and refusals. `run` is the run the file announced (backtest), "" for none."""
    t = draft.table()
    check = _fill_faults(draft, t, bounds)
    unnamed = np.zeros(draft.n, np.uint64)
    t["shadow"] = t["shadow"].view(np.bool_)
    c, refusals = check.taken(FillColumns(**t, key=unnamed, content=unnamed, run_id=TextColumn.repeated(run, draft.n)))
    if c is None:
        return None, refusals
    said = _Said(draft, c)
    key = place(said.text(place(seeds(book, "fill", c.owner), 1), "account"), 2)
    key = said.text(key, "venue", "fill_id")
    c.key = mix(key, seed(run)) if run else key
    h = said.text(c.key, "trade_id", "order_id", "parent_id", "currency", "fee_currency", "order_type", "agent")
    h = hash_numbers(c.side.astype(np.int64), hash_numbers(c.ts, h))
    h = hash_numbers(c.decision_ts, said.numbers(h, "quantity", "price", "fee"))
    h = said.numbers(h, "multiplier", "latency_ms", "decision_mark", "arrival_mark", "arrival_bid", "arrival_ask")
    c.content = hash_numbers(c.liquidity.astype(np.int64) * 8 + c.shadow * 4 + c.reduce_only.astype(np.int64), h)
    return c, refusals


def _decision_faults(draft: Draft, t: Mapping[str, Any], side: I8, bounds: Bounds) -> _Checks:
    action, quantity = t["action"], t["quantity"]
    check = _Checks(draft, t["line"])
    _own_times(check, draft, t["ts"], bounds)
    check.refuse((action == CLOSE) & (side == 0), "missing_field", "side is missing: a close must say which side it trades")
    for name in ("quantity", "price", "mark", "multiplier", "fee", "equity"):
        if name in draft.has:
            check.finite(name, t[name], positive=name not in ("fee", "equity"))
    if "filled" in draft.has:
        claimed = (t["filled"] == 1) & (action != HOLD) & (np.isnan(quantity) | np.isnan(t["price"]))
        check.refuse(claimed, "missing_field", "filled is true, but quantity or price is missing")
    return check


def accepted_decisions(draft: Draft, book: str, bounds: Bounds, run: str = "") -> tuple[DecisionColumns | None, list[Refusal]]:
    """Decisions -> columns and refusals."""
    t = draft.table()
    action, quantity, side = t["action"], t["quantity"], t["side"]
    quantity[((action == HOLD) | (action == CLOSE)) & (quantity == 0)] = NAN  # a hold of 0 says that nothing is traded
    check = _decision_faults(draft, t, side, bounds)
    t["side"] = np.where(np.abs(action) == 1, action, side).astype(np.int8)
    unnamed = np.zeros(draft.n, np.uint64)
    c, refusals = check.taken(DecisionColumns(**t, key=unnamed, content=unnamed, guards=draft.guards or [None] * draft.n))
    if c is None:
        return None, refusals
    said = _Said(draft, c)
    start = place(seeds(book, "decision", c.owner), 1)
    if run:
        c.run_id = TextColumn.repeated(run, len(c))
    key = said.text(hash_same(run, start) if run else said.text(start, "run_id"), "trade_id")
    c.key = hash_numbers(c.action.astype(np.int64), hash_numbers(c.ts, key))
    h = said.text(c.key, "currency", "agent", "reason")
    h = hash_text(["" if g is None else "\0".join(["g", *map(str, g)]) for g in c.guards], h) if draft.guards else hash_same("", h)
    h = hash_numbers(c.side.astype(np.int64) * 4 + c.filled.astype(np.int64), h)
    c.content = said.numbers(h, "quantity", "price", "fee", "mark", "equity", "multiplier")
    return c, refusals


def fill_columns(book: str, rows: Sequence[Fill], lines: I64, bounds: Bounds, run: str = "") -> tuple[FillColumns | None, list[Refusal]]:
    """Some fills -> columns and refusals."""
    if not rows:
        return None, []
    draft = Draft(FILLS, Fill.__struct_fields__)
    draft.add(rows, lines)
    return accepted_fills(draft, book, bounds, run)


def decision_columns(
    book: str, rows: Sequence[Decision], lines: I64, bounds: Bounds, run: str = ""
) -> tuple[DecisionColumns | None, list[Refusal]]:
    """Some decisions -> columns and refusals."""
    if not rows:
        return None, []
    draft = Draft(DECISIONS, Decision.__struct_fields__)
    draft.add(rows, lines)
    return accepted_decisions(draft, book, bounds, run)


def block(book: str, records: Sequence[tuple[int, Decision | Fill | Rare]], bounds: Bounds, run: str = "") -> Block:
    """Any mixture of decoded records with their lines -> one `Block`. What every format ends with."""
    fills = [(i, r) for i, r in records if type(r) is Fill]
    decisions = [(i, r) for i, r in records if type(r) is Decision]
    f, refused = fill_columns(book, [r for _, r in fills], np.array([i for i, _ in fills], np.int64), bounds, run)
    d, more = decision_columns(book, [r for _, r in decisions], np.array([i for i, _ in decisions], np.int64), bounds, run)
    out = Block(decisions=d, fills=f, rare=[], refusals=[*refused, *more])
    others = [(i, r) for i, r in records if not isinstance(r, Fill | Decision)]
    out.rare, more = rare_lines([i for i, _ in others], [r for _, r in others], bounds)
    out.refusals += more
    return out
