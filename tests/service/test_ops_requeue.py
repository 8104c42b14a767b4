"""Refused records and rejected files go back, once mended, and nothing is lost on the way."""

import gzip
import json

import pytest
from service.ops_desk import Desk, pairs

ONE_STRATEGY = "[limits]\nstrategies = 1\n"


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys, ONE_STRATEGY)


def mended(desk):
    desk.config.write_text(desk.config.read_text().replace("strategies = 1", "strategies = 9"))


def two_strategies(desk, **how):
    a, fa = pairs(8, "a", prefix="a")
    b, fb = pairs(8, "b", prefix="b")
    desk.drop("backtest", [*a, *b], **how)
    desk.drop("live", [*fa, *fb])
    return fa, fb


def test_refused_records_count_once_the_cause_is_mended(desk):
    two_strategies(desk)
    assert set(desk.check()["strategies"]) == {"a"}
    lists = desk.rejected()
    assert len(lists) == 2
    mended(desk)
    desk.ok("requeue", *lists)
    assert not desk.rejected()
    assert desk.trades("b")["matched"] == 8
    assert desk.trades("a")["matched"] == 8
    assert {r["event"] for r in desk.audit()} >= {"file.requeued"}
    assert desk.run("audit", "verify")[0] == 0


def test_requeued_in_vain_they_can_be_requeued_again(desk):
    two_strategies(desk)
    desk.check()
    desk.ok("requeue", *desk.rejected())
    desk.check()
    assert len(desk.rejected()) == 2
    mended(desk)
    desk.ok("requeue", *desk.rejected())
    assert desk.trades("b")["matched"] == 8


def test_a_row_of_a_table_goes_back_with_its_header(desk):
    fa, fb = pairs(3, "a", prefix="a")[1], pairs(3, "b", prefix="b")[1]
    names = list(fa[0])
    table = "\n".join([",".join(names), *(",".join(r[n] for n in names) for r in (*fa, *fb))])
    desk.drop("live", None, name="fills.csv", raw=table.encode() + b"\n")
    desk.check()
    mended(desk)
    out = desk.ok("requeue", *desk.rejected())
    assert ".csv: 3 records" in out
    assert desk.check()["strategies"].keys() == {"a", "b"}
    assert not desk.rejected()


def test_text_that_was_not_kept_is_read_from_the_archive(desk):
    fa, fb = two_strategies(desk)
    fb[0]["comment"] = "x" * 100_000
    desk.drop("live", None, name="long.jsonl.gz", raw=gzip.compress("".join(json.dumps(r) + "\n" for r in (fa[0], fb[0])).encode()))
    desk.check()
    (path,) = [p for p in desk.rejected() if "long" in p.name]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows[0]["raw"]) < 100_000
    mended(desk)
    desk.ok("requeue", path)
    assert desk.check()["strategies"]["b"]["trades"]["pending"] + desk.check()["strategies"]["b"]["trades"]["unexpected"] >= 1


def test_what_cannot_be_had_stays(desk):
    two_strategies(desk)
    desk.check()
    path = next(p for p in desk.rejected() if p.parent.name == "live")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["raw"] = ""
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    for old in (desk.data / "archive/live").rglob("*.jsonl"):
        old.unlink()
    status, _, err = desk.run("requeue", path)
    assert status == 0
    assert "1 records stay" in err
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == [rows[0]["line"]]


def test_a_file_rejected_whole_is_moved_back_and_read_again(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, "[limits]\nfile = 1024\n")
    decisions, fills = pairs(24)
    desk.drop("live", fills, name="fills.jsonl")
    desk.check()
    path = desk.data / "rejected/live/fills.jsonl"
    assert path.exists()
    desk.config.write_text(desk.config.read_text().replace("1024", '"1GiB"'))
    assert "spool/live/fills.jsonl: the whole file" in desk.ok("requeue", path)
    assert not list((desk.data / "rejected/live").iterdir())
    desk.drop("backtest", decisions)
    assert desk.trades()["matched"] == 24
    assert not path.exists()


def test_a_table_whose_columns_were_named_since_goes_back_under_a_name_that_its_source_fits(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    fills = pairs(4)[1]
    renamed = [{{"price": "px"}.get(k, k): v for k, v in f.items() if k != "kind"} for f in fills]
    table = "\n".join([",".join(renamed[0]), *(",".join(r.values()) for r in renamed)]).encode()
    desk.drop("live", None, name="export.csv", raw=table)
    desk.check()
    assert len(desk.rejected()) == 1
    columns = ", ".join(f'{k} = "{k}"' for k in fills[0] if k not in ("kind", "price"))
    desk.config.write_text(
        desk.config.read_text() + f'[sources.desk]\npath = "export*"\nbook = "live"\ncolumns = {{ price = "px", {columns} }}\n'
    )
    desk.ok("requeue", *desk.rejected())
    desk.check()
    assert not desk.rejected()
    assert "s" in desk.check()["strategies"]


def test_the_reason_file_names_its_file_too(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    desk.drop("live", None, name="u.bin", raw=b"??")
    desk.check()
    desk.ok("requeue", desk.data / "rejected/live/u.bin.reason.json")
    assert (desk.data / "spool/live/u.bin").exists()


@pytest.mark.parametrize("name", ["nothing.jsonl", "/etc/passwd", "../spool/live/x"])
def test_what_is_no_rejected_file_is_refused(desk, name):
    desk.check()
    desk.refused("requeue", name)


def test_a_list_that_somebody_spoiled_is_refused(desk):
    two_strategies(desk)
    desk.check()
    path = desk.rejected()[0]
    path.write_text("{\n")
    desk.refused("requeue", path)
    assert path.exists()


def test_beside_a_daemon_requeued_records_are_read_and_audited(desk):
    two_strategies(desk)
    desk.check()
    mended(desk)
    with desk:
        desk.ok("requeue", *desk.rejected())
        desk.until(lambda: "b" in desk.override()["strategies"])
        desk.until(lambda: [r for r in desk.audit() if r["event"] == "file.requeued"], 30)
