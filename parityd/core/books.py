"""One strategy's executions: taken in, joined, kept on their shelves (JUDGEMENT 2).

1. Joining by id is a look-up by name, whole batches at a time; pairs by time are made by `pairing` and opened again (`timed`) before anything about
   their executions changes.
2. The rows are a function of the records, not of their order: what the next record of a name finds is what it would have found first.
3. Nothing here knows of thresholds, clocks or files.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.fresh import Fresh
from parityd.core.hashing import mix
from parityd.core.heard import Cell
from parityd.core.index import Places
from parityd.core.joining import absorb, batch
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE
from parityd.core.rows import B_FILLS, Rows, Texts
from parityd.core.shelves import At, Load
from parityd.core.sides import KEY, add, executed, put_on, taken_off, without_execution
from parityd.core.text import TextColumn
from parityd.core.timed import Join, Timed

Part = tuple[Rows | Fresh, Texts | TextColumn | list[str]]  # rows and their trade ids


class RunSpan(msgspec.Struct, frozen=True):
    """A backtest run and what it covers: [start, end) ns; `symbol` "" = all."""

    run_id: str
    created: int
    start: int
    end: int
    symbol: str = ""


class Books(Timed):
    """The rows of one strategy."""

    def __init__(self, strategy: str, parameters: Parameters, places: Places, load: Load) -> None:
        super().__init__(strategy, parameters, places, load)
        self.runs: list[RunSpan] = []
        self.overruled: list[Rows] = []  # simulated executions that fills replaced, for the ledgers

    def absorb(self, backtest: Part | None, live: Part | None) -> None:
        """Rows of one batch, each with one side filled; names may repeat and may be known."""
        parts = {
            book: batch(self.places, book, *_given(part), np.zeros(len(part[0]), np.int64))
            for book, part in ((BACKTEST, backtest), (LIVE, live))
            if part is not None and len(part[0])
        }
        absorb([self], parts)

    def merge_known(self, book: str, rows: Fresh, texts: Texts) -> NDArray[np.bool_]:
        """Merge what belongs to rows that lie here; which of these did."""
        keys = rows[KEY[book]]
        at = self.locate_many(keys)
        hit = at.places >= 0
        if hit.any():
            loose = self.loose(at.only(hit))
            if loose.any():
                self.open(keys[hit][loose])
                at = self.locate_many(keys)
            self._merge(book, at.only(hit), rows[hit], texts[hit])
        return hit

    def _merge(self, book: str, at: At, new: Fresh, texts: Texts) -> None:
        rows = self.read(at)
        lacks = rows[KEY[book]] == 0
        if lacks.all():
            put_on(rows, new, book)
        elif lacks.any():
            mine = rows[lacks]
            put_on(mine, new[lacks], book)
            rows[lacks] = mine
        if not lacks.all():
            mine = rows[~lacks]
            self._overrule(add(mine, new[~lacks], book))
            rows[~lacks] = mine
        for i in np.flatnonzero((rows["tid_len"] == 0) & (texts != "")).tolist():
            self.shelf(int(at.numbers[i])).retext(int(at.places[i]), texts[i])
        self.write(at, rows)

    def _overrule(self, rows: Rows) -> None:
        if len(rows):
            self.overruled.append(rows)

    def fills_overrule(self, rows: Rows | Fresh) -> None:
        """A decision whose id has fills in the backtest, be it of the other side, is no execution. `rows`: backtest sides just absorbed."""
        rows = rows[rows["b_trade"] != 0]
        if len(rows) == 0:
            return
        own = mix(rows["b_trade"], rows["side"].astype(np.int64).view(np.uint64))
        opposite = mix(rows["b_trade"], (-rows["side"].astype(np.int64)).view(np.uint64))
        names = np.unique(np.concatenate([own, opposite]))
        at = self.locate_many(names)
        found = self.read(at.only(at.places >= 0))
        filled = np.unique(found["b_trade"][(found["flags"] & B_FILLS) != 0])
        vain = executed(found, BACKTEST) & ((found["flags"] & B_FILLS) == 0) & np.isin(found["b_trade"], filled)
        if vain.any():
            names = found["bkey"][vain]
            self.open(names)
            at = self.locate_many(names)
            mine = self.read(at)
            self._overrule(taken_off(mine, BACKTEST))
            without_execution(mine)
            self.write(at, mine)
            self.recheck(np.unique(mine["sym"]).tolist())


def _given(part: Part) -> tuple[Fresh, TextColumn]:
    rows, texts = part
    return Fresh.of(rows), TextColumn.of(texts.tolist() if isinstance(texts, np.ndarray) else texts)


__all__ = ["Books", "Cell", "Join", "Load", "Part", "RunSpan"]
