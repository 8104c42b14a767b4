"""Backup, restore and rebuild: no record lost or counted twice, no stop forgotten, no sequence seen twice."""

import json
import os
import shutil
import sqlite3

import pytest
from service.ops_desk import Desk, pairs


def traded(desk, n=24, prefix="t", **how):
    decisions, fills = pairs(n, prefix=prefix, **how)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)


@pytest.fixture
def desk(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    traded(desk)
    desk.check()
    return desk


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "backup"


def sound(desk):
    assert desk.run("audit", "verify")[0] == 0
    db = sqlite3.connect(f"file:{desk.data}/parityd.sqlite?mode=ro", uri=True)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        db.close()


def test_a_backup_holds_everything_and_its_copy_opens(desk, folder):
    desk.ok("override", "halt")
    desk.check()
    told = json.loads(desk.ok("backup", folder, "--json"))
    assert (told["files"], told["archived"], told["missing"]) == (2, 2, 0)
    assert json.loads((folder / "backup.json").read_text())["store_sha256"] == told["store_sha256"]
    assert (folder / "config/parityd.toml").read_text() == desk.config.read_text()
    assert {p.name for p in (folder / "audit").iterdir()} == {p.name for p in (desk.data / "audit").iterdir()}
    archived = next((folder / "archive").rglob("*.jsonl"))
    assert archived.stat().st_nlink == 2
    assert [r["event"] for r in desk.audit()][-1] == "store.backed_up"


def test_a_backup_is_brought_up_to_date_in_its_folder_and_made_in_no_other(desk, folder):
    desk.ok("backup", folder)
    traded(desk, prefix="more")
    desk.check()
    assert json.loads(desk.ok("backup", folder, "--json"))["files"] == 4
    (desk.root / "mine").mkdir()
    (desk.root / "mine/letter").touch()
    assert "other things" in desk.refused("backup", desk.root / "mine")


@pytest.mark.parametrize("place", ["data", "data/archive/backup", "."])
def test_a_backup_is_never_made_over_what_it_is_of_nor_restored_from_within(desk, place):
    before = (desk.data / "parityd.sqlite").stat()
    assert "outside of it" in desk.refused("backup", desk.root / place)
    assert "outside of it" in desk.refused("restore", desk.root / place)
    assert os.path.samestat((desk.data / "parityd.sqlite").stat(), before)
    assert not list(desk.root.rglob("backup.json"))


def test_a_lost_directory_comes_back_whole(desk, folder):
    desk.ok("backup", folder)
    before = desk.override()["sequence"]
    shutil.rmtree(desk.data)
    desk.ok("restore", folder)
    sound(desk)
    assert desk.trades()["matched"] == 24
    assert desk.override()["sequence"] > before
    sound(desk)


def test_what_came_after_the_backup_is_read_again_from_the_archive(desk, folder):
    desk.ok("backup", folder)
    traded(desk, prefix="later")
    assert desk.trades()["matched"] == 48
    before = desk.override()
    out = desk.ok("restore", folder)
    assert out.startswith("2 files with 48 records")
    assert desk.trades()["matched"] == 48
    after = desk.override()
    assert after["sequence"] > before["sequence"]
    assert after["decision_sequence"] > before["decision_sequence"]
    assert after["instance"] == before["instance"]
    sound(desk)


def test_sequences_go_on_above_everything_even_without_the_published_files(desk, folder):
    desk.ok("backup", folder)
    for _ in range(5):
        desk.check()
    before = desk.override()
    shutil.rmtree(desk.data / "system_actions")
    (desk.data / "parityd.sqlite").unlink()
    desk.ok("restore", folder)
    desk.check()
    assert desk.override()["sequence"] > before["sequence"] + 1000
    assert desk.override()["decision_sequence"] > before["decision_sequence"]


def test_a_stop_that_came_after_the_backup_survives_it(desk, folder):
    desk.ok("backup", folder)
    traded(desk, n=32, prefix="bad", diff_bps=400, minutes=30)
    assert desk.check()["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    desk.ok("override", "force_disable", "--strategy", "x", "--reason", "r")
    desk.ok("override", "halt", "--strategy", "s")
    desk.check()
    desk.ok("restore", folder)
    (desk.data / "overrides/HALT.s").unlink()
    after = desk.check()
    assert after["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    assert after["strategies"]["x"]["action"] == "DISABLE_TRADING"
    assert [x["code"] for x in after["strategies"]["s"]["latched"]] == ["tracking_error"]


def test_a_command_applied_after_the_backup_is_not_applied_again(desk, folder):
    desk.ok("backup", folder)
    desk.ok("override", "reset", "--reason", "r")
    desk.check()
    (applied,) = (desk.data / "overrides/applied").iterdir()
    desk.ok("restore", folder)
    shutil.copy(applied, desk.data / "overrides/again.json")
    desk.check()
    told = json.loads((desk.data / "overrides/refused/again.json.reason.json").read_text())
    assert told["code"] == "replayed"


def test_an_applied_command_is_known_from_the_audit_trail_alone(desk):
    desk.ok("override", "reset", "--reason", "r")
    desk.check()
    (applied,) = (desk.data / "overrides/applied").iterdir()
    for path in desk.data.glob("parityd.sqlite*"):
        path.unlink()
    applied.rename(desk.data / "overrides/again.json")
    desk.check()
    told = json.loads((desk.data / "overrides/refused/again.json.reason.json").read_text())
    assert told["code"] == "replayed"


def test_restored_over_a_store_that_cannot_be_read_trading_waits_for_the_reset(desk, folder):
    desk.ok("backup", folder)
    traded(desk, n=32, prefix="bad", diff_bps=400, minutes=30)
    desk.check()
    (desk.data / "parityd.sqlite").write_bytes(b"gone")
    assert "BROKEN_STORE" in desk.ok("restore", folder)
    after = desk.check()
    assert after["default"]["action"] == "DISABLE_TRADING"
    assert after["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    desk.ok("override", "reset", "--reason", "r", "--acknowledge", "BROKEN_STORE")
    assert desk.check()["default"]["action"] == "CONTINUE"


@pytest.mark.parametrize("spoil", ["manifest", "store", "schema"])
def test_what_is_no_whole_backup_is_refused_and_changes_nothing(desk, folder, spoil):
    desk.ok("backup", folder)
    if spoil == "manifest":
        (folder / "backup.json").unlink()
    elif spoil == "store":
        with (folder / "parityd.sqlite").open("r+b") as f:
            f.seek(5000)
            f.write(b"\0\1\2")
    else:
        told = json.loads((folder / "backup.json").read_text())
        (folder / "backup.json").write_text(json.dumps({**told, "schema": "other/1"}))
    before = (desk.data / "parityd.sqlite").read_bytes()
    desk.refused("restore", folder)
    assert (desk.data / "parityd.sqlite").read_bytes() == before


def test_beside_a_daemon_a_backup_is_made_and_a_restore_is_refused(desk, folder):
    with desk:
        assert json.loads(desk.ok("backup", folder, "--json"))["files"] == 2
        assert "end it first" in desk.refused("restore", folder)
        assert "end it first" in desk.refused("rebuild")
        desk.until(lambda: [r for r in desk.audit() if r["event"] == "store.backed_up"])
    desk.ok("restore", folder)
    sound(desk)


# --- rebuild --------------------------------------------------------------------------------------------------------


def reports(desk, day):
    status, out, err = desk.run("report", "--day", day, "--json")
    assert status == 0, err
    return json.loads(out)


def numbers(report):
    return {k: v for k, v in report["strategies"]["s"].items() if k in ("trades", "metrics", "attribution", "matched_by", "coverage")}


def test_a_rebuilt_store_says_what_the_old_one_said(desk):
    traded(desk, prefix="late", diff_bps=7)
    day = json.loads(next((desk.data / "archive/live").rglob("*.jsonl")).read_text().splitlines()[-1])["ts"][:10]
    desk.check()
    before = reports(desk, day)
    sequence = desk.override()["sequence"]
    desk.ok("rebuild")
    sound(desk)
    after = reports(desk, day)
    assert numbers(after) == numbers(before)
    assert after["revision"] == before["revision"]
    assert desk.check()["action"] == "CONTINUE"
    assert desk.override()["sequence"] > sequence
    sound(desk)


def test_after_a_broken_store_it_stays_disabled_until_the_acknowledged_reset(desk):
    (desk.data / "parityd.sqlite").write_bytes(b"\0" * 8192)
    assert desk.check()["action"] == "DISABLE_TRADING"
    assert not desk.check()["strategies"]
    assert "BROKEN_STORE" in desk.ok("rebuild")
    after = desk.check()
    assert after["action"] == "DISABLE_TRADING"
    assert after["strategies"]["s"]["trades"]["matched"] == 24
    desk.ok("override", "reset", "--reason", "r", "--acknowledge", "BROKEN_STORE")
    assert desk.check()["action"] == "CONTINUE"
    sound(desk)


def test_a_store_that_is_gone_is_a_broken_one(desk):
    for path in desk.data.glob("parityd.sqlite*"):
        path.unlink()
    assert "BROKEN_STORE" in desk.ok("rebuild")
    assert desk.check()["action"] == "DISABLE_TRADING"
    assert desk.trades()["matched"] == 24
    sound(desk)


def test_stops_commands_and_halts_are_kept(desk):
    traded(desk, n=32, prefix="bad", diff_bps=400, minutes=30)
    desk.ok("override", "reduce_size", "--size", "0.25", "--reason", "r")
    desk.ok("override", "halt", "--strategy", "s")
    desk.check()
    (desk.data / "overrides/HALT.s").unlink()
    desk.ok("rebuild")
    after = desk.check()
    assert after["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    assert after["default"]["size_multiplier"] == 0.25


def test_files_without_a_recorded_order_come_by_day_and_name(desk):
    traded(desk, prefix="second")
    desk.check()
    for path in desk.data.glob("parityd.sqlite*"):
        path.unlink()
    desk.ok("rebuild")
    assert desk.trades()["matched"] == 48


def test_a_linked_archive_is_read_like_any_other(desk, folder):
    desk.ok("backup", folder)
    desk.ok("rebuild")
    assert desk.trades()["matched"] == 24


def test_there_must_be_something_to_rebuild_from(tmp_path, capsys):
    empty = Desk(tmp_path, capsys)
    empty.check()
    assert "nothing to rebuild" in empty.refused("rebuild")


class Killed(BaseException):
    """As if the process had ended here."""


def test_killed_half_way_the_old_store_stands(desk, monkeypatch):
    from parityd.service import ops_restore

    before = desk.trades()["matched"]
    real = os.rename

    def dies(a, b):
        if str(a).endswith(ops_restore.BESIDE):
            raise Killed
        real(a, b)

    def at_once(*_):
        raise Killed

    monkeypatch.setattr(ops_restore, "_set_aside", at_once)
    with pytest.raises(Killed):
        desk.run("rebuild")
    monkeypatch.undo()
    assert desk.trades()["matched"] == before
    assert desk.check()["action"] == "CONTINUE"
    sound(desk)
    desk.ok("rebuild")
    assert desk.trades()["matched"] == before
    monkeypatch.setattr(os, "rename", dies)
    with pytest.raises(Killed):
        desk.run("rebuild")
    monkeypatch.undo()
    assert desk.check()["action"] == "DISABLE_TRADING"
    desk.ok("rebuild")
    assert desk.trades()["matched"] == before
