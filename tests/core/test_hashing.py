"""Hashes of columns: the fast way says what a loop over single values says, and what the rule says in plain integers."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.core.hashing import hash_numbers, hash_text, mix, plain, seed

FULL = 2**64 - 1


def mixed(h: int, w: int) -> int:
    x = (h ^ w) * 0xBF58476D1CE4E5B9 & FULL
    x ^= x >> 29
    x = x * 0x94D049BB133111EB & FULL
    return x ^ x >> 32


def hashed(text: str, h: int) -> int:
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > 64:
        raw = b"\1" + hashlib.sha256(raw).hexdigest()[:40].encode()
    h = mixed(h, len(raw) * 0x9E3779B97F4A7C15 & FULL)
    for at in range(0, len(raw), 8):
        h = mixed(h, int.from_bytes(raw[at : at + 8].ljust(8, b"\0"), "little"))
    return h


TEXTS = st.text(max_size=70) | st.sampled_from(["", "a", "a\n", "\n", "12345678", "123456789", "é" * 32, "é" * 33, "\0", "a\0"])


@given(st.lists(TEXTS | st.none() | st.integers(), max_size=12), st.integers(0, FULL))
def test_a_column_of_text_is_hashed_as_the_rule_says_of_each_value(values, start):
    found = hash_text(values, np.uint64(start))
    assert found.tolist() == [hashed(v, start) for v in plain(values)]


@given(TEXTS, st.integers(2, 5), st.integers(0, FULL))
def test_a_column_of_one_text_is_hashed_like_any_other(value, n, start):
    assert hash_text([value] * n, np.uint64(start)).tolist() == [hashed(value, start)] * n


@given(st.lists(st.tuples(TEXTS, st.integers(0, FULL)), min_size=1, max_size=9))
def test_each_row_goes_on_from_its_own_hash(rows):
    starts = np.array([s for _, s in rows], np.uint64)
    assert hash_text([t for t, _ in rows], starts).tolist() == [hashed(t, s) for t, s in rows]


def test_length_and_content_both_count():
    texts = ["", "\0", "\0\0", "a", "a\0", "ab", "a\nb", "12345678", "12345678\0"]
    assert len(set(hash_text(texts, np.uint64(7)).tolist())) == len(texts)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_are_hashed_by_their_bits(values):
    h = np.full(len(values), 3, np.uint64)
    expected = [mixed(3, int.from_bytes(struct.pack("<d", v + 0.0), "little")) for v in values]
    assert hash_numbers(np.array(values), h).tolist() == expected


def test_every_nan_is_one_and_both_zeros_are_one():
    h = np.zeros(5, np.uint64)
    odd = struct.unpack("<d", struct.pack("<q", 0x7FF8000000001234))[0]
    found = hash_numbers(np.array([np.nan, -np.nan, odd, 0.0, -0.0]), h).tolist()
    assert found[0] == found[1] == found[2] != found[3] == found[4]


def test_hashing_leaves_the_column_as_it_was():
    column = np.array([-0.0, 1.0])
    h = np.zeros(2, np.uint64)
    hash_numbers(column, h)
    assert np.signbit(column[0])
    assert h.tolist() == [0, 0]


def test_a_seed_is_stable_for_ever():
    assert int(seed("fill\0live\0s\0BTC/USD")) == int.from_bytes(hashlib.sha256(b"fill\0live\0s\0BTC/USD").digest()[:8], "little")


@pytest.mark.parametrize("n", [1, 3])
def test_mixing_is_the_rule_in_plain_integers(n):
    h, w = np.arange(n, dtype=np.uint64) + np.uint64(FULL - 5), np.arange(n, dtype=np.uint64) * np.uint64(0x123456789)
    assert mix(h, w).tolist() == [mixed(int(a), int(b)) for a, b in zip(h, w, strict=True)]
