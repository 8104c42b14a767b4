"""hummingbot: its CSV and its database tell the same fills, those that were fed to it."""

import csv
import gzip
import json
from math import isnan
from pathlib import Path

import pytest
from formats.samples import HB_FUNDING, HB_ORDER, HB_STORED, HB_TRADE, MS, blocks, column, counts, refused, said, sqlite, table

from parityd.core.records import Funding, Order
from parityd.formats import Context, Source, read

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real exports are not here")
CASES = {"btcusdt_perp": "quotemom_BTCUSDT-PERP_0_10000", "btcusd_perp": "ema_btcperp_2022-01-01"}


def of(path: Path, **k):
    with path.open("rb") as f:
        return list(read(f, Context(book="live", name=path.name, **k)))


@needs_data
@pytest.mark.parametrize("case", CASES)
def test_csv_and_database_tell_the_fills_that_the_recorder_was_given(case):
    folder = DATA / "hummingbot" / case
    listed, stored = of(next(folder.glob("trades_*.csv"))), of(next(folder.glob("*.sqlite")))
    assert refused(listed) == refused(stored) == []
    assert said(listed)[1] == said(stored)[1]
    side = DATA / "nautilus" / CASES[case] / "live"
    with (
        gzip.open(side / "fills_report.jsonl.gz", "rt")
        if (side / "fills_report.jsonl.gz").exists()
        else (side / "fills_report.jsonl").open() as f
    ):
        given = {r["trade_id"]: r for r in map(json.loads, f)}
    rows = list(zip(*(column(listed, "fills", n) for n in ("fill_id", "side", "quantity", "price", "fee", "fee_currency")), strict=True))
    assert len(rows) == len(given)
    for fill_id, way, quantity, price, fee, currency in rows:
        r = given[fill_id]
        assert (way, quantity, price) == (1 if r["order_side"] == "BUY" else -1, float(r["last_qty"]), float(r["last_px"]))
        assert (f"{fee:.8f}", currency) == (f"{float(r['commission'].split()[0]):.8f}", r["commission"].split()[1])
    with next(folder.glob("nautilus_order_map.csv")).open() as f:
        assert set(column(listed, "fills", "order_id")) <= {r["hummingbot_order_id"] for r in csv.DictReader(f)}


@needs_data
def test_the_exported_history_has_the_same_fills_without_their_fees():
    folder = DATA / "hummingbot" / "btcusdt_perp"
    history = of(folder / "history_export.csv", source=Source(name="x", strategy="parity_demo"))
    listed = of(next(folder.glob("trades_*.csv")))
    assert sorted(column(history, "fills", "fill_id")) == sorted(column(listed, "fills", "fill_id"))
    assert all(isnan(f) for f in column(history, "fills", "fee"))


def one(**k):
    return blocks(table([{**HB_TRADE, **k}]), "t.csv")


def test_a_fill_is_what_it_says():
    found = one()
    names = (
        "fill_id",
        "order_id",
        "strategy",
        "symbol",
        "venue",
        "side",
        "quantity",
        "price",
        "ts",
        "fee",
        "fee_currency",
        "currency",
        "order_type",
        "shadow",
    )
    assert [column(found, "fills", n)[0] for n in names] == [
        "x1", "HBOT1", "pmm", "BTC-USDT", "binance_perpetual", -1, 2.25, 100.5, MS * 10**6, 0.25, "USDT", "USDT", "limit", False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fee", "expected"),
    [
        ({"percent": "0.001", "flat_fees": []}, [(2.25 * 100.5 * 0.001, "USDT")]),
        ({"percent": "-0.001", "percent_token": "USDT", "flat_fees": []}, [(-2.25 * 100.5 * 0.001, "USDT")]),
        ({"percent": "0", "flat_fees": [{"token": "BNB", "amount": "0.1"}]}, [(0.1, "BNB")]),
        ({"percent": "0.001", "flat_fees": [{"token": "BNB", "amount": "0.1"}]}, [(0.1, "BNB"), (2.25 * 100.5 * 0.001, "USDT")]),
        ({"percent": "0", "flat_fees": []}, [(0.0, "USDT")]),
    ],
)
@pytest.mark.parametrize("write", [repr, json.dumps])
def test_fees_are_told_by_token(fee, expected, write):
    found = one(trade_fee=write(fee))
    got = list(zip(column(found, "fills", "fee"), column(found, "fills", "fee_currency"), strict=True))
    assert got == [(pytest.approx(f), c) for f, c in expected]
    assert sum(column(found, "fills", "quantity")) == 2.25


@pytest.mark.parametrize("fee", ["__import__('os').getcwd()", "[" * 5000, "{" * 9 + "}" * 9, "5", "x" * 20_000, "{'percent': 'much'}"])
def test_a_fee_that_is_none_is_refused_and_never_run(fee):
    assert refused(one(trade_fee=fee)) == [(2, "bad_value")]


def test_paper_trades_are_shadows():
    assert column(one(order_id="buy://BTC-USDT/1"), "fills", "shadow") == [True]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": ""}, "missing_field"),
        ({"trade_type": "RANGE"}, "bad_value"),
        ({"timestamp": "soon"}, "bad_value"),
        ({"exchange_trade_id": ""}, "missing_field"),
    ],
)
def test_a_bad_row_costs_only_itself(change, code):
    found = blocks(table([HB_TRADE, {**HB_TRADE, "exchange_trade_id": "x2", **change}]), "t.csv")
    assert (counts(found)[1], refused(found)) == (1, [(3, code)])


def test_the_database_tells_orders_and_funding(tmp_path):
    data = sqlite(str(tmp_path / "h"), {"TradeFill": [HB_STORED], "Order": [HB_ORDER], "FundingPayment": [HB_FUNDING]})
    found = blocks(data, "h.sqlite")
    rare = [x.record for b in found for x in b.rare]
    orders = [r for r in rare if isinstance(r, Order)]
    (paid,) = [r for r in rare if isinstance(r, Funding)]
    assert [(o.status, o.side) for o in orders] == [("submitted", "sell"), ("filled", "")]
    assert orders[0].quantity == 2.25
    assert (paid.amount, paid.currency, paid.strategy) == (0.75, "USDT", "pmm")


def test_numbers_stored_as_they_are_stay_as_they_are(tmp_path):
    data = sqlite(str(tmp_path / "h"), {"TradeFill": [{**HB_STORED, "price": "100.5", "amount": 2.25}]})
    found = blocks(data, "h.sqlite")
    assert (column(found, "fills", "price"), column(found, "fills", "quantity")) == ([100.5], [2.25])
