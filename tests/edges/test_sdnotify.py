"""What the service manager hears."""

import os
import socket

import pytest

from parityd.edges.sdnotify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        name = str(tmp_path / "n") if request.param == "path" else f"@parityd-test-{os.getpid()}"
        s.bind(name if request.param == "path" else "\0" + name[1:])
        s.settimeout(5)
        yield s, Notifier.from_environment({"NOTIFY_SOCKET": name})


def test_each_word_is_one_datagram(manager):
    heard, say = manager
    for call, expected in (
        (lambda: say.ready("up"), b"READY=1\nSTATUS=up"), (lambda: say.ready(), b"READY=1"), (lambda: say.watchdog(), b"WATCHDOG=1"),
        (lambda: say.reloading(1_234_567_890), b"RELOADING=1\nMONOTONIC_USEC=1234567"), (lambda: say.stopping("bye"), b"STOPPING=1\nSTATUS=bye"),
        (lambda: say.status("two\nlines"), b"STATUS=two lines"), (lambda: say.extend(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
    ):  # fmt: skip
        assert call() is True
        assert heard.recv(4096) == expected


def test_a_long_start_asks_again_and_again_and_not_for_ever(manager):
    heard, say = manager
    with say.extending(every=0.01, by=30, most=0.05):
        assert [heard.recv(4096) for _ in range(5)] == [b"EXTEND_TIMEOUT_USEC=30000000"] * 5
        heard.settimeout(0.1)
        with pytest.raises(TimeoutError):
            heard.recv(4096)
    with say.extending(every=60):
        assert heard.recv(4096)  # ends at once when the block does


@pytest.mark.parametrize("address", ["", "@", "relative", "vsock:2:1234", "/nowhere/at/all", "/" + "x" * 500])
def test_without_a_manager_nothing_happens(address):
    assert Notifier.from_environment({"NOTIFY_SOCKET": address} if address else {}).ready() is False


def test_a_manager_that_does_not_read_delays_nobody(manager):
    _, say = manager
    sent = 0
    while say.watchdog():
        sent += 1
        assert sent < 100_000
    assert sent > 0
