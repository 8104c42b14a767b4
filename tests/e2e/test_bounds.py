"""Numbers at the end of what can be counted, and beyond: a record costs only itself, and what is in force is always published (contract 1 and 2)."""

from pathlib import Path
from typing import Any

import pytest
from e2e.box import Box, at, both, day_of, decision, fill, mark, stamp, trades

BEYOND: list[dict[str, Any]] = [
    {"quantity": 1e308}, {"quantity": 1e12}, {"quantity": 1e-308}, {"price": 1e308}, {"price": 1e-300}, {"fee": 1e308}, {"fee": -1e200},
    {"multiplier": 1e100}, {"arrival_mark": 1e300}, {"latency_ms": 1e300},
]  # fmt: skip
AT_THE_END: list[dict[str, Any]] = [
    {"quantity": 4e10, "price": 1e18, "fee": 1e18}, {"quantity": 1e-18, "price": 1e-18, "fee": -1e18}, {"quantity": 4e-8, "price": 1e-18, "multiplier": 1e18},
]  # fmt: skip


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path, "[strategies.s]\ncapital = 1000\n")
    decided, filled = trades("s", [1.0] * 12)
    box.drop("live", *filled, both("s", at(20)))
    box.drop("backtest", *decided, both("s", at(20)))
    return box


def answers(box: Box) -> None:
    """Two checks, a report, a daemon: each starts from what the ones before have stored."""
    for _ in range(2):
        assert box.check()["strategies"]["s"]["metrics"]["tracking_error_bps"] == pytest.approx(1.0)
    assert set(box.report(day_of(at()))["strategies"]) >= {"s"}
    with box.daemon():
        for path in ("/", "/api/v1/status", "/api/v1/trades", f"/reports/{day_of(at())}", "/metrics"):
            assert box.get(path)[0] == 200, path


def test_a_number_beyond_all_bounds_costs_its_record_alone(box: Box) -> None:
    fills = [fill("s", f"b{i}", at(12), **one) for i, one in enumerate(BEYOND)]
    rare = [
        {"kind": "balance", "strategy": "s", "equity": 1e308, "ts": stamp(at(3))}, {"kind": "funding", "strategy": "s", "symbol": "BTC/USD", "amount": -1e308, "ts": stamp(at(3))},
        {"kind": "position", "strategy": "s", "symbol": "BTC/USD", "quantity": 1e30, "ts": stamp(at(3))}, {"kind": "transfer", "strategy": "s", "amount": 1e308, "ts": stamp(at(3))},
        {"kind": "split", "symbol": "X/USD", "ratio": 1e308, "ts": stamp(at(3))}, mark(1e308, at(4)), mark(1e-200, at(4), "Y/USD"),
    ]  # fmt: skip
    box.drop("live", *fills, *rare)
    answers(box)
    refused = box.refused()
    assert [r["line"] for r in refused] == list(range(1, len(fills) + len(rare) + 1))
    assert {r["code"] for r in refused} == {"bad_value"}
    assert refused[0]["reason"] == "quantity is 1e+308: must lie between 1e-18 and 4e+10"


def test_numbers_at_the_end_of_what_can_be_counted_are_published_around(box: Box) -> None:
    for i, one in enumerate(AT_THE_END):
        for j, other in enumerate(AT_THE_END):
            name = f"e{i}{j}"
            box.drop("backtest", decision(name, "x", at(12), **one), both(name, at(20)))
            box.drop("live", fill(name, "x", at(12, 0, 1), **other), fill(name, "y", at(13), side="sell", **one), both(name, at(20)))
    answers(box)
    assert box.refused() == []
