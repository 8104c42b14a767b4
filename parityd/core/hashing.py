"""64-bit hashes of columns of text and numbers: the names under which records are known.

1. A hash is a function of the value alone: the same in every process, on every machine, in every order of arrival.
2. Text is hashed by its UTF-8 bytes and its length; numbers by their IEEE bits (-0.0 counts as 0.0, every NaN as one).
3. These are names, not secrets: a refusal is never decided by 64 bits alone (see `store`).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core.text import ROOM, TextColumn

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_C1 = np.uint64(0xBF58476D1CE4E5B9)
_C2 = np.uint64(0x94D049BB133111EB)
_GOLD = np.uint64(0x9E3779B97F4A7C15)
NAN_WORD = np.array([np.nan]).view(np.uint64)[0]
"""What every NaN is hashed as."""
_S29, _S32 = np.uint64(29), np.uint64(32)
_LONG = ROOM - 8  # bytes; longer text is hashed by its digest
_FULL = 2**64 - 1
_MASKS = np.array([(1 << 8 * k) - 1 for k in range(9)], np.uint64)


def mix(h: U64, w: U64 | np.uint64) -> U64:
    """Fold one word into each hash (multiply-xorshift, after SplitMix64)."""
    return _stirred(h ^ w)


def _stirred(x: U64) -> U64:
    """In place."""
    x *= _C1
    t = x >> _S29
    x ^= t
    x *= _C2
    np.right_shift(x, _S32, out=t)
    x ^= t
    return x


def seed(text: str) -> np.uint64:
    """A 64-bit seed from a name, by SHA-256: stable for ever."""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little"))


def plain(values: Sequence[str | int | None]) -> list[str]:
    """Identifiers as text: a number is its digits, None is empty."""
    return [v if type(v) is str else "" if v is None else str(v) for v in values]


def _shortened(value: str) -> str:
    raw = value.encode("utf-8", "surrogatepass")
    return value if len(raw) <= _LONG else "\1" + hashlib.sha256(raw).hexdigest()[:40]


def hash_same(value: str, h: U64) -> U64:
    """One text into every hash."""
    raw = _shortened(value).encode("utf-8", "surrogatepass")
    h = mix(h, np.uint64(len(raw) * int(_GOLD) & _FULL))
    for at in range(0, len(raw), 8):
        h ^= np.uint64(int.from_bytes(raw[at : at + 8], "little"))
        _stirred(h)
    return h


def _hash_bytes(texts: TextColumn, h: U64) -> U64 | None:
    """Each text into its hash; None where one is too long to be hashed by its bytes."""
    shortest, width = texts.lengths()
    if width > _LONG:
        return None
    h = mix(h, np.uint64(width * int(_GOLD) & _FULL) if shortest == width else texts.length.astype(np.uint64) * _GOLD)
    for at in range(0, width, 8):
        word = texts.word(at)
        if shortest >= at + 8:
            h ^= word
            _stirred(h)
        elif shortest > at:
            h ^= word & (_MASKS[width - at] if shortest == width else _MASKS[np.minimum(texts.length - at, 8)])
            _stirred(h)
        else:
            h = np.where(texts.length > at, mix(h, word & _MASKS[np.clip(texts.length - at, 0, 8)]), h)
    return h


def hash_text(values: Sequence[str | int | None], start: U64 | np.uint64) -> U64:
    """Hash each text, started from a seed (one for all, or one each). Shape (n,)."""
    h = start if isinstance(start, np.ndarray) else np.full(len(values), start, np.uint64)
    if not len(values):
        return h.copy()
    texts = values if isinstance(values, TextColumn) else TextColumn.of(plain(values))
    if texts.same is not None:
        return hash_same(texts.same, h)
    found = _hash_bytes(texts, h)
    return hash_text([_shortened(v) for v in texts], start) if found is None else found


def hash_numbers(values: NDArray[np.float64] | NDArray[np.int64], h: U64) -> U64:
    """Fold a column of numbers into each hash."""
    if values.dtype == np.float64:
        clean = values + 0.0  # one zero
        clean[np.isnan(clean)] = np.nan  # one NaN
        return mix(h, clean.view(np.uint64))
    return mix(h, values.astype(np.int64).view(np.uint64))


def hash_one(*parts: str | int | None, start: np.uint64) -> int:
    """The same chain for one value after the other (scalar path)."""
    h: U64 = np.array([start], np.uint64)
    for p in parts:
        h = hash_text([p], h)
    return int(h[0])
