"""The core's state and the store: folded from it at start, handed to it as one `Commit` a turn."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.books import Cell
from parityd.core.columns import DecisionColumns
from parityd.core.drift_feed import DriftFeed
from parityd.core.ledger import EVER, NEWEST, Entry
from parityd.core.ledger import Past as LedgerPast
from parityd.core.monitor import Monitor
from parityd.core.parameters import Parameters
from parityd.core.rebuild import Piece, Rebuilder
from parityd.core.rows import SHELF_NS, Shelf
from parityd.core.shelves import Slack
from parityd.core.strategy import Memory, Strategy
from parityd.core.terms import Names
from parityd.core.verdicts import Standing, Verdicts
from parityd.store import Store
from parityd.store.entries import Commit

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
_pack = msgspec.msgpack.Encoder().encode
RESIDENT_DAYS = 40
MOST, LEAST = 3_000, 100  # summaries in memory: of all strategies, of each
MOST_ENTRIES, LEAST_ENTRIES = 8_000, 100  # and entries of ledgers


_Splits = tuple[dict[int, list[tuple[int, float]]], dict[int, tuple[int, int]]]


def history_of(store: Store) -> Rebuilder:
    def history(strategy: str) -> Iterator[Piece]:
        for file, fills, decisions, rare in store.records(strategy):
            yield file.book, decisions, fills, rare

    return Rebuilder(history)


def fold(store: Store, parameters: Parameters) -> Verdicts:
    """The whole state as the store holds it."""
    names = store.names()
    texts = [names[k] for k in sorted(names)] or [""]
    m = Monitor(parameters, Names(texts), store.load_shelf, history_of(store))
    if isinstance(store, Store):  # not a view of it, which cannot write
        store.index.keep(store)
    _recall(store, m)
    split = store.state("splits")
    if split:
        m.splits.table, m.splits.renamed = msgspec.msgpack.decode(split, type=_Splits)
    for sym, rank, ts, px in store.marks():
        m.marks.add(sym, rank, ts, px)
    for key, blob in store.states("strategy/").items():
        s = m.strategy(key.removeprefix("strategy/"))
        s.memory = msgspec.msgpack.decode(blob, type=Memory)
        s.books.runs = s.memory.runs
        s.books.cells = {k: Cell(*x[:4], Slack(x[4], s.memory.far.get(k, {}))) for k, x in s.memory.cells.items()}
        s.ledger.opening = s.memory.opening
        _open_ledger(store, s)
    for name in store.strategies():
        numbers = store.summary_numbers(name)
        if len(numbers):
            m.strategy(name).books.summaries.recall(partial(store.summaries_between, name), numbers)
    v_drift = {key.removeprefix("drift/"): blob for key, blob in store.states("drift/").items()}
    standing_blob = store.state("standing")
    standing = msgspec.msgpack.decode(standing_blob, type=Standing) if standing_blob else Standing()
    v = Verdicts(m, standing)
    v.past = past_decisions(store, max((s.live.watermark for s in m.strategies.values()), default=0))
    for name, blob in v_drift.items():
        if name in m.strategies:
            with suppress(ValueError):
                v.gauges_of(name).feed = DriftFeed.restore(blob)
    return v


_entry = msgspec.msgpack.Decoder(Entry).decode


def _stored_entries(store: Store, name: str) -> LedgerPast:
    def between(sym: int, first: int, last: int) -> Iterator[tuple[int, Entry]]:
        return ((number, _entry(data)) for number, data in store.ledger_between(name, sym, max(first, -EVER), min(last, EVER)))

    return between


def _open_ledger(store: Store, s: Strategy) -> None:
    """The newest entries in memory, and what all come to: as it was stored, or summed once where an older version did not."""
    spans, past = store.ledger_spans(s.name), _stored_entries(store, s.name)
    since = max((last for _, last in spans.values()), default=0) - NEWEST
    ledger, whole = s.ledger, s.memory.net
    for sym, (first, last) in spans.items():
        table = ledger.entries.setdefault(sym, {})
        total = list(ledger.opening.get(sym, (0, 0, 0, 0)))
        for number, e in past(sym, first if whole is None else since, last):
            total = [a + b for a, b in zip(total, e.q, strict=True)]
            if number >= since:
                table[number] = e
        if whole is None:
            ledger.net[sym] = total
    if whole is not None:
        ledger.net = whole
    ledger.recall(past, {sym: first for sym, (first, _) in spans.items()}, since)


def _recall(store: Store, m: Monitor) -> None:
    """Names of records and trades: the old ones stay on the disk, the newest are read."""
    index = store.index
    m.known.recall(index.records)
    m.places.recall(index.trades)
    for _, keys, contents in store.identities_after(index.records.upto):
        m.known.add(keys, contents)
    for _, keys, shelves in store.places_after(index.trades.upto):
        m.places.put_many(keys, shelves)


def put_away(store: Store, m: Monitor) -> None:
    """Right after a commit: where there are many, names of records and trades leave memory; so may the sums of shelves."""
    for s in m.strategies.values():
        s.books.summaries.recall(partial(store.summaries_between, s.name))
        s.ledger.recall(_stored_entries(store, s.name))
    if store.index.wants(len(m.known), len(m.places)) and store.index.keep(store):
        _recall(store, m)


def gather(v: Verdicts, saved_names: int) -> Commit:
    """Everything that changed since the last commit. The caller adds files, audit rows and reports."""
    m = v.m
    c = Commit()
    c.names = list(enumerate(m.names.texts))[saved_names:]
    for s in m.strategies.values():
        for number in sorted(s.books.unsaved):
            shelf: Shelf = s.books.shelf(number)
            rows, text = shelf.delta(lent=True)
            if len(rows):
                c.shelves.append((s.name, number, rows, text))
            if number in s.books.summaries:
                c.summaries.append((s.name, number, s.books.summaries[number]))
        s.books.unsaved.clear()
        s.books.summaries.trim(max(LEAST, MOST // max(1, len(v.m.strategies))))
        if s.name in v.gauges:
            v.gauges[s.name].columns.tape.note(s.ledger.changed)
        for sym, number in s.ledger.changed:
            entry = s.ledger.entries.get(sym, {}).get(number)
            if entry is not None:
                c.ledgers.append((s.name, sym, number, _pack(entry)))
        s.ledger.changed.clear()
        s.ledger.trim(max(LEAST_ENTRIES, MOST_ENTRIES // max(1, len(v.m.strategies))))
        s.memory.cells = {k: (x.ids_shared, x.idless, x.backtest, x.live, x.slack.near) for k, x in s.books.cells.items()}
        s.memory.far = {k: x.slack.far for k, x in s.books.cells.items() if x.slack.far}
        s.memory.opening, s.memory.net = s.ledger.opening, s.ledger.net
        blob = _pack(s.memory)
        if v.saved.get(s.name) != blob:
            c.states[f"strategy/{s.name}"] = v.saved[s.name] = blob
    c.marks += merged(m.new_marks)
    m.new_marks = []
    split = _pack((m.splits.table, m.splits.renamed))
    if (m.splits.table or m.splits.renamed) and v.saved.get("/splits") != split:
        c.states["splits"] = v.saved["/splits"] = split
    standing = _pack(v.standing)
    if v.saved.get("/standing") != standing:
        c.states["standing"] = v.saved["/standing"] = standing
    return c


def merged(points: list[tuple[int, int, I64, F64]]) -> list[tuple[int, int, I64, F64]]:
    """Points of a turn, one entry a symbol and rank."""
    together: dict[tuple[int, int], list[tuple[I64, F64]]] = {}
    for sym, rank, ts, px in points:
        together.setdefault((sym, rank), []).append((ts, px))
    return [
        (sym, rank, *parts[0])
        if len(parts) == 1
        else (sym, rank, np.concatenate([t for t, _ in parts]), np.concatenate([p for _, p in parts]))
        for (sym, rank), parts in together.items()
    ]


DRIFT_EVERY_NS = 3600 * 1_000_000_000


def keep_drift(v: Verdicts, c: Commit, now: int, *, every: int = DRIFT_EVERY_NS) -> None:
    """The drift streams' state, now and then: what came later is read again from the rows."""
    for name, g in v.gauges.items():
        if g.feed.changed and now - g.saved_ns >= every:
            c.states[f"drift/{name}"] = g.feed.state()
            g.saved_ns = now


def past_decisions(store: Store, now: int) -> Callable[[str], Iterator[tuple[str, DecisionColumns]]]:
    """Stored decisions of the last 31 days."""

    def past(strategy: str) -> Iterator[tuple[str, DecisionColumns]]:
        for file, _, decisions, _ in store.records(strategy, now - 31 * 86_400 * 1_000_000_000, now + 86_400 * 1_000_000_000):
            if decisions is not None:
                yield file.book, decisions

    return past


def oldest_shelf(now: int) -> int:
    return int(now // SHELF_NS) - RESIDENT_DAYS * 96


__all__ = ["fold", "gather", "history_of", "np", "oldest_shelf"]
