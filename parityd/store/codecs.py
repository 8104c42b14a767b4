"""One column of numbers or text <-> a spec and bytes.

1. What comes out equals what went in: every float by its bits (of NaN only that it is one), every integer, every character.
2. A column says itself how it was written: constant, integer (offset or steps, scaled), decimal with its ulps, raw bytes; text as one value, a
   table with codes, or joined.
3. Numbers lie in byte planes (all lowest bytes, then all next ones, ...): planes that do not vary vanish when they are compressed.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.records import NO_TS
from parityd.core.text import TextColumn, raw

I64 = NDArray[np.int64]
Spec = tuple[Any, ...]

_SCALES = (1_000_000_000, 1_000_000, 1_000)
_TENS = [10.0**k for k in range(11)]
_RESIDUE = 100  # ulps around a decimal


def _planes(values: NDArray[np.uint64], width: int) -> bytes:
    return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), 8)[:, :width].T).tobytes()


def _unplanes(data: bytes, n: int, width: int) -> NDArray[np.uint64]:
    out = np.zeros((n, 8), np.uint8)
    out[:, :width] = np.frombuffer(data, np.uint8).reshape(width, n).T
    return out.view(np.uint64).reshape(n)


def _width(top: int) -> int:
    return max(1, (top.bit_length() + 7) // 8)


def _scale(spread: NDArray[np.uint64]) -> int:
    for g in _SCALES:
        if not (spread[:64] % np.uint64(g)).any() and not (spread % np.uint64(g)).any():
            return g
    return 1


def _range(a: I64) -> tuple[int, int]:
    return int(a.min()), int(a.max())


def put_ints(a: I64, body: list[bytes]) -> Spec:
    """int64 of shape (n,), n > 0, NO_TS allowed -> its spec; the bytes go to `body`."""
    low, high = _range(a)
    if low == high:
        return ("c", low)
    mask = b""
    if low == NO_TS:
        none = a == NO_TS
        mask = np.packbits(none).tobytes()
        low = int(a[~none].min())
        a = np.where(none, np.int64(low), a)
    spread = (a - np.int64(low)).view(np.uint64)  # wraps, and wraps back
    g = _scale(spread)
    if g > 1:
        spread //= np.uint64(g)
    top = int(spread.max())
    whole = spread.view(np.int64)
    steps: I64 = whole[1:] - whole[:-1] if top < 2**62 else whole[:0]
    if len(steps):
        first, last = _range(steps)
        if (last - first) * 8 < top:
            width = _width(last - first)
            body += [mask, _planes((steps - first).view(np.uint64), width)]
            return ("d", low, g, len(mask), width, first, int(spread[0]))
    width = _width(top)
    body += [mask, _planes(spread, width)]
    return ("i", low, g, len(mask), width)


class Tape:
    """Bytes read from front to back."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n : self.at]


def get_ints(spec: Spec, tape: Tape, n: int) -> I64:
    """The inverse of `put_ints`."""
    if spec[0] == "c":
        return np.full(n, spec[1], np.int64)
    kind, low, g, mask, width, *rest = spec
    none = tape.take(mask)
    if kind == "d":
        steps = _unplanes(tape.take(width * (n - 1)), n - 1, width).view(np.int64) + rest[0]
        spread = np.concatenate([[rest[1]], rest[1] + np.cumsum(steps)]).astype(np.int64).view(np.uint64)
    else:
        spread = _unplanes(tape.take(width * n), n, width)
    out: I64 = (spread * np.uint64(g)).view(np.int64) + np.int64(low)
    if mask:
        out[np.unpackbits(np.frombuffer(none, np.uint8), count=n).view(np.bool_)] = NO_TS
    return out


def _decimal(x: NDArray[np.float64], k: int) -> tuple[I64, I64] | None:
    """(integers, ulps) with x = integers / 10^k moved by ulps, or None where it is no decimal of k places."""
    with np.errstate(over="ignore"):
        scaled = np.rint(x * _TENS[k]) + 0.0  # no -0.0: an integer has none
    if not np.abs(scaled).max() < 2**53:
        return None
    off: I64 = x.view(np.int64) - (scaled / _TENS[k]).view(np.int64)
    low, high = _range(off)
    return (scaled.astype(np.int64), off) if low >= -_RESIDUE and high <= _RESIDUE else None


def _digits(v: float) -> int:
    """The fewest decimal places within `_RESIDUE` ulps of v; len(_TENS) where it has too many."""
    for k, ten in enumerate(_TENS):
        scaled = v * ten
        if abs(scaled) >= 2**53:
            break
        if abs(round(scaled) / ten - v) <= _RESIDUE * math.ulp(v):
            return k
    return len(_TENS)


def _places(x: NDArray[np.float64]) -> tuple[int, I64, I64] | None:
    """The fewest decimal places that hold all of x, with its integers and ulps."""
    k = max(map(_digits, x[:: max(1, len(x) // 8)].tolist()))
    for places in range(k, min(k + 3, len(_TENS))):
        found = _decimal(x, places)
        if found is not None:
            low, high = _range(found[0])
            return (places, *found) if _width(high - low) < 7 else None
    return None


def put_floats(a: NDArray[np.float64], body: list[bytes]) -> Spec:
    """float64 of shape (n,), n > 0 -> its spec."""
    bits = a.view(np.int64)
    if (bits == bits[0]).all():
        return ("c", int(bits[0]))
    none = np.isnan(a)
    some = bool(none.any())
    if none.all():
        return ("c", int(np.array(np.nan).view(np.int64)))
    x = a[~none] if some else a
    mask = np.packbits(none).tobytes() if some else b""
    found = _places(x) if np.isfinite(x).all() else None
    body.append(mask)
    if found is None:
        body.append(_planes(np.ascontiguousarray(x).view(np.uint64), 8))
        return ("r", len(mask), len(x))
    k, whole, off = found
    return ("f", len(mask), len(x), k, put_ints(whole, body), put_ints(off, body))


def get_floats(spec: Spec, tape: Tape, n: int) -> NDArray[np.float64]:
    """The inverse of `put_floats`."""
    if spec[0] == "c":
        return np.full(n, spec[1], np.int64).view(np.float64)
    kind, mask, m, *rest = spec
    none = tape.take(mask)
    if kind == "r":
        x = _unplanes(tape.take(8 * m), m, 8).view(np.float64)
    else:
        k, whole, off = rest
        whole_values = get_ints(whole, tape, m)
        x = ((whole_values / _TENS[k]).view(np.int64) + get_ints(off, tape, m)).view(np.float64)
    if not mask:
        return x
    out = np.full(n, np.nan)
    out[~np.unpackbits(np.frombuffer(none, np.uint8), count=n).view(np.bool_)] = x
    return out


def put_bytes(data: bytes, lengths: I64, body: list[bytes]) -> Spec:
    """Joined texts with their lengths in bytes; those of one length lie in planes."""
    width = int(lengths[0])
    if width and len(data) == width * len(lengths) and (lengths == width).all():
        body.append(np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(-1, width).T).tobytes())
        return ("p", width, len(data))
    spec = put_ints(lengths, body)
    body.append(data)
    return ("j", spec, len(data))


def get_bytes(spec: Spec, tape: Tape, n: int) -> tuple[bytes, I64]:
    """The inverse of `put_bytes`."""
    if spec[0] == "p":
        _, width, size = spec
        data = np.ascontiguousarray(np.frombuffer(tape.take(size), np.uint8).reshape(width, n).T).tobytes()
        return data, np.full(n, width, np.int64)
    lengths = get_ints(spec[1], tape, n)
    return tape.take(spec[2]), lengths


def put_table(table: list[str], codes: I64, body: list[bytes]) -> Spec:
    """Texts that are few: each by its place in a table of them."""
    return ("c", raw(table[0])) if len(table) == 1 else ("t", [raw(t) for t in table], put_ints(codes, body))


def put_texts(texts: TextColumn, body: list[bytes]) -> Spec:
    """Texts, at least one -> their spec."""
    n = len(texts)
    if texts.same is not None:
        return ("c", raw(texts.same))
    if len(set(texts[:256])) <= min(n, 256) // 2:
        values = texts.tolist()
        table = {text: code for code, text in enumerate(dict.fromkeys(values))}
        if len(table) <= n // 2:
            return put_table(list(table), np.fromiter(map(table.__getitem__, values), np.int64, n), body)
    data, lengths = texts.packed()
    if data.isascii():
        return ("a", put_bytes(data, lengths, body))
    spec = put_ints(np.fromiter(map(len, texts), np.int64, n), body)  # in characters
    body.append(data)
    return ("u", spec, len(data))


def get_texts(spec: Spec, tape: Tape, n: int) -> TextColumn:
    """The inverse of `put_texts`."""
    if spec[0] == "c":
        return TextColumn.repeated(text_of(spec[1]), n)
    if spec[0] == "t":
        return TextColumn.chosen([text_of(t) for t in spec[1]], get_ints(spec[2], tape, n))
    if spec[0] == "a":
        return TextColumn.of_bytes(*get_bytes(spec[1], tape, n))
    lengths = get_ints(spec[1], tape, n)
    text, ends = text_of(tape.take(spec[2])), np.cumsum(lengths)
    return TextColumn.of([text[a:b] for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)])


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
