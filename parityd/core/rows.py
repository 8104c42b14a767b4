"""Trades as rows, rows in shelves of 15 minutes: the one shape in which executions of two books are kept.

1. A row is one trade: a backtest side, a live side, or both (or neither yet: a decision or an order whose fills may still come). It lies on the shelf (15 minutes) of its trade time: the backtest decision,
   else the first backtest fill, else the first live fill.
2. Base columns are what the records said (sums over fills, so that more fills add); derived columns are functions of them (`attribution`).
3. A shelf knows which rows changed since they were stored; a removed row is stored as a tombstone (both keys kept, DEAD set).
4. `pk` is the name a row was made under and stays with it; of stored pieces with one pk the last stands.
5. Keys are execution keys (64-bit names). A row joined by time has two different ones, a row joined by id has one in both places.
"""

import numpy as np
from numpy.typing import NDArray

from parityd.core.records import NO_TS

SHELF_NS = 900 * 1_000_000_000

ROW = np.dtype([
    ("bkey", "u8"), ("lkey", "u8"), ("t", "i8"), ("sym", "i4"), ("ccy", "i4"), ("tid_at", "u4"), ("tid_len", "u2"), ("unpriced", "u2"),
    ("side", "i1"), ("how", "i1"), ("flags", "u2"), ("n_fills", "u4"), ("part_of", "u8"), ("pk", "u8"),
    # backtest side, as the records gave it (the full backtest; `alpha` makes it the allowed one)
    ("b_ts", "i8"), ("b_sub", "i8"), ("b_first", "i8"), ("b_q", "f8"), ("b_not", "f8"), ("b_fee", "f8"), ("b_mark", "f8"), ("b_run", "i8"), ("alpha", "f8"),
    # live side: sums over fills, quantity-weighted
    ("l_dts", "i8"), ("l_sub", "i8"), ("l_first", "i8"), ("l_last", "i8"), ("l_q", "f8"), ("l_not", "f8"), ("l_fee", "f8"),
    ("l_mq", "f8"), ("l_aq", "f8"), ("l_tq", "f8"), ("l_dm", "f8"), ("latency", "f8"),
    # derived (attribution.derive)
    ("d", "f8"), ("n", "f8"), ("x", "f8"), ("ln", "f8"), ("fee_bps", "f8"), ("timing_ms", "f8"),
    ("data", "f8"), ("timing", "f8"), ("slip", "f8"), ("impact", "f8"), ("fee", "f8"), ("oa", "f8"), ("ob", "f8"), ("own", "f8"),
])  # fmt: skip

Rows = NDArray[np.void]

# flags
DEAD, PART, SUSPECT, AMBIGUOUS, SUPPRESSED, OLD, B_FILLS, B_ID, L_ID, SLIP_ALONE, TIMING_ALONE, HAS_PARTS, MAKER = (
    1 << k for k in range(13)
)
BY_NONE, BY_ID, BY_DECISION, BY_FILL = 0, 1, 2, 3
HOW = {BY_ID: "id", BY_DECISION: "decision", BY_FILL: "fill"}
B_FIELDS = ("b_ts", "b_sub", "b_first", "b_q", "b_not", "b_fee", "b_mark", "b_run", "alpha")
L_FIELDS = (
    "l_dts",
    "l_sub",
    "l_first",
    "l_last",
    "l_q",
    "l_not",
    "l_fee",
    "l_mq",
    "l_aq",
    "l_tq",
    "l_dm",
    "latency",
    "unpriced",
    "n_fills",
)
TIMES = ("b_ts", "b_sub", "b_first", "l_dts", "l_sub", "l_first", "l_last", "t")
DERIVED = ("d", "n", "x", "ln", "fee_bps", "timing_ms", "data", "timing", "slip", "impact", "fee", "oa", "ob", "own")


def blank(n: int) -> Rows:
    """N rows with nothing in them: times NO_TS, quantities 0, marks NaN."""
    rows = np.zeros(n, ROW)
    for f in TIMES:
        rows[f] = NO_TS
    rows["b_mark"] = rows["latency"] = rows["l_dm"] = np.nan
    rows["b_run"] = NO_TS
    rows["alpha"] = 1.0
    return rows


def trade_time(rows: Rows) -> NDArray[np.int64]:
    """The time that says to which day a trade belongs."""
    t = np.full(len(rows), NO_TS)
    for name in ("l_sub", "l_dts", "l_first", "b_sub", "b_first", "b_ts"):  # the last that is known wins
        t = np.where(rows[name] != NO_TS, rows[name], t)
    return t


def shelf_of(t: int) -> int:
    return int(t) // SHELF_NS


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

    def append(self, rows: Rows, texts: list[str]) -> None:
        """Add rows; `texts` are their trade ids ("" where they have none)."""
        self._reserve(len(rows))
        at = self.n
        self.view[at : at + len(rows)] = rows
        encoded = [x.encode("utf-8", "surrogatepass")[:1024] for x in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self.view["tid_len"][at : at + len(rows)] = lengths
        self.view["tid_at"][at : at + len(rows)] = len(self.text) + np.cumsum(lengths) - lengths
        self.text += b"".join(encoded)
        self.n += len(rows)

    def _reserve(self, more: int) -> None:
        if self.n + more > len(self.view):
            bigger = np.zeros(max(8, self.n + more, min(self.n * 2, self.n + 4096)), ROW)
            bigger[: self.n] = self.view[: self.n]
            self.view = bigger

    def find(self, key: int) -> int:
        """The place of the living row with this key (either side's), or -1."""
        if self._index is None:
            self._index = {}
            self.index_upto = 0
        if self.index_upto < self.n:
            part = self.view[self.index_upto : self.n]
            alive = (part["flags"] & DEAD) == 0
            for name in ("bkey", "lkey"):
                for k, p in zip(part[name][alive].tolist(), (np.flatnonzero(alive) + self.index_upto).tolist(), strict=True):
                    if k:
                        self._index[k] = p
            self.index_upto = self.n
        return self._index.get(key, -1)

    def text_of(self, place: int) -> str:
        row = self.view[place]
        at = int(row["tid_at"])
        return bytes(self.text[at : at + int(row["tid_len"])]).decode("utf-8", "surrogatepass")

    def reindex(self, places: NDArray[np.int64]) -> None:
        """The rows at these places were changed in `view`."""
        for p in places.tolist():
            if self._index is not None:
                for k in (int(self.view["bkey"][p]), int(self.view["lkey"][p])):
                    if k:
                        self._index[k] = p
            if p < self.stored:
                self.changed.add(p)

    def retext(self, place: int, text: str) -> None:
        """Give a row another trade id."""
        data = text.encode("utf-8", "surrogatepass")[:1024]
        self.view["tid_at"][place], self.view["tid_len"][place] = len(self.text), len(data)
        self.text += data

    def kill(self, place: int) -> None:
        row = self.view[place]
        if self._index is not None:
            for k in (int(row["bkey"]), int(row["lkey"])):
                if self._index.get(k) == place:
                    del self._index[k]
        self.view["flags"][place] |= DEAD
        if place < self.stored:
            self.changed.add(place)

    def delta(self) -> tuple[Rows, bytes]:
        """What the store does not have yet: changed and new rows with their texts; then counted as stored."""
        places = np.array([*sorted(self.changed), *range(self.stored, self.n)], np.int64)
        rows = self.view[places].copy()
        texts = [bytes(self.text[int(r["tid_at"]) : int(r["tid_at"]) + int(r["tid_len"])]) for r in rows]
        rows["tid_at"] = np.cumsum(rows["tid_len"].astype(np.int64)) - rows["tid_len"]
        self.stored = self.n
        self.changed.clear()
        return rows, b"".join(texts)


def fold_deltas(number: int, deltas: list[tuple[Rows, bytes]]) -> Shelf:
    """Stored pieces in their order -> the shelf; of equal rows the last stands, tombstones go."""
    if not deltas:
        return Shelf(number)
    base = np.cumsum([0, *[len(t) for _, t in deltas]])
    parts = []
    for (rows, _), at in zip(deltas, base, strict=False):
        moved = rows.copy()
        moved["tid_at"] += at
        parts.append(moved)
    rows = np.concatenate(parts)
    text = b"".join(t for _, t in deltas)
    if len(deltas) > 1:
        seen: dict[int, int] = {}
        keep = np.ones(len(rows), np.bool_)
        for i, k in enumerate(rows["pk"].tolist()):
            if k in seen:
                keep[seen[k]] = False
            seen[k] = i
        rows = rows[keep]
    rows = rows[(rows["flags"] & DEAD) == 0]
    return Shelf(number, rows, text)
