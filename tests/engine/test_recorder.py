"""The Recorder: the contract's records by name, checked where they are recorded, in the right book."""

import json
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from engine.fuzz_gate import publication, put
from jsonschema import Draft202012Validator

from parityd.engine import Gate, Recorder, Spool, schemas

TS = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
RECORDS = Draft202012Validator(schemas()["records"])
FILL = {"symbol": "BTC/USD", "fill_id": "f1", "side": "buy", "quantity": Decimal("0.1"), "price": 50_000, "ts": TS}


def written(folder):
    records = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    for record in records:
        RECORDS.validate(record)
    return records


@pytest.fixture
def books(tmp_path):
    for book in ("live", "backtest"):
        (tmp_path / "spool" / book).mkdir(parents=True)
    return tmp_path / "spool"


def test_a_live_execution_is_a_fill_with_the_contracts_names(tmp_path):
    Recorder(Spool(tmp_path), "momentum").record_live_execution(
        **FILL, trade_id="t1", fee="-0.01", liquidity="maker", shadow=False, decision_ts=None
    )
    assert written(tmp_path) == [
        {
            "kind": "fill",
            "strategy": "momentum",
            "symbol": "BTC/USD",
            "fill_id": "f1",
            "side": "buy",
            "quantity": "0.1",
            "price": 50_000,
            "ts": "2026-11-20T10:15:00.000000Z",
            "trade_id": "t1",
            "fee": "-0.01",
            "liquidity": "maker",
            "shadow": False,
        }
    ]


@pytest.mark.parametrize("named", [{"action": "sell"}, {"side": "sell"}, {"action": "close", "side": "sell"}])
def test_a_backtest_execution_is_a_filled_decision(tmp_path, named):
    Recorder(tmp_path, "s").record_backtest_execution(
        symbol="X/USD", ts=1795230273.5, quantity=1, price="10.5", mark=10.4, trade_id="1", **named
    )
    (record,) = written(tmp_path)
    assert (record["kind"], record["action"], record["filled"], record["price"], record["ts"]) == (
        "decision",
        named.get("action", "sell"),
        True,
        "10.5",
        1795230273.5,
    )


def test_every_kind_can_be_recorded_and_fits_the_schema(tmp_path):
    with Recorder(tmp_path, "s", batch=100) as recorder:
        recorder.record_backtest_execution(symbol="X", ts=TS, quantity=1, price=2, side="buy")
        recorder.record_live_execution(**FILL)
        recorder.fill(**FILL)
        recorder.decision(symbol="X", ts=TS, action="hold", reason="nothing", guards=["max_position"])
        recorder.decision(symbol="X", ts=TS, action="close", side="sell")
        recorder.order(symbol="X", order_id="o", status="submitted", ts=TS, limit_price=1)
        recorder.bust(symbol="X", fill_id="f1", ts=TS)
        recorder.funding(symbol="X", amount=-0.5, ts=TS, type="funding")
        recorder.mark(symbol="X", price=1, ts=TS, bid=0.9, ask=1.1)
        recorder.position(symbol="X", quantity=-3)
        recorder.position(symbol="X", quantity=0, ts=TS, average_price="1.5")
        recorder.balance(equity=Decimal(1000), cash=1, currency="USD")
        recorder.transfer(amount=-5)
        recorder.heartbeat(broker_connected=True, position_tracker_ok=False, next_by=TS, detail="calm")
    records = written(tmp_path)
    assert [record["kind"] for record in records] == (
        [
            "decision",
            "fill",
            "fill",
            "decision",
            "decision",
            "order",
            "bust",
            "funding",
            "mark",
            "position",
            "position",
            "balance",
            "transfer",
            "heartbeat",
        ]
    )
    assert all(record["strategy"] == "s" for record in records if record["kind"] != "mark")


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"qty": 1}, TypeError, "unknown qty"),
        ({"price": None}, TypeError, "missing price"),
        ({"side": "long"}, ValueError, "fill.side"),
        ({"side": True}, ValueError, "fill.side"),
        ({"quantity": 0}, ValueError, "not positive"),
        ({"quantity": "-1"}, ValueError, "not positive"),
        ({"price": float("nan")}, ValueError, "finite"),
        ({"price": Decimal("Infinity")}, ValueError, "finite"),
        ({"price": "ten"}, ValueError, "fill.price"),
        ({"price": True}, ValueError, "no number"),
        ({"price": [1]}, ValueError, "fill.price"),
        ({"fee": "NaN"}, ValueError, "finite"),
        ({"ts": datetime(2026, 1, 1)}, ValueError, "offset"),
        ({"ts": "2026-01-01T00:00:00"}, ValueError, "offset"),
        ({"ts": "soon"}, ValueError, "fill.ts"),
        ({"ts": 1795230273000}, ValueError, "fill.ts"),
        ({"ts": float("nan")}, ValueError, "fill.ts"),
        ({"symbol": ""}, ValueError, "fill.symbol"),
        ({"fill_id": 7}, ValueError, "fill.fill_id"),
        ({"shadow": 1}, ValueError, "fill.shadow"),
        ({"liquidity": "both"}, ValueError, "fill.liquidity"),
    ],
)
def test_what_parityd_would_refuse_is_refused_where_it_is_recorded(tmp_path, change, error, why):
    with pytest.raises(error, match=why):
        Recorder(tmp_path, "s").record_live_execution(**FILL | change)
    assert not list(tmp_path.iterdir())


def test_a_close_needs_its_side_and_an_execution_its_price(tmp_path):
    recorder = Recorder(tmp_path, "s")
    with pytest.raises(TypeError, match="side"):
        recorder.decision(symbol="X", ts=TS, action="close")
    with pytest.raises(TypeError, match="quantity and price"):
        recorder.record_backtest_execution(symbol="X", ts=TS, side="buy", quantity=1, price=None)
    with pytest.raises(TypeError, match="missing action"):
        recorder.record_backtest_execution(symbol="X", ts=TS, quantity=1, price=1)
    with pytest.raises(ValueError, match="contradict"):
        recorder.record_backtest_execution(symbol="X", ts=TS, quantity=1, price=1, action="buy", side="sell")


@pytest.mark.parametrize("name", ["", "*", "../x", "a" * 65])
def test_an_impossible_strategy_is_a_mistake_at_once(tmp_path, name):
    with pytest.raises(ValueError, match="no possible name"):
        Recorder(tmp_path, name)


@pytest.mark.parametrize(("at", "own"), [("live", "live"), ("backtest", "backtest"), ("", "live")])
def test_each_execution_goes_to_its_own_book_and_the_rest_to_the_recorders(books, at, own):
    recorder = Recorder(Spool(books / at), "s")
    recorder.record_backtest_execution(symbol="X", ts=TS, quantity=1, price=2, side="buy")
    recorder.record_live_execution(**FILL)
    recorder.fill(**FILL | {"fill_id": "own"})
    recorder.heartbeat()
    kinds = {book: [record["kind"] for record in written(books / book)] for book in ("live", "backtest")}
    expected = {"live": ["fill"], "backtest": ["decision"]}
    expected[own] += ["fill", "heartbeat"]
    assert kinds == expected


def test_a_batch_waits_and_a_heartbeat_or_the_end_writes_it_in_order(tmp_path):
    recorder = Recorder(tmp_path, "s", batch=3)
    for number in range(2):
        recorder.record_live_execution(**FILL | {"fill_id": str(number)})
    assert not written(tmp_path)
    recorder.record_live_execution(**FILL | {"fill_id": "2"})
    assert [record["fill_id"] for record in written(tmp_path)] == ["0", "1", "2"] and len(list(tmp_path.iterdir())) == 1
    recorder.mark(symbol="X", price=1, ts=TS)
    recorder.heartbeat()
    assert [record["kind"] for record in written(tmp_path)][3:] == ["mark", "heartbeat"]
    with pytest.raises(KeyError), recorder:
        recorder.mark(symbol="X", price=2, ts=TS)
        raise KeyError("a strategy that fails")
    assert written(tmp_path)[-1]["price"] == 2
    assert recorder.flush() == []
    with pytest.raises(ValueError, match="at least 1"):
        Recorder(tmp_path, "s", batch=0)


def test_what_could_not_be_written_waits_for_the_next_time(tmp_path):
    folder = tmp_path / "mounted later"
    recorder = Recorder(folder, "s")
    for number in range(3):
        with pytest.raises(FileNotFoundError):
            recorder.record_live_execution(**FILL | {"fill_id": str(number)})
    folder.mkdir()
    (path,) = recorder.flush()
    assert path.parent == folder
    assert [record["fill_id"] for record in written(folder)] == ["0", "1", "2"]


def test_threads_share_a_recorder_and_nothing_is_lost_or_doubled(tmp_path):
    recorder = Recorder(tmp_path, "s", batch=7)

    def record(thread):
        for number in range(100):
            recorder.record_live_execution(**FILL | {"fill_id": f"{thread}-{number}"})

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    ids = [record["fill_id"] for record in written(tmp_path)]
    assert len(ids) == len(set(ids)) == 400


def test_a_heartbeat_acknowledges_the_verdict_that_is_obeyed(tmp_path, books):
    tmp_path.chmod(0o755)
    unseen = Gate(tmp_path, "s").read()
    put(tmp_path, publication({"s": "REDUCE_SIZE"}, decision_sequence=17))
    verdict = Gate(tmp_path, "s").read()
    recorder = Recorder(books / "live", "s")
    recorder.heartbeat(verdict)
    recorder.heartbeat(override_sequence=verdict)
    recorder.heartbeat(override_sequence=16)
    recorder.heartbeat(verdict, override_sequence=17)
    recorder.heartbeat(unseen)
    recorder.heartbeat(override_sequence=unseen)
    assert [record.get("override_sequence") for record in written(books / "live")] == [17, 17, 16, 17, None, None]
    for wrong in (18, -1, True, 1.0):
        with pytest.raises(ValueError, match="override_sequence"):
            recorder.heartbeat(verdict if wrong == 18 else None, override_sequence=wrong)
