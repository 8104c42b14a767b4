"""A day's report against the reference in rational arithmetic: counts, measures, components, and what positions carry from day to day."""

import json
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from core.desk import Desk, shuffled, terms
from golden import books, generate, measures, reference

from parityd.core.day_series import day_series
from parityd.core.fresh import Fresh
from parityd.core.instants import DAY_NS, day_start, day_text, parse_time
from parityd.core.measures import COMPONENTS
from parityd.core.parameters import Parameters
from parityd.core.ranking import Ranking
from parityd.core.report import day_report
from parityd.core.rows import NOWHEN, SHELF_NS
from parityd.core.window import of_day, settling

SYMBOLS = {"ES": {"currency": "USDT", "multiplier": "50"}, "XBT/USDT": {"alias": "BTC/USDT"}}
TO_USDT = {'"ACME/USD"': '"ACME/USDT"', '"ETH-EUR"': '"ETH-USDT"', '"fee_currency": "USD"': '"fee_currency": "USDT"', '"fee_currency": "EUR"': '"fee_currency": "USDT"'}  # fmt: skip
SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(8, 60))]


def in_one_currency(records):
    text = json.dumps(records)
    for old, new in TO_USDT.items():
        text = text.replace(old, new)
    return json.loads(text)


def reported(desk, day, now):
    return day_report(desk.monitor, str(day), now, waiting=False, standing={}, extras={}, revision=1)


def unlike(got, want):
    """The names under which two tables of figures differ."""
    return {k: (got[k], v) for k, v in want.items() if (got[k] is None) != (v is None) or (v is not None and not math.isclose(got[k], v, rel_tol=1e-9, abs_tol=1e-6))}  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_each_days_report_is_what_the_reference_finds_however_the_records_came(seed):
    backtest, live = (in_one_currency(records) for records in generate.generate(seed, dense=bool(seed % 2)))
    newest = datetime.fromisoformat(max(r["ts"] for r in backtest + live))
    now = (newest + timedelta(hours=1)).astimezone(UTC)
    judged = reference.judge(backtest, live, books.Settings(symbols=SYMBOLS), at=generate.rfc(now))
    desk = Desk(Parameters(symbols=terms(SYMBOLS)))
    for turn in shuffled(backtest, live, seed):
        desk.turn(turn)
    for day in sorted({t.day for t in judged.trades}):
        report = reported(desk, day, parse_time(generate.rfc(now)))["strategies"]
        for strategy in {t.strategy for t in judged.trades}:
            want, got = measures.window(judged, strategy, day).plain(12), report[strategy]
            assert {k: got["trades"][k] for k in want["trades"]} == want["trades"]
            assert got["matched_by"] == want["matched_by"]
            assert unlike(got["metrics"], want["metrics"]) == {}
            assert got["unpriced_fees"] == want["unpriced_fees"]
            if (
                got["unmarked"] == want["unmarked"] and got["attribution"]["in"]
            ):  # parityd asks of a trade its decision, the reference its first fill
                assert unlike(got["attribution"]["currency"], want["attribution"]["currency"]) == {}


# --- carried over midnight --------------------------------------------------------------------------------------------

NOON = "2026-03-0{}T12:00:00Z"


@pytest.mark.parametrize("seed", range(4))
def test_shelves_that_are_read_as_columns_make_the_report_that_rows_make(seed):
    backtest, live = (in_one_currency(records) for records in generate.generate(seed, dense=True))
    now = parse_time(max(r["ts"] for r in backtest + live)) + 3_600_000_000_000
    desk = Desk(Parameters(symbols=terms(SYMBOLS)))
    for turn in shuffled(backtest, live, seed):
        desk.turn(turn)
    held = {name: dict(s.books.shelves) for name, s in desk.monitor.strategies.items()}

    def stored(name):
        return lambda numbers: ((Fresh.of(held[name][k].rows), bytes(held[name][k].text)) for k in numbers)

    for day in sorted({day_text(k * SHELF_NS) for shelves in held.values() for k in shelves if k > NOWHEN}):
        want = reported(desk, day, now)
        for name, shelves in held.items():
            books = desk.monitor.strategies[name].books
            books.load = lambda strategy, number: held[strategy].get(number)
            for k in list(shelves)[seed % 2 :: 2]:
                books.shelves.pop(k, None)
        extras = {}
        for name, s in desk.monitor.strategies.items():
            until, start = settling(s, desk.monitor.parameters, now, waiting=False), day_start(day)
            ranking = Ranking(of_day(until))
            series = day_series(
                s, desk.monitor.marks, desk.monitor.names, start, start + DAY_NS - 1, until, None, lambda _: 1.0, stored(name), ranking
            )
            extras[name] = {"ranking": ranking, "series": series}
        got = day_report(desk.monitor, day, now, waiting=False, standing={}, extras=extras, revision=1)
        for name, s in desk.monitor.strategies.items():
            s.books.shelves.update(held[name])
            until, start = settling(s, desk.monitor.parameters, now, waiting=False), day_start(day)
            series = day_series(s, desk.monitor.marks, desk.monitor.names, start, start + DAY_NS - 1, until, None, lambda _: 1.0)
            assert got["strategies"][name].pop("series") == series
        assert got == want
        assert any(s["worst_trades"] for s in got["strategies"].values()) or not any(
            s["trades"]["matched"] for s in got["strategies"].values()
        )


def bought(day, symbol, quantity, price, fill_id):
    head = {"strategy": "s", "symbol": symbol, "ts": NOON.format(day), "trade_id": fill_id}
    decided = {"kind": "decision", **head, "action": "buy", "quantity": 10, "price": 100, "mark": 100}
    return decided, {"kind": "fill", **head, "fill_id": fill_id, "side": "buy", "quantity": quantity, "price": price, "decision_mark": 100}


def mark(day, symbol, price):
    return {"kind": "mark", "symbol": symbol, "price": price, "ts": NOON.format(day).replace("12", "13")}


@pytest.mark.parametrize("symbol", ["ACME", "ACME/USD"])
def test_a_position_carried_in_is_money_of_its_symbols_currency_though_nothing_of_it_traded_that_day(symbol):
    """The currency of ACME is known by the fee of an earlier fill alone."""
    first, second = bought(2, symbol, 8, 101, "1"), bought(3, "BTC/USD", 10, 100, "2")
    desk = Desk(Parameters())
    marks = [mark(2, symbol, 110), mark(3, symbol, 115), mark(3, "BTC/USD", 100)]
    desk.turn([("backtest", [first[0], second[0]]), ("live", [{**first[1], "fee": 1, "fee_currency": "USD"}, second[1], *marks])])
    now = day_start("2026-03-05")
    days = [reported(desk, day, now)["strategies"]["s"]["attribution"] for day in ("2026-03-02", "2026-03-03")]
    assert [a["in"] for a in days] == ["USD", "USD"]
    assert days[0]["currency"]["sizing_impact"] == pytest.approx(20)
    assert days[1]["currency"]["carry_impact"] == pytest.approx((10 - 8) * (115 - 110))
    total = sum(a["currency"]["total_pnl_diff"] for a in days)
    assert total == pytest.approx(10 * (115 - 100) - (8 * (115 - 101) - 1)), "days add up to what the ledgers differ by"


def test_a_closed_position_leaves_no_trace_of_its_currency():
    """0.1 + 0.2 - 0.3 is not 0 in floats: the euro symbol that is flat must not make the dollar's sum null."""
    records = []
    for k, quantity in enumerate((0.1, 0.2, 0.3)):
        head = {
            "strategy": "s",
            "symbol": "SAP/EUR",
            "ts": NOON.format(2).replace("00Z", f"0{k}Z"),
            "trade_id": f"{k}",
            "quantity": quantity,
            "price": 100,
        }
        records.append({"kind": "fill", **head, "fill_id": f"{k}", "side": "sell" if k == 2 else "buy"})
    other = bought(3, "BTC/USD", 9, 100, "9")
    desk = Desk(Parameters())
    desk.turn([("live", [*records, other[1], mark(2, "SAP/EUR", 100), mark(3, "SAP/EUR", 170)]), ("backtest", [other[0]])])
    found = reported(desk, "2026-03-03", day_start("2026-03-06"))["strategies"]["s"]["attribution"]
    assert found["in"] == "USD"
    assert sum(found["currency"][c] or 0 for c in COMPONENTS) == found["currency"]["total_pnl_diff"]
    assert Fraction(0) == found["currency"]["carry_impact"]
