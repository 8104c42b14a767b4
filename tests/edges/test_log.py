"""What reaches the log, and what it costs the service."""

import io
import json
import os
import threading

import pytest

from parityd.edges.log import BURST, Sink, configure, to_journal


class Clock:
    ns = 0

    def __call__(self):
        return self.ns


def told(sink):
    sink.close()
    return [json.loads(line[line.index("{") :]) for line in sink.stream.getvalue().splitlines()]


def test_one_event_a_line_with_its_level_and_fields():
    log, sink = configure("json", "info", Clock(), io.StringIO())
    log.warning("file.refused", code="bad_json", name="ü\nx")
    log.debug("unheard")
    (line,) = told(sink)
    assert (line["event"], line["level"], line["code"], line["name"]) == ("file.refused", "warning", "bad_json", "ü\nx")


def test_the_level_can_change_while_it_runs():
    log, sink = configure("json", "error", Clock(), io.StringIO())
    log.info("one")
    sink.at_least("debug")
    log.debug("two")
    assert [line["event"] for line in told(sink)] == ["two"]


def test_repeats_are_counted_and_told_after_a_minute():
    clock = Clock()
    log, sink = configure("json", "info", clock, io.StringIO())
    for _ in range(BURST + 30):
        log.error("store.failed", error="full")
    log.error("store.failed", error="another")
    clock.ns += 61_000_000_000
    log.error("store.failed", error="full")
    lines = told(sink)
    assert len(lines) == BURST + 2
    assert lines[-1]["repeated"] == 30


def test_a_target_that_hangs_delays_nobody_and_what_was_dropped_is_told():
    class Stuck(io.StringIO):
        def __init__(self):
            super().__init__()
            self.free = threading.Event()

        def write(self, text):
            self.free.wait(10)
            return super().write(text)

    sink = Sink(Stuck(), size=10)
    for n in range(100):
        sink.msg(json.dumps({"event": "e", "n": n}))
    assert sink.dropped >= 89
    sink.stream.free.set()
    while not sink._queue.empty():
        sink._thread.join(0.01)
    lines = told(sink)
    assert lines[-1]["event"] == "log.dropped"
    assert len(lines) - 1 + lines[-1]["lines"] == 100


def test_the_journal_is_told_each_lines_level(tmp_path):
    log, sink = configure("json", "info", Clock(), io.StringIO(), journal=True)
    log.error("a")
    log.info("b")
    assert [line["event"] for line in told(sink)] == ["a", "b"]
    assert [line[:3] for line in sink.stream.getvalue().splitlines()] == ["<3>", "<6>"]
    with (tmp_path / "x").open("w") as stream:
        facts = os.fstat(stream.fileno())
        assert to_journal({"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"}, stream)
        assert not to_journal({"JOURNAL_STREAM": "1:2"}, stream)
        assert not to_journal({}, stream)


@pytest.mark.parametrize("form", ["console", "auto"])
def test_people_get_lines_they_can_read(form):
    log, sink = configure(form, "info", Clock(), io.StringIO())
    log.info("service.ready", strategies=3)
    sink.close()
    assert "service.ready" in sink.stream.getvalue()
