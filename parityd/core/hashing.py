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

_C1 = np.uint64(0xBF58476D1CE4E5B9)
_C2 = np.uint64(0x94D049BB133111EB)
_GOLD = np.uint64(0x9E3779B97F4A7C15)
NAN_WORD = np.array([np.nan]).view(np.uint64)[0]
"""What every NaN is hashed as."""
_S29, _S32 = np.uint64(29), np.uint64(32)
_LONG = 64  # bytes; longer text is hashed by its digest
_FULL = 2**64 - 1
_NEWLINE = 10
_ROOM = b"\n" + bytes(_LONG + 8)  # the last text's end, and what a word read there may run over
_MASKS = np.array([(1 << 8 * k) - 1 for k in range(9)], np.uint64)


def mix(h: U64, w: U64 | np.uint64) -> U64:
    """Fold one word into each hash (multiply-xorshift, after SplitMix64)."""
    x = h ^ w
    x *= _C1
    x ^= x >> _S29
    x *= _C2
    x ^= x >> _S32
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


def _spans(values: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """(the UTF-8 bytes of all texts with room behind them, where each begins, how long it is). TypeError where one is no text."""
    data = "\n".join(values).encode("utf-8", "surrogatepass")
    octets = np.frombuffer(data + _ROOM, np.uint8)
    ends = np.flatnonzero(octets[: len(data) + 1] == _NEWLINE)
    if len(ends) == len(values):
        start = np.empty(len(ends), np.int64)
        start[0] = 0
        start[1:] = ends[:-1] + 1
        return octets, start, ends - start
    parts = [v.encode("utf-8", "surrogatepass") for v in values]  # a text holds a newline itself
    length = np.fromiter(map(len, parts), np.int64, len(parts))
    return np.frombuffer(b"".join(parts) + _ROOM, np.uint8), np.cumsum(length) - length, length


def _same(values: list[str]) -> bool:
    return len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values)


def _fold_one(value: str, h: U64) -> U64:
    """The same text into every hash."""
    raw = _shortened(value).encode("utf-8", "surrogatepass")
    h = mix(h, np.uint64(len(raw) * int(_GOLD) & _FULL))
    for at in range(0, len(raw), 8):
        h = mix(h, np.uint64(int.from_bytes(raw[at : at + 8], "little")))
    return h


def hash_text(values: Sequence[str | int | None], start: U64 | np.uint64) -> U64:
    """Hash each text, started from a seed (one for all, or one each). Shape (n,)."""
    texts: Any = values if isinstance(values, list) else list(values)
    h = start if isinstance(start, np.ndarray) else np.full(len(texts), start, np.uint64)
    if not texts:
        return h.copy()
    if type(texts[0]) is str and _same(texts):
        return _fold_one(texts[0], h)
    try:
        octets, begin, length = _spans(texts)
    except TypeError:
        return hash_text(plain(texts), start)
    width = int(length.max())
    if width > _LONG:
        return hash_text([_shortened(v) for v in texts], start)
    h = mix(h, length.astype(np.uint64) * _GOLD)
    windows: U64 = np.ndarray((len(octets) - 7,), np.uint64, octets, 0, (1,))  # the word that begins at each byte
    shortest = int(length.min())
    for at in range(0, width, 8):
        word = windows[begin + at]
        if shortest >= at + 8:
            h = mix(h, word)
            continue
        if shortest > at:
            word &= _MASKS[width - at] if shortest == width else _MASKS[np.minimum(length - at, 8)]
            h = mix(h, word)
        else:
            word &= _MASKS[np.clip(length - at, 0, 8)]
            h = np.where(length > at, mix(h, word), h)
    return h


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
