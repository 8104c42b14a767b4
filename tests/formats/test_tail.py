"""Tailing: every whole line once, in order, however the log grows; and from the start where it is another log."""

import io

import pytest
from formats.samples import blocks, column, fix
from hypothesis import given
from hypothesis import strategies as st

from parityd.formats import Source
from parityd.formats.tail import Place, appended


@given(st.lists(st.binary(max_size=12), max_size=12), st.integers(1, 9))
def test_every_whole_line_comes_once_and_in_order(pieces, most):
    log, place, told = b"", Place(), b""
    for piece in [*pieces, b"\n"]:
        log += piece
        while True:
            data, place = appended(io.BytesIO(log), place, most=most)
            told += data
            if not data:
                break
    assert told == log
    assert place.lines == log.count(b"\n")
    assert place.offset == len(log)


def test_a_line_without_its_end_waits():
    data, place = appended(io.BytesIO(b"one\ntw"), Place())
    assert data == b"one\n"
    assert appended(io.BytesIO(b"one\ntw"), place) == (b"", place)
    assert appended(io.BytesIO(b"one\ntwo\n"), place)[0] == b"two\n"


@pytest.mark.parametrize("other", [b"one\n", b"on", b"", b"One\ntwo\nthree\n", b"one\ntWo\nthree\n"])
def test_a_log_that_is_another_is_read_from_the_start(other):
    _, place = appended(io.BytesIO(b"one\ntwo\n"), Place())
    data, now = appended(io.BytesIO(other), place)
    assert data == other[: other.rfind(b"\n") + 1]
    assert now.offset == len(data)


def test_a_header_stands_before_later_rows():
    _, place = appended(io.BytesIO(b"a,b\n1,2\n"), Place(), header=True)
    assert appended(io.BytesIO(b"a,b\n1,2\n3,4\n"), place, header=True)[0] == b"a,b\n3,4\n"


def test_a_log_read_in_pieces_gives_the_fills_of_the_whole():
    log = b"".join(fix(t17=f"e{i}") + b"\n" for i in range(50))
    source, place, found = Source(name="d", strategy="s"), Place(), []
    for end in (*range(0, len(log), 777), len(log)):
        data, place = appended(io.BytesIO(log[:end]), place)
        found += blocks(data, "x.log", source=source) if data else []
    assert column(found, "fills", "fill_id") == [f"e{i}" for i in range(50)]


def test_a_line_without_an_end_is_handed_on_in_pieces_and_does_not_grow_in_memory(monkeypatch):
    monkeypatch.setattr("parityd.formats.tail.LONGEST", 16)
    log = io.BytesIO(b"x" * 40 + b"\nshort\n")
    data, place = appended(log, Place(), most=8)
    assert data == b"x" * 16
    told = data
    while data:
        data, place = appended(log, place, most=8)
        told += data
    assert told == log.getvalue()
