"""`simulate`, `backtest` and `compare` as a user types them."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import zstandard
from typer.testing import CliRunner

from parityd.cli_sim import register

app = typer.Typer()
register(app)


def run(*args: object, code: int = 0) -> tuple[str, str]:
    found = CliRunner().invoke(app, [str(a) for a in args])
    assert found.exit_code == code, (found.output, found.exception)
    return found.stdout, found.stderr


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    closes = np.round(1000 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-3, 2000))), 2)
    path = tmp_path / "BTC-USD.csv"
    path.write_text(
        "timestamp,open,high,low,close,volume\n"
        + "".join(f"{1_700_000_000 + 60 * n},{c},{c + 1},{c - 1},{c},100\n" for n, c in enumerate(closes))
    )
    return path


def orders(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(("ts,symbol,side,quantity,order_type,limit_price,order_id", *lines)) + "\n")
    return path


def backtest(tmp_path: Path, bars: Path, *more: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("backtest", bars, "--log-directory", tmp_path / "logs", "--json", *more)[0])
    return found


def test_a_backtest_writes_its_log_and_its_records_and_compares_with_itself(tmp_path: Path, bars: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    one = backtest(tmp_path, bars, "--records", spool)
    two = backtest(tmp_path, bars, "--config", "anything.toml")
    assert one["metrics"] == two["metrics"]
    assert [p.name for p in spool.iterdir()] == [f"{one['run_id']}.jsonl"]
    assert json.loads((spool / f"{one['run_id']}.jsonl").read_text().splitlines()[0])["kind"] == "run"
    text, _ = run("compare", one["log_paths"][0], two["log_paths"][0])
    assert text.startswith("GO: parity rate 100.0000%")
    other = backtest(tmp_path, bars, "--slow", 34)
    text, _ = run("compare", one["log_paths"][0], other["log_paths"][0], code=2)
    assert "mean of 30" in text
    assert "mean of 34" in text
    found = json.loads(run("compare", one["log_paths"][0], other["log_paths"][0], "--json", code=2)[0])
    assert found["parity_rate"] < 1.0
    assert len(found["mismatches"]) == found["mismatch_count"] > 0


def test_a_strategy_of_ones_own_is_loaded_from_its_file(tmp_path: Path, bars: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from parityd.backtest import Decision, HOLD\nclass Mine:\n    name = 'mine'\n    def __init__(self, size): self.size = size\n    def decide(self, s, m, p, r, e, x): return HOLD if p.quantity else Decision('buy', quantity=self.size)\n"
    )
    found = backtest(tmp_path, bars, "--strategy", f"{mine}:Mine", "-p", "size=0.5")
    assert (found["strategy_name"], found["metrics"]["fills"]) == ("mine", 1)
    mine.write_text("class Mine:\n    def decide(self, *a): raise KeyError('x')\n")
    _, err = run("backtest", bars, "--strategy", f"{mine}:Mine", "--no-log", code=3)
    assert "KeyError" in err
    assert "mine.py:2" in err
    assert err.count("\n") == 1


def test_simulated_orders_come_out_the_same_for_the_same_seed(tmp_path: Path, bars: Path) -> None:
    path = orders(tmp_path, *(f"{1_700_000_000 + 60 * n},BTC-USD,{'buy' if n % 2 else 'sell'},1,market,," for n in range(100)))
    one, two, other = (run("simulate", path, bars, "--symbol", "BTC-USD", "--seed", s)[0] for s in (1, 1, 2))
    assert one == two != other
    fill = json.loads(one.splitlines()[0])
    assert (fill["kind"], fill["strategy"], fill["liquidity"]) == ("fill", "simulated", "taker")
    out = tmp_path / "fills.jsonl"
    shown = json.loads(run("simulate", path, bars, "--symbol", "BTC-USD", "--out", out, "--json")[0])
    assert shown["orders"] == 100
    assert shown["fills"] == sum(json.loads(line)["kind"] == "fill" for line in out.read_text().splitlines())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("timestamp,close\n1,5\n2,nan\n", "row 2: close is not a finite number"), ("timestamp,close\n5,1\n5,1\n", "row 2: duplicate time"),
        ("timestamp,close\n5,1\n4,1\n", "row 2"), ("timestamp,close\n5\n", "row 1: 1 cells under 2 names"), ("when,close\n5,1\n", "no column of times"),
        ("timestamp,volume\n5,1\n", "no column of prices"), ("", "empty"), ("timestamp,close\n", "no bars"), ("timestamp,close\n1,5\n2,6\n", "needs 30 bars, 2 given: 28 missing"),
        ("timestamp,close\n1,five\n", "row 1: close 'five' is not a number"),
    ],
)  # fmt: skip
def test_bad_bars_are_one_line_with_the_row(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    out, err = run("backtest", path, "--no-log", code=3)
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_other_bad_input_is_one_line_and_exit_3(tmp_path: Path, bars: Path) -> None:
    path = orders(tmp_path, "1700000000,BTC-USD,buy,1,limit,,a")
    for args, words in (
        (("simulate", path, bars, "--symbol", "BTC-USD"), "row 1: limit_price: a limit order needs one"),
        (("simulate", tmp_path / "none.csv", bars), "none.csv: No such file"),
        (("simulate", path, bars, "--slippage", "magic"), "--slippage"),
        (("backtest", bars, "--strategy", "nowhere:Thing"), "nowhere"),
        (("backtest", bars, "--strategy", "nonsense"), "nonsense"),
        (("backtest", bars, "--fast", "50"), "fast"),
        (("backtest", bars, "--capital", "-1"), "initial_capital"),
        (("backtest", bars, "--fees", "1,2"), "needs") if False else (("backtest", bars, "--simulator", "--fees", "1,2"), "--fees"),
        (("compare", bars, bars), "BTC-USD.csv: not a decision log"),
        (("compare", tmp_path, bars), "Is a directory"),
    ):
        _, err = run(*args, code=3)
        assert words in err
        assert err.count("\n") == 1


def test_a_log_with_a_broken_decision_names_the_file_and_the_place(tmp_path: Path) -> None:
    good = {"run_id": "r", "strategy_name": "s", "symbol": "X", "decisions": []}
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(good))
    b.write_text(json.dumps({**good, "decisions": [{"context": {"timestamp": "x"}, "decision": {"action": "buy"}}]}))
    _, err = run("compare", a, b, code=3)
    assert err == f"parityd: {b}: decisions[0].context.timestamp: 'x' is not a time\n"
    run("compare", a, a, code=2)


def test_several_files_are_several_symbols(tmp_path: Path, bars: Path) -> None:
    second = tmp_path / "ETH-USD.csv"
    second.write_text(bars.read_text())
    found = json.loads(run("backtest", bars, second, "--log-directory", tmp_path / "logs", "--json")[0])
    assert found["symbols"] == ["BTC-USD", "ETH-USD"]
    assert len(found["log_paths"]) == 2


@pytest.fixture
def two_days() -> dict[str, Any]:
    """A decision log of two days."""
    start, rows = datetime(2026, 3, 2, tzinfo=UTC), []
    for k in range(192):
        action = {3: "buy", 7: "close"}.get(k % 8, "hold")
        context = {
            "timestamp": (start + k * timedelta(minutes=15)).isoformat(),
            "symbol": "X",
            "current_mark": str(100 + k % 37),
            "recent_marks": [],
        }
        decision = {"action": action, "quantity": "1", "reason": "as ever", "guards": []}
        rows.append({"context": context, "decision": decision, "execution": {"filled": action != "hold"}})
    return {
        "run_id": "r",
        "strategy_name": "s",
        "symbol": "X",
        "start_time": start.isoformat(),
        "config": {},
        "decisions": rows,
        "metrics": {},
    }


def test_a_log_counts_as_whole_whatever_its_writer_put_where_no_number_is(tmp_path: Path, two_days: dict[str, Any]) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(two_days))
    b.write_text("\ufeff" + json.dumps({**two_days, "metrics": {"sharpe": float("nan"), "worst": float("-inf")}}))
    out, _ = run("compare", a, b)
    assert out.startswith("GO: parity rate 100.0000%")
    assert "cut short" not in out
    two_days["decisions"][3]["decision"]["quantity"] = float("nan")
    b.write_text(json.dumps(two_days))
    _, err = run("compare", a, b, code=3)
    assert err == f"parityd: {b}: decisions[3].decision.quantity: nan is not a number\n"


def test_a_log_nested_without_end_or_expanding_without_end_is_one_line(
    tmp_path: Path, two_days: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json.gz"
    a.write_text(json.dumps(two_days))
    for raw in (b"[" * 100_000, json.dumps(two_days).replace('"config": {}', '"config": ' + "[" * 100_000 + "]" * 100_000).encode()):
        b.write_bytes(gzip.compress(raw))
        _, err = run("compare", a, b, code=3)
        assert err == f"parityd: {b}: not a decision log: nested too deeply\n"
    monkeypatch.setattr("parityd.edges.decision_log.EXPANDED", 1 << 20)
    b.write_bytes(gzip.compress(json.dumps({**two_days, "config": " " * 3_000_000}).encode()))
    _, err = run("compare", a, b, code=3)
    assert "expands to more than" in err


def test_a_log_cannot_move_the_cursor(tmp_path: Path, two_days: dict[str, Any]) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(two_days))
    two_days["decisions"][3]["decision"] |= {"action": "sell", "reason": "\x1b[2Jgone\nGO: parity rate 100 %"}
    b.write_text(json.dumps(two_days))
    out, _ = run("compare", a, b)
    assert "\x1b" not in out
    assert "    B sell 1:  [2Jgone GO: parity rate 100 %\n" in out


def test_a_shuffled_log_and_a_compressed_one_are_the_same_log(tmp_path: Path, two_days: dict[str, Any]) -> None:
    a, b, c = tmp_path / "a.json", tmp_path / "b.json.gz", tmp_path / "c.json.zst"
    a.write_text(json.dumps(two_days))
    turned = json.dumps({**two_days, "decisions": two_days["decisions"][::-1]}).encode()
    b.write_bytes(gzip.compress(turned))
    c.write_bytes(zstandard.compress(turned))
    assert run("compare", a, b)[0] == run("compare", a, a)[0] == run("compare", c, a)[0]
