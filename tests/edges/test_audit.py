"""The audit chain in files: written from rows, mended at its torn end only, and no change goes unseen."""

import hashlib
import json
import os

import pytest

from parityd.edges import audit
from parityd.edges.audit import GENESIS, AuditFiles, Tail, canonical, entry, read, verify


def chain(n, ts=lambda k: f"2026-{10 + k // 40:02d}-{1 + k % 28:02d}T00:00:00.000000Z", start=None):
    rows, last = [], start or Tail(sequence=0, hash=GENESIS)
    for k in range(n):
        row = entry(
            sequence=last.sequence + 1, ts=ts(k), event="action.raised", actor="parityd", strategy="s" if k % 2 else None,
            data={"k": k, "x": 0.1 * k, "text": "ü\n\ud800"}, previous=last.hash,
        )  # fmt: skip
        rows.append(row)
        last = Tail(sequence=row["sequence"], hash=row["hash"])
    return rows


def after(rows):
    return lambda n: [row for row in rows if row["sequence"] > n]


def end(rows):
    return Tail(sequence=rows[-1]["sequence"], hash=rows[-1]["hash"])


@pytest.fixture
def trail(tmp_path):
    files, rows = AuditFiles(tmp_path / "audit"), chain(100)
    files.export(after(rows))
    return files, rows


def files_of(trail):
    return sorted(trail[0].folder.iterdir())


def test_a_line_can_be_checked_by_anybody_with_json_and_sha256(trail):
    rows = trail[1]
    previous = GENESIS
    for path in files_of(trail):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            stated = row.pop("hash")
            assert hashlib.sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == stated
            assert row["previous"] == previous
            previous = stated
    assert previous == rows[-1]["hash"]


def test_rows_stand_in_the_month_of_their_time_and_the_chain_runs_through(trail):
    files, rows = trail
    assert [p.name for p in files_of(trail)] == ["audit-2026-10.jsonl", "audit-2026-11.jsonl", "audit-2026-12.jsonl"]
    assert [len(p.read_text().splitlines()) for p in files_of(trail)] == [40, 40, 20]
    assert verify(files.folder, end(rows)) is None
    assert verify(files.folder, None) is None


def test_exporting_again_or_in_pieces_gives_the_same_files(trail, tmp_path):
    files, rows = trail
    files.export(after(rows))
    other = AuditFiles(tmp_path / "other")
    for n in (1, 2, 39, 40, 41, 100):
        assert other.export(after(rows[:n])) == end(rows[:n])
    assert [p.read_bytes() for p in files_of(trail)] == [p.read_bytes() for p in sorted(other.folder.iterdir())]


@pytest.mark.parametrize("junk", [b'{"sequence": 101, "ts"', b"\0" * 5000, b"x"])
def test_a_torn_tail_is_written_anew_from_the_rows(trail, junk):
    files, rows = trail
    whole = files_of(trail)[-1].read_bytes()
    for torn in (whole + junk, whole[:-1], whole[: len(whole) // 2], whole[:-400] + junk):
        files_of(trail)[-1].write_bytes(torn)
        assert verify(files.folder, end(rows)) is not None
        AuditFiles(files.folder).export(after(rows))
        assert files_of(trail)[-1].read_bytes() == whole


def test_a_forged_last_line_is_neither_mended_nor_doubled(trail):
    files, rows = trail
    lines = files_of(trail)[-1].read_bytes().splitlines(keepends=True)
    forged = b"".join(lines[:-1]) + lines[-1].replace(b"parityd", b"nobody_")
    files_of(trail)[-1].write_bytes(forged)
    files.export(after(rows))
    assert files_of(trail)[-1].read_bytes() == forged
    assert verify(files.folder, end(rows)).line == 20


def change(path, line, how):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line : line + 1] = how(lines[line])
    path.write_bytes(b"".join(lines))


def REHASHED(raw):
    """Forged with a hash that fits: the next line shows it."""
    row = json.loads(raw)
    del row["hash"]
    return [canonical(entry(**row | {"actor": "me"})) + b"\n"]


def TWICE(raw):
    return [raw, raw]


@pytest.mark.parametrize(
    "how",
    [
        lambda raw: [raw.replace(b"action.raised", b"action.lowered")],
        lambda raw: [],
        TWICE,
        lambda raw: [b"\n", raw],
        lambda raw: [raw[:-1] + b" \n"],
        lambda raw: [json.dumps(json.loads(raw)).encode() + b"\n"],
        lambda raw: [raw.replace(b'{"actor"', b'{"actor":"me","actor"')],
        lambda raw: [b"null\n"],
        lambda raw: [b"\xff\n"],
        lambda raw: [raw.replace(b'"sequence":', b'"sequence":1')],
        lambda raw: [raw.replace(b'"sequence":', b'"sequence":-')],
        lambda raw: [b'{"sequence":Infinity}\n'],
        REHASHED,
    ],
)
def test_every_change_in_the_middle_is_found_at_its_line(trail, how):
    files, rows = trail
    path = files_of(trail)[1]
    change(path, 10, how)
    broken = verify(files.folder, end(rows))
    assert broken.file == str(path)
    assert broken.line == (12 if how in (TWICE, REHASHED) else 11)
    assert broken.why


def test_two_lines_exchanged_are_found(trail):
    files, rows = trail
    path = files_of(trail)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[5], lines[6] = lines[6], lines[5]
    path.write_bytes(b"".join(lines))
    assert verify(files.folder, end(rows)).line == 6


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_missing_file_is_found(trail, which):
    files, rows = trail
    files_of(trail)[which].unlink()
    broken = verify(files.folder, end(rows))
    assert broken is not None
    assert broken.at_end is (which == 2)


def test_an_end_cut_off_or_a_store_set_back_is_found_against_the_store(trail):
    files, rows = trail
    assert verify(files.folder, end(rows[:90])).at_end
    lines = files_of(trail)[-1].read_bytes().splitlines(keepends=True)
    files_of(trail)[-1].write_bytes(b"".join(lines[:-3]))
    assert verify(files.folder, None) is None
    assert verify(files.folder, end(rows)).why == "the files end with entry 97, the store with 100"


def test_a_chain_forged_as_a_whole_is_found_against_the_store(trail):
    files, rows = trail
    for path in files_of(trail):
        path.unlink()
    AuditFiles(files.folder).export(after(chain(100, ts=lambda k: "2026-11-01T00:00:00Z")))
    assert verify(files.folder, None) is None
    assert "not the store's" in verify(files.folder, end(rows)).why


def test_no_files_are_whole_only_for_an_empty_store(tmp_path):
    assert verify(tmp_path / "none", Tail(sequence=0, hash=GENESIS)) is None
    assert verify(tmp_path / "none", Tail(sequence=3, hash="x")).at_end


def test_a_clock_that_jumps_ahead_and_back_breaks_no_chain(tmp_path):
    months = ["2026-11", "2036-11", "1970-01", "2026-11", "2026-12"]
    rows = chain(25, ts=lambda k: f"{months[k // 5]}-03T00:00:00Z")
    files = AuditFiles(tmp_path)
    for n in range(1, 26):
        files.export(after(rows[:n]))
    assert verify(tmp_path, end(rows)) is None
    assert list(read(tmp_path, after=20)) == rows[20:]
    assert files.tail() == end(rows)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_after_a_failing_disk_the_lines_are_written_anew(tmp_path, monkeypatch, call):
    rows, files = chain(30), AuditFiles(tmp_path / "audit")
    files.export(after(rows[:10]))
    real = getattr(os, call)

    def fails(fd, *args):
        if call == "write":
            real(fd, bytes(args[0])[:700])
        raise OSError(28 if call == "write" else 5, "disk")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(OSError, match="disk"):
        files.export(after(rows))
    monkeypatch.undo()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_size), real(fd) if call == "fsync" else None))
    files.export(after(rows))
    monkeypatch.undo()
    assert verify(files.folder, end(rows)) is None
    assert synced[0] < synced[-1], "what the failed write left was cut off before it was written again"


def test_a_number_that_is_not_finite_is_no_entry():
    with pytest.raises(ValueError, match="JSON compliant"):
        entry(sequence=1, ts="2026-11-01T00:00:00Z", event="e", actor="a", strategy=None, data={"x": float("nan")}, previous=GENESIS)


def test_a_long_last_line_is_found_whole(tmp_path):
    big = entry(sequence=1, ts="2026-11-01T00:00:00Z", event="e", actor="a", strategy=None, data={"x": "y" * 300_000}, previous=GENESIS)
    files = AuditFiles(tmp_path)
    files.export(after([big]))
    assert files.tail() == end([big])
    assert audit.AuditFiles(tmp_path).repair() == 0
