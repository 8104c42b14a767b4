"""The ways out of the spool, to the archive and to the rejected: nothing disappears."""

import json
import os

import pytest
from edges.spool_desk import HASH, everything, needs_root, only, put, scan

from parityd.core.records import Refusal
from parityd.edges.spool import Spool
from parityd.edges.waiting import SpoolLimits

# --- archive ---------------------------------------------------------------------------------------------------------------------


def test_a_read_file_goes_to_the_archive_under_its_hash(spool, tmp_path):
    put(spool, "a b.jsonl", b"x\n")
    there = spool.archive(only(spool), HASH, "2026-11-20")
    assert there == tmp_path / "archive/live/2026-11-20/0123456789ab-a b.jsonl"
    assert there.read_bytes() == b"x\n"
    assert everything(spool.inbox("live")) == []


def test_archiving_twice_is_archiving_once(spool, tmp_path):
    put(spool, "a.jsonl")
    waiting = only(spool)
    first = spool.archive(waiting, HASH, "2026-11-20")
    assert spool.archive(waiting, HASH, "2026-11-20") == first
    put(spool, "a.jsonl")
    assert spool.archive(only(spool), HASH, "2026-11-20") == first
    assert everything(tmp_path / "archive") == ["live/2026-11-20/0123456789ab-a.jsonl"]


def test_a_file_that_grew_after_reading_stays_for_the_next_scan(spool, tmp_path):
    path = put(spool, "a.jsonl")
    waiting = only(spool)
    with path.open("ab") as f:
        f.write(b"{}\n")
    assert spool.archive(waiting, HASH, "2026-11-20") is None
    assert path.read_bytes() == b"{}\n{}\n"


def test_a_new_file_under_the_old_name_is_never_taken_for_the_old_one(spool, monkeypatch):
    path = put(spool, "a.jsonl", b"old\n")
    waiting, rename = only(spool), os.rename

    def raced(src, dst):
        fresh = put(spool, ".a.jsonl", b"new\n")
        rename(fresh, src)
        rename(src, dst)

    monkeypatch.setattr(os, "rename", raced)
    assert spool.archive(waiting, HASH, "2026-11-20") is None
    assert path.read_bytes() == b"new\n"


def test_other_content_under_the_same_archive_name_is_kept_beside(spool, tmp_path):
    put(spool, "a.jsonl", b"one\n")
    spool.archive(only(spool), HASH, "2026-11-20")
    put(spool, "a.jsonl", b"two\n")
    spool.archive(only(spool), HASH[:12] + "f" * 52, "2026-11-20")
    assert sorted(p.read_bytes() for p in (tmp_path / "archive").rglob("*.jsonl")) == [b"one\n", b"two\n"]


@pytest.mark.parametrize("name", [b"x" * 248 + b".sqlite", b"a\nb.jsonl", b"\xff\xfe.csv.zst", "€".encode() * 83 + b".csv", b"-rf", b"a.."])
def test_every_name_can_be_archived_and_rejected(spool, name):
    put(spool, name)
    waiting = only(spool)
    suffix = ".sqlite" if name.endswith(b"sqlite") else ""
    lines = spool.reject_lines("live", HASH, waiting.name, [Refusal(line=1, code="bad_json", reason="r", raw="x")])
    there = spool.archive(waiting, HASH, "2026-11-20")
    assert there.name.startswith("0123456789ab-")
    assert there.name.endswith(suffix)
    assert there.name.isprintable()
    assert max(len(os.fsencode(p.name)) for p in (there, lines)) <= 255
    put(spool, name)
    assert spool.reject_whole(only(spool), "poison", "died").problem == ""
    assert everything(spool.inbox("live")) == []


# --- rejected -------------------------------------------------------------------------------------------------------------------


def refusals(n, raw="{"):
    return (Refusal(line=k + 1, code="bad_json", reason="no JSON", raw=raw) for k in range(n))


def test_refused_records_are_lines_with_place_code_reason_and_text(spool, tmp_path):
    path = spool.reject_lines("live", HASH, "a.jsonl", [Refusal(line=7, code="bad_value", reason="price", raw='{"price": "ü\udc80"}')])
    assert path == tmp_path / "rejected/live/0123456789ab-a.jsonl.rejected.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"line": 7, "code": "bad_value", "reason": "price", "raw": '{"price": "ü\\udc80"}'}
    ]


def test_saying_it_again_changes_nothing_and_no_refusals_make_no_file(spool, tmp_path):
    first = spool.reject_lines("live", HASH, "a.jsonl", refusals(3)).read_bytes()
    assert spool.reject_lines("live", HASH, "a.jsonl", refusals(3)).read_bytes() == first
    assert spool.reject_lines("live", HASH, "b.jsonl", []) is None
    assert everything(tmp_path / "rejected") == ["live/0123456789ab-a.jsonl.rejected.jsonl"]


def test_the_text_of_a_refused_record_is_at_most_64_kib_and_never_half_a_character(spool):
    path = spool.reject_lines("live", HASH, "a.jsonl", refusals(1, "x" + "€" * 50_000))
    raw = json.loads(path.read_text())["raw"]
    assert 65_533 <= len(raw.encode()) <= 65_536


def test_a_hundred_thousand_refusals_are_bounded_and_the_rest_is_counted(tmp_path):
    spool = Spool(tmp_path, SpoolLimits(rejected_bytes=1 << 20))
    path = spool.reject_lines("live", HASH, "a.jsonl", refusals(100_000))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert path.stat().st_size < (1 << 20) + 1000
    assert rows[-1]["more"] + len(rows) - 1 == 100_000
    assert rows[-1]["line"] == len(rows)
    assert rows[-1]["codes"] == {"bad_json": rows[-1]["more"]}
    assert [r["line"] for r in rows] == list(range(1, len(rows) + 1))


def test_two_files_of_one_name_are_both_kept(spool, tmp_path):
    for content, digest in ((b"one", "1" * 64), (b"two", "2" * 64), (b"three", None), (b"four", None)):
        put(spool, "z.gz", content)
        assert spool.reject_whole(only(spool), "unreadable_file", "no gzip", digest).problem == ""
    kept = sorted(p.read_bytes() for p in (tmp_path / "rejected/live").iterdir() if not p.name.endswith(".reason.json"))
    assert kept == [b"four", b"one", b"three", b"two"]
    assert len(list((tmp_path / "rejected/live").glob("*.reason.json"))) == 4


def test_the_same_broken_file_again_is_one_file(spool, tmp_path):
    for _ in range(3):
        put(spool, "z.gz", b"junk")
        spool.reject_whole(only(spool), "unreadable_file", "no gzip", HASH)
    assert everything(tmp_path / "rejected/live") == ["z.gz", "z.gz.reason.json"]


def test_a_crash_between_the_reason_and_the_move_is_finished_the_next_time(spool, tmp_path, monkeypatch):
    put(spool, "z.gz", b"junk")
    rename, calls = os.rename, []

    def dies(src, dst):
        calls.append(src)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(src, dst)

    monkeypatch.setattr(os, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        spool.reject_whole(only(spool), "poison", "died", HASH)
    monkeypatch.undo()
    assert everything(tmp_path / "rejected/live") == ["z.gz.reason.json"]
    spool.reject_whole(only(spool), "poison", "died", HASH)
    assert everything(tmp_path / "rejected/live") == ["z.gz", "z.gz.reason.json"]


def test_a_file_mended_in_place_since_it_was_judged_is_not_thrown_out(spool):
    path = put(spool, "a.jsonl", b"junk")
    waiting = only(spool)
    path.write_bytes(b"{}\n")
    assert "changed" in spool.reject_whole(waiting, "unreadable_file", "x").problem
    assert path.exists()


@needs_root
def test_what_cannot_be_moved_is_said_once_and_then_passed_by(shared):
    (shared.inbox("live") / "shut").mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        (unfit,) = scan(shared).refused
        assert shared.reject_whole(unfit, unfit.code, unfit.reason).problem == "Permission denied"
        found = scan(shared)
    finally:
        os.seteuid(0)
    assert (found.refused, found.count) == ((), 0)
    assert list(shared.stuck.values()) == ["Permission denied"]
