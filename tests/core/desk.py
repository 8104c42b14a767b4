"""A monitor that is told records, and the trades it then holds: what the comparison with the independent reference looks at."""

import math
import random

import msgspec
import numpy as np
import pytest
from golden import books as golden_books
from golden import generate, measures, reference

from parityd.core.accepting import block
from parityd.core.columns import Bounds
from parityd.core.intake import FileBatch
from parityd.core.monitor import Monitor
from parityd.core.parameters import Parameters, SymbolTerms
from parityd.core.rebuild import Rebuilder
from parityd.core.records import Native, Run
from parityd.core.rows import DEAD, HOW, PART
from parityd.core.strategy import Memory
from parityd.core.summary import ShelfSummary
from parityd.core.terms import Names
from parityd.store.segments import fold

NAMES = ("d", "fee_bps", "timing_ms", "latency", "data", "timing", "slip", "impact", "fee", "oa", "ob")


def terms(symbols):
    return {name: SymbolTerms(**{k: (float(v) if k == "multiplier" else v) for k, v in t.items()}) for name, t in symbols.items()}


def snapped(x):
    """Seven digits, and the same ones for sums that were added in another order."""
    return float(f"{float(x) * (1 + 3e-10):.7g}")


class Desk:
    """A monitor with a memory of what it was given, and a store of rows as pieces in the order of their writing."""

    def __init__(self, parameters=None, symbols=generate.SYMBOLS):
        self.parameters = parameters or Parameters(symbols=terms(symbols))
        self.given = []
        self.stored = {}
        self.start(Names())

    def start(self, names):
        self.monitor = Monitor(self.parameters, names, self.load, Rebuilder(lambda _s: iter(list(self.given))))

    def load(self, strategy, number):
        return fold(number, self.stored.get((strategy, number), []))

    def give(self, book, records, name="f"):
        self.turn([(book, records)], name)

    def turn(self, files, name="f"):
        batches = []
        for k, (book, records) in enumerate(files):
            rows = [(i + 1, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records)]
            run = next((str(r.run_id) for _, r in rows if isinstance(r, Run)), "") if book == "backtest" else ""
            made = block(book, rows, Bounds(), run)
            assert not made.refusals, made.refusals
            batches.append(
                FileBatch(
                    book=book,
                    name=f"{name}{k}",
                    sha256=name,
                    source="",
                    decisions=made.decisions,
                    fills=made.fills,
                    rare=made.rare,
                    refusals=[],
                )
            )
        applied = self.monitor.apply(batches, 0)
        for (book, _), got in zip(files, applied.counted, strict=True):
            assert not got.refusals, got.refusals
            self.given.append((book, got.decisions, got.fills, got.rare))
        return applied

    def save(self):
        """Every shelf goes to the store, as a commit would do it, and leaves the memory."""
        for name, s in self.monitor.strategies.items():
            for number in sorted(s.books.unsaved):
                rows, text = s.books.shelf(number).delta()
                if len(rows):
                    self.stored.setdefault((name, number), []).append((rows.copy(), text))
            s.books.unsaved.clear()
            s.books.shelves.clear()

    def restart(self):
        """A new process: everything but the records' identities is folded from what was stored."""
        self.save()
        old = self.monitor
        self.start(Names(list(old.names.texts)))
        m = self.monitor
        m.known = old.known
        for name, was in old.strategies.items():
            s = m.strategy(name)
            s.memory = msgspec.msgpack.decode(msgspec.msgpack.encode(was.memory), type=Memory)
            s.books.runs, s.books.cells = s.memory.runs, was.books.cells
            s.ledger.opening, s.ledger.entries = was.ledger.opening, was.ledger.entries
            for number in was.books.summaries:
                shelf = self.load(name, number)
                s.books.summaries[number] = ShelfSummary(shelf.rows)
                for key in ("bkey", "lkey"):
                    own = shelf.rows[key] != 0
                    m.places.put_many(shelf.rows[key][own], np.full(int(own.sum()), number))
        for sym, rank, ts, px in old.new_marks:
            m.marks.add(sym, rank, ts, px)
        m.new_marks = old.new_marks

    def rows(self, *, whole=True):
        """(strategy, row) of every trade; `whole`: without the parts of others and without what no execution is."""
        for name, s in self.monitor.strategies.items():
            for number in sorted({*s.books.summaries, *s.books.shelves}):
                for row in s.books.shelf(number).rows:
                    if int(row["flags"]) & DEAD or (whole and (int(row["flags"]) & PART or not (row["b_q"] > 0 or row["l_q"] > 0))):
                        continue
                    yield name, row

    def trades(self):
        """Each trade by what it is: {shape: [values, ...]}."""
        out = {}
        for name, row in self.rows():
            both = row["b_q"] > 0 and row["l_q"] > 0
            shape = (
                name, self.monitor.names[int(row["sym"])], int(row["side"]), HOW[int(row["how"])] if both else "",
                snapped(row["fq"]), snapped(row["fn"]), snapped(row["lq"]), snapped(row["ln"] if row["lq"] > 0 else 0.0),
            )  # fmt: skip
            out.setdefault(shape, []).append(
                {f: float(row[f]) for f in NAMES} | {"unpriced": int(row["unpriced"]), "fills": int(row["n_fills"])}
            )
        return out

    def ledgers(self):
        """Postings by (strategy, symbol, interval), those that cancelled out left out."""
        out = {}
        for name, s in self.monitor.strategies.items():
            for sym, table in s.ledger.entries.items():
                for number, e in table.items():
                    values = [*e.q, *e.trades, *e.cash, *e.fees, *e.funding]
                    if any(abs(x) > 1e-6 for x in values):
                        out[name, self.monitor.names[sym], number] = pytest.approx(values, rel=1e-9, abs=1e-6)
        return out

    def prices(self, ends):
        """m_T of every symbol at these times."""
        m = self.monitor
        every = {name: [m.marks.price(code, t) for t in ends] for code, name in enumerate(m.names.texts)}
        return {name: told for name, found in every.items() if any(told := [None if t < 0 else (price, t) for price, t in found])}


def same_ledgers(a, b):
    """Whether both desks hold the same postings."""
    mine, theirs = a.ledgers(), b.ledgers()
    assert mine.keys() == theirs.keys()
    assert all(mine[k] == theirs[k].expected for k in mine)
    return True


def expected(backtest, live, symbols=generate.SYMBOLS):
    """What the reference finds, in the shape of `Desk.trades`."""
    judged = reference.judge(backtest, live, golden_books.Settings(symbols=symbols))
    out = {}
    for t in judged.trades:
        b, e = t.backtest, t.live
        shape = (
            t.strategy, t.symbol, t.one.sign, t.matched_by or "" if b and e else "",
            snapped(b.quantity if b else 0), snapped(b.quantity * b.price if b else 0), snapped(e.quantity if e else 0), snapped(e.quantity * e.price if e else 0),
        )  # fmt: skip
        out.setdefault(shape, []).append(values(t))
    return out


def values(t):
    """The derived values of one trade; NaN where one is not measured."""
    b, e = t.backtest, t.live
    found = {
        "d": measures.price_diff_bps(t),
        "fee_bps": measures.fee_diff_bps(t),
        "timing_ms": measures.timing_diff_ms(t),
        "latency": measures.latency_ms(t),
    }
    if b and e:
        parts, _ = measures.chain(b, e)
        found |= {"data": parts["data"], "timing": parts["timing"], "slip": parts["slippage"], "impact": parts["impact"]}
        found["fee"] = e.fee - b.fee * e.quantity / b.quantity
    at_zero, at_one = (_opportunity(t, price) for price in (0, 1))
    found |= {"oa": at_one - at_zero, "ob": at_zero}
    pieces = [p for x in (b, e) if x for p in x.pieces]
    out = {name: float("nan") if found.get(name) is None else float(found[name]) for name in NAMES}
    return out | {"unpriced": sum(not p.fee_known for p in pieces), "fills": len(e.pieces) if e else 0}


def _opportunity(t, price):
    """Sizing, or the model component, as it would be at this price."""
    split = measures.shortfall(t, measures.Price(ts=2**62, price=price))
    return split.parts["sizing"] if t.backtest and t.live else split.parts["model"]


def differences(got, want):
    """What differs between two tables of trades, as text."""
    out = [f"missing {k} x{len(want[k])}" for k in sorted(want) if len(got.get(k, ())) < len(want[k])]
    out += [f"extra {k} x{len(got[k])}" for k in sorted(got) if len(want.get(k, ())) < len(got[k])]
    for shape in sorted(want.keys() & got.keys()):
        for mine, theirs in zip(_ordered(got[shape]), _ordered(want[shape]), strict=False):
            out += [f"{shape}: {f} {mine[f]!r}, not {theirs[f]!r}" for f in theirs if not _alike(mine[f], theirs[f])]
    return out


def _ordered(found):
    return sorted(found, key=lambda v: [(math.isnan(x), 0 if math.isnan(x) else round(x, 5)) for x in v.values()])


def _alike(a, b):
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-6 * max(1.0, abs(b) / 1e6)


def shuffled(backtest, live, seed, sizes=(1, 1, 2, 5, 30)):
    """The records of both books as turns of a few files, in any order."""
    rng = random.Random(seed)
    records = [("backtest", r) for r in backtest] + [("live", r) for r in live]
    rng.shuffle(records)
    while records:
        n = rng.choice(sizes)
        chunk, records = records[:n], records[n:]
        yield [(book, mine) for book in ("backtest", "live") if (mine := [r for b, r in chunk if b == book])]
