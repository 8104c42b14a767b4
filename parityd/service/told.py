"""What tailed and polled sources have told of their orders: the memory behind `Context.told`, kept with the records that it led to.

1. What counts is in the store, under `told/<book>/<source>`; it is written in the transaction that keeps the records of the same file.
2. Within a turn a later file of a source sees what an earlier one told, before either is stored; `turned` forgets that.
3. What an order told is kept only where the fill that it led to was accepted: a refused one may come again.
4. Of each source the newest `MOST` orders are kept.
"""

from collections import ChainMap
from collections.abc import Callable, Collection

import msgspec

from parityd.formats.increments import digits

Reached = tuple[float, float, float]
MOST = 20_000


class Told:
    """`stored(key)`: the state as the store has it, None where it has none."""

    def __init__(self, stored: Callable[[str], bytes | None]) -> None:
        self.stored = stored
        self.ahead: dict[str, dict[str, Reached]] = {}

    def of(self, book: str, source: str) -> ChainMap[str, Reached]:
        """What was told so far; what a reader adds lies in the first map."""
        key = f"told/{book}/{source}"
        if key not in self.ahead:
            blob = self.stored(key)
            self.ahead[key] = msgspec.msgpack.decode(blob, type=dict[str, Reached]) if blob else {}
        return ChainMap({}, self.ahead[key])

    def keep(self, book: str, source: str, told: ChainMap[str, Reached], fills: Collection[str]) -> dict[str, bytes]:
        """The state to store with the file's records; {} where it told nothing new."""
        accepted = set(fills)
        new = {order: reached for order, reached in told.maps[0].items() if f"{order}#{digits(reached[0])}" in accepted}
        if not new:
            return {}
        key = f"told/{book}/{source}"
        known = {k: x for k, x in self.ahead[key].items() if k not in new} | new
        self.ahead[key] = dict(list(known.items())[-MOST:])
        return {key: msgspec.msgpack.encode(self.ahead[key])}

    def turned(self) -> None:
        """The turn is over: what of it counts is in the store."""
        self.ahead.clear()
