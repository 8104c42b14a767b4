"""The page for engine builders: its code runs as printed, and does what the page says."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from engine.fuzz_gate import publication, put

import parityd
from parityd.engine import ACTIONS

PAGE = (Path(parityd.__file__).parent.parent / "docs" / "integrations" / "any-engine.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILL = {
    "symbol": "BTC/USD",
    "fill_id": "1",
    "side": "buy",
    "quantity": "1",
    "price": "50000",
    "ts": datetime(2026, 11, 20, tzinfo=UTC),
    "trade_id": "t1",
}


class Broker:
    """An engine's own side: it notes what it was asked to do."""

    connected = True

    def __init__(self):
        self.sent, self.cancelled = [], 0

    def send(self, symbol, side, quantity, *, reduce_only):
        self.sent.append((symbol, side, quantity, reduce_only))

    def cancel_entries(self):
        self.cancelled += 1


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("system_actions", "spool/live", "spool/backtest"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data" / "system_actions").chmod(0o755)
    return tmp_path / "data"


def run(block):
    names = {}
    exec(compile(BLOCKS[block], "any-engine.md", "exec"), names)
    return names


def written(folder):
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def test_the_example_is_as_short_as_it_claims():
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize(
    ("action", "entry"), [("CONTINUE", 2.0), ("REDUCE_SIZE", 1.0), ("DISABLE_TRADING", None), ("EMERGENCY_STOP", None)]
)
def test_the_example_obeys_each_action(data, action, entry):
    put(data / "system_actions", publication({"momentum": action}))
    engine, broker = run(0), Broker()
    engine["on_signal"](broker, "BTC/USD", "buy", 2.0, False)
    engine["on_signal"](broker, "BTC/USD", "sell", 2.0, True)
    engine["on_fill"](FILL)
    engine["every_ten_seconds"](broker)
    exit_order = ("BTC/USD", "sell", 2.0, True)
    assert broker.sent == ([("BTC/USD", "buy", entry, False), exit_order] if entry else [exit_order])
    assert broker.cancelled == (0 if entry else 1)
    fill, heartbeat = written(data / "spool" / "live")
    assert (fill["kind"], fill["trade_id"], heartbeat["override_sequence"], heartbeat["broker_connected"]) == ("fill", "t1", 17, True)


def test_the_example_is_safe_before_there_is_any_file(data):
    engine, broker = run(0), Broker()
    engine["on_signal"](broker, "BTC/USD", "buy", 2.0, False)
    engine["every_ten_seconds"](broker)
    assert broker.sent == [] and broker.cancelled == 1
    assert "override_sequence" not in written(data / "spool" / "live")[0]


def test_the_backtest_example_records_executions(data):
    run(1)["record"](
        [
            {"symbol": "X/USD", "ts": FILL["ts"], "side": "buy", "quantity": 1, "price": 2, "fee": 0, "mark": 2, "trade_id": str(number)}
            for number in range(3)
        ]
    )
    assert [(record["kind"], record["trade_id"]) for record in written(data / "spool" / "backtest")] == [
        ("decision", "0"),
        ("decision", "1"),
        ("decision", "2"),
    ]


def test_the_writer_without_the_package_drops_a_file(data):
    run(2)["drop"](data / "spool" / "live", "a.jsonl", [{"kind": "mark"}, {"kind": "mark"}])
    assert written(data / "spool" / "live") == [{"kind": "mark"}, {"kind": "mark"}]
    assert [path.name for path in (data / "spool" / "live").iterdir()] == ["a.jsonl"]


def test_every_action_and_every_method_is_on_the_page():
    from parityd.engine import Recorder

    methods = [name for name in vars(Recorder) if not name.startswith("_") and callable(getattr(Recorder, name))]
    for word in [*ACTIONS, *(name for name in methods if name != "close")]:
        assert f"`{word}" in PAGE, word
