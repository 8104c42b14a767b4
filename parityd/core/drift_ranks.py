"""From a stream of numbers to conformal p-values: whitening, a growing reference, ranks with reproducible tie-breaking.

1. e_n = x_n - phi x_{n-1}. phi is first estimated on 50 points, again on all calibration points, then frozen for the epoch; 0 unless
   the lag-one correlation is significant, so that exchangeable data stay exactly exchangeable.
2. p_n = (#{ref < e_n} + theta_n (1 + #{ref = e_n})) / (#ref + 1) against all earlier e of the epoch: iid uniform under exchangeability.
   Where all earlier e are one number and e_n is that number too (a paper engine that fills at the backtest's price) there is nothing to rank, and a toss
   would be evidence of nothing: p_n = 1/2, at which every bet loses.
3. theta_n is a hash of (strategy, epoch, key): reproducible in any process, independent of the data.
4. Counts are integers, everything else is one IEEE operation at a time, and -0.0 is made 0.0: any cut of the stream gives the same bits.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.drift_bets import P_FLOOR

FloatArray = NDArray[np.float64]
KeyArray = NDArray[np.uint64]
Counts = NDArray[np.int64]

ARM = 50
"""Points after which a stream may be bet on."""
CALIBRATION = 200
"""Points after which its whitening is frozen: full power."""
FIRST_ERRORS, FROZEN_ERRORS = 1.0, 2.0
"""Standard errors over which a lag-one correlation is whitened: lenient on the few points at arming (there too little whitening is the
greater evil: it doubles the early false alarms of correlated streams), strict once frozen."""

NOTHING = 0.5
"""p of a value that all earlier ones equal."""

_WORD = (1 << 64) - 1
_STEP, _MIX, _STIR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WIDE, _CHUNK = 2048, 64
_PLACE_BITS, _LARGEST = np.int64(_WIDE - 1), np.int64(2**63 - 1)
_PLACES = np.arange(_WIDE)
_CHUNK_OF, _PLACE_IN_CHUNK = _PLACES // _CHUNK, _PLACES % _CHUNK
_OWNER = _CHUNK_OF.astype(np.uint8)
_OWNERS = np.arange(_WIDE // _CHUNK, dtype=np.uint8)[:, None]
_BIT = np.uint64(1) << np.arange(_CHUNK, dtype=np.uint64)
_EARLIER = _BIT - np.uint64(1)
"""Of a word of 64 bits, one for each place of a chunk, those before a place."""


def salt_of(strategy: str, epoch: int) -> int:
    """The 64-bit salt of a strategy's epoch."""
    return int.from_bytes(blake2b(f"{epoch}\0{strategy}".encode(), digest_size=8, person=b"parityd.drift").digest(), "little")


def theta(salt: int, key: int) -> float:
    """A number in (0, 1) that is a function of the salt and the key alone."""
    z = ((key ^ salt) + _STEP) & _WORD
    z = ((z ^ (z >> 30)) * _MIX) & _WORD
    z = ((z ^ (z >> 27)) * _STIR) & _WORD
    return (((z ^ (z >> 31)) >> 12) + 0.5) * 2.0**-52


def thetas(salt: int, keys: KeyArray) -> FloatArray:
    """`theta` of a column of keys."""
    z = (keys ^ np.uint64(salt)) + np.uint64(_STEP)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_STIR)
    out: FloatArray = (((z ^ (z >> np.uint64(31))) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return out


def whitening(x: FloatArray, *, errors: float) -> float:
    """AR(1) coefficient of the whitening, a little more than the estimate on the points x; 0 if that is not over so many standard errors."""
    m = len(x)
    centre = np.median(x)
    spread = 1.4826 * float(np.median(np.abs(x - centre)))
    if spread == 0.0 or not math.isfinite(spread):
        return 0.0
    w = np.clip((x - centre) / spread, -3.0, 3.0)
    w -= w.mean()
    f = float((w[1:] * w[:-1]).sum() / (w * w).sum())
    f += (1.0 + 3.0 * f) / m
    return min(f + 0.5 / math.sqrt(m), 0.9) if f > errors / math.sqrt(m) else 0.0


class Ranks:
    """One stream of an epoch: its reference, and for each of its points the value in bps, the key and the p-value (NaN before arming)."""

    def __init__(self, *, salt: int, absolute: bool = False, calibration: int = CALIBRATION) -> None:
        self.salt, self.absolute, self.calibration = salt, absolute, calibration
        self.phi = 0.0
        self.keys, self.bps, self.p = array("Q"), array("d"), array("d")
        self._inputs = array("d")
        self._last = math.nan
        self._reference = array("d")

    def __len__(self) -> int:
        return len(self.bps)

    @property
    def armed(self) -> bool:
        """Whether points get p-values."""
        return len(self.bps) >= ARM

    @property
    def room(self) -> int:
        """Points that may be given at once: up to the next estimate of phi."""
        n = len(self.bps)
        return ARM - n if n < ARM else self.calibration - n if n < self.calibration else _WORD

    def add(self, key: int, x: float, bps: float) -> bool:
        """Take one point; True if that changed the whitening (evidence under the old one no longer counts)."""
        if self.armed:
            e = (x - self.phi * self._last if self.phi else x) + 0.0
            self.p.append(self._rank(theta(self.salt, key), abs(e) if self.absolute else e))
        else:
            self.p.append(math.nan)
        if len(self.bps) < self.calibration:
            self._inputs.append(x)
        self.keys.append(key)
        self.bps.append(bps)
        self._last = x
        return self._settle()

    def extend(self, keys: KeyArray, x: FloatArray, bps: FloatArray) -> bool:
        """Take at most `room` points; as `add`."""
        if self.armed:
            e = (x - self.phi * np.append(self._last, x[:-1]) if self.phi else x) + 0.0
            p = self._rank_all(thetas(self.salt, keys), np.abs(e) if self.absolute else e)
        else:
            p = np.full(len(x), math.nan)
        if len(self.bps) < self.calibration:
            self._inputs.frombytes(x.tobytes())
        self.p.frombytes(p.tobytes())
        self.keys.frombytes(keys.tobytes())
        self.bps.frombytes(bps.tobytes())
        self._last = float(x[-1])
        return self._settle()

    def _settle(self) -> bool:
        n = len(self.bps)
        if n not in {ARM, self.calibration}:
            return False
        x = np.array(self._inputs)
        before, self.phi = self.phi, whitening(x, errors=FIRST_ERRORS if n == ARM else FROZEN_ERRORS)
        if n != ARM and self.phi == before:
            return False
        e = (x[1:] - self.phi * x[:-1] if self.phi else x) + 0.0
        self._reference = array("d", np.sort(np.abs(e) if self.absolute else e).tobytes())
        return n != ARM

    def _rank(self, toss: float, e: float) -> float:
        reference = self._reference
        less = bisect_left(reference, e)
        upto = bisect_right(reference, e, less)
        p = (less + toss * (1 + (upto - less))) / (len(reference) + 1)
        if less == 0 and upto == len(reference):
            p = NOTHING
        reference.insert(upto, e)
        return min(max(p, P_FLOOR), 1.0 - P_FLOOR)

    def _rank_all(self, toss: FloatArray, e: FloatArray) -> FloatArray:
        out = np.empty(len(e))
        reference = np.array(self._reference)
        for start in range(0, len(e), _WIDE):
            part = e[start : start + _WIDE]
            less, equal, reference = merged(reference, part)
            size = len(reference) - len(part) + 1 + np.arange(len(part))
            p = (less + toss[start : start + _WIDE] * (1 + equal)) / size
            p[(less == 0) & (equal == size - 1)] = NOTHING
            out[start : start + _WIDE] = p
        self._reference = array("d")
        self._reference.frombytes(reference.tobytes())
        return np.minimum(np.maximum(out, P_FLOOR), 1.0 - P_FLOOR)

    def state(self) -> dict[str, Any]:
        """Everything but the constants, in plain types."""
        columns: dict[str, array[Any]] = {
            "keys": self.keys,
            "bps": self.bps,
            "p": self.p,
            "inputs": self._inputs,
            "reference": self._reference,
        }
        return {"phi": self.phi, "last": self._last, **{name: column.tobytes() for name, column in columns.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.phi, self._last = state["phi"], state["last"]
        self.keys = array("Q", state["keys"])
        self.bps, self.p = array("d", state["bps"]), array("d", state["p"])
        self._inputs, self._reference = array("d", state["inputs"]), array("d", state["reference"])


def merged(reference: FloatArray, part: FloatArray) -> tuple[Counts, Counts, FloatArray]:
    """(how many are less, how many are equal: of the sorted reference and of the numbers of the part before each; both together, sorted)."""
    n = len(part)
    order = _sorted(part)
    ordered = part[order]
    new = ordered[1:] != ordered[:-1]
    rank = np.empty(n, np.int64)
    rank[order] = _PLACES[:n]
    low = reference.searchsorted(ordered, "left")
    high, equal = low, np.zeros(n, np.int64)
    if (reference.take(low, mode="clip") == ordered).any():
        high = reference.searchsorted(ordered, "right")
        equal += (high - low)[rank]
    less, upto = low[rank], smaller_before(rank)
    if not new.all():
        first = np.flatnonzero(np.append(True, new))
        twins = _PLACES[:n] - np.repeat(first, np.diff(np.append(first, n)))  # equal ones before it
        same = twins[rank]
        upto -= same
        equal += same
    return less + upto, equal, _woven(reference, ordered, high + _PLACES[:n])


def _sorted(part: FloatArray) -> Counts:
    """The order of numbers, equal ones as they came. They are sorted as whole numbers, with their places in the last bits: many zeros cost no more than none."""
    bits = part.view(np.int64)
    named = ((bits ^ ((bits >> 63) & _LARGEST)) & ~_PLACE_BITS) | _PLACES[: len(part)]
    named.sort()
    order: Counts = named & _PLACE_BITS
    ordered = part[order]
    return order if (ordered[1:] >= ordered[:-1]).all() else np.argsort(part, kind="stable")


def _woven(reference: FloatArray, more: FloatArray, spots: Counts) -> FloatArray:
    """The reference with the sorted numbers `more` at these places of the whole."""
    both = np.empty(len(reference) + len(more))
    old = np.ones(len(both), np.bool_)
    old[spots] = False
    both[spots], both[old] = more, reference
    return both


def smaller_before(rank: Counts) -> Counts:
    """How many of the earlier ones are smaller, for each of the ranks 0..n-1 in any order: of the earlier chunks, and within its own."""
    n, chunks = len(rank), -(-len(rank) // _CHUNK)
    ranks = _PLACES[: chunks * _CHUNK].copy()  # the last chunk is filled up with the next ranks: they come after all that count
    ranks[:n] = rank
    order = np.empty_like(ranks)
    order[ranks] = _PLACES[: len(ranks)]
    owner = _OWNER.take(order)
    within = np.bitwise_count(_smaller_within(order, owner))
    if chunks == 1:
        return within[:n].astype(np.int64)
    earlier = _words(owner < _OWNERS[:chunks])  # by chunk: of which ranks the place is in a chunk before it
    counts = np.bitwise_count(earlier).reshape(chunks, chunks)
    below = np.add.accumulate(counts, axis=1, dtype=np.int64) - counts
    at = _CHUNK_OF[: len(ranks)] * chunks + (ranks >> 6)
    apart = earlier.take(at) & _EARLIER.take(ranks & 63)
    out: Counts = below.take(at) + np.bitwise_count(apart) + within
    return out[:n]


def _smaller_within(order: Counts, owner: NDArray[np.uint8]) -> KeyArray:
    """For each place a word of 64 bits: the ranks within its chunk that are smaller and came before it. `order`: places by rank, `owner`: their chunks."""
    local = np.empty_like(order)
    local[order.take(owner.argsort(kind="stable"))] = _PLACE_IN_CHUNK[: len(order)]
    seen: KeyArray = np.bitwise_or.accumulate(_BIT.take(local).reshape(-1, _CHUNK), axis=1).reshape(-1)
    seen &= _EARLIER.take(local)
    return seen


def _words(bits: NDArray[np.bool_]) -> KeyArray:
    """The bits as words of 64."""
    return np.packbits(bits, bitorder="little").view("<u8")
