"""What sources have told of their orders: the memory behind `Context.told`, kept with the records that it led to.

1. What counts is in the store, under `told/<book>/<source>`; it is written in the transaction that keeps the records of the same file, and read
   only for a file that tells orders.
2. Within a turn a later file of a source sees what an earlier one told, before either is stored; `turned` forgets that.
3. What an order told is kept only where the fill that it led to was accepted: a refused one may come again.
4. Of each source the newest `MOST` orders are kept.
"""

from collections.abc import Callable, Collection, Iterator, MutableMapping

import msgspec

from parityd.formats.increments import BY_TRADES, digits

Reached = tuple[float, float, float]
MOST = 20_000


class Recall(MutableMapping[str, Reached]):
    """What was told so far, asked for when it is needed; what a reader adds lies in `new`."""

    def __init__(self, known: Callable[[], dict[str, Reached]]) -> None:
        self.known = known
        self.new: dict[str, Reached] = {}

    def __getitem__(self, key: str) -> Reached:
        return self.new[key] if key in self.new else self.known()[key]

    def __setitem__(self, key: str, reached: Reached) -> None:
        self.new[key] = reached

    def __delitem__(self, key: str) -> None:
        del self.new[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.known(), **self.new})

    def __len__(self) -> int:
        return len({**self.known(), **self.new})

    def accepted(self, fills: Collection[str]) -> dict[str, Reached]:
        """Of what was added that whose fill was accepted."""
        if not self.new:
            return {}
        ids = set(fills)

        def counts(key: str, reached: Reached) -> bool:
            singly = key.startswith(BY_TRADES) or self.new.get(BY_TRADES + key, (0.0,))[0] > 0
            return singly or f"{key.rpartition(chr(31))[2]}#{digits(reached[0])}" in ids

        return {key: reached for key, reached in self.new.items() if counts(key, reached)}


class Told:
    """`stored(key)`: the state as the store has it, None where it has none."""

    def __init__(self, stored: Callable[[str], bytes | None]) -> None:
        self.stored = stored
        self.ahead: dict[str, dict[str, Reached]] = {}

    def of(self, book: str, source: str) -> Recall:
        """What was told so far."""
        return Recall(lambda: self._known(f"told/{book}/{source}"))

    def _known(self, key: str) -> dict[str, Reached]:
        if key not in self.ahead:
            blob = self.stored(key)
            self.ahead[key] = msgspec.msgpack.decode(blob, type=dict[str, Reached]) if blob else {}
        return self.ahead[key]

    def keep(self, book: str, source: str, told: Recall, fills: Collection[str]) -> dict[str, bytes]:
        """The state to store with the file's records; {} where it told nothing new."""
        new = told.accepted(fills)
        if not new:
            return {}
        key = f"told/{book}/{source}"
        known = {k: x for k, x in self._known(key).items() if k not in new} | new
        self.ahead[key] = dict(list(known.items())[-MOST:])
        return {key: msgspec.msgpack.encode(self.ahead[key])}

    def turned(self) -> None:
        """The turn is over: what of it counts is in the store."""
        self.ahead.clear()
