"""Sorted runs of 64-bit names: which records are known, and on which shelf a trade lies.

1. A batch is one sorted run; runs are merged like a binary counter, so that n batches leave O(log n) runs.
2. `Known` says of each record new, duplicate or conflict, also within the batch: of two contents under one name the first stands.
3. `Places` maps an execution's name to its shelf; the newest entry wins, shelf GONE means "no longer".
4. What is old may be kept elsewhere (`Past`): it is asked of what no run here knows.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parityd.core.hashing import U64

NEW, DUPLICATE, CONFLICT = 0, 1, 2
GONE = -(2**31)


class Past(Protocol):
    """Names that are not in memory."""

    def find(self, keys: U64) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For sorted keys: (found, value)."""


class _Runs:
    """Runs of (key, value), newest last; equal keys within a run are unique."""

    def __init__(self, past: Past | None = None) -> None:
        self.runs: list[tuple[U64, NDArray[np.int64]]] = []
        self.past = past

    def push(self, keys: U64, values: NDArray[np.int64]) -> None:
        """Add a run; `keys` sorted and unique."""
        self.runs.append((keys, values))
        while len(self.runs) > 1 and len(self.runs[-2][0]) <= 2 * len(self.runs[-1][0]):
            newer, older = self.runs.pop(), self.runs.pop()
            keys = np.concatenate([older[0], newer[0]])
            values = np.concatenate([older[1], newer[1]])
            order = np.argsort(keys, kind="stable")
            keys, values = keys[order], values[order]
            last = np.ones(len(keys), np.bool_)
            last[:-1] = keys[1:] != keys[:-1]
            self.runs.append((keys[last], values[last]))

    def find(self, keys: U64, missing: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For sorted keys: (found, value), the newest run's first."""
        found = np.zeros(len(keys), np.bool_)
        value = np.full(len(keys), missing, np.int64)
        for run_keys, run_values in reversed(self.runs):
            open_ = np.flatnonzero(~found)
            if len(open_) == 0:
                break
            at = np.searchsorted(run_keys, keys[open_])
            at[at == len(run_keys)] = 0
            hit = run_keys[at] == keys[open_]
            found[open_[hit]] = True
            value[open_[hit]] = run_values[at[hit]]
        if self.past is not None and not found.all():
            open_ = np.flatnonzero(~found)
            hit, old = self.past.find(keys[open_])
            found[open_[hit]] = True
            value[open_[hit]] = old[hit]
        return found, value

    def __len__(self) -> int:
        return sum(len(k) for k, _ in self.runs)


class Known:
    """The identities of all records taken so far. What `past` says of one is its content."""

    def __init__(self) -> None:
        self._runs = _Runs()
        self._judged: tuple[U64, U64, NDArray[np.int64]] | None = None  # the newest records that are all new, and their order

    def __len__(self) -> int:
        """Of those in memory."""
        return len(self._runs)

    def recall(self, past: Past) -> None:
        """What is in memory is let go of; all that is in `past` is known."""
        self._runs = _Runs(past)

    def judge(self, keys: U64, contents: U64) -> NDArray[np.int8]:
        """NEW, DUPLICATE or CONFLICT for each record, in their order. Shape (n,). Changes nothing."""
        order = np.argsort(keys, kind="stable")
        k, c = keys[order], contents[order]
        first = np.ones(len(k), np.bool_)
        first[1:] = k[1:] != k[:-1]
        leader = np.maximum.accumulate(np.where(first, np.arange(len(k)), 0))
        found, value = self._runs.find(k, 0)
        against = np.where(found, value.view(np.uint64), c[leader])
        state = np.where(found | ~first, np.where(against == c, DUPLICATE, CONFLICT), NEW).astype(np.int8)
        self._judged = None if state.any() else (keys, contents, order)
        out = np.empty(len(k), np.int8)
        out[order] = state
        return out

    def add(self, keys: U64, contents: U64) -> None:
        """Remember new records (each key once)."""
        judged, self._judged = self._judged, None
        if len(keys):
            same = judged is not None and judged[0] is keys and judged[1] is contents
            order = judged[2] if same and judged is not None else np.argsort(keys)
            self._runs.push(keys[order], contents[order].view(np.int64))


class Places:
    """Execution name -> number of its shelf."""

    def __init__(self) -> None:
        self._runs = _Runs()
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        """Of those in memory."""
        return len(self._runs) + len(self._recent)

    def recall(self, past: Past) -> None:
        """What is in memory is let go of; all that is in `past` is known."""
        self._runs = _Runs(past)
        self._recent.clear()

    def put(self, key: int, shelf: int) -> None:
        self._recent[key] = shelf
        if len(self._recent) > 4096:
            self._flush()

    def put_many(self, keys: U64, shelves: NDArray[np.int64]) -> None:
        """Add many; later entries of equal keys win."""
        if len(keys) <= 64:
            for k, v in zip(keys.tolist(), shelves.tolist(), strict=True):
                self.put(k, v)
            return
        self._flush()
        order = np.argsort(keys, kind="stable")
        keys, shelves = keys[order], shelves[order]
        last = np.ones(len(keys), np.bool_)
        last[:-1] = keys[1:] != keys[:-1]
        self._runs.push(keys[last], shelves[last])

    def _flush(self) -> None:
        if self._recent:
            keys = np.fromiter(self._recent.keys(), np.uint64, len(self._recent))
            values = np.fromiter(self._recent.values(), np.int64, len(self._recent))
            self._recent.clear()
            order = np.argsort(keys)
            self._runs.push(keys[order], values[order])

    def find(self, keys: U64) -> NDArray[np.int64]:
        """The shelf of each (sorted) key, GONE where there is none."""
        if len(keys) == 0:
            return np.zeros(0, np.int64)
        _, value = self._runs.find(keys, GONE)
        if self._recent:
            if len(keys) <= len(self._recent):
                for i, k in enumerate(keys.tolist()):
                    value[i] = self._recent.get(k, value[i])
            else:
                for k, v in self._recent.items():
                    at = int(np.searchsorted(keys, np.uint64(k)))
                    while at < len(keys) and int(keys[at]) == k:
                        value[at] = v
                        at += 1
        return value

    def get(self, key: int) -> int:
        """The shelf of one key, or GONE."""
        found = self._recent.get(key)
        return found if found is not None else int(self._runs.find(np.array([key], np.uint64), GONE)[1][0])
