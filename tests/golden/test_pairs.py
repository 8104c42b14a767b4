"""Pairs of other engines, through the command line, against the reference: its records are made of the raw files here, by no code of parityd."""

import ast
import contextlib
import csv
import gzip
import io
import json
import math
import os
import re
import shutil
import sqlite3
import zipfile
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from golden.books import Settings
from golden.exports import fill, fills_report
from golden.measures import window
from golden.reference import judge

from parityd import cli

DATA = Path(os.environ.get("GOLDEN_EXPORTS", Path(__file__).parents[3] / "shared/data/nautilus")).parent
pytestmark = pytest.mark.skipif(not (DATA / "freqtrade").is_dir(), reason="the real exports are not here")
AT = "2026-11-21T00:00:00Z"
TRADED = ("buy", "sell")


def at(ms: float) -> str:
    return datetime.fromtimestamp(int(ms) // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{int(ms) % 1000:03d}Z"


def exact(value) -> Fraction:
    return Fraction(str(value))


def quote(pair: str) -> str:
    return re.split("[/:]", pair)[1]


def result(path: Path, strategy: str) -> list[dict]:
    """The simulated orders of a result, as decisions."""
    with zipfile.ZipFile(path) as z:
        (name,) = [n for n in z.namelist() if re.fullmatch(r"backtest-result-[\d_-]+\.json", n)]
        found = json.loads(z.read(name))["strategy"][strategy]
    rows: list[dict] = [{"kind": "heartbeat", "strategy": strategy, "ts": at(found["backtest_end_ts"] + 900_000)}]
    for t in found["trades"]:
        for k, o in enumerate(t["orders"]):
            fee = exact(t["fee_open" if o["ft_is_entry"] else "fee_close"]) * exact(o["amount"]) * exact(o["safe_price"])
            rows.append(
                {"kind": "decision", "strategy": strategy, "symbol": t["pair"], "ts": at(o["order_filled_timestamp"]), "action": o["ft_order_side"], "filled": True,
                 "quantity": str(o["amount"]), "price": str(o["safe_price"]), "fee": fee, "currency": quote(t["pair"]), "trade_id": f"{t['pair']}@{t['open_timestamp']}#{k}"}
            )  # fmt: skip
    return rows


def api(path: Path, strategy: str, frame_ms: int) -> list[dict]:
    """The orders of `/api/v1/trades` as submissions and fills."""
    rows: list[dict] = []
    for t in map(json.loads, gzip.decompress(path.read_bytes()).splitlines()):
        entries = [o for o in t["orders"] if o["ft_is_entry"] and o["filled"]]
        exits = [o for o in t["orders"] if not o["ft_is_entry"] and o["filled"]]
        for o in t["orders"]:
            place = {"strategy": strategy, "symbol": t["pair"], "order_id": o["order_id"]}
            rows.append({"kind": "order", **place, "status": "submitted", "ts": at(o["order_timestamp"])})
            if not o["filled"]:
                continue
            asked = (
                t["open_rate_requested"]
                if o is entries[0]
                else t["close_rate_requested"]
                if exits and o is exits[-1] and not t["is_open"]
                else None
            )
            rows.append(
                {"kind": "fill", **place, "fill_id": f"{o['order_id']}#{o['filled']:.12g}", "side": o["ft_order_side"], "quantity": str(o["filled"]), "price": str(o["average"]),
                 "fee": exact(t["fee_open" if o["ft_is_entry"] else "fee_close"]) * exact(o["filled"]) * exact(o["average"]), "fee_currency": quote(t["pair"]), "currency": quote(t["pair"]),
                 "ts": at(o["order_filled_timestamp"]), "decision_ts": at(o["order_timestamp"] // frame_ms * frame_ms), "arrival_mark": asked}
            )  # fmt: skip
    return rows


def fix(path: Path, strategy: str) -> list[dict]:
    """The fills and new orders of a QuickFIX log."""
    rows: list[dict] = []
    for line in path.read_bytes().splitlines():
        tags = dict(x.split("=", 1) for x in line.decode().partition("8=FIX")[2].split("\x01") if "=" in x)
        if tags.get("35") not in ("8", "D"):
            continue
        when = re.sub(r"(\d{4})(\d\d)(\d\d)-(.*)", r"\1-\2-\3T\4Z", tags["60"])
        place = {"strategy": strategy, "symbol": tags["55"], "order_id": tags["11"], "ts": when}
        if tags["35"] == "D":
            rows.append({"kind": "order", **place, "status": "submitted"})
        elif tags["150"] in ("F", "1", "2") and float(tags.get("32", 0)) > 0:
            rows.append({"kind": "fill", **place, "fill_id": tags["17"], "side": TRADED[tags["54"] == "2"], "quantity": tags["32"], "price": tags["31"],
                         "fee": tags["12"], "fee_currency": tags["479"]})  # fmt: skip
    return rows


def hummingbot(folder: Path) -> list[dict]:
    """The fills of its CSV, and the submissions of its database."""
    (trades,), (database,) = folder.glob("trades_*.csv"), folder.glob("*.sqlite")
    rows: list[dict] = []
    for r in csv.DictReader(io.StringIO(trades.read_text())):
        (fee,) = ast.literal_eval(r["trade_fee"])["flat_fees"]
        rows.append({"kind": "fill", "strategy": r["strategy"], "symbol": r["symbol"], "fill_id": r["exchange_trade_id"], "order_id": r["order_id"], "side": r["trade_type"].lower(),
                     "quantity": r["amount"], "price": r["price"], "ts": at(int(r["timestamp"])), "venue": r["market"], "currency": r["quote_asset"],
                     "fee": fee["amount"], "fee_currency": fee["token"]})  # fmt: skip
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as db:
        for key, symbol, began, strategy in db.execute('SELECT id, symbol, creation_timestamp, strategy FROM "Order"'):
            rows.append({"kind": "order", "strategy": strategy, "symbol": symbol, "order_id": key, "status": "submitted", "ts": at(began)})
    return rows


@pytest.fixture
def reports(tmp_path):
    """Both books through the command line: (day -> report, what was refused)."""

    def make(files: dict[str, list[Path]], days: list[date], configuration: str):
        config = tmp_path / "parityd.toml"
        config.write_text(f'data_dir = "{tmp_path}/data"\n[http]\nport = 0\n{configuration}')
        for book, paths in files.items():
            (spool := tmp_path / "data/spool" / book).mkdir(parents=True)
            for path in paths:
                shutil.copy(path, spool / path.name)
        with contextlib.redirect_stdout(io.StringIO()):
            assert cli.main(["check", "--json", "--config", str(config), "--at", AT]) in (0, 1, 2)
        found = {}
        for day in days:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert cli.main(["report", "--json", "--day", str(day), "--config", str(config)]) == 0
            found[day] = json.loads(out.getvalue())
        return found, [p.name for p in (tmp_path / "data/rejected").rglob("*") if p.is_file()]

    return make


def agree(got: dict, want, day: date) -> None:
    assert {k: got["trades"][k] for k in want.trades} == want.trades, day
    assert got["matched_by"] == want.matched_by, day
    for name in ("tracking_error_bps", "mean_price_diff_bps", "max_price_diff_bps", "mean_fee_diff_bps", "mean_timing_diff_ms"):
        close(got["metrics"][name], want.metrics[name], 1e-6, f"{day} {name}")
    for name, value in want.currency.items():
        close(got["attribution"]["currency"][name], value, 1e-9 * max(1, abs(float(want.notional))), f"{day} {name}")


def close(got, want, tolerance: float, what: str) -> None:
    assert (got is None) == (want is None), what
    assert want is None or math.isclose(got, float(want), abs_tol=tolerance, rel_tol=1e-7), (what, got, float(want))


# Days on which no two orders of one candle could change places: of pairings of equal cost either stands.
FREQTRADE = {
    "futures_xrp": ("ParityDemoFutures", [date(2021, 11, d) for d in (18, 19, 20)], 63),
    "spot_btc_a": ("ParityDemo", [date(2018, 1, d) for d in (23, 24, 25)], 537),
}


@pytest.mark.parametrize("case", FREQTRADE)
def test_a_pair_of_freqtrade_agrees_with_the_reference(reports, case):
    strategy, days, overlap = FREQTRADE[case]
    folder = DATA / "freqtrade" / case
    (zipped,) = folder.glob("backtest/*.zip")
    frame = f'[strategies.{strategy}]\ntimeframe = "15m"\n'
    found, rejected = reports({"backtest": [zipped], "live": [folder / "live/tradesv3.sqlite"]}, days, frame)
    assert rejected == []
    settings = Settings(timeframe={strategy: Fraction(900)})
    judged = judge(result(zipped, strategy), api(folder / "live/api_trades.jsonl.gz", strategy, 900_000), settings, at=AT)
    for day in days:
        agree(found[day]["strategies"][strategy], window(judged, strategy, day), day)
    assert sum(t.state == "matched" for t in judged.of(strategy)) >= overlap


def test_a_fix_log_agrees_with_the_backtest_that_it_replays(reports):
    (log,) = DATA.glob("fix/quickfix*/*messages*")
    back = DATA / "nautilus/quotemom_ESH4_20231225_2200/backtest"
    records = [fill(r) for r in fills_report(back)]
    strategy, day = records[0]["strategy"], date(2023, 12, 25)
    configuration = f'[sources.desk]\npath = "spool/live/*.log"\nbook = "live"\nstrategy = "{strategy}"\n[symbols.ESH4]\nmultiplier = 50\n'
    found, rejected = reports({"backtest": [back / "fills_report.csv"], "live": [log]}, [day], configuration)
    assert rejected == []
    judged = judge(records, fix(log, strategy), Settings(symbols={"ESH4": {"multiplier": 50}}), at=AT)
    want = window(judged, strategy, day)
    assert want.trades["matched"] > 100
    agree(found[day]["strategies"][strategy], want, day)


HUMMINGBOT = {
    "btcusdt_perp": ("quotemom_BTCUSDT-PERP_0_10000", date(2023, 12, 1)),
    "btcusd_perp": ("ema_btcperp_2022-01-01", date(2022, 1, 1)),
}


@pytest.mark.parametrize("case", HUMMINGBOT)
def test_a_database_of_hummingbot_agrees_with_the_backtest_that_it_replays(reports, tmp_path, case):
    pair, day = HUMMINGBOT[case]
    live = hummingbot(DATA / "hummingbot" / case)
    (database,) = (DATA / "hummingbot" / case).glob("*.sqlite")
    place = {"strategy": live[0]["strategy"], "symbol": live[0]["symbol"]}
    records = [{**fill(r), **place} for r in fills_report(DATA / "nautilus" / pair / "backtest")]
    (book := tmp_path / "backtest.jsonl").write_text("".join(json.dumps(r, default=str) + "\n" for r in records))
    found, rejected = reports({"backtest": [book], "live": [database]}, [day], "")
    assert rejected == []
    want = window(judge(records, live, Settings(), at=AT), place["strategy"], day)
    assert want.trades["matched"] > 50
    agree(found[day]["strategies"][place["strategy"]], want, day)
