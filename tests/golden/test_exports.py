"""The golden figures of real exports: the reference still finds them, the tags agree with the matches, the engine's own P&L with the ledger."""

import json

import pytest
from golden.exports import cases, decided, expected, fill, fills_report, order_events, target

FOUND = cases()
NAMES = (
    "sample",
    "ema_btcperp_2022-01-01",
    "ema_gbpusd_2012",
    "limitfade_6EH4_2024-01-08",
    "quotemom_BTCUSDT-PERP_0_10000",
    "quotemom_ESH4_20231225_2200",
)


@pytest.fixture(params=NAMES)
def case(request):
    if request.param not in FOUND:
        pytest.skip(f"the export {request.param} is not at hand")
    return request.param


def test_the_reference_still_finds_what_is_written(case):
    assert json.loads(json.dumps(expected(FOUND[case]))) == json.loads(target(case).read_text())


def test_every_pair_known_by_its_tag_is_found_and_none_is_wrong(case):
    pairs = json.loads(target(case).read_text())["pairs"]
    assert pairs["known_and_found"] == pairs["known_by_tag"] > 0
    assert pairs["wrong"] == []


def test_the_backtest_ledger_agrees_with_the_engine(case):
    golden = json.loads(target(case).read_text())
    if golden["engine_pnl"]["backtest"] is None:
        pytest.skip("the sample was cut: the engine's figure is of the whole run")
    assert golden["whole"]["pnl_backtest"] == pytest.approx(golden["engine_pnl"]["backtest"], abs=0.005)


def test_both_files_of_a_side_give_equal_fills(case):
    for side in ("backtest", "live"):
        report = {r["fill_id"]: r for r in map(fill, fills_report(FOUND[case] / side))}
        events = {r["fill_id"]: r for r in (fill(e) for e in order_events(FOUND[case] / side) if e["type"] == "OrderFilled")}
        assert report == events


def test_a_decision_time_is_read_from_the_id_only_where_it_can_be_one():
    assert decided("O-20240108-002700-001-6E-3", "2024-01-08T00:30:00.000000Z") == "2024-01-08T00:27:00.000000Z"
    assert decided("O-20240108-002700-001-6E-3", "2024-01-08T00:26:59.999999Z") is None
    assert decided("3f0e", "2024-01-08T00:30:00.000000Z") is None
