"""The HTTP face: routes, what a request may ask, and who answers it where.

1. Nothing here changes anything: GET and HEAD alone; every other method is 405.
2. What is at hand answers on the loop; whatever blocks or renders goes to threads of its own, and after 4.5 s the answer is a 503.
3. A page is rendered once for all who ask within a second.
4. At most 50 event streams; each ends after 10 minutes and the browser comes back by itself.
5. What a request says is checked before the desk hears of it; a name that no strategy can have is simply not found.
6. What renders pages is loaded when the first one is asked for: a daemon that only machines look at never pays for it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from parityd.core.instants import rfc3339
from parityd.web import openapi
from parityd.web.asked import NAME, Asked, is_day
from parityd.web.assets import static
from parityd.web.desk import Desk, Seen
from parityd.web.metrics import CONTENT_TYPE, Metrics
from parityd.web.problems import Guarded, as_json, problem

T = TypeVar("T")
MAX_STREAMS, STREAM_SECONDS = 50, 600.0
ANSWER_WITHIN, PAGE_KEEPS, MOST_KEPT = 4.5, 1.0, 64  # the server cuts the connection after 5 s: what is said must be said before
STREAM_PATH = "/events"
HTML = "text/html; charset=utf-8"
EVENTS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
STATIC = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}


class Web:
    """The ASGI application over a desk. `close` gives its threads back."""

    def __init__(self, desk: Desk, metrics: Metrics, *, answer_within: float = ANSWER_WITHIN) -> None:
        self.desk, self.metrics, self._within = desk, metrics, answer_within
        self._threads = ThreadPoolExecutor(4, "web")
        self._kept: dict[str, tuple[float, asyncio.Task[bytes]]] = {}
        self._streams = 0
        self._static = {name: (static(name), kind) for name, kind in STATIC.items()}
        handlers: dict[Any, Any] = {HTTPException: _refused, Exception: _broken}
        app = Starlette(routes=self._routes(), exception_handlers=handlers)
        app.router.redirect_slashes = False
        self._app = Guarded(app)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, send)

    def _routes(self) -> list[Route]:
        table: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/healthz": self._health,
            "/readyz": self._ready,
            "/metrics": self._metrics,
            "/api/v1/status": self._status,
            "/api/v1/strategies/{name}": self._strategy,
            "/api/v1/trades": self._trades,
            "/api/v1/reports": self._reports,
            "/api/v1/reports/{day}": self._report,
            "/openapi.json": self._openapi,
            STREAM_PATH: self._events,
            "/": self._page,
            "/strategies/{name}": self._strategy_page,
            "/reports": self._reports_page,
            "/reports/{day}": self._report_page,
            "/static/{name}": self._file,
        }
        return [Route(path, self._bounded(answer) if path != STREAM_PATH else answer, methods=["GET"]) for path, answer in table.items()]

    def _bounded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def within(request: Request) -> Response:
            try:
                async with asyncio.timeout(self._within):
                    return await answer(request)
            except TimeoutError:
                return problem(503, f"no answer within {self._within:g} s", {"retry-after": "5"})

        return within

    async def _threaded(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    async def _shared(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What `make` renders in a thread, shared by all who ask for `key` while it is made and for a second."""
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(key)
        if kept is None or (kept[1].done() and kept[0] <= now):
            if len(self._kept) > MOST_KEPT:
                self._kept = {k: v for k, v in self._kept.items() if v[0] > now or not v[1].done()}
            kept = (now + PAGE_KEEPS, asyncio.create_task(self._threaded(make)))
            kept[1].add_done_callback(lambda t: t.cancelled() or t.exception())  # whoever waited has seen it
            self._kept[key] = kept
        return await asyncio.shield(kept[1])

    # ---- machines ----------------------------------------------------------------------------------------------------------

    async def _health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        reasons = self.desk.not_ready()
        if reasons:
            return problem(503, "; ".join(reasons), ready=False, reasons=reasons)
        return _json({"ready": True, "reasons": []})

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.render(), headers={"content-type": CONTENT_TYPE})

    async def _status(self, _: Request) -> Response:
        seen = Seen.of(self.desk)
        head = {"schema": "parityd/status/1", "now": rfc3339(seen.now), "not_ready": seen.not_ready}
        content = {**head, **seen.status, "override": seen.override, "action": seen.action}
        return _json_bytes(await self._shared(f"status{_issue(seen)}", lambda: as_json(content)))

    async def _strategy(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = self.desk.strategy(name) if NAME.match(name) else None
        if found is None:
            return problem(404, f"no strategy {name!r}")
        return _json_bytes(await self._threaded(as_json, {"strategy": name, **found}))

    async def _trades(self, request: Request) -> Response:
        asked = Asked(request)
        strategy, day, limit, cursor = asked.strategy(), asked.day(), asked.limit(), asked.cursor()
        if asked.wrong:
            return problem(400, "; ".join(asked.wrong), errors=asked.wrong)

        def content() -> bytes:
            rows, following = self.desk.trades(strategy, day, limit, cursor)
            return as_json({"trades": rows, "next_cursor": following})

        try:
            return _json_bytes(await self._threaded(content))
        except ValueError as e:
            return problem(404, f"no page begins at this cursor: {e}")

    async def _reports(self, _: Request) -> Response:
        return _json_bytes(await self._threaded(lambda: as_json({"reports": self.desk.report_days()})))

    async def _report(self, request: Request) -> Response:
        day = _day_of(request)

        def content() -> bytes | None:
            report = self.desk.report(day)
            return None if report is None else as_json(report)

        body = await self._threaded(content)
        return _json_bytes(body) if body is not None else _no_report(day)

    async def _openapi(self, _: Request) -> Response:
        return _json(openapi.document(str(self.desk.status().get("version") or "0")))

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers=EVENTS)
        if self._streams >= MAX_STREAMS:
            return problem(503, f"{MAX_STREAMS} event streams are open, which is the most there may be", {"retry-after": "30"})
        self._streams += 1
        return _Stream(self._told(), self._left)

    def _left(self) -> None:
        self._streams -= 1

    async def _told(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + STREAM_SECONDS
        yield b"retry: 2000\n\n"
        source = self.desk.subscribe()
        try:
            async for event in source:
                kind = b"heartbeat" if event.get("type") == "heartbeat" else b"change"
                yield b"event: %s\ndata: %s\n\n" % (kind, as_json(event))
                if loop.time() >= end:
                    return
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    # ---- people ------------------------------------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        everything, seen = request.query_params.get("show") == "all", Seen.of(self.desk)

        def page() -> bytes:
            from parityd.web import pages

            return pages.status_page(seen, everything=everything)

        return _html(await self._shared(f"/{everything}{_issue(seen)}", page))

    async def _strategy_page(self, request: Request) -> Response:
        name = request.path_params["name"]
        found, seen = self.desk.strategy(name) if NAME.match(name) else None, Seen.of(self.desk)
        if found is None:
            return problem(404, f"no strategy {name!r}")

        def page() -> bytes:
            from parityd.web import pages

            drawn = {**found, "series": self.desk.series(name)}
            return pages.strategy_page(seen, name, drawn, self.desk.trades(name, None, pages.MOST_TRADES, None))

        return _html(await self._shared(f"/strategies/{name}{_issue(seen)}", page))

    async def _reports_page(self, _: Request) -> Response:
        seen = Seen.of(self.desk)

        def page() -> bytes:
            from parityd.web import pages

            return pages.reports_page(seen, self.desk.report_days())

        return _html(await self._shared("/reports", page))

    async def _report_page(self, request: Request) -> Response:
        day = _day_of(request)
        body = await self._threaded(self.desk.report_html, day)
        if body is None:
            return _no_report(day)
        return Response(body, media_type=HTML, headers={"content-security-policy": await self._threaded(_policy, body)})

    async def _file(self, request: Request) -> Response:
        found = self._static.get(request.path_params["name"])
        if found is None:
            return problem(404, "no such file")
        return Response(found[0], headers={"content-type": found[1], "cache-control": "max-age=300"})


class _Stream(StreamingResponse):
    """Server-sent events that give their place back however they end."""

    def __init__(self, events: AsyncIterator[bytes], ended: Callable[[], None]) -> None:
        super().__init__(events, headers=EVENTS)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _issue(seen: Seen) -> str:
    """What makes a kept page outdated before its second is over."""
    return f"?{seen.override.get('sequence')}.{seen.override.get('decision_sequence')}.{seen.override.get('action')}.{len(seen.not_ready)}"


def _day_of(request: Request) -> str:
    day = str(request.path_params["day"])
    if not is_day(day):
        raise HTTPException(400, "day: expected YYYY-MM-DD")
    return day


def _json(content: Any) -> Response:
    return _json_bytes(as_json(content))


def _json_bytes(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _html(body: bytes) -> Response:
    return Response(body, media_type=HTML)


def _policy(body: bytes) -> str:
    from parityd.web.report_page import policy

    return policy(body)


def _no_report(day: str) -> Response:
    return problem(404, f"no report of {day}")


async def _refused(_: Request, exc: HTTPException) -> Response:
    detail = {404: "no such page", 405: "this service is read-only: GET and HEAD alone"}.get(exc.status_code, exc.detail)
    return problem(exc.status_code, detail, dict(exc.headers or {}))


async def _broken(_: Request, exc: Exception) -> Response:
    return problem(500, f"{type(exc).__name__}: the log has the rest")
