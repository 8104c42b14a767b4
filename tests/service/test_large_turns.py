"""A turn larger than what stays in memory: drift is followed while it is written, and nothing is taken for what it is not yet."""

import json
import time

from parityd.core.records import BOOKS
from parityd.edges.spool import Spool
from parityd.service.beside import Beside
from parityd.service.brain import Brain
from parityd.service.reading import Reader
from parityd.service.told import Told
from parityd.settings import Settings
from parityd.store import Store

NOW = 1_790_000_000
NS = 10**9
TRADES = 9_000


def pair(strategy, k, ts):
    """A trade of both books."""
    said = {"kind": "fill", "strategy": strategy, "symbol": "BTC/USD", "trade_id": f"t{k}", "side": "buy", "quantity": 1}
    return {**said, "fill_id": f"b{k}", "price": 100 + k % 7, "ts": ts}, {**said, "fill_id": f"l{k}", "price": 100 + k % 5, "ts": ts + 0.5}


class Desk:
    def __init__(self, folder):
        for s in ("spool/live", "spool/backtest", "archive", "rejected"):
            (folder / s).mkdir(parents=True)
        self.folder, self.store = folder, Store.open(folder / "s.sqlite", now_ns=NOW * NS)
        self.spool = Spool(folder)
        self.reader = Reader.of(self.spool, Settings(data_dir=folder))
        self.reader.told = Told(self.store.state)
        self.brain = Brain(Settings(data_dir=folder), self.store, self.spool, self.reader, lambda: NOW * NS, time.monotonic_ns, "boot")

    def turn(self, name, pairs):
        for book, k in (("backtest", 0), ("live", 1)):
            path = self.folder / "spool" / book / f".{name}.jsonl"
            path.write_text("".join(json.dumps(p[k]) + "\n" for p in pairs))
            path.rename(path.with_name(f"{name}.jsonl"))
        waiting = [w for book in BOOKS for w in self.spool.scan(book, NOW * NS + 10 * NS).ready]
        return self.brain.files([self.reader.read(w, NOW * NS, self.brain.is_known, 0) for w in waiting])


def test_shelves_let_go_of_while_the_turn_is_written_come_back_whole(tmp_path, monkeypatch):
    real = Beside.begin

    def ahead(self):
        real(self)
        time.sleep(0.1)  # time for the thread to run ahead of the writing

    desk, start = Desk(tmp_path), NOW - 86_400
    desk.turn("a", [pair(f"s{i}", 0, start - 3600) for i in range(30)])  # with thirty strategies each keeps some 2,000 rows
    monkeypatch.setattr(Beside, "begin", ahead)
    done = desk.turn("b", [pair("s0", k + 1, start + 3 * k) for k in range(TRADES)])
    assert not done.failed
    books, gauges = desk.brain.v.m.strategies["s0"].books, desk.brain.v.gauges["s0"]
    assert sum(x.count for x in gauges.feed.trades.seen.values()) == TRADES + 1
    for number, shelf in books.shelves.items():
        assert shelf.n == desk.store.load_shelf("s0", number).n
    _, late = pair("s0", 6_001, start + 3 * 6_000)
    desk.turn("c", [({**pair("x", 0, start)[0]}, {**late, "fill_id": "late"})])
    number = books.places.get(next(int(r["bkey"]) for r in books.shelf((start + 18_000) // 900).rows if r["l_n"] == 2))
    row = next(r for r in desk.store.load_shelf("s0", number).rows if r["l_n"] == 2)
    assert (float(row["b_q"]), float(row["l_q"])) == (1.0, 2.0)
    desk.store.close()
