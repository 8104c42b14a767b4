"""What decoded records say, as columns, before it is judged: a draft of decisions or of fills.

1. Records come in by the block, while they lie in the cache: a field of a block becomes one array (text stays text), and the records die with their block.
2. A field that no record of a draft can have (its layout lacks it) is no column: it is one and the same absence for all.
3. Nothing is refused here, but names are looked at, since only good ones get a code, and what a refusal will quote is kept as it was written.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from parityd.core import owners
from parityd.core.columns import BUY, CLOSE, F64, HOLD, I32, SELL
from parityd.core.hashing import plain
from parityd.core.instants import I64, parse_times
from parityd.core.records import ABSENT_BITS, NAN, NO_TS, Decision, Fill
from parityd.core.text import TextColumn

_SIDES = {"buy": 1, "sell": 0xFF, "": 0, None: 0}
_ACTIONS = {"buy": BUY, "sell": SELL & 0xFF, "close": CLOSE, "hold": HOLD}
_LIQUIDITY = {"": 0, None: 0, "maker": 1, "taker": 2}
_FLAGS = {None: 0xFF, False: 0, True: 1}
_SHADOW = {None: 0, False: 0, True: 1}
_FLOAT = 0xCB  # what msgpack writes before each double
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Kind:
    """What becomes of each field. `codes`: a table, and what stands for the field where no record has it."""

    of: type[msgspec.Struct]
    times: tuple[str, ...]
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    codes: Mapping[str, tuple[Mapping[Any, int], int]]


FILLS = Kind(
    Fill,
    times=("ts", "decision_ts"),
    numbers=(
        "quantity", "price", "fee", "multiplier", "latency_ms", "decision_mark", "arrival_mark", "arrival_bid", "arrival_ask",
    ),
    texts=("fill_id", "trade_id", "order_id", "parent_id", "account", "venue", "currency", "fee_currency", "order_type", "agent"),
    codes={"side": (_SIDES, 0), "liquidity": (_LIQUIDITY, 0), "shadow": (_SHADOW, 0), "reduce_only": (_FLAGS, -1)},
)  # fmt: skip
DECISIONS = Kind(
    Decision,
    times=("ts",),
    numbers=("quantity", "price", "fee", "mark", "equity", "multiplier"),
    texts=("trade_id", "currency", "agent", "reason", "run_id"),
    codes={"action": (_ACTIONS, 0), "side": (_SIDES, 0), "filled": (_FLAGS, -1)},
)


def absent(n: int) -> F64:
    """Numbers that are not there."""
    return np.full(n, ABSENT_BITS, np.int64).view(np.float64)


def all_absent(v: F64) -> bool:
    """Whether none of the numbers is there."""
    bits = v.view(np.int64)
    return bool(bits[0] == ABSENT_BITS and (bits == ABSENT_BITS).all())


def _head(n: int) -> int:
    """How many bytes msgpack says a list's length in."""
    return 1 if n < 16 else 3 if n < 65536 else 5


def _packed(values: list[float | None]) -> bytes:
    try:
        return struct.pack(f"{len(values)}d", *values)
    except struct.error:
        return struct.pack(f"{len(values)}d", *[NAN if v is None else v for v in values])


def _numbers(columns: list[list[float | None]]) -> F64:
    """Columns of n numbers -> array of shape (columns, n). Where each is a float, their encoding is read as an array."""
    k, n = len(columns), len(columns[0])
    data, head, width = _encode(columns), _head(k), _head(n) + 9 * n
    if len(data) == head + k * width:
        at = head + _head(n)
        if (np.ndarray((k, n), np.uint8, data, at, (width, 9)) == _FLOAT).all():
            return np.ndarray((k, n), ">f8", data, at + 1, (width, 9)).astype(np.float64)
    return np.frombuffer(b"".join(map(_packed, columns)), np.float64).reshape(k, n).copy()


def _coded(values: list[Any], table: Mapping[Any, int]) -> bytes:
    first = values[0]
    return bytes((table[first],)) * len(values) if values.count(first) == len(values) else bytes(map(table.__getitem__, values))


class _Text:
    """A column of text, block by block: as long as all say the same that text, then all of a block in one (as they are, where one holds a newline)."""

    __slots__ = ("blocks", "n", "same")

    def __init__(self) -> None:
        self.same: str | None = None
        self.blocks: list[str | list[str]] = []
        self.n = 0

    def add(self, values: list[Any]) -> None:
        first = values[0]
        if not self.blocks and type(first) is str and self.same in (None, first) and values.count(first) == len(values):
            self.same, self.n = first, self.n + len(values)
            return
        if not self.blocks and self.n:
            self._put([self.same] * self.n)
        self._put(values)
        self.n += len(values)

    def _put(self, values: list[Any]) -> None:
        try:
            line = "\n".join(values)
        except TypeError:
            values = plain(values)
            line = "\n".join(values)
        self.blocks.append(line if line.count("\n") == len(values) - 1 else values)

    def column(self) -> TextColumn:
        if not self.blocks:
            return TextColumn.repeated(self.same or "", self.n)
        lines = [x for x in self.blocks if isinstance(x, str)]
        found = TextColumn.of_lines(lines, self.n) if len(lines) == len(self.blocks) else None
        return found or TextColumn.of([text for x in self.blocks for text in (x.split("\n") if isinstance(x, str) else x)])


class Draft:
    """Records of one kind and of one layout: `names` are the fields of a record in their order, of which those of the kind count."""

    def __init__(self, kind: Kind, names: Sequence[str]) -> None:
        self.kind, self.n = kind, 0
        self.names = tuple(names)
        self.has = frozenset(names)
        self.numbered = [f for f in kind.numbers if f in self.has]
        self.unnamed: dict[int, str] = {}  # rows of a bad name: what is wrong with it
        self.untimed: dict[str, dict[int, Any]] = {f: {} for f in kind.times if f in self.has}  # rows whose time is none: what stands there
        self.guards: list[list[str] | None] = []
        self._lines: list[I64] = []
        self._owner: list[I32] = []
        self._times: dict[str, list[I64]] = {f: [] for f in self.untimed}
        self._numbers: list[F64] = []
        self._texts = {f: _Text() for f in kind.texts if f in self.has}
        self._codes = {f: bytearray() for f in kind.codes if f in self.has}

    def add(self, rows: Sequence[msgspec.Struct], lines: I64) -> None:
        """Records of this draft's layout, at least one, with their lines."""
        flat = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        said = {name: flat[i :: len(self.names)] for i, name in enumerate(self.names) if name}
        self._lines.append(lines)
        self._owner.append(self._owners(said["strategy"], said["symbol"]))
        for name, times in self._times.items():
            times.append(self._timed(name, said[name]))
        if self.numbered:
            self._numbers.append(_numbers([said[name] for name in self.numbered]))
        for name, text in self._texts.items():
            text.add(said[name])
        for name, codes in self._codes.items():
            codes.extend(_coded(said[name], self.kind.codes[name][0]))
        if "guards" in self.has:
            self.guards += said["guards"]
        self.n += len(rows)

    def _owners(self, strategy: list[str], symbol: list[str]) -> I32:
        """The code of each row's owner; of a row with a bad name that of nobody. Only good names get a code."""
        found = owners.known(strategy, symbol)
        if found is not None:
            return found
        faults = {x: owners.fault(*x) for x in dict.fromkeys(zip(strategy, symbol, strict=True))}
        codes = {x: -1 if fault else owners.code(*x) for x, fault in faults.items()}
        if any(faults.values()):
            self.unnamed |= {self.n + i: faults[x] for i, x in enumerate(zip(strategy, symbol, strict=True)) if faults[x]}
        return np.array([codes[x] for x in zip(strategy, symbol, strict=True)], np.int32)

    def _timed(self, name: str, raw: list[Any]) -> I64:
        if raw[0] is None and raw.count(None) == len(raw):
            return np.full(len(raw), NO_TS)
        found = parse_times(raw)
        if (found == NO_TS).any():
            self.untimed[name] |= {
                self.n + i: raw[i] for i in np.flatnonzero(found == NO_TS).tolist() if name == "ts" or raw[i] not in (None, "")
            }
        return found

    def table(self) -> dict[str, Any]:
        """Every column of the kind, by the names that `Columns` have."""
        n, kind = self.n, self.kind
        out: dict[str, Any] = {"line": _one(self._lines), "owner": _one(self._owner)}
        out |= {f: _one(self._times[f]) if f in self._times else np.full(n, NO_TS) for f in kind.times}
        rows = dict(zip(self.numbered, _one(self._numbers, axis=1), strict=True)) if self.numbered else {}
        out |= {f: rows[f] if f in rows else absent(n) for f in kind.numbers}
        out |= {f: self._texts[f].column() if f in self._texts else TextColumn.repeated("", n) for f in kind.texts}
        for f, (_, default) in kind.codes.items():
            out[f] = np.frombuffer(self._codes[f], np.int8) if f in self._codes else np.full(n, default, np.int8)
        return out


def _one(parts: list[Any], axis: int = 0) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)
