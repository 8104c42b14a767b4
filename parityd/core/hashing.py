"""64-bit hashes of columns of text and numbers: the names under which records are known.

1. A hash is a function of the value alone: the same in every process, on every machine, in every order of arrival.
2. Text is hashed by its UTF-8 bytes and its length; numbers by their IEEE bits (-0.0 counts as 0.0, every NaN as one).
3. These are names, not secrets: a refusal is never decided by 64 bits alone (see `store`).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_C1 = np.uint64(0xBF58476D1CE4E5B9)
_C2 = np.uint64(0x94D049BB133111EB)
_GOLD = np.uint64(0x9E3779B97F4A7C15)
NAN_WORD = np.array([np.nan]).view(np.uint64)[0]
"""What every NaN is hashed as."""
_S29, _S32 = np.uint64(29), np.uint64(32)
_LONG = 64  # bytes; longer text is hashed by its digest
_FULL = 2**64 - 1
_NEWLINE = 10
_ROOM = "\0" * (_LONG + 8)  # what a word read at the end of the last text may run over
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


class Spelling:
    """The UTF-8 bytes of a column of text with room behind them: where each text begins and how long it is. `pitch` where all are of one length."""

    __slots__ = ("begin", "length", "n", "octets", "pitch")

    def __init__(self, octets: NDArray[np.uint8], begin: I64, length: I64, pitch: int = 0) -> None:
        self.octets, self.begin, self.length, self.pitch, self.n = octets, begin, length, pitch, len(begin)

    def word(self, at: int) -> U64:
        """Of each text the 8 bytes from a place on, and what follows it."""
        if self.pitch:
            return np.ndarray((self.n,), np.uint64, self.octets, at, (self.pitch,))
        windows: U64 = np.ndarray((len(self.octets) - 7,), np.uint64, self.octets, 0, (1,))
        return windows[self.begin + at]


def spelled(lines: Sequence[str], n: int) -> Spelling | None:
    """Of n texts, or of fewer lines that hold n texts with a newline between any two. None where a text holds a newline itself, TypeError where one is
    no text.
    """
    data = "\n".join([*lines, _ROOM]).encode("utf-8", "surrogatepass")
    octets = np.frombuffer(data, np.uint8)
    is_end = octets[: len(data) - len(_ROOM)] == _NEWLINE
    pitch = data.index(b"\n") + 1
    if pitch * n == len(is_end) and is_end[pitch - 1 :: pitch].all() and np.count_nonzero(is_end) == n:
        return Spelling(octets, np.arange(0, len(is_end), pitch), np.full(n, pitch - 1), pitch)
    ends = np.flatnonzero(is_end)
    if len(ends) != n:
        return None
    begin = np.empty(n, np.int64)
    begin[0] = 0
    begin[1:] = ends[:-1] + 1
    return Spelling(octets, begin, ends - begin)


def _apart(values: list[str]) -> Spelling:
    """Of texts that hold newlines."""
    parts = [v.encode("utf-8", "surrogatepass") for v in values]
    length = np.fromiter(map(len, parts), np.int64, len(parts))
    return Spelling(np.frombuffer(b"".join(parts) + _ROOM.encode(), np.uint8), np.cumsum(length) - length, length)


def _same(values: list[str]) -> bool:
    return len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values)


def hash_same(value: str, h: U64) -> U64:
    """One text into every hash."""
    raw = _shortened(value).encode("utf-8", "surrogatepass")
    h = mix(h, np.uint64(len(raw) * int(_GOLD) & _FULL))
    for at in range(0, len(raw), 8):
        h ^= np.uint64(int.from_bytes(raw[at : at + 8], "little"))
        _stirred(h)
    return h


def hash_spelled(s: Spelling, h: U64) -> U64 | None:
    """Each text into its hash; None where one is too long to be hashed by its bytes."""
    width, shortest = (s.pitch - 1, s.pitch - 1) if s.pitch else (int(s.length.max()), int(s.length.min()))
    if width > _LONG:
        return None
    h = mix(h, np.uint64(width * int(_GOLD) & _FULL) if s.pitch else s.length.astype(np.uint64) * _GOLD)
    for at in range(0, width, 8):
        word = s.word(at)
        if shortest >= at + 8:
            h ^= word
            _stirred(h)
        elif shortest > at:
            h ^= word & (_MASKS[width - at] if shortest == width else _MASKS[np.minimum(s.length - at, 8)])
            _stirred(h)
        else:
            h = np.where(s.length > at, mix(h, word & _MASKS[np.clip(s.length - at, 0, 8)]), h)
    return h


def hash_text(values: Sequence[str | int | None], start: U64 | np.uint64) -> U64:
    """Hash each text, started from a seed (one for all, or one each). Shape (n,)."""
    texts: Any = values if isinstance(values, list) else list(values)
    h = start if isinstance(start, np.ndarray) else np.full(len(texts), start, np.uint64)
    if not texts:
        return h.copy()
    if type(texts[0]) is str and _same(texts):
        return hash_same(texts[0], h)
    try:
        found = hash_spelled(spelled(texts, len(texts)) or _apart(texts), h)
    except TypeError:
        return hash_text(plain(texts), start)
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
