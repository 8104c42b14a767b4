"""freqtrade: results and live trades of real pairs, and each rule on a small trade."""

import copy
import json
import sqlite3
from math import isnan
from pathlib import Path

import pytest
from formats.samples import (
    FT_API_EXIT,
    FT_API_ORDER,
    FT_API_TRADE,
    FT_EXIT,
    FT_ORDER,
    FT_TRADE,
    MS,
    blocks,
    column,
    counts,
    ft_result,
    ft_tables,
    lines,
    refused,
    said,
    sqlite,
)

from parityd.core.records import Funding, Heartbeat, Run
from parityd.formats import Context, Source, Unreadable, read
from parityd.formats.sqlite import snapshot

DATA = Path(__file__).parents[3] / "shared" / "data" / "freqtrade"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real exports are not here")
NS = 10**6


def of(path: Path, book: str, **k):
    with path.open("rb") as f:
        return list(read(f, Context(book=book, name=path.name, **k)))


def result(document, book="backtest"):
    return blocks(json.dumps(document).encode(), "backtest-result.json", book)


def rare(found, kind):
    return [x for b in found for x in b.rare if isinstance(x.record, kind)]


CASES = {"spot_btc_a": (690, 1695, 661, 1770, 537), "futures_xrp": (90, 200, 84, 230, 63)}


@needs_data
@pytest.mark.parametrize("case", CASES)
def test_the_counts_of_the_real_pairs_are_met(case):
    folder, (trades, orders, live_trades, live_orders, _) = DATA / case, CASES[case]
    back = of(next(folder.glob("backtest/*.zip")), "backtest")
    assert (counts(back)[0], refused(back)) == (orders, [])
    assert len({t.partition("#")[0] for t in column(back, "decisions", "trade_id")}) == trades
    api, database = of(folder / "live/api_trades.jsonl.gz", "live"), of(folder / "live/tradesv3.sqlite", "live")
    assert (counts(api)[1], refused(api), refused(database)) == (live_orders, [], [])
    assert said(api) == said(database)
    assert sum(not isnan(a) for a in column(api, "fills", "arrival_mark")) == live_trades


@needs_data
@pytest.mark.parametrize("case", CASES)
def test_the_overlapping_trades_of_the_real_pairs_meet_in_time(case):
    folder, expected = DATA / case, CASES[case][4]
    back = of(next(folder.glob("backtest/*.zip")), "backtest")
    firsts = {
        (s, side, ts)
        for s, side, ts, t in zip(*(column(back, "decisions", n) for n in ("symbol", "side", "ts", "trade_id")), strict=True)
        if t.endswith("#0")
    }
    live = of(folder / "live/api_trades.jsonl.gz", "live")
    rows = list(zip(*(column(live, "fills", n) for n in ("symbol", "side", "decision_ts", "arrival_mark")), strict=True))
    assert sum((s, side, at) in firsts for s, side, at, mark in rows if not isnan(mark)) >= expected


@needs_data
def test_an_unpacked_result_says_what_its_zip_says():
    folder = DATA / "spot_btc_a" / "backtest"
    assert said(of(folder / "backtest-result.json", "backtest")) == said(of(next(folder.glob("*.zip")), "backtest"))


@needs_data
def test_results_without_orders_give_an_entry_and_an_exit():
    found = of(DATA / "repo_testdata" / "backtest-result.json", "backtest")
    assert (counts(found)[0], refused(found)) == (358, [])
    assert column(found, "decisions", "fee")[0] == pytest.approx(0.0025 * 9.64e-05 * 10.37344398340249)


def test_a_result_is_a_run_with_its_span_and_its_watermark():
    found = result(ft_result())
    (run,), (pulse,) = rare(found, Run), rare(found, Heartbeat)
    assert (run.record.strategy, run.record.run_id) == ("Demo", "Demo@2026-11-20T18:40:05.000000Z")
    assert run.record.from_ == "2026-11-20T09:15:00.000000Z"
    assert run.record.to == "2026-11-20T11:30:00.000000Z"  # the last candle to its end
    assert pulse.ts == (MS + 3_600_000 + 900_000) * NS
    assert set(column(found, "decisions", "run_id")) == {"Demo@2026-11-20T18:40:05.000000Z"}


def test_orders_of_a_result_are_decisions_at_the_open_of_their_candle():
    found = result(ft_result())
    got = {n: column(found, "decisions", n) for n in ("symbol", "side", "ts", "price", "quantity", "fee", "filled", "currency", "reason")}
    assert got == {
        "symbol": ["XRP/USDT:USDT"] * 2, "side": [1, -1], "ts": [MS * NS, (MS + 900_000) * NS], "price": [100.0, 110.0], "quantity": [10.0, 10.0],
        "fee": [1.0, 2.2], "filled": [1, 1], "currency": ["USDT"] * 2, "reason": ["dip", "roi"],
    }  # fmt: skip


def test_adjustments_and_partial_exits_are_decisions_of_their_own():
    trade = {**FT_TRADE, "orders": [FT_ORDER, FT_ORDER, FT_EXIT, {**FT_EXIT, "order_filled_timestamp": None}, FT_EXIT]}
    found = result(ft_result([trade]))
    assert (counts(found)[0], refused(found)) == (4, [])
    assert len(set(column(found, "decisions", "key"))) == 4


def test_a_short_without_orders_is_sold_and_bought_back():
    trade = {**FT_TRADE, "orders": None, "is_short": True, "open_timestamp": float(MS)}
    assert column(result(ft_result([trade])), "decisions", "side") == [-1, 1]
    still = {**trade, "is_open": True, "close_timestamp": None, "close_date": None}
    assert column(result(ft_result([still])), "decisions", "side") == [-1]


def test_several_strategies_are_several_runs():
    document = ft_result()
    document["strategy"]["Other"] = copy.deepcopy(document["strategy"]["Demo"])
    found = result(document)
    assert sorted(r.record.strategy for r in rare(found, Run)) == ["Demo", "Other"]
    assert counts(found)[0] == 4
    assert len(set(column(found, "decisions", "line"))) == 2


def test_funding_is_paid_when_the_engine_says_it_lost():
    (paid,) = rare(result(ft_result()), Funding)
    assert (paid.record.amount, paid.record.currency, paid.ts) == (0.5, "USDT", (MS + 900_000) * NS)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"pair": None}, "missing_field"), ({"orders": [{**FT_ORDER, "safe_price": None}]}, "missing_field"), ({"orders": [{**FT_ORDER, "amount": "x"}]}, "bad_value"),
     ({"orders": [{**FT_ORDER, "ft_order_side": "stoploss"}]}, "bad_value"), ({"orders": [5]}, "bad_value"), ({"open_timestamp": None, "open_date": "x"}, "bad_value")],
)  # fmt: skip
def test_a_bad_trade_of_a_result_costs_only_itself(change, code):
    found = result(ft_result([FT_TRADE, {**FT_TRADE, **change}]))
    assert refused(found) == [(2, code)]
    assert counts(found)[0] == 2
    assert all(r.raw for b in found for r in b.refusals)


@pytest.mark.parametrize("change", [{"backtest_start_ts": None}, {"backtest_run_end_ts": "x"}, {"trades": 5}])
def test_a_result_without_its_span_is_unreadable(change):
    with pytest.raises(Unreadable):
        result(ft_result(**change))


def test_a_live_order_is_one_fill_at_its_time_decided_at_its_candle():
    found = blocks(lines(FT_API_TRADE))
    names = (
        "fill_id",
        "order_id",
        "side",
        "quantity",
        "price",
        "ts",
        "decision_ts",
        "fee",
        "fee_currency",
        "currency",
        "venue",
        "order_type",
        "arrival_mark",
        "trade_id",
    )
    assert [column(found, "fills", n)[0] for n in names] == [
        "o-1#10", "o-1", 1, 10.0, 100.0, (MS + 9_456) * NS, MS * NS, 1.0, "USDT", "USDT", "binance", "limit", 99.5, ""
    ]  # fmt: skip
    assert column(found, "fills", "fee")[1] == pytest.approx(2.2)
    assert column(found, "fills", "arrival_mark")[1] == 110.5
    assert column(found, "fills", "decision_ts")[1] == (MS + 900_000) * NS
    assert [(x.record.order_id, x.record.status) for b in found for x in b.rare if x.record.__class__.__name__ == "Order"] == [
        ("o-1", "submitted"), ("o-1", "filled"), ("o-2", "submitted"), ("o-2", "filled")
    ]  # fmt: skip


def with_orders(*orders, **k):
    return blocks(lines({**FT_API_TRADE, "orders": list(orders), **k}))


def test_an_open_order_has_no_fill_yet_and_a_cancelled_one_has_what_it_filled():
    assert counts(with_orders({**FT_API_ORDER, "status": "open", "is_open": True, "filled": 4.0}))[1] == 0
    found = with_orders({**FT_API_ORDER, "status": "canceled", "filled": 4.0})
    assert column(found, "fills", "fill_id") == ["o-1#4"]
    assert counts(with_orders({**FT_API_ORDER, "status": "canceled", "filled": 0.0}))[1] == 0


def test_a_fee_from_the_base_currency_is_told_in_it():
    found = with_orders({**FT_API_ORDER, "ft_fee_base": 0.01})
    assert (column(found, "fills", "fee"), column(found, "fills", "fee_currency")) == ([0.01], ["XRP"])


def test_a_stop_of_the_exchange_is_an_exit():
    found = with_orders(FT_API_ORDER, {**FT_API_EXIT, "ft_order_side": "stoploss"})
    assert column(found, "fills", "side") == [1, -1]
    assert column(
        with_orders({**FT_API_ORDER, "ft_order_side": "sell"}, {**FT_API_EXIT, "ft_order_side": "stoploss"}, is_short=True), "fills", "side"
    ) == [-1, 1]


def test_what_is_not_known_stays_absent():
    found = with_orders(FT_API_ORDER, timeframe=None, open_rate_requested=None, fee_open=None)
    assert column(found, "fills", "decision_ts")[0] < 0
    assert all(isnan(v) for n in ("arrival_mark", "fee", "arrival_bid", "decision_mark", "latency_ms") for v in column(found, "fills", n))


def test_a_timeframe_that_the_trade_does_not_name_may_be_the_sources():
    unknown = lines({**FT_API_TRADE, "timeframe": None})
    assert column(blocks(unknown, source=Source(name="x", timeframe="1h")), "fills", "decision_ts")[0] == (MS - 900_000) * NS


def test_trades_of_no_strategy_name_the_key_that_is_missing():
    nameless = lines({**FT_API_TRADE, "strategy": ""})
    with pytest.raises(Unreadable) as e:
        blocks(nameless)
    assert "[sources.<name>] strategy" in e.value.reason
    found = blocks(nameless, source=Source(name="x", strategy="mine"))
    assert column(found, "fills", "strategy") == ["mine", "mine"]


def test_an_order_whose_trade_is_gone_is_refused(tmp_path):
    tables = ft_tables()
    tables["orders"].append({**tables["orders"][0], "ft_trade_id": 99})
    found = blocks(sqlite(str(tmp_path / "t"), tables), "t.sqlite")
    assert [c for _, c in refused(found)] == ["bad_value"]
    assert counts(found)[1] == 2


def test_a_database_in_use_is_copied_as_it_is_at_one_moment(tmp_path):
    path, copy_ = tmp_path / "live.sqlite", tmp_path / "copy.sqlite"
    sqlite(str(path), ft_tables())
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("DELETE FROM orders WHERE order_id = 'o-2'")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM orders")  # not committed
    assert snapshot(path, copy_) is True
    writer.execute("ROLLBACK")
    writer.close()
    assert column(of(copy_, "live"), "fills", "order_id") == ["o-1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.sqlite", "live.sqlite"]


def test_a_database_that_stays_busy_gives_no_copy(tmp_path):
    path = tmp_path / "live.sqlite"
    sqlite(str(path), ft_tables())
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert snapshot(path, tmp_path / "copy", busy_seconds=0.05) is False
    writer.execute("ROLLBACK")
    writer.close()
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("content", [b"not a database at all, really not" * 40, None])
def test_what_is_no_database_is_unreadable(tmp_path, content):
    path = tmp_path / "x.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unreadable):
        snapshot(path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_dropped_database_in_wal_mode_is_read(tmp_path):
    path = tmp_path / "w.sqlite"
    sqlite(str(path), ft_tables())
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.close()
    assert counts(of(path, "live"))[1] == 2
    assert counts(blocks(path.read_bytes(), "w.sqlite"))[1] == 2
