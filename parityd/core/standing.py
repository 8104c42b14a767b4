"""Which records stand: not taken back by a bust, not replaced by a newer run (CONTRACT 2, JUDGEMENT 1)."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.books import RunSpan
from parityd.core.columns import HOLD, DecisionColumns, FillColumns
from parityd.core.executions import Executions, by_side
from parityd.core.fresh import Fresh
from parityd.core.hashing import U64, mix, seed
from parityd.core.identities import ANY, fill_key, keys_of_any
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE, NO_TS, Bust
from parityd.core.rows import MIXED, Rows
from parityd.core.runs import created_of, superseded
from parityd.core.sides import trades
from parityd.core.strategy import Strategy
from parityd.core.terms import Instruments, canonical

Mask = NDArray[np.bool_]
Columns = DecisionColumns | FillColumns


def bust_keys(book: str, record: Bust, parameters: Parameters) -> list[int]:
    """The keys that the busted fill can have, outside any run, under every name of its symbol; an account or venue that is not named is any."""
    name = canonical(record.symbol, parameters)
    symbols = {record.symbol, name, *(k for k, terms in parameters.symbols.items() if terms.alias == name)}
    accounts, venues = ((str(named),) if named not in ("", None) else ("", ANY) for named in (record.account, record.venue))
    return [
        fill_key(book, record.strategy, symbol, str(record.fill_id), account, venue)
        for symbol, account, venue in product(sorted(symbols), accounts, venues)
    ]


def busted(s: Strategy, book: str, c: FillColumns, *, only: Iterable[int] | None = None, but: Iterable[tuple[str, int]] = ()) -> Mask:
    """Fills that were taken back, be they of a run; `only`: by these keys; `but`: by others than these (book, key)."""
    left_out = {k for b, k in but if b == book}
    keys = {k for k in (s.memory.busted if only is None else only) if k not in left_out}
    if not keys:
        return np.zeros(len(c), np.bool_)
    plain = np.fromiter(keys, np.uint64, len(keys))
    every = [plain, *(mix(plain, seed(run)) for run in dict.fromkeys(c.run_id) if run)]
    hit: Mask = np.isin(c.key, np.concatenate(every))
    for alike in keys_of_any(book, c) if c.account.some() or c.venue.some() else ():
        hit |= np.isin(alike, plain)
    return hit


def replaced_by(instruments: Instruments, book: str, c: Columns, runs: Sequence[RunSpan]) -> Mask:
    """Records of one strategy that these runs replace."""
    if book != BACKTEST or not runs or len(c) == 0:
        return np.zeros(len(c), np.bool_)
    names = {owners.name(o): instruments.pair(book, *owners.name(o)).symbol for o in owners.distinct(c.owner)}
    symbols = list(dict.fromkeys(names.values()))
    which = owners.looked_up(c.owner, lambda strategy, symbol: symbols.index(names[strategy, symbol]), np.int64)
    return superseded(runs, symbols, which, c.ts, c.run_id)


def replaced(instruments: Instruments, s: Strategy, book: str, c: Columns) -> Mask:
    """Records of this strategy that newer runs replace."""
    return replaced_by(instruments, book, c, s.books.runs)


def give_runs(s: Strategy, e: Executions, run_id: Sequence[str], own: Mask | None = None) -> None:
    """Give backtest rows of one strategy the creation time of their run, the oldest where they have records of several. `own`: which of the
    records are the strategy's, None = all.
    """
    rows = e.fresh
    if e.book == LIVE or not s.books.runs or not len(rows):
        return
    mine = np.ones(len(e.fill_name), np.bool_) if own is None else own
    created = np.full(len(mine), NO_TS)
    created[mine] = created_of(s.books.runs, [run_id[i] for i in np.flatnonzero(mine).tolist()])
    if "b_run" not in rows.columns:
        rows["b_run"] = NO_TS
    run, w = rows["b_run"], mine[e.lead]
    run[w] = created[e.lead[w]]
    if len(e.fill_name) == len(rows) or len(np.unique(created[mine])) == 1:
        return
    order = np.argsort(rows["bkey"], kind="stable")
    at = order[np.minimum(np.searchsorted(rows["bkey"][order], e.fill_name), len(order) - 1)]
    newest, known = run.copy(), mine & (rows["bkey"][at] == e.fill_name)
    np.minimum.at(run, at[known], created[known])
    np.maximum.at(newest, at[known], created[known])
    rows["flags"] |= np.where(newest != run, MIXED, 0).astype(np.uint16)


def carried_out(book: str, d: DecisionColumns) -> Mask:
    """Decisions that the backtest executed (as far as no fills say otherwise)."""
    done = (d.action != HOLD) & ~np.isnan(d.quantity) & ~np.isnan(d.price) & (d.filled != 0) & (d.side != 0)
    return done if book == BACKTEST else np.zeros(len(d), np.bool_)


def opposites(rows: Rows | Fresh) -> U64:
    """The names of the same trades on the other side."""
    trade = trades(rows)
    w = trade != 0
    return by_side(trade[w], -rows["side"][w])
