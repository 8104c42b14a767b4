"""The OpenAPI document of the HTTP face, written by hand.

1. Every path stands here with its parameters and answers; what they hold stands in `openapi_schemas`.
2. A link says where a parameter's values come from: a page's next page, a trade's strategy, a listed day's report.
3. Pages for people are `text/html` and not described further.
"""

from typing import Any

from parityd.web.openapi_schemas import CURSOR, DAY, NAME, ref, schemas

Schema = dict[str, Any]
HTML: Schema = {"text/html": {"schema": {"type": "string"}}}


def _answer(description: str, content: Schema, links: Schema | None = None) -> Schema:
    never = {"cache-control": {"required": True, "schema": {"const": "no-store"}}}
    return {"description": description, "headers": never, "content": content, **({"links": links} if links else {})}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": ref(name)}}


def _problem(description: str) -> Schema:
    return _answer(description, {"application/problem+json": {"schema": ref("Problem")}})


def _get(name: str, summary: str, good: Schema, parameters: list[Schema] | None = None, **refusals: str) -> Schema:
    """An operation; a refusal is `s404="what is not there"`."""
    said = {"s500": "A fault of the service", "s503": "Not available now, or no answer in time", **refusals}
    answers = {"200": good, **{code[1:]: _problem(why) for code, why in sorted(said.items())}}
    return {"get": {"operationId": name, "summary": summary, "parameters": parameters or [], "responses": answers}}


def _query(name: str, schema: Schema, description: str) -> Schema:
    """A parameter of a query. An empty value is an absent one."""
    either = {"anyOf": [schema, {"type": "string", "maxLength": 0}]}
    return {"name": name, "in": "query", "required": False, "schema": either, "description": description}


def _path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _link(operation: str, **parameters: str) -> Schema:
    return {"operationId": operation, "parameters": {key: f"$response.body#{place}" for key, place in parameters.items()}}


def _service() -> Schema:
    text = {"text/plain": {"schema": {"type": "string"}}}
    whole = {"application/json": {"schema": {"type": "object"}}}
    return {
        "/healthz": _get("health", "Whether the process lives", _answer("It lives", _json("Health"))),
        "/readyz": _get("ready", "Whether checks are fresh and the store answers", _answer("Ready", _json("Ready"))),
        "/metrics": _get("metrics", "Metrics for Prometheus", _answer("Text format 0.0.4", text)),
        "/openapi.json": _get("openapi", "This document", _answer("OpenAPI 3.1", whole)),
        "/events": _get(
            "events", "Server-sent events: `change` when something did, `heartbeat` in between", _answer("A stream", {"text/event-stream": {"schema": {"type": "string"}}})
        ),
    }  # fmt: skip


def _data() -> Schema:
    trades = [
        _query("strategy", NAME, "Trades of this strategy alone"),
        _query("day", DAY, "Trades of this UTC day alone"),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "The most to answer with; 100 unless said"),
        _query("cursor", CURSOR, "`next_cursor` of the page before"),
    ]
    first = "/trades/0/strategy"
    following = {
        "nextPage": _link("trades", cursor="/next_cursor"),
        "itsStrategy": _link("strategy", name=first),
        "itsStrategysPage": _link("strategyPage", name=first),
        "itsDay": _link("report", day="/trades/0/day"),
    }
    newest = {"newest": _link("report", day="/reports/0/day"), "newestPage": _link("reportPage", day="/reports/0/day")}
    name, day = [_path("name", NAME)], [_path("day", DAY)]
    return {
        "/api/v1/status": _get("status", "All strategies and the service itself", _answer("Status", _json("Status"))),
        "/api/v1/strategies/{name}": _get("strategy", "One strategy", _answer("Its entry", _json("Strategy")), name, s404="No such strategy"),
        "/api/v1/trades": _get(
            "trades", "Trades, newest quarter hour first", _answer("A page", _json("Trades"), following), trades,
            s400="A parameter is wrong", s404="No page begins at this cursor",
        ),
        "/api/v1/reports": _get("reports", "The reports at hand", _answer("Newest first", _json("Reports"), newest)),
        "/api/v1/reports/{day}": _get("report", "A day's report", _answer("Report", _json("Report")), day, s400="No day", s404="No report"),
    }  # fmt: skip


def _pages() -> Schema:
    show = {
        "name": "show",
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": "`all`: every strategy, however many",
    }
    name, day = [_path("name", NAME)], [_path("day", DAY)]
    page = _answer("A page", HTML)
    return {
        "/": _get("statusPage", "The status page", page, [show]),
        "/strategies/{name}": _get("strategyPage", "One strategy as a page", page, name, s404="No such strategy"),
        "/reports": _get("reportsPage", "The reports as a page", page),
        "/reports/{day}": _get("reportPage", "A day's report as a page", page, day, s400="No day", s404="No report"),
    }


def document(version: str) -> Schema:
    """The document as content for JSON."""
    about = "Read-only: GET and HEAD, no call changes anything. Errors are application/problem+json. A measure that was not taken is null."
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "parityd",
            "version": version,
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {**_service(), **_data(), **_pages()},
        "components": {"schemas": schemas()},
    }
