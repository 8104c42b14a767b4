"""Trades as rows, rows in shelves of 15 minutes: the one shape in which executions of two books are kept.

1. A row is one trade: a backtest side, a live side, or both (or neither yet: a decision or an order whose fills may still come). It lies on
   the shelf (15 minutes) of its trade time: the backtest decision, else the first backtest fill, else the first live fill.
2. Base columns are what the records said (sums over fills, so that more fills add); derived columns are functions of them (`attribution`).
3. A shelf knows which rows changed since they were stored; a removed row is stored as a tombstone (both keys kept, DEAD set).
4. `pk` is the name a row was made under and one of its keys as long as it lives; of stored pieces with one pk the last stands.
5. Keys are execution keys (64-bit names). A row joined by time has two different ones, a row joined by id has one in both places. A name lies
   on one living row.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parityd.core.hashing import U64
from parityd.core.records import NO_TS
from parityd.core.text import TextColumn

if TYPE_CHECKING:
    from parityd.core.fresh import Fresh

SHELF_NS = 900 * 1_000_000_000
NOWHEN = NO_TS // SHELF_NS  # the shelf of rows that have no time yet: orders of which only a fill's trade is known
LONGEST_TEXT = 2**16 - 1
FEW = 24  # so many rows are handled one by one
TWO_IDS = "\0"  # between the trade ids of a pair by time
Texts = NDArray[np.object_]

ROW = np.dtype([
    ("bkey", "u8"), ("lkey", "u8"), ("t", "i8"), ("sym", "i4"), ("ccy", "i4"), ("tid_at", "u4"), ("tid_len", "u2"), ("unpriced", "u2"),
    ("side", "i1"), ("how", "i1"), ("flags", "u2"), ("n_fills", "u4"), ("l_n", "u4"), ("part_of", "u8"), ("pk", "u8"),
    # *_trade: the trade id's hash, 0 without; of an order: `parent` the execution of its parent order, `link` the trade its fills belong to
    ("b_trade", "u8"), ("l_trade", "u8"), ("parent", "u8"), ("link", "u8"), ("b_unp", "u2"), ("l_unp", "u2"),
    # backtest side, as the records gave it (the full backtest; `alpha` makes it the allowed one); b_mark: the decision's, b_mq: of its fills
    ("b_ts", "i8"), ("b_sub", "i8"), ("b_first", "i8"), ("b_last", "i8"), ("b_q", "f8"), ("b_not", "f8"), ("b_fee", "f8"), ("b_mark", "f8"),
    ("b_mq", "f8"), ("b_run", "i8"), ("alpha", "f8"),
    # live side: sums over fills, quantity-weighted; l_mu: quantity of the fills without a decision mark of their own, l_dm: the decision's
    ("l_dts", "i8"), ("l_sub", "i8"), ("l_first", "i8"), ("l_last", "i8"), ("l_q", "f8"), ("l_not", "f8"), ("l_fee", "f8"),
    ("l_mq", "f8"), ("l_mu", "f8"), ("l_aq", "f8"), ("l_tq", "f8"), ("l_dm", "f8"), ("l_wait", "f8"),
    # derived (attribution.derive), of the whole trade with the parts that joined it; f*: the full backtest's, lq: live quantity
    ("fq", "f8"), ("fn", "f8"), ("ff", "f8"), ("lq", "f8"), ("latency", "f8"),
    ("d", "f8"), ("n", "f8"), ("x", "f8"), ("ln", "f8"), ("fee_bps", "f8"), ("timing_ms", "f8"),
    ("data", "f8"), ("timing", "f8"), ("slip", "f8"), ("impact", "f8"), ("fee", "f8"), ("oa", "f8"), ("ob", "f8"), ("own", "f8"),
])  # fmt: skip

Rows = NDArray[np.void]
_PLAIN = np.dtype((np.void, ROW.itemsize))

# flags; B_SAID and L_SAID: the decision time is a decision's own, not one that its fills name; MIXED: records of several runs, b_run the oldest
(
    DEAD, PART, SUSPECT, AMBIGUOUS, SUPPRESSED, OLD, B_FILLS, B_ID, L_ID, SLIP_ALONE, TIMING_ALONE, HAS_PARTS, MAKER, B_SAID, L_SAID, MIXED,
) = (1 << k for k in range(16))  # fmt: skip
BY_NONE, BY_ID, BY_DECISION, BY_FILL = 0, 1, 2, 3
HOW = {BY_ID: "id", BY_DECISION: "decision", BY_FILL: "fill"}
B_FIELDS = ("b_trade", "b_ts", "b_sub", "b_first", "b_last", "b_q", "b_not", "b_fee", "b_mark", "b_mq", "b_run", "alpha", "b_unp")
L_FIELDS = (
    "l_trade", "l_dts", "l_sub", "l_first", "l_last", "l_q", "l_not", "l_fee", "l_mq", "l_mu", "l_aq", "l_tq", "l_dm", "l_wait", "l_unp", "l_n",
)  # fmt: skip
TIMES = ("b_ts", "b_sub", "b_first", "b_last", "l_dts", "l_sub", "l_first", "l_last", "t")
SUMMED = ("unpriced", "n_fills", "fq", "fn", "ff", "lq", "latency")
MEASURED = ("d", "n", "x", "ln", "fee_bps", "timing_ms", "data", "timing", "slip", "impact", "fee", "oa", "ob", "own")
DERIVED = (*SUMMED, *MEASURED)
PAIRING_TIMES = ("b_ts", "b_sub", "b_first", "l_dts", "l_sub", "l_first")  # the times by which an execution can be paired
BLANK = np.zeros(1, ROW)
for _name in (*TIMES, "b_run"):
    BLANK[_name] = NO_TS
for _name in ("b_mark", "l_wait", "l_dm"):
    BLANK[_name] = np.nan
BLANK["alpha"] = 1.0


def plain(rows: Rows) -> Rows:
    """The same rows as mere bytes: as rows numpy copies them a field at a time, which takes ten times as long."""
    return rows.view(_PLAIN)


def blank(n: int) -> Rows:
    """N rows with nothing in them: times NO_TS, quantities 0, marks NaN."""
    out = np.empty(n, ROW)
    plain(out)[:] = plain(BLANK)
    return out


def picked(rows: Rows, index: NDArray[np.int64]) -> Rows:
    """Copies of these rows."""
    return rows.take(index)


def joined(parts: list[Rows]) -> Rows:
    """Several arrays of rows as one; of one array itself."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([plain(p) for p in parts]).view(ROW) if parts else blank(0)


def text_column(values: list[str]) -> Texts:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def trade_time(rows: "Rows | Fresh") -> NDArray[np.int64]:
    """The time that says to which day a trade belongs: the backtest's decision, else its first fill, else the first live fill."""
    t = rows["b_ts"].copy()
    for name in ("b_sub", "b_first", "l_first", "l_dts", "l_sub"):  # the last two only while a live execution has no fill
        open_ = np.flatnonzero(t == NO_TS)
        if len(open_) == 0:
            break
        t[open_] = rows[name][open_]
    return t


def shelf_of(t: int) -> int:
    return int(t) // SHELF_NS


def encoded(texts: Texts | list[str] | TextColumn) -> tuple[bytes, NDArray[np.int64]]:
    """(all texts, the length of each in bytes)."""
    if isinstance(texts, TextColumn) and (not len(texts) or texts.lengths()[1] <= LONGEST_TEXT // 4):
        return texts.packed()
    one = "".join(texts)
    if one.isascii():
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if not len(lengths) or int(lengths.max()) <= LONGEST_TEXT:
            return one.encode("ascii"), lengths
    parts = [x[: LONGEST_TEXT // 4].encode("utf-8", "surrogatepass") for x in texts]
    return b"".join(parts), np.fromiter(map(len, parts), np.int64, len(parts))


class Shelf:
    """The rows of one strategy and 15 minutes, growable, with an index by key."""

    __slots__ = ("_index", "changed", "index_upto", "n", "number", "stored", "text", "touched", "view")

    def __init__(self, number: int, rows: Rows | None = None, text: bytes = b"") -> None:
        self.number = number
        self.view = rows if rows is not None else np.zeros(0, ROW)
        self.n = len(self.view)
        self.text = bytearray(text)
        self._index: dict[int, int] | None = None
        self.index_upto = 0
        self.stored = self.n  # rows below this are in the store; `changed` names those of them that differ
        self.changed: set[int] = set()
        self.touched = 0

    @property
    def rows(self) -> Rows:
        return self.view[: self.n]

    def append(self, rows: Rows, texts: Texts | list[str]) -> NDArray[np.int64]:
        """Add rows; `texts` are their trade ids ("" where they have none). Returns their places."""
        return self.lay(rows, *encoded(texts))

    def lay(self, rows: Rows, text: bytes, lengths: NDArray[np.int64], *, own: bool = False) -> NDArray[np.int64]:
        """Add rows with their trade ids joined and the length of each in bytes. Returns their places. `own`: nobody else uses these rows."""
        at = self.n
        if at:
            self._reserve(len(rows))
            mine = self.view[at : at + len(rows)]
            plain(mine)[:] = plain(rows)
        else:
            mine = self.view = rows if own else plain(rows).copy().view(ROW)
        mine["tid_len"] = lengths
        mine["tid_at"] = len(self.text) + np.cumsum(lengths) - lengths
        self.text += text
        self.n += len(rows)
        return np.arange(at, self.n)

    def _reserve(self, more: int) -> None:
        if self.n + more > len(self.view):
            bigger = np.empty(max(8, self.n + more, min(self.n * 3 // 2, self.n + 256)), ROW)
            plain(bigger)[: self.n] = plain(self.rows)
            self.view = bigger

    def find(self, key: int) -> int:
        """The place of the living row with this key (either side's), or -1."""
        if self._index is None:
            self._index = {}
            self.index_upto = 0
        if self.index_upto < self.n:
            part = self.view[self.index_upto : self.n]
            alive = np.flatnonzero((part["flags"] & DEAD) == 0)
            places = (alive + self.index_upto).tolist()
            for name in ("bkey", "lkey"):
                self._index.update(zip(part[name][alive].tolist(), places, strict=True))
            self._index.pop(0, None)
            self.index_upto = self.n
        p = self._index.get(key, -1)
        if p < 0:
            return -1
        row = self.view[p]
        return p if key in (int(row["bkey"]), int(row["lkey"])) and not int(row["flags"]) & DEAD else -1

    def find_many(self, keys: U64) -> NDArray[np.int64]:
        """The place of each key, or -1. Few are looked up in the index, many by sorting."""
        if len(keys) <= FEW:
            return np.fromiter(map(self.find, keys.tolist()), np.int64, len(keys))
        r = self.rows
        alive = np.flatnonzero((r["flags"] & DEAD) == 0)
        b, l = r["bkey"][alive], r["lkey"][alive]
        two = l != b
        names, places = np.concatenate([b, l[two]]), np.concatenate([alive, alive[two]])
        order = np.argsort(names)
        names = names[order]
        spots = np.minimum(np.searchsorted(names, keys), max(0, len(names) - 1))
        return np.where(names[spots] == keys, places[order][spots], -1) if len(names) else np.full(len(keys), -1)

    def text_of(self, place: int) -> str:
        """The trade id of a row; of a pair by time whose books gave two, the backtest's."""
        return self._text(place).partition(TWO_IDS)[0]

    def _text(self, place: int) -> str:
        at, size = int(self.view["tid_at"][place]), int(self.view["tid_len"][place])
        return bytes(self.text[at : at + size]).decode("utf-8", "surrogatepass")

    def raw_texts(self, places: NDArray[np.int64]) -> Texts:
        """Texts as they lie, for rows that move to another shelf."""
        out = np.empty(len(places), object)
        out[:] = [self._text(p) for p in places.tolist()]
        return out

    def put(self, places: NDArray[np.int64], rows: Rows) -> None:
        """Replace rows in place; their texts stay."""
        rows["tid_at"], rows["tid_len"] = self.view["tid_at"][places], self.view["tid_len"][places]
        plain(self.view)[places] = plain(rows)
        if self._index is not None:
            if len(places) > FEW:
                self._index = None
            else:
                for p, b, l in zip(places.tolist(), rows["bkey"].tolist(), rows["lkey"].tolist(), strict=True):
                    self._index.update({k: p for k in (b, l) if k})
        self._change(places)

    def reindex(self, places: NDArray[np.int64]) -> None:
        """The rows at these places were changed in `view`."""
        self._index = None
        self._change(places)

    def _change(self, places: NDArray[np.int64]) -> None:
        self.changed.update(places[places < self.stored].tolist())

    def retext(self, place: int, text: str) -> None:
        """Give a row another text."""
        data, _ = encoded(np.array([text], object))
        self.view["tid_at"][place], self.view["tid_len"][place] = len(self.text), len(data)
        self._change(np.array([place]))
        self.text += data

    def kill(self, places: NDArray[np.int64] | int) -> None:
        spots = np.atleast_1d(places)
        self.view["flags"][spots] |= DEAD
        self._change(spots)

    def delta(self, *, lent: bool = False) -> tuple[Rows, bytes]:
        """What the store does not have yet: changed and new rows with their texts, in that order; then counted as stored. `lent`: the rows may be the
        shelf's own, to be read before it is changed; then texts begin where the first row's does.
        """
        new = self.rows[self.stored :]
        whole = not self.changed and not (new["flags"] & DEAD).any()
        if whole:
            rows = new
        else:
            fresh = self.stored + np.flatnonzero((new["flags"] & DEAD) == 0)
            rows = picked(self.view, np.concatenate([np.array(sorted(self.changed), np.int64), fresh]))
        self.stored = self.n
        self.changed.clear()
        size, at = rows["tid_len"].astype(np.int64), rows["tid_at"].astype(np.int64)
        ends = at + size
        if lent and whole and len(rows) and (at[1:] == ends[:-1]).all():
            return rows, bytes(self.text[at[0] : ends[-1]])
        rows = picked(rows, np.arange(len(rows))) if whole else rows
        ends = np.cumsum(size)
        rows["tid_at"] = ends - size
        octets = np.frombuffer(bytes(self.text), np.uint8)
        spots = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(at - (ends - size), size)
        return rows, octets[spots].tobytes()
