"""Decisions and fills as columns: the form in which the bulk of the records travels, and the one place where a record is accepted.

1. A block of decoded records becomes one array a field; objects die with their block.
2. What is not acceptable leaves here as a refusal (bad_value, missing_field, future_timestamp, too_old) and costs only itself.
3. Absent numbers are NaN, absent times NO_TS, absent text "". Sides are +1 and -1, 0 where there is none.
4. `key` names the record (CONTRACT 2's identity, with the run for a backtest), `content` all it says: equal keys with equal contents are
   duplicates, with other contents a conflict. Both are made from names, never from codes.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.hashing import NAN_WORD, U64, hash_numbers, hash_text, mix, plain, seed
from parityd.core.instants import I64, parse_time, parse_times, rfc3339
from parityd.core.records import ABSENT_BITS, NAN, NO_TS, Decision, Fill, Heartbeat, Line, Rare, Refusal, Run, is_absent

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]
Bools = NDArray[np.bool_]

STRATEGY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}\Z", re.ASCII)
OLDEST = 631_152_000 * 1_000_000_000  # 1990-01-01
BUY, SELL, CLOSE, HOLD = 1, -1, 2, 0
_SIDES = {"buy": 1, "sell": -1, "": 0, None: 0}
_ACTIONS = {"buy": BUY, "sell": SELL, "close": CLOSE, "hold": HOLD}
_LIQUIDITY = {"": 0, None: 0, "maker": 1, "taker": 2}
_FLAGS = {None: -1, False: 0, True: 1}
_SHADOW = {None: 0, False: 0, True: 1}
MAX_NAME = 256
ANY = "\0any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a timestamp may be (ns): nothing after `latest`, nothing before `oldest`."""

    latest: int = 2**62
    oldest: int = OLDEST


@dataclass(slots=True, kw_only=True)
class Columns:
    """What both kinds have. Arrays of shape (n,), text as lists; `owner` says which strategy and symbol (see `owners`).

    What is taken from other columns, or joined of them, is made a column at a time, when that column is first asked for.
    """

    line: I64
    owner: I32
    ts: I64
    key: U64
    content: U64
    _of: "Sequence[Self]" = field(default=(), repr=False, compare=False)  # the columns that this was made of
    _where: I64 | slice | None = field(default=None, repr=False, compare=False)  # ... and which rows of the first, None: all of all

    _said: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)  # names that were asked for

    def __len__(self) -> int:
        return len(self.line)

    @property
    def strategy(self) -> list[str]:
        """Each record's strategy."""
        if "strategy" not in self._said:
            self._said["strategy"] = owners.strategies(self.owner)
        return self._said["strategy"]

    @property
    def symbol(self) -> list[str]:
        """Each record's symbol, as it was written."""
        if "symbol" not in self._said:
            self._said["symbol"] = owners.symbols(self.owner)
        return self._said["symbol"]

    def __getattr__(self, name: str) -> Any:
        """A column that was not asked for before."""
        if name.startswith("_"):
            raise AttributeError(name)
        made = _joined([getattr(p, name) for p in self._of]) if self._where is None else _taken(getattr(self._of[0], name), self._where)
        setattr(self, name, made)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process: owners by their names, since codes are each process's own."""
        present, at = owners.places(self.owner)
        own = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_") and f.name != "owner"}
        return _arrived, (type(self), own, [owners.name(k) for k in present], at.astype(np.int32))

    @classmethod
    def _late(cls, of: "Sequence[Self]", where: I64 | slice | None) -> Self:
        made = cls.__new__(cls)
        for name, value in (("_of", of), ("_where", where), ("_said", {})):
            setattr(made, name, value)
        return made

    def take(self, index: I64 | Bools) -> Self:
        """The rows of a mask or of positions, in that order."""
        return self._late([self], np.flatnonzero(index) if index.dtype == np.bool_ else index.astype(np.int64, copy=False))

    def strategies(self) -> set[str]:
        """Whose records these are."""
        return {owners.name(o)[0] for o in owners.distinct(self.owner)}

    def only(self, strategy: str) -> Self:
        """The records of one strategy."""
        if self.strategies() <= {strategy}:
            return self
        return self.take(owners.looked_up(self.owner, lambda name, _: name == strategy, np.bool_))

    def between(self, start: int, end: int) -> Self:
        """Neighbouring rows, without copying numbers."""
        return self._late([self], slice(start, end))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several as one."""
        return parts[0] if len(parts) == 1 else cls._late(list(parts), None)

    @classmethod
    def collected(cls, blocks: Sequence[Self]) -> Self:
        """Several blocks as one; they are used up."""
        if len(blocks) == 1:
            return blocks[0]
        out: dict[str, Any] = {}
        for f in fields(cls):
            if not f.name.startswith("_"):
                out[f.name] = _joined([getattr(b, f.name) for b in blocks])
                for b in blocks:
                    delattr(b, f.name)
        return cls(**out)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The columns by the names that records have."""
        own = [f.name for f in fields(cls) if not f.name.startswith("_")]
        at = own.index("owner")
        return (*own[:at], "strategy", "symbol", *own[at + 1 :])

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """From columns by the names that records have."""
        own = {k: v for k, v in table.items() if k not in ("strategy", "symbol")}
        return cls(owner=owners.codes(table["strategy"], table["symbol"]), **own)


def _arrived(kind: type[Columns], own: dict[str, Any], names: list[tuple[str, str]], at: I32) -> Columns:
    codes = np.array([owners.code(*x) for x in names], np.int32)
    return kind(owner=codes[at] if len(codes) else at, **own)


def _taken(v: Any, where: I64 | slice) -> Any:
    if isinstance(v, np.ndarray) or isinstance(where, slice):
        return v[where]
    if v and v[0] is v[-1] and v.count(v[0]) == len(v):
        return [v[0]] * len(where)
    return [v[i] for i in where.tolist()]


def _joined(vs: list[Any]) -> Any:
    return np.concatenate(vs) if isinstance(vs[0], np.ndarray) else list(chain.from_iterable(vs))


@dataclass(slots=True, kw_only=True)
class DecisionColumns(Columns):
    action: I8
    side: I8
    trade_id: list[str]
    quantity: F64
    price: F64
    fee: F64
    mark: F64
    filled: I8  # 1, 0, or -1: not said
    equity: F64
    multiplier: F64
    currency: list[str]
    agent: list[str]
    reason: list[str]
    guards: list[list[str] | None]
    run_id: list[str]


@dataclass(slots=True, kw_only=True)
class FillColumns(Columns):
    fill_id: list[str]
    trade_id: list[str]
    order_id: list[str]
    parent_id: list[str]
    account: list[str]
    venue: list[str]
    side: I8
    quantity: F64
    price: F64
    fee: F64
    decision_ts: I64
    multiplier: F64
    latency_ms: F64
    decision_mark: F64
    arrival_mark: F64
    arrival_bid: F64
    arrival_ask: F64
    liquidity: I8  # 0 not said, 1 maker, 2 taker
    shadow: Bools
    reduce_only: I8
    currency: list[str]
    fee_currency: list[str]
    order_type: list[str]
    agent: list[str]
    run_id: list[str]


@dataclass(slots=True, kw_only=True)
class Block:
    """What one block (or one file) of input holds: accepted columns and lines, and the refused."""

    decisions: DecisionColumns | None
    fills: FillColumns | None
    rare: list[Line]
    refusals: list[Refusal]


def _absent(n: int) -> F64:
    return np.full(n, ABSENT_BITS, np.int64).view(np.float64)


def _numbers(values: list[float | None]) -> F64:
    """A column of numbers; a column of one and the same NAN is seen at once."""
    n = len(values)
    if values[0] is NAN and values.count(NAN) == n:
        return _absent(n)
    try:
        raw = struct.pack(f"{n}d", *values)
    except struct.error:
        raw = struct.pack(f"{n}d", *[NAN if v is None else v for v in values])
    return np.frombuffer(bytearray(raw), np.float64)


def _all_absent(v: F64) -> bool:
    bits = v.view(np.int64)
    return bool(bits[0] == ABSENT_BITS and (bits == ABSENT_BITS).all())


def _texts(values: list[Any]) -> list[str]:
    """A column of text; TypeError of the join is how one that is none is found."""
    if values[0] == "" and values.count("") == len(values):
        return values
    try:
        "".join(values)
    except TypeError:
        return plain(values)
    return values


def _codes(values: list[Any], table: dict[Any, int]) -> I8:
    first = values[0]
    if values.count(first) == len(values):
        return np.full(len(values), table[first], np.int8)
    return np.frombuffer(bytearray([table[v] & 0xFF for v in values]), np.int8)


class _Checks:
    """Collects, for each row, the first thing that is wrong with it."""

    def __init__(self, n: int, lines: I64) -> None:
        self.bad: dict[int, tuple[str, str]] = {}
        self.lines = lines
        self.n = n

    def refuse(self, mask: Bools, code: str, why: str | Callable[[int], str]) -> None:
        for i in np.flatnonzero(mask).tolist():
            self.bad.setdefault(i, (code, why if isinstance(why, str) else why(i)))

    def finite(self, name: str, v: F64, *, positive: bool, required: bool = False) -> None:
        if not required and _all_absent(v):
            return
        fine = (v > 0) & (v < np.inf) if positive else np.isfinite(v)
        if fine.all():
            return
        wrong = ~fine if required else ~fine & (v.view(np.int64) != ABSENT_BITS)
        if wrong.any():
            self.refuse(wrong, "bad_value", lambda i: f"{name} is {v[i]:g}: must be a finite number{' above 0' if positive else ''}")

    def owners(self, strategy: list[str], symbol: list[str]) -> I32:
        """The code of each row's owner; of a row with a bad name that of nobody. Only good names get a code."""
        found = owners.known(strategy, symbol)
        if found is None:
            self._names(strategy, symbol)
            found = np.array([-1 if i in self.bad else owners.code(*x) for i, x in enumerate(zip(strategy, symbol, strict=True))], np.int32)
        return found

    def _names(self, strategy: list[str], symbol: list[str]) -> None:
        bad_strategies = {s for s in set(strategy) if not STRATEGY_NAME.match(s)}
        bad_symbols = {s for s in set(symbol) if not s or len(s) > MAX_NAME}
        if bad_strategies:
            hit = np.fromiter((s in bad_strategies for s in strategy), np.bool_, self.n)
            self.refuse(hit, "bad_value", lambda i: f"strategy {strategy[i][:80]!r} is no strategy's name")
        if bad_symbols:
            hit = np.fromiter((s in bad_symbols for s in symbol), np.bool_, self.n)
            self.refuse(hit, "bad_value", lambda i: "symbol is empty" if not symbol[i] else f"symbol is over {MAX_NAME} characters")

    def times(self, ts: I64, raw: list[Any], bounds: Bounds, name: str = "ts") -> None:
        lowest = int(ts.min())
        if lowest == NO_TS:
            self.refuse(
                ts == NO_TS, "bad_value", lambda i: f"{name} {str(raw[i])[:80]!r} is neither RFC 3339 with an offset nor epoch seconds"
            )
        if int(ts.max()) > bounds.latest:
            self.refuse(
                ts > bounds.latest,
                "future_timestamp",
                lambda i: f"{name} {rfc3339(int(ts[i]))} lies more than the allowed time ahead of the clock",
            )
        if lowest < bounds.oldest:
            self.refuse(ts < bounds.oldest, "too_old", lambda i: f"{name} {rfc3339(int(ts[i]))} is before {rfc3339(bounds.oldest)}")

    def done(self) -> tuple[Bools | None, list[Refusal]]:
        if not self.bad:
            return None, []
        keep = np.ones(self.n, np.bool_)
        keep[list(self.bad)] = False
        return keep, [Refusal(line=int(self.lines[i]), code=c, reason=w) for i, (c, w) in sorted(self.bad.items())]


@lru_cache
def _seed_of(kind: str, book: str) -> owners.Property:
    return owners.Property(lambda strategy, symbol: seed(f"{kind}\0{book}\0{strategy}\0{symbol}"), np.uint64)


def _seeds(book: str, kind: str, owner: I32) -> U64:
    """One seed a row from (kind, book, strategy, symbol)."""
    return _seed_of(kind, book)(owner)


def _fold(h: U64, *text: list[str]) -> U64:
    """Fold text columns in, each behind a mark of its place."""
    for k, column in enumerate(text):
        h = hash_text(column, mix(h, np.uint64(k + 1)))
    return h


def fill_key(book: str, strategy: str, symbol: str, fill_id: str, account: str = "", venue: str = "", run: str = "") -> int:
    """The key that this fill has or would have."""
    key = hash_text([fill_id], _fold(_seeds(book, "fill", owners.codes([strategy], [symbol])), [account], [venue]))
    return int((mix(key, np.full(1, seed(run))) if run else key)[0])


def keys_of_any(book: str, c: FillColumns) -> list[U64]:
    """The keys that fills have whatever their account, venue, or both are: those of a bust that does not name it (`ANY`)."""
    start, some = _seeds(book, "fill", c.owner), [ANY] * len(c)
    return [hash_text(c.fill_id, _fold(start, account, venue)) for account, venue in ((some, c.venue), (c.account, some), (some, some))]


def _content(start: U64, text: list[list[str]], numbers: list[F64 | I64]) -> U64:
    h = start
    for column in text:
        h = hash_text(column, h)
    for v in numbers:
        h = mix(h, NAN_WORD) if v.dtype == np.float64 and _all_absent(v) else hash_numbers(v, h)  # type: ignore[arg-type]
    return h


def fill_columns(book: str, rows: list[Fill], lines: I64, bounds: Bounds, run: str = "") -> tuple[FillColumns | None, list[Refusal]]:
    """Fills of one block -> columns and refusals. `run` is the run the file announced (backtest), "" for none."""
    if not rows:
        return None, []
    n = len(rows)
    check = _Checks(n, lines)
    owner = check.owners([r.strategy for r in rows], [r.symbol for r in rows])
    raw_ts = [r.ts for r in rows]
    raw_decision = [r.decision_ts for r in rows]
    ts = parse_times(raw_ts)
    c = FillColumns(
        line=lines, owner=owner, ts=ts,
        key=np.zeros(0, np.uint64), content=np.zeros(0, np.uint64),
        fill_id=_texts([r.fill_id for r in rows]), trade_id=_texts([r.trade_id for r in rows]),
        order_id=_texts([r.order_id for r in rows]), parent_id=_texts([r.parent_id for r in rows]),
        account=_texts([r.account for r in rows]), venue=_texts([r.venue for r in rows]),
        side=_codes([r.side for r in rows], _SIDES),
        quantity=_numbers([r.quantity for r in rows]), price=_numbers([r.price for r in rows]), fee=_numbers([r.fee for r in rows]),
        decision_ts=np.full(n, NO_TS) if raw_decision.count(None) == n else parse_times(raw_decision),
        multiplier=_numbers([r.multiplier for r in rows]), latency_ms=_numbers([r.latency_ms for r in rows]),
        decision_mark=_numbers([r.decision_mark for r in rows]), arrival_mark=_numbers([r.arrival_mark for r in rows]),
        arrival_bid=_numbers([r.arrival_bid for r in rows]), arrival_ask=_numbers([r.arrival_ask for r in rows]),
        liquidity=_codes([r.liquidity for r in rows], _LIQUIDITY),
        shadow=_codes([r.shadow for r in rows], _SHADOW).view(np.bool_), reduce_only=_codes([r.reduce_only for r in rows], _FLAGS),
        currency=_texts([r.currency for r in rows]), fee_currency=_texts([r.fee_currency for r in rows]),
        order_type=_texts([r.order_type for r in rows]), agent=_texts([r.agent for r in rows]), run_id=[run] * n,
    )  # fmt: skip
    check.times(ts, raw_ts, bounds)
    if (c.decision_ts == NO_TS).any() and raw_decision.count(None) < n:
        missing = (c.decision_ts == NO_TS) & np.fromiter((v is not None and v != "" for v in raw_decision), np.bool_, n)
        check.refuse(missing, "bad_value", "decision_ts is neither RFC 3339 with an offset nor epoch seconds")
    if raw_decision.count(None) < n:
        check.times(np.where(c.decision_ts == NO_TS, ts, c.decision_ts), raw_decision, bounds, "decision_ts")
    if not all(c.fill_id):
        check.refuse(np.fromiter((not f for f in c.fill_id), np.bool_, n), "bad_value", "fill_id is empty")
    check.finite("quantity", c.quantity, positive=True, required=True)
    check.finite("price", c.price, positive=True, required=True)
    for name in ("decision_mark", "arrival_mark", "arrival_bid", "arrival_ask", "multiplier"):
        check.finite(name, getattr(c, name), positive=True)
    check.finite("fee", c.fee, positive=False)
    check.finite("latency_ms", c.latency_ms, positive=False)
    keep, refusals = check.done()
    if keep is not None:
        c.key = c.content = np.zeros(n, np.uint64)
        c = c.take(keep)
        if not len(c):
            return None, refusals
    key = hash_text(c.fill_id, _fold(_seeds(book, "fill", c.owner), c.account, c.venue))
    c.key = mix(key, seed(run)) if run else key
    text = [c.trade_id, c.order_id, c.parent_id, c.currency, c.fee_currency, c.order_type, c.agent]
    c.content = _content(c.key, text, [
        c.ts, c.side.astype(np.int64), c.quantity, c.price, c.fee, c.decision_ts, c.multiplier, c.latency_ms, c.decision_mark,
        c.arrival_mark, c.arrival_bid, c.arrival_ask, c.liquidity.astype(np.int64) * 8 + c.shadow * 4 + c.reduce_only.astype(np.int64),
    ])  # fmt: skip
    return c, refusals


def decision_columns(
    book: str, rows: list[Decision], lines: I64, bounds: Bounds, run: str = ""
) -> tuple[DecisionColumns | None, list[Refusal]]:
    """Decisions of one block -> columns and refusals."""
    if not rows:
        return None, []
    n = len(rows)
    check = _Checks(n, lines)
    owner = check.owners([r.strategy for r in rows], [r.symbol for r in rows])
    raw_ts = [r.ts for r in rows]
    ts = parse_times(raw_ts)
    action = _codes([r.action for r in rows], _ACTIONS)
    said = _codes([r.side for r in rows], _SIDES)
    quantity = _numbers([r.quantity for r in rows])
    price = _numbers([r.price for r in rows])
    idle = (action == HOLD) | (action == CLOSE)
    quantity[idle & (quantity == 0)] = NAN  # a hold of 0 says that nothing is traded
    c = DecisionColumns(
        line=lines, owner=owner, ts=ts, key=np.zeros(0, np.uint64), content=np.zeros(0, np.uint64),
        action=action, side=np.where(np.abs(action) == 1, action, said).astype(np.int8),
        trade_id=_texts([r.trade_id for r in rows]), quantity=quantity, price=price, fee=_numbers([r.fee for r in rows]),
        mark=_numbers([r.mark for r in rows]), filled=_codes([r.filled for r in rows], _FLAGS), equity=_numbers([r.equity for r in rows]),
        multiplier=_numbers([r.multiplier for r in rows]), currency=_texts([r.currency for r in rows]), agent=_texts([r.agent for r in rows]),
        reason=_texts([r.reason for r in rows]), guards=[r.guards for r in rows], run_id=[run or x for x in _texts([r.run_id for r in rows])],
    )  # fmt: skip
    check.times(ts, raw_ts, bounds)
    check.refuse((action == CLOSE) & (said == 0), "missing_field", "side is missing: a close must say which side it trades")
    check.finite("quantity", quantity, positive=True)
    check.finite("price", price, positive=True)
    check.finite("mark", c.mark, positive=True)
    check.finite("multiplier", c.multiplier, positive=True)
    check.finite("fee", c.fee, positive=False)
    check.finite("equity", c.equity, positive=False)
    claimed = (c.filled == 1) & (action != HOLD) & (np.isnan(quantity) | np.isnan(price))
    check.refuse(claimed, "missing_field", "filled is true, but quantity or price is missing")
    keep, refusals = check.done()
    if keep is not None:
        c.key = c.content = np.zeros(n, np.uint64)
        c = c.take(keep)
        if not len(c):
            return None, refusals
    key = hash_text(c.trade_id, _fold(_seeds(book, "decision", c.owner), c.run_id))
    c.key = hash_numbers(c.action.astype(np.int64), hash_numbers(c.ts, key))
    guards = ["" if g is None else "\0".join(["g", *map(str, g)]) for g in c.guards]
    c.content = _content(c.key, [c.currency, c.agent, c.reason, guards], [
        c.side.astype(np.int64) * 4 + c.filled.astype(np.int64), c.quantity, c.price, c.fee, c.mark, c.equity, c.multiplier,
    ])  # fmt: skip
    return c, refusals


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


def _number_fault(kind: str, record: Rare) -> str | None:
    for name, positive, required in _NUMBERS[kind]:
        v = getattr(record, name)
        if v is NAN and not required:
            continue
        if v is None or not math.isfinite(v) or (positive and v <= 0):
            if not required and is_absent(v):
                continue
            return f"{name} is {v}: must be a finite number{' above 0' if positive else ''}"
    return None


def _fault(kind: str, record: Rare) -> str | None:
    """What is wrong with a rare record's values, or None."""
    strategy = getattr(record, "strategy", None)
    if strategy is not None and not STRATEGY_NAME.match(strategy):
        return f"strategy {strategy[:80]!r} is no strategy's name"
    symbol = getattr(record, "symbol", None)
    if symbol is not None and len(symbol) > MAX_NAME:
        return f"symbol is over {MAX_NAME} characters"
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
