"""Runs of a backtest: which records a newer run has replaced (JUDGEMENT 1).

1. Of two runs the one created later is newer, of two created at once the one with the greater id; records outside any run are of the oldest.
2. A record of the backtest is superseded where its time lies in [start, end) of a newer run of its strategy (and symbol).
3. What a row still holds of superseded records is taken off; where only a part of it is superseded the trade is made anew.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core.books import Books, RunSpan
from parityd.core.executions import name_of_side
from parityd.core.hashing import U64
from parityd.core.instants import parse_time
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, NO_TS, Line, Run
from parityd.core.rows import B_FILLS, B_SAID, DEAD, MIXED, Rows
from parityd.core.shelves import Slack
from parityd.core.terms import Names, canonical

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


def span_of(record: Run, created: int, parameters: Parameters) -> RunSpan:
    symbol = canonical(record.symbol, parameters) if record.symbol else ""
    return RunSpan(str(record.run_id), created, parse_time(record.from_), parse_time(record.to), symbol)


def superseded(runs: Sequence[RunSpan], symbols: Sequence[str], which: I64, ts: I64, run_id: Sequence[str]) -> Mask:
    """Which records newer runs replace. `symbols`: canonical names, `which`: each record's place among them."""
    gone = np.zeros(len(ts), np.bool_)
    if not runs or len(ts) == 0:
        return gone
    rank = {r.run_id: k for k, r in enumerate(sorted(runs, key=_rank))}
    known = dict.fromkeys(run_id)
    own = (
        np.fromiter(map({x: rank.get(x, -1) for x in known}.__getitem__, run_id), np.int64, len(ts))
        if len(known) > 1
        else rank.get(run_id[0], -1)
    )
    for run in runs:
        covers = np.array([run.symbol in ("", s) for s in symbols], np.bool_)
        gone |= covers[which] & (own < rank[run.run_id]) & (ts >= run.start) & (ts < run.end)
    return gone


def _rank(run: RunSpan) -> tuple[int, str]:
    return run.created, run.run_id


def created_of(runs: Sequence[RunSpan], run_id: Sequence[str]) -> I64:
    """When each record's run was created, NO_TS outside any."""
    if not runs:
        return np.full(len(run_id), NO_TS)
    table = {r.run_id: r.created for r in sorted(runs, key=_rank)}
    return np.fromiter((table.get(x, NO_TS) for x in run_id), np.int64, len(run_id))


def run_of_file(lines: Sequence[Line], strategy: str, *columns: Sequence[str]) -> str:
    """The run that a file's records belong to, by the run that it announces, else by its columns' run ids; "" for none."""
    for line in lines:
        if isinstance(line.record, Run) and line.record.strategy == strategy:
            return str(line.record.run_id)
    return next((x for ids in columns for x in dict.fromkeys(ids) if x), "")


def announced(lines: Iterable[Line]) -> dict[str, str]:
    """The run that a file announces, by strategy; of several the first."""
    out: dict[str, str] = {}
    for line in lines:
        if isinstance(line.record, Run):
            out.setdefault(line.record.strategy, str(line.record.run_id))
    return out


def strip(books: Books, names: Names, run: RunSpan) -> tuple[Rows, set[int]]:
    """Take off the rows what a newly announced run replaces: (the backtest sides taken off, names of trades of which only a part is replaced)."""
    taken: list[U64] = []
    partly: set[int] = set()
    sym = names.codes.get(run.symbol, -1) if run.symbol else None
    slacks = [Slack(), *(c.slack for k, c in books.cells.items() if sym in (None, k))]
    for number in sorted({k for slack in slacks for k in books.numbers_near(run.start, run.end - 1, slack)}):
        r = books.shelf(number).rows
        older = ((r["flags"] & DEAD) == 0) & (r["bkey"] != 0) & (r["b_run"] <= run.created)
        rows = r[older if sym is None else older & (r["sym"] == sym)]
        any_in, all_in = _inside(rows, run)
        sure = all_in & (rows["b_run"] < run.created) & ((rows["flags"] & MIXED) == 0)
        taken.append(rows["bkey"][sure].copy())
        partly.update(base_name(row) for row in rows[any_in & ~sure])
    gone: U64 = np.unique(np.concatenate(taken or [np.zeros(0, np.uint64)]))
    return books.strip(gone, BACKTEST), partly


def _inside(rows: Rows, run: RunSpan) -> tuple[Mask, Mask]:
    """Whether any, and whether all, of a row's backtest records lie in the run."""
    said, filled = (rows["flags"] & B_SAID) != 0, (rows["flags"] & B_FILLS) != 0
    any_in, all_in = np.zeros(len(rows), np.bool_), np.ones(len(rows), np.bool_)
    for f, counts in (("b_ts", said), ("b_first", filled), ("b_last", filled), ("b_sub", rows["b_sub"] != NO_TS)):
        inside = (rows[f] >= run.start) & (rows[f] < run.end)
        any_in |= inside & counts
        all_in &= inside | ~counts
    around = filled & (rows["b_first"] < run.start) & (rows["b_last"] >= run.end)
    return any_in | around, all_in & any_in


def base_name(row: np.void) -> int:
    """The name under which the records of a backtest side are found: of several executions of one id, the first one's."""
    return name_of_side(int(row["b_trade"]), int(row["side"])) if row["b_trade"] else int(row["bkey"])
