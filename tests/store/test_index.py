"""The index beside the store answers what memory would, however it is cut, changed, missing or old."""

import os
import random
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from store.material import NOW, file, rows

from parityd.core.index import GONE, Known, Places
from parityd.core.parameters import Parameters
from parityd.core.rows import Shelf
from parityd.service import memory
from parityd.store import Commit, FileRecords, Store
from parityd.store import index as room
from parityd.store.runfile import RunFile, TornError, upper, write
from parityd.store.runs import RunHeld, merged

SMALL = 40


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(room, "TAIL", SMALL)
    monkeypatch.setattr(room, "MOST", 8 * SMALL)


def opened(path):
    return Store.open(path, now_ns=NOW)


def monitor(store):
    return memory.fold(store, Parameters()).m


class World:
    """A store and what remembers for it, beside what all of it would be in memory."""

    def __init__(self, path):
        self.path, self.files = path, 0
        self.known, self.places = Known(), Places()
        self.names = {}
        self.open()

    def open(self):
        self.store = opened(self.path)
        self.m = monitor(self.store)

    def again(self):
        self.store.close()
        self.open()

    def take(self, keys, contents):
        """What Intake does of one file, then the commit; the verdict of both."""
        keys, contents = np.array(keys, np.uint64), np.array(contents, np.uint64)
        mine, true = self.m.known.judge(keys, contents), self.known.judge(keys, contents)
        assert mine.tolist() == true.tolist()
        new = true == 0
        self.m.known.add(keys[new], contents[new])
        self.known.add(keys[new], contents[new])
        self.files += 1
        records = FileRecords(keys=keys[new], contents=contents[new])
        self.store.commit(Commit(files=[file(f"f{self.files}", records=records)]))
        memory.put_away(self.store, self.m)
        return true

    def lay(self, names, number):
        """Executions onto a shelf, those that lay elsewhere moved."""
        changed = {number: self.store.load_shelf("alpha", number)}
        for name in names:
            at = self.names.get(name)
            if at is not None and at != number:
                shelf = changed.setdefault(at, self.store.load_shelf("alpha", at))
                shelf.kill(shelf.find(name))
        new = [name for name in dict.fromkeys(names) if self.names.get(name) != number]
        if new:
            made = rows(len(new))
            made["bkey"] = made["lkey"] = made["pk"] = new
            changed[number].append(made, [""] * len(new))
            for index in (self.m.places, self.places):
                index.put_many(np.array(new, np.uint64), np.full(len(new), number))
        self.names.update(dict.fromkeys(new, number))
        self.store.commit(Commit(shelves=[("alpha", n, *s.delta()) for n, s in changed.items()]))
        memory.put_away(self.store, self.m)

    def same(self):
        for name, number in self.names.items():
            assert self.m.places.get(name) == number
        names = np.array(sorted([*self.names, 3, 2**63 + 5]), np.uint64)
        assert self.m.places.find(names).tolist() == [self.names.get(n, GONE) for n in names.tolist()]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "parityd.sqlite")
    yield made
    made.store.close()


def keys_of(rng, n):
    return [rng.randrange(1, 2**64) for _ in range(n)]


def files_of(store):
    folder = room.folder_of(store.path)
    return sorted(folder.iterdir()) if folder.exists() else []


def filled(world, n=12, each=30, seed=1):
    """Some files of records and shelves of trades; returns all keys."""
    rng = random.Random(seed)
    keys = []
    for k in range(n):
        own = keys_of(rng, each)
        world.take(own, [key ^ 7 for key in own])
        world.lay([key >> 1 | 1 for key in own], 1000 + k)
        keys += own
    return keys


def proven(world, keys):
    """Every record is known, none that is new is, and every trade is found."""
    assert set(world.m.known.judge(np.array(keys, np.uint64), np.array(keys, np.uint64) ^ np.uint64(7)).tolist()) == {1}
    assert set(world.m.known.judge(np.array(keys, np.uint64), np.array(keys, np.uint64) ^ np.uint64(6)).tolist()) == {2}
    assert set(world.m.known.judge(np.array(keys, np.uint64) ^ np.uint64(1), np.array(keys, np.uint64)).tolist()) == {0}
    world.same()


STEPS = some.lists(
    some.tuples(some.sampled_from(["take", "take", "lay", "again", "tear", "drop", "cut"]), some.integers(0, 2**32)),
    min_size=3,
    max_size=25,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_records_are_judged_and_trades_found_as_with_all_of_them_in_memory(tmp_path_factory, steps):
    world = World(tmp_path_factory.mktemp("w") / "parityd.sqlite")
    seen: list[int] = []
    for what, seed in steps:
        rng = random.Random(seed)
        found = files_of(world.store)
        if what == "take":
            own = keys_of(rng, rng.randrange(1, 60)) + rng.choices(seen, k=10) if seen else keys_of(rng, 50)
            own += rng.choices(own, k=3)
            world.take(own, [key ^ (7 if rng.random() < 0.9 else rng.randrange(9)) for key in own])
            seen += own
        elif what == "lay":
            old = rng.sample(sorted(world.names), min(len(world.names), 8))
            world.lay([*old, *keys_of(rng, rng.randrange(1, 60))], rng.randrange(900, 910))
        elif what == "again":
            world.again()
        elif found and what == "tear":
            one = rng.choice(found)
            data = bytearray(one.read_bytes())
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            one.write_bytes(data)
        elif found and what == "drop":
            rng.choice(found).unlink()
        elif found and what == "cut":
            os.truncate(one := rng.choice(found), rng.randrange(one.stat().st_size))
    world.same()
    world.again()
    world.same()
    if seen:
        world.take(seen, [key ^ 7 for key in seen])
    world.store.close()


def test_what_is_old_leaves_memory_and_is_known_all_the_same(world):
    keys = filled(world)
    assert len(world.m.known) <= SMALL and len(world.m.places) <= SMALL
    proven(world, keys)
    world.again()
    assert len(world.m.known) <= SMALL and len(world.m.places) <= SMALL
    proven(world, keys)


def test_files_become_fewer_and_none_too_large(world):
    filled(world, 40)
    sizes = [len(run) for run in world.store.index.records.runs]
    assert len(sizes) < 12 and max(sizes) <= room.MOST
    assert {p.name for p in files_of(world.store)} == {
        r.named.name for k in (world.store.index.records, world.store.index.trades) for r in k.runs
    }


def test_a_missing_folder_is_made_again_at_the_next_start(world):
    keys = filled(world)
    shutil.rmtree(room.folder_of(world.path))
    world.again()
    assert files_of(world.store)
    proven(world, keys)


@pytest.mark.parametrize("harm", ["empty", "cut", "flipped", "other", "folder"])
def test_a_file_that_is_not_what_was_written_is_made_again(world, harm):
    keys = filled(world)
    one, two = [p for p in files_of(world.store) if p.name.startswith("records")][:2]
    if harm == "empty":
        one.write_bytes(b"")
    elif harm == "cut":
        os.truncate(one, one.stat().st_size - 1)
    elif harm == "flipped":
        data = bytearray(one.read_bytes())
        data[5000] ^= 1
        one.write_bytes(data)
    elif harm == "other":
        shutil.copyfile(two, one)
    else:
        one.unlink()
        one.mkdir()
    world.again()
    proven(world, keys)
    if harm != "folder":
        world.take(keys_of(random.Random(5), 2 * SMALL), [0] * 2 * SMALL)
        assert all(isinstance(run, RunFile) for run in world.store.index.records.runs)


def test_files_deleted_while_they_are_open_are_read_on_and_made_again_at_the_next_start(world):
    keys = filled(world)
    shutil.rmtree(room.folder_of(world.path))
    proven(world, keys)
    keys += filled(world, seed=2)
    proven(world, keys)
    world.again()
    proven(world, keys)


def test_a_file_cut_while_it_is_open_is_answered_from_the_store_and_written_anew(world):
    keys = filled(world)
    for one in files_of(world.store):
        os.truncate(one, 5000)
    proven(world, keys)
    assert any(isinstance(run, RunHeld) for run in world.store.index.records.runs)
    keys += filled(world, seed=2)
    assert all(isinstance(run, RunFile) for run in world.store.index.records.runs)
    proven(world, keys)


def test_a_store_that_was_put_back_takes_no_file_of_its_later_self(world, tmp_path):
    filled(world, 6)
    world.store.backup(tmp_path / "copy")
    old_known, names = sorted(world.names), dict(world.names)
    later = filled(world, 6, seed=2)
    world.store.close()
    shutil.copyfile(tmp_path / "copy", world.path)
    world.open()
    assert set(world.m.known.judge(np.array(later, np.uint64), np.array(later, np.uint64) ^ np.uint64(7)).tolist()) == {0}
    assert world.m.places.find(np.array(old_known, np.uint64)).tolist() == [names[k] for k in old_known]
    fresh = keys_of(random.Random(9), 90)
    world.m.known.add(np.array(fresh, np.uint64), np.array(fresh, np.uint64))
    world.store.commit(Commit(files=[file("x", records=FileRecords(keys=np.array(fresh, np.uint64), contents=np.array(fresh, np.uint64)))]))
    memory.put_away(world.store, world.m)
    assert set(world.m.known.judge(np.array(fresh, np.uint64), np.array(fresh, np.uint64)).tolist()) == {1}


def test_a_foreign_stores_files_are_swept_away(world, tmp_path):
    keys = filled(world)
    other = World(tmp_path / "other" / "parityd.sqlite") if (tmp_path / "other").mkdir() is None else None
    theirs = filled(other, seed=3)
    other.store.close()
    for one in files_of(other.store):
        shutil.copyfile(one, room.folder_of(world.path) / one.name)
    (room.folder_of(world.path) / "records-0-999.run").write_bytes(b"x")
    world.again()
    proven(world, keys)
    assert set(world.m.known.judge(np.array(theirs, np.uint64), np.array(theirs, np.uint64)).tolist()) == {0}
    assert not (room.folder_of(world.path) / "records-0-999.run").exists()


def test_a_full_disk_leaves_names_in_memory_until_there_is_room(world):
    folder = room.folder_of(world.path)
    folder.write_bytes(b"in the way")
    keys = filled(world)
    assert world.store.index.failed and len(world.m.known) == len(keys)
    proven(world, keys)
    folder.unlink()
    keys += filled(world, seed=2, each=120)
    assert not world.store.index.failed and len(world.m.known) <= SMALL
    proven(world, keys)


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path):
    def chunks():
        yield np.arange(1, 40000, dtype=np.uint64), np.arange(1, 40000)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(tmp_path, "records", 0, 9, chunks(), 40000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513, 1024, 40_000, 100_000])
def test_a_file_holds_exactly_what_was_written(tmp_path, n):
    rng = np.random.default_rng(n)
    keys = np.unique(np.concatenate([rng.integers(0, 2**64, n - 1, np.uint64), [2**64 - 1]]).astype(np.uint64))
    values = rng.integers(-(2**31), 2**31, len(keys))
    named = write(tmp_path, "trades", 3, 9, iter([(keys[: n // 3], values[: n // 3]), (keys[n // 3 :], values[n // 3 :])]), len(keys))
    run = RunFile(tmp_path, named)
    assert (len(run), named.first, named.last, named.top) == (len(keys), 3, 9, int(values.max()))
    assert [np.concatenate(x).tolist() for x in zip(*run.scan(), strict=True)] == [keys.tolist(), values.tolist()]
    found, value = run.find(keys)
    assert found.all() and value.tolist() == values.tolist()
    other = np.setdiff1d(np.concatenate([rng.integers(0, 2**64, 5000, np.uint64), keys + np.uint64(1), [0]]).astype(np.uint64), keys)
    assert not run.find(other)[0].any()
    assert run.find(np.zeros(0, np.uint64))[0].tolist() == []


def test_no_bit_of_a_file_can_change_unseen(tmp_path):
    keys = np.unique(np.random.default_rng(1).integers(0, 2**64, 1500, np.uint64))
    named = write(tmp_path, "records", 0, 1, iter([(keys, np.arange(len(keys)))]), len(keys))
    path = tmp_path / named.name
    whole = path.read_bytes()
    rng = random.Random(1)
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(TornError):
            run = RunFile(tmp_path, named)
            run.find(np.unique(np.concatenate([keys, keys + np.uint64(1)])))
            run._likely(np.arange(0, 2**64 - 1, 2**48, dtype=np.uint64))
            list(run.scan())


@pytest.mark.parametrize("n", [1, 511, 5000])
def test_with_the_upper_halves_of_its_names_a_file_answers_alike_and_reads_only_what_it_holds(tmp_path, n, monkeypatch):
    keys = np.unique(np.random.default_rng(n).integers(0, 2**64, n, dtype=np.uint64))
    named = write(tmp_path, "records", 0, 1, iter([(keys, np.arange(len(keys)))]), len(keys))
    plain, held = RunFile(tmp_path, named), RunFile(tmp_path, named, upper(keys))
    alike = keys ^ np.uint64(1)  # the same upper halves
    asked = np.unique(np.concatenate([keys[::3], alike[::2], np.random.default_rng(0).integers(0, 2**64, n, dtype=np.uint64)]))
    (here, number), (there, other) = plain.find(asked), held.find(asked)
    assert here.tolist() == there.tolist()
    assert number[here].tolist() == other[here].tolist()
    monkeypatch.setattr(RunFile, "_look", lambda *_: pytest.fail("a block was read"))
    strange = np.sort(np.random.default_rng(1).integers(0, 2**64, 99, dtype=np.uint64))
    strange = strange[~np.isin(upper(strange), upper(keys))]
    assert not held.find(strange)[0].any()


def test_of_files_joined_the_newest_entry_of_a_name_stands(tmp_path):
    rng = np.random.default_rng(2)
    model, runs = {}, []
    for k in range(4):
        keys = np.unique(rng.integers(1, 90_000, 40_000 + k, np.uint64))
        values = rng.integers(0, 1000, len(keys))
        model |= dict(zip(keys.tolist(), values.tolist(), strict=True))
        runs.append(RunFile(tmp_path, write(tmp_path, "trades", k, k + 1, iter([(keys, values)]), len(keys))))
    keys, values = (np.concatenate(x) for x in zip(*merged(runs), strict=True))
    assert keys.tolist() == sorted(model)
    assert dict(zip(keys.tolist(), values.tolist(), strict=True)) == model


def test_forgotten_records_are_new_and_their_files_leave(world):
    keys = filled(world, 40)
    n = len(world.store.index.records.runs)
    world.store._db.execute("DELETE FROM identity WHERE file <= 30")
    world.store._db.execute("DELETE FROM record WHERE file <= 30")
    assert set(world.m.known.judge(np.array(keys[:30], np.uint64), np.array(keys[:30], np.uint64)).tolist()) == {0}
    for _ in range(n):
        world.store.index.keep(world.store)
    assert len(world.store.index.records.runs) < n
    world.again()
    proven_from = np.array(keys[40 * 30 - 270 :], np.uint64)
    assert set(world.m.known.judge(proven_from, proven_from ^ np.uint64(7)).tolist()) == {1}


def test_a_view_of_the_store_reads_the_files_and_writes_none(world):
    keys = filled(world)
    before = files_of(world.store)
    with world.store.reader() as reads:
        seen = memory.fold(reads, Parameters()).m
        assert set(seen.known.judge(np.array(keys, np.uint64), np.array(keys, np.uint64) ^ np.uint64(7)).tolist()) == {1}
        shutil.rmtree(room.folder_of(world.path))
        assert len(before) and seen.places.get(next(iter(world.names))) == next(iter(world.names.values()))
    with world.store.reader() as reads:
        seen = memory.fold(reads, Parameters()).m
        assert set(seen.known.judge(np.array(keys, np.uint64), np.array(keys, np.uint64) ^ np.uint64(7)).tolist()) == {1}
    assert not room.folder_of(world.path).exists()


def test_a_store_in_memory_keeps_its_names_there():
    with opened(":memory:") as store:
        m = monitor(store)
        keys = np.arange(1, 200, dtype=np.uint64)
        m.known.add(keys, keys)
        store.commit(Commit(files=[file("a", records=FileRecords(keys=keys, contents=keys))], shelves=[("alpha", 1, *Shelf(1).delta())]))
        memory.put_away(store, m)
        assert len(m.known) == 199
