"""A process that reads ahead changes nothing but the time that a backlog takes."""

import json
import os
import pickle
import signal
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from service.ops_desk import Desk, pairs

from parityd.app import built
from parityd.core.accepting import fill_columns
from parityd.core.columns import Bounds
from parityd.core.records import BOOKS, Fill
from parityd.core.text import TextColumn
from parityd.edges import clock
from parityd.service import ahead, workplace
from parityd.settings import load

END = datetime.now(UTC) - timedelta(minutes=2)
TS = "2026-11-20T10:15:00.000000Z"


@pytest.fixture
def eager(monkeypatch):
    """Any backlog is worth a process, any file is large."""
    monkeypatch.setattr(ahead, "WORTH", 1)
    monkeypatch.setattr(ahead, "LARGE", 1)


def backlog(desk, n=5):
    for k in range(n):
        decisions, fills = pairs(8, prefix=f"t{k}", end=END)
        desk.drop("backtest", decisions)
        desk.drop("live", [*fills, {**fills[0], "fill_id": "bad", "quantity": -1}])


def seen(desk):
    trades = desk.trades()
    rejected = sorted(
        (r["line"], r["code"]) for p in (desk.data / "rejected").rglob("*.jsonl") for r in map(json.loads, p.read_text().splitlines())
    )
    return trades, rejected, sorted(p.name for p in (desk.data / "archive").rglob("*.jsonl"))


def test_columns_reach_another_process_with_their_names_not_their_codes():
    rows = [
        Fill(strategy=s, symbol=y, fill_id=f"f{k}", side="buy", quantity=1.0, price=2.0, ts=TS)
        for k, (s, y) in enumerate([("a", "X/Y"), ("b", "Z/Y"), ("a", "X/Y")])
    ]
    made, _ = fill_columns("live", rows, np.arange(3), Bounds())
    assert made is not None
    sent = pickle.dumps(made.take(np.array([2, 1])))
    assert b"X/Y" in sent
    there = pickle.loads(sent)
    assert (there.strategy, there.symbol, there.fill_id) == (["a", "b"], ["X/Y", "Z/Y"], ["f2", "f1"])
    assert there.key.tolist() == made.key[[2, 1]].tolist()


@pytest.mark.parametrize("ids", [["f1", "f2", "f3"], ["f1\n", "f2", "f\n\n3"], ["f1", "é", "\ud800"]])
def test_columns_reach_another_process_with_every_text_as_it_was(ids):
    rows = [
        Fill(strategy="a", symbol="X/Y", fill_id=fill_id, trade_id=trade_id, side="buy", quantity=1.0, price=2.0, ts=TS)
        for fill_id, trade_id in zip(ids, ["", "\n", ""], strict=True)
    ]
    made, _ = fill_columns("live", rows, np.arange(3), Bounds())
    assert made is not None
    there = pickle.loads(pickle.dumps(made))
    for name in made.names():
        here, other = getattr(made, name), getattr(there, name)
        assert here == other if isinstance(here, list | TextColumn) else here.tobytes() == other.tobytes()


def test_a_backlog_read_ahead_counts_as_one_that_was_not(tmp_path, capsys, eager):
    found = []
    for k, extra in enumerate(("", "[ingest]\nprocesses = 1\n")):
        (tmp_path / str(k)).mkdir()
        desk = Desk(tmp_path / str(k), capsys, extra)
        backlog(desk)
        desk.check()
        found.append(seen(desk))
    assert found[0] == found[1]
    assert found[0][0]["matched"] == 40
    assert len(found[0][1]) == 5


def waiting(app):
    return [w for book in BOOKS for w in app.spool.scan(book, clock.now()).ready]


def test_a_file_that_was_replaced_since_is_read_again(tmp_path, capsys, eager):
    desk = Desk(tmp_path, capsys, "[ingest]\nprocesses = 1\n")
    backlog(desk, 1)
    with built(load(desk.config, {}), command="test") as app:
        files = waiting(app)
        app.ahead.expect(files)
        assert app.ahead.running
        app.ahead.ask(files, clock.now(), 0)
        old = files[0]
        beside = old.path.with_name(".beside")
        beside.write_bytes(old.path.read_bytes())
        os.replace(beside, old.path)
        assert app.ahead.read(old, app.brain.is_known) is None
        told = app.ahead.read(files[1], app.brain.is_known)
        assert told is not None
        assert told.batch is not None
        assert app.ahead.read(files[1], app.brain.is_known) is None  # once
    assert not app.ahead.running


def test_where_the_process_dies_the_file_is_read_here(tmp_path, capsys, eager, monkeypatch):
    desk = Desk(tmp_path, capsys, "[ingest]\nprocesses = 1\n")
    backlog(desk, 3)
    real = ahead.Ahead.ask

    def killed(self, turn, now, oldest):
        real(self, turn, now, oldest)
        if self._pool is not None:
            for process in list(self._pool._processes.values()):
                os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(ahead.Ahead, "ask", killed)
    with built(load(desk.config, {}), command="test") as app:
        workplace.drain(app)
        assert not app.ahead.running
    desk.check()
    assert seen(desk)[0]["matched"] == 24


def test_what_is_known_is_known_by_its_content(tmp_path, capsys, eager):
    desk = Desk(tmp_path, capsys, "[ingest]\nprocesses = 1\n")
    backlog(desk, 1)
    with built(load(desk.config, {}), command="test") as app:
        files = waiting(app)
        app.ahead.expect(files)
        app.ahead.ask(files, clock.now(), 0)
        told = app.ahead.read(files[0], lambda _book, _sha256: True)
        assert told is not None
        assert (told.known, told.batch) == (True, None)
