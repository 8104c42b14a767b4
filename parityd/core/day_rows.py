"""The rows of a stretch of whole shelves in large pieces and in columns, so that a report works neither shelf by shelf nor row by row.

1. Every shelf with rows comes once, in order; a piece holds whole shelves, about `PIECE` rows, of which only the columns `READ` are at hand.
2. A row of a piece leads back to a shelf and a place there: only there is all of it, and its text.
3. Shelves that are not in memory are asked of the store as columns and stay there: a day of a million trades is never held as rows.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.books import Books
from parityd.core.fresh import Fresh
from parityd.core.rows import Shelf

PIECE = 50_000
READ = ("bkey", "lkey", "t", "sym", "ccy", "flags", "how", "b_q", "l_q", "d", "n", "x", "ln", "fee", "oa", "ob", "own")
Stored = Callable[[Iterable[int]], Iterator[tuple[Fresh, bytes]]]
"""(rows, texts) of shelves as they were stored last, by number."""


class Lying(msgspec.Struct, frozen=True):
    """One shelf's rows: as columns with their texts, or the shelf that is in memory."""

    number: int
    rows: Fresh
    text: bytes = b""
    shelf: Shelf | None = None

    def at(self, place: int) -> tuple[Shelf, int]:
        """A shelf on which the row lies, and its place there."""
        if self.shelf is not None:
            return self.shelf, place
        row = self.rows[np.array([place])].laid()
        start = int(row["tid_at"][0])
        row["tid_at"] = 0
        return Shelf(self.number, row, self.text[start : start + int(row["tid_len"][0])]), 0


class Piece(msgspec.Struct, frozen=True):
    """Rows of several shelves; `starts[i]` is where those of `parts[i]` begin."""

    rows: Fresh
    parts: list[Lying]
    starts: NDArray[np.int64]

    def place(self, i: int) -> tuple[int, int]:
        """The number of row i's shelf, and its place there."""
        k = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.parts[k].number, i - int(self.starts[k])

    def at(self, i: int) -> tuple[Shelf, int]:
        """A shelf on which row i lies, whole and with its text, and its place there."""
        k = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.parts[k].at(i - int(self.starts[k]))

    def numbers(self) -> NDArray[np.int64]:
        """Shelf number of each row."""
        return np.repeat(np.array([p.number for p in self.parts], np.int64), [len(p.rows) for p in self.parts])


def pieces(books: Books, first: int, last: int, stored: Stored | None = None) -> Iterator[Piece]:
    """Of the shelves first..last."""
    held: list[Lying] = []
    for one in _shelves(books, books.summaries.between(first, last), stored):
        held.append(one)
        if sum(len(p.rows) for p in held) >= PIECE:
            yield _piece(held)
            held = []
    if held:
        yield _piece(held)


def _shelves(books: Books, numbers: list[int], stored: Stored | None) -> Iterator[Lying]:
    here = set(books.shelves) if stored is not None else set(numbers)
    away = stored([k for k in numbers if k not in here]) if stored is not None else iter(())
    for number in numbers:
        if number in here:
            shelf = books.shelf(number)
            yield Lying(number, Fresh(shelf.n, {name: shelf.rows[name] for name in READ}), shelf=shelf)
        else:
            yield Lying(number, *next(away))


def _piece(parts: list[Lying]) -> Piece:
    sizes = np.array([len(p.rows) for p in parts], np.int64)
    rows = Fresh(int(sizes.sum()), {name: np.concatenate([p.rows[name] for p in parts]) for name in READ})
    return Piece(rows, parts, np.cumsum(sizes) - sizes)
