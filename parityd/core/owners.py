"""Which strategy and symbol a record belongs to, as one small number: its owner.

1. An owner has one code as long as the process lives; nothing that is stored or hashed is made from codes.
2. Names are looked at once an owner, not once a record: what is a property of the owner is looked up by code.
"""

import re
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.text import TextColumn

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
STRATEGY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}\Z", re.ASCII)
MAX_NAME = 256
_MANY = 1 << 16
_codes: dict[str, dict[str, int]] = {}  # strategy -> symbol -> code
_names: list[tuple[str, str]] = []
_symbols: dict[str, None] = {}


def code(strategy: str, symbol: str) -> int:
    """The code of an owner."""
    own = _codes.setdefault(strategy, {})
    found = own.get(symbol)
    if found is None:
        _names.append((strategy, symbol))
        _symbols[symbol] = None
        found = own[symbol] = len(_names) - 1
    return found


def fault(strategy: str, symbol: str) -> str:
    """What is wrong with a name; "" where both are good."""
    if not STRATEGY_NAME.match(strategy):
        return f"strategy {strategy[:80]!r} is no strategy's name"
    if not symbol:
        return "symbol is empty"
    return f"symbol is over {MAX_NAME} characters" if len(symbol) > MAX_NAME else ""


def few(most: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(the strategies, the symbols) that were seen so far; None where there are none, or more than `most` of either."""
    return (tuple(_codes), tuple(_symbols)) if 0 < len(_codes) <= most and len(_symbols) <= most else None


def known(strategy: Sequence[str], symbol: Sequence[str]) -> I32 | None:
    """The code of each record's owner, None where one was never seen. Shape (n,)."""
    n = len(strategy)
    try:
        if n and strategy.count(strategy[0]) == n == len(symbol):
            return np.fromiter(map(_codes[strategy[0]].__getitem__, symbol), np.int32, n)
        return np.fromiter([_codes[a][b] for a, b in zip(strategy, symbol, strict=True)], np.int32, n)
    except KeyError:
        return None


def codes(strategy: Sequence[str], symbol: Sequence[str]) -> I32:
    """The code of each record's owner. Shape (n,)."""
    if isinstance(strategy, TextColumn) and isinstance(symbol, TextColumn):
        return _of_pairs(*strategy.few(), *symbol.few())
    found = known(strategy, symbol)
    return np.array([code(*x) for x in zip(strategy, symbol, strict=True)], np.int32) if found is None else found


def _of_pairs(strategies: list[str], a: I64, symbols: list[str], b: I64) -> I32:
    """The codes of pairs of places: each pair that occurs is looked up once, in order of first sight."""
    pairs = a * len(symbols) + b
    if len(strategies) * len(symbols) > max(_MANY, len(pairs)):
        _, first, pairs = np.unique(pairs, return_index=True, return_inverse=True)
        present, place = places(pairs)
        found = [code(strategies[a[k]], symbols[b[k]]) for k in first[present].tolist()]
    else:
        present, place = places(pairs)
        found = [code(strategies[k // len(symbols)], symbols[k % len(symbols)]) for k in present]
    out: I32 = np.array(found, np.int32)[place]
    return out


def name(k: int) -> tuple[str, str]:
    """(strategy, symbol) of a code."""
    return _names[k]


def distinct(owner: I32 | I64) -> list[int]:
    """The codes that occur, in order of first sight."""
    if len(owner) == 0:
        return []
    first = int(owner[0])
    if first == int(owner[-1]) and bool((owner == first).all()):
        return [first]
    top = int(owner.max()) + 1
    seen = np.full(top, len(owner), np.int64)
    seen[owner[::-1]] = np.arange(len(owner) - 1, -1, -1)
    there = np.flatnonzero(seen < len(owner))
    found: list[int] = there[np.argsort(seen[there])].tolist()
    return found


def looked_up(owner: I32, of: Callable[[str, str], Any], dtype: Any) -> NDArray[Any]:
    """A property of each record's owner, asked once an owner."""
    present = distinct(owner)
    if len(present) == 1:
        return np.full(len(owner), of(*_names[present[0]]), dtype)
    table = np.zeros(max(present, default=0) + 1, dtype)
    for k in present:
        table[k] = of(*_names[k])
    made: NDArray[Any] = table[owner]
    return made


class Property:
    """A property of owners that depends on nothing else, kept for all of them."""

    def __init__(self, of: Callable[[str, str], Any], dtype: Any) -> None:
        self.of = of
        self.table: NDArray[Any] = np.zeros(0, dtype)

    def __call__(self, owner: I32) -> NDArray[Any]:
        """Of each record's owner."""
        top = int(owner.max()) + 1 if len(owner) else 0
        if top > len(self.table):
            more = np.array([self.of(*x) for x in _names[len(self.table) :]], self.table.dtype)
            self.table = np.concatenate([self.table, more])
        made: NDArray[Any] = self.table[owner]
        return made


def places(owner: I32 | I64) -> tuple[list[int], I64]:
    """(the distinct codes, each record's place among them)."""
    present = distinct(owner)
    if len(present) == 1:
        return present, np.zeros(len(owner), np.int64)
    table = np.zeros(max(present, default=0) + 1, np.int64)
    table[present] = np.arange(len(present))
    return present, table[owner]


def few_texts(owner: I32, which: int) -> tuple[list[str], I64]:
    """(the distinct strategies (0) or symbols (1) in order of first sight, each record's place among them)."""
    present, at = places(owner)
    texts = {text: k for k, text in enumerate(dict.fromkeys(_names[p][which] for p in present))}
    return list(texts), np.array([texts[_names[p][which]] for p in present], np.int64)[at]


def _texts(owner: I32, which: int) -> list[str]:
    present = distinct(owner)
    if len(present) == 1:
        return list(repeat(_names[present[0]][which], len(owner)))
    return [_names[k][which] for k in owner.tolist()]


def strategies(owner: I32) -> list[str]:
    """Each record's strategy."""
    return _texts(owner, 0)


def symbols(owner: I32) -> list[str]:
    """Each record's symbol."""
    return _texts(owner, 1)
