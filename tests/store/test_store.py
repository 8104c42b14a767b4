"""The contract of a store, held by every one of them: the file, and the one in memory."""

import json
import threading

import numpy as np
import pytest
from store.material import (
    NOW,
    SHELF,
    decisions,
    file,
    fills,
    living,
    rare,
    records,
    rows,
    same_columns,
    same_summary,
    shelf,
    summary,
)  # fmt: skip

from parityd.core.chain import GENESIS, entry
from parityd.core.index import CONFLICT, DUPLICATE, NEW, Known, Places
from parityd.core.rows import DEAD, Shelf
from parityd.store import MEMORY, AuditDraft, Commit, FileEntry, ReportEntry, Store


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    with Store.open(MEMORY if request.param == "memory" else tmp_path / "parityd.sqlite", now_ns=NOW) as made:
        yield made


def draft(event="action.raised", **over):
    return AuditDraft(**({"ts_ns": NOW, "event": event, "actor": "parityd", "data": {"n": 1}} | over))


# --- states, names, reports, events ---------------------------------------------------------------------------------


def test_a_new_store_holds_nothing(store):
    assert store.state("x") is None
    assert store.states() == {}
    assert store.names() == {}
    assert store.files_known("live", "00" * 32) is None
    assert [
        *store.identities(),
        *store.places(),
        *store.summaries(),
        *store.marks(),
        *store.audit_rows(),
        *store.events(),
        *store.records(),
    ] == []
    assert store.load_shelf("alpha", 3).n == 0
    assert store.last_audit() == (0, GENESIS)
    assert store.reports() == []
    assert store.report("2026-11-20") is None
    assert store.check() == []


def test_states_are_replaced_removed_and_found_by_prefix(store):
    store.commit(Commit(states={"strategy/a": b"1", "strategy/b": b"2", "strategy%": b"3", "publisher": b""}))
    store.commit(Commit(states={"strategy/a": b"10"}, removed_states=["publisher", "never there"]))
    assert store.states("strategy/") == {"strategy/a": b"10", "strategy/b": b"2"}
    assert store.states("strategy%") == {"strategy%": b"3"}
    assert store.state("publisher") is None


def test_a_state_both_removed_and_given_in_one_commit_stands(store):
    store.commit(Commit(states={"a": b"1"}))
    store.commit(Commit(states={"a": b"2"}, removed_states=["a"]))
    assert store.state("a") == b"2"


def test_names_keep_their_codes_and_any_character(store):
    store.commit(Commit(names=[(0, ""), (1, "BTC/USD"), (2, "\ud800 ü \0")]))
    store.commit(Commit(names=[(7, "ETH/USD")]))
    assert store.names() == {0: "", 1: "BTC/USD", 2: "\ud800 ü \0", 7: "ETH/USD"}


def test_the_newest_revision_of_a_report_is_the_report(store):
    def one(day, revision, html):
        return ReportEntry(day=day, revision=revision, json=b'{"r":%d}' % revision, html=html, generated_ns=NOW, digest=f"d{revision}")

    store.commit(Commit(reports=[one("2026-11-19", 1, None), one("2026-11-20", 1, b"<p>")]))
    store.commit(Commit(reports=[one("2026-11-20", 2, None)]))
    assert [(r.day, r.revision, r.digest) for r in store.reports()] == [("2026-11-20", 2, "d2"), ("2026-11-19", 1, "d1")]
    assert store.report("2026-11-20") == one("2026-11-20", 2, None)
    assert store.report("2026-11-20", 1) == one("2026-11-20", 1, b"<p>")


def test_events_come_in_the_order_in_which_they_were_stored(store):
    store.commit(Commit(events=[(NOW + 5, "start", b"{}"), (NOW, "command", b"x" * 5000)]))
    store.commit(Commit(events=[(NOW + 1, "stop", b"")]))
    assert [(e.ts_ns - NOW, e.kind) for e in store.events()] == [(5, "start"), (0, "command"), (1, "stop")]
    assert [e.kind for e in store.events(NOW, NOW + 1)] == ["command", "stop"]
    assert next(store.events(NOW, NOW)).data == b"x" * 5000


# --- files and records ----------------------------------------------------------------------------------------------


def test_a_file_is_known_by_book_and_content(store):
    f = file("a.jsonl", refused={"bad_json": 2}, strategies=["alpha", "beta"])
    store.commit(Commit(files=[f, file("a.jsonl", book="backtest")]))
    known = store.files_known("live", f.sha256)
    assert known is not None
    assert known.order == 1
    assert FileEntry(**{n: getattr(f, n) for n in FileEntry.__slots__ if n not in ("order", "records")}, order=1) == known
    assert store.files_known("backtest", f.sha256).order == 2
    assert store.files_known("live", "11" * 32) is None
    assert [x.order for x in store.files()] == [1, 2]
    assert [x.order for x in store.files(after=1)] == [2]


def test_names_of_files_may_hold_any_byte(store):
    f = file("bad\udcff\n.jsonl")
    store.commit(Commit(files=[f]))
    assert store.files_known("live", f.sha256).name == "bad\udcff\n.jsonl"


def test_a_rejected_file_taken_later_moves_to_the_end_of_the_order(store):
    store.commit(Commit(files=[file("a", state="rejected", accepted=0), file("b")]))
    store.commit(Commit(files=[file("a")]))
    assert [(f.name, f.state, f.order) for f in store.files()] == [("b", "accepted", 2), ("a", "accepted", 3)]


def test_an_accepted_file_is_not_taken_twice(store):
    store.commit(Commit(files=[file("a")]))
    with pytest.raises(Exception, match="UNIQUE"):
        store.commit(Commit(files=[file("a")], states={"x": b"1"}))
    assert store.state("x") is None
    assert len(store.files()) == 1


def test_records_come_back_whole_and_in_the_order_of_ingest(store):
    f, d, lines = fills(100), decisions(70), rare(3)
    store.commit(Commit(files=[file("a", records=records(f, d, lines)), file("b", records=records(fills(2, first=500)))]))
    (a, got_fills, got_decisions, got_rare), (b, *_) = store.records("alpha")
    assert (a.name, b.name) == ("a", "b")
    assert same_columns(got_fills, f)
    assert same_columns(got_decisions, d)
    assert repr(got_rare) == repr(lines)


def test_records_are_those_of_the_strategy_that_overlap_the_time(store):
    def one(name, first, last, strategies):
        return file(name, first_ts=NOW + first, last_ts=NOW + last, strategies=strategies)

    store.commit(Commit(files=[one("a", 0, 10, ["alpha"]), one("b", 11, 20, ["alpha", "beta"]), one("c", 0, 99, ["beta"])]))
    store.commit(Commit(files=[file("r", state="rejected", strategies=["alpha"])]))

    def found(*asked):
        return [e.name for e, *_ in store.records(*asked)]

    assert found("alpha") == ["a", "b"]
    assert found("alpha", NOW + 10, NOW + 10) == ["a"]
    assert found("alpha", NOW + 10, NOW + 11) == ["a", "b"]
    assert found("beta", NOW + 21) == ["c"]
    assert found(None, None, NOW) == ["a", "c"]
    assert found("unheard of") == []


def test_identities_make_every_record_known_again(store):
    f = fills(300)
    store.commit(Commit(files=[file("a", records=records(f)), file("b", records=records(fills(5, first=1000)))]))
    known = Known()
    for keys, contents in store.identities():
        known.add(keys, contents)
    assert set(known.judge(f.key, f.content).tolist()) == {DUPLICATE}
    assert set(known.judge(f.key, f.content + np.uint64(1)).tolist()) == {CONFLICT}
    other = fills(9, first=2000)
    assert set(known.judge(other.key, other.content).tolist()) == {NEW}
    assert sum(len(k) for k, _ in store.identities(after=1)) == 5


# --- shelves --------------------------------------------------------------------------------------------------------


def in_columns(store, strategy, numbers):
    """What lives on these shelves, read as columns."""
    found = zip(numbers, store.shelves_in_columns(strategy, numbers), strict=True)
    return [living(Shelf(number, rows.laid(), text)) for number, (rows, text) in found]


def test_a_shelf_comes_back_from_its_deltas(store):
    s = shelf(10)
    store.commit(Commit(shelves=[("alpha", SHELF, *s.delta()), ("beta", SHELF, *shelf(3, seed=9).delta())]))
    s.view["l_q"][2] = 77.0
    s.reindex(np.array([2]))
    s.retext(4, "another id")
    s.reindex(np.array([4]))
    s.kill(7)
    s.append(rows(100, first=500), [f"late-{k}" for k in range(100)])
    store.commit(Commit(shelves=[("alpha", SHELF, *s.delta())]))
    got = store.load_shelf("alpha", SHELF)
    assert living(got) == living(s)
    assert got.n == 109
    assert got.stored == got.n
    assert in_columns(store, "alpha", [SHELF]) == [living(s)]
    assert store.load_shelf("beta", SHELF).n == 3
    assert store.shelf_numbers("alpha") == [SHELF]


def test_many_shelves_of_many_strategies_in_one_commit_come_back_each(store):
    made = {
        (f"s{k % 7}", k // 7): shelf(n, seed=k, first=1 + k * 5000)
        for k, n in enumerate([1, 3, 63, 64, 65, 700, 4096, 5000, 2, 0, 12, 90, 5, 5])
    }
    store.commit(Commit(shelves=[(s, k, *x.delta()) for (s, k), x in made.items()]))
    for (s, k), x in made.items():
        assert living(store.load_shelf(s, k)) == living(x)
    for name in {s for s, _ in made}:
        numbers = [k for s, k in made if s == name]
        assert in_columns(store, name, [*numbers, 99]) == [*(living(made[name, k]) for k in numbers), {}]
    assert store.check() == []


def test_two_deltas_of_one_shelf_in_one_commit_keep_their_order(store):
    s = shelf(3)
    first = s.delta()
    s.view["l_q"][0] = 5.5
    s.reindex(np.array([0]))
    store.commit(Commit(shelves=[("alpha", 1, *first), ("alpha", 1, *s.delta())]))
    assert living(store.load_shelf("alpha", 1)) == living(s)


def test_compaction_changes_nothing_but_the_number_of_pieces(store):
    s, other = shelf(5), shelf(4, first=300)
    for k in range(12):
        s.view["l_q"][k % 5] = k + 0.25
        s.reindex(np.array([k % 5]))
        s.append(rows(1, first=1000 + k), [f"more-{k}"])
        if k == 8:
            s.kill(1)
        store.commit(Commit(shelves=[("alpha", 1, *s.delta()), ("alpha", 2, *other.delta())]))
    before, places = living(store.load_shelf("alpha", 1)), located(store)
    assert store.crowded(8) == [("alpha", 1, 12)]
    assert store.compact("alpha", [1]) == 11
    assert store.crowded(1) == []
    assert living(store.load_shelf("alpha", 1)) == before == living(s)
    assert in_columns(store, "alpha", [1, 2]) == [living(s), living(other)]
    assert located(store) == {k: v for k, v in places.items() if k in before or v == 2}  # a name that is gone may be kept until then
    assert living(store.load_shelf("alpha", 2)) == living(other)
    s.view["l_q"][0] = 99.0
    s.reindex(np.array([0]))
    store.commit(Commit(shelves=[("alpha", 1, *s.delta())]))
    assert living(store.load_shelf("alpha", 1)) == living(s)
    assert store.check() == []


def test_compaction_of_a_shelf_whose_rows_are_all_gone_leaves_nothing(store):
    s = shelf(3)
    store.commit(Commit(shelves=[("alpha", 1, *s.delta())]))
    for k in range(3):
        s.kill(k)
    store.commit(Commit(shelves=[("alpha", 1, *s.delta())]))
    assert store.compact("alpha", [1]) == 2
    assert store.shelf_numbers("alpha") == []
    assert store.load_shelf("alpha", 1).n == 0


def located(store, since=None):
    places = Places()
    names = []
    for keys, numbers in store.places(since):
        places.put_many(keys, numbers)
        names += keys.tolist()
    return {k: places.get(k) for k in names}


def test_places_say_where_a_name_lies_now(store):
    s = shelf(3, number=1)
    names = s.rows["bkey"].tolist()
    store.commit(Commit(shelves=[("alpha", 1, *s.delta())]))
    moved = s.rows[1:2].copy()
    s.kill(1)
    there = shelf(0, number=2)
    there.append(moved, [""])
    store.commit(Commit(shelves=[("alpha", 2, *there.delta()), ("alpha", 1, *s.delta())]))
    assert located(store) == {names[0]: 1, names[1]: 2, names[2]: 1}
    store.compact("alpha", [1])
    assert located(store) == {names[0]: 1, names[1]: 2, names[2]: 1}
    assert located(store, since=2) == {names[1]: 2}


def test_summaries_and_ledgers_are_replaced(store):
    a, b = summary(30), summary(3, seed=2)
    store.commit(
        Commit(summaries=[("alpha", 1, b), ("alpha", 2, b), ("beta", 1, b)], ledgers=[("alpha", 5, 1, b"x"), ("alpha", 4, 9, b"y")])
    )
    store.commit(Commit(summaries=[("alpha", 1, a)], ledgers=[("alpha", 5, 1, b"z" * 300)]))
    (s1, n1, got), (s2, n2, _) = store.summaries("alpha")
    assert (s1, n1, s2, n2) == ("alpha", 1, "alpha", 2)
    assert same_summary(got, a)
    assert len(list(store.summaries())) == 3
    assert list(store.ledgers("alpha")) == [(4, 9, b"y"), (5, 1, b"z" * 300)]
    assert list(store.ledgers("gamma")) == []


def test_marks_are_appended_and_may_be_joined(store):
    one = (np.array([NOW, NOW + 1]), np.array([1.5, 2.5]))
    store.commit(Commit(marks=[(1, 2, *one), (2, 0, *one), (1, 2, np.zeros(0, np.int64), np.zeros(0))]))
    store.commit(Commit(marks=[(1, 2, np.array([NOW + 2]), np.array([3.5]))]))
    assert [(s, r, t.tolist(), p.tolist()) for s, r, t, p in store.marks()] == [
        (1, 2, [NOW, NOW + 1], [1.5, 2.5]), (2, 0, [NOW, NOW + 1], [1.5, 2.5]), (1, 2, [NOW + 2], [3.5]),
    ]  # fmt: skip
    store.compact_marks(1, (2, -3), [(2, np.array([NOW, NOW + 2]), np.array([1.5, 3.5]))])
    assert sorted((s, r, len(t)) for s, r, t, _ in store.marks()) == [(1, 2, 2), (2, 0, 2)]


def test_what_is_forgotten_leaves_the_entry_of_its_file(store):
    store.commit(
        Commit(files=[file("old"), file("new", first_ts=NOW + 10**12, last_ts=NOW + 2 * 10**12, records=records(fills(3, first=9)))])
    )
    store.commit(
        Commit(
            shelves=[("alpha", 1, *shelf().delta()), ("alpha", 5, *shelf(first=99).delta())],
            summaries=[("alpha", 1, summary())],
            ledgers=[("alpha", 0, 1, b"")],
        )
    )
    assert store.forget(NOW + 10**11, 5) == 1
    assert [f.name for f in store.files()] == ["old", "new"]
    assert [f is not None for _, f, *_ in store.records()] == [False, True]
    assert len(list(store.identities())) == 1
    assert store.shelf_numbers("alpha") == [5]
    assert [*store.summaries(), *store.ledgers("alpha")] == []
    assert store.check() == []


# --- audit ----------------------------------------------------------------------------------------------------------


def test_audit_entries_are_chained_across_commits(store):
    made = store.commit(Commit(audit=[draft("start"), draft(strategy="alpha")])) + store.commit(Commit(audit=[draft("stop")]))
    assert [r["sequence"] for r in made] == [1, 2, 3]
    assert made[0]["previous"] == GENESIS
    assert [r["previous"] for r in made[1:]] == [r["hash"] for r in made[:-1]]
    assert list(store.audit_rows()) == made
    assert list(store.audit_rows(after=2)) == made[2:]
    assert store.last_audit() == (3, made[2]["hash"])
    for r in made:
        assert entry(**{k: v for k, v in r.items() if k != "hash"}) == r


def test_more_entries_than_a_page_come_in_order(store):
    store.commit(Commit(audit=[draft(data={"k": k}) for k in range(2500)]))
    assert [r["data"]["k"] for r in store.audit_rows(after=7)] == list(range(7, 2500))


def test_nothing_that_is_said_stops_an_audit_entry(store):
    odd = {
        "nan": float("nan"),
        "n": np.float64(1.5),
        "i": np.int64(3),
        "b": np.True_,
        5: (1, 2),
        "x": object,
        "t": "\ud800",
        "s": {"b", "a"},
    }
    (row,) = store.commit(Commit(audit=[draft(data=odd)]))
    assert json.loads(json.dumps(row)) == row
    assert next(store.audit_rows()) == row
    assert row["data"]["nan"] is None
    assert (row["data"]["n"], row["data"]["i"], row["data"]["5"]) == (1.5, 3, [1, 2])
    assert store.check() == []


def test_a_new_store_goes_on_after_the_trail_of_an_old_one(store):
    store.continue_audit(41, "ab" * 32)
    (row,) = store.commit(Commit(audit=[draft()]))
    assert (row["sequence"], row["previous"]) == (42, "ab" * 32)
    assert store.check() == []
    with pytest.raises(ValueError, match="entries of its own"):
        store.continue_audit(50, "cd" * 32)


def test_a_commit_that_fails_leaves_nothing_and_the_trail_unbroken(store):
    store.commit(Commit(names=[(1, "a")], audit=[draft("start")]))
    with pytest.raises(Exception, match="UNIQUE"):
        store.commit(
            Commit(names=[(1, "b")], audit=[draft("lost")], files=[file("x")], shelves=[("new", 1, *shelf().delta())], states={"k": b"v"})
        )
    assert store.names() == {1: "a"}
    assert store.files() == []
    assert store.strategies() == []
    assert store.state("k") is None
    store.commit(Commit(audit=[draft("stop")], shelves=[("new", 1, *shelf().delta())]))
    assert [r["event"] for r in store.audit_rows()] == ["start", "stop"]
    assert store.strategies() == ["new"]
    assert store.check() == []


def test_a_reader_sees_what_is_stored_and_a_dead_row_is_gone(store):
    s = shelf(2)
    store.commit(Commit(shelves=[("alpha", 1, *s.delta())], states={"a": b"1"}))
    s.kill(0)
    store.commit(Commit(shelves=[("alpha", 1, *s.delta())]))
    with store.reader() as reader:
        assert reader.state("a") == b"1"
        got = reader.load_shelf("alpha", 1)
        assert got.n == 1
        assert not (got.rows["flags"] & DEAD).any()


def test_who_reads_beside_a_commit_waits_for_it_and_sees_it_whole(store):
    s, seen, threads = shelf(5, seed=2), [], []

    def begin():
        one = threading.Thread(target=lambda: seen.append(store.load_shelf("alpha", SHELF).n))
        threads.append(one)
        one.start()
        one.join(0.1)
        assert one.is_alive()

    store.commit(Commit(shelves=[("alpha", SHELF, *s.delta())]), begin)
    threads[0].join(5)
    assert seen == [5]
