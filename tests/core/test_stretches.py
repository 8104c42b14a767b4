"""Sums over stretches are those of the rows, whatever changed since; a look is told what did."""

import random

import numpy as np
import pytest

from parityd.core.books import Books
from parityd.core.busiest import Busiest
from parityd.core.changes import REMEMBERED, Changes
from parityd.core.index import Places
from parityd.core.parameters import Parameters
from parityd.core.rows import BY_DECISION, BY_ID, SHELF_NS, Shelf, blank
from parityd.core.stretches import Summaries
from parityd.core.summary import ShelfSummary, classes, summarise
from parityd.core.window import Settling, moments, summed

START = 2_000_000


def shelf(rng, number):
    """A shelf of a few rows of all classes."""
    n = rng.randrange(1, 7)
    r = blank(n)
    one = np.array([rng.choice([(1, 1, BY_ID), (1, 1, BY_DECISION), (1, 0, 0), (0, 1, 0)]) for _ in range(n)])
    r["bkey"], r["lkey"] = one[:, 0], one[:, 1]
    r["b_q"], r["l_q"], r["how"], r["alpha"] = one[:, 0], one[:, 1], one[:, 2], 1.0
    r["sym"] = [rng.randrange(1, 4) for _ in range(n)]
    r["t"] = [number * SHELF_NS + rng.randrange(SHELF_NS) for _ in range(n)]
    for name in ("d", "n", "x", "ln", "fee", "fee_bps"):
        r[name] = [rng.gauss(0, 10) for _ in range(n)]
    return r


def flat(books, start, end, until):
    rows = np.concatenate([blank(0), *(books.shelves[k].rows for k in sorted(books.shelves))])
    rows = rows[(rows["t"] >= start) & (rows["t"] <= end)]
    now = np.zeros(len(rows), bool)
    for kind, mask in enumerate(classes(rows)):
        now |= mask & (rows["t"] <= until.until(kind))
    return summarise(rows[now]), int((~now).sum())


@pytest.mark.parametrize("stored", [False, True])
def test_sums_of_any_window_are_those_of_its_rows(stored):
    """`stored`: summaries leave memory and are read again when asked for."""
    rng = random.Random(5)
    disk: dict[int, ShelfSummary] = {}
    books = Books("s", Parameters(), Places(), lambda _s, _n: None)
    days = 40 * 96
    for turn in range(150):
        for _ in range(rng.randrange(1, 40)):
            number = START + (rng.randrange(days) if rng.random() < 0.5 else days * turn // 150)
            books.shelves[number] = held = Shelf(number)
            rows = shelf(rng, number)
            held.append(rows, np.array([""] * len(rows), object))
            books.mark(number)
        if turn % 10 == 9:
            gone = rng.choice(books.summaries.order)
            del books.summaries[gone], books.shelves[gone]
            books.dirty.discard(gone)
            disk.pop(gone, None)
        books.refresh()
        assert list(books.summaries.order) == sorted(books.summaries) and len(books.summaries) == len(books.shelves)
        if stored:
            disk.update({k: books.summaries[k] for k in books.unsaved if k in books.shelves})
            books.unsaved.clear()
            books.summaries.recall(lambda first, last: [(k, x) for k, x in disk.items() if first <= k <= last])
            books.summaries.trim(30)
        start, end = sorted(START * SHELF_NS + rng.randrange(days * SHELF_NS) for _ in range(2))
        if rng.random() < 0.4:
            start, end = start // SHELF_NS * SHELF_NS, end // SHELF_NS * SHELF_NS - 1
        until = Settling(*(rng.choice([2**62, end, end - rng.randrange(5 * SHELF_NS), start]) for _ in range(4)))
        (got, pending), (want, waiting) = summed(books, start, end, until), flat(books, start, end, until)
        assert pending == waiting
        np.testing.assert_allclose(got.s, want.s, rtol=1e-9, atol=1e-7)
        assert got.sym.keys() == want.sym.keys()
        for sym, v in want.sym.items():
            np.testing.assert_allclose(got.sym[sym], v, rtol=1e-9, atol=1e-7)
        np.testing.assert_allclose(moments(books, start, end, until), (want["n"], want["d"], want["d2"]), rtol=1e-9, atol=1e-7)


def test_the_busiest_hour_is_that_of_all_counts():
    rng = random.Random(6)
    table, busiest = Summaries(), Busiest()
    first = START
    for turn in range(60):
        for _ in range(20):
            number = START + turn * 5 + rng.randrange(-50, 5)
            table[number] = ShelfSummary(shelf(rng, number))
        after = START + turn * 5 + 5
        first = max(first, after - 120)
        counts = np.zeros((2, after - first))
        for k in range(first, after):
            if k in table:
                p = table[k].parts
                counts[:, k - first] = (
                    p[0]["matched"] + p[1]["matched"] + p[2]["missed"],
                    p[0]["matched"] + p[1]["matched"] + p[3]["unexpected"],
                )
        want = max(counts[book, max(0, k - 3) : k + 1].sum() for book in (0, 1) for k in range(after - first))
        assert busiest.hour(table, first, after) == want
    assert busiest.hour(table, 10, 10) == 0


def test_a_reader_that_comes_too_late_is_told_so():
    log = Changes()
    log.note(3)
    assert log.since(0) == ([3], 1)
    for k in range(3 * REMEMBERED):
        log.note(k)
    assert log.since(1)[0] is None
    mark = log.since(0)[1]
    log.note(7)
    assert log.since(mark) == ([7], mark + 1)


def test_shelves_are_let_go_of_by_the_rows_that_they_hold_however_they_grew():
    rng = random.Random(3)
    books = Books("s", Parameters(), Places(), lambda _s, n: Shelf(n, shelf(random.Random(n), n)))
    books.room = 60
    for turn in range(300):
        for _ in range(rng.randrange(1, 6)):
            number = START + rng.randrange(40)
            rows = shelf(rng, number)
            books.shelf(number).append(rows, np.array([""] * len(rows), object))
            books.mark(number)
        books.refresh()
        books.unsaved.clear()
        if turn % 20 == 0:
            books.shelves.pop(rng.choice(sorted(books.shelves)))
        used = sorted(books.shelves.values(), key=lambda one: one.touched)
        stay, held = set(books.shelves), sum(one.n for one in used)
        for one in used:
            if held <= books.room:
                break
            held -= one.n
            stay.discard(one.number)
        books.evict()
        assert set(books.shelves) == stay
