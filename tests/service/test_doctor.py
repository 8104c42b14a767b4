"""`parityd doctor`: what is wrong, and the command that mends it."""

import json
import os
import socket
import tempfile
from datetime import datetime, timedelta

import pytest
from service.ops_desk import Desk, pairs


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys)


def looked(desk, *args):
    status, out, err = desk.run("doctor", "--json", *args)
    assert err == ""
    found = json.loads(out)
    assert status == {"ok": 0, "warning": 1, "problem": 2}[found["worst"]]
    return found


def of(found, area):
    return [c for c in found["checks"] if c["area"] == area]


def states(found, area):
    return {c["state"] for c in of(found, area)}


def write(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


# --- the installation -----------------------------------------------------------------------------------------------


def test_a_sound_installation_has_no_problem_and_looking_changes_nothing(desk):
    desk.ok("init")
    decisions, fills = pairs(8)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    desk.check()
    before = {p: p.stat().st_mtime_ns for p in desk.data.rglob("*") if p.is_file()}
    found = looked(desk)
    assert found["worst"] != "problem"
    for area in ("folders", "space", "store", "audit", "port", "publication"):
        assert states(found, area) == {"ok"}, of(found, area)
    assert {p: p.stat().st_mtime_ns for p in desk.data.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm"))} == before


def test_nothing_there_yet_is_a_warning_with_init_as_its_mend(desk):
    found = looked(desk)
    assert "parityd init" in of(found, "folders")[0]["mend"]
    assert not desk.data.exists()


def test_every_trouble_names_its_mend(desk):
    desk.ok("init")
    os.chmod(desk.data / "archive", 0o777)
    found = looked(desk)
    (trouble,) = of(found, "folders")
    assert trouble["state"] == "problem"
    assert trouble["mend"] == f"chmod o-w {desk.data}/archive"
    assert all(c["mend"] for c in found["checks"] if c["state"] != "ok")


def test_a_damaged_store_a_forged_trail_and_a_lost_store_are_problems(desk):
    decisions, _ = pairs(3)
    desk.drop("backtest", decisions)
    desk.check()
    desk.ok("override", "halt")
    desk.check()
    trail = next((desk.data / "audit").glob("*.jsonl"))
    trail.write_text(trail.read_text().replace("operator", "somebody"))
    assert states(looked(desk), "audit") == {"problem"}
    store = desk.data / "parityd.sqlite"
    store.write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    assert "parityd rebuild" in of(looked(desk), "store")[0]["mend"]
    for path in desk.data.glob("parityd.sqlite*"):
        path.unlink()
    assert "is gone" in of(looked(desk), "store")[0]["text"]


def test_a_taken_port_is_a_problem_without_a_daemon(desk):
    with socket.socket() as s:
        s.bind(("127.0.0.1", desk.port))
        s.listen()
        assert states(looked(desk), "port") == {"problem"}


def test_beside_a_daemon_port_and_publication_are_its_own(desk):
    with desk:
        found = looked(desk)
        assert states(found, "port") == {"ok"}
        assert "is valid" in of(found, "publication")[0]["text"]


def test_what_stands_is_told(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, '[publish]\nfirst_start = "DISABLE_TRADING"\n')
    desk.check()
    assert "parityd init" in of(looked(desk), "standing")[0]["mend"]
    desk.ok("override", "halt")
    desk.check()
    assert "parityd override unhalt" in [c["mend"] for c in of(looked(desk), "standing")]


def test_a_publication_of_the_future_is_a_clock_gone_back(desk):
    desk.check()
    path = desk.data / "system_actions/trading_override.json"
    told = json.loads(path.read_text())
    told["issued_at"] = "2999-01-01T00:00:00Z"
    path.write_text(json.dumps(told))
    assert "problem" in states(looked(desk), "clock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with other eyes")
def test_somebody_who_may_not_look_is_told_what_he_cannot_see(capsys):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        desk = Desk(folder, capsys)
        desk.check()
        looked(desk)  # loads what the command needs
        groups = os.getgroups()
        os.setgroups([])
        os.setresgid(65534, 65534, 0)
        os.setresuid(65534, 65534, 0)
        try:
            found = looked(desk)
        finally:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
            os.setgroups(groups)
        for area in ("folders", "audit", "spool"):
            (told,) = of(found, area)
            assert told["state"] == "problem"
            assert told["mend"].startswith("sudo -u root parityd")
        assert states(found, "port") == {"ok"}  # the rest is told all the same


def test_people_read_lines(desk):
    _, out, _ = desk.run("doctor")
    assert out.splitlines()[0].split()[0] in ("ok", "warning", "problem")
    assert "mend: " in out


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_good_pair_of_files_is_taken_matched_and_measured(desk, tmp_path):
    decisions, fills = pairs(24, diff_bps=3)
    found = looked(desk, "--backtest", write(tmp_path / "d.jsonl", decisions), "--live", write(tmp_path / "f.jsonl", fills))
    assert found["worst"] == "ok"
    assert {f["book"]: (f["format"], f["takes"]) for f in found["files"]} == {
        "backtest": ("native", {"decision": 24}),
        "live": ("native", {"fill": 24}),
    }
    (book,) = found["books"]
    assert (book["matched"], book["match_rate"], book["matched_by"]["id"]) == (24, 1.0, 24)
    assert book["offset_seconds"] == pytest.approx(0.12)
    assert book["coverage"]["fee_impact"] == 1.0
    assert not desk.data.exists()


def test_the_book_is_known_by_the_folder_or_by_what_a_file_holds(desk, tmp_path):
    decisions, fills = pairs(24)
    (tmp_path / "live").mkdir()
    one, two = write(tmp_path / "one.jsonl", decisions), write(tmp_path / "live/two.jsonl", fills)
    found = looked(desk, one, two)
    assert [f["book"] for f in found["files"]] == ["backtest", "live"]
    assert found["books"][0]["matched"] == 24


def test_refusals_are_shown_with_line_reason_and_mend(desk, tmp_path):
    _, fills = pairs(24)
    path = write(tmp_path / "f.jsonl", fills)
    path.write_text(path.read_text() + "{\n" + json.dumps({**fills[0], "fill_id": "n", "quantity": "-1"}) + "\n")
    found = looked(desk, path)
    assert found["worst"] == "warning"
    (file,) = found["files"]
    assert file["refuses"] == {"bad_json": 1, "bad_value": 1}
    assert [r["line"] for r in file["refusals"]] == [25, 26]
    assert all(c["mend"] for c in of(found, "file") if c["state"] != "ok")


def test_a_file_that_would_be_refused_whole_says_why(desk, tmp_path):
    bad = tmp_path / "u.bin"
    bad.write_bytes(b"??")
    found = looked(desk, bad)
    assert [f["refused_whole"]["code"] for f in found["files"]] == ["unknown_format"]
    assert found["worst"] == "problem"
    assert "nothing.jsonl: no such file" in desk.refused("doctor", bad, tmp_path / "nothing.jsonl")


def test_a_format_without_a_strategy_is_told_what_to_configure(desk, tmp_path):
    export = tmp_path / "fills.log"
    export.write_bytes(b"8=FIX.4.4|35=8|10=000|\n")
    (check,) = [c for c in looked(desk, export)["checks"] if c["state"] == "problem"]
    assert 'path = "spool/live/*.log"' in check["mend"]
    assert "strategy =" in check["mend"]


def test_a_log_that_a_source_tails_is_read_as_the_source_reads_it(desk, tmp_path):
    log = tmp_path / "messages.current"
    log.write_bytes(b"8=FIX.4.4|35=8|11=c|17=e|31=5|32=2|37=v|39=2|54=1|55=X|60=20261120-10:00:00|150=F|10=000|\n")
    config = tmp_path / "parityd.toml"
    config.write_text(
        config.read_text() + f'[sources.desk]\npath = "{log}"\nbook = "live"\nformat = "fix"\nstrategy = "mom"\nmode = "tail"\n'
    )
    (file,) = looked(desk, log)["files"]
    assert (file["book"], file["format"], file["source"], file["takes"].get("fill"), file["strategies"]) == (
        "live",
        "fix",
        "desk",
        1,
        ["mom"],
    )


def test_a_wrong_time_zone_is_seen(desk, tmp_path):
    decisions, fills = pairs(24)
    for f in fills:
        f["ts"] = (datetime.fromisoformat(f["ts"]) - timedelta(hours=2)).isoformat()
        del f["trade_id"]
    for d in decisions:
        del d["trade_id"]
    found = looked(desk, "--backtest", write(tmp_path / "d.jsonl", decisions), "--live", write(tmp_path / "f.jsonl", fills))
    assert found["books"][0]["shift_minutes"] == -120
    assert found["worst"] == "problem"
    assert any("timezone" in c["mend"] for c in of(found, "books"))


def test_books_that_name_different_strategies_do_not_meet(desk, tmp_path):
    decisions, _ = pairs(24, "a")
    _, fills = pairs(24, "b")
    found = looked(desk, "--backtest", write(tmp_path / "d.jsonl", decisions), "--live", write(tmp_path / "f.jsonl", fills))
    assert [b["match_rate"] for b in found["books"]] == [0.0, 0.0]
    assert found["worst"] == "problem"
