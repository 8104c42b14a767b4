"""parityd's matching and measures against an independent computation in rational arithmetic, on awkward random scenarios."""

import json
import random

import msgspec
import numpy as np
import pytest
from golden import books as golden_books
from golden import generate, reference

from parityd.core.columns import Bounds, block
from parityd.core.index import GONE
from parityd.core.intake import FileBatch
from parityd.core.monitor import Monitor
from parityd.core.parameters import Parameters, SymbolTerms
from parityd.core.rebuild import Rebuilder
from parityd.core.records import Native
from parityd.core.rows import DEAD, HOW, PART
from parityd.core.terms import Names

SYMBOLS = {
    name: SymbolTerms(**{k: (float(v) if k == "multiplier" else v) for k, v in terms.items()}) for name, terms in generate.SYMBOLS.items()
}


class Desk:
    """A monitor with a memory of what it was given, for `history`."""

    def __init__(self, parameters=None):
        self.given = []
        self.rebuilder = Rebuilder(lambda _s: iter(list(self.given)))
        self.monitor = Monitor(parameters or Parameters(symbols=SYMBOLS), Names(), lambda _s, _n: None, self.rebuilder)

    def give(self, book, records, name="f"):
        rows = [(i + 1, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records)]
        made = block(book, rows, Bounds())
        assert not made.refusals, made.refusals
        batch = FileBatch(
            book=book, name=name, sha256=name, source="", decisions=made.decisions, fills=made.fills, rare=made.rare, refusals=[]
        )
        applied = self.monitor.apply([batch], 0)
        self.given += [(book, g.decisions, g.fills, g.rare) for g in applied.counted]
        return applied

    def trades(self):
        """(strategy, symbol, side, matched_by, quantities, prices) of every trade, as a sorted list."""
        out = []
        for s in self.monitor.strategies.values():
            for number in sorted(s.books.shelves):
                shelf = s.books.shelves[number]
                for row in shelf.rows:
                    if int(row["flags"]) & DEAD or not (row["b_q"] > 0 or row["l_q"] > 0):
                        continue
                    out.append(row)
        return out

    def shapes(self):
        out = []
        for name, s in self.monitor.strategies.items():
            rows = [r for n in sorted(s.books.shelves) for r in s.books.shelves[n].rows if not int(r["flags"]) & DEAD]
            parts = {}
            for r in rows:
                if int(r["part_of"]):
                    parts.setdefault(int(r["part_of"]), []).append(r)
            for r in rows:
                if int(r["flags"]) & PART or not (r["b_q"] > 0 or r["l_q"] > 0):
                    continue
                mine = [r, *parts.get(int(r["pk"]), [])] if r["bkey"] and r["lkey"] else [r]
                b = sum(float(x["b_q"]) for x in mine if x["bkey"])
                l = sum(float(x["l_q"]) for x in mine if x["lkey"])
                bn = sum(float(x["b_not"]) for x in mine if x["bkey"])
                ln = sum(float(x["l_not"]) for x in mine if x["lkey"])
                how = HOW.get(int(r["how"]), "") if b and l else ""
                out.append((name, self.monitor.names[int(r["sym"])], int(r["side"]), how, round(b, 6), bn, round(l, 6), ln))
        return sorted(out)


def expected(judged):
    out = []
    for t in judged.trades:
        b, l = t.backtest, t.live
        parts_b = [b] if b else []
        parts_l = [l] if l else []
        bq, bn = sum(float(x.quantity) for x in parts_b), sum(float(x.quantity * x.price) for x in parts_b)
        lq, ln = sum(float(x.quantity) for x in parts_l), sum(float(x.quantity * x.price) for x in parts_l)
        out.append(
            (
                t.strategy,
                t.symbol,
                1 if (b or l).side in (1, "buy") else -1,
                (t.matched_by or "") if b and l else "",
                round(bq, 6),
                bn,
                round(lq, 6),
                ln,
            )
        )
    return sorted(out)


def same(got, want):
    """The same trades, money within a billionth."""
    assert [(*x[:5], x[6]) for x in got] == [(*x[:5], x[6]) for x in want]
    for g, w in zip(got, want, strict=True):
        assert g[5] == pytest.approx(w[5], rel=1e-9)
        assert g[7] == pytest.approx(w[7], rel=1e-9)


def deliver(desk, backtest, live, seed):
    rng = random.Random(seed)
    files = [("backtest", r) for r in backtest] + [("live", r) for r in live]
    rng.shuffle(files)
    at = 0
    while at < len(files):
        n = rng.choice([1, 1, 2, 5, 30])
        chunk = files[at : at + n]
        at += n
        for book in ("backtest", "live"):
            mine = [r for b, r in chunk if b == book]
            if mine:
                desk.give(book, mine, f"{at}{book}")


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("dense", [False, True])
def test_whatever_the_order_of_arrival_the_trades_are_those_of_the_reference(seed, dense):
    backtest, live = generate.generate(seed, dense=dense)
    want = expected(reference.judge(backtest, live, golden_books.Settings(symbols=generate.SYMBOLS)))
    whole = Desk()
    whole.give("backtest", backtest)
    whole.give("live", live)
    same(whole.shapes(), want)
    cut = Desk()
    deliver(cut, backtest, live, seed)
    same(cut.shapes(), want)


_ = (json, np, GONE)
