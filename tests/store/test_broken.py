"""What is not whole is never opened, and what is refused leaves nothing behind (fault cases 11 to 16)."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import numpy as np
import pytest
from store.material import NOW, file, fills, living, records, shelf, summary

from parityd.store import AuditDraft, Commit, CommitFailed, ReportEntry, Store, StoreBroken, StoreUnavailable, connect, schema, set_aside


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a folder?#%" / "parityd.sqlite"


@pytest.fixture(autouse=True)
def _folder(path):
    path.parent.mkdir()


def filled(path, n=3, big=0):
    """A closed store with some of everything."""
    with Store.open(path, now_ns=NOW) as s:
        for k in range(n):
            s.commit(
                Commit(
                    files=[file(f"f{k}", records=records(fills(200, first=1000 * k)))], shelves=[("alpha", k, *shelf(100, first=1 + 200 * k).delta())],
                    summaries=[("alpha", k, summary(20))], names=[(k, f"S{k}")], states={f"s{k}": os.urandom(200 + big)}, audit=[AuditDraft(ts_ns=NOW, event="e", actor="a")],
                )
            )  # fmt: skip
    return path


def left_open(path):
    """A store whose process died: the file, its log, and what both said."""
    filled(path)
    s = Store.open(path, now_ns=NOW)
    s.commit(Commit(states={"last": b"word"}))
    copy = path.with_name("died.sqlite")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    s.close()
    return copy


# --- opening --------------------------------------------------------------------------------------------------------


def test_every_pragma_is_in_force(path):
    with Store.open(path, now_ns=NOW) as s:
        assert s.pragmas() == {
            "journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1, "trusted_schema": 0, "cell_size_check": 1, "mmap_size": 0,
            "wal_autocheckpoint": 4000, "journal_size_limit": 64 << 20, "query_only": 0,
        }  # fmt: skip
        with closing(connect.open_reader(path)) as db:
            assert connect.pragmas(db)["query_only"] == 1


def test_a_pragma_that_does_not_take_is_refused(path):
    filled(path)
    with closing(sqlite3.connect(path)) as db, pytest.raises(StoreBroken, match="PRAGMA locking_mode is 'normal' and not 'sometimes'"):
        connect._set(db, path, {"locking_mode": "sometimes"})


def test_a_closed_store_is_one_file_and_opens_again_the_same(path):
    filled(path)
    assert os.listdir(path.parent) == ["parityd.sqlite"]
    with Store.open(path, now_ns=NOW) as s:
        assert [f.name for f in s.files()] == ["f0", "f1", "f2"]
        assert s.last_audit()[0] == 3
        assert s.check() == []


def test_a_store_whose_process_died_has_all_its_commits(path):
    with Store.open(left_open(path), now_ns=NOW) as s:
        assert s.state("last") == b"word"
        assert s.check() == []


def test_a_store_that_nobody_finished_making_is_made_anew(path):
    path.with_name(path.name + ".new").write_bytes(b"half")
    with Store.open(path, now_ns=NOW) as s:
        assert s.check() == []
    assert os.listdir(path.parent) == ["parityd.sqlite"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda p: os.truncate(p, 0), "is empty"),
        (lambda p: os.truncate(p, 4096), "malformed|cut off|damaged"),
        (lambda p: os.truncate(p, os.path.getsize(p) - 4096), "malformed|cut off|damaged"),
        (lambda p: os.truncate(p, os.path.getsize(p) - 1), "malformed|cut off|damaged"),
        (lambda p: p.write_bytes(os.urandom(50_000)), "not a database"),
        (lambda p: p.write_bytes(b"\0" * 50_000), "not a database|no store"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_and_left_alone(path, how, says):
    filled(path)
    how(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreBroken, match=says) as caught:
        Store.open(path, now_ns=NOW)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert not path.is_file() or path.read_bytes()[:24] == before[:24]


def test_a_store_that_cannot_be_reached_is_not_called_broken(path):
    path.mkdir()
    with pytest.raises(StoreUnavailable, match="unable to open"):
        Store.open(path, now_ns=NOW)
    path.rmdir()
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connect, "BUSY_MS", 1)
            with pytest.raises(StoreUnavailable, match="locked"):
                Store.open(path, now_ns=NOW)
    with Store.open(path, now_ns=NOW) as s:
        assert s.check() == []


def test_a_lost_log_is_not_an_older_store(path):
    died = left_open(path)
    os.remove(f"{died}-wal")
    with pytest.raises(StoreBroken, match="write-ahead log is missing"):
        Store.open(died, now_ns=NOW)
    died.with_name(died.name + "-wal").write_bytes(b"")
    with pytest.raises(StoreBroken, match="write-ahead log is missing"):
        Store.open(died, now_ns=NOW)


def test_a_log_without_its_store_is_not_a_first_start(path):
    died = left_open(path)
    died.unlink()
    with pytest.raises(StoreBroken, match="is missing, but its write-ahead log is there"):
        Store.open(died, now_ns=NOW)
    assert not died.exists()


def test_another_programs_database_is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreBroken, match="no store of parityd"):
        Store.open(path, now_ns=NOW)


def test_a_newer_schema_is_refused_and_left_alone(path):
    filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreBroken, match=r"newer parityd \(schema 3, this one knows 2\)"):
        Store.open(path, now_ns=NOW)
    assert path.read_bytes() == before


def old_store(path):
    """A store as the first schema made it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute(f"PRAGMA application_id = {schema.APPLICATION}")
        schema.walk(db, 0, 1)
        db.execute("INSERT INTO meta VALUES ('open', 0)")
        db.execute("INSERT INTO strategy (name) VALUES ('alpha')")
        db.execute("COMMIT")


def test_an_older_schema_is_brought_up_with_a_copy_of_what_was(path):
    old_store(path)
    with Store.open(path, now_ns=NOW) as s:
        assert s.strategies() == ["alpha"]
        s.commit(Commit(events=[(NOW, "start", b"")]))
        assert s.check() == []
    with closing(sqlite3.connect(f"{path}.schema1")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT name FROM strategy").fetchall() == [("alpha",)]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_a_migration_that_fails_half_way_changes_nothing(path):
    old_store(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE report (x)")  # the second step's second table is in the way
    for _ in range(2):
        with pytest.raises(StoreBroken, match="report already exists"):
            Store.open(path, now_ns=NOW)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'event'").fetchone() == (0,)


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    ["identity.data", "record.fills", "segment.names", "segment.data", "summary.data", "state.value", "name.text", "ledger.data", "mark.data", "event.data", "report.json", "audit.line"],
)  # fmt: skip
def test_a_flipped_bit_in_a_blob_is_found_by_the_full_check(path, column):
    filled(path)
    with Store.open(path, now_ns=NOW) as s:
        marks = [(1, 0, np.array([NOW]), np.array([1.5]))]
        report = ReportEntry(day="2026-11-20", revision=1, json=b'{"day": "2026-11-20"}', generated_ns=NOW, digest="d")
        s.commit(Commit(ledgers=[("alpha", 1, 1, b"entry")], marks=marks, events=[(NOW, "start", b"configuration")], reports=[report]))
    table, name = column.split(".")
    with closing(sqlite3.connect(path)) as db:
        blob = db.execute(f"SELECT CAST({name} AS BLOB) FROM {table} LIMIT 1").fetchone()[0]
    data = bytearray(path.read_bytes())
    at = data.find(blob[:100])
    assert at > 0
    data[at + min(len(blob), 100) * 2 // 3] ^= 4
    path.write_bytes(data)
    with Store.open(path, now_ns=NOW) as s:
        assert s.check() != []


def test_a_page_of_rubbish_is_refused_on_opening(path):
    filled(path)
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'state'").fetchone()[0]
    data[(root - 1) * 4096 : root * 4096] = os.urandom(4096)
    path.write_bytes(data)
    with pytest.raises(StoreBroken, match=r"damaged|malformed"):
        Store.open(path, now_ns=NOW)


def test_large_files_are_checked_in_their_vital_tables(path, monkeypatch):
    filled(path)
    monkeypatch.setattr(connect, "CHECKED_WHOLE", 0)
    with Store.open(path, now_ns=NOW) as s:
        assert s.state("s0")
    test_page = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'file'").fetchone()[0]
    test_page[(root - 1) * 4096 : root * 4096] = os.urandom(4096)
    path.write_bytes(test_page)
    with pytest.raises(StoreBroken, match=r"damaged|malformed"):
        Store.open(path, now_ns=NOW)


def test_a_changed_audit_entry_is_found(path):
    filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE audit SET line = replace(CAST(line AS TEXT), '\"e\"', '\"f\"') WHERE sequence = 2")
        db.commit()
    with Store.open(path, now_ns=NOW) as s:
        assert any("audit entry 2 was changed" in line for line in s.check())


def test_a_broken_store_is_set_aside_whole_and_nothing_is_overwritten(path):
    died = left_open(path)
    path.unlink()
    moved = set_aside(died, "20261120T101500Z")
    assert [p.name for p in moved] == ["died.sqlite.broken-20261120T101500Z", "died.sqlite.broken-20261120T101500Z-wal"]
    assert not died.exists()
    with Store.open(moved[0], now_ns=NOW) as s:
        assert s.state("last") == b"word"
    filled(died)
    assert set_aside(died, "20261120T101500Z")[0].name == "died.sqlite.broken-20261120T101500Z.2"
    with Store.open(died, now_ns=NOW) as s:
        assert s.files() == []


# --- while it runs --------------------------------------------------------------------------------------------------


def test_a_store_deleted_while_it_runs_takes_no_more_commits(path):
    s = Store.open(path, now_ns=NOW)
    s.commit(Commit(states={"a": b"1"}))
    path.unlink()
    with pytest.raises(StoreBroken, match="deleted or replaced"):
        s.commit(Commit(states={"a": b"2"}))
    s.close()
    assert not path.exists()
    with pytest.raises(StoreBroken, match="write-ahead log is there"):
        Store.open(path, now_ns=NOW)


def test_a_full_disk_refuses_the_commit_whole_and_takes_it_when_there_is_room(path):
    with Store.open(path, now_ns=NOW) as s:
        s.commit(Commit(audit=[AuditDraft(ts_ns=NOW, event="start", actor="a")]))
        pages = s._db.execute("PRAGMA page_count").fetchone()[0]
        s._db.execute(f"PRAGMA max_page_count = {pages + 4}")
        big = Commit(
            files=[file("big", records=records(fills(5000)))],
            states={"big": os.urandom(100_000)},
            audit=[AuditDraft(ts_ns=NOW, event="big", actor="a")],
        )
        for _ in range(3):
            with pytest.raises(CommitFailed, match="full") as caught:
                s.commit(big)
            assert caught.value.certain
        assert s.files() == []
        s._db.execute("PRAGMA max_page_count = 1000000")
        s.commit(big)
        assert [r["event"] for r in s.audit_rows()] == ["start", "big"]
        assert s.check() == []


def test_a_second_writer_waits_its_turn_or_is_told(path):
    with Store.open(path, now_ns=NOW) as s, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        s._db.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(CommitFailed, match="locked") as caught:
            s.commit(Commit(states={"a": b"1"}))
        assert caught.value.certain
        other.execute("ROLLBACK")
        s.commit(Commit(states={"a": b"1"}))


def test_a_reader_keeps_its_view_and_cannot_write(path):
    with Store.open(path, now_ns=NOW) as s:
        s.commit(Commit(states={"a": b"1"}))
        with s.reader() as reader:
            assert reader.state("a") == b"1"
            s.commit(Commit(states={"a": b"2"}))
            assert reader.state("a") == b"1"
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader._db.execute("DELETE FROM state")
        with s.reader() as reader:
            assert reader.state("a") == b"2"


def test_a_backup_taken_while_it_runs_is_a_whole_store(path, tmp_path):
    target = tmp_path / "copy.sqlite"
    with Store.open(filled(path), now_ns=NOW) as s:
        s.commit(Commit(states={"last": b"word"}))
        s.backup(target)
        s.commit(Commit(states={"last": b"later"}))
        s.backup(target)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["copy.sqlite"]
    with Store.open(target, now_ns=NOW) as s:
        assert s.state("last") == b"later"
        assert s.check() == []
        assert living(s.load_shelf("alpha", 1)) == living(shelf(100, first=201))


def test_a_commit_after_closing_is_refused(path):
    s = Store.open(path, now_ns=NOW)
    s.close()
    s.close()
    with pytest.raises(CommitFailed, match="closed"):
        s.commit(Commit(states={"a": b"1"}))


# --- killed ---------------------------------------------------------------------------------------------------------

WRITER = textwrap.dedent("""
    import sys
    from parityd.store import AuditDraft, Commit, Store
    from store.material import NOW, file, fills, records, shelf
    s = Store.open(sys.argv[1], now_ns=NOW)
    first = int(s.state("n") or b"0")
    for k in range(first, first + int(sys.argv[2])):
        n = 1 + k * 37 % 150
        s.commit(Commit(
            files=[file(f"f{k}", accepted=n, records=records(fills(n, first=k * 1000)))], shelves=[("alpha", k % 5, *shelf(n, first=1 + k * 1000).delta())],
            states={"n": b"%d" % (k + 1)}, audit=[AuditDraft(ts_ns=NOW, event="e", actor="a", data={"k": k})],
        ))
        print(k + 1, flush=True)
    s.close()
""")


def start(path, n, *before):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    env = os.environ | {"PYTHONPATH": f"{root}:{root}/tests"}
    return subprocess.Popen(
        [*before, sys.executable, "-c", WRITER, str(path), str(n)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True
    )


def verify(path, acknowledged):
    """All of each commit or nothing of it, and nothing acknowledged is missing; how many there are."""
    with Store.open(path, now_ns=NOW) as s:
        n = int(s.state("n") or b"0")
        assert n >= acknowledged
        assert [f.name for f in s.files()] == [f"f{k}" for k in range(n)]
        assert [r["data"]["k"] for r in s.audit_rows()] == list(range(n))
        sizes = [1 + k * 37 % 150 for k in range(n)]
        assert [len(k) for k, _ in s.identities()] == sizes
        assert [len(f) for _, f, *_ in s.records()] == sizes
        assert sum(s.load_shelf("alpha", k).n for k in range(5)) == sum(sizes)
        assert s.check() == []
        return n


def test_a_store_killed_at_random_holds_every_commit_whole(path):
    dice = random.Random(7)
    acknowledged = 0
    for _ in range(5):
        process = start(path, 100_000)
        for _ in range(dice.randrange(3, 40)):
            acknowledged = int(process.stdout.readline())
        process.kill()
        said = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        acknowledged = verify(path, int(said[-1]) if said else acknowledged)
    assert acknowledged > 15


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fsync,fdatasync", "pwrite64", "ftruncate", "rename"])
@pytest.mark.parametrize("what", ["signal=SIGKILL", "error=EIO", "error=ENOSPC"])
def test_a_store_survives_the_failure_of_any_system_call(path, call, what):
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is missing (Debian package strace)")
        pytest.skip("needs strace")
    acknowledged, tries = 0, 0
    log = path.with_suffix(".strace")
    quickly = [] if what.startswith("signal") else ["--seccomp-bpf"]  # with which strace 6.1 gives no signals
    for k in (1, 2, 3, 5, 8, 13, 21, 34, 55):
        process = start(
            path, 4, "strace", "-f", *quickly, "-qq", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={k}"
        )
        said = process.communicate()[0].split()
        if process.returncode == 0 and "INJECTED" not in log.read_text():
            break  # there is no such call any more
        tries += 1
        if not path.exists():
            assert not said
            continue
        acknowledged = verify(path, int(said[-1]) if said else acknowledged)
    assert tries or call == "rename"  # Python itself renames what it compiles, the store nothing
    process = start(path, 4)
    assert verify(path, int(process.communicate()[0].split()[-1])) >= acknowledged + 4


def test_a_write_error_ends_the_stores_life_and_loses_nothing(path):
    with Store.open(path, now_ns=NOW) as s:
        s.commit(Commit(states={"n": b"1"}))
    script = textwrap.dedent("""
        import os, resource, signal, sys
        from parityd.store import Commit, CommitFailed, Store
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        s = Store.open(sys.argv[1], now_ns=1)
        s.commit(Commit(states={"n": b"2"}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        said = []
        for states in ({"n": os.urandom(500_000)}, {"n": b"4"}):
            try:
                s.commit(Commit(states=states))
                said.append("taken")
            except CommitFailed as error:
                said.append(f"refused {error.certain}")
        s.close()
        print(said)
    """)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": root}, check=False
    )
    assert done.stdout.strip() == "['refused False', 'refused False']", done.stderr
    with Store.open(path, now_ns=NOW) as s:
        assert s.state("n") == b"2"
        assert s.check() == []


def test_numbers_of_records_do_not_change_the_bytes_of_others(path):
    with Store.open(path, now_ns=NOW) as s:
        f = fills(500)
        s.commit(Commit(files=[file("a", records=records(f))]))
        ((keys, contents),) = s.identities()
        assert np.array_equal(keys, f.key)
        assert np.array_equal(contents, f.content)
