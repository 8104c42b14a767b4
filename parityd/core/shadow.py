"""Shadow fills: what an engine would have done while trading is disabled; evidence for a recovery and for nothing else (JUDGEMENT 5).

1. They are kept as fills, the newest `KEPT`, and enter no ledger, measure, mark or position.
2. Judged, they are matched by the rules of all executions against the full backtest (alpha 1), less what real fills (exits) have already met.
3. Missed counts from the first shadow fill on: an engine that began late to send them has not missed what came before.
4. Books are made anew for every look, so the result is a function of the records, whatever their order, and of nothing that was kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core import pairing
from parityd.core.books import Part
from parityd.core.columns import FillColumns
from parityd.core.evidence import Evidence
from parityd.core.executions import fill_executions
from parityd.core.findings import assess
from parityd.core.index import Places
from parityd.core.judging import Judged, judge_between
from parityd.core.ladder_recovery import Trial
from parityd.core.orders import resolved
from parityd.core.records import LIVE, NO_TS
from parityd.core.rows import B_FIELDS, B_FILLS, B_ID, DEAD, PART, Rows, blank
from parityd.core.standing import busted
from parityd.core.strategy import Strategy
from parityd.core.window import Settling

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

KEPT = 2000
ENDLESS = 2**62


class Stored(msgspec.Struct, array_like=True):
    """Fills as bytes: columns of numbers as (type, bytes), columns of text."""

    numbers: dict[str, tuple[str, bytes]]
    texts: dict[str, list[str]]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Stored).decode


def absorb(s: Strategy, c: FillColumns) -> None:
    """Keep shadow fills of one strategy."""
    before = kept(s)
    both = c if before is None else FillColumns.joined([before, c])
    s.memory.shadow_fills += len(c)
    s.memory.shadow = _dump(both.take(np.lexsort((both.key, both.ts))[-KEPT:]))


def kept(s: Strategy) -> FillColumns | None:
    """The shadow fills that are remembered, by time."""
    if not s.memory.shadow:
        return None
    stored = _unpack(s.memory.shadow)
    columns: dict[str, Any] = {name: np.frombuffer(data, np.dtype(kind)) for name, (kind, data) in stored.numbers.items()}
    columns |= stored.texts
    return FillColumns.of(columns)


def _dump(c: FillColumns) -> bytes:
    columns = {name: getattr(c, name) for name in c.names()}
    numbers = {name: (v.dtype.str, v.tobytes()) for name, v in columns.items() if isinstance(v, np.ndarray)}
    return _pack(Stored(numbers, {name: list(v) for name, v in columns.items() if name not in numbers}))


def evidence(m: Monitor, s: Strategy, since_ns: int, until: Settling, end_ns: int = ENDLESS) -> Evidence | None:
    """What the shadow fills after `since_ns` (until `end_ns`) say, as evidence; None where there are none."""
    judged = judge(m, s, since_ns, until, end_ns)
    return None if judged is None else judged.evidence


def trial(m: Monitor, s: Strategy, since_ns: int, until: Settling) -> Trial | None:
    """What a recovery from DISABLE_TRADING is judged on; `since_ns`: when that rung was reached."""
    found = evidence(m, s, since_ns, until)
    return None if found is None else Trial(assessment=assess(found, m.parameters.of(s.name)), fresh=found.settled)


def judge(m: Monitor, s: Strategy, since_ns: int, until: Settling, end_ns: int = ENDLESS) -> Judged | None:
    """Shadow executions and the full backtest's, matched and measured."""
    c = kept(s)
    c = None if c is None else _standing(s, c, since_ns)
    if c is None or not len(c):
        return None
    paper = Strategy(s.name, m.parameters, Places(), lambda _s, _n: None, m.splits)
    paper.memory.pulses = s.memory.pulses
    far = paper.books.far_ns()
    live = _live(m, s, c)
    paper.books.absorb(_backtest(s, since_ns - far, end_ns), live)
    pairing.settle(paper.books)
    paper.books.refresh()
    first = min((int(r["t"][mine].min()) for r, mine in _filled(paper) if mine.any()), default=None)
    return None if first is None else judge_between(paper, m.parameters, until, max(since_ns + 1, first), end_ns)


def _standing(s: Strategy, c: FillColumns, since_ns: int) -> FillColumns:
    return c.take((c.ts > since_ns) & ~busted(s, LIVE, c))


def _live(m: Monitor, s: Strategy, c: FillColumns) -> Part:
    """The shadow fills' executions, with the submission of their orders where that is known."""
    e = fill_executions(LIVE, c, m.instruments, m.prices.fees)
    e.rows["lkey"] = np.where(e.rows["l_trade"] == 0, resolved(s.books, e.rows["lkey"]), e.rows["lkey"])
    for row in e.rows:
        found = s.books.locate(int(row["lkey"]))
        if found is not None:
            told = found[0].view[found[1]]
            for f in ("l_sub", "l_dts"):
                row[f] = told[f] if row[f] == NO_TS else row[f]
            row["l_dm"] = told["l_dm"] if np.isnan(row["l_dm"]) else row["l_dm"]
    return e.rows, e.texts


def _backtest(s: Strategy, start: int, end: int) -> Part:
    """The full backtest's executions that no real fill has met."""
    rows: list[Rows] = []
    texts: list[str] = []
    for shelf, places in s.books.rows_between(start, end):
        r = shelf.rows[places]
        open_ = places[(r["bkey"] != 0) & (r["b_q"] > 0) & (r["l_q"] == 0) & ((r["flags"] & PART) == 0)]
        alone = blank(len(open_))
        for f in ("sym", "ccy", "side", "bkey", *B_FIELDS):
            alone[f] = shelf.rows[f][open_]
        alone["alpha"] = 1.0
        alone["flags"] = shelf.rows["flags"][open_] & np.uint16(B_FILLS | B_ID)
        rows.append(alone)
        texts += [shelf.text_of(p) for p in open_.tolist()]
    return (np.concatenate(rows) if rows else blank(0)), texts


def _filled(paper: Strategy) -> list[tuple[Rows, NDArray[np.bool_]]]:
    return [(shelf.rows, ((shelf.rows["flags"] & DEAD) == 0) & (shelf.rows["l_q"] > 0)) for shelf in paper.books.shelves.values()]
