"""Delivery of a notice: a real HTTP service on the loopback, well and ill."""

import asyncio
import logging
import socket
import threading
from pathlib import Path

import pytest
from edges.receiver import Receiver, until

from parityd.edges.notify import Channel, channels

pytest.importorskip("apprise")
SECRET = "s3cret"


@pytest.fixture
def dead_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]


async def test_a_notice_arrives_with_its_title_body_and_type():
    with Receiver() as service:
        (channel,) = channels([service.url()])
        assert await channel.attempt("parityd: EMERGENCY_STOP", "line 1\n<script> & _more_", "stop") == ""
    (got,) = service.got
    assert (got["title"], got["message"], got["type"]) == ("parityd: EMERGENCY_STOP", "line 1\n<script> & _more_", "failure")


@pytest.mark.parametrize(("status", "said"), [(401, "answered with HTTP status 401"), (503, "answered with HTTP status 503")])
async def test_a_refusal_is_told_by_its_status(status, said):
    with Receiver(status) as service:
        assert await channels([service.url()])[0].attempt("t", "b", "change") == said


async def test_a_service_that_is_not_there_is_told_so(dead_port):
    assert await channels([f"json://127.0.0.1:{dead_port}/"])[0].attempt("t", "b", "change") == "could not be reached"


async def test_what_goes_wrong_never_shows_the_address(dead_port, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    urls = [f"json://user:{SECRET}@127.0.0.1:{dead_port}/{SECRET}", f"slack://{SECRET}/x", f"nonsense://{SECRET}/"]
    with Receiver(500) as service:
        found = channels([*urls, service.url(SECRET)])
        said = [await c.attempt("t", "b", "change") for c in found]
    assert all(said)
    err = capfd.readouterr()
    everything = [*said, *map(repr, found), *(c.label + c.key for c in found), caplog.text, err.out, err.err]
    assert not [x for x in everything if SECRET in x]


async def test_an_address_the_library_does_not_know_is_told_so():
    assert await Channel("nonsense://x/", 1).attempt("t", "b", "change") == "no address that the notification library understands"


async def test_a_service_that_hangs_is_given_up_and_the_loop_runs_on():
    with Receiver(None) as service:
        (channel,) = channels([service.url() + "?rto=60"])
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        assert await channel.attempt("t", "b", "stop", seconds=2.0) == "no answer within 2 s"
        ticking.cancel()
        assert service.asked == 1
    assert ticks > 50
    assert channel._child.returncode == -9


async def test_an_attempt_can_be_abandoned_and_its_thread_never_holds_up_the_end_of_the_process():
    with Receiver(None) as service:
        (channel,) = channels([service.url() + "?rto=60"])
        attempt = asyncio.create_task(channel.attempt("t", "b", "stop", seconds=30))
        await asyncio.to_thread(until, lambda: service.asked)
        assert [t.daemon for t in threading.enumerate() if t.name == "notice"] == [True]
        channel.abandon()
        assert await attempt == "the process that sent it ended with status -9"


async def test_the_child_sees_no_setting_of_the_daemon_and_its_arguments_no_address(monkeypatch):
    monkeypatch.setenv("PARITYD_NOTIFY__URLS", "json://elsewhere")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    with Receiver(None) as service:
        (channel,) = channels([service.url() + "?rto=60"])
        attempt = asyncio.create_task(channel.attempt("t", "b", "stop", seconds=30))
        await asyncio.to_thread(until, lambda: service.asked)
        process = Path(f"/proc/{channel._child.pid}")
        seen = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        channel.abandon()
        await attempt
    assert b"PATH=" in seen
    assert not [x for x in (b"PARITYD_", b"NOTIFY_SOCKET", SECRET.encode()) if x in seen]


def test_the_same_address_twice_is_one_channel_and_its_key_tells_nothing():
    found = channels([f"json://{SECRET}/", f"json://{SECRET}/", "mailto://a:b@c.example"])
    assert [c.label for c in found] == ["json (address 1)", "mailto (address 2)"]
    assert found[0].key == Channel(f"json://{SECRET}/", 7).key
