"""Chance: one stream of uniform numbers for each random part of the simulator.

1. A stream is a function of (seed, name of the part) alone, so replacing one part leaves the draws of every other part as they were.
2. The numbers come from the raw 64-bit words of PCG64, whose stream is guaranteed for ever: the same seed gives the same output on
   every Python and numpy.
3. `one` and `many` read the same stream: a loop and its vectorised form see the same numbers.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_BLOCK = 512
_UNIT = 2.0**-53


class Draws:
    """Uniform numbers in [0, 1) of one part."""

    __slots__ = ("_bits", "_left")

    def __init__(self, seed: int, part: str) -> None:
        if seed < 0:
            raise ValueError(f"seed: {seed} is negative")
        key = int.from_bytes(hashlib.sha256(part.encode()).digest()[:4], "big")
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(key,)))
        self._left: list[float] = []  # what is left of the last block, the next one at the end

    def _raw(self, n: int) -> F64:
        words = self._bits.random_raw(n)
        return (words >> np.uint64(11)).astype(np.float64) * _UNIT

    def one(self) -> float:
        """The next number."""
        if not self._left:
            self._left = self._raw(_BLOCK)[::-1].tolist()
        return self._left.pop()

    def many(self, n: int) -> F64:
        """The next n numbers. Shape (n,)."""
        kept = min(n, len(self._left))
        head = [self._left.pop() for _ in range(kept)]
        return np.concatenate([np.array(head, np.float64), self._raw(n - kept)]) if n > kept else np.array(head, np.float64)
