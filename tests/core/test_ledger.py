"""A ledger whose old intervals lie in the store says what one says that holds them all."""

import random

import msgspec
import numpy as np
import pytest

from parityd.core import ledger as room
from parityd.core.ledger import EVER, NEWEST, UNIT, Entry, Ledger
from parityd.core.rows import SHELF_NS
from parityd.core.splits import Splits
from parityd.core.tape import Tape

START = 2_000_000


class Stored:
    """What a store would hold, and the ledger over it."""

    def __init__(self, splits):
        self.splits, self.disk = splits, {}
        self.ledger = Ledger(splits)
        self.ledger.recall(self.past)

    def past(self, sym, first, last):
        return [(k, msgspec.msgpack.decode(x, type=Entry)) for (of, k), x in sorted(self.disk.items()) if of == sym and first <= k <= last]

    def commit(self, most):
        """What `gather` does."""
        for sym, number in self.ledger.changed:
            self.disk[sym, number] = msgspec.msgpack.encode(self.ledger.entries[sym][number])
        self.ledger.changed.clear()
        self.ledger.trim(most)

    def again(self):
        """A restart: opening and sums are remembered, the newest intervals read."""
        old, self.ledger = self.ledger, Ledger(self.splits)
        self.ledger.opening, self.ledger.net = dict(old.opening), {k: list(x) for k, x in old.net.items()}
        since = max((k for _, k in self.disk), default=0) - NEWEST
        first = {}
        for sym, k in sorted(self.disk):
            first.setdefault(sym, k)
            if k >= since:
                self.ledger.entries.setdefault(sym, {})[k] = self.past(sym, k, k)[0][1]
        self.ledger.recall(self.past, first, since)


def step(rng, ledgers, newest):
    sym = rng.randrange(1, 4)
    number = newest - min(int(rng.expovariate(1 / 60)), 900) if rng.random() < 0.9 else newest - rng.randrange(1000)
    what = rng.random()
    units, cash = rng.randrange(-5, 6), rng.uniform(-9, 9)
    if what < 0.8:
        side = rng.randrange(3)
        for one in ledgers:
            one.adjust(sym, number * SHELF_NS + 5, side, float(units), cash, 0.5)
    elif what < 0.9:
        for one in ledgers:
            one.fund("live", sym, number * SHELF_NS, cash)
    else:
        for one in ledgers:
            one.open(sym, units * UNIT, number * SHELF_NS)


def everything(ledger):
    return {
        (sym, k): msgspec.to_builtins(e)
        for sym in ledger.entries
        for k, e in ledger.each(sym, -EVER, EVER)
        if e.q != [0] * 4 or any(e.cash)
    }


@pytest.mark.parametrize("seed", range(6))
def test_it_says_the_same_wherever_its_entries_are(seed, monkeypatch):
    monkeypatch.setattr(room, "KEPT", 800)
    rng = random.Random(seed)
    splits = Splits()
    plain, stored = Ledger(splits), Stored(splits)
    tape = Tape()
    for turn in range(120):
        newest = START + turn * 12
        for _ in range(rng.randrange(6)):
            step(rng, (plain, stored.ledger), newest)
        if seed % 2 and turn in (50, 90):
            splits.learn(2, newest * SHELF_NS, 2.0, 0)
            for one in (plain, stored.ledger):
                one.split(2, newest, 2.0)
        tape.note(stored.ledger.changed)
        stored.commit(rng.choice([5, 40]))
        if turn % 17 == 16:
            stored.again()
            tape = Tape()
        if turn % 40 == 39:
            gone = [sorted(one.fold(newest)) for one in (plain, stored.ledger)]
            assert gone[0] == gone[1]
            for key in gone[0]:
                stored.disk.pop(key, None)
        fresh = Tape()
        tape.hold(stored.ledger, newest - 300, newest)
        fresh.hold(plain, newest - 300, newest)
        assert everything(stored.ledger) == everything(plain)
        assert stored.ledger.entries.keys() == plain.entries.keys()
        for sym in plain.entries:
            for at in (newest + 1, newest - rng.randrange(1200), newest - 5):
                assert stored.ledger.start(sym, at) == plain.start(sym, at)
            mine, theirs = tape.places[sym], fresh.places[sym]
            a, b = tape.base, fresh.base
            first = max(a, b) - a, max(a, b) - b
            n = min(tape.length - first[0], fresh.length - first[1])
            for name in ("q", "cash", "moved"):
                x = getattr(tape, name)[mine][:, first[0] : first[0] + n]
                assert np.array_equal(x, getattr(fresh, name)[theirs][:, first[1] : first[1] + n])
    assert len(stored.disk) > 2 * sum(map(len, stored.ledger.entries.values()))


def test_a_day_that_is_asked_for_is_read_once():
    stored = Stored(Splits())
    for k in range(500):
        stored.ledger.adjust(1, (START + k) * SHELF_NS, 0, 1.0, 1.0, 0.0)
    stored.commit(10)
    assert len(stored.ledger.entries[1]) == NEWEST + 1
    asked = []
    stored.ledger.recall(lambda *what: asked.append(what) or stored.past(*what))
    for k in range(90):
        stored.ledger.adjust(1, (START // 96 * 96 + k) * SHELF_NS, 0, 1.0, 1.0, 0.0)
    assert len(asked) == 1
    assert stored.ledger.position(1, 0, EVER) == (500 + 90) * UNIT
