"""The two sides of a row: taken off, put on, added to (JUDGEMENT 2: executions).

1. Sums add, times take the earliest, a decision's own time and mark overrule what fills say of them.
2. Fills of the backtest overrule the simulated execution of their decision, in whichever order they come; what was overruled is told.
3. Whole arrays at once; nothing here knows of shelves, names or pairs.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import (
    B_FIELDS,
    B_FILLS,
    B_ID,
    B_SAID,
    BY_ID,
    BY_NONE,
    L_FIELDS,
    L_ID,
    L_SAID,
    MAKER,
    MIXED,
    Rows,
    blank,
)  # fmt: skip

if TYPE_CHECKING:
    from parityd.core.fresh import Fresh

SIDE_FIELDS = {BACKTEST: B_FIELDS, LIVE: L_FIELDS}
KEY = {BACKTEST: "bkey", LIVE: "lkey"}
TRADE = {BACKTEST: "b_trade", LIVE: "l_trade"}
OTHER = {BACKTEST: LIVE, LIVE: BACKTEST}
OWN_FLAGS = {BACKTEST: np.uint16(B_FILLS | B_ID | B_SAID | MIXED), LIVE: np.uint16(L_ID | L_SAID | MAKER)}
ORDER_FIELDS = ("parent", "link")
Mask = NDArray[np.bool_]


def executed(rows: "Rows | Fresh", book: str) -> Mask:
    """Rows with an execution of this book."""
    out: Mask = (rows[KEY[book]] != 0) & (rows["b_q" if book == BACKTEST else "l_q"] > 0)
    return out


def nameless(rows: "Rows | Fresh", book: str) -> Mask:
    """Rows with an execution of this book without a trade id."""
    out: Mask = ((rows["flags"] & np.uint16(B_ID if book == BACKTEST else L_ID)) == 0) & executed(rows, book)
    return out


class Presence(NamedTuple):
    """What rows of one symbol hold: executions of each book, one without an id, a pair by id; how far an execution's times lie apart, at most (ns)."""

    backtest: bool
    live: bool
    idless: bool
    by_id: bool
    near: int


def presences(
    rows: "Rows | Fresh", order: NDArray[np.int64], starts: NDArray[np.int64], near: NDArray[np.int64], odd: Mask
) -> list[Presence]:
    """Of each part of the rows in this order; a part begins at each of `starts`. `near` and `odd` (no id), in this order, as `distances` and `nameless`."""
    b, l = executed(rows, BACKTEST)[order], executed(rows, LIVE)[order]
    any_of = (np.logical_or.reduceat(x, starts).tolist() for x in (b, l, odd, (rows["how"] == BY_ID)[order]))
    apart = np.maximum.reduceat(np.where(b | l, near, 0), starts).tolist()
    return [Presence(*one) for one in zip(*any_of, apart, strict=True)]


def trades(rows: "Rows | Fresh") -> NDArray[np.uint64]:
    """The trade id's hash of rows of one trade (not of pairs by time), 0 without."""
    return np.where(rows["b_trade"] != 0, rows["b_trade"], rows["l_trade"])


def taken_off(rows: "Rows | Fresh", book: str) -> Rows:
    """One book's side alone, as rows of their own (not yet derived)."""
    out = blank(len(rows))
    for f in ("sym", "ccy", "side", *ORDER_FIELDS, KEY[book], *SIDE_FIELDS[book]):
        out[f] = rows[f]
    out["flags"] = rows["flags"] & OWN_FLAGS[book]
    out["pk"] = out[KEY[book]]
    return out


def clear(rows: Rows, book: str) -> None:
    """Empty this book's side, in place."""
    empty = blank(1)
    for f in (KEY[book], *SIDE_FIELDS[book]):
        rows[f] = empty[f]
    rows["flags"] &= ~OWN_FLAGS[book]
    rows["how"] = BY_NONE


def put_on(rows: Rows, new: "Rows | Fresh", book: str) -> None:
    """Give rows that lack this book's side the one of `new`; joined by id where both are executions of one name."""
    for f in (KEY[book], *SIDE_FIELDS[book]):
        rows[f] = new[f]
    rows["flags"] |= new["flags"] & OWN_FLAGS[book]
    own, other = (new["ccy"], rows["ccy"]) if book == LIVE else (rows["ccy"], new["ccy"])
    rows["ccy"] = np.where(own != 0, own, other)
    _common(rows, new)


def _common(rows: Rows, new: "Rows | Fresh") -> None:
    rows["side"] = np.where(rows["side"] == 0, new["side"], rows["side"])
    for f in ORDER_FIELDS:
        rows[f] = np.where(rows[f] == 0, new[f], rows[f])
    both = (rows["b_q"] > 0) & (rows["l_q"] > 0) & (rows["bkey"] != 0) & (rows["lkey"] != 0)
    rows["how"] = np.where(both, BY_ID, BY_NONE)


def add(rows: Rows, new: "Rows | Fresh", book: str) -> Rows:
    """More of the same executions, in place. Returns the decisions' executions that fills overruled, as rows of their own."""
    overruled = _add_backtest(rows, new) if book == BACKTEST else _add_live(rows, new)
    rows["flags"] |= new["flags"] & OWN_FLAGS[book] & ~np.uint16(MAKER)
    rows[TRADE[book]] = np.where(rows[TRADE[book]] == 0, new[TRADE[book]], rows[TRADE[book]])
    rows["ccy"] = np.where(rows["ccy"] == 0, new["ccy"], rows["ccy"])
    _common(rows, new)
    return overruled


def without_execution(rows: Rows) -> None:
    """The backtest's simulated execution is taken back, its decision stays, in place."""
    empty = blank(1)
    for f in ("b_first", "b_last", "b_q", "b_not", "b_fee", "b_mq", "b_unp"):
        rows[f] = empty[f]
    rows["how"] = BY_NONE


def _add_backtest(rows: Rows, new: "Rows | Fresh") -> Rows:
    _runs(rows, new)
    had, more = (rows["flags"] & B_FILLS) != 0, (new["flags"] & B_FILLS) != 0
    lost = more & ~had & (rows["b_q"] > 0)
    vain = had & ~more & (new["b_q"] > 0)
    overruled = np.concatenate([taken_off(rows[lost], BACKTEST), taken_off(new[vain], BACKTEST)])
    alike, instead = had == more, more & ~had
    for f in ("b_q", "b_not", "b_fee", "b_mq", "b_unp"):
        rows[f] = np.where(alike, rows[f] + new[f], np.where(instead, new[f], rows[f]))
    for f, first in (("b_first", True), ("b_last", False)):
        both = least(rows[f], new[f]) if first else np.maximum(rows[f], new[f])
        rows[f] = np.where(alike, both, np.where(instead, new[f], rows[f]))
    rows["b_ts"] = _said(rows, new, "b_ts", B_SAID)
    rows["b_sub"] = least(rows["b_sub"], new["b_sub"])
    rows["b_mark"] = np.where(np.isnan(rows["b_mark"]), new["b_mark"], rows["b_mark"])
    return overruled


def _runs(rows: Rows, new: "Rows | Fresh") -> None:
    """The oldest run that a row has records of, and whether there are several."""
    had, more = (rows["flags"] & (B_FILLS | B_SAID)) != 0, (new["flags"] & (B_FILLS | B_SAID)) != 0
    mixed = had & more & (rows["b_run"] != new["b_run"])
    rows["flags"] |= np.where(mixed, MIXED, 0).astype(np.uint16)
    rows["b_run"] = np.where(had & more, np.minimum(rows["b_run"], new["b_run"]), np.where(more, new["b_run"], rows["b_run"]))


def _add_live(rows: Rows, new: "Rows | Fresh") -> Rows:
    had, more = rows["l_q"] > 0, new["l_q"] > 0
    only_makers = np.where(had & more, rows["flags"] & new["flags"], np.where(more, new["flags"], rows["flags"])) & np.uint16(MAKER)
    for f in ("l_q", "l_not", "l_fee", "l_mq", "l_mu", "l_aq", "l_tq", "l_unp", "l_n"):
        rows[f] += new[f]
    rows["l_dts"] = _said(rows, new, "l_dts", L_SAID)
    rows["l_sub"], rows["l_first"] = least(rows["l_sub"], new["l_sub"]), least(rows["l_first"], new["l_first"])
    rows["l_last"] = np.maximum(rows["l_last"], new["l_last"])
    rows["l_wait"] = np.fmax(rows["l_wait"], new["l_wait"])
    rows["l_dm"] = np.where(np.isnan(rows["l_dm"]), new["l_dm"], rows["l_dm"])
    rows["flags"] = (rows["flags"] & ~np.uint16(MAKER)) | only_makers
    return blank(0)


def _said(rows: Rows, new: "Rows | Fresh", field: str, flag: int) -> NDArray[np.int64]:
    """The decision time: a decision's own before one that fills name, of equals the earliest."""
    own, other = (rows["flags"] & flag) != 0, (new["flags"] & flag) != 0
    return np.where(own == other, least(rows[field], new[field]), np.where(own, rows[field], new[field]))


def least(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The earlier of two times, NO_TS being none."""
    return np.where(a == NO_TS, b, np.where(b == NO_TS, a, np.minimum(a, b)))
