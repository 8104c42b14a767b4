"""The server in the daemon's own loop: one socket, few connections, no patience, no signals.

1. The socket is bound here, before anything is served, so that a taken port is one clear error; port 0 takes a free one.
2. Signals belong to the daemon: the server installs no handler.
3. At most 64 connections. One more lets go of the oldest that has said nothing for a second, else it is told 503.
4. A request must arrive, be answered and be read within 5 s each, or its connection is cut; an event stream is cut when its
   reader takes nothing any more.
5. `serve` ends when `stop` is set, event streams first; it does not outlive a second of waiting for the rest.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from parityd.web.api import STREAM_PATH
from parityd.web.problems import HEADERS, problem_bytes

MAX_CONNECTIONS = 64
PATIENCE = 5.0  # seconds
IDLE = 1.0  # seconds after which a silent connection may be let go for a new one
UNREAD_MS = 30_000  # how long sent bytes may stay unacknowledged: TCP_USER_TIMEOUT


class PortTakenError(OSError):
    """The address cannot be had; the text says which and how to mend it."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. PortTakenError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, OverflowError) as e:
        raise PortTakenError(errno.EADDRNOTAVAIL, f"[http] host = {host!r}, port = {port}: no address of this machine ({e})") from e
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
        bound.setblocking(False)
    except OSError as e:
        bound.close()
        mend = "another program has it: stop that one or set [http] port" if e.errno == errno.EADDRINUSE else "set [http] host and port"
        raise PortTakenError(e.errno or errno.EIO, f"cannot listen on {host}:{port}: {e.strerror}; {mend}") from e
    return bound


class Connection(H11Protocol):
    """One client. `since` is the loop's time at which its present step began."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = self.loop.time()
        self._tick: asyncio.TimerHandle | None = None
        self._answered = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self._tick = self.loop.call_later(IDLE, self._look)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def _make_room(self) -> None:
        now = self.loop.time()
        idle = [c for c in self.connections if isinstance(c, Connection) and c is not self and c.waiting and now - c.since > IDLE]
        if idle:
            min(idle, key=lambda c: c.since).transport.abort()
            return
        if len(self.connections) > 4 * MAX_CONNECTIONS:
            self.transport.abort()
            return
        self._refused, self.since = True, now - PATIENCE + IDLE
        self._say(503, f"{MAX_CONNECTIONS} connections are open, which is the most there may be")
        with contextlib.suppress(OSError, NotImplementedError):
            self.transport.write_eof()

    def _say(self, status: int, detail: str) -> None:
        body = problem_bytes(status, detail)
        head = {"content-type": "application/problem+json", "content-length": str(len(body)), "connection": "close", **HEADERS}
        lines = "".join(f"{k}: {v}\r\n" for k, v in head.items())
        phrase = {400: "Bad Request", 503: "Service Unavailable"}[status]
        self.transport.write(f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode() + body)

    @property
    def waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def streaming(self) -> bool:
        return not self.waiting and self.scope["path"] == STREAM_PATH

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return  # read and dropped, so that the answer is not lost to a reset
        was_waiting = self.waiting
        super().data_received(data)
        if was_waiting and not self.waiting:
            self.since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        self._say(400, msg)
        self.transport.close()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        """Cut the connection where its step has taken too long; look again when it could have."""
        now = self.loop.time()
        if self.streaming:
            unread = self.transport.get_write_buffer_size() > 0
            self.since = self.since if unread else now
        if now - self.since >= PATIENCE - 0.01:
            self.transport.abort()
            return
        self._tick = self.loop.call_later(max(0.05, min(PATIENCE / 5, self.since + PATIENCE - now)), self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._tick is not None:
            self._tick.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.streaming or self._refused:
            self.transport.close()
        else:
            super().shutdown()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.leave = asyncio.Event()

    async def main_loop(self) -> None:
        """A tick a second, for the date in the answers; the library's own loop wakes ten times as often."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.leave.wait(), 1.0)

    def end(self) -> None:
        self.should_exit = True
        self.leave.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: ASGIApp, host: str, port: int, stop: asyncio.Event, started: Callable[[str, int], None] | None = None) -> None:
    """Serve until `stop` is set. `started` is told the address in use once it answers. PortTakenError where there is none."""
    bound = listen(host, port)
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_config=None,
        log_level="error", access_log=False, server_header=False, proxy_headers=False,
        timeout_keep_alive=int(PATIENCE), timeout_graceful_shutdown=1, h11_max_incomplete_event_size=16_384,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]), name="http.serve")
    stopping = asyncio.create_task(stop.wait(), name="http.stop")
    rising = asyncio.create_task(server.up.wait(), name="http.up")
    try:
        await asyncio.wait({serving, rising}, return_when=asyncio.FIRST_COMPLETED)
        if started is not None and server.up.is_set():
            address = bound.getsockname()
            started(str(address[0]), int(address[1]))
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        rising.cancel()
        server.end()
        await serving
        bound.close()
