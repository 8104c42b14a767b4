"""The names of decisions and fills: `key` says which record it is, `content` all that it says.

1. Both are made from names and values, never from codes: the same in every process, for ever (stores hold them).
2. A key is of (kind, book, strategy, symbol) and the record's own id: of a fill with account and venue, of a decision with its run, time and action. A
   run that the file announced is folded in after all else.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from parityd.core import owners
from parityd.core.columns import I32, FillColumns
from parityd.core.hashing import U64, hash_text, mix, seed
from parityd.core.text import TextColumn

ANY = "\0any"


@lru_cache
def _seed_of(kind: str, book: str) -> owners.Property:
    return owners.Property(lambda strategy, symbol: seed(f"{kind}\0{book}\0{strategy}\0{symbol}"), np.uint64)


def seeds(book: str, kind: str, owner: I32) -> U64:
    """One seed a row from (kind, book, strategy, symbol)."""
    return _seed_of(kind, book)(owner)


def place(h: U64, k: int) -> U64:
    """A mark between one text of a name and the next."""
    return mix(h, np.uint64(k))


def _start(book: str, owner: I32, account: Sequence[str], venue: Sequence[str]) -> U64:
    return hash_text(venue, place(hash_text(account, place(seeds(book, "fill", owner), 1)), 2))


def fill_key(book: str, strategy: str, symbol: str, fill_id: str, account: str = "", venue: str = "", run: str = "") -> int:
    """The key that this fill has or would have."""
    key = hash_text([fill_id], _start(book, owners.codes([strategy], [symbol]), [account], [venue]))
    return int((mix(key, np.full(1, seed(run))) if run else key)[0])


def keys_of_any(book: str, c: FillColumns) -> list[U64]:
    """The keys that fills have whatever their account, venue, or both are: those of a bust that does not name it (`ANY`)."""
    some = TextColumn.repeated(ANY, len(c))
    return [hash_text(c.fill_id, _start(book, c.owner, a, v)) for a, v in ((some, c.venue), (c.account, some), (some, some))]
