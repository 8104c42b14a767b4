"""Work beside a commit is over when the commit is, and says what went wrong."""

import threading

import pytest

from parityd.service.beside import beside


def test_it_goes_on_in_another_thread_and_is_waited_for():
    told, go = [], threading.Event()

    def work():
        go.wait(5)
        told.append(threading.current_thread() is threading.main_thread())

    with beside(work) as begin:
        begin()
        assert told == []
        go.set()
    assert told == [False]


def test_what_it_raises_is_raised():
    def work():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), beside(work) as begin:
        begin()


def test_work_that_was_not_begun_is_not_done():
    with beside(lambda: pytest.fail("begun")):
        pass


def test_what_the_body_raises_comes_after_the_work():
    told = []
    with pytest.raises(OSError, match="disk"), beside(lambda: told.append(1)) as begin:
        begin()
        raise OSError("disk")
    assert told == [1]
