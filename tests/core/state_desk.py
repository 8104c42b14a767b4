"""A monitor that is told records, and what it then says: builders for the tests of the present, the allowed book and shadow fills."""

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Bounds
from parityd.core.intake import FileBatch
from parityd.core.monitor import Monitor
from parityd.core.parameters import Parameters
from parityd.core.present import Facts, state_findings
from parityd.core.rebuild import Rebuilder
from parityd.core.records import Native
from parityd.core.rows import DEAD
from parityd.core.strategy import Memory
from parityd.core.terms import Names

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60, 3600, 86_400
T0 = 1_700_000_100  # epoch seconds, a whole quarter of an hour


class Desk:
    def __init__(self, parameters=None):
        self.given = []
        self.now = T0
        self.parameters = parameters or Parameters()
        self.monitor = Monitor(self.parameters, Names(), lambda _s, _n: None, Rebuilder(lambda _s: iter(list(self.given))))

    def give(self, book, *records, now=None):
        self.turn([(book, records)], now)

    def turn(self, files, now=None):
        self.now = now or max([self.now, *(r["ts"] for _, rs in files for r in rs)])
        batches = []
        for k, (book, records) in enumerate(files):
            made = block(book, [(i + 1, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records)], Bounds())
            assert not made.refusals, made.refusals
            batches.append(
                FileBatch(
                    book=book,
                    name=f"{k}",
                    sha256=f"{k}",
                    source="",
                    decisions=made.decisions,
                    fills=made.fills,
                    rare=made.rare,
                    refusals=[],
                )
            )
        applied = self.monitor.apply(batches, self.now * SECOND)
        for (book, _), g in zip(files, applied.counted, strict=True):  # history keeps real and shadow fills side by side
            fills = [c for c in (g.fills, g.shadows) if c is not None]
            self.given.append((book, g.decisions, type(fills[0]).joined(fills) if fills else None, g.rare))

    @property
    def s(self):
        return self.monitor.strategy("s")

    def restart(self):
        """Everything that is stored goes through its bytes."""
        self.s.memory = msgspec.msgpack.decode(msgspec.msgpack.encode(self.s.memory), type=Memory)
        self.s.ledger.opening = self.s.memory.opening or self.s.ledger.opening

    def found(self, at=None, *, reset=0, **facts):
        """State findings by code, at T0 + `at` seconds."""
        now = self.now if at is None else T0 + at
        return {
            f.code: f for f in state_findings(self.s, self.monitor, Facts(**facts), round(now * SECOND), reset_ns=round(reset * SECOND))
        }

    def publish(self, at, sequence, action, size, *, advisory=False):
        self.s.memory.publications.publish(round((T0 + at) * SECOND), sequence, action, size, advisory=advisory)

    def rows(self):
        """Living backtest rows by trade id."""
        out = {}
        for number in sorted(self.s.books.shelves):
            shelf = self.s.books.shelves[number]
            for place, row in enumerate(shelf.rows):
                if not int(row["flags"]) & DEAD and row["b_q"] > 0:
                    out[shelf.text_of(place)] = row
        return out


def fill(at, side="buy", quantity=1.0, price=100.0, **more):
    base = {
        "kind": "fill",
        "strategy": "s",
        "symbol": "X/USD",
        "fill_id": f"f{at}{side}",
        "side": side,
        "quantity": quantity,
        "price": price,
    }
    return {**base, "ts": T0 + at, **more}


def decision(at, action="buy", quantity=1.0, price=100.0, **more):
    base = {"kind": "decision", "strategy": "s", "symbol": "X/USD", "action": action, "quantity": quantity, "price": price}
    return {**base, "trade_id": f"t{at}", "ts": T0 + at, **more}


def heartbeat(at, **more):
    return {"kind": "heartbeat", "strategy": "s", "ts": T0 + at, **more}


def position(at, quantity, **more):
    return {"kind": "position", "strategy": "s", "symbol": "X/USD", "quantity": quantity, "ts": T0 + at, **more}


def balance(at, equity, **more):
    return {"kind": "balance", "strategy": "s", "equity": equity, "ts": T0 + at, **more}


def order(at, order_id, status="submitted", **more):
    return {"kind": "order", "strategy": "s", "symbol": "X/USD", "order_id": order_id, "status": status, "ts": T0 + at, **more}
