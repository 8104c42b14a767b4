"""The inboxes: containers and suffixes, what is left, refused and set aside, identity of files, codes and limits (contract, sections 1 and 2)."""

import gzip
import io
import json
import os
import sqlite3
import zipfile
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from e2e.box import DAY0, Box, Record, at, decision, fill, heartbeat, lines, stamp, trades

CODES = {
    "bad_encoding", "bad_json", "missing_field", "bad_value", "unknown_kind", "unknown_format", "future_timestamp", "too_old", "conflict", "too_long",
    "unreadable_file", "poison", "internal_error",
}  # fmt: skip


def parquet(records: list[Record]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), out)
    return out.getvalue()


def csv(records: list[Record]) -> bytes:
    names = list(dict.fromkeys(k for r in records for k in r))
    rows = [",".join(names), *(",".join(str(r.get(k, "")) for k in names) for r in records)]
    return ("\n".join(rows) + "\n").encode()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, raw in members.items():
            z.writestr(name.replace("__", "."), raw)
    return out.getvalue()


zstd = zstandard.ZstdCompressor().compress
CONTAINERS = {
    "plain.jsonl": lines, "doc.json": lambda r: json.dumps(r[0]).encode(), "table.csv": csv, "table.parquet": parquet,
    "plain.jsonl.gz": lambda r: gzip.compress(lines(r)), "plain.jsonl.zst": lambda r: zstd(lines(r)), "table.csv.gz": lambda r: gzip.compress(csv(r)),
    "table.csv.zst": lambda r: zstd(csv(r)), "table.parquet.gz": lambda r: gzip.compress(parquet(r)), "table.parquet.zst": lambda r: zstd(parquet(r)),
    "doc.json.gz": lambda r: gzip.compress(json.dumps(r[0]).encode()), "bag.zip": lambda r: zipped(a__jsonl=lines(r)),
    "two.zip": lambda r: zipped(a__jsonl=lines(r[:1]), b__csv=csv(r[1:])), "array.json": lambda r: json.dumps(r).encode(),
    "UPPER.JSONL": lines, "bom.csv": lambda r: b"\xef\xbb\xbf" + csv(r), "crlf.jsonl": lambda r: lines(r).replace(b"\n", b"\r\n"),
    "crlf.csv": lambda r: csv(r).replace(b"\n", b"\r\n"), "unended.jsonl": lambda r: lines(r).rstrip(b"\n"), "gaps.jsonl": lambda r: lines(r).replace(b"\n", b"\n\n"),
    "odd name é.jsonl": lines,
}  # fmt: skip


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, Record]:
    box = Box(tmp_path_factory.mktemp("containers"))
    for name, write in CONTAINERS.items():
        box.put("live", name, write([fill(name.replace(" é", ""), "1", at(6)), fill(name.replace(" é", ""), "2", at(7))]))
    document = box.check(at(12))
    return box, document


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_read(containers: tuple[Box, Record], name: str) -> None:
    box, document = containers
    entry = document["strategies"].get(name.replace(" é", ""))
    assert entry is not None, (box.refused(), box.set_aside())
    assert entry["trades"]["pending"] == (1 if name.startswith("doc.json") else 2)


def test_accepted_files_lie_in_the_archive_under_day_and_hash(containers: tuple[Box, Record]) -> None:
    box, _ = containers
    assert box.spooled() == [] and box.refused() == [] and box.set_aside() == {}
    found = {p.name[13:]: p for p in (box.data / "archive/live").rglob("*") if p.is_file()}
    assert set(found) == set(CONTAINERS)
    one = found["plain.jsonl"]
    assert len(one.name.split("-")[0]) == 12 and len(one.parent.name) == 10 and one.parent.parent.name == "live"


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """One file of refusals, and everything that is no readable file."""
    box = Box(tmp_path_factory.mktemp("refused"), '[limits]\nline = "4KiB"\nfile = "1MiB"\nexpanded = "2MiB"\nnesting = 8\n')
    good = fill("s", "1", at(6))
    deep: object = 1
    for _ in range(9):
        deep = [deep]
    bad: list[bytes | Record] = [
        {**good, "fill_id": "good"}, b"\xff\xfe{}", b"{oops", {k: v for k, v in good.items() if k != "price"}, {**good, "quantity": 0},
        {**good, "kind": "martian"}, {**good, "ts": stamp(at(6) + timedelta(days=400))}, {**good, "ts": "1989-12-31T23:59:59Z"}, {**good, "detail": "x" * 5000},
        {**good, "price": "NaN"}, {**good, "price": "1e999"}, {**good, "ts": "2026-01-01T00:00:00"}, {**good, "strategy": "-no"}, {**good, "strategy": "n" * 65},
        {**good, "extra": deep}, b"[1, 2]", b'"text"', {**good, "side": "long"}, {**good, "quantity": True}, {**good, "price": None}, {**good, "price": -3},
        b'{"kind": "fill", "kind": "mark"}', {"no": "kind"}, {**good, "fill_id": ""}, {**good, "liquidity": "both"}, {**good, "price": [1]}, {**good, "ts": -5},
        {**good, "fill_id": "last", "trade_id": "2"},
    ]  # fmt: skip
    raw = b"".join(x + b"\n" if isinstance(x, bytes) else lines([x]) for x in bad)
    box.put("live", "mixed.jsonl", raw)
    live = box.data / "spool/live"
    outside = box.root / "elsewhere.jsonl"
    outside.write_bytes(lines([good]))
    (live / "link.jsonl").symlink_to(outside)
    os.mkfifo(live / "pipe.jsonl")
    (live / "first.jsonl").write_bytes(lines([{**good, "fill_id": "linked"}]))
    os.link(live / "first.jsonl", live / "second.jsonl")
    for name, content in {
        "torn.jsonl.gz": gzip.compress(lines([good]))[:-9], "no.parquet": b"PAR1", "no.zip": b"PK\x03\x04", "no.sqlite": b"SQLite format 3\0", "what.bin": b"\1\2",
        "bomb.jsonl.gz": gzip.compress(lines([{**good, "fill_id": "b", "detail": "x"}]) * 40000), "large.jsonl": b"x" * 1_100_000, "no.json": b"{]", "no.xyz": lines([good]),
        "no.csv": b"who,knows\n1,2\n", "no.jsonl.zst": b"(\xb5/\xfd1234",
    }.items():  # fmt: skip
        box.put("live", name, content)
    (live / ".hidden.jsonl").write_bytes(lines([good]))
    (live / "coming.jsonl.tmp").write_bytes(lines([good]))
    (live / "coming.jsonl.part").write_bytes(lines([good]))
    (live / "empty.jsonl").write_bytes(b"")
    box.check(at(12))
    return box


def test_a_bad_record_costs_only_itself_and_says_line_code_reason_and_raw(refused: Box) -> None:
    got = {r["line"]: r for r in refused.refused() if r["file"].endswith("mixed.jsonl.rejected.jsonl")}
    want = {
        2: "bad_encoding", 3: "bad_json", 4: "missing_field", 5: "bad_value", 6: "unknown_kind", 7: "future_timestamp", 8: "too_old", 9: "too_long", 10: "bad_value",
        11: "bad_value", 12: "bad_value", 13: "bad_value", 14: "bad_value", 15: "bad_json", 18: "bad_value", 19: "bad_value", 21: "bad_value", 25: "bad_value", 26: "bad_value",
    }  # fmt: skip
    assert {line: got[line]["code"] if line in got else None for line in want} == want
    assert set(got) == set(range(2, 28)), set(range(2, 28)) ^ set(got)
    for row in got.values():
        assert set(row) >= {"line", "code", "reason", "raw"} and row["code"] in CODES and row["reason"] and isinstance(row["raw"], str)
    assert got[3]["raw"] == "{oops" and json.loads(got[5]["raw"])["quantity"] == 0 and len(got[9]["raw"]) <= 65536


def test_the_name_of_a_refusal_file_is_its_hash_and_its_name(refused: Box) -> None:
    (name,) = {r["file"] for r in refused.refused()}
    assert name.endswith("-mixed.jsonl.rejected.jsonl") and len(name.split("-")[0]) == 12


def test_what_cannot_be_read_at_all_is_set_aside_with_its_reason(refused: Box) -> None:
    aside = {n.removesuffix(".reason.json"): r for n, r in refused.set_aside().items()}
    short = {next((k for k in WHOLE if n.endswith(k)), n): r["code"] for n, r in aside.items()}
    assert short == WHOLE
    for name in aside:
        assert any(p.name == name for p in (refused.data / "rejected/live").iterdir()) or "pipe" in name or "link" in name, name


WHOLE = {
    "link.jsonl": "unreadable_file", "pipe.jsonl": "unreadable_file", "first.jsonl": "unreadable_file", "second.jsonl": "unreadable_file",
    "torn.jsonl.gz": "unreadable_file", "no.parquet": "unreadable_file", "no.zip": "unreadable_file", "no.sqlite": "unreadable_file", "what.bin": "unknown_format",
    "bomb.jsonl.gz": "too_long", "large.jsonl": "too_long", "no.json": "unreadable_file", "no.xyz": "unknown_format", "no.csv": "unknown_format",
    "no.jsonl.zst": "unreadable_file",
}  # fmt: skip


def test_files_of_a_writer_who_is_not_done_are_never_opened(refused: Box) -> None:
    live = refused.data / "spool/live"
    assert {p.name for p in live.iterdir()} == {".hidden.jsonl", "coming.jsonl.tmp", "coming.jsonl.part"}


def test_the_good_records_beside_the_bad_ones_count(refused: Box) -> None:
    assert refused.action()["strategies"]["s"]["trades"]["pending"] == 2
    assert (refused.root / "elsewhere.jsonl").exists()


def test_refusals_are_one_line_of_the_audit_a_file(refused: Box) -> None:
    told = [x for x in refused.audit() if x["event"] == "file.refused" and x["data"].get("file") == "mixed.jsonl"]
    assert len(told) == 1 and told[0]["data"]["codes"]["bad_value"] >= 9


def test_a_file_counts_once_whatever_its_name_and_however_often_it_comes(tmp_path: Path) -> None:
    box = Box(tmp_path)
    decided, filled = trades("s", [5.0] * 12)
    for name in ("a.jsonl", "b.jsonl"):
        box.put("live", name, lines(filled))
    box.put("backtest", "a.jsonl", lines(decided))
    box.put("backtest", "z.jsonl.gz", gzip.compress(lines(decided)))
    box.drop("live", *filled[3:9], heartbeat("s", at(20)))
    box.put("live", "conflict.jsonl", lines([{**filled[2], "price": 7}, {**filled[4], "fee": 1}]))
    box.check(at(21))
    box.put("live", "a.jsonl", lines(filled))
    s = box.check(at(21))["strategies"]["s"]
    assert s["trades"]["matched"] == 12 and abs(s["metrics"]["tracking_error_bps"] - 5) < 1e-6
    assert [(r["line"], r["code"], json.loads(r["raw"])["fill_id"]) for r in box.refused()] == [
        (1, "conflict", "f-s-s-2"),
        (2, "conflict", "f-s-s-4"),
    ]
    assert box.spooled() == [] and box.set_aside() == {}


def test_the_same_content_may_be_in_both_books(tmp_path: Path) -> None:
    box = Box(tmp_path)
    records = lines([fill("s", f"{i}", at(6, i), trade_id=f"{i}") for i in range(12)])
    box.put("live", "same.jsonl", records)
    box.put("backtest", "same.jsonl", records)
    assert box.check(at(12))["strategies"]["s"]["trades"]["matched"] == 12


def test_columns_format_strategy_and_time_zone_can_be_pinned(tmp_path: Path) -> None:
    config = """
[sources.desk]
book = "live"
path = "desk-*.csv"
format = "native"
strategy = "pinned"
timezone = "America/New_York"
columns = { ts = "Time", price = "Px", quantity = "Qty", side = "Way", fill_id = "Id", symbol = "Name", kind = "Type" }
"""
    box = Box(tmp_path, config)
    box.put("live", "desk-1.csv", f"Type,Time,Name,Way,Qty,Px,Id\nfill,{DAY0}T07:30:00,BTC/USD,buy,2,101.5,x1\n".encode())
    box.drop("backtest", decision("pinned", None, at(7, 30, 20) + timedelta(hours=5), quantity=2), heartbeat("pinned", at(22)))
    box.drop("live", heartbeat("pinned", at(22)))
    document = box.check(at(23))
    assert box.set_aside() == {} and box.refused() == []
    assert document["strategies"]["pinned"]["trades"]["matched"] == 1, "Eastern Standard Time is five hours behind"


def test_a_sqlite_file_that_is_nobodys_format_is_set_aside(tmp_path: Path) -> None:
    box = Box(tmp_path)
    db = sqlite3.connect(box.root / "x.sqlite")
    db.execute("CREATE TABLE t (a)")
    db.execute("INSERT INTO t VALUES (1)")
    db.commit()
    db.close()
    box.put("live", "x.sqlite", (box.root / "x.sqlite").read_bytes())
    box.check(at(12))
    assert [r["code"] for r in box.set_aside().values()] == ["unknown_format"]
