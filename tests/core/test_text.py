"""A column of text says what a list of the same texts says."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.core import owners
from parityd.core.text import TextColumn

texts = st.lists(
    st.text(st.characters(codec=None), max_size=9) | st.sampled_from(["", "a", "t-0001", "t-0002", "é", "\ud800", "two\nlines"]), max_size=9
)
alike = st.builds(lambda text, n: [text] * n, st.sampled_from(["", "USD", "é"]), st.integers(1, 9))
columns = texts | alike | st.lists(st.from_regex(r"t-[0-9]{4}", fullmatch=True), min_size=1, max_size=9)


@given(columns)
def test_it_is_a_sequence_of_the_texts_it_was_made_of(values):
    column = TextColumn.of(values)
    assert column == values
    assert [column[i] for i in range(len(column))] == values
    assert column.given().tolist() == [v != "" for v in values]
    assert (column.some(), column.full()) == (any(values), all(values))
    assert pickle.loads(pickle.dumps(column)) == values
    assert pickle.loads(pickle.dumps(column.take(np.zeros(0, np.int64)))) == []
    data, length = column.packed()
    assert TextColumn.of_bytes(data, length) == values
    assert data == b"".join(v.encode("utf-8", "surrogatepass") for v in values)


@given(st.lists(columns, min_size=1, max_size=4), st.data())
def test_rows_that_are_picked_and_joined_are_those_of_a_list(parts, data):
    made = [TextColumn.of(p) for p in parts]
    whole = TextColumn.joined(made)
    values = [v for p in parts for v in p]
    assert whole == values
    picked = data.draw(st.lists(st.integers(0, max(0, len(values) - 1)), max_size=12 if values else 0))
    some = whole.take(np.array(picked, np.int64))
    assert some == [values[i] for i in picked]
    mask = np.array([i in picked for i in range(len(values))], np.bool_)
    assert whole.take(mask) == [v for i, v in enumerate(values) if i in picked]
    assert whole[1:3] == values[1:3]
    assert TextColumn.joined([some, whole, some]) == [*(values[i] for i in picked), *values, *(values[i] for i in picked)]


@given(columns)
def test_a_function_is_asked_once_a_text_and_in_order(values):
    asked = []

    def code(text):
        asked.append(text)
        return len(asked)

    column = TextColumn.of(values)
    found = column.codes(code).tolist()
    assert asked == list(dict.fromkeys(values))
    assert found == [asked.index(v) + 1 for v in values]


@given(columns, st.data())
def test_few_texts_share_their_bytes_and_are_told_once(values, data):
    chosen = data.draw(st.lists(st.integers(0, max(0, len(values) - 1)), max_size=12 if values else 0))
    column = TextColumn.chosen(values, np.array(chosen, np.int64))
    want = [values[k] for k in chosen]
    assert column == want
    both = TextColumn.joined([column, TextColumn.of(values), column])
    for one, said in ((column, want), (both, [*want, *values, *want])):
        texts, places = one.few()
        assert [texts[k] for k in places.tolist()] == said
        assert list(dict.fromkeys(texts)) == list(dict.fromkeys(said))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "é"]), st.sampled_from(["X/Y", "Z", "X"])), max_size=9), st.booleans())
def test_owners_of_columns_are_those_of_their_texts(pairs, many):
    strategies, symbols = (TextColumn.of([p[k] for p in pairs]) for k in range(2))
    found = owners.codes(strategies, symbols) if many else owners.codes(strategies.tolist(), symbols.tolist())
    assert [owners.name(k) for k in found.tolist()] == pairs


def test_many_strategies_with_many_symbols_have_owners():
    names = [f"n{k}" for k in range(300)]
    pairs = [(f"n{k}", f"n{299 - k}") for k in range(300)]
    found = owners.codes(TextColumn.of(names), TextColumn.of(names[::-1]))
    assert [owners.name(k) for k in found.tolist()] == pairs


def test_eight_bytes_can_be_read_wherever_a_text_lies():
    for values in (["abc", "abcdefgh"], ["abc", "xyz"], ["", "abcdefghijkl"]):
        column = TextColumn.of(values)
        words = [int(w) & ((1 << 8 * min(8, len(v))) - 1) for w, v in zip(column.word(0).tolist(), values, strict=True)]
        assert words == [int.from_bytes(v.encode()[:8], "little") for v in values]


def test_what_is_no_text_is_no_column_of_text():
    with pytest.raises(TypeError):
        TextColumn.of([1, 1])
    with pytest.raises(TypeError):
        TextColumn.of(["a", None])
