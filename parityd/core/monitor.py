"""The whole state, sans I/O: batches of records go in, and every room of the core learns of them.

1. `apply` takes the files of one turn; what it returns is everything that must be stored of them. It reads no clock.
2. A record that belongs to something rare (a bust, several decisions of one id) sends the trade concerned through `rebuild`: its records are
   fetched from history and its rows made anew, so that the rare case cannot drift from the common one.
3. All state is reachable from here and restorable: `Memory` a strategy, shelves, ledgers, marks, names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from parityd.core import allowed, observed, pairing, shadow
from parityd.core.books import Part, RunSpan
from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.executions import Executions, Postings, decision_executions, fill_executions, order_names
from parityd.core.index import Known, Places
from parityd.core.instants import parse_time
from parityd.core.intake import Counted, FileBatch, take
from parityd.core.ledger import ALLOWED, BOOK
from parityd.core.marks import BACKTEST_MARK, LIVE_MARK, TRADED, TRADED_LIVE, Marks
from parityd.core.parameters import Parameters
from parityd.core.rebuild import Rebuilder
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS, Line, Mark, Order, Run
from parityd.core.rows import B_FILLS, Rows, Shelf, trade_time
from parityd.core.said import hear
from parityd.core.strategy import Strategy
from parityd.core.terms import Instruments, Names, canonical

IMPORTED_NS = 7 * 86_400 * 1_000_000_000
MOST_ROWS = 200_000  # rows held in memory; older shelves are read again when they are needed


@dataclass(slots=True)
class Applied:
    """What one turn did: counts a file, and which strategies it touched."""

    counted: list[Counted]
    touched: set[str] = field(default_factory=set)


class Monitor:
    """Everything parityd knows."""

    def __init__(self, parameters: Parameters, names: Names, load: Callable[[str, int], Shelf | None], rebuilder: Rebuilder) -> None:
        self.parameters = parameters
        self.names = names
        self.load = load
        self.known = Known()
        self.places = Places()
        self.marks = Marks()
        self.instruments = Instruments(parameters, names)
        self.strategies: dict[str, Strategy] = {}
        self.rebuilder = rebuilder
        self.parents: dict[tuple[str, str, str, str], str] = {}  # what `order` records said of their parents
        self.new_marks: list[tuple[int, int, NDArray[np.int64], NDArray[np.float64]]] = []

    def strategy(self, name: str) -> Strategy:
        found = self.strategies.get(name)
        if found is None:
            found = self.strategies[name] = Strategy(name, self.parameters, self.places, self.load)
        return found

    def _may_enter(self, name: str) -> bool:
        """Whether a record of this strategy may come in; a new strategy is known from here on."""
        if name not in self.strategies and len(self.strategies) >= self.parameters.max_strategies:
            return False
        self.strategy(name)
        return True

    # --- a turn -------------------------------------------------------------------------------------------------

    def apply(self, files: list[FileBatch], now: int) -> Applied:
        """Take in the files of one turn, in their order."""
        counted: list[Counted] = []
        self.rebuilder.begin()
        for f in files:
            counted.append(take(f, self.known, self._may_enter))
        out = Applied(counted)
        for f, got in zip(files, counted, strict=True):
            self.rebuilder.see(f.book, got)
            self._rare_first(f.book, got.rare)
        self._columns(files, counted, out, now)
        for f, got in zip(files, counted, strict=True):
            for line in got.rare:
                name = hear(self, f.book, line)
                if name:
                    out.touched.add(name)
            if got.shadows is not None:
                self._shadows(got.shadows, out)
        for name in out.touched:
            s = self.strategies[name]
            self.rebuilder.run(self, s)
            observed.settle(self, s, now)
            pairing.settle(s.books)
            if allowed.settle(s, self.parameters):
                pairing.settle(s.books)
            s.books.refresh()
            s.books.evict(max(20_000, MOST_ROWS // max(1, len(self.strategies))))
        return out

    def _rare_first(self, book: str, lines: list[Line]) -> None:
        """Runs and marks come before executions: the one says which of these count, the other prices their fees."""
        marks: dict[int, tuple[list[int], list[float]]] = {}
        for line in lines:
            record = line.record
            if isinstance(record, Run) and book == BACKTEST:
                self._run(record, line.ts)
            elif isinstance(record, Mark):
                sym = self.names.code(canonical(record.symbol, self.parameters))
                inverse = self.instruments.terms(record.symbol).inverse
                at = marks.setdefault(sym, ([], []))
                at[0].append(line.ts)
                at[1].append(1.0 / record.price if inverse else record.price)
            elif isinstance(record, Order) and record.parent_id not in ("", None):
                self.parents[book, record.strategy, record.symbol, str(record.order_id)] = str(record.parent_id)
        for sym, (ts, px) in marks.items():
            self.add_marks(sym, LIVE_MARK if book == LIVE else BACKTEST_MARK, np.array(ts, np.int64), np.array(px))

    def add_marks(self, sym: int, rank: int, ts: NDArray[np.int64], px: NDArray[np.float64]) -> None:
        self.marks.add(sym, rank, ts, px)
        self.new_marks.append((sym, rank, ts, px))

    def fee_price(self, currency: str, quote: str, t: int) -> float | None:
        """Newest mark of FEE/QUOTE at or before t."""
        for name in (f"{currency}/{quote}", f"{currency}-{quote}"):
            code = self.names.codes.get(canonical(name, self.parameters))
            if code is not None:
                price, when = self.marks.mark_only(code, t)
                if when != NO_TS:
                    return price
        return None

    # --- executions ---------------------------------------------------------------------------------------------

    def _columns(self, files: list[FileBatch], counted: list[Counted], out: Applied, now: int) -> None:
        parts: dict[str, dict[str, list[Part]]] = {}
        for book in BOOKS:
            decisions = [g.decisions for f, g in zip(files, counted, strict=True) if f.book == book and g.decisions is not None]
            fills = [g.fills for f, g in zip(files, counted, strict=True) if f.book == book and g.fills is not None]
            if decisions:
                d = DecisionColumns.joined(decisions)
                self._see(book, d.strategy, d.ts, out)
                self._note_decisions(book, d)
                self._split(book, self._kept(book, decision_executions(book, d, self.instruments), d.run_id, d.strategy), parts)
                self._mark_from(book, d.symbol, d.ts, d.mark)
            c = FillColumns.joined(fills) if fills else None
            c = None if c is None else self._unbusted(book, self.with_parents(book, c))
            if c is not None and len(c):
                self._see(book, c.strategy, c.ts, out)
                e = fill_executions(book, c, self.instruments, self.fee_price)
                if book == LIVE:
                    observed.note_fills(self, c, e)
                self._submitted(book, c, e)
                self._split(book, self._kept(book, e, c.run_id, c.strategy), parts)
                when = np.where(c.decision_ts != NO_TS, c.decision_ts, c.ts)
                self._mark_from(book, c.symbol, when, c.decision_mark)
        for name, both in parts.items():
            s = self.strategies[name]
            self._note_imported(s, both, now)
            fresh = {book: self._several(s, book, _joined(both[book])) if book in both else None for book in BOOKS}
            s.books.absorb(fresh[BACKTEST], fresh[LIVE])

    def _note_imported(self, s: Strategy, parts: dict[str, list[Part]], now: int) -> None:
        """Trades older than seven days as they come in ask for nothing (imported history)."""
        for rows, _ in (part for own in parts.values() for part in own):
            t = trade_time(rows)
            old = t[(t != NO_TS) & (t < now - IMPORTED_NS)]
            if len(old):
                s.memory.imported_until = max(s.memory.imported_until, int(old.max()))

    def _see(self, book: str, strategy: list[str], ts: NDArray[np.int64], out: Applied) -> None:
        names = dict.fromkeys(strategy)
        out.touched.update(names)
        if len(names) == 1:
            self.strategies[strategy[0]].memory.pulses[book].see(int(ts.max()))
            return
        newest: dict[str, int] = {}
        for s, t in zip(strategy, ts.tolist(), strict=True):
            if t > newest.get(s, NO_TS):
                newest[s] = t
        for s, t in newest.items():
            self.strategies[s].memory.pulses[book].see(t)

    def _note_decisions(self, book: str, d: DecisionColumns) -> None:
        for s in {s for s, a in zip(d.strategy, d.action.tolist(), strict=True) if a == 0}:
            self.strategies[s].memory.sends_holds[book] = True

    def _unbusted(self, book: str, c: FillColumns) -> FillColumns:
        busted = {k for s in dict.fromkeys(c.strategy) for k in self.strategies[s].memory.busted}
        if not busted:
            return c
        del book
        return c.take(~np.isin(c.key, np.fromiter(busted, np.uint64, len(busted))))

    def _submitted(self, book: str, c: FillColumns, e: Executions) -> None:
        """Executions named by a trade id learn their submission through their orders; orders heard of later find them by `links`.

        Only where it can matter: a symbol whose books share ids is joined by them.
        """
        open_pairs = [k for k, p in enumerate(e.pairs) if not self._shares_ids(p.strategy, p.sym)]
        if not open_pairs:
            return
        w = np.flatnonzero(np.isin(e.fill_pair, open_pairs) & np.fromiter(map(bool, c.trade_id), np.bool_, len(c)))
        if len(w) == 0:
            return
        orders = order_names(e.pairs, e.fill_pair, c)[w]
        sub = "l_sub" if book == LIVE else "b_sub"
        row_of = {int(k): i for i, k in enumerate(e.rows["lkey" if book == LIVE else "bkey"].tolist())}
        for order, name, pair in zip(orders.tolist(), e.fill_name[w].tolist(), e.fill_pair[w].tolist(), strict=True):
            if not order:
                continue
            s = self.strategies[e.pairs[pair].strategy]
            if len(s.links) > 50_000:
                s.links = dict(list(s.links.items())[25_000:])
            s.links[order] = name
            found = s.books.locate(order)
            if found is not None and found[0].view[sub][found[1]] != NO_TS:
                i = row_of[name]
                t = int(found[0].view[sub][found[1]])
                e.rows[sub][i] = t if e.rows[sub][i] == NO_TS else min(t, int(e.rows[sub][i]))

    def _shares_ids(self, strategy: str, sym: int) -> bool:
        cell = self.strategies[strategy].books.cells.get(sym)
        return cell is not None and cell.ids_shared

    def with_parents(self, book: str, c: FillColumns) -> FillColumns:
        """A fill without a parent order takes the one that an `order` record of its order names."""
        if self.parents:
            named = zip(c.strategy, c.symbol, c.order_id, c.parent_id, strict=True)
            c.parent_id = [p or self.parents.get((book, s, y, o), "") for s, y, o, p in named]
        return c

    def _kept(self, book: str, e: Executions, run_id: list[str], strategy: list[str]) -> Executions:
        """Give backtest rows the creation time of their run, and drop what a newer run has superseded; post the rest to the ledgers."""
        syms = np.array([p.sym for p in e.pairs], np.int64)
        keep_rows, keep_posts = np.ones(len(e.rows), np.bool_), np.ones(len(e.postings.ts), np.bool_)
        if book == BACKTEST and any(self.strategies[s].books.runs for s in dict.fromkeys(strategy)):
            created = self._created(e, run_id)
            e.rows["b_run"] = created
            at = np.where(e.rows["b_ts"] != NO_TS, e.rows["b_ts"], e.rows["b_first"])
            keep_rows = ~self.superseded(e, e.which, at, created)
            posted = self._posting_runs(e, created)
            keep_posts = ~self.superseded(e, e.postings.pair, e.postings.ts, posted)
        if not keep_posts.all():
            e.postings = _chosen(e.postings, keep_posts)
        self._post(book, e, syms)
        rows = np.flatnonzero(keep_rows)
        e.rows, e.texts, e.which, e.lead = e.rows[rows], [e.texts[i] for i in rows.tolist()], e.which[rows], e.lead[rows]
        return e

    def without_superseded(self, book: str, e: Executions, run_id: list[str]) -> Executions:
        """The rows of `e` that no newer run has superseded."""
        if book != BACKTEST:
            return e
        e.rows["b_run"] = self._created(e, run_id)
        at = np.where(e.rows["b_ts"] != NO_TS, e.rows["b_ts"], e.rows["b_first"])
        keep = ~self.superseded(e, e.which, at, e.rows["b_run"])
        e.rows, e.which, e.lead = e.rows[keep], e.which[keep], e.lead[keep]
        return e

    def _created(self, e: Executions, run_id: list[str]) -> NDArray[np.int64]:
        table = {(p.strategy, r.run_id): r.created for p in e.pairs for r in self.strategies[p.strategy].books.runs}
        return np.fromiter(
            (table.get((e.pairs[w].strategy, run_id[i]), NO_TS) for w, i in zip(e.which.tolist(), e.lead.tolist(), strict=True)),
            np.int64,
            len(e.rows),
        )

    def _posting_runs(self, e: Executions, created: NDArray[np.int64]) -> NDArray[np.int64]:
        """A posting's run: that of its pair in this batch (a file announces its runs for all its records)."""
        by_pair: dict[int, int] = {}
        for w, c in zip(e.which.tolist(), created.tolist(), strict=True):
            by_pair[w] = max(c, by_pair.get(w, NO_TS))
        return np.fromiter((by_pair.get(w, NO_TS) for w in e.postings.pair.tolist()), np.int64, len(e.postings.ts))

    def superseded(self, e: Executions, which: NDArray[np.int64], at: NDArray[np.int64], created: NDArray[np.int64]) -> NDArray[np.bool_]:
        gone = np.zeros(len(at), np.bool_)
        for k, pair in enumerate(e.pairs):
            mine = which == k
            for run in self.strategies[pair.strategy].books.runs:
                if run.symbol in ("", pair.symbol):
                    gone |= mine & (created < run.created) & (at >= run.start) & (at < run.end)
        return gone

    def _post(self, book: str, e: Executions, syms: NDArray[np.int64]) -> None:
        p = e.postings
        names = {pair.strategy for pair in e.pairs}
        owner = np.array([pair.strategy for pair in e.pairs], object)
        for name in names:
            w = np.ones(len(p.ts), np.bool_) if len(names) == 1 else owner[p.pair] == name
            self.strategies[name].ledger.post(book, syms[p.pair[w]], _chosen(p, w))
        for k in np.unique(p.pair).tolist():
            w = p.pair == k
            self.add_marks(int(syms[k]), TRADED_LIVE if book == LIVE else TRADED, p.ts[w], p.price[w])
        if book == LIVE and len(p.ts):
            for k, pair in enumerate(e.pairs):
                w = p.pair == k
                if w.any():
                    pulse = self.strategies[pair.strategy].memory.pulses[LIVE]
                    pulse.newest_fill = max(pulse.newest_fill, int(p.ts[w].max()))

    def _mark_from(self, book: str, symbols: list[str], ts: NDArray[np.int64], px: NDArray[np.float64]) -> None:
        """Decision marks count as marks of their book."""
        good = ~np.isnan(px)
        if not good.any():
            return
        rank = LIVE_MARK if book == LIVE else BACKTEST_MARK
        table: dict[str, int] = {s: k for k, s in enumerate(dict.fromkeys(symbols))}
        place = np.fromiter(map(table.__getitem__, symbols), np.int64, len(symbols))
        for symbol, k in table.items():
            w = good & (place == k)
            if w.any():
                values = 1.0 / px[w] if self.instruments.terms(symbol).inverse else px[w]
                self.add_marks(self.names.code(canonical(symbol, self.parameters)), rank, ts[w], values)

    def _split(self, book: str, e: Executions, parts: dict[str, dict[str, list[Part]]]) -> None:
        """Hand the rows to their strategies."""
        by_strategy: dict[str, list[int]] = {}
        for k, pair in enumerate(e.pairs):
            by_strategy.setdefault(pair.strategy, []).append(k)
        for name, places in by_strategy.items():
            if len(by_strategy) == 1:
                part = (e.rows, e.texts)
            else:
                w = np.flatnonzero(np.isin(e.which, places))
                part = (e.rows[w], [e.texts[i] for i in w.tolist()])
            parts.setdefault(name, {}).setdefault(book, []).append(part)

    def _several(self, s: Strategy, book: str, part: Part) -> Part:
        """Rows of trades with several decisions of one id are made by `rebuild`; find them, take them out."""
        rows, texts = part
        key = rows["bkey" if book == BACKTEST else "lkey"]
        out = np.zeros(len(rows), np.bool_)
        if s.memory.multi:
            out |= np.isin(key, np.fromiter(s.memory.multi, np.uint64, len(s.memory.multi)))
        decided = (rows["tid_len"] == 0) & ((rows["flags"] & B_FILLS) == 0) & np.fromiter(map(bool, texts), np.bool_, len(texts))
        if book == BACKTEST:
            decided &= rows["b_ts"] != NO_TS
        else:
            decided &= (rows["l_q"] == 0) & (rows["l_dts"] != NO_TS)
        out |= decided & self._repeats(s, book, rows, key, decided)
        for i in np.flatnonzero(out).tolist():
            s.memory.multi[int(key[i])] = texts[i]
            self.rebuilder.ask(s.name, int(key[i]), texts[i], int(rows["sym"][i]), int(rows["side"][i]))
        if not out.any():
            return part
        keep = np.flatnonzero(~out & ~np.isin(key, key[out]))
        return rows[keep], [texts[i] for i in keep.tolist()]

    def _repeats(self, s: Strategy, book: str, rows: Rows, key: NDArray[np.uint64], decided: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Decisions whose id another decision of the same book, at another time, already carries."""
        out = np.zeros(len(rows), np.bool_)
        w = np.flatnonzero(decided)
        if len(w) == 0:
            return out
        order = w[np.argsort(key[w], kind="stable")]
        again = np.flatnonzero(key[order][1:] == key[order][:-1])
        out[order[again]] = out[order[again + 1]] = True
        numbers = self.places.find(key[order])
        field = "b_ts" if book == BACKTEST else "l_dts"
        for i in order[numbers != -(2**31)].tolist():
            found = s.books.locate(int(key[i]))
            if found is not None:
                row = found[0].view[found[1]]
                decision_here = row[field] != NO_TS and (book == LIVE or not (int(row["flags"]) & B_FILLS) or not np.isnan(row["b_mark"]))
                out[i] |= bool(decision_here) and int(row[field]) != int(rows[field][i])
        return out

    # --- the rare -----------------------------------------------------------------------------------------------

    def _run(self, record: Run, created: int) -> None:
        """A newer run strips the backtest sides that it covers; kept in the store, gone from the judgement."""
        s = self.strategy(record.strategy)
        symbol = canonical(record.symbol, self.parameters) if record.symbol else ""
        span = RunSpan(str(record.run_id), created, parse_time(record.from_), parse_time(record.to), symbol)
        if span in s.books.runs:
            return
        s.books.runs.append(span)
        s.books.runs.sort(key=lambda r: (r.created, r.run_id))
        s.memory.runs = s.books.runs
        for shelf, places in list(s.books.rows_between(span.start, span.end - 1)):
            for p in places.tolist():
                row = shelf.view[p]
                at = int(row["b_ts"] if row["b_ts"] != NO_TS else row["b_first"])
                covered = row["bkey"] and int(row["b_run"]) < created and span.start <= at < span.end
                if covered and (not symbol or self.names[int(row["sym"])] == symbol):
                    self._unpost(s, s.books.strip(shelf, p, BACKTEST))

    def _unpost(self, s: Strategy, row: np.void) -> None:
        """Take a superseded backtest side out of the ledgers."""
        if not row["b_q"] > 0:
            return
        quantity, t = float(row["side"]) * float(row["b_q"]), int(row["b_first"])
        cash = -float(row["side"]) * float(row["b_not"])
        for side in (BOOK, ALLOWED):  # both were posted in full; what the allowed book did not do is `allowed`'s
            s.ledger.adjust(int(row["sym"]), t, side, -quantity, -cash, -float(row["b_fee"]))

    def _shadows(self, c: FillColumns, out: Applied) -> None:
        for s in dict.fromkeys(c.strategy):
            mine = np.fromiter((name == s for name in c.strategy), np.bool_, len(c))
            shadow.absorb(self.strategies[s], c if mine.all() else c.take(mine))
        self._see(LIVE, c.strategy, c.ts, out)


def _chosen(p: Postings, w: NDArray[np.bool_]) -> Postings:
    return replace(p, **{f.name: getattr(p, f.name)[w] for f in fields(p)})


def _joined(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([p[0] for p in parts]), [t for p in parts for t in p[1]]
