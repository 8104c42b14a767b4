"""The shipped JSON Schemas: they accept what the contract shows, refuse what the Gate refuses, and know every field."""

import json

import pytest
from engine.fuzz_gate import entry, publication, put
from jsonschema import Draft202012Validator

from parityd.engine import Gate, schemas
from parityd.engine.native import KINDS

SCHEMAS = schemas()
OVERRIDE = Draft202012Validator(SCHEMAS["trading_override"])
ACTION = Draft202012Validator(SCHEMAS["parity_action"])
RECORDS = Draft202012Validator(SCHEMAS["records"])
EXAMPLE = json.loads("""
{"schema": "parityd/trading_override/1", "sequence": 1234, "decision_sequence": 17, "instance": "desk-1", "boot_id": "...",
 "issued_at": "2026-11-20T10:15:00.120Z", "issued_boottime_ns": 98765432100, "ttl_seconds": 60,
 "expires_at": "2026-11-20T10:16:00.120Z", "on_expiry": "DISABLE_TRADING",
 "action": "REDUCE_SIZE", "trading_enabled": true, "size_multiplier": 0.5, "reason": "momentum: tracking_error 62.1 bps >= 50",
 "strategies": {"momentum": {"action": "REDUCE_SIZE", "trading_enabled": true, "size_multiplier": 0.5, "reason": "..."}},
 "default": {"action": "CONTINUE", "trading_enabled": true, "size_multiplier": 1.0, "reason": "..."}}
""")


@pytest.mark.parametrize("name", ["trading_override", "parity_action", "records"])
def test_each_is_a_valid_schema_with_an_id(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"].startswith("urn:parityd:") and SCHEMAS[name]["$schema"].endswith("2020-12/schema")


def test_a_caller_may_change_its_copy():
    schemas()["records"].clear()
    assert schemas()["records"]


def test_the_contracts_example_fits_and_the_gate_reads_it_as_stale(tmp_path):
    OVERRIDE.validate(EXAMPLE)
    tmp_path.chmod(0o755)
    put(tmp_path, EXAMPLE)
    verdict = Gate(tmp_path, "momentum").read()
    assert (verdict.sequence, verdict.decision_sequence, verdict.fresh, verdict.action) == (1234, 17, False, "DISABLE_TRADING")


@pytest.mark.parametrize("key", list(publication()))
def test_what_the_schema_refuses_the_gate_refuses_too(tmp_path, key):
    tmp_path.chmod(0o755)
    for value in (..., None, True, -1, 0.25, "", "CONTINUE", [], {"momentum": entry("WARNING") | {"size_multiplier": 2}}, "2026-11-20"):
        body = publication(sequence=5)
        if value is ...:
            del body[key]
        else:
            body[key] = value
        put(tmp_path, body)
        if not OVERRIDE.is_valid(body):
            assert not Gate(tmp_path, "momentum").read().sequence, (key, value)


@pytest.mark.parametrize(
    "wrong",
    [
        entry("DISABLE_TRADING") | {"trading_enabled": True},
        entry("REDUCE_SIZE", size=1.0),
        entry("WARNING", size=0.5),
        entry() | {"action": "GO"},
    ],
)
def test_an_entry_that_contradicts_itself_does_not_fit(wrong):
    assert not OVERRIDE.is_valid(EXAMPLE | {"default": wrong})


def test_parity_action_fits_with_and_without_measures():
    strategy = {
        "level": "CRITICAL",
        "grade": None,
        "action": "REDUCE_SIZE",
        "would_be_action": "REDUCE_SIZE",
        "since": "2026-11-20T10:15:00.120Z",
        "evidence": "sufficient",
        "findings": [{"code": "tracking_error", "level": "CRITICAL", "value": 62.1, "threshold": 50, "detail": "32 trades"}],
        "metrics": {"tracking_error_bps": 62.1, "correlation": None},
        "streaks": {"WARNING": 1, "CRITICAL": 1},
        "override": None,
        "drift": {"confidence": 0.4},
    }
    head = {key: value for key, value in EXAMPLE.items() if key not in {"default", "strategies"}} | {"schema": "parityd/parity_action/1"}
    ACTION.validate(head | {"strategies": {"momentum": strategy}})
    ACTION.validate(head | {"strategies": {}})
    assert not ACTION.is_valid(head | {"strategies": {"momentum": strategy | {"level": "BAD"}}})
    assert not ACTION.is_valid(head | {"strategies": {"momentum": {key: value for key, value in strategy.items() if key != "metrics"}}})


def test_the_record_schema_and_the_recorder_know_the_same_fields():
    definitions = SCHEMAS["records"]["$defs"]
    assert SCHEMAS["records"]["properties"]["kind"]["enum"] == list(KINDS)
    for kind, fields in KINDS.items():
        names = set(definitions[kind]["properties"]) - {"kind", "strategy"}
        assert names == fields.__required_keys__ | fields.__optional_keys__, kind
        assert set(definitions[kind]["required"]) - {"kind", "strategy"} == fields.__required_keys__, kind


FILL = {
    "kind": "fill",
    "strategy": "s",
    "symbol": "X",
    "fill_id": "1",
    "side": "buy",
    "quantity": "1",
    "price": "2.5e3",
    "ts": "2026-11-20T10:15:00Z",
}


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"anything": {"else": 1}}, True),
        ({"fee": None}, True),
        ({"ts": 1795230273.25}, True),
        ({"fee": "-0.01"}, True),
        ({"kind": "martian"}, False),
        ({"quantity": "0"}, False),
        ({"quantity": "0.000"}, False),
        ({"quantity": 0}, False),
        ({"quantity": "-1"}, False),
        ({"quantity": None}, False),
        ({"price": "NaN"}, False),
        ({"price": True}, False),
        ({"ts": "2026-11-20T10:15:00"}, False),
        ({"ts": "soon"}, False),
        ({"side": "long"}, False),
        ({"strategy": "../x"}, False),
        ({"reduce_only": "yes"}, False),
    ],
)
def test_a_fill_fits_or_not(change, fits):
    assert RECORDS.is_valid(FILL | change) is fits


def test_a_close_needs_its_side():
    close = {"kind": "decision", "strategy": "s", "symbol": "X", "ts": 1, "action": "close"}
    assert not RECORDS.is_valid(close)
    assert RECORDS.is_valid(close | {"side": "buy"})
