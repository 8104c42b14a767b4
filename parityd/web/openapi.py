"""The OpenAPI document of the HTTP face, written by hand.

1. Every path that a machine reads stands here with its parameters and answers; pages for people are named, not described.
2. A measure may be null anywhere; objects may gain fields, so none is closed.
"""

from typing import Any

Schema = dict[str, Any]
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}$"
DAY = {"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "example": "2026-11-20"}
CURSOR_PATTERN = "^[A-Za-z0-9._~=-]{1,512}$"
_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": ["string", "null"]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, schema: Schema, media: str = "application/json") -> Schema:
    return {"description": description, "content": {media: {"schema": schema}}}


def _problem(description: str) -> Schema:
    return _answer(description, _ref("Problem"), "application/problem+json")


def _get(summary: str, answers: Schema, parameters: list[Schema] | None = None, name: str = "") -> Schema:
    busy = {"500": _problem("A fault of the service"), "503": _problem("Not available now")}
    return {"get": {"operationId": name, "summary": summary, "parameters": parameters or [], "responses": {**answers, **busy}}}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _or_empty(schema: Schema) -> Schema:
    """An empty value is an absent one."""
    return {"anyOf": [schema, {"type": "string", "maxLength": 0}]}


def _path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _paths() -> Schema:
    day = _path("day", DAY)
    name = _path("name", {"type": "string", "pattern": NAME_PATTERN})
    missing = {"404": _problem("There is none")}
    wrong = {"400": _problem("A parameter is wrong")}
    trades = [
        _query("strategy", _or_empty({"type": "string", "pattern": NAME_PATTERN}), "Trades of this strategy alone"),
        _query("day", _or_empty(DAY), "Trades of this UTC day alone"),
        _query("limit", _or_empty({"type": "integer", "minimum": 1, "maximum": 1000}), "The most to answer with; 100 unless said"),
        _query("cursor", _or_empty({"type": "string", "pattern": CURSOR_PATTERN}), "`next_cursor` of the page before"),
    ]
    unknown = {"404": _problem("No page begins at this cursor")}
    html = {"type": "string"}
    return {
        "/healthz": _get("Whether the process lives", {"200": _answer("It lives", {"type": "object"})}, name="health"),
        "/readyz": _get("Whether checks are fresh and the store answers", {"200": _answer("Ready", _ref("Ready"))}, name="ready"),
        "/metrics": _get("Metrics for Prometheus", {"200": _answer("Text format 0.0.4", html, "text/plain")}, name="metrics"),
        "/api/v1/status": _get("All strategies and the service itself", {"200": _answer("Status", _ref("Status"))}, name="status"),
        "/api/v1/strategies/{name}": _get("One strategy", {"200": _answer("Its entry", _ref("Strategy")), **missing}, [name], "strategy"),
        "/api/v1/trades": _get("Trades, newest first", {"200": _answer("A page", _ref("Trades")), **wrong, **unknown}, trades, "trades"),
        "/api/v1/reports": _get("The reports at hand", {"200": _answer("Newest first", _ref("Reports"))}, name="reports"),
        "/api/v1/reports/{day}": _get("A day's report", {"200": _answer("Report", _ref("Report")), **wrong, **missing}, [day], "report"),
        "/openapi.json": _get("This document", {"200": _answer("OpenAPI 3.1", {"type": "object"})}, name="openapi"),
        "/": _get("The status page", {"200": _answer("HTML", html, "text/html")}, name="statusPage"),
        "/reports/{day}": _get(
            "A day's report as a page", {"200": _answer("HTML", html, "text/html"), **wrong, **missing}, [day], "reportPage"
        ),
    }


def _entry() -> Schema:
    return {
        "level": {"type": "string", "enum": ["OK", "WARNING", "CRITICAL", "EMERGENCY"]},
        "grade": _TEXT,
        "action": {"type": "string", "enum": ["CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP"]},
        "would_be_action": _TEXT,
        "since": _TEXT,
        "evidence": {"type": ["string", "null"], "enum": ["sufficient", "insufficient", None]},
        "findings": {"type": "array", "items": _ref("Finding")},
        "metrics": {"type": "object", "additionalProperties": True},
    }


def _schemas() -> Schema:
    listed: Schema = {"type": "array", "items": {"type": "object"}}
    finding = {"code": {"type": "string"}, "level": {"type": "string"}, "value": _NUMBER, "threshold": _NUMBER, "detail": _TEXT}
    problem = {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}}
    return {
        "Problem": {"type": "object", "required": list(problem), "properties": problem},
        "Ready": {
            "type": "object",
            "properties": {"ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}},
        },
        "Finding": {"type": "object", "required": ["code", "level"], "properties": finding},
        "Strategy": {"type": "object", "properties": {"strategy": {"type": "string"}, **_entry()}},
        "Status": {
            "type": "object",
            "properties": {"now": {"type": "string"}, "action": {"type": "object"}, "override": {"type": "object"}},
        },
        "Trades": {"type": "object", "required": ["trades", "next_cursor"], "properties": {"trades": listed, "next_cursor": _TEXT}},
        "Reports": {"type": "object", "required": ["reports"], "properties": {"reports": listed}},
        "Report": {"type": "object", "properties": {"schema": {"const": "parityd/report/1"}, "day": DAY, "headline": _TEXT}},
    }


def document(version: str) -> Schema:
    """The document as content for JSON."""
    about = "Read-only: no call changes anything. Errors are application/problem+json. A measure that was not taken is null."
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "parityd",
            "version": version,
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(),
        "components": {"schemas": _schemas()},
    }
