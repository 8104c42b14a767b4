"""A turn that raises: the records that make it raise are found and refused, one by one; the rest counts.

1. A record is refused only where the records before it in its file go through and it does not.
2. Broken machinery (the store, the disk, memory) is nobody's record: it is raised, and nothing is refused for it.
3. More culprits than `MOST` in one file are no longer single records: the file is refused whole.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from operator import ge, ne
from typing import TypeVar

import msgspec
import numpy as np

from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.intake import FileBatch
from parityd.core.records import Refusal
from parityd.store import CommitFailed, StoreBroken, StoreUnavailable

MOST = 32
MACHINERY = (StoreBroken, StoreUnavailable, CommitFailed, sqlite3.Error, MemoryError, OSError)
_Columns = TypeVar("_Columns", DecisionColumns, FillColumns)
Tried = Callable[[FileBatch], Exception | None]


def lines_of(batch: FileBatch) -> list[int]:
    """The lines that records stand on, in order."""
    found = {line.line for line in batch.rare}
    for columns in (batch.decisions, batch.fills):
        if columns is not None:
            found |= set(columns.line.tolist())
    return sorted(found)


def _kept(columns: _Columns | None, keep: Callable[[int], bool]) -> _Columns | None:
    if columns is None:
        return None
    return columns.take(np.fromiter((keep(n) for n in columns.line.tolist()), np.bool_, len(columns)))


def only(batch: FileBatch, keep: Callable[[int], bool]) -> FileBatch:
    """The batch with the records of some lines."""
    return FileBatch(
        book=batch.book, name=batch.name, sha256=batch.sha256, source=batch.source, decisions=_kept(batch.decisions, keep),
        fills=_kept(batch.fills, keep), rare=[x for x in batch.rare if keep(x.line)], refusals=batch.refusals,
    )  # fmt: skip


def sifted(batch: FileBatch, tried: Tried) -> FileBatch | None:
    """The batch without its culprits, each refused as `internal_error`; None where no single records are at fault."""
    refusals = list(batch.refusals)
    for _ in range(MOST):
        error = tried(batch)
        if error is None:
            batch.refusals = sorted(refusals, key=lambda r: r.line)
            return batch
        lines = lines_of(batch)
        good, bad = 0, len(lines)
        while bad - good > 1:
            middle = (good + bad) // 2
            found = tried(only(batch, partial(ge, lines[middle - 1])))
            if found is None:
                good = middle
            else:
                bad, error = middle, found
        if not lines:
            return None
        culprit = lines[bad - 1]
        refusals.append(Refusal(line=culprit, code="internal_error", reason=f"{type(error).__name__}: {error}"[:500]))
        batch = only(batch, partial(ne, culprit))
    return None


def with_raw(batch: FileBatch, raw: dict[int, str]) -> FileBatch:
    """Its refusals with the text of their lines."""
    batch.refusals = [msgspec.structs.replace(r, raw=raw[r.line]) if r.line in raw and not r.raw else r for r in batch.refusals]
    return batch


__all__ = ["MACHINERY", "lines_of", "only", "sifted", "with_raw"]
