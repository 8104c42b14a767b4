"""Native records of every kind and field, decision logs and runs, money in several currencies: what they do to a report (contract, 2; measures, 1-2)."""

import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from e2e.box import DAY0, Box, Record, at, day_of, decision, fill, heartbeat, lines, mark, stamp, trades

CONFIG = """
reporting_currency = "USD"
[thresholds]
min_trades = 1
[symbols.ESZ6]
currency = "USD"
multiplier = 50
[symbols.XBTUSD]
base = "BTC"
currency = "USD"
inverse = true
multiplier = 1
[symbols."BTC-PERP"]
alias = "BTC/USD"
"""
END = at(20)


def pair(name: str, b: Record, live: Record) -> tuple[list[Record], list[Record]]:
    """One trade that differs from the usual one (1 at 100 in both books) by these fields."""
    return [decision(name, "1", at(6), **b)], [fill(name, "1", at(6, 0, 1), **live)]


USD = {"fee_currency": "USD"}
CASES: dict[str, tuple[list[Record], list[Record]]] = {
    "plain": pair("plain", {"fee": 1}, {"fee": 2}),
    "strings": pair("strings", {"fee": "1", "quantity": "1.0", "price": "100"}, {"fee": "2.0", "quantity": "1", "price": "100.00", **USD}),
    "rebate": pair("rebate", {"fee": 0}, {"fee": -0.5, **USD}),
    "epoch": ([{**decision("epoch", "1", at(6), fee=1), "ts": at(6).timestamp()}], [{**fill("epoch", "1", at(6), fee=2), "ts": f"{at(6).timestamp():.3f}"}]),
    "offset": pair("offset", {"fee": 1}, {"fee": 2, "ts": at(6).isoformat().replace("+00:00", "Z").replace("T06", "T11").replace("Z", "+05:00")}),
    "base-fee": pair("base-fee", {}, {"fee": 0.02, "fee_currency": "BTC"}),
    "third-priced": pair("third-priced", {}, {"fee": 0.01, "fee_currency": "BNB"}),
    "third-unpriced": pair("third-unpriced", {}, {"fee": 7, "fee_currency": "XYZ"}),
    "third-too-late": pair("third-too-late", {}, {"fee": 7, "fee_currency": "LATE"}),
    "contract": pair("contract", {"symbol": "ESZ6", "fee": 1}, {"symbol": "ESZ6", "fee": 3, "price": 101}),
    "own-multiplier": pair("own-multiplier", {"symbol": "NQ", "multiplier": 20, "currency": "USD"}, {"symbol": "NQ", "multiplier": 20, "currency": "USD", "price": 101}),
    "inverse": pair("inverse", {"symbol": "XBTUSD", "quantity": 100, "price": 50000}, {"symbol": "XBTUSD", "quantity": 100, "price": 40000, "side": "buy"}),
    "alias": pair("alias", {}, {"symbol": "BTC-PERP", "price": 101}),
    "dash": pair("dash", {"symbol": "ETH-EUR"}, {"symbol": "ETH-EUR", "price": 101}),
    "no-currency": pair("no-currency", {"symbol": "WHAT"}, {"symbol": "WHAT", "price": 101}),
    "fee-tells": pair("fee-tells", {"symbol": "ACME"}, {"symbol": "ACME", "price": 101, "fee": 0, "fee_currency": "USD"}),
    "record-tells": pair("record-tells", {"symbol": "ACMF/EUR", "currency": "USD"}, {"symbol": "ACMF/EUR", "currency": "USD", "price": 101}),
    "sold": pair("sold", {"action": "sell"}, {"side": "sell", "price": 99}),
    "closed": pair("closed", {"action": "close", "side": "sell"}, {"side": "sell", "price": 99}),
    "paid": pair("paid", {}, {}),
    "two-fills": ([decision("two-fills", "1", at(6), quantity=3)], [
        fill("two-fills", "1", at(6, 0, 1), order_id="o", quantity=1, price=101, fill_id="a", latency_ms=3),
        fill("two-fills", "1", at(6, 0, 5), order_id="o", quantity=2, price=104, fill_id="b", latency_ms=9),
    ]),
    "two-currencies": (
        [decision("two-currencies", "1", at(6)), decision("two-currencies", "2", at(7), symbol="SAP/EUR")],
        [fill("two-currencies", "1", at(6), price=101), fill("two-currencies", "2", at(7), symbol="SAP/EUR", price=101)],
    ),
    "two-unpriced": (
        [decision("two-unpriced", "1", at(6)), decision("two-unpriced", "2", at(7), symbol="SAP/CHF")],
        [fill("two-unpriced", "1", at(6), price=101), fill("two-unpriced", "2", at(7), symbol="SAP/CHF", price=101)],
    ),
    "not-filled": ([decision("not-filled", "1", at(6)), decision("not-filled", "2", at(7), filled=False), decision("not-filled", "3", at(8), action="hold")], [fill("not-filled", "1", at(6))]),
    "its-own-fills": (
        [decision("its-own-fills", "1", at(6), price=90), fill("its-own-fills", "1", at(6, 0, 1))], [fill("its-own-fills", "1", at(6, 0, 2), price=101)],
    ),
    "shadows": ([decision("shadows", "1", at(6))], [fill("shadows", "1", at(6)), fill("shadows", "2", at(7), shadow=True)]),
}  # fmt: skip


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, Record]:
    box = Box(tmp_path_factory.mktemp("records"), CONFIG)
    beats = [heartbeat(n, END) for n in CASES]
    prices = [
        mark(200, at(5, 30), "BNB/USD"), mark(300, at(6, 30), "BNB/USD"), mark(5, at(6, 30), "LATE/USD"), mark(1.25, at(5), "EUR/USD"), mark(100, at(19, 59)), mark(100, at(6)),
    ]  # fmt: skip
    paid = [
        {"kind": "funding", "strategy": "paid", "symbol": "BTC/USD", "amount": a, "ts": stamp(at(8, k)), "funding_id": f"{k}"}
        for k, a in enumerate((3, -1))
    ]
    rare = [
        {"kind": "order", "strategy": "plain", "symbol": "BTC/USD", "order_id": "o9", "status": "submitted", "ts": stamp(at(5, 59)), "side": "buy", "quantity": 1, "limit_price": 100},
        {"kind": "transfer", "strategy": "plain", "amount": 5, "ts": stamp(at(5))}, {"kind": "balance", "strategy": "plain", "equity": 1000, "ts": stamp(at(5)), "cash": 5},
        {"kind": "position", "strategy": "plain", "symbol": "BTC/USD", "quantity": 0, "ts": stamp(at(5)), "average_price": 1},
    ]  # fmt: skip
    box.drop("backtest", *(r for b, _ in CASES.values() for r in b), *beats, {**paid[0], "amount": 0.5})
    box.drop("live", *prices, *(r for _, live in CASES.values() for r in live), *beats, *paid, *rare)
    box.check(at(21))
    assert box.refused() == []
    return box, box.report()["strategies"]


def money(reported: tuple[Box, Record], name: str) -> Record:
    return dict(reported[1][name]["attribution"]["currency"])


@pytest.mark.parametrize(
    ("name", "component", "want"),
    [
        ("plain", "fee_impact", 1), ("strings", "fee_impact", 1), ("rebate", "fee_impact", -0.5), ("epoch", "fee_impact", 1), ("offset", "fee_impact", 1),
        ("base-fee", "fee_impact", 2), ("third-priced", "fee_impact", 2), ("third-unpriced", "fee_impact", 0), ("third-too-late", "fee_impact", 0),
        ("contract", "fee_impact", 2), ("contract", "slippage_impact", 50), ("own-multiplier", "slippage_impact", 20), ("alias", "slippage_impact", 1),
        ("dash", "slippage_impact", 1), ("fee-tells", "slippage_impact", 1), ("record-tells", "slippage_impact", 1), ("sold", "slippage_impact", 1),
        ("closed", "slippage_impact", 1), ("paid", "funding_impact", 1.5), ("two-fills", "slippage_impact", 9), ("two-currencies", "slippage_impact", 2.25),
        ("two-currencies", "total_pnl_diff", 2.25), ("its-own-fills", "slippage_impact", 1),
    ],
)  # fmt: skip
def test_money_is_counted_in_the_reporting_currency(reported: tuple[Box, Record], name: str, component: str, want: float) -> None:
    got = money(reported, name)[component]
    assert got is not None and math.isclose(got, want, abs_tol=1e-9), reported[1][name]


def test_every_pair_was_matched(reported: tuple[Box, Record]) -> None:
    for name in CASES:
        t = reported[1][name]["trades"]
        assert (
            t["matched"] == (2 if name.startswith("two-") and name != "two-fills" else 1)
            and not t["missed"] + t["unexpected"] + t["pending"]
        ), (name, t)


def test_an_unpriced_fee_is_left_out_counted_and_named(reported: tuple[Box, Record]) -> None:
    assert reported[1]["third-unpriced"]["unpriced_fees"] == 1 and reported[1]["third-too-late"]["unpriced_fees"] == 1
    assert reported[1]["third-priced"]["unpriced_fees"] == 0
    assert (
        reported[1]["third-unpriced"]["unpriced"] == {"XYZ": {"fees": 1, "amount": 7.0}} and reported[1]["third-priced"]["unpriced"] == {}
    )


def test_sums_over_currencies_that_cannot_be_converted_are_null_with_a_sum_for_each(reported: tuple[Box, Record]) -> None:
    a = reported[1]["two-unpriced"]["attribution"]
    assert a["currency"]["slippage_impact"] is None and a["total_pnl_diff_bps"] is None
    assert a["by_currency"]["USD"]["slippage_impact"] == 1 and a["by_currency"]["CHF"]["slippage_impact"] == 1


def test_an_inverse_contract_is_linear_in_one_over_price(reported: tuple[Box, Record]) -> None:
    """100 contracts of a dollar bought at 1/40,000 instead of 1/50,000 cost 0.0005 BTC less: the buyer is short of the base."""
    s = reported[1]["inverse"]
    d = -1 * (1 / 40000 - 1 / 50000) / (1 / 50000) * 1e4
    assert math.isclose(s["metrics"]["max_price_diff_bps"], d, abs_tol=1e-6)


def test_a_split_order_is_one_execution_with_its_slowest_latency(reported: tuple[Box, Record]) -> None:
    m = reported[1]["two-fills"]["metrics"]
    assert math.isclose(m["max_price_diff_bps"], 300, abs_tol=1e-6) and m["median_latency_ms"] == 9 and m["mean_timing_diff_ms"] == 1000


def test_a_decision_that_was_not_filled_or_holds_is_no_execution_and_shadow_fills_are_in_no_report(reported: tuple[Box, Record]) -> None:
    assert reported[1]["not-filled"]["trades"]["missed"] == 0 and reported[1]["shadows"]["trades"]["unexpected"] == 0


def test_a_fee_in_base_reduces_the_position(tmp_path: Path) -> None:
    box = Box(tmp_path)
    known = [
        {"kind": "position", "strategy": "s", "symbol": "BTC/USD", "quantity": q, "ts": stamp(at(5 + i))}
        for i, q in ((0, 0), (2, 0.98), (3, 0.98))
    ]
    box.drop("live", known[0], fill("s", "1", at(6), fee=0.02, fee_currency="BTC"), *known[1:], heartbeat("s", at(20, 59)))
    assert "position_mismatch" not in {f["code"] for f in box.check(at(21))["strategies"]["s"]["findings"]}


def test_a_bust_takes_a_fill_back_everywhere_and_reissues_its_report(tmp_path: Path) -> None:
    box = Box(tmp_path, "[thresholds]\nmin_trades = 1\n")
    decided, filled = trades("s", [10.0, 10.0, 40.0])
    box.drop("backtest", *decided, heartbeat("s", END))
    box.drop("live", *filled, heartbeat("s", END))
    box.check(at(21))
    first = box.report()
    assert first["revision"] == 1 and first["strategies"]["s"]["trades"]["matched"] == 3
    assert box.report()["revision"] == 1, "the same numbers are no revision"
    busted = filled[2]
    box.drop(
        "live",
        {"kind": "bust", "strategy": "s", "symbol": "BTC/USD", "fill_id": busted["fill_id"], "ts": stamp(at(20, 30)), "reason": "venue"},
    )
    box.check(at(21, 30))
    again = json.loads((box.data / f"parity_reports/parity_report_{DAY0}.json").read_text())
    s = again["strategies"]["s"]
    assert (
        again["revision"] == 2
        and s["trades"]["matched"] == 2
        and s["trades"]["missed"] == 1
        and math.isclose(s["metrics"]["tracking_error_bps"], 10, abs_tol=1e-6)
    )
    box.drop("live", {**busted}, heartbeat("s", at(20, 45)))
    assert box.check(at(21, 45))["strategies"]["s"]["trades"]["matched"] == 2, "a busted fill stays taken back"


def test_a_bust_may_come_before_its_fill(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop(
        "live", {"kind": "bust", "strategy": "s", "symbol": "BTC/USD", "fill_id": "f-s-1", "ts": stamp(at(6, 5))}, heartbeat("s", at(6, 6))
    )
    box.check(at(21))
    box.drop("live", fill("s", "1", at(6)))
    assert box.check(at(21))["strategies"]["s"]["trades"]["pending"] == 0


def test_a_split_changes_position_and_price_alike(tmp_path: Path) -> None:
    """Bought 10 at 100 in both books; four for one; sold 40 at 25: no position is left and nothing was lost."""
    box = Box(tmp_path, "[thresholds]\nmin_trades = 1\n")
    cut = {"kind": "split", "symbol": "ACME/USD", "ratio": 4, "ts": stamp(at(9))}
    own: dict[str, Any] = {"symbol": "ACME/USD"}
    box.drop(
        "backtest",
        decision("s", "1", at(6), quantity=10, **own),
        decision("s", "2", at(12), action="sell", quantity=40, price=25, **own),
        cut,
        heartbeat("s", END),
    )
    known = [
        {"kind": "position", "strategy": "s", "symbol": "ACME/USD", "quantity": q, "ts": stamp(at(h))}
        for h, q in ((5, 0), (10, 40), (13, 0))
    ]
    box.drop(
        "live",
        fill("s", "1", at(6), quantity=10, **own),
        fill("s", "2", at(12), side="sell", quantity=40, price=25, **own),
        cut,
        *known,
        mark(25, at(13), "ACME/USD"),
        heartbeat("s", END),
    )
    entry = box.check(at(21))["strategies"]["s"]
    assert "position_mismatch" not in {f["code"] for f in entry["findings"]}
    s = box.report()["strategies"]["s"]
    assert s["trades"]["matched"] == 2 and math.isclose(s["attribution"]["currency"]["total_pnl_diff"], 0, abs_tol=1e-9)


def log(run: str, decisions: list[Record], start: Any = None, end: Any = None, **other: Any) -> bytes:
    """A decision log of `s` over yesterday."""
    document = {
        "run_id": run, "strategy_name": "s", "symbol": "BTC/USD", "start_time": stamp(start or at(0)), "end_time": stamp(end or at(23)), "config": {}, "metrics": {},
        "decisions": decisions, **other,
    }  # fmt: skip
    return json.dumps(document).encode()


def logged(moment: Any, price: float, quantity: float = 1, action: str = "buy", *, filled: bool = True) -> Record:
    return {
        "context": {"timestamp": stamp(moment), "symbol": "BTC/USD", "current_mark": "100", "recent_marks": ["99", "100"], "position_state": None, "equity": "10000", "signal_label": "x"},
        "decision": {"action": action, "quantity": str(quantity), "target_notional": "100", "reason": "r", "guards": []},
        "execution": {"filled": filled, "fill_price": str(price) if filled else None, "filled_quantity": str(quantity) if filled else "0", "commission": "0.1", "slippage": "0"},
    }  # fmt: skip


def test_the_newest_run_replaces_what_it_covers(tmp_path: Path) -> None:
    """A log of a day; a re-run with another end; a stream beside both counts as the oldest run."""
    box = Box(tmp_path, "[thresholds]\nmin_trades = 1\n")
    box.drop("live", *(fill("s", None, at(6 + i, 0, 2), fill_id=f"{i}", price=101) for i in range(3)), heartbeat("s", at(23, 30)))
    box.drop("backtest", decision("s", None, at(6, 0, 1), price=50), decision("s", None, at(23, 10)))
    box.put("backtest", "first.json", log("r1", [logged(at(6 + i), 100) for i in range(3)], at(0), at(23)))
    s = box.check(at(23, 59))["strategies"]["s"]
    assert s["trades"]["matched"] == 3 and math.isclose(s["metrics"]["mean_price_diff_bps"], 100, abs_tol=1e-6), s["trades"]
    first = box.report()["revision"]
    box.put("backtest", "second.json", log("r2", [logged(at(6 + i), 101) for i in range(2)], at(0), at(23, 0, 30)))
    s = box.check(at(23, 59))["strategies"]["s"]
    assert s["trades"]["matched"] == 2 and s["trades"]["unexpected"] == 1 and s["metrics"]["mean_price_diff_bps"] == 0
    assert box.report()["revision"] == first + 1
    box.put("backtest", "older.json", log("r0", [logged(at(9), 77)], at(0), at(22)))
    again = box.check(at(23, 59))["strategies"]["s"]
    assert again["trades"] == s["trades"], "an older run replaces nothing"


def test_a_run_record_announces_a_run_of_native_records(tmp_path: Path) -> None:
    box = Box(tmp_path, "[thresholds]\nmin_trades = 1\n")
    run = {"kind": "run", "strategy": "s", "from": stamp(at(0)), "to": stamp(at(24))}
    box.drop("live", fill("s", "1", at(6), price=102), heartbeat("s", at(23)))
    box.put(
        "backtest",
        "old.jsonl",
        lines([{**run, "run_id": "a", "created": stamp(at(22))}, decision("s", "1", at(6), price=100), heartbeat("s", at(23))]),
    )
    assert math.isclose(box.check(at(23, 30))["strategies"]["s"]["metrics"]["mean_price_diff_bps"], 200, abs_tol=1e-6)
    box.put("backtest", "new.jsonl", lines([{**run, "run_id": "b", "created": stamp(at(23))}, decision("s", "1", at(6), price=102)]))
    s = box.check(at(23, 30))["strategies"]["s"]
    assert s["trades"]["matched"] == 1 and s["metrics"]["mean_price_diff_bps"] == 0 and box.refused() == []


def test_a_log_without_offsets_is_utc_without_guards_is_read_and_its_bad_decision_costs_only_itself(tmp_path: Path) -> None:
    box = Box(tmp_path, "[thresholds]\nmin_trades = 1\n")
    good = [logged(at(6), 100), logged(at(8), 100)]
    for g in good:
        g["context"]["timestamp"] = g["context"]["timestamp"].removesuffix("Z")
        del g["decision"]["guards"]
    bad = logged(at(7), 100, quantity=-1)
    box.put(
        "backtest",
        "log.json",
        log("r", [good[0], bad, good[1]], start_time=str(at(0).isoformat())[:19], end_time=str(at(23).isoformat())[:19]),
    )
    box.drop("live", fill("s", None, at(6), fill_id="1"), fill("s", None, at(8), fill_id="2"), heartbeat("s", at(23)))
    s = box.check(at(23, 30))["strategies"]["s"]
    assert s["trades"]["matched"] == 2 and len(box.refused()) == 1 and box.refused()[0]["code"] == "bad_value"


def test_a_trade_belongs_to_the_day_of_its_decision(tmp_path: Path) -> None:
    box = Box(tmp_path, "[thresholds]\nmin_trades = 1\n")
    box.drop("backtest", decision("s", "1", at(-0.01)), heartbeat("s", at(2)))
    box.drop("live", fill("s", "1", at(0.01)), heartbeat("s", at(2)))
    box.check(at(3))
    assert (
        box.report(day_of(at(-1)))["strategies"]["s"]["trades"]["matched"] == 1
        and box.report()["strategies"]["s"]["trades"]["matched"] == 0
    )


def test_imported_history_is_reported_and_asks_for_nothing(tmp_path: Path) -> None:
    box = Box(tmp_path)
    decided, filled = trades("s", [130.0, -130.0] * 8, start=at(6, day=-8))
    box.drop("backtest", *decided)
    box.drop("live", *filled)
    entry = box.check(at(21))["strategies"]["s"]
    assert entry["action"] == "CONTINUE" and entry["findings"] == []
    assert math.isclose(box.report(day_of(at(6, day=-8)))["strategies"]["s"]["metrics"]["tracking_error_bps"], 130, abs_tol=1e-6)
    twin = Box(tmp_path / "twin")
    twin.drop("backtest", *decided)
    twin.drop("live", *filled)
    assert twin.check(at(21, day=-8))["strategies"]["s"]["action"] == "EMERGENCY_STOP", "by the clock of the evaluation"


def test_csv_cells_may_be_empty(tmp_path: Path) -> None:
    box = Box(tmp_path)
    names = "kind,strategy,symbol,ts,action,fill_id,side,quantity,price,trade_id,fee,filled,reduce_only"
    rows = [
        f"decision,s,BTC/USD,{stamp(at(6))},buy,,,1,100,1,,true,", f"decision,s,BTC/USD,{at(7).timestamp():.0f},hold,,,,,,,,", f'decision,"s",BTC/USD,{stamp(at(8))},sell,,,1,100,2,0.1,True,',
    ]  # fmt: skip
    box.put("backtest", "d.csv", "\n".join([names, *rows]).encode() + b"\n")
    box.put("live", "f.csv", f"{names}\nfill,s,BTC/USD,{stamp(at(6) + timedelta(seconds=1))},,a,buy,1,100,1,,,false\n".encode())
    entry = box.check(at(12))["strategies"]["s"]
    assert box.refused() == [] and entry["trades"]["matched"] == 1


def test_a_quantity_that_no_ledger_can_hold_costs_only_itself(tmp_path: Path) -> None:
    """Each alone, and several that only add up to it; the next check still works."""
    box = Box(tmp_path)
    huge = [fill("s", f"h{i}", at(5, i), symbol="PEPE/USD", quantity=q, price=1e-6) for i, q in enumerate((1e11, 1.5e11, 1e18, 1e300))]
    sums = [fill("s", f"m{i}", at(5, 10 + i), symbol="SHIB/USD", quantity=1.5e10, price=1e-6) for i in range(4)]
    good = trades("s", [3.0, -3.0] * 6)
    box.drop("backtest", *good[0], decision("s", "h", at(5), symbol="PEPE/USD", quantity=1e12, price=1e-6), heartbeat("s", at(20, 50)))
    box.drop("live", *huge, *sums, *good[1], heartbeat("s", at(20, 50)))
    box.check(at(21))
    entry = box.check(at(21))["strategies"]["s"]
    assert entry["trades"]["matched"] == 12 and entry["trades"]["unexpected"] == 3
    assert len(box.refused()) == 6 and not box.set_aside() and not box.spooled()
