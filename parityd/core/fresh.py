"""Rows that lie on no shelf yet, a column at a time: what a batch of executions is before it is laid away.

1. A column that nobody gave is as in a blank row, and costs nothing.
2. It is read like rows (`f["b_ts"]`, `f[mask]`, `len(f)`). A given column is the batch's own; one that nobody gave cannot be written into.
3. `laid` makes rows of it. Until then nothing that stands on a shelf is touched.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from parityd.core.records import BACKTEST, LIVE
from parityd.core.rows import BLANK, BY_ID, BY_NONE, ROW, Rows, blank
from parityd.core.sides import KEY, ORDER_FIELDS, OWN_FLAGS, SIDE_FIELDS

Column = NDArray[Any]
_TYPES = {name: ROW[name] for name in ROW.names or ()}
_ABSENT = {name: BLANK[name] for name in ROW.names or ()}


class Fresh:
    """Rows as columns, shape (n,) each."""

    __slots__ = ("columns", "n")

    def __init__(self, n: int, columns: dict[str, Column] | None = None) -> None:
        self.n = n
        self.columns: dict[str, Column] = {} if columns is None else columns

    @classmethod
    def of(cls, rows: "Rows | Fresh") -> "Fresh":
        """The same rows as columns."""
        if isinstance(rows, Fresh):
            return rows
        return cls(len(rows), {name: rows[name].copy() for name in _TYPES})

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, what: str) -> Column: ...
    @overload
    def __getitem__(self, what: Column) -> Self: ...
    def __getitem__(self, what: str | Column) -> Any:
        if isinstance(what, str):
            found = self.columns.get(what)
            return np.broadcast_to(_ABSENT[what], (self.n,)) if found is None else found
        index = np.flatnonzero(what) if what.dtype == np.bool_ else what
        return type(self)(len(index), {name: v[index] for name, v in self.columns.items()})

    def __setitem__(self, name: str, values: Any) -> None:
        v = np.asarray(values, _TYPES[name])
        self.columns[name] = np.full(self.n, v) if v.ndim == 0 else v

    def part(self, start: int, stop: int) -> "Fresh":
        """The rows at start..stop - 1, not copied."""
        return Fresh(max(0, min(stop, self.n) - start), {name: v[start:stop] for name, v in self.columns.items()})

    def only(self, names: Iterable[str]) -> "Fresh":
        """These columns alone; the others are as in a blank row."""
        return Fresh(self.n, {name: self.columns[name] for name in names if name in self.columns})

    def take_over(self, other: Self, names: Iterable[str]) -> None:
        """The columns of another batch of as many rows."""
        for name in names:
            v = other.columns.get(name)
            if v is not None:
                self.columns[name] = v
            else:
                self.columns.pop(name, None)

    @classmethod
    def joined(cls, parts: "Sequence[Fresh]") -> "Fresh":
        """Several as one."""
        if len(parts) == 1:
            return parts[0]
        names = dict.fromkeys(name for p in parts for name in p.columns)
        return cls(sum(p.n for p in parts), {name: np.concatenate([p[name] for p in parts]) for name in names})

    def laid(self, order: Column | None = None) -> Rows:
        """As rows, in this order."""
        out = blank(self.n)
        for name, v in self.columns.items():
            out[name] = v if order is None else v[order]
        return out


def as_rows(rows: Rows | Fresh) -> Rows:
    """Rows of either kind as rows."""
    return rows.laid() if isinstance(rows, Fresh) else rows


def joined_by_id(b: Fresh, l: Fresh) -> Fresh:
    """Both sides of the same names as one batch, as `sides.put_on` does it with rows."""
    out = Fresh(b.n, dict(b.columns))
    out.take_over(l, (KEY[LIVE], *SIDE_FIELDS[LIVE]))
    out["flags"] = b["flags"] | (l["flags"] & OWN_FLAGS[LIVE])
    for name, first, second in (("ccy", l, b), ("side", b, l), *((f, b, l) for f in ORDER_FIELDS)):
        if name in first.columns or name in second.columns:
            out[name] = np.where(first[name] != 0, first[name], second[name])
    both = (b["b_q"] > 0) & (l["l_q"] > 0) & (b[KEY[BACKTEST]] != 0) & (l[KEY[LIVE]] != 0)
    out["how"] = np.where(both, BY_ID, BY_NONE)
    return out
