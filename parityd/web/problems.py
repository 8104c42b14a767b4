"""Errors as RFC 9457 problem details, and the headers every answer carries.

1. An error is `application/problem+json` with type, title, status and detail; never HTML, never a traceback.
2. Every answer forbids sniffing, framing, foreign content and caching; a page runs nothing but our own files.
3. What an answer already says of a header stands.
"""

from typing import Any

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
TITLES = {
    400: "Bad request", 404: "Not found", 405: "Method not allowed", 408: "Request timeout", 500: "Internal error", 503: "Not available",
}  # fmt: skip


def as_json(content: Any) -> bytes:
    """JSON text; a number that is none (NaN, infinity) becomes null."""
    return msgspec.json.encode(content, enc_hook=str)


def problem_bytes(status: int, detail: str, **more: Any) -> bytes:
    return as_json({"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail, **more})


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    return Response(problem_bytes(status, detail, **more), status, headers, media_type="application/problem+json")


class Guarded:
    """An ASGI application with the headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded)
