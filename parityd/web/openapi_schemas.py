"""What the answers of the HTTP face hold, as JSON Schema.

1. What the contract promises is `required`; an answer that lacks it is a fault of the service.
2. A measure may be null anywhere; objects may gain fields, so none is closed.
3. Names and codes are open texts, levels and actions are closed lists.
"""

from typing import Any

Schema = dict[str, Any]
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}$"
CURSOR_PATTERN = "^[A-Za-z0-9._~=-]{1,512}$"
NAME: Schema = {"type": "string", "pattern": NAME_PATTERN}
CURSOR: Schema = {"type": "string", "pattern": CURSOR_PATTERN}
DAY: Schema = {"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
TIME: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
ACTIONS = ["CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP"]
LEVELS = ["OK", "WARNING", "CRITICAL", "EMERGENCY"]
COMPONENTS = ["data", "timing", "slippage", "market", "fee", "sizing", "model", "funding", "carry"]
OF_A_TRADE = COMPONENTS[:7]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """The schema, or null: not measured, or there is none."""
    return (
        {**schema, "type": [schema["type"], "null"]} if "type" in schema and "enum" not in schema else {"anyOf": [schema, {"type": "null"}]}
    )


def listed(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def mapped(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema}


def one_of(values: list[str]) -> Schema:
    return {"type": "string", "enum": values}


def shaped(required: Schema, optional: Schema | None = None) -> Schema:
    """An object that holds all of `required`, and may hold `optional` and anything else."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _obeyed() -> Schema:
    """What an engine does with a strategy."""
    return {"action": ref("Action"), "trading_enabled": FLAG, "size_multiplier": SHARE, "reason": TEXT}


def _head(schema: str) -> Schema:
    """What both action files say of their issue."""
    return {
        "schema": {"const": schema}, "sequence": WHOLE, "decision_sequence": WHOLE, "instance": TEXT, "boot_id": TEXT, "issued_at": TIME,
        "issued_boottime_ns": WHOLE, "ttl_seconds": NUMBER, "expires_at": TIME, "on_expiry": ref("Action"), **_obeyed(),
    }  # fmt: skip


def _entry() -> Schema:
    """A strategy's entry of parity_action.json."""
    return {
        **_obeyed(), "level": ref("Level"), "grade": nullable(TEXT), "would_be_action": ref("Action"), "since": nullable(TIME),
        "evidence": one_of(["sufficient", "insufficient"]), "findings": listed(ref("Finding")), "metrics": ref("Measures"),
        "streaks": mapped(WHOLE), "override": nullable({"type": "object"}), "drift": nullable({"type": "object"}),
    }  # fmt: skip


def _published() -> dict[str, Schema]:
    said = shaped(_obeyed())
    return {
        "Action": one_of(ACTIONS),
        "Level": one_of(LEVELS),
        "Measures": mapped(nullable(NUMBER)),
        "Finding": shaped({"code": TEXT, "level": ref("Level"), "value": nullable(NUMBER), "threshold": nullable(NUMBER), "detail": nullable(TEXT)}),
        "Strategy": shaped({"strategy": NAME, **_entry()}),
        "Override": shaped({**_head("parityd/trading_override/1"), "strategies": mapped(said), "default": said}),
        "ParityAction": shaped({**_head("parityd/parity_action/1"), "strategies": mapped(shaped(_entry()))}),
    }  # fmt: skip


def _service() -> dict[str, Schema]:
    problem = {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT}
    counts = mapped(WHOLE)
    return {
        "Problem": shaped(problem, {"errors": listed(TEXT), "reasons": listed(TEXT), "ready": FLAG}),
        "Health": shaped({"status": {"const": "ok"}}),
        "Ready": shaped({"ready": {"const": True}, "reasons": {**listed(TEXT), "maxItems": 0}}),
        "Halt": shaped({"name": TEXT, "strategy": TEXT, "since": TIME}),
        "Command": shaped({
            "strategy": TEXT, "command": TEXT, "operator": nullable(TEXT), "reason": nullable(TEXT), "size_multiplier": nullable(SHARE),
            "expires_at": nullable(TIME), "since": TIME,
        }),
        "Change": shaped({"ts": TIME, "strategy": TEXT, "from": nullable(TEXT), "to": ref("Action"), "reason": TEXT}),
        "Status": shaped({
            "schema": {"const": "parityd/status/1"}, "now": TIME, "version": TEXT, "instance": TEXT, "pid": WHOLE, "started_at": TIME, "uptime_seconds": NUMBER,
            "advisory": FLAG, "ready": FLAG, "not_ready": listed(TEXT), "last_check": nullable(TIME), "last_report": nullable(DAY),
            "watermarks": mapped(nullable(TIME)), "lag": mapped(NUMBER), "backlog": counts, "free_bytes": nullable(WHOLE),
            "degraded": listed(TEXT), "withheld": listed(TEXT), "sequence": WHOLE, "decision_sequence": WHOLE, "halts": listed(ref("Halt")),
            "commands": listed(ref("Command")), "last_actions": listed(ref("Change")), "refused": counts,
            "override": ref("Override"), "action": ref("ParityAction"),
        }),
    }  # fmt: skip


def _told() -> dict[str, Schema]:
    """Trades and reports."""
    side = {"quantity": nullable(NUMBER), "price": nullable(NUMBER), "fee": nullable(NUMBER)}
    sides = {f"{book}_{name}": schema for book in ("backtest", "live") for name, schema in side.items()}
    trade = {
        "trade_id": TEXT, "strategy": NAME, "symbol": TEXT, "side": one_of(["buy", "sell"]),
        "state": one_of(["matched", "missed", "unexpected", "pending", "suppressed"]), "matched_by": nullable(one_of(["id", "decision", "fill"])),
        "ts": TIME, "day": DAY, "ambiguous": FLAG, "currency": nullable(TEXT), **sides, "price_diff_bps": nullable(NUMBER),
        "total_pnl_diff": nullable(NUMBER), "total_pnl_diff_bps": nullable(NUMBER), "timing_diff_ms": nullable(NUMBER), "latency_ms": nullable(NUMBER),
        "components": {**shaped({f"{name}_impact": nullable(NUMBER) for name in OF_A_TRADE}), "description": "In quote currency"},
    }  # fmt: skip
    counts = shaped(dict.fromkeys(("matched", "missed", "unexpected", "pending", "suppressed", "ambiguous"), WHOLE))
    bps = {f"{name}_impact_bps": nullable(NUMBER) for name in COMPONENTS} | {
        "total_pnl_diff_bps": nullable(NUMBER),
        "action_impact_bps": nullable(NUMBER),
    }
    measured = {"trades": counts, "metrics": ref("Measures"), "attribution": shaped(bps), "performance": nullable({"type": "object"})}
    judged = {
        "level": nullable(ref("Level")),
        "action": nullable(ref("Action")),
        "evidence": nullable(TEXT),
        "findings": listed(ref("Finding")),
    }
    return {
        "Trade": shaped(trade),
        "Trades": shaped({"trades": {**listed(ref("Trade")), "maxItems": 1000}, "next_cursor": nullable(CURSOR)}),
        "Reports": shaped({"reports": listed(shaped({"day": DAY, "revision": WHOLE, "generated_at": TIME, "headline": TEXT}))}),
        "Report": shaped({
            "schema": {"const": "parityd/report/1"}, "day": DAY, "revision": WHOLE, "generated_at": TIME, "headline": TEXT,
            "strategies": mapped(shaped({**judged, **measured})), "portfolio": shaped(measured),
        }),
    }  # fmt: skip


def schemas() -> dict[str, Schema]:
    return {**_published(), **_service(), **_told()}
