"""`explain` tells all that is stored of one trade, however it is named."""

import json
import re
from pathlib import Path

import pytest
from service.past_desk import DAY, HOUR, START, Desk, pair

from parityd.app import drain
from parityd.core.instants import rfc3339
from parityd.service.explaining import explain_trade
from parityd.service.tables import trade_table

BAD = 31


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Thirty good trades, one very bad, one missed; one without any id, joined by its time; an order's states."""
    made = Desk(tmp_path_factory.mktemp("explained"), PARITYD_STRATEGIES__momentum__CAPITAL="1000")
    at = [START + k * 120 * 10**9 for k in range(40)]
    trades = [pair(k, at[k], 3.0) for k in range(1, 31)] + [pair(BAD, at[BAD], 700.0)]
    missed = pair(33, at[33], 0.0)[0]
    decision, fill = pair(35, at[35], 5.0, "lonely")
    for record in (decision, fill):
        del record["trade_id"]
    fill["order_id"] = "o-35"
    order = {"kind": "order", "strategy": "momentum", "symbol": "BTC/USD", "order_id": "o-7", "status": "submitted", "ts": rfc3339(at[7])}
    beat = {"kind": "heartbeat", "strategy": "momentum", "ts": rfc3339(START + 2 * HOUR)}
    with made.open() as app:
        made.clock.ns = START + 2 * HOUR
        made.drop("backtest", "b.jsonl", [*[d for d, _ in trades], missed, decision, beat])
        made.drop("live", "l.jsonl", [order, *[f for _, f in trades], fill, beat, {**beat, "strategy": "lonely"}])
        drain(app, at=made.clock.ns)
        app.brain.check()
    return made


def one(desk: Desk, name: str, strategy: str = "") -> dict:
    found = explain_trade(desk.settings, name, strategy)
    assert len(found) == 1
    json.dumps(found, allow_nan=False)
    return found[0]


def test_a_trade_is_found_by_its_id_by_a_fill_by_an_order_and_by_its_name(desk: Desk) -> None:
    by_id = one(desk, "t-7")
    assert by_id["trade_id"] == "t-7"
    assert re.fullmatch("[0-9a-f]{16}", by_id["name"])
    assert one(desk, "f-7") == one(desk, "o-7") == one(desk, by_id["name"]) == by_id


def test_its_records_are_all_there_and_no_other(desk: Desk) -> None:
    records = one(desk, "t-7")["records"]
    assert [(r["kind"], r["book"]) for r in records] == [("decision", "backtest"), ("order", "live"), ("fill", "live")]
    decision, order, fill = records
    assert decision["price"] == 100.0
    assert order["status"] == "submitted"
    assert (fill["fill_id"], fill["side"], fill["file"]) == ("f-7", "buy", "l.jsonl")
    assert all(r["ingested_at"] for r in records)
    assert "arrival_mark" not in fill


def test_the_match_and_the_chain_say_where_the_difference_comes_from(desk: Desk) -> None:
    found = one(desk, "t-7")
    assert found["match"]["matched_by"] == "id"
    assert found["match"]["distance_seconds"] == 0.0  # the order was submitted when the backtest decided
    assert one(desk, "t-8")["match"]["distance_seconds"] == pytest.approx(1.0)
    assert found["chain"]["references"]["live_price"] == pytest.approx(100.03)
    assert found["chain"]["notional"] == pytest.approx(100.0)
    known = [x["bps"] for x in found["chain"]["steps"].values() if x["bps"] is not None]
    assert sum(known) == pytest.approx(found["total_pnl_diff_bps"])


def test_a_trade_without_an_id_is_found_by_what_its_fill_says(desk: Desk) -> None:
    found = one(desk, "f-35")
    assert (found["strategy"], found["match"]["matched_by"]) == ("lonely", "fill")
    assert one(desk, found["trade_id"]) == found
    assert {(r["kind"], r["book"]) for r in found["records"]} == {("decision", "backtest"), ("fill", "live")}


def test_what_it_caused_is_told(desk: Desk) -> None:
    caused = one(desk, f"t-{BAD}")["caused"]
    assert any(f"t-{BAD}" in f["detail"] for f in caused["findings"])
    assert caused["changes"]
    assert all(c["from"] == "CONTINUE" for c in caused["changes"])
    assert not one(desk, "t-3")["caused"]["findings"]


def test_a_missed_trade_has_one_side(desk: Desk) -> None:
    found = one(desk, "t-33")
    assert found["state"] == "missed"
    assert found["live_price"] is None
    assert [r["kind"] for r in found["records"]] == ["decision"]


def test_of_another_strategy_or_of_no_trade_there_is_nothing(desk: Desk, tmp_path: Path) -> None:
    assert explain_trade(desk.settings, "t-7", "lonely") == []
    assert explain_trade(desk.settings, "t-700") == []
    assert explain_trade(desk.settings, "0123456789abcdef") == []
    assert explain_trade(Desk(tmp_path / "none").settings, "t-7") == []


def test_it_reads_beside_whoever_holds_the_folder(desk: Desk) -> None:
    with desk.open():
        assert one(desk, "t-7")["state"] == "matched"


def test_the_same_id_in_two_strategies_is_two_trades(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "two")
    with desk.open() as app:
        desk.clock.ns = START + DAY
        both = [pair(1, START + HOUR, 1.0, name) for name in ("a", "b")]
        desk.drop("backtest", "b.jsonl", [d for d, _ in both])
        desk.drop("live", "l.jsonl", [f for _, f in both])
        drain(app, at=desk.clock.ns)
    found = explain_trade(desk.settings, "t-1")
    assert [t["strategy"] for t in found] == ["a", "b"]
    assert [len(t["records"]) for t in found] == [2, 2]
    assert explain_trade(desk.settings, "t-1", "b") == found[1:]


def test_a_terminal_shows_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    trade_table(explain_trade(desk.settings, "t-7"))
    shown = capsys.readouterr().out
    assert "t-7" in shown
    assert "f-7" in shown
