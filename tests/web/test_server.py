"""The server in a loop, over real sockets: signals, ports, patience, the limit of connections, the end."""

import asyncio
import contextlib
import json
import signal
import socket
import threading

import pytest
from web.fake_desk import scene, with_report

from parityd.web import server
from parityd.web.api import Web
from parityd.web.metrics import Metrics


@pytest.fixture
async def running(monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 1.0)
    monkeypatch.setattr(server, "IDLE", 0.2)
    desk, stop, up = with_report(scene("one")), asyncio.Event(), asyncio.get_running_loop().create_future()
    web = Web(desk, Metrics("1"))
    task = asyncio.create_task(server.serve(web, "127.0.0.1", 0, stop, lambda _, port: up.set_result(port)))
    try:
        yield await asyncio.wait_for(up, 5), desk, stop, task
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)
        web.close()


async def ask(port, path="/healthz", method="GET"):
    """(status, head, body) of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


async def test_it_answers_on_a_free_port_and_leaves_signals_alone(running):
    port, *_ = running
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert "uvicorn" not in repr(signal.getsignal(signal.SIGINT))
    status, head, body = await ask(port)
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert b"server:" not in head and b"content-security-policy" in head


async def test_a_taken_port_is_one_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(server.PortTakenError, match=rf"127\.0\.0\.1:{port}: Address already in use; another program has it"):
            await server.serve(Web(scene("one"), Metrics("1")), "127.0.0.1", port, asyncio.Event())


@pytest.mark.parametrize("host", ["no such host.invalid", "203.0.113.77"])
async def test_an_address_that_is_not_ours_is_said(host):
    with pytest.raises(server.PortTakenError, match=r"host"):
        await server.serve(Web(scene("one"), Metrics("1")), host, 0, asyncio.Event())


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_does_not_finish_its_request_is_cut(running, sent):
    port, *_ = running
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 4) == b""
    writer.close()


async def test_a_client_that_does_not_read_is_cut_and_harms_nobody(running):
    port, desk, *_ = running
    desk.reports["2026-11-19"]["padding"] = "x" * 20_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.transport.pause_reading()
    writer.write(b"GET /api/v1/reports/2026-11-19 HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.3)
    assert (await ask(port))[0] == 200
    await asyncio.sleep(2.2)
    got = 0
    writer.transport.resume_reading()
    with contextlib.suppress(ConnectionError):
        while part := await asyncio.wait_for(reader.read(1 << 16), 4):
            got += len(part)
    assert got < 20_000_000
    writer.close()


async def test_a_question_that_takes_too_long_is_told_so_before_the_connection_is_cut():
    desk, stop, up = scene("one"), asyncio.Event(), asyncio.get_running_loop().create_future()
    gate = threading.Event()
    desk.trades = lambda *_: gate.wait(20)
    web = Web(desk, Metrics("1"))
    task = asyncio.create_task(server.serve(web, "127.0.0.1", 0, stop, lambda _, port: up.set_result(port)))
    try:
        status, head, body = await ask(await asyncio.wait_for(up, 5), "/api/v1/trades")
        assert (status, json.loads(body)["status"]) == (503, 503) and b"retry-after" in head
    finally:
        gate.set()
        stop.set()
        await asyncio.wait_for(task, 5)
        web.close()


async def test_what_is_no_http_gets_a_problem(running):
    port, *_ = running
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 400") and b"application/problem+json" in answer
    writer.close()


async def test_silent_connections_make_room_and_busy_ones_do_not(running, monkeypatch):
    port, desk, *_ = running
    desk.beat = 0.05
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
    await asyncio.sleep(0.3)
    assert (await ask(port))[0] == 200
    for _, writer in silent:
        writer.close()
    await asyncio.sleep(0.1)
    monkeypatch.setattr(server, "IDLE", 60.0)  # from here on nobody counts as silent
    streams = []
    for _ in range(50):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readline()
        streams.append(writer)
    assert (await ask(port, "/events"))[0] == 503
    assert (await ask(port))[0] == 200
    young = [await asyncio.open_connection("127.0.0.1", port) for _ in range(14)]
    status, head, body = await ask(port)
    assert status == 503 and b"application/problem+json" in head and json.loads(body)["status"] == 503
    for _, writer in young:
        writer.close()
    for writer in streams:
        writer.close()
    for _ in range(100):
        if (await ask(port))[0] == 200:
            break
        await asyncio.sleep(0.05)
    assert (await ask(port))[0] == 200


async def test_an_event_stream_outlives_the_patience(running):
    port, desk, *_ = running
    desk.beat = 0.3
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    text, loop = b"", asyncio.get_running_loop()
    end = loop.time() + 2.5
    while loop.time() < end:
        text += await asyncio.wait_for(reader.readline(), 2)
    assert text.count(b"event: heartbeat") >= 5
    writer.close()


async def test_it_ends_at_once_though_a_browser_listens(running):
    port, _, stop, task = running
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readline()
    loop = asyncio.get_running_loop()
    start = loop.time()
    stop.set()
    await asyncio.wait_for(task, 3)
    assert loop.time() - start < 1.0
    writer.close()


async def test_a_flood_of_scrapes_delays_no_other_task(running):
    port, *_ = running
    worst, done = 0.0, asyncio.Event()
    loop = asyncio.get_running_loop()

    async def pulse():
        nonlocal worst
        while not done.is_set():
            start = loop.time()
            await asyncio.sleep(0.01)
            worst = max(worst, loop.time() - start - 0.01)

    beating = asyncio.create_task(pulse())
    for _ in range(10):
        answers = await asyncio.gather(*(ask(port, "/metrics") for _ in range(20)))
        assert all(status == 200 for status, *_ in answers)
    done.set()
    await beating
    assert worst < 0.25, worst
