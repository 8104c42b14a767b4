"""Logs that grow and databases that change, brought into the spool: every record once, however the file moves and wherever the process dies."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from faults.box import Box
from formats.samples import fix, ft_tables
from formats.samples import sqlite as database

from parityd import cli, commands
from parityd.app import built, drain
from parityd.core.records import Bust
from parityd.service.sources import Sources
from parityd.settings import load

TS = "2026-06-20T10:{:02d}:{:02d}Z"
MINUTE_NS = 60 * 10**9


def line(i, **k):
    record = {
        "kind": "fill",
        "strategy": "mom",
        "symbol": "BTC/USD",
        "fill_id": f"f{i}",
        "side": "buy",
        "quantity": 1,
        "price": 100,
        "ts": TS.format(i // 60, i % 60),
    }
    return (json.dumps(record | k) + "\n").encode()


def lines(start, end):
    return b"".join(line(i) for i in range(start, end))


class Desk:
    """A data folder with one source and the log that it lies at."""

    def __init__(self, root, log="engine.jsonl", **source):
        root.mkdir(exist_ok=True)
        self.root, self.log = root, root / "logs" / log
        self.log.parent.mkdir(exist_ok=True)
        self.data = root / "data"
        fields = {"path": str(self.log), "mode": "tail", "book": "live", **source}
        text = "".join(f"{k} = {v if isinstance(v, str) and v.startswith('{') else json.dumps(v)}\n" for k, v in fields.items())
        (root / "parityd.toml").write_text(f'data_dir = "{self.data}"\n[sources.desk]\n{text}', encoding="utf-8")

    @property
    def settings(self):
        return load(self.root / "parityd.toml", {})

    def append(self, data):
        with self.log.open("ab") as f:
            f.write(data)

    def check(self):
        return commands.check(self.settings, None)

    def look(self, app, sources=None):
        """One round and what it brought, taken."""
        sources = sources or Sources(app)
        got = sources.once()
        drain(app)
        return sources, got

    def files(self, app):
        return [e for e in app.store.files() if e.name.startswith("desk~")]

    def fills(self, strategy="mom"):
        with built(self.settings, command="test") as app:
            return [
                (name, quantity)
                for _, fills, _, _ in app.store.records(strategy)
                if fills is not None
                for name, quantity in zip(fills.fill_id, fills.quantity.tolist(), strict=True)
            ]

    def ids(self):
        return [name for name, _ in self.fills()]

    def refused(self):
        return [json.loads(x) for p in sorted((self.data / "rejected").rglob("*.rejected.jsonl")) for x in p.read_text().splitlines()]

    def set_aside(self):
        return [json.loads(p.read_text()) for p in sorted((self.data / "rejected").rglob("*.reason.json"))]

    def spooled(self):
        return sorted(os.listdir(self.data / "spool" / "live"))


def names(start, end):
    return [f"f{i}" for i in range(start, end)]


# --- growing logs -----------------------------------------------------------------------------------------------------------------------


def test_a_growing_log_is_taken_line_by_line_and_each_line_once(tmp_path):
    desk = Desk(tmp_path)
    desk.append(lines(0, 3) + line(3)[:20])
    desk.check()
    assert desk.ids() == names(0, 3)
    desk.append(line(3)[20:])
    desk.check()
    desk.check()
    desk.append(lines(4, 9))
    desk.check()
    assert desk.ids() == names(0, 9)
    with built(desk.settings, command="test") as app:
        assert [e.accepted for e in desk.files(app)] == [3, 1, 5]
        assert {e.source for e in desk.files(app)} == {"desk"}
        assert sum(e.duplicates for e in desk.files(app)) == 0
    assert desk.spooled() == []


def test_a_growing_fix_log_gives_the_fills_of_the_whole_also_where_a_part_of_it_says_nothing(tmp_path):
    desk = Desk(tmp_path, "session.messages.current.log", strategy="mom")
    whole = b"".join(
        b"noise of the engine\n" * 3 + fix(t17=f"f{i}", t52="20260620-10:00:00", t60=f"20260620-10:{i // 60:02d}:{i % 60:02d}") + b"\n"
        for i in range(40)
    )
    with built(desk.settings, command="test") as app:
        sources = None
        for at in range(0, len(whole), 997):
            desk.append(whole[at : at + 997])
            sources, _ = desk.look(app, sources)
        sources, _ = desk.look(app, sources)
        desk.append(b"nothing but noise\n")
        desk.look(app, sources)
        assert {e.format for e in desk.files(app)} == {"fix"}
    assert desk.ids() == names(0, 40)
    assert desk.set_aside() == []


def test_a_log_that_no_format_knows_yet_waits_until_one_does(tmp_path):
    desk = Desk(tmp_path, "app.log", strategy="mom")
    desk.append(b"starting\n")
    with built(desk.settings, command="test") as app:
        sources, _ = desk.look(app)
        assert "no known format" in sources.degraded["source desk"]
    desk.append(fix(t17="f0", t60="20260620-10:00:00", t52="20260620-10:00:00") + b"\n")
    desk.check()
    assert desk.ids() == ["f0"]
    assert desk.set_aside() == []


def test_a_format_without_a_strategy_is_set_aside_naming_the_key(tmp_path):
    desk = Desk(tmp_path, "fix.log")
    desk.append(fix(t60="20260620-10:00:00") + b"\n")
    desk.check()
    (told,) = desk.set_aside()
    assert "[sources.desk] strategy" in told["reason"]


def test_columns_and_timezone_are_those_of_the_source_and_the_header_goes_with_every_part(tmp_path):
    desk = Desk(
        tmp_path, "trades.txt", strategy="mom", timezone="America/New_York",
        columns='{ts = "When", side = "Side", quantity = "Qty", price = "Px", symbol = "Sym", fill_id = "Id", kind = "=fill"}',
    )  # fmt: skip
    desk.append(b"When;Side;Qty;Px;Sym;Id\n2026-06-20 10:15:00;B;2;100.5;ESU6;a\n")
    desk.check()
    desk.append(b"2026-06-20 10:16:00;S;2;100.5;ESU6;b\n")
    desk.check()
    with built(desk.settings, command="test") as app:
        found = [(fills.fill_id, fills.ts.tolist()) for _, fills, _, _ in app.store.records("mom") if fills is not None]
    assert [x for x, _ in found] == [["a"], ["b"]]
    assert found[1][1][0] - found[0][1][0] == MINUTE_NS
    assert found[0][1][0] % (24 * 3600 * 10**9) == (14 * 60 + 15) * MINUTE_NS
    assert desk.refused() == []


def test_a_pattern_takes_every_log_and_new_ones_as_they_come(tmp_path):
    desk = Desk(tmp_path, "fills-1.jsonl", path="../logs/fills-*.jsonl")
    desk.append(lines(0, 2))
    (desk.log.parent / ".fills-9.jsonl").write_bytes(lines(90, 91))
    desk.check()
    (desk.log.parent / "fills-2.jsonl").write_bytes(lines(2, 4))
    desk.append(lines(4, 5))
    desk.check()
    assert sorted(desk.ids()) == names(0, 5)


def test_a_long_log_comes_in_parts_and_waits_while_the_spool_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("parityd.service.tailing.AT_ONCE", 1000)
    desk = Desk(tmp_path)
    desk.append(lines(0, 60))
    with built(desk.settings, command="test") as app:
        sources = Sources(app)
        got = sources.once()
        assert got.more
        assert len(desk.spooled()) == 4
        assert not sources.once().bytes
    desk.check()
    assert desk.ids() == names(0, 60)


# --- truncated, rotated, replaced ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_a_truncated_log_is_read_from_the_start(tmp_path, restart):
    desk = Desk(tmp_path)
    desk.append(lines(0, 5))
    desk.check()
    desk.log.write_bytes(line(5))
    desk.check()
    if restart:
        desk.check()
    desk.append(lines(6, 8))
    desk.check()
    assert desk.ids() == names(0, 8)


def test_a_log_written_anew_with_more_is_read_whole_and_absorbed(tmp_path):
    desk = Desk(tmp_path)
    desk.append(lines(1, 3))
    desk.check()
    desk.log.write_bytes(lines(0, 6))
    desk.check()
    assert sorted(desk.ids()) == names(0, 6)
    assert desk.refused() == []


@pytest.mark.parametrize("how", ["rename", "copytruncate"])
def test_what_was_not_read_of_a_rotated_log_is_read_where_it_went(tmp_path, how):
    desk = Desk(tmp_path)
    desk.append(lines(0, 3))
    desk.check()
    desk.append(lines(3, 5))
    rotated = desk.log.with_name("engine.jsonl.1")
    if how == "rename":
        desk.log.rename(rotated)
    else:
        rotated.write_bytes(desk.log.read_bytes())
        desk.log.write_bytes(b"")
    desk.append(lines(5, 7))
    desk.check()
    assert desk.ids() == names(0, 7)
    with rotated.open("ab") as f:  # its writer has not noticed yet
        f.write(line(7))
    desk.check()
    desk.check()
    assert desk.ids() == names(0, 8)
    with built(desk.settings, command="test") as app:
        assert sum(e.duplicates for e in desk.files(app)) == 0


def test_the_last_line_of_a_rotated_log_counts_without_its_end_once_nobody_writes_to_it(tmp_path):
    desk = Desk(tmp_path)
    desk.append(lines(0, 2))
    desk.check()
    desk.append(line(2)[:-1])
    rotated = desk.log.with_name("engine-2026-06-20.jsonl")
    desk.log.rename(rotated)
    desk.append(line(3))
    desk.check()
    assert desk.ids() == ["f0", "f1", "f3"]
    old = rotated.stat().st_mtime_ns - 2 * MINUTE_NS
    os.utime(rotated, ns=(old, old))
    desk.check()
    desk.check()
    assert desk.ids() == ["f0", "f1", "f3", "f2"]


def test_a_rotation_that_the_pattern_covers_reads_nothing_twice(tmp_path):
    desk = Desk(tmp_path, path="../logs/engine*")
    desk.append(lines(0, 3))
    desk.check()
    desk.append(line(3))
    desk.log.rename(desk.log.with_name("engine.jsonl.1"))
    desk.append(lines(4, 5))
    desk.check()
    desk.log.with_name("engine.jsonl.1").rename(desk.log.with_name("engine.jsonl.2"))
    desk.log.rename(desk.log.with_name("engine.jsonl.1"))
    desk.append(lines(5, 6))
    desk.check()
    with built(desk.settings, command="test") as app:
        assert sum(e.duplicates for e in desk.files(app)) == 0
    assert sorted(desk.ids()) == names(0, 6)


def test_without_its_state_a_source_is_read_whole_and_identity_absorbs_it(tmp_path):
    desk = Desk(tmp_path)
    desk.append(lines(0, 4))
    desk.check()
    (desk.data / ".sources" / "desk.json").unlink()
    desk.append(line(4))
    desk.check()
    (desk.data / ".sources" / "desk.json").write_bytes(b'{"book": "live", "pieces": [')
    desk.append(line(5))
    desk.check()
    assert desk.ids() == names(0, 6)


def test_a_store_that_knows_less_than_the_state_is_filled_again(tmp_path):
    desk = Desk(tmp_path)
    for i in range(3):
        desk.append(line(i))
        desk.check()
    for path in [*desk.data.glob("parityd.sqlite*"), *(desk.data / "archive").rglob("*.jsonl")]:
        path.unlink()
    with built(desk.settings, command="test") as app:
        desk.look(app)
    assert desk.ids() == names(0, 3)


def test_a_file_that_somebody_took_out_of_the_spool_is_delivered_again(tmp_path):
    desk = Desk(tmp_path)
    desk.append(lines(0, 3))
    with built(desk.settings, command="test") as app:
        sources = Sources(app)
        sources.once()
        (name,) = desk.spooled()
        (desk.data / "spool" / "live" / name).unlink()
        desk.look(app, sources)
    assert desk.ids() == names(0, 3)


# --- what is wrong is said ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "said"),
    [("nowhere/x.log", "No such file"), ("nowhere/*.log", "no such folder"), ("spool/live/x.jsonl", "own"), ("pipe", "no regular file")],
)
def test_a_path_that_leads_nowhere_is_said(tmp_path, path, said):
    desk = Desk(tmp_path, path=path)
    with built(desk.settings, command="test") as app:
        (desk.data / "spool" / "live" / ".x.jsonl").write_bytes(line(0))
        (desk.data / "spool" / "live" / ".x.jsonl").rename(desk.data / "spool" / "live" / "x.jsonl")
        os.mkfifo(desk.data / "pipe")
        sources = Sources(app)
        sources.once()
        assert said in sources.degraded["source desk"]


def test_one_log_that_cannot_be_read_does_not_hold_up_another(tmp_path):
    desk = Desk(tmp_path, "a.jsonl", path="../logs/*.jsonl")
    desk.append(lines(0, 2))
    (desk.log.parent / "b.jsonl").symlink_to(tmp_path / "gone")
    with built(desk.settings, command="test") as app:
        sources, _ = desk.look(app)
        assert "b.jsonl" in sources.degraded["source desk"]
        (desk.log.parent / "b.jsonl").unlink()
        desk.look(app, sources)
        assert sources.degraded == {}
    assert desk.ids() == names(0, 2)


# --- killed at every step -------------------------------------------------------------------------------------------------------------------

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _dies(step, act):
    """Run `act` in a child that is killed before its `step`-th change of a file; True where it came to its end before that."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = [step]

    def hook(event, args):
        if event in ("os.rename", "os.remove", "os.mkdir") or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(hook)
        act()
        code = 0
    finally:
        os._exit(code)


def _cycle(desk):
    with built(desk.settings, command="test") as app:
        sources, _ = desk.look(app)
        desk.append(lines(6, 8))
        desk.look(app, sources)


@pytest.mark.slow
def test_killed_at_any_step_every_line_counts_once(tmp_path):
    step, ended = 1, False
    while not ended:
        desk = Desk(tmp_path / f"at-{step}")
        desk.append(lines(0, 3))
        desk.check()
        desk.append(lines(3, 6) + line(6)[:9])
        desk.log.write_bytes(lines(0, 6))
        ended = _dies(step, lambda desk=desk: _cycle(desk))
        desk.log.write_bytes(lines(0, 10))
        desk.check()
        assert sorted(desk.ids()) == names(0, 10), step
        assert desk.spooled() == [], step
        assert desk.refused() == [], step
        assert desk.set_aside() == [], step
        with built(desk.settings, command="test") as app:
            assert sum(e.duplicates for e in desk.files(app)) == 0, step
        step += 1
    assert step > 20


@pytest.mark.slow
def test_killed_and_the_log_truncated_meanwhile_nothing_that_was_delivered_is_lost(tmp_path):
    step, ended = 1, False
    while not ended:
        desk = Desk(tmp_path / f"at-{step}")
        desk.append(lines(0, 3))
        ended = _dies(step, lambda desk=desk: _cycle(desk))
        brought = list((desk.data / "spool" / "live").glob("desk~*")) if desk.data.exists() else []
        state = desk.data / ".sources" / "desk.json"
        promised = state.exists() and json.loads(state.read_bytes())["pieces"]
        desk.log.write_bytes(line(9))
        desk.check()
        if brought or promised:
            assert set(names(0, 3)) < set(desk.ids()), step
        assert "f9" in desk.ids(), step
        assert len(desk.ids()) == len(set(desk.ids())), step
        step += 1


# --- orders told by what is filled ------------------------------------------------------------------------------------------------------------


def order(oid, filled, status="open", minute=0):
    at = 1_781_950_000_000 + minute * 60_000
    found = {
        "id": oid, "symbol": "BTC/USDT", "side": "buy", "type": "limit", "price": 100, "amount": 1, "filled": filled, "remaining": 1 - filled, "average": 100,
        "cost": 100 * filled, "status": status, "timestamp": 1_781_950_000_000, "datetime": None, "lastTradeTimestamp": at, "info": {}, "fee": None, "fees": [],
        "trades": [],
    }  # fmt: skip
    return (json.dumps(found) + "\n").encode()


def test_what_an_order_told_is_remembered_across_files_restarts_and_a_log_read_again(tmp_path):
    desk = Desk(tmp_path, "orders.jsonl", strategy="mom")
    desk.append(order("a", 0.25) + order("b", 0.5))
    desk.check()
    assert desk.fills() == [("a#0.25", 0.25), ("b#0.5", 0.5)]
    desk.append(order("a", 0.75, minute=1))
    desk.check()
    desk.append(order("a", 1.0, "closed", minute=2) + order("b", 0.5, "canceled", minute=2))
    desk.check()
    assert desk.fills() == [("a#0.25", 0.25), ("b#0.5", 0.5), ("a#0.75", 0.5), ("a#1", 0.25)]
    desk.log.write_bytes(b"\n" + desk.log.read_bytes())
    desk.check()
    assert sum(q for _, q in desk.fills()) == 1.5
    assert desk.refused() == []


def test_dropped_files_tell_each_increase_of_an_order_once_too(tmp_path):
    desk = Desk(tmp_path, mode="drop", path="spool/live/*.jsonl", strategy="mom")
    (inbox := desk.data / "spool" / "live").mkdir(parents=True)
    for name, states in {
        "a": order("a", 0.25) + order("b", 0.5),
        "b": order("a", 1.0, "closed", minute=2),
        "c": order("a", 0.5, minute=1),
    }.items():
        (inbox / f"{name}.jsonl").write_bytes(states)
    desk.check()
    (inbox / "d.jsonl").write_bytes(order("b", 0.75, minute=3))
    desk.check()
    assert desk.fills() == [("a#0.25", 0.25), ("b#0.5", 0.5), ("a#1", 0.75), ("b#0.75", 0.25)]
    assert desk.refused() == []


def test_a_bust_in_a_later_part_of_a_log_takes_back_the_fill_with_its_venue(tmp_path):
    desk = Desk(tmp_path, "fix.log", strategy="mom")
    report = b"8=FIX.4.4|35=8|11=c|17=%s|19=%s|31=5|32=2|37=v|39=1|54=1|55=X|60=20261120-10:00:00|150=%s|%s10=000|\n"
    desk.append(report % (b"e1", b"", b"F", b"1=A|30=XCME|"))
    desk.check()
    desk.append(report % (b"e2", b"e1", b"H", b""))
    desk.check()
    with built(desk.settings, command="test") as app:
        (bust,) = [x.record for _, _, _, rare in app.store.records("mom") for x in rare if isinstance(x.record, Bust)]
    assert (bust.fill_id, bust.account, bust.venue) == ("e1", "A", "XCME")


def test_a_rebuilt_store_tells_the_same_and_goes_on_from_there(tmp_path):
    desk = Desk(tmp_path, "orders.jsonl", strategy="mom")
    for piece in (order("a", 0.25) + order("b", 0.5), order("a", 0.75, minute=1), order("a", 1.0, "closed", minute=2)):
        desk.append(piece)
        desk.check()
    before = desk.fills()
    assert cli.main(["rebuild", "--config", str(tmp_path / "parityd.toml")]) == 0
    assert desk.fills() == before
    desk.append(order("b", 0.75, minute=3))
    desk.check()
    assert desk.fills() == [*before, ("b#0.75", 0.25)]


# --- polled ---------------------------------------------------------------------------------------------------------------------------------


def poll(root, **source):
    return Desk(root, "tradesv3.sqlite", mode="poll", every="200ms", **source)


def test_a_polled_database_is_taken_when_it_tells_something_new_and_only_then(tmp_path):
    desk = poll(tmp_path)
    desk.log.write_bytes(database(str(tmp_path / "made"), ft_tables()))
    desk.check()
    with built(desk.settings, command="test") as app:
        (first,) = desk.files(app)
        assert first.format == "freqtrade_sqlite"
        assert first.name.endswith(".sqlite.zst")
        strategy = first.strategies[0]
    before = desk.fills(strategy)
    assert len(before) == 2
    with sqlite3.connect(desk.log) as db:
        db.execute("CREATE TABLE unrelated (x)")
    db.close()
    desk.check()
    with built(desk.settings, command="test") as app:
        assert len(desk.files(app)) == 1
    with sqlite3.connect(desk.log) as db:
        row = {**ft_tables()["orders"][0], "id": 99, "order_id": "new-1", "ft_order_side": "buy"}
        db.execute(f"INSERT INTO orders ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    db.close()
    desk.check()
    assert len(desk.fills(strategy)) == 3
    assert desk.refused() == []
    assert sorted(p.name for p in desk.log.parent.iterdir()) == ["tradesv3.sqlite"]


WRITER = """
import json, sqlite3, sys, time
path, n, rows = sys.argv[1], int(sys.argv[2]), json.loads(sys.stdin.read())
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
for i in range(n):
    db.execute("BEGIN IMMEDIATE")
    row = rows | {"id": 1000 + i, "order_id": f"w-{i}", "ft_is_open": 1, "status": "open", "filled": 0}
    db.execute(f"INSERT INTO orders ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    db.execute("COMMIT")
    db.execute("UPDATE orders SET ft_is_open = 0, status = 'closed', filled = ? WHERE id = ?", (rows["filled"], 1000 + i))
    time.sleep(0.002)
print("done")
"""


@pytest.mark.slow
def test_a_database_is_polled_while_another_process_writes_it(tmp_path):
    desk = poll(tmp_path)
    desk.log.write_bytes(database(str(tmp_path / "made"), ft_tables()))
    row = ft_tables()["orders"][0]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(desk.log), "400"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writer.stdin.write(json.dumps(row).encode())
    writer.stdin.close()
    with built(desk.settings, command="test") as app:
        sources = None
        while writer.poll() is None:
            sources, _ = desk.look(app, sources)
        writer.stdout.close()
        assert writer.returncode == 0
        desk.look(app, sources)
        strategy = desk.files(app)[0].strategies[0]
    written = [name for name, _ in desk.fills(strategy) if name.startswith("w-")]
    assert len(written) == len(set(written)) == 400
    assert desk.refused() == []
    assert desk.set_aside() == []


def test_a_busy_database_waits_for_the_next_round(tmp_path, monkeypatch):
    monkeypatch.setattr("parityd.service.polling.BUSY_SECONDS", 0.1)
    desk = poll(tmp_path)
    desk.log.write_bytes(database(str(tmp_path / "made"), ft_tables()))
    holder = sqlite3.connect(desk.log, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with built(desk.settings, command="test") as app:
        sources, _ = desk.look(app)
        assert "busy" in sources.degraded["source desk"]
        holder.execute("ROLLBACK")
        holder.close()
        desk.look(app, sources)
        assert sources.degraded == {}
        assert len(desk.files(app)) == 1
    assert not list((desk.data / ".sources").glob("*.copy*"))


def test_a_polled_document_is_taken_whole_whenever_it_says_something_else(tmp_path):
    desk = Desk(tmp_path, "trades.json", mode="poll")
    records = [json.loads(line(i)) for i in range(3)]
    desk.log.write_text(json.dumps(records[:2]))
    desk.check()
    desk.log.write_text(json.dumps(records[:2], indent=1))
    desk.check()
    desk.log.write_text(json.dumps(records)[:-9])
    desk.check()
    assert desk.ids() == names(0, 2)
    desk.log.write_text(json.dumps(records))
    desk.check()
    assert desk.ids() == names(0, 3)
    with built(desk.settings, command="test") as app:
        assert len(desk.files(app)) == 2
    assert desk.set_aside() == []


# --- the daemon -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_daemon_that_is_killed_again_and_again_takes_every_line_once(tmp_path):
    log = tmp_path / "engine.jsonl"
    log.touch()
    box = Box(tmp_path, f'[sources.desk]\npath = "{log}"\nmode = "tail"\nbook = "live"\nevery = "100ms"\n')
    for k in range(3):
        with box.running(ready=False):
            for i in range(20):
                with log.open("ab") as f:
                    f.write(line(20 * k + i))
            if k == 2:
                box.ready()
                with log.open("ab") as f:
                    f.write(line(60))
                box.until(lambda: box.metric('records_ingested_total{book="live",kind="fill"}') and _known(box) >= 61, 30, "all lines")
            else:
                box.until(lambda k=k: _known(box) > 20 * k, 30, "some lines")
    assert sorted(_ids(box), key=lambda x: int(x[1:])) == names(0, 61)


def _ids(box):
    found = []
    for p in (box.data / "archive").rglob("*desk~*"):
        found += [json.loads(x)["fill_id"] for x in p.read_text().splitlines()]
    return found


def _known(box):
    return len(set(_ids(box)))


# --- real engines ---------------------------------------------------------------------------------------------------------------------------

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real files are not here")


def _all(app, strategy):
    return sorted(
        x
        for _, c, _, _ in app.store.records(strategy)
        if c is not None
        for x in zip(c.fill_id, c.order_id, c.ts.tolist(), c.price.tolist(), c.quantity.tolist(), strict=True)
    )


@needs_data
def test_a_real_fix_log_read_as_it_grows_tells_what_it_tells_whole(tmp_path):
    real = next(DATA.glob("fix/quickfix*/*messages*")).read_bytes()
    grown, whole = Desk(tmp_path / "grown", "s.messages.current.log", strategy="mom"), Desk(tmp_path / "whole", "s.log", strategy="mom")
    whole.append(real)
    with built(grown.settings, command="test") as app:
        sources = None
        for at in range(0, len(real), len(real) // 12):
            grown.append(real[at : at + len(real) // 12])
            sources, _ = grown.look(app, sources)
        parts = _all(app, "mom")
        assert len(grown.files(app)) >= 12
    with built(whole.settings, command="test") as app:
        whole.look(app)
        assert parts == _all(app, "mom")
    assert len(parts) > 1000
    assert grown.refused() == []


@needs_data
def test_a_real_freqtrade_database_is_polled_as_it_is(tmp_path):
    desk = poll(tmp_path)
    desk.log.write_bytes((DATA / "freqtrade/spot_btc_a/live/tradesv3.sqlite").read_bytes())
    desk.check()
    with built(desk.settings, command="test") as app:
        (only,) = desk.files(app)
        assert only.by_kind["fill"] > 1000
    assert desk.refused() == []


def test_json_lines_under_the_name_of_a_log_are_what_they_say(tmp_path):
    desk = Desk(tmp_path, "engine.log")
    desk.append(lines(0, 2))
    desk.check()
    desk.append(b"Traceback (most recent call last):\n" + line(2))
    desk.check()
    assert desk.ids() == names(0, 3)
    assert [(r["line"], r["code"]) for r in desk.refused()] == [(1, "bad_json")]
