"""Runs of the index joined into one, and what stands in for a file that cannot be read.

1. Of one name the newest entry stands.
2. Files are joined a piece of each at a time: memory does not grow with them.
"""

from collections.abc import Iterator

import numpy as np

from parityd.core.hashing import U64
from parityd.store.runfile import I64, Chunk, Found, Named, RunFile, sought


class RunHeld:
    """The same in memory: what a file held that cannot be read any more, or could not be written."""

    def __init__(self, named: Named, keys: U64, values: I64) -> None:
        self.named, self.keys, self.values = named, keys, values

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: U64) -> Found:
        return sought(self.keys, self.values, keys)


def newest(keys: U64, values: I64) -> Chunk:
    """Sorted; of one name the last entry."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    last = np.ones(len(keys), np.bool_)
    last[:-1] = keys[1:] != keys[:-1]
    return (keys, values) if last.all() else (keys[last], values[last])


def merged(runs: list[RunFile]) -> Iterator[Chunk]:
    """Several files, oldest first, as one: a piece of each in memory at a time."""
    feeds = [run.scan() for run in runs]
    held: list[Chunk | None] = [next(feed, None) for feed in feeds]
    while any(chunk is not None for chunk in held):
        limit = min(chunk[0][-1] for chunk in held if chunk is not None)
        taken = []
        for k, chunk in enumerate(held):
            if chunk is None:
                continue
            keys, values = chunk
            upto = int(np.searchsorted(keys, limit, side="right"))
            taken.append((keys[:upto], values[:upto]))
            held[k] = (keys[upto:], values[upto:]) if upto < len(keys) else next(feeds[k], None)
        yield newest(np.concatenate([k for k, _ in taken]), np.concatenate([v for _, v in taken]))
