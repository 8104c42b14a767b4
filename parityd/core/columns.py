"""Decisions and fills as columns: the form in which the bulk of the records travels.

1. One array a field, one row a record; text as `TextColumn`. Objects live only while they are decoded (see `drafts`, `accepting`).
2. Absent numbers are NaN, absent times NO_TS, absent text "". Sides are +1 and -1, 0 where there is none.
3. `key` names the record (CONTRACT 2's identity, with the run for a backtest), `content` all it says: equal keys with equal contents are
   duplicates, with other contents a conflict (see `identities`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.hashing import U64
from parityd.core.instants import I64
from parityd.core.records import Line, Refusal
from parityd.core.text import TextColumn

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]
Bools = NDArray[np.bool_]

OLDEST = 631_152_000 * 1_000_000_000  # 1990-01-01
BUY, SELL, CLOSE, HOLD = 1, -1, 2, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a timestamp may be (ns): nothing after `latest`, nothing before `oldest`."""

    latest: int = 2**62
    oldest: int = OLDEST


@dataclass(slots=True, kw_only=True)
class Columns:
    """What both kinds have. Arrays of shape (n,); `owner` says which strategy and symbol (see `owners`).

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
        """To another process: owners by their names, since codes are each process's own; of a column of text all in one."""
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
        texts = {f.name for f in fields(cls) if f.type is TextColumn}
        own: dict[str, Any] = {k: TextColumn.of(v) if k in texts else v for k, v in table.items() if k not in ("strategy", "symbol")}
        return cls(owner=owners.codes(table["strategy"], table["symbol"]), **own)


def _arrived(kind: type[Columns], own: dict[str, Any], names: list[tuple[str, str]], at: I32) -> Columns:
    codes = np.array([owners.code(*x) for x in names], np.int32)
    return kind(owner=codes[at] if len(codes) else at, **own)


def _taken(v: Any, where: I64 | slice) -> Any:
    if isinstance(v, TextColumn):
        return v.take(where)
    return v[where] if isinstance(v, np.ndarray) or isinstance(where, slice) else [v[i] for i in where.tolist()]


def _joined(vs: list[Any]) -> Any:
    if isinstance(vs[0], TextColumn):
        return TextColumn.joined(vs)
    if isinstance(vs[0], np.ndarray):
        return np.concatenate(vs)
    out: list[Any] = []
    for v in vs:
        out += v
    return out


@dataclass(slots=True, kw_only=True)
class DecisionColumns(Columns):
    action: I8
    side: I8
    trade_id: TextColumn
    quantity: F64
    price: F64
    fee: F64
    mark: F64
    filled: I8  # 1, 0, or -1: not said
    equity: F64
    multiplier: F64
    currency: TextColumn
    agent: TextColumn
    reason: TextColumn
    guards: list[list[str] | None]
    run_id: TextColumn


@dataclass(slots=True, kw_only=True)
class FillColumns(Columns):
    fill_id: TextColumn
    trade_id: TextColumn
    order_id: TextColumn
    parent_id: TextColumn
    account: TextColumn
    venue: TextColumn
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
    currency: TextColumn
    fee_currency: TextColumn
    order_type: TextColumn
    agent: TextColumn
    run_id: TextColumn


@dataclass(slots=True, kw_only=True)
class Block:
    """What one block (or one file) of input holds: accepted columns and lines, and the refused."""

    decisions: DecisionColumns | None
    fills: FillColumns | None
    rare: list[Line]
    refusals: list[Refusal]
