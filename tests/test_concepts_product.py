"""The worked numbers of the page of measures, out of the product: what the page says, a day of records told to parityd says too."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from service.past_desk import DAY, START, Desk

from parityd.app import drain
from parityd.core.drift_rules import rules_of_thumb
from parityd.core.findings_bars import fisher_upper, wilson
from parityd.core.instants import rfc3339
from parityd.core.performance import maximum_drawdown, sharpe
from parityd.core.quality import quality_grade, quality_score
from parityd.core.returns import Returns, correlation, hit_rate, tracking_error_returns_bps

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("pictures_of_measures", ROOT / "docs/pictures/measures.py")
assert _spec is not None and _spec.loader is not None
pictures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pictures)
Record = dict[str, Any]
MINUTE = 60 * 10**9


def at(minutes: float = 0.0, day: int = 1) -> str:
    return rfc3339(START + day * DAY + round(minutes * MINUTE))


def decided(name: str, trade: str, minutes: float, **over: Any) -> Record:
    base = {"kind": "decision", "strategy": name, "symbol": f"{name.upper()}/USD", "trade_id": trade, "ts": at(minutes), "action": "buy"}
    return {**base, "quantity": 10, "price": 100.0, **over}


def filled(name: str, trade: str, minutes: float, **over: Any) -> Record:
    base = {
        "kind": "fill",
        "strategy": name,
        "symbol": f"{name.upper()}/USD",
        "trade_id": trade,
        "fill_id": f"{trade}-{minutes}",
        "side": "buy",
    }
    return {**base, "quantity": 10, "price": 100.0, "ts": at(minutes), **over}


def marked(name: str, minutes: float, price: float, day: int = 1) -> Record:
    return {"kind": "mark", "symbol": f"{name.upper()}/USD", "price": price, "ts": at(minutes, day)}


def worked(name: str, *, quotes: bool) -> tuple[list[Record], list[Record]]:
    """The page's trade: 10 at 100.10, live 6 at 100.12 and 3 at 100.15."""
    seen = {"decision_mark": 100.02, "arrival_mark": 100.05, "arrival_bid": 100.0, "arrival_ask": 100.10} if quotes else {}
    first = filled(name, "t", 600 + 0.4 / 60, quantity=6, price=100.12, fee=0.8, latency_ms=180, **seen)
    second = filled(name, "t", 600 + 0.9 / 60, quantity=3, price=100.15, fee=0.4, latency_ms=240, **seen)
    return [decided(name, "t", 600, price=100.10, fee=1.001, mark=100.0)], [first, second, marked(name, 1439, 101.0)]


DS = [3.0, -5.0, 8.0, -2.0, 30.0, 1.0, -4.0, 6.0, 0.0, -7.0]
PROFITS = [30.0, -10.0, 20.0, -5.0]
STRATEGIES = ("one", "bare", "ten", "whole", "held", "out", "trips", "twenty")


def ten() -> tuple[list[Record], list[Record]]:
    """Ten trades that differ by DS, and one that live does not have."""
    pairs = [
        (decided("ten", f"t{i}", 600 + 10 * i), filled("ten", f"t{i}", 600.1 + 10 * i, price=100 * (1 + d / 1e4))) for i, d in enumerate(DS)
    ]
    return [*(b for b, _ in pairs), decided("ten", "gone", 720)], [l for _, l in pairs]


def whole() -> tuple[list[Record], list[Record]]:
    """A missed trade and an unexpected one."""
    live = [filled("whole", "u", 660, side="sell", quantity=5, price=100.5, fee=0.5), marked("whole", 1439, 101.0)]
    return [decided("whole", "m", 600, fee=1.0)], live


def held() -> tuple[list[Record], list[Record]]:
    """Ten against nine carried into the day, and funding."""
    paid = {"kind": "funding", "strategy": "held", "symbol": "HELD/USD", "ts": at(480)}
    live = [filled("held", "h", 0, ts=at(1200.1, 0), quantity=9), marked("held", 1439.9, 100.0, 0), marked("held", 1439, 101.0)]
    return [decided("held", "h", 0, ts=at(1200, 0)), {**paid, "amount": 1.5}], [*live, {**paid, "amount": 2.0}]


def trips() -> list[Record]:
    """Four round trips with a fee of 0.1 a fill, and two orders that were rejected."""
    out: list[Record] = []
    order = {"kind": "order", "strategy": "trips", "symbol": "TRIPS/USD"}
    for i, profit in enumerate(PROFITS):
        opened = {"quantity": 1, "fee": 0.1, "order_id": f"a{i}"}
        out += [
            filled("trips", f"i{i}", 600 + 20 * i, **opened),
            filled("trips", f"o{i}", 610 + 20 * i, **{**opened, "order_id": f"b{i}"}, side="sell", price=100.0 + profit),
        ]
        out += [{**order, "order_id": f"{s}{i}", "status": "filled", "ts": at(600 + 20 * i)} for s in "ab"]
    return out + [{**order, "order_id": f"c{i}", "status": "rejected", "ts": at(700)} for i in range(2)]


def twenty() -> tuple[list[Record], list[Record]]:
    """A thousand decisions of both books: 980 common holds, twelve trades alike and eight that live held back."""
    back, live = [], []
    for k in range(1000):
        acts, alike = k % 50 == 0, k % 125 < 75
        name, when = {"kind": "decision", "strategy": "twenty", "symbol": "TWENTY/USD", "filled": False}, at(300 + k)
        back.append({**name, "ts": when, "action": "buy" if acts else "hold", **({"quantity": 1} if acts else {})})
        same = acts and alike
        live.append({**name, "ts": when, "action": "buy" if same else "hold", **({"quantity": 1} if same else {})})
    return back, live


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The report of the day, by strategy."""
    desk = Desk(tmp_path_factory.mktemp("concepts"))
    books: tuple[list[Record], list[Record]] = ([], trips())
    for made in (worked("one", quotes=True), worked("bare", quotes=False), ten(), whole(), held(), twenty()):
        for book, records in zip(books, made, strict=True):
            book += records
    books[1].append(filled("out", "o", 600, price=100.13, liquidity="taker"))
    books[1].extend(marked("out", 600 + minutes, price) for minutes, price in ((1, 100.10), (5, 100.03), (30, 100.23)))
    with desk.open() as app:
        desk.clock.ns = START + 2 * DAY + 8 * 60 * MINUTE
        for name, records in zip(("backtest", "live"), books, strict=True):
            desk.drop(name, "a.jsonl", [*records, *({"kind": "heartbeat", "strategy": s, "ts": at(1445)} for s in STRATEGIES)])
        drain(app, at=desk.clock.ns)
        app.brain.evaluate(reports=False)
        app.brain.check()
        app.brain.reporter.of_day(at()[:10], desk.clock.ns)
        found: dict[str, Record] = json.loads(app.store.report(at()[:10]).json)["strategies"]
    assert set(STRATEGIES) <= found.keys()
    return found


def measured(part: Record, digits: int, **expected: float | None) -> None:
    got = {name: part[name] for name in expected}
    assert {k: v if v is None else round(v, digits) for k, v in got.items()} == expected


def test_one_trade(day: dict[str, Record]) -> None:
    measured(
        day["one"]["metrics"], 4, mean_price_diff_bps=2.9970, mean_fee_diff_bps=3.3200, mean_timing_diff_ms=400.0, median_latency_ms=240.0
    )


def test_the_attribution_of_one_trade_and_without_its_quotes(day: dict[str, Record]) -> None:
    cost = day["one"]["attribution"]["currency"]
    measured(
        cost, 4, data_impact=0.18, timing_impact=0.27, slippage_impact=-0.45, market_impact=0.27, fee_impact=0.2991, sizing_impact=0.7999
    )
    measured(cost, 4, model_impact=0.0, funding_impact=0.0, carry_impact=0.0, total_pnl_diff=1.369, action_impact=0.0)
    assert round(day["one"]["attribution"]["total_pnl_diff_bps"], 4) == 13.6763
    measured(
        day["bare"]["attribution"]["currency"],
        4,
        slippage_impact=0.27,
        data_impact=None,
        timing_impact=None,
        market_impact=None,
        total_pnl_diff=1.369,
    )
    assert (day["one"]["coverage"]["timing_impact"], day["bare"]["coverage"]["timing_impact"]) == (1.0, 0.0)


def test_what_one_side_does_not_have_and_what_was_carried_in(day: dict[str, Record]) -> None:
    measured(day["whole"]["attribution"]["currency"], 6, model_impact=12.0, total_pnl_diff=12.0)
    measured(day["held"]["attribution"]["currency"], 6, carry_impact=1.0, funding_impact=0.5, total_pnl_diff=1.5)


def test_tracking_error_and_its_kin(day: dict[str, Record]) -> None:
    found = day["ten"]["metrics"]
    measured(
        found,
        4,
        tracking_error_bps=10.5071,
        mean_price_diff_bps=3.0,
        std_price_diff_bps=10.6145,
        max_price_diff_bps=30.0,
        match_rate=0.9091,
    )


def test_markouts(day: dict[str, Record]) -> None:
    found = day["out"]["markouts"]["taker"]
    assert [round(found[m]["mean_bps"], 2) for m in ("1m", "5m", "30m")] == [-3.0, -9.99, 9.99]


def test_decisions(day: dict[str, Record]) -> None:
    measured(day["twenty"]["metrics"], 9, decision_parity=0.992, action_parity=0.6)


def test_performance(day: dict[str, Record]) -> None:
    found = day["trips"]["performance"]
    measured(
        found, 4, win_rate=0.5, average_profit=8.55, profit_factor=3.2208, mean_holding_seconds=600.0, fill_rate=0.8, fee_efficiency=0.0161
    )
    measured(found, 6, max_consecutive_losses=1, effective_fee_rate=0.000958)
    share = maximum_drawdown([29.8, -10.2, 19.8, -5.2], 100.0)[1]
    assert round(share or 0.0, 4) == 0.0786
    assert round(sharpe([29.8, -10.2, 19.8, -5.2], 365) or 0.0, 3) == 8.459


def interval_returns() -> Returns:
    """The page's forty intervals."""
    k = np.arange(40.0)
    back = (12.0 * np.sin(2.4 * k) + 5.0 * np.sin(5.1 * k)) / 1e4
    live = back + 7.0 * np.sin(11.3 * k + 1.0) / 1e4
    blank = np.zeros(40)
    return Returns(
        numbers=np.arange(40), r_backtest=back, r_live=live, active=np.ones(40, np.bool_), capital=1.0, pnl_backtest_full=blank,
        pnl_allowed=back, pnl_live=live, gross=blank, begin=0, days=40 / 96,
    )  # fmt: skip


def test_the_two_ledgers() -> None:
    r = interval_returns()
    found = correlation(r), hit_rate(r), tracking_error_returns_bps(r)
    assert [round(x or 0.0, 4) for x in found] == [0.8966, 0.85, 49.3472]
    assert round(fisher_upper(found[0] or 0.0, 40) or 0.0, 4) == 0.9309
    assert [round(fisher_upper(0.75, n) or 0.0, 4) for n in (40, 600)] == [0.8286, 0.7721]


def test_shares_and_the_score() -> None:
    assert [round(wilson(k, n)[0], 4) for k, n in ((3, 20), (30, 200))] == [0.0747, 0.1205]
    parts = {"tracking_error_bps": 20.0, "emergency_bps": 100.0, "correlation": 0.9, "hit_rate": 0.8}
    assert [round(quality_score(**parts, decision_parity=p) or 0.0, 2) for p in (1.0, None)] == [86.0, 83.53]
    assert (quality_grade(86.0), quality_grade(83.53)) == ("B", "B")


def test_the_rules_of_thumb() -> None:
    back = np.tile([1.0, -1.0], 115)
    live = np.concatenate([np.tile([1.0, -1.0], 100), np.tile([1.0, -1.0, 1.0, -1.0, 1.0, 1.0], 5)])
    rules = rules_of_thumb(
        daily_tracking_error_bps=[10.0, 10.0, 16.0, 16.0, 16.0],
        backtest_returns=back,
        live_returns=live,
        slippages_bps=[2.0] * 200 + [2.5] * 30,
    )
    assert {name: (round(rule["change"], 4), rule["crossed"]) for name, rule in rules.items()} == {
        "tracking_error": (0.6, True),
        "correlation": (-0.2929, True),
        "hit_rate": (-0.1667, False),
        "slippage": (0.25, True),
    }


@pytest.mark.parametrize("name", sorted(pictures.PICTURES))
def test_each_picture_is_what_the_code_draws_and_the_page_shows_it(name: str) -> None:
    file = ROOT / "docs/pictures" / f"{name}.svg"
    assert file.read_text(encoding="utf-8") == pictures.PICTURES[name]()
    assert f"(../pictures/{name}.svg)" in (ROOT / "docs/concepts/measures.md").read_text(encoding="utf-8")
    assert file.stat().st_size < 10_000
