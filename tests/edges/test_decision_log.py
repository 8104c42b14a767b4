"""Decision logs on disk: whole at every moment, named as the contract says, read back."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parityd.core.decision_document import Decision, Execution, PositionState
from parityd.edges.decision_log import DecisionLogError, DecisionLogger, load_decision_log

NOON = 1_763_640_000 * 10**9  # 2025-11-20T12:00:00Z


def logger(folder: Path, **over: Any) -> DecisionLogger:
    return DecisionLogger(folder, **{"strategy_name": "s", "symbol": "BTC/USD:perp", "created_ns": NOON, **over})


def say(log: DecisionLogger, n: int, **over: Any) -> None:
    base: dict[str, Any] = {
        "timestamp": NOON + n * 10**9, "current_mark": 100.5, "recent_marks": [99.0, 100.5], "position_state": PositionState(), "equity": 1e4,
        "decision": Decision("hold", reason=f"no {n}"),
    }  # fmt: skip
    log.log(**{**base, **over})


def test_the_name_holds_day_time_and_a_safe_symbol_and_a_second_one_gets_a_number(tmp_path: Path) -> None:
    with logger(tmp_path) as a, logger(tmp_path) as b:
        assert a.path == tmp_path / "2025-11-20" / "bt_20251120T120000Z_BTC_USD_perp.json"
        assert b.path.name == "bt_20251120T120000Z_BTC_USD_perp_2.json"
        say(a, 0)
    assert load_decision_log(a.path)["symbol"] == "BTC/USD:perp"


def test_the_document_is_whole_after_every_write(tmp_path: Path) -> None:
    log = logger(tmp_path)
    for n in range(5):
        document = json.loads(log.path.read_bytes())
        assert len(document["decisions"]) == n
        assert document["metrics"] is None
        say(log, n)
    log.close({"trades": 1})
    document = load_decision_log(log.path)
    assert document["metrics"] == {"trades": 1}
    assert (document["start_time"], document["end_time"]) == ("2025-11-20T12:00:00.000000Z", "2025-11-20T12:00:04.000000Z")
    assert "truncated" not in document


def test_a_decision_reads_back_as_the_contract_spells_it(tmp_path: Path) -> None:
    with logger(tmp_path) as log:
        done = Execution(filled=True, fill_price=100.25, filled_quantity=2.0, commission=0.2, slippage=0.5)
        say(log, 0, decision=Decision("buy", quantity=2.0, reason='said "é"', guards=("too_big",), label="up"), execution=done)
        say(log, 1, decision=Decision("hold", guards=None))
    first, second = load_decision_log(log.path)["decisions"]
    assert first["context"] == {
        "timestamp": "2025-11-20T12:00:00.000000Z", "symbol": "BTC/USD:perp", "current_mark": "100.5", "recent_marks": ["99.0", "100.5"],
        "position_state": {"quantity": "0.0", "average_price": "0.0", "side": "flat"}, "equity": "10000.0", "signal_label": "up",
    }  # fmt: skip
    assert first["decision"] == {"action": "buy", "quantity": "2.0", "target_notional": None, "reason": 'said "é"', "guards": ["too_big"]}
    assert first["execution"] == {"filled": True, "fill_price": "100.25", "filled_quantity": "2.0", "commission": "0.2", "slippage": "0.5"}
    assert "guards" not in second["decision"]
    assert second["execution"]["fill_price"] is None


def test_a_killed_process_leaves_a_whole_log(tmp_path: Path) -> None:
    code = (
        "import sys; from parityd.edges.decision_log import DecisionLogger; from parityd.core.decision_document import Decision\n"
        "log = DecisionLogger(sys.argv[1], strategy_name='s', symbol='X')\n"
        "for n in range(10**9):\n"
        "    log.log(timestamp=1.7e9 + n, current_mark=1.0, recent_marks=[1.0], position_state={}, equity=1.0, decision=Decision('hold'))\n"
        "    if n == 200: print(log.path, flush=True)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    ) as child:
        assert child.stdout is not None
        path = child.stdout.readline().strip()
        child.send_signal(signal.SIGKILL)
        child.wait()
    found = load_decision_log(path)
    assert len(found["decisions"]) >= 200


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.77, 0.95])
def test_a_torn_log_is_read_up_to_its_last_whole_decision(tmp_path: Path, cut: float) -> None:
    with logger(tmp_path) as log:
        for n in range(40):
            say(log, n)
    raw = log.path.read_bytes()
    whole = json.loads(raw)["decisions"]
    log.path.write_bytes(raw[: int(len(raw) * cut)])
    found = load_decision_log(log.path)
    assert found["truncated"] is True
    assert 0 < len(found["decisions"]) < 40
    assert found["decisions"] == whole[: len(found["decisions"])]


def test_compressed_logs_are_read(tmp_path: Path) -> None:
    with logger(tmp_path) as log:
        say(log, 0)
    packed = tmp_path / "log.json.gz"
    packed.write_bytes(gzip.compress(log.path.read_bytes()))
    assert load_decision_log(packed) == load_decision_log(log.path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a decision log"), (b"[1]", "not an object"), (b'{"run_id": "r"}', "strategy_name is missing"), (b"\xff\xfe", "not"),
        (b'{"run_id": "r", "strategy_name": "s", "symbol": "x", "decisions": {}}', "decisions is not a list"),
    ],
)  # fmt: skip
def test_what_is_no_decision_log_says_which_file_and_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(DecisionLogError, match=reason) as caught:
        load_decision_log(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DecisionLogError, match="No such file"):
        load_decision_log(tmp_path / "none.json")


def test_a_closed_log_takes_nothing_more_and_a_time_must_be_one(tmp_path: Path) -> None:
    log = logger(tmp_path)
    with pytest.raises(ValueError, match="timestamp"):
        say(log, 0, timestamp="noon")
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        say(log, 0)
    assert load_decision_log(log.path)["decisions"] == []
