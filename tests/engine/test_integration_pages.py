"""The pages for each engine: their code runs as printed, their settings load, their commands exist."""

import ast
import functools
import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine.fuzz_gate import publication, put

import parityd
from parityd.engine import Gate, Recorder
from parityd.settings import load

FOLDER = Path(parityd.__file__).parent.parent / "docs" / "integrations"
PAGES = ("freqtrade", "nautilus", "ccxt", "hummingbot", "lean", "fix", "csv", "sizing")
ENGINES = ("freqtrade", "nautilus_trader")
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (FOLDER / f"{page}.md").read_text("utf-8"), re.DOTALL)


def run(page, block=0, **places):
    """The names that a block of a page defines; `places` are put for paths that it names."""
    code = blocks(page, "python")[block]
    for path, real in places.items():
        code = code.replace(path.replace("__", "/"), str(real))
    names = {}
    exec(compile(code, f"{page}.md", "exec"), names)
    return names


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("system_actions", "spool/live", "spool/backtest"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data" / "system_actions").chmod(0o755)
    return tmp_path / "data"


def written(data):
    return [json.loads(line) for path in sorted((data / "spool" / "live").iterdir()) for line in path.read_text().splitlines()]


def say(data, action, strategy="momentum"):
    put(data / "system_actions", publication({strategy: action}))


# --- all pages


@pytest.mark.parametrize("page", PAGES)
def test_code_compiles_and_imports_what_exists(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("parityd.engine."):
                assert {alias.name for alias in node.names} <= set(
                    vars(__import__(node.module, fromlist=["x"])) | {"ParityActor": 1, "ParityActorConfig": 1}
                )


@pytest.mark.parametrize(("page", "block"), [(page, n) for page in PAGES for n in range(len(blocks(page, "toml")))])
def test_settings_are_ones_that_parityd_knows(page, block, tmp_path):
    path = tmp_path / "parityd.toml"
    path.write_text(blocks(page, "toml")[block])
    load(path, {})


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page):
    lines = [line for code in blocks(page, "sh") for line in code.splitlines() if line.startswith("parityd ")]
    for line in lines:
        command, *words = shlex.split(line)[1:]
        assert {word for word in words if word.startswith("--")} <= options(command), line


@functools.cache
def options(command):
    shown = subprocess.run(
        [sys.executable, "-m", "parityd", command, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "200"}
    )
    return set(re.findall(r"--[a-z]+", shown.stdout))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", (FOLDER / f"{page}.md").read_text("utf-8")):
        assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("csv", "sizing")])
def test_a_page_says_what_it_was_tried_with(page):
    text = (FOLDER / f"{page}.md").read_text("utf-8")
    assert re.search(r"(?m)^Tried with ", text)
    assert "nknown" in text


def test_the_versions_are_those_that_are_installed_to_be_tried():
    for name, page in zip(ENGINES, ("freqtrade", "nautilus"), strict=True):
        pin = (FOLDER.parent.parent / "tests" / "integrations" / f"{name}.txt").read_text().strip().partition("==")[2]
        assert f" {pin}" in (FOLDER / f"{page}.md").read_text("utf-8")


# --- ccxt


class Exchange:
    """A venue, as ccxt's unified interface tells of it."""

    id = "binance"

    def __init__(self):
        self.sent, self.cancelled = [], []

    def fetch_ticker(self, symbol):
        return {"symbol": symbol, "last": 50_000.0}

    def market(self, symbol):
        return {"symbol": symbol, "limits": {"amount": {"min": 0.001}}}

    def amount_to_precision(self, symbol, amount):
        return f"{amount:.3f}"

    def create_order(self, symbol, kind, side, amount):
        self.sent.append((side, amount))
        return {"id": "o1"}

    def fetch_open_orders(self, symbol):
        return [
            {"id": "bid", "reduceOnly": False, "triggerPrice": None},
            {"id": "stop", "reduceOnly": True},
            {"id": "sl", "triggerPrice": 1.0},
        ]

    def cancel_order(self, order_id, symbol):
        self.cancelled.append(order_id)

    def fetch_my_trades(self, symbol, since):
        return [{
            "info": {}, "id": "t1", "timestamp": since, "datetime": "2026-11-20T00:00:00.000Z", "symbol": symbol, "order": "o1", "type": None, "side": "buy",
            "takerOrMaker": "taker", "price": 50_000.0, "amount": 0.1, "cost": 5000.0, "fee": {"cost": 5.0, "currency": "USDT"}, "fees": [],
        }]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "entries"), [("CONTINUE", ["0.200"]), ("REDUCE_SIZE", ["0.100"]), ("DISABLE_TRADING", []), ("EMERGENCY_STOP", [])]
)
def test_ccxt_loop_obeys(data, action, entries):
    say(data, action)
    bot, exchange = run("ccxt", 1), Exchange()
    bot["send"](exchange, "buy", 0.2, False)
    bot["send"](exchange, "sell", 0.2, True)
    bot["every_ten_seconds"](exchange)
    assert exchange.sent == [*(("buy", amount) for amount in entries), ("sell", "0.200")]
    assert exchange.cancelled == ([] if entries else ["bid"])
    kinds = [record["kind"] for record in written(data)]
    assert kinds.count("decision") == 2 and kinds[-1] == "heartbeat"


def test_ccxt_trades_dropped_or_recorded_are_the_same_fill(data):
    from parityd.formats import Context, Source, read

    run("ccxt", 1)["record_fills"](Exchange(), 1_795_132_800_000)
    (fill,) = written(data)
    path = run("ccxt", 0)["drop_trades"](Exchange(), "BTC/USDT", 1_795_132_800_000)
    with path.open("rb") as file:
        made = list(read(file, Context(book="live", name=path.name, source=Source(name="ccxt", strategy="momentum"))))
    (dropped,) = [block.fills for block in made if block.fills is not None]
    assert (dropped.fill_id, dropped.price.tolist()) == (["t1"], [50_000.0])
    assert (fill["fill_id"], fill["price"], fill["fee"], fill["ts"]) == ("t1", 50_000.0, 5.0, 1_795_132_800.0)


# --- hummingbot, LEAN, FIX


@pytest.mark.parametrize(
    ("action", "share", "stopped"), [("CONTINUE", 1, False), ("REDUCE_SIZE", 0.5, False), ("DISABLE_TRADING", 0, True)]
)
def test_scripts_for_other_engines_obey(data, action, share, stopped):
    places = {"/var__lib__parityd__system_actions": data / "system_actions", "/var__lib__parityd__spool__live": data / "spool" / "live"}
    say(data, action, "my_strategy")
    bot, cancelled = run("hummingbot", **places), []
    assert bot["allowed"](Decimal(2), False) == Decimal(2) * Decimal(str(share))
    assert bot["allowed"](Decimal(2), True) == 2
    bot["on_tick"](SimpleNamespace(cancel=lambda *call: cancelled.append(call)), "venue", [("BTC-USDT", "b1")])
    assert cancelled == ([("venue", "BTC-USDT", "b1")] if stopped else [])

    put(data / "system_actions", publication({"momentum": action}, sequence=2000))
    fix = run("fix")
    assert (fix["permitted"](10, False), fix["permitted"](10, True)) == (10 * share, 10)
    fix["every_ten_seconds"](True, lambda: cancelled.append("35=F"))
    assert ("35=F" in cancelled) is stopped

    lean = run("lean", **{"/parityd__system_actions": data / "system_actions", "/parityd__spool__live": data / "spool" / "live"})
    sent = []
    algorithm = SimpleNamespace(
        portfolio={"SPY": SimpleNamespace(quantity=100)}, market_order=lambda symbol, size: sent.append(size) or size
    )
    for quantity in (50, -100, -150):
        lean["obeying_order"](algorithm, "SPY", quantity)
    assert sent == [size for size in (50 * share, -100, -100 - 50 * share) if size]
    tickets = [SimpleNamespace(cancel=cancelled.append)]
    lean["every_minute"](algorithm, tickets)
    assert ("parityd: " + action in cancelled) is stopped
    assert [record["kind"] for record in written(data)].count("heartbeat") == 3


# --- sizing


@pytest.mark.parametrize(
    ("held", "target", "multiplier", "order"),
    [(0, 2, 1, 2), (0, 2, 0.5, 1), (0, 2, 0, 0), (2, 0, 0, -2), (2, -2, 0.5, -3), (2, -2, 0, -2), (-2, -1, 0, 1), (2, 3, 0.5, 0.5)],
)
def test_an_order_to_a_target_is_a_whole_exit_and_a_scaled_entry(data, held, target, multiplier, order):
    assert run("sizing")["scaled_order"](held, target, multiplier) == order


@pytest.mark.parametrize(
    ("held", "target", "multiplier", "ends"),
    [
        (0, 2, 0.5, 1),
        (1, 2, 0.5, 1),
        (2, 2, 0.5, 2),
        (2, 1.5, 0.5, 1.5),
        (0.5, 2, 0.5, 1),
        (1, -2, 0.5, -1),
        (1, -2, 0, 0),
        (1, 2, 0, 1),
        (-1, -2, 0.5, -1),
    ],
)
def test_a_rebalancing_sizer_does_not_let_the_cut_melt_away(data, held, target, multiplier, ends):
    order = run("sizing", 1)["rebalanced_order"]
    for _ in range(3):
        held += order(held, target, multiplier)
        assert held == ends


def test_the_other_sizers(data):
    say(data, "REDUCE_SIZE")
    sizing = run("sizing")
    assert sizing["volatility_target_order"](0.0, 1.0, 1000.0, 10.0, 0.20) == pytest.approx(25.0)
    assert run("sizing", 2)["kelly_stake"](1000.0, 0.6, 1.0, 0.5, 0.5) == pytest.approx(50.0)
    assert run("sizing", 2)["kelly_stake"](1000.0, 0.4, 1.0, 0.5, 1.0) == 0.0
    recorder, verdict = Recorder(data / "spool" / "live", "momentum"), Gate(data / "system_actions", "momentum").read()
    decision = {"symbol": "X/USD", "ts": NOW, "action": "buy", "quantity": 4.0}
    guarded = run("sizing", 3)["guarded"]
    assert guarded(recorder, {"size": lambda one: one["quantity"] > 5}, verdict, decision) == 2.0
    assert guarded(recorder, {"size": lambda one: one["quantity"] > 3}, verdict, decision | {"ts": 1.0}) == 0.0
    assert [record["guards"] for record in written(data)] == [[], ["size"]]
