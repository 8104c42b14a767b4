"""The report of a day: every field as the contract names it, null where nothing was measured, the worked example, the headline (contract 9, measures 1-6)."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from e2e.box import DAY0, Box, Record, at, day_of, decision, fill, heartbeat, mark, stamp, trades

STRATEGY = {
    "level", "grade", "quality_score", "quality_grade", "action", "evidence", "findings", "trades", "matched_by", "metrics", "attribution", "coverage", "markouts",
    "worst_trades", "drift", "performance", "unpriced_fees", "unmarked", "mark_age", "streaks",
}  # fmt: skip
JUDGES = {"level", "grade", "action", "findings", "streaks"}
TRADES = {"matched", "missed", "unexpected", "pending", "suppressed", "ambiguous"}
METRICS = {
    "match_rate", "tracking_error_bps", "mean_price_diff_bps", "std_price_diff_bps", "max_price_diff_bps", "mean_fee_diff_bps", "mean_timing_diff_ms", "median_latency_ms",
    "correlation", "hit_rate", "decision_parity", "action_parity", "tracking_error_returns_bps", "cumulative_drift_bps",
}  # fmt: skip
COMPONENTS = {
    "slippage_impact", "market_impact", "fee_impact", "funding_impact", "timing_impact", "data_impact", "sizing_impact", "model_impact", "carry_impact", "total_pnl_diff",
    "action_impact",
}  # fmt: skip
REFERENCES = {"decision_mark": 100.02, "arrival_mark": 100.05, "arrival_bid": 100, "arrival_ask": 100.10, "fee_currency": "USD"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, Record]:
    box = Box(tmp_path_factory.mktemp("report"), '[thresholds]\nmin_trades = 1\n[strategies.won]\ncalendar = "XNYS"\n')
    own: dict[str, Any] = {"symbol": "ACME/USD"}
    book = [decision("worked", "1", at(12), quantity=10, price="100.10", fee="1.001", mark="100.00", **own)]
    live = [
        fill("worked", "1", at(12, 1), fill_id="a", quantity=6, price="100.12", fee="0.8", **own, **REFERENCES),
        fill("worked", "1", at(12, 2), fill_id="b", quantity=3, price="100.15", fee="0.4", **own, **REFERENCES), mark(101, at(12, 30), "ACME/USD"),
    ]  # fmt: skip
    book += [decision("bare", "1", at(12), quantity=10, price="100.10", fee="1.001", mark="100.00", symbol="ACMF/USD")]
    live += [
        fill("bare", "1", at(12, 1), quantity=9, price="100.13", fee="1.2", symbol="ACMF/USD", fee_currency="USD"),
        mark(101, at(12, 30), "ACMF/USD"),
    ]
    book += [decision("one-sided", "missed", at(6), quantity=2, fee=1, symbol="ONE/USD")]
    live += [fill("one-sided", "x", at(8), quantity=3, price=110, fee=2, side="sell", symbol="ONE/USD"), mark(105, at(10), "ONE/USD")]
    book += [decision("won", str(i), at(h, day=d), action=a, price=p, symbol="W/USD") for i, (d, h, a, p) in enumerate(ROUND)]
    live += [
        fill(
            "won",
            str(i),
            at(h, 0, 1, day=d),
            side=a,
            price=p,
            symbol="W/USD",
            fee=0.1,
            fee_currency="USD",
            liquidity="taker" if i % 2 else "maker",
            agent="red",
        )
        for i, (d, h, a, p) in enumerate(ROUND)
    ]
    live += [
        {"kind": "order", "strategy": "won", "symbol": "W/USD", "order_id": f"o{i}", "status": x, "ts": stamp(at(9, i))}
        for i, x in enumerate(("filled", "filled", "cancelled", "rejected"))
    ]
    live += [mark(100.4, at(12, 2), "ACMF/USD"), mark(100.5, at(12, 6), "ACMF/USD")]
    names = ("worked", "bare", "one-sided", "won", "silent")
    box.drop("backtest", *book, *(heartbeat(n, at(23)) for n in names))
    box.drop("live", *live, *(heartbeat(n, at(23)) for n in names))
    box.check(at(23, 10))
    return box, box.report()


ROUND = [(-1, 20, "buy", 100), (0, 6, "sell", 110), (0, 8, "buy", 100), (0, 10, "sell", 95)]


def test_the_head_and_every_field_are_there(written: tuple[Box, Record]) -> None:
    report = written[1]
    assert {"schema", "day", "revision", "generated_at", "headline", "strategies", "portfolio"} <= set(report)
    assert report["schema"] == "parityd/report/1" and report["day"] == DAY0.isoformat() and report["revision"] == 1
    for name, s in {**report["strategies"], "portfolio": report["portfolio"]}.items():
        wanted = STRATEGY - JUDGES if name == "portfolio" else STRATEGY
        assert wanted <= set(s), (name, wanted - set(s))
        assert set(s["trades"]) >= TRADES and set(s["metrics"]) >= METRICS, (name, METRICS - set(s["metrics"]))
        assert set(s["attribution"]["currency"]) >= COMPONENTS and {f"{c}_bps" for c in COMPONENTS} <= set(s["attribution"]), name
    assert not JUDGES & set(report["portfolio"])


def test_what_was_not_measured_is_null_and_a_count_is_zero(written: tuple[Box, Record]) -> None:
    s = written[1]["strategies"]["silent"]
    assert all(v is None for v in s["metrics"].values()), s["metrics"]
    assert all(v == 0 for v in s["trades"].values()) and s["unpriced_fees"] == 0 and s["worst_trades"] == []


def test_the_worked_example(written: tuple[Box, Record]) -> None:
    s = written[1]["strategies"]["worked"]
    want = {
        "data_impact": 0.18,
        "timing_impact": 0.27,
        "slippage_impact": -0.45,
        "market_impact": 0.27,
        "fee_impact": 0.2991,
        "sizing_impact": 0.7999,
        "total_pnl_diff": 1.369,
    }
    for name, value in want.items():
        assert math.isclose(s["attribution"]["currency"][name], value, abs_tol=1e-9), name
        assert math.isclose(s["attribution"][f"{name}_bps"], value / 1001 * 1e4, abs_tol=1e-6), name
    assert s["attribution"]["currency"]["action_impact"] == 0 and math.isclose(
        s["metrics"]["max_price_diff_bps"], 2.9970029970, abs_tol=1e-6
    )
    assert (
        math.isclose(s["metrics"]["mean_fee_diff_bps"], 0.2991 / (9 * 100.10) * 1e4, abs_tol=1e-6)
        and s["metrics"]["mean_timing_diff_ms"] == 60000
    )
    assert s["metrics"]["std_price_diff_bps"] is None and s["metrics"]["median_latency_ms"] is None


def test_merged_links_leave_the_total_as_it_is_and_coverage_says_so(written: tuple[Box, Record]) -> None:
    s = written[1]["strategies"]["bare"]
    c = s["attribution"]["currency"]
    assert (
        c["data_impact"] is None
        and c["timing_impact"] is None
        and c["market_impact"] is None
        and math.isclose(c["slippage_impact"], 0.27, abs_tol=1e-9)
    )
    assert math.isclose(c["total_pnl_diff"], 1.369, abs_tol=1e-9)
    links = ("data_impact", "timing_impact", "slippage_impact", "market_impact")
    assert [written[1]["strategies"]["worked"]["coverage"][k] for k in links] == [1, 1, 1, 1]
    assert [s["coverage"][k] for k in links] == [0, 0, 1, 0]


def test_one_sided_trades_are_model_impact(written: tuple[Box, Record]) -> None:
    """Missed: 2 (105 - 100) - 1; unexpected: 2 - (-1) 3 (105 - 110) ... a sale at 110 that stands at 105 has earned 15, less its fee."""
    c = written[1]["strategies"]["one-sided"]["attribution"]["currency"]
    assert math.isclose(c["model_impact"], (2 * 5 - 1) + (2 - 15), abs_tol=1e-9) and math.isclose(c["total_pnl_diff"], -4, abs_tol=1e-9)
    worst = written[1]["strategies"]["one-sided"]["worst_trades"]
    assert len(worst) == 1 and math.isclose(worst[0]["total_pnl_diff"], 9, abs_tol=1e-9)


def test_performance_counts_round_trips_that_close_in_the_day(written: tuple[Box, Record]) -> None:
    """Bought the evening before at 100, sold at 110; bought at 100, sold at 95."""
    p = written[1]["strategies"]["won"]["performance"]
    assert p["round_trips"] == 2 and p["win_rate"] == 0.5, p
    assert (
        math.isclose(p["profit_factor"], 9.8 / 5.2, abs_tol=1e-9) and p["fill_rate"] == 0.5 and math.isclose(p["fees"], 0.3, abs_tol=1e-9)
    )
    assert p["agents"]["red"]["round_trips"] == 2


def test_the_portfolio_adds_up(written: tuple[Box, Record]) -> None:
    report = written[1]
    total = sum(s["attribution"]["currency"]["total_pnl_diff"] or 0 for s in report["strategies"].values())
    assert math.isclose(report["portfolio"]["attribution"]["currency"]["total_pnl_diff"], total, abs_tol=1e-9)
    assert report["portfolio"]["trades"]["matched"] == sum(s["trades"]["matched"] for s in report["strategies"].values())


def test_the_headline_is_one_sentence_of_money(written: tuple[Box, Record]) -> None:
    said = written[1]["headline"]
    assert said.count("\n") == 0 and "95 %" in said and "xecution" in said and "pportunity" in said and "unding" in said, said


def test_the_files_are_what_was_printed(written: tuple[Box, Record]) -> None:
    box, report = written
    folder = box.data / "parity_reports"
    assert json.loads((folder / f"parity_report_{DAY0}.json").read_text()) == report
    html = (folder / f"parity_report_{DAY0}.html").read_text()
    assert "<html" in html and "worked" in html and "http://" not in html.replace("http://www.w3.org", "") and "<script src" not in html


def test_markouts_are_by_maker_and_taker_and_null_without_marks(written: tuple[Box, Record]) -> None:
    assert written[1]["strategies"]["bare"]["markouts"] is not None
    found = json.dumps(written[1]["strategies"]["bare"]["markouts"])
    assert "maker" in found and "taker" in found


def test_late_records_reissue_the_day_at_most_once_a_check(tmp_path: Path) -> None:
    box = Box(tmp_path)
    decided, filled = trades("s", [4.0] * 12)
    box.drop("backtest", *decided, heartbeat("s", at(20)))
    box.drop("live", *filled[:8], heartbeat("s", at(20)))
    box.check(at(21))
    assert box.report()["strategies"]["s"]["trades"]["missed"] == 4
    box.drop("live", *filled[8:10])
    box.drop("live", *filled[10:])
    box.check(at(22))
    again = json.loads((box.data / f"parity_reports/parity_report_{DAY0}.json").read_text())
    assert again["revision"] == 2 and again["strategies"]["s"]["trades"]["matched"] == 12
    assert [x["data"]["revision"] for x in box.audit() if x["event"] == "report.written"] == [1, 2]
    assert box.report(day_of(at(-30)))["strategies"]["s"]["trades"]["matched"] == 0, "a day without trades has a report as well"


def test_what_is_drawn_adds_up_to_what_is_said(written: tuple[Box, Record]) -> None:
    _, report = written
    for name, s in report["strategies"].items():
        money = s["attribution"]["currency"]
        total = (money["total_pnl_diff"] or 0) - (money["funding_impact"] or 0) - (money["carry_impact"] or 0)
        for key in ("costs_by_hour", "costs_by_symbol"):
            assert math.fsum(c["total_pnl_diff"] for c in s["series"].get(key, ())) == pytest.approx(total, abs=1e-9), (name, key)
        assert (
            sum(c["trades"] for c in s["series"].get("costs_by_hour", ()))
            == s["trades"]["matched"] + s["trades"]["missed"] + s["trades"]["unexpected"]
        )
        assert sum(s["series"].get("price_diff", {}).get("counts", ())) == s["trades"]["matched"]
        assert s["watermarks"] == {"live": stamp(at(23)), "backtest": stamp(at(23))}
    one = report["strategies"]["one-sided"]["series"]
    assert (one["missed_total"]["trades"], one["unexpected_total"]["trades"]) == (1, 1)
    assert one["missed_total"]["total_pnl_diff"] == pytest.approx(one["missed"][0]["total_pnl_diff"])
    assert one["unexpected"][0]["live_mark"] is None and one["missed"][0]["live_mark"] is None
    assert report["strategies"]["worked"]["worst_trades"][0]["live_mark"] == pytest.approx(100.02)
    assert report["data_quality"] == {"refused": {}}


def test_the_portfolios_profits_are_the_sum_of_the_strategies(written: tuple[Box, Record]) -> None:
    _, report = written
    drawn = [s["series"]["pnl"] for s in report["strategies"].values() if "pnl" in s["series"] and s["attribution"]["in"]]
    together = report["portfolio"]["series"]["pnl"]
    assert len(drawn) >= 3 and len(together) == min(map(len, drawn))
    for book in ("backtest", "allowed", "live"):
        assert together[-1][book] == pytest.approx(math.fsum(d[len(together) - 1][book] for d in drawn), abs=1e-9)
    assert report["portfolio"]["metrics"]["hit_rate"] is not None
    assert report["portfolio"]["metrics"]["correlation"] is None  # fewer than thirty active intervals
    found = [s["markouts"]["taker"]["30m"]["n"] for s in report["strategies"].values() if s["markouts"]]
    assert report["portfolio"]["markouts"]["taker"]["30m"]["n"] == sum(found)


def test_decision_parity_is_of_the_days_own_decisions(tmp_path: Path) -> None:
    box = Box(tmp_path)
    said = [{"kind": "decision", "strategy": "s", "symbol": "BTC/USD", "ts": stamp(at(6, i)), "action": "buy"} for i in range(20)]
    box.drop("backtest", *said, heartbeat("s", at(20)))
    box.drop("live", *said[:10], *({**one, "action": "sell"} for one in said[10:]), heartbeat("s", at(20)))
    box.check(at(21))
    own, before = (box.report(day_of(at(day=day)))["strategies"]["s"]["metrics"] for day in (0, -1))
    assert own["decision_parity"] == own["action_parity"] == 0.5
    assert before["decision_parity"] is None and before["action_parity"] is None


def test_the_portfolios_performance_is_of_all_its_strategies(written: tuple[Box, Record]) -> None:
    _, report = written
    own = [s["performance"] for s in report["strategies"].values() if s["performance"]]
    whole = report["portfolio"]["performance"]
    assert len(own) >= 3
    for name in ("round_trips", "orders"):
        assert whole[name] == sum(p[name] for p in own), name
    for name in ("fees", "gross_profit", "gross_loss"):
        assert whole[name] == pytest.approx(math.fsum(p[name] or 0 for p in own), abs=1e-9), name
    assert whole["win_rate"] == 0.5 and whole["fill_rate"] is not None and whole["agents"] == {}
    assert report["portfolio"]["drift"] is None, "detectors watch a strategy; nothing judges the portfolio"


def test_money_of_two_currencies_without_a_common_one_is_not_added(tmp_path: Path) -> None:
    box = Box(tmp_path)
    book, live = [], []
    for name, symbol in (("euro", "A/EUR"), ("dollar", "B/USD")):
        book += [decision(name, k, at(h), action=side, symbol=symbol) for k, h, side in (("1", 6, "buy"), ("2", 7, "sell"))]
        live += [fill(name, k, at(h, 0, 1), side=side, symbol=symbol) for k, h, side in (("1", 6, "buy"), ("2", 7, "sell"))]
    box.drop("backtest", *book, *(heartbeat(n, at(20)) for n in ("euro", "dollar")))
    box.drop("live", *live, *(heartbeat(n, at(20)) for n in ("euro", "dollar")))
    box.check(at(21))
    found = box.report()["portfolio"]["performance"]
    assert found["round_trips"] == 2 and found["fees"] is None and found["average_profit"] is None and found["sharpe"] is None
