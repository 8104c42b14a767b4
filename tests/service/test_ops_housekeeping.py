"""Years of work stay small, and nothing that still counts is lost for it."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from service.ops_desk import Desk, pairs

from parityd.app import built
from parityd.core.instants import DAY_NS
from parityd.core.rows import DEAD, NOWHEN
from parityd.edges import clock
from parityd.service import housekeeping as house
from parityd.service.ops_archive import archived, opened
from parityd.service.ops_rights import faults
from parityd.service.retention import oldest
from parityd.settings import load

KEEP = '[retention]\ntrades = "40d"\narchive = "40d"\nreports = "40d"\n'


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys)


def settings(desk):
    return load(desk.config, {})


def traded(desk, prefix="t", n=24, **how):
    decisions, fills = pairs(n, prefix=prefix, **how)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    return desk.check()


def aged(desk, days):
    """As if the archive had been written so many days ago."""
    for folder in (desk.data / "archive").glob("*/*"):
        old = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")
        folder.rename(folder.parent / old)


def test_a_folder_that_was_opened_to_others_while_the_daemon_runs_is_told_with_its_mend(desk):
    desk.check()
    outer = {}
    actions = desk.data / "system_actions"
    actions.chmod(0o777)
    house._rights(faults(settings(desk)), outer)
    assert "system_actions" in outer["rights"]
    assert "chmod o-w" in outer["rights"]
    actions.chmod(0o755)
    house._rights(faults(settings(desk)), outer)
    assert not outer


def test_old_days_of_the_archive_are_packed_and_read_back_exactly(desk):
    traded(desk)
    files = {one.path.name: one.path.read_bytes() for one in archived(desk.data)}
    assert house.tidy_files(settings(desk), clock.now(), clock.boottime).packed == 0  # the newest week stays as it is
    aged(desk, 9)
    assert house.tidy_files(settings(desk), clock.now(), clock.boottime).packed == 2
    for one in archived(desk.data):
        assert one.path.suffix == ".zst"
        assert len(one.path.read_bytes()) < len(files[one.path.name.removesuffix(".zst")])
        with opened(one, desk.data) as w:
            assert w.path.read_bytes() == files[one.path.name.removesuffix(".zst")]
            assert w.name.endswith(".jsonl")
    assert house.tidy_files(settings(desk), clock.now(), clock.boottime).packed == 0
    desk.ok("rebuild")
    assert desk.trades()["matched"] == 24


def test_marks_in_many_pieces_are_stored_as_few_and_mean_the_same(desk, monkeypatch):
    for k in range(4):
        traded(desk, f"t{k}", 6)
    monkeypatch.setattr(house, "SCATTERED", 3)

    def series(app):
        return {
            (name, symbol): [x.tolist() for x in (s.ts, s.rank, s.px)]
            for name, table in (("marks", app.brain.v.m.marks.marks), ("traded", app.brain.v.m.marks.traded))
            for symbol, s in table.items()
            if s.settle() is None
        }

    with built(settings(desk), command="test") as app:
        before, pieces = series(app), len(list(app.store.marks()))
        house.tidy_store(app, clock.now())
        assert len(list(app.store.marks())) < pieces
        assert app.store.scattered_marks(3) == []
        assert series(app) == before
    with built(settings(desk), command="test") as app:
        assert series(app) == before


def test_a_file_that_is_not_what_its_name_says_is_left_alone(desk):
    traded(desk)
    aged(desk, 9)
    one = next(archived(desk.data))
    one.path.write_bytes(one.path.read_bytes() + b"\n")
    assert house.tidy_files(settings(desk), clock.now(), clock.boottime).packed == 1
    assert one.path.exists()
    assert not one.path.with_name(one.path.name + ".zst").exists()


def test_nothing_is_removed_that_retention_does_not_name(desk):
    traded(desk)
    aged(desk, 4000)
    (desk.data / "parity_reports/parity_report_2001-01-01.json").write_text("{}")
    done = house.tidy_files(settings(desk), clock.now(), clock.boottime)
    assert done.removed == 0
    assert len(list(archived(desk.data))) == 2


def test_what_is_past_its_time_goes_with_a_line_for_the_audit(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, KEEP)
    traded(desk)
    aged(desk, 41)
    (desk.data / "parity_reports/parity_report_2001-01-01.json").write_text("{}")
    (desk.data / "parity_reports/parity_report_2999-01-01.json").write_text("{}")
    done = house.tidy_files(settings(desk), clock.now(), clock.boottime)
    assert not list(archived(desk.data))
    assert [p.name for p in (desk.data / "parity_reports").glob("*2*")] == ["parity_report_2999-01-01.json"]
    assert {event for event, _ in done.events} == {"retention.archive", "retention.reports"}


def test_trades_past_their_time_leave_and_positions_go_on(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    long_ago = datetime.now(UTC) - timedelta(days=60)
    decisions, fills = pairs(25, prefix="old", end=long_ago)  # 13 bought, 12 sold: one is held from then on
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    traded(desk)
    desk.config.write_text(desk.config.read_text() + KEEP)
    with built(settings(desk), command="test") as app:
        s = app.brain.v.m.strategies["s"]
        sym = next(iter(s.ledger.entries))
        held = s.ledger.position(sym, 2, 2**40)
        assert held == 100_000_000
        house.tidy_store(app, clock.now())
        assert s.ledger.position(sym, 2, 2**40) == held
        assert min(s.books.summaries) * 900 > (clock.now() - 41 * DAY_NS) // 10**9
    with built(settings(desk), command="test") as app:
        s = app.brain.v.m.strategies["s"]
        assert s.ledger.position(sym, 2, 2**40) == held
        assert min(s.books.summaries) * 900 > (clock.now() - 41 * DAY_NS) // 10**9
        assert app.store.check() == []
        assert not house.tidy_store(app, clock.now())
    assert desk.trades()["matched"] == 24
    assert [r for r in desk.audit() if r["event"] == "retention.trades"]


def test_orders_without_a_time_go_with_their_trades_and_no_sooner(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    for prefix, end in (("old", datetime.now(UTC) - timedelta(days=60)), ("new", datetime.now(UTC) - timedelta(hours=2))):
        decisions, fills = pairs(4, prefix=prefix, end=end, minutes=10)
        fills = [f | {"order_id": f"o-{f['fill_id']}"} for f in fills]
        desk.drop("backtest", [*decisions, *fills])
        desk.drop("live", fills)
        desk.check()
    desk.config.write_text(desk.config.read_text() + KEEP)
    with built(settings(desk), command="test") as app:
        books = app.brain.v.m.strategies["s"].books
        before = led_to(books)
        assert min(before) * 900 < (clock.now() - 41 * DAY_NS) // 10**9  # an order of the backtest is there for each of both times
        house.tidy_store(app, clock.now())
        kept = [n for n in before if n * 900 > (clock.now() - 41 * DAY_NS) // 10**9]
        assert led_to(books) == kept
        assert kept
        assert not house._forget(app, clock.now())  # done is done
    with built(settings(desk), command="test") as app:
        assert led_to(app.brain.v.m.strategies["s"].books) == kept
        assert app.store.check() == []
        assert not house._forget(app, clock.now())
    desk.check()  # tells the audit trail
    assert len([r for r in desk.audit() if r["event"] == "retention.trades"]) == 1


def led_to(books):
    """The shelves of the trades that rows without a time belong to."""
    rows = books.shelf(NOWHEN).rows
    return sorted(books.places.get(int(key)) for key in rows["link"][(rows["flags"] & DEAD) == 0])


def test_records_older_than_the_kept_trades_are_refused(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, KEEP)
    decisions, _ = pairs(3, end=datetime.now(UTC) - timedelta(days=50))
    desk.drop("backtest", decisions)
    desk.check()
    rows = [json.loads(line) for path in desk.rejected() for line in path.read_text().splitlines()]
    assert [r["code"] for r in rows] == ["too_old"] * 3
    assert oldest(settings(Desk(tmp_path, capsys)), clock.now()) < 0.7e18  # without retention: 1990


def test_crowded_shelves_are_compacted_and_say_the_same(desk):
    quarter = datetime.fromtimestamp((clock.now() // 10**9 - 3600) // 900 * 900 + 780, UTC)  # all on one shelf
    decisions, fills = pairs(24, minutes=10, end=quarter)
    for i in range(24):
        desk.drop("backtest", decisions[i : i + 1])
        desk.drop("live", fills[i : i + 1])
        if i % 2:
            desk.check()
    before = desk.check()["strategies"]["s"]["metrics"]
    with built(settings(desk), command="test") as app:
        assert app.store.crowded(house.CROWDED)
        assert not house.tidy_store(app, clock.now())
        assert not app.store.crowded(house.CROWDED)
        assert app.store.check() == []
    after = desk.check()["strategies"]["s"]["metrics"]
    assert after["tracking_error_bps"] == before["tracking_error_bps"]
    assert desk.trades()["matched"] == 24


def test_over_its_limit_rejected_keeps_no_raw_text(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, '[limits]\nrejected = "1KiB"\n')
    desk.drop("live", None, raw=b"".join(b'{"kind": "martian", "n": %d}\n' % i for i in range(50)))
    desk.check()
    with built(settings(desk), command="test") as app:
        done = house.Tidied()
        house.look_at_sizes(app.settings, app.spool, done)
        assert done.rejected_bytes > 1024
        assert app.spool.limits.raw_bytes == 0
        for path in desk.rejected():
            os.unlink(path)
        house.look_at_sizes(app.settings, app.spool, done)
        assert app.spool.limits.raw_bytes > 0
