"""Work beside a commit is over when the commit is, and says what went wrong where it is asked."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from parityd.service.beside import Beside


def test_it_goes_on_in_another_thread_and_is_waited_for():
    told, go = [], threading.Event()

    def work():
        go.wait(5)
        told.append(threading.current_thread() is threading.main_thread())

    with Beside(work) as side:
        side.begin()
        assert told == []
        go.set()
    side.check()
    assert told == [False]


def test_what_it_raises_is_raised_where_it_is_asked_for():
    def work():
        raise ValueError("no")

    with Beside(work) as side:
        side.begin()
        side.wait()
    with pytest.raises(ValueError, match="no"):
        side.check()


def test_work_that_was_not_begun_is_not_done():
    with Beside(lambda: pytest.fail("begun")) as side:
        side.wait()
    side.check()


def test_what_the_body_raises_comes_after_the_work():
    told = []
    with pytest.raises(OSError, match="disk"), Beside(lambda: told.append(1)) as side:
        side.begin()
        raise OSError("disk")
    assert told == [1]


def test_where_no_thread_is_to_be_had_it_is_done_when_it_is_asked_for(monkeypatch):
    told = []

    def none(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", none)
    with Beside(lambda: told.append(1)) as side:
        side.begin()
        assert told == []
    side.check()
    assert told == [1]
