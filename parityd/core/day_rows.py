"""The rows of a stretch of whole shelves in large pieces, so that a report works in columns and not shelf by shelf.

1. Every shelf with rows comes once, in order; a piece holds whole shelves, about `PIECE` rows.
2. A row of a piece leads back to its shelf and place: only there are its texts.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.books import Books
from parityd.core.rows import Rows, Shelf, joined

PIECE = 50_000


class Piece(msgspec.Struct, frozen=True):
    """Rows of several shelves as one column; `starts[i]` is where those of `shelves[i]` begin."""

    rows: Rows
    shelves: list[Shelf]
    starts: NDArray[np.int64]

    def at(self, i: int) -> tuple[Shelf, int]:
        """The shelf of row i and its place there."""
        k = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.shelves[k], i - int(self.starts[k])

    def numbers(self) -> NDArray[np.int64]:
        """Shelf number of each row."""
        return np.repeat(np.array([s.number for s in self.shelves], np.int64), [s.n for s in self.shelves])


def pieces(books: Books, first: int, last: int) -> Iterator[Piece]:
    """Of the shelves first..last."""
    held: list[Shelf] = []
    for number in range(first, last + 1):
        if number in books.summaries:
            held.append(books.shelf(number))
            if sum(s.n for s in held) >= PIECE:
                yield _piece(held)
                held = []
    if held:
        yield _piece(held)


def _piece(shelves: list[Shelf]) -> Piece:
    sizes = np.array([s.n for s in shelves], np.int64)
    return Piece(joined([s.rows for s in shelves]), shelves, np.cumsum(sizes) - sizes)
