"""What sources have told so far: the memory behind `Context.told` and `Context.notes`, kept with the records that it led to.

1. What counts is in the store, under `told/<book>/<source>` and `notes/<book>/<source>`; it is written in the transaction that keeps the records of
   the same file, and read only for a file that asks for it.
2. Within a turn a later file of a source sees what an earlier one told, before either is stored; `turned` forgets that.
3. What an order told is kept only where the fill that it led to was accepted: a refused one may come again.
4. Of each source the newest `MOST` orders and `MOST_NOTES` notes are kept.
"""

from collections.abc import Callable, Collection, Iterator, MutableMapping
from typing import Any, TypeVar

import msgspec

from parityd.formats.increments import BY_TRADES, digits

Reached = tuple[float, float, float]
V = TypeVar("V")
MOST = 20_000
MOST_NOTES = 5_000


class Recall(MutableMapping[str, V]):
    """What was told so far, asked for when it is needed; what a reader adds lies in `new`."""

    def __init__(self, known: Callable[[], dict[str, V]]) -> None:
        self.known = known
        self.new: dict[str, V] = {}

    def __getitem__(self, key: str) -> V:
        return self.new[key] if key in self.new else self.known()[key]

    def __setitem__(self, key: str, value: V) -> None:
        self.new[key] = value

    def __delitem__(self, key: str) -> None:
        del self.new[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.known(), **self.new})

    def __len__(self) -> int:
        return len({**self.known(), **self.new})


def accepted(new: dict[str, Reached], fills: Collection[str]) -> dict[str, Reached]:
    """Of what orders told that whose fill was accepted."""
    ids = set(fills) if new else set()

    def counts(key: str, reached: Reached) -> bool:
        singly = key.startswith(BY_TRADES) or new.get(BY_TRADES + key, (0.0,))[0] > 0
        return singly or f"{key.rpartition(chr(31))[2]}#{digits(reached[0])}" in ids

    return {key: reached for key, reached in new.items() if counts(key, reached)}


class Told:
    """`stored(key)`: the state as the store has it, None where it has none."""

    def __init__(self, stored: Callable[[str], bytes | None]) -> None:
        self.stored = stored
        self.ahead: dict[str, dict[str, Any]] = {}

    def of(self, book: str, source: str) -> Recall[Reached]:
        """How far each order was told."""
        return Recall(lambda: self._known(f"told/{book}/{source}", Reached))

    def notes(self, book: str, source: str) -> Recall[str]:
        """What the reader noted of earlier files."""
        return Recall(lambda: self._known(f"notes/{book}/{source}", str))

    def _known(self, key: str, of: Any) -> dict[str, Any]:
        if key not in self.ahead:
            blob = self.stored(key)
            self.ahead[key] = msgspec.msgpack.decode(blob, type=dict[str, of]) if blob else {}
        return self.ahead[key]

    def keep(self, book: str, source: str, told: Recall[Reached], notes: Recall[str], fills: Collection[str]) -> dict[str, bytes]:
        """The states to store with the file's records; {} where there is nothing new."""
        out = {}
        for key, new, most in (
            (f"told/{book}/{source}", accepted(told.new, fills), MOST),
            (f"notes/{book}/{source}", notes.new, MOST_NOTES),
        ):
            if new:
                of: Any = Reached if key.startswith("told/") else str
                known = {k: x for k, x in self._known(key, of).items() if k not in new} | new
                self.ahead[key] = dict(list(known.items())[-most:])
                out[key] = msgspec.msgpack.encode(self.ahead[key])
        return out

    def turned(self) -> None:
        """The turn is over: what of it counts is in the store."""
        self.ahead.clear()
