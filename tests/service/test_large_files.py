"""A large file is hashed while it is decoded: what becomes of it is what becomes of a small one."""

import pytest
from service.ops_desk import Desk, pairs
from service.test_ahead import END, backlog, seen

from parityd.app import built
from parityd.edges import clock
from parityd.service import reading
from parityd.settings import load


@pytest.fixture
def all_large(monkeypatch):
    monkeypatch.setattr(reading, "IN_MEMORY", 0)


def test_it_counts_as_a_small_one_does(tmp_path, capsys, monkeypatch):
    found = []
    for k, limit in enumerate((reading.IN_MEMORY, 0)):
        monkeypatch.setattr(reading, "IN_MEMORY", limit)
        (tmp_path / str(k)).mkdir()
        desk = Desk(tmp_path / str(k), capsys)
        backlog(desk, 2)
        desk.drop("live", [{"kind": "nothing"}])
        desk.check()
        found.append(seen(desk))
    assert found[0] == found[1]
    assert found[0][0]["matched"] == 16


def test_one_that_is_known_changes_nothing(tmp_path, capsys, all_large):
    desk = Desk(tmp_path, capsys)
    decisions, fills = pairs(4, end=END)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    desk.check()
    before = desk.trades()
    desk.drop("live", fills)
    desk.check()
    assert desk.trades() == before


def test_one_that_grows_meanwhile_is_left_for_later(tmp_path, capsys, all_large, monkeypatch):
    desk = Desk(tmp_path, capsys)
    _, fills = pairs(4, end=END)
    path = desk.drop("live", fills)
    real = reading.Reader._blocks

    def grown(self, w, *more):
        out = real(self, w, *more)
        with w.path.open("ab") as f:
            f.write(b"\n")
        return out

    monkeypatch.setattr(reading.Reader, "_blocks", grown)
    with built(load(desk.config, {}), command="test") as app:
        (w,) = app.spool.scan("live", clock.now()).ready
        got = app.brain.reader.read(w, clock.now(), app.brain.is_known, 0)
    assert got.later == "it changed while it was read"
    assert got.batch is None
    del path
