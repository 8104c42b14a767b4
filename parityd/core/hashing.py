"""64-bit hashes of columns of text and numbers: the names under which records are known.

1. A hash is a function of the value alone: the same in every process, on every machine, in every order of arrival.
2. Text is hashed by its UTF-8 bytes and its length; numbers by their IEEE bits (-0.0 counts as 0.0, every NaN as one).
3. These are names, not secrets: a refusal is never decided by 64 bits alone (see `store`).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_C1 = np.uint64(0xBF58476D1CE4E5B9)
_C2 = np.uint64(0x94D049BB133111EB)
_GOLD = np.uint64(0x9E3779B97F4A7C15)
_LONG = 64  # bytes; longer text is hashed by its digest


def mix(h: U64, w: U64) -> U64:
    """Fold one word into each hash (multiply-xorshift, after SplitMix64)."""
    x = (h ^ w) * _C1
    x ^= x >> np.uint64(29)
    x *= _C2
    x ^= x >> np.uint64(32)
    return x


def seed(text: str) -> np.uint64:
    """A 64-bit seed from a name, by SHA-256: stable for ever."""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little"))


def plain(values: Sequence[str | int | None]) -> list[str]:
    """Identifiers as text: a number is its digits, None is empty."""
    return [v if type(v) is str else "" if v is None else str(v) for v in values]


def _padded(values: list[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    n = len(values)
    raw = "".join(values)
    data = raw.encode("utf-8", "surrogatepass")
    encoded: Sequence[str | bytes] = values
    if len(data) != len(raw):
        encoded = [v.encode("utf-8", "surrogatepass") for v in values]
    length = np.fromiter(map(len, encoded), np.int64, n)
    width = int(length.max(initial=0))
    if width > _LONG:
        short = [
            v
            if len(v.encode("utf-8", "surrogatepass")) <= _LONG
            else "\1" + hashlib.sha256(v.encode("utf-8", "surrogatepass")).hexdigest()[:40]
            for v in values
        ]
        return _padded(short)
    words = max(1, -(-width // 8))
    out = np.zeros((n, words * 8), np.uint8)
    flat = np.frombuffer(data, np.uint8)
    if n and int(length.min()) == width:
        out[:, :width] = flat.reshape(n, width)
    else:
        out[np.arange(words * 8) < length[:, None]] = flat
    return out.view(np.uint64), length


def hash_text(values: Sequence[str | int | None], start: U64 | np.uint64) -> U64:
    """Hash each text, started from a seed (one for all, or one each). Shape (n,)."""
    texts: list[str] = values if isinstance(values, list) else list(values)  # type: ignore[assignment]
    try:
        words, length = _padded(texts)
    except TypeError:
        words, length = _padded(plain(texts))
    h = np.broadcast_to(start, (len(texts),)).astype(np.uint64)
    h = mix(h, length.astype(np.uint64) * _GOLD)
    for k in range(words.shape[1]):
        live = length > 8 * k
        h = mix(h, words[:, k]) if live.all() else np.where(live, mix(h, words[:, k]), h)
    return h


def hash_numbers(values: NDArray[np.float64] | NDArray[np.int64], h: U64) -> U64:
    """Fold a column of numbers into each hash."""
    if values.dtype == np.float64:
        clean = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, one zero
        return mix(h, clean.view(np.uint64))
    return mix(h, values.astype(np.int64).view(np.uint64))


def hash_one(*parts: str | int | None, start: np.uint64) -> int:
    """The same chain for one value after the other (scalar path)."""
    h: U64 = np.array([start], np.uint64)
    for p in parts:
        h = hash_text([p], h)
    return int(h[0])
