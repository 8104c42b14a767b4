"""A real backtest of NautilusTrader obeys the real daemon in mid-run, and the daemon sees that it does."""

import json
import os
import subprocess

import pytest
from engine.fuzz_gate import publication, put
from integrations.engines import PYTHONPATH, Daemon, interpreter, run

pytestmark = pytest.mark.integrations
STRATEGY = "Swing-000"


@pytest.fixture
def daemon(tmp_path):
    interpreter("nautilus_trader")
    with Daemon(tmp_path) as daemon:
        yield daemon


def swing(daemon, command):
    return run("nautilus_trader", "nautilus_backtest.py", daemon.data, command)


def acknowledged(daemon):
    """The daemon has read of the engine that it obeys what is published now, and has refused nothing."""
    sequence = daemon.published()["decision_sequence"]
    daemon.until(lambda: daemon.metric("parityd_acknowledged_sequence", strategy=STRATEGY) == sequence)
    assert daemon.refused() == []
    entry = json.loads((daemon.data / "system_actions" / "parity_action.json").read_text())["strategies"][STRATEGY]
    assert {finding["code"] for finding in entry["findings"]} & {"not_obeyed", "unacknowledged", "position_mismatch"} == set()


def test_a_halt_in_mid_run_lets_the_position_out_and_nothing_in(daemon):
    told = swing(daemon, "halt")
    assert (told["added_after"], told["closed_after"], told["held_after"]) == (0, 1, ["0.0"])
    assert told["events_after"]["OrderUpdated"] == 1, "the reversing order is cut to its exit"
    assert told["events_after"]["OrderDenied"] >= 29
    assert told["states"] == ["REDUCING", "HALTED"], "halted once it is flat: HALTED denies exits too"
    assert told["bids_working"] == 0
    assert told["protection_ended"] > told["flat"] > 0, "the protective stop stays while there is something to protect"
    acknowledged(daemon)


def test_a_disabled_strategy_closes_and_may_not_open(daemon):
    told = swing(daemon, "disable")
    assert (told["added_after"], told["held_after"], told["states"]) == (0, ["0.0"], ["REDUCING"])
    acknowledged(daemon)


def test_reduced_sizes_scale_what_opens_and_not_what_closes(daemon):
    told = swing(daemon, "reduce")
    assert set(told["held_after"]) == {"0.1", "-0.1"}, "half of 0.2, turned from 0.2 and then from 0.1"
    assert told["states"] == []
    assert told["bids_working"] == 1, "working orders are kept"
    acknowledged(daemon)


def test_a_backtest_is_recorded_as_one_run_that_obeys_nothing(daemon):
    told = swing(daemon, "record")
    daemon.until(lambda: daemon.metric("parityd_records_ingested_total", book="backtest", kind="fill") == told["fills"])
    assert daemon.metric("parityd_records_ingested_total", book="backtest", kind="run") == 1
    assert daemon.refused() == []


@pytest.mark.parametrize("name", ["fills_report.csv", "order_events.jsonl"])
def test_what_the_page_writes_is_read(daemon, name):
    told = swing(daemon, "record")
    command = daemon.command("doctor", "--live", str(daemon.data.parent / name), "--json")
    looked = subprocess.run(command, capture_output=True, text=True, env=os.environ | PYTHONPATH, check=False)
    assert f"{told['fills']} fill" in looked.stdout


def test_a_live_node_is_attached_in_the_same_way():
    told = run("nautilus_trader", "nautilus_node.py")
    assert told == {"attached": True, "unattached": "RuntimeError", "empty": "ValueError"}


@pytest.mark.parametrize(
    ("action", "bracket", "bid", "quote", "rejected"),
    [
        ("CONTINUE", "0.200", ["0.400", "ACCEPTED"], ["0.200", "FILLED"], 0),
        ("REDUCE_SIZE", "0.100", ["0.050", "ACCEPTED"], ["0.100", "FILLED"], 1),
        ("DISABLE_TRADING", None, ["0.100", "DENIED"], ["10000.000", "DENIED"], 0),
    ],
)
def test_brackets_modifications_and_sizes_in_quote_are_held_to_the_gate(tmp_path, action, bracket, bid, quote, rejected):
    tmp_path.chmod(0o755)
    put(tmp_path, publication({"momentum": action}, ttl=600))
    told = run("nautilus_trader", "nautilus_orders.py", tmp_path)
    states = ("FILLED", "ACCEPTED", "ACCEPTED") if bracket else ("DENIED",) * 3
    assert [told["entry"], told["stop"], told["profit"]] == [[bracket or "0.200", state] for state in states]
    assert (told["bid"], told["quote"], told["rejected"]) == (bid, quote, rejected)
