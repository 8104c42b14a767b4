"""NautilusTrader's exports: every file of the real pairs, against an independent reading of the same files."""

import json
from math import isnan
from pathlib import Path

import pytest
from formats.samples import NAUTILUS_EVENTS, NAUTILUS_FILL, NAUTILUS_ORDER, blocks, column, counts, lines, refused, said
from golden import exports as golden

from parityd.core.records import Order
from parityd.formats import Context, read

CASES = golden.EXPORTS
SIDES = [p for case in sorted(CASES.glob("*")) for p in (case / "backtest", case / "live") if p.is_dir()] if CASES.exists() else []
needs_data = pytest.mark.skipif(not SIDES, reason="the real exports are not here")


def of(path: Path, book: str):
    with path.open("rb") as f:
        return list(read(f, Context(book=book, name=path.name)))


@needs_data
@pytest.mark.parametrize("side", SIDES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_fills_are_those_of_an_independent_reading_whatever_the_file(side):
    expected = said(blocks(lines(*golden.book(side, events=False)), book=side.name))[1]
    assert expected
    for path in sorted(side.glob("fills_report*")):
        if "pandas_default" not in path.name:  # milliseconds only
            found = of(path, side.name)
            assert refused(found) == []
            assert said(found)[1] == expected, path.name
    events = of(side / "order_events.jsonl.gz", side.name)
    assert refused(events) == []
    assert said(events)[1] == expected


@needs_data
@pytest.mark.parametrize("side", SIDES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_counts_of_every_file_are_those_of_its_run(side):
    rows = json.loads((side / "run.json").read_text())["rows"]
    fills = counts(of(next(side.glob("fills_report.csv*")), side.name))
    assert fills == (0, rows["fills_report"], 0)
    for name in ("positions_report", "account_report"):
        for path in side.glob(f"{name}.*"):
            found = of(path, side.name)
            assert (counts(found), refused(found)) == ((0, 0, 0), [])
    for path in side.glob("order*_report.*"):
        found = of(path, side.name)
        assert refused(found) == []
        submitted = [x for b in found for x in b.rare if x.record.status == "submitted"]
        assert len(submitted) == rows[path.name.split(".")[0]]


@needs_data
@pytest.mark.parametrize("side", SIDES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_states_of_orders_are_those_of_an_independent_reading(side):
    expected = sorted((r["order_id"], r["status"], r["ts"]) for r in golden.orders(golden.order_events(side)))
    found = of(side / "order_events.jsonl.gz", side.name)
    assert sorted((x.record.order_id, x.record.status, x.record.ts) for b in found for x in b.rare) == expected
    made = column(found, "decisions", "quantity")
    begun = [e for e in golden.order_events(side) if e["type"] == "OrderInitialized"]
    assert sum(made) == pytest.approx(sum(float(e["quantity"]) for e in begun))
    assert len(made) == len({(e["instrument_id"], e["ts_init"] // 1000, e["order_side"], e["reduce_only"]) for e in begun})


def test_a_fill_is_what_the_engine_said():
    found = blocks(lines(NAUTILUS_FILL))
    got = {n: column(found, "fills", n)[0] for n in ("strategy", "symbol", "venue", "fill_id", "order_id", "trade_id", "side", "quantity", "price", "fee",
                                                     "fee_currency", "currency", "liquidity", "order_type", "account", "ts", "decision_ts")}  # fmt: skip
    assert got == {
        "strategy": "QuoteMom-ES", "symbol": "GBP/USD", "venue": "FXCM", "fill_id": "V-1-001", "order_id": "O-20231225-230002-001-ES-1", "trade_id": "",
        "side": 1, "quantity": 8.0, "price": 4801.5, "fee": 47.28, "fee_currency": "USD", "currency": "USD", "liquidity": 2, "order_type": "market",
        "account": "GLBX-001", "ts": 1703545202123456000, "decision_ts": 1703545202000000000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said_time", "ns"),
    [("2023-12-25 23:00:02+00:00", 1703545202 * 10**9), ("2023-12-25T23:00:02.123456789Z", 1703545202123456000), (1703545202123456789, 1703545202123456000),
     (1703545202123456, 1703545202123456000), (1703545202123, 1703545202123000000), (1703545202, 1703545202 * 10**9), ("1703545202123456789", 1703545202123456000)],
)  # fmt: skip
def test_times_come_in_every_unit(said_time, ns):
    assert column(blocks(lines({**NAUTILUS_FILL, "ts_event": said_time})), "fills", "ts") == [ns]


@pytest.mark.parametrize(
    ("order_id", "decided"),
    [
        ("O-20231225-230002-001-ES-1", 1703545202 * 10**9),
        ("O-20231225-230003-001-ES-1", None),
        ("O-20231332-230002-1", None),
        ("6a1b", None),
        ("XO-20231225-230002-1", None),
    ],
)
def test_the_decision_time_is_the_one_in_the_order_id_if_any(order_id, decided):
    (found,) = column(blocks(lines({**NAUTILUS_FILL, "client_order_id": order_id})), "fills", "decision_ts")
    assert (found if found > 0 else None) == decided


@pytest.mark.parametrize(
    ("commission", "fee", "currency"),
    [
        ("-1.5 USDT", -1.5, "USDT"),
        ("1_000.5 JPY", 1000.5, "JPY"),
        ("1,000 JPY", 1000.0, "JPY"),
        ("0.00 USD", 0.0, "USD"),
        ("None", None, ""),
        (None, None, ""),
    ],
)
def test_commissions_are_an_amount_and_a_currency(commission, fee, currency):
    found = blocks(lines({**NAUTILUS_FILL, "commission": commission}))
    (got,) = column(found, "fills", "fee")
    assert (None if isnan(got) else got, column(found, "fills", "fee_currency")) == (fee, [currency])


@pytest.mark.parametrize(
    ("change", "code"),
    [({"last_px": None}, "missing_field"), ({"last_px": "x"}, "bad_value"), ({"last_qty": "0"}, "bad_value"), ({"order_side": "NONE"}, "bad_value"),
     ({"commission": "free"}, "bad_value"), ({"trade_id": ""}, "missing_field"), ({"ts_event": None}, "missing_field"), ({"ts_event": "x"}, "bad_value"),
     ({"strategy_id": None}, "missing_field"), ({"reconciliation": "perhaps"}, "bad_value")],
)  # fmt: skip
def test_a_row_that_is_not_right_costs_only_itself(change, code):
    found = blocks(lines(NAUTILUS_FILL, {**NAUTILUS_FILL, "trade_id": "2", **change}))
    assert (counts(found), refused(found)) == ((0, 1, 0), [(2, code)])


def test_fills_of_a_reconciliation_are_no_executions():
    assert counts(blocks(lines(NAUTILUS_FILL, {**NAUTILUS_FILL, "trade_id": "S-2", "reconciliation": True}))) == (0, 1, 0)
    assert counts(blocks(lines(*NAUTILUS_EVENTS[:3], {**NAUTILUS_EVENTS[3], "reconciliation": True}))) == (1, 0, 1)


def test_decisions_of_one_moment_are_one_and_children_are_nobodys():
    begun = NAUTILUS_EVENTS[0]
    rows = [begun, {**begun, "client_order_id": "2"}, {**begun, "client_order_id": "3", "parent_order_id": "2"}, {**begun, "client_order_id": "4", "exec_spawn_id": "2"},
            {**begun, "client_order_id": "5", "exec_spawn_id": "5", "order_side": "SELL", "reduce_only": True}]  # fmt: skip
    found = blocks(lines(*rows))
    assert column(found, "decisions", "quantity") == [16.0, 8.0]
    assert column(found, "decisions", "action") == [1, 2]
    assert column(found, "decisions", "side") == [1, -1]
    assert all(isnan(p) for p in column(found, "decisions", "price"))


def test_an_order_is_filled_when_its_fills_reach_its_quantity():
    half = {**NAUTILUS_EVENTS[3], "last_qty": "4"}
    found = blocks(lines(*NAUTILUS_EVENTS[:2], {**half, "trade_id": "1"}, {**half, "trade_id": "2"}))
    assert [(x.line, x.record.status) for b in found for x in b.rare] == [(2, "submitted"), (4, "filled")]
    first = next(x.record for b in found for x in b.rare)
    assert isinstance(first, Order)
    assert (first.side, first.quantity, first.limit_price) == ("buy", 8.0, 4801.5)


def test_the_order_report_says_the_same_as_the_events():
    events = [repr((x.ts, x.record)) for b in blocks(lines(*NAUTILUS_EVENTS)) for x in b.rare]
    assert [repr((x.ts, x.record)) for b in blocks(lines(NAUTILUS_ORDER)) for x in b.rare] == events


def test_unknown_events_and_columns_are_passed_over():
    rows = [*NAUTILUS_EVENTS, {"type": "OrderFrobnicated", "client_order_id": "x", "strategy_id": "s"}]
    assert said(blocks(lines(*rows))) == said(blocks(lines(*NAUTILUS_EVENTS)))
    assert said(blocks(lines({**NAUTILUS_FILL, "new": 1}))) == said(blocks(lines(NAUTILUS_FILL)))
