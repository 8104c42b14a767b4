"""The reference itself, on cases small enough to check by hand, and on random ones by its own identities."""

from datetime import date, datetime, timedelta
from fractions import Fraction as F
from itertools import combinations

import pytest
from golden.books import DAY, SECOND, Settings, day_of, day_start, micros
from golden.generate import SYMBOLS, generate
from golden.measures import CHAIN, Prices, cumulative_drift_bps, days, price_diff_bps, shortfall, window
from golden.reference import Execution, Judged, Piece, Trade, align, judge

DAY_ONE = date(2026, 3, 2)
NOON = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
REFS = {"decision_mark": "100.02", "arrival_mark": "100.05", "arrival_bid": "100.00", "arrival_ask": "100.10"}


def at(seconds: float = 0) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def decision(ts: float = 0, **over: object) -> dict:
    return {
        "kind": "decision",
        "strategy": "w",
        "symbol": "ACME/USD",
        "ts": at(ts),
        "action": "buy",
        "quantity": "10",
        "price": "100",
    } | over


def fill(fid: str, ts: float = 1, **over: object) -> dict:
    return {
        "kind": "fill",
        "strategy": "w",
        "symbol": "ACME/USD",
        "fill_id": fid,
        "side": "buy",
        "quantity": "10",
        "price": "100",
        "ts": at(ts),
    } | over


def beat(ts: float) -> dict:
    return {"kind": "heartbeat", "strategy": "w", "ts": at(ts)}


def states(judged: Judged) -> list[tuple[str, str | None]]:
    return [(t.state, t.matched_by) for t in judged.trades]


def worked(**without: None) -> tuple[list[dict], list[dict]]:
    refs = {k: v for k, v in REFS.items() if k not in without}
    book = [decision(price="100.10", fee="1.001", trade_id="1", **({} if "mark" in without else {"mark": "100.00"}))]
    live = [
        fill("a", 60, quantity="6", price="100.12", fee="0.8", trade_id="1", **refs),
        fill("b", 120, quantity="3", price="100.15", fee="0.4", trade_id="1", **refs),
        {"kind": "mark", "symbol": "ACME/USD", "price": "101", "ts": at(1800)},
    ]
    return book, live


def test_the_worked_example_comes_out_to_the_last_digit():
    w = window(judge(*worked()), "w", DAY_ONE)
    want = {"data": "0.18", "timing": "0.27", "slippage": "-0.45", "market": "0.27", "fee": "0.2991", "sizing": "0.7999", "model": "0"}
    for name, value in want.items():
        assert w.currency[f"{name}_impact"] == F(value), name
    assert w.currency["total_pnl_diff"] == F("1.369") == w.pnl_backtest - w.pnl_live
    assert (w.pnl_backtest, w.pnl_live) == (F("7.999"), F("6.63"))
    assert round(float(w.bps["total_pnl_diff_bps"]), 4) == 13.6763
    assert round(float(w.metrics["mean_price_diff_bps"]), 4) == 2.9970


def test_without_the_live_references_everything_is_slippage():
    w = window(judge(*worked(decision_mark=None, arrival_mark=None, arrival_bid=None, arrival_ask=None)), "w", DAY_ONE)
    assert [w.currency[f"{n}_impact"] for n in ("data", "timing", "market", "slippage")] == [None, None, None, F("0.27")]
    assert w.currency["total_pnl_diff"] == F("1.369")


# nodes in the order m_b, m_l, a, t; what stays measured when some are missing
MERGES = {
    "mark": {"timing", "slippage", "impact"},
    "decision_mark": {"timing", "slippage", "impact"},
    "arrival_mark": {"data", "slippage", "impact"},
    "arrival_ask": {"data", "timing", "slippage"},
    "mark decision_mark": {"slippage", "impact"},
    "decision_mark arrival_mark": {"slippage", "impact"},
    "mark arrival_ask": {"timing", "slippage"},
    "arrival_mark arrival_ask": {"data", "slippage"},
}


@pytest.mark.parametrize("missing", MERGES)
def test_a_missing_node_melts_its_two_links(missing):
    gone = dict.fromkeys(missing.split())
    if "arrival_mark" in gone:
        gone["arrival_bid"] = None  # else the mid stands in
    w = window(judge(*worked(**gone)), "w", DAY_ONE)
    names = dict(zip(CHAIN, ("data_impact", "timing_impact", "slippage_impact", "market_impact"), strict=True))
    assert {k for k, n in names.items() if w.currency[n] is not None} == MERGES[missing]
    assert sum(w.currency[n] or 0 for n in names.values()) == F("0.27")
    assert w.currency["total_pnl_diff"] == F("1.369")


def test_a_reference_that_one_fill_lacks_is_missing_for_the_trade():
    book, live = worked()
    del live[1]["decision_mark"]
    assert window(judge(book, live), "w", DAY_ONE).currency["data_impact"] is None


def test_a_maker_fill_is_measured_against_its_own_side():
    book, live = worked()
    for f in live[:2]:
        f["liquidity"] = "maker"
    w = window(judge(book, live), "w", DAY_ONE)
    assert w.currency["market_impact"] == 9 * (F("100.13") - F("100.00"))


def test_a_sell_turns_the_signs():
    judged = judge([decision(action="sell", price="100", trade_id="1")], [fill("a", side="sell", price="99.9", trade_id="1")])
    assert price_diff_bps(judged.trades[0]) == 10


@pytest.mark.parametrize(
    ("symbol", "fee", "currency", "want"),
    [
        ("BTC/USDT", "2", "USDT", F(2)),
        ("BTC/USDT", "-0.01", "BTC", F(-1)),
        ("BTC-USDT", "0.01", "BTC", F(1)),
        ("BTC/USDT", "0.5", "BNB", F(300)),
        ("BTC/USDT", "3", None, F(3)),
        ("BTC/USDT", "5", "DOGE", F(0)),
    ],
)
def test_a_fee_is_valued_in_the_quote_currency_or_not_at_all(symbol, fee, currency, want):
    f = fill("a", symbol=symbol, fee=fee, **({"fee_currency": currency} if currency else {}))
    marks = [{"kind": "mark", "symbol": "BNB/USDT", "price": p, "ts": at(s)} for p, s in (("500", -9), ("600", 1), ("700", 2))]
    judged = judge(marks, [f, beat(9)])
    assert judged.trades[0].live.fee == want
    assert window(judged, "w", DAY_ONE).unpriced_fees == (currency == "DOGE")


def test_a_multiplier_scales_quantity_and_an_alias_names_one_symbol():
    settings = Settings(symbols={"XBT/USD": {"alias": "ACME/USD"}, "ACME/USD": {"multiplier": "50"}})
    judged = judge(
        [decision(symbol="XBT/USD", trade_id="1", price="100")], [fill("a", trade_id="1", price="101", multiplier="50")], settings
    )
    assert [t.symbol for t in judged.trades] == ["ACME/USD"]
    assert shortfall(judged.trades[0], None).total == 500


def test_an_inverse_contract_is_linear_in_the_inverse_price():
    """100 contracts of 1 USD, bought at 50 and 40 instead of 50 and 50: P&L of q (1/p - 1/m) in base."""
    settings = Settings(symbols={"ACME/USD": {"inverse": True}})
    judged = judge([decision(trade_id="1", quantity="100", price="50")], [fill("a", trade_id="1", quantity="100", price="40")], settings)
    trade = judged.trades[0]
    assert shortfall(trade, Prices(judged).at("ACME/USD", micros(at(60)))).total == 100 * (F(1, 50) - F(1, 40))


# --- executions and matching ---------------------------------------------------------------------------------------------------------


def test_fills_become_orders_and_orders_of_one_id_one_execution():
    live = [
        fill("a", order_id="o1", quantity="1", trade_id="t"),
        fill("b", order_id="o1", quantity="2", trade_id="t", price="103"),
        fill("c", order_id="o2", quantity="3", trade_id="t"),
        fill("d", 400, order_id="p1", parent_id="P"),
        fill("e", 401, order_id="p2", parent_id="P"),
        fill("f", 800),
    ]
    judged = judge([], live)
    assert [t.keys[1] for t in judged.trades] == [("a", "b", "c"), ("d", "e"), ("f",)]
    first = judged.trades[0].live
    assert (first.quantity, first.price, first.first, first.last) == (6, 101, micros(at(1)), micros(at(1)))


def test_a_decision_is_an_execution_unless_the_book_has_fills_of_its_id():
    book = [
        decision(trade_id="t", price="90"),
        fill("b", trade_id="t", price="101"),
        decision(300, trade_id="u", filled=False),
        decision(600, action="hold"),
    ]
    judged = judge(book, [decision(trade_id="t")])
    assert [(t.state, t.backtest.price, t.live) for t in judged.trades] == [("missed", 101, None)]
    assert judged.trades[0].backtest.decided == micros(at(0))


def test_each_order_goes_to_the_newest_decision_of_its_id_at_or_before_its_submission():
    book = [decision(0, trade_id="t"), decision(600, trade_id="t", price="110")]
    live = [
        fill("a", 601, trade_id="t", order_id="o1"),
        fill("b", 602, trade_id="t", order_id="o2"),
        fill("c", 2, trade_id="t", order_id="o3"),
    ]
    live += [
        {"kind": "order", "strategy": "w", "symbol": "ACME/USD", "order_id": o, "status": "submitted", "ts": at(s)}
        for o, s in (("o1", 599), ("o2", 600))
    ]
    judged = judge(book, live)
    assert [t.keys[1] for t in judged.trades] == [("a", "c"), ("b",)]
    assert states(judged) == [("matched", "id")] * 2


def test_ids_join_first_and_alone_where_they_are_shared():
    book = [decision(0, trade_id="1"), decision(1000, trade_id="2"), decision(2000)]
    live = [fill("a", 1, trade_id="1"), fill("b", 1001, trade_id="x"), fill("c", 2001, trade_id="y")]
    assert states(judge(book, live)) == [("matched", "id"), ("missed", None), ("unexpected", None), ("matched", "fill")]


def test_ids_of_two_unrelated_systems_do_not_keep_trades_apart():
    assert states(judge([decision(0, trade_id="1")], [fill("a", 1, trade_id="x")])) == [("matched", "fill")]


def test_decision_times_join_before_fill_times():
    book = [decision(0), decision(100)]
    live = [fill("late", 101, decision_ts=at(1)), fill("b", 160, decision_ts=at(99))]
    judged = judge(book, live)
    assert states(judged) == [("matched", "decision")] * 2
    assert judged.trades[0].keys[1] == ("late",)


def test_a_submission_is_a_decision_time():
    order = {"kind": "order", "strategy": "w", "symbol": "ACME/USD", "order_id": "o", "status": "submitted", "ts": at(2)}
    judged = judge([decision(0)], [fill("a", 200, order_id="o"), order])
    assert (states(judged), judged.trades[0].distance) == ([("matched", "decision")], 2 * SECOND)


@pytest.mark.parametrize(
    ("apart", "gap", "matched"), [(59, 30, True), (60, 30, False), (61, 30, False), (299, 200, True), (300, 200, True), (301, 200, False)]
)
def test_a_pair_must_be_cheaper_than_two_gaps_and_within_the_tolerance(apart, gap, matched):
    judged = judge([decision(0)], [fill("a", apart)], Settings(gap=F(gap)))
    assert (judged.trades[0].state == "matched") is matched


def test_the_gap_is_half_the_timeframe():
    assert states(judge([decision(0)], [fill("a", 100)], Settings(timeframe={"w": F(300)}))) == [("matched", "fill")]


def test_sides_and_symbols_never_mix():
    assert {s for s, _ in states(judge([decision()], [fill("a", side="sell"), fill("b", symbol="X/USD")]))} == {"missed", "unexpected"}


def execution(book: str, ts: int) -> Execution:
    piece = Piece(key=f"{book}{ts}", ts=ts, quantity=F(1), price=F(1), fee=F(0), fee_known=True, base_fee=F(0))
    return Execution(book=book, strategy="w", symbol="X", side="buy", trade_id=None, pieces=[piece], decided=ts)


@pytest.mark.parametrize("seed", range(60))
def test_the_alignment_is_the_cheapest_of_all_order_preserving_ones(seed):
    import random

    rng = random.Random(seed)
    left = [execution("b", t) for t in sorted(rng.sample(range(90), k=4))]
    right = [execution("l", t) for t in sorted(rng.sample(range(90), k=5))]
    costs = []
    for k in range(5):
        for some in combinations(left, k):
            for others in combinations(right, k):
                far = [abs(a.first - b.first) for a, b in zip(some, others, strict=True)]
                if all(x <= 40 for x in far):
                    costs.append((sum(far) + 15 * (9 - 2 * k), k))
    found = align(left, right, lambda e: e.first, lambda _a, _b: True, 15, 40)
    assert (sum(abs(a.first - b.first) for a, b in found) + 15 * (9 - 2 * len(found)), len(found)) == min(costs)


def test_a_leftover_joins_the_pair_it_completes_and_no_other():
    live = [fill("a", 1, quantity="4"), fill("b", 3, quantity="6"), fill("c", 20, quantity="5"), fill("d", 31, quantity="1")]
    judged = judge([decision(0)], live)
    assert [(t.state, t.keys[1]) for t in judged.trades] == [("matched", ("a", "b")), ("unexpected", ("c",)), ("unexpected", ("d",))]
    assert (judged.trades[0].joined, judged.trades[0].live.quantity, judged.trades[0].ambiguous) == (1, 10, False)


def test_a_rival_nearer_than_twice_the_distance_is_ambiguity():
    near = judge([decision(0), decision(19, price="101")], [fill("a", 10)])
    far = judge([decision(0), decision(31)], [fill("a", 10)])
    assert [t.ambiguous for t in near.trades if t.state == "matched"] == [True]
    assert [t.ambiguous for t in far.trades if t.state == "matched"] == [False]


@pytest.mark.parametrize(
    ("live_seen", "now", "state"),
    [(299, 1000, "pending"), (300, 1000, "missed"), (None, 36 * 3600 - 1, "pending"), (None, 36 * 3600, "missed")],
)
def test_a_single_trade_pends_until_the_watermark_or_the_grace(live_seen, now, state):
    live = [] if live_seen is None else [beat(live_seen)]
    assert judge([decision(0)], live, at=at(now)).trades[0].state == state


def test_a_pair_by_time_settles_with_both_watermarks_one_by_id_at_once():
    by_time = judge([decision(0), beat(400)], [fill("a", 1)], at=at(500)).trades[0]
    both = judge([decision(0), beat(400)], [fill("a", 1), beat(301)], at=at(500)).trades[0]
    by_id = judge([decision(0, trade_id="t")], [fill("a", 1, trade_id="t")], at=at(2)).trades[0]
    assert (by_time.settled, both.settled, by_id.settled) == (False, True, True)


def test_duplicates_busts_and_paper_fills_count_once_or_not_at_all():
    live = [fill("a"), fill("a"), fill("a", quantity="3"), fill("b", 300), fill("p", 600, shadow=True)]
    live.append({"kind": "bust", "strategy": "w", "symbol": "ACME/USD", "fill_id": "b", "ts": at(900)})
    assert [t.keys[1] for t in judge([], live).trades] == [("a",)]


# --- windows -------------------------------------------------------------------------------------------------------------------------


def test_a_trade_belongs_to_the_day_of_its_backtest_decision():
    judged = judge([decision(43190)], [fill("a", 43210)])
    assert [t.day for t in judged.trades] == [DAY_ONE]
    assert judge([], [fill("a", 43210)]).trades[0].day == date(2026, 3, 3)


@pytest.mark.parametrize(("mark_at", "fill_at", "price"), [(0, 900, "105"), (0, 901, "100"), (950, 901, "105")])
def test_a_fill_price_is_the_mark_only_when_it_is_newer_by_more_than_fifteen_minutes(mark_at, fill_at, price):
    live = [{"kind": "mark", "symbol": "ACME/USD", "price": "105", "ts": at(mark_at)}, fill("a", fill_at)]
    assert Prices(judge([], live)).at("ACME/USD", micros(at(2000))).price == F(price)


def test_a_trade_newer_than_every_mark_is_worth_its_own_price():
    live = [{"kind": "mark", "symbol": "ACME/USD", "price": "105", "ts": at(-60)}, beat(400)]
    w = window(judge([decision(0, fee="1")], live), "w", DAY_ONE)
    assert (w.unmarked, w.currency["model_impact"]) == (1, -1)


def test_what_was_carried_in_is_revalued_so_that_days_add_up():
    book = [decision(0, quantity="4", trade_id="1")]
    live = [
        fill("a", 1, quantity="1", trade_id="1"),
        *({"kind": "mark", "symbol": "ACME/USD", "price": p, "ts": at(s)} for p, s in (("101", 60), ("107", 50000))),
    ]
    judged = judge(book, live)
    one, two, both = window(judged, "w", DAY_ONE), window(judged, "w", date(2026, 3, 3)), window(judged, "w", DAY_ONE, date(2026, 3, 3))
    assert (one.currency["sizing_impact"], two.currency["carry_impact"], both.currency["sizing_impact"]) == (3, 18, 21)
    assert one.currency["total_pnl_diff"] + two.currency["total_pnl_diff"] == both.currency["total_pnl_diff"]


def test_funding_is_what_live_paid_more():
    paid = {"kind": "funding", "strategy": "w", "symbol": "ACME/USD", "ts": at(0)}
    w = window(judge([paid | {"amount": "1.5"}], [paid | {"amount": "-0.5"}]), "w", DAY_ONE)
    assert w.currency["funding_impact"] == -2


def test_tracking_figures():
    book = [decision(400 * i, trade_id=str(i)) for i in range(4)]
    live = [
        fill(f"f{i}", 400 * i + 2, trade_id=str(i), price=p, latency_ms=str(100 * i))
        for i, p in enumerate(("100.1", "99.9", "100.3", "100.1"))
    ]
    live[0]["liquidity"] = "maker"
    metrics = window(judge(book, live), "w", DAY_ONE).metrics
    assert (metrics["mean_price_diff_bps"], metrics["max_price_diff_bps"], metrics["match_rate"]) == (10, 30, 1)
    assert metrics["tracking_error_bps"] == pytest.approx(300**0.5)  # (100 + 100 + 900 + 100) / 4
    assert metrics["std_price_diff_bps"] == pytest.approx((800 / 3) ** 0.5)
    assert (metrics["mean_timing_diff_ms"], metrics["median_latency_ms"]) == (2000, 200)


def test_drift_accumulates_over_seven_days():
    book = [decision(86400 * i, trade_id=str(i)) for i in range(9)]
    live = [fill(f"f{i}", 86400 * i, trade_id=str(i), price="100.01") for i in range(9)]
    judged = judge(book, live)
    assert cumulative_drift_bps(judged, "w", date(2026, 3, 10)) == pytest.approx(7)


# --- random ones ---------------------------------------------------------------------------------------------------------------------


def summary(judged: Judged) -> list[tuple[object, ...]]:
    return [(t.keys, t.state, t.matched_by, t.ambiguous, t.settled, t.joined) for t in judged.trades]


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_the_parts_are_the_difference_of_the_ledgers_and_days_add_up(seed, dense):
    backtest, live = generate(seed, dense=dense)
    judged = judge(backtest, live, Settings(symbols=SYMBOLS))
    executed = [(t.strategy, t.symbol, p) for t in judged.trades for side in t.keys for p in side]
    assert len(executed) == len(set(executed))
    for strategy in sorted({t.strategy for t in judged.trades}):
        span = days(judged, strategy)
        whole = window(judged, strategy, span[0], span[-1])
        apart = whole.currency["funding_impact"] + whole.currency["carry_impact"]
        assert whole.pnl_backtest - whole.pnl_live + apart == whole.currency["total_pnl_diff"]
        each = [window(judged, strategy, day_of(t)) for t in range(day_start(span[0]), day_start(span[-1]) + 1, DAY)]
        if not any(w.unmarked for w in (whole, *each)):
            assert sum(w.currency["total_pnl_diff"] for w in each) == whole.currency["total_pnl_diff"]
        assert sum(w.notional for w in each) == whole.notional


@pytest.mark.parametrize("seed", range(15))
def test_the_order_of_records_and_files_changes_nothing(seed):
    backtest, live = generate(seed, dense=True)
    again = judge(backtest[::-1] + backtest[:3], sorted(live, key=str), Settings(symbols=SYMBOLS))
    assert summary(again) == summary(judge(backtest, live, Settings(symbols=SYMBOLS)))


def test_the_generator_is_a_function_of_its_seed_and_reaches_every_corner():
    assert generate(5) == generate(5)
    trades: list[Trade] = [t for seed in range(40) for t in judge(*generate(seed, dense=True), Settings(symbols=SYMBOLS)).trades]
    assert {t.matched_by for t in trades} == {"id", "decision", "fill", None}
    assert {t.state for t in trades} == {"matched", "missed", "unexpected"}
    assert any(t.joined for t in trades)
    assert any(t.ambiguous for t in trades)
    assert any(not p.fee_known for t in trades if t.live for p in t.live.pieces)
    assert any(p.fee < 0 for t in trades if t.live for p in t.live.pieces)
