"""What is packed comes back exactly (the numbers are those of `codecs`, `packing`, `segments`)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.material import NOW, decisions, fills, rare, records, rows, same_columns, same_summary, shelf, summary

from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.records import NO_TS, Line, Mark
from parityd.core.rows import DEAD, ROW
from parityd.core.text import TextColumn
from parityd.store import StoreBroken, blobs, layouts, segments
from parityd.store.packing import SMALL, pack, seal, squeeze, unpack, unseal, unsqueeze

ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=64)
texts = st.text(st.characters(codec=None), max_size=12)  # lone surrogates too


def spread(values: list, n: int, seed: int) -> list:
    """n values, each one of those given, in an arbitrary order."""
    at = np.random.default_rng(seed).integers(0, len(values), n)
    return [values[k] for k in at.tolist()]


def back(column, n):
    return unpack(unsqueeze(squeeze(pack({"a": column}, n))))["a"]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal by bits, but a NaN is a NaN."""
    if a.dtype != b.dtype or np.isnan(a).tolist() != np.isnan(b).tolist():
        return False
    return a[~np.isnan(a)].tobytes() == b[~np.isnan(b)].tobytes()


@given(st.lists(ints, min_size=1, max_size=20), st.sampled_from([0, 1, SMALL - 1, SMALL, 200]), st.integers(0, 99))
def test_integers_come_back_whatever_their_range(values, n, seed):
    a = np.array(spread(values, n, seed), np.int64)
    assert back(a, n).tolist() == a.tolist()


@given(st.integers(-(2**61), 2**61), st.sampled_from([1, 1000, 10**6, 10**9]), st.integers(0, 99))
def test_rising_times_come_back_with_and_without_gaps(start, unit, seed):
    rng = np.random.default_rng(seed)
    a = start + np.cumsum(rng.integers(0, 1000, 300)) * unit
    assert back(a, 300).tolist() == a.tolist()
    a[rng.random(300) < 0.2] = NO_TS
    assert back(a, 300).tolist() == a.tolist()


@given(st.lists(floats, min_size=1, max_size=20), st.sampled_from([1, SMALL, 200]), st.integers(0, 99))
def test_floats_come_back_by_their_bits(values, n, seed):
    a = np.array(spread(values, n, seed), np.float64)
    assert same_bits(back(a, n), a)


@given(st.integers(0, 10), st.floats(1e-6, 1e7), st.integers(0, 99), st.booleans())
def test_decimals_and_their_products_come_back_by_their_bits(places, size, seed, signed):
    rng = np.random.default_rng(seed)
    a = np.round(rng.uniform(-size if signed else 0, size, 200), places)
    for x in (a, a * np.round(rng.uniform(0, 9, 200), 3), np.where(rng.random(200) < 0.3, np.nan, a), a * 0.0):
        assert same_bits(back(x, 200), x)


def test_prices_of_a_tick_take_two_bytes_and_not_eight():
    prices = np.round(np.random.default_rng(1).uniform(90, 110, 5000), 2)
    assert len(squeeze(pack({"a": prices}, 5000))) < 5000 * 2.2


@given(st.lists(texts, min_size=1, max_size=20), st.sampled_from([1, SMALL, 200]), st.integers(0, 99))
def test_texts_come_back_by_table_and_joined(values, n, seed):
    some = spread(values, n, seed)
    assert back(TextColumn.of(some), n) == some
    many = [f"{v}{k}" for k, v in enumerate(some)]
    assert back(TextColumn.of(many), n) == many


@given(st.lists(st.none() | st.lists(texts, max_size=3), min_size=1, max_size=9), st.sampled_from([1, SMALL, 200]))
def test_lists_of_text_keep_none_and_empty_apart(values, n):
    some = spread(values, n, 3)
    assert back(some, n) == some


@pytest.mark.parametrize("n", [1, 5, SMALL - 1, SMALL, 500])
def test_records_of_a_file_come_back(n):
    f, d = fills(n, account="main", liquidity="maker", shadow=True), decisions(n, reason="über", guards=["g", "h"])
    f.latency_ms[0], f.fee[0] = np.nan, -0.0
    d.guards[0] = None
    known = records(f, d)
    for kind, c in ((FillColumns, f), (DecisionColumns, d)):
        data = blobs.put_columns(c, known)
        assert same_columns(blobs.get_columns(kind, data, known.keys, known.contents), c)


def test_records_whose_identities_are_elsewhere_bring_their_own():
    f = fills(100)
    known = records(fills(3, first=1000))
    data = blobs.put_columns(f, known)
    assert same_columns(blobs.get_columns(FillColumns, data, known.keys, known.contents), f)


def test_rare_records_come_back_with_null_and_number_as_they_were():
    # NaN differs from itself: compared as written
    assert repr(blobs.get_rare(blobs.put_rare(rare(5)))) == repr(rare(5))
    assert blobs.get_rare(None) == []


def test_half_a_character_in_a_rare_record_comes_back():
    half = [Line(1, NOW, Mark(symbol="a\ud800", price=float("nan"), ts=1.0))]
    assert repr(blobs.get_rare(blobs.put_rare(half))) == repr(half)


def test_every_record_is_written_without_its_field_names():
    for kind, layout in ((FillColumns, layouts.FILL_1), (DecisionColumns, layouts.DECISION_1)):
        assert tuple(name for name in kind.names() if name not in ("key", "content")) == layout
    assert segments.ROW_FIELDS == layouts.ROW_2


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, SMALL, 150]), st.integers(1, 3))
def test_a_segment_gives_back_every_bit_of_every_row(seed, n, count):
    rng = np.random.default_rng(seed)
    pieces = []
    for k in range(count):
        s = shelf(n, first=1 + k * n, seed=seed + k, number=k)
        rows_, text = s.delta()
        for name in ROW.names:
            if rows_[name].dtype == np.float64:
                rows_[name][rng.random(n) < 0.2] = rng.choice([np.nan, 0.0, -0.0, np.inf, 1e-300, -1.5])
            elif rows_[name].dtype == np.int64:
                rows_[name][rng.random(n) < 0.3] = NO_TS
        rows_["bkey"][rng.random(n) < 0.3] = 0
        rows_["lkey"][rng.random(n) < 0.3] = 77
        rows_["pk"][rng.random(n) < 0.1] = 5
        rows_["flags"][rng.random(n) < 0.2] |= DEAD
        pieces.append(("alpha", k, rows_, text))
    count, names, data = segments.put_segment(pieces)
    got, text = segments.get_segment(names, data)
    assert count == len(got) == n * len(pieces)
    assert got.tobytes() == b"".join(p[2].tobytes() for p in pieces)
    assert text == b"".join(p[3] for p in pieces)


def test_rows_without_a_time_come_back():
    r = rows(100)
    r["t"][3] = NO_TS
    _, names, data = segments.put_segment([("alpha", 1, r, b"")])
    assert segments.get_segment(names, data)[0].tobytes() == r.tobytes()


def test_the_names_of_a_segment_are_those_of_its_living_rows():
    r = rows(6)
    r["lkey"][1] = 99
    r["bkey"][2] = 0
    r["flags"][3] |= DEAD
    keys, numbers = segments.living_names(segments.put_names(r), np.array([1, 1, 1, 2, 2, 2]))
    said = dict(zip(keys.tolist(), numbers.tolist(), strict=True))
    assert said == {int(r["bkey"][0]): 1, int(r["bkey"][1]): 1, 99: 1, int(r["lkey"][2]): 1, int(r["bkey"][4]): 2, int(r["bkey"][5]): 2}


@pytest.mark.parametrize("n", [0, 1, 50, 300])
def test_a_summary_comes_back_exactly(n):
    made = summary(n)
    assert same_summary(blobs.get_summary(blobs.put_summary(made)), made)


def test_a_summary_with_other_fields_is_to_be_made_anew(monkeypatch):
    data = blobs.put_summary(summary())
    monkeypatch.setattr(blobs, "_F", blobs._F + 1)
    assert blobs.get_summary(data) is None


@given(st.binary(min_size=1, max_size=200), st.integers(0, 10_000))
def test_a_flipped_bit_is_found(data, at):
    for put, get in ((squeeze, unsqueeze), (seal, unseal)):
        stored = bytearray(put(data))
        bit = at % (len(stored) * 8)
        stored[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreBroken):
            get(bytes(stored))


def test_times_lie_far_from_now_and_still_come_back():
    assert NOW > 0
    r = rows(100)
    r["l_first"][0] = 2**62
    _, names, data = segments.put_segment([("alpha", 1, r, b"")])
    assert segments.get_segment(names, data)[0].tobytes() == r.tobytes()
