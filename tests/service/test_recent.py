"""The series of a strategy's page: made by the worker once a minute, never waited for long, and a fault costs the picture alone."""

from types import SimpleNamespace

from parityd.service.recent import KEPT_NS, Recent


class Clock:
    now = 0

    def __call__(self):
        return self.now


def made(monkeypatch, make):
    clock, asked = Clock(), []
    recent = Recent(SimpleNamespace(), clock)
    monkeypatch.setattr(recent, "_make", make)

    def ask(job, seconds):
        asked.append(seconds)
        return job()

    return recent, clock, asked, ask


def test_it_is_made_once_a_minute(monkeypatch):
    recent, clock, asked, ask = made(monkeypatch, lambda name: {"pnl": [name, clock.now]})
    assert recent.of("s", ask) == recent.of("s", ask) == {"pnl": ["s", 0]} and len(asked) == 1
    clock.now += KEPT_NS
    assert recent.of("s", ask) == {"pnl": ["s", KEPT_NS]} and len(asked) == 2
    assert max(asked) < 2.0


def test_a_busy_worker_leaves_what_was_made_before_and_gets_no_second_job(monkeypatch):
    recent, clock, _, ask = made(monkeypatch, lambda name: {"pnl": [name, clock.now]})
    recent.of("s", ask)
    clock.now += KEPT_NS
    late = []

    def busy(job, _seconds):
        late.append(job)
        raise TimeoutError

    assert recent.of("s", busy) == {"pnl": ["s", 0]}
    assert recent.of("s", busy) == recent.of("other", busy) | {"pnl": ["s", 0]} and len(late) == 1
    late.pop()()
    assert recent.of("s", busy) == {"pnl": ["s", KEPT_NS]} and not late


def test_a_fault_is_named_and_raises_nothing_in_the_worker(monkeypatch):
    def broken(_name):
        raise ZeroDivisionError("by chance")

    recent, *_, ask = made(monkeypatch, broken)
    assert recent.of("s", ask) == {"failed": "ZeroDivisionError: by chance"}


def test_without_a_worker_there_is_nothing_to_show(monkeypatch):
    recent, *_ = made(monkeypatch, lambda _: {"pnl": []})
    assert recent.of("s", None) == {}
