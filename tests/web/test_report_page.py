"""The report as a page: complete, self-contained, bounded, closing exactly, and readable when nothing was measured."""

import random
import re
import time
from html.parser import HTMLParser

import pytest
from web.fake_desk import COSTS, HOUR, T0, entry, report_of, scene, trades

from parityd.web import advice, charts, report_page
from parityd.web.charts import Limit, Line

CODES = [
    "tracking_error",
    "correlation",
    "slippage",
    "fee_impact",
    "timing_impact",
    "latency",
    "cumulative_drift",
    "unmatched",
    "decision_parity",
    "action_parity",
    "drift",
    "max_trade_diff",
    "suspect_data",
    "runaway",
    "stale_engine",
    "stale_backtest",
    "lagging",
    "position_mismatch",
    "balance_mismatch",
    "engine_unhealthy",
    "not_obeyed",
    "unacknowledged",
    "broken_source",
    "degraded",
]
VOID = {"meta", "link", "br", "path", "rect", "use", "circle", "polygon", "img"}


class Balanced(HTMLParser):
    """Raises where tags do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, tag


def page_of(report):
    page = report_page.render(report).decode()
    parser = Balanced()
    parser.feed(page)
    assert not parser.open and len(parser.ids) == len(set(parser.ids))
    return page


@pytest.fixture
def report():
    return report_of(scene("one").strategies, random.Random(1))


def test_every_finding_has_its_own_advice():
    assert set(CODES) == set(advice.ADVICE)
    for code in CODES:
        said = advice.of(code)
        assert len(said.means) > 20 and len(said.do) > 20 and len(said.ends) > 20
    assert advice.of("added later").do


def test_it_says_the_headline_first_and_holds_every_part(report):
    page = page_of(report)
    assert page.index(report["headline"]) < page.index('id="summary"')
    for part in ("Tracking error against its bands", "From backtest to live, money", "Cumulative P&amp;L of the books", "Price differences", "Drift evidence", "Correlation and hit rate", "Markouts",
                 "Cost by hour", "Cost by symbol", "Worst trades", "Best trades", "Missed trades", "Attribution and coverage", "Data quality", "Performance of live", "t-77", "BNB 2"):  # fmt: skip
        assert part in page, part


def test_no_request_leaves_it(report):
    page = page_of(report).replace("http://www.w3.org", "")
    assert (
        not re.search(r"(src|href|action)\s*=\s*[\"'](?!#)", page)
        and "url(" not in page
        and "@import" not in page
        and "http" not in page.replace("http-equiv", "")
    )


def test_the_waterfall_closes_exactly(report):
    steps = re.search(r"<desc>backtest ([^;]+);(.*?); live ([^ ]+) money</desc>", page_of(report))
    number = lambda text: float(text.replace("−", "-").replace(",", ""))
    found = [number(s.rsplit(" ", 1)[1]) for s in steps[2].split(";") if not s.endswith("measured")]
    assert number(steps[1]) + sum(found) == pytest.approx(number(steps[3]), abs=0.05)
    assert "rest" not in steps[2] and "model not measured" in steps[2]


def test_what_the_components_leave_over_is_a_step_of_its_own(report):
    s = report["strategies"]["momentum"]
    s["attribution"]["currency"]["total_pnl_diff"] = sum(v for v in COSTS.values() if v is not None) + 5.0
    assert re.search(r"; rest −5\.00;", page_of(report))


@pytest.mark.parametrize("broken", [{}, {"strategies": None}, {"strategies": {"s": {}}}, {"strategies": {"s": None}, "portfolio": None},
                                    {"strategies": {"s": dict.fromkeys(("metrics", "trades", "attribution", "findings", "drift", "markouts", "worst_trades", "series", "performance", "streaks", "coverage"))}},
                                    {"strategies": {"s": {"attribution": {"total_pnl_diff_bps": 3.0, "currency": None}, "series": {"tracking_error": [], "pnl": [{"ts": None}], "price_diff": {"edges_bps": [1], "counts": []},
                                                           "drift": [{}], "correlation": [{"ts": "soon"}]}, "findings": [{}], "worst_trades": [{}], "drift": {"channels": {"mean": None}}}}}])  # fmt: skip
def test_what_is_absent_is_shown_as_absent(broken):
    page = page_of({"day": "2026-11-19", **broken})
    assert "None<" not in page and ">nan" not in page.lower() and "inf<" not in page


def test_numbers_that_are_none_are_dashes():
    report = {
        "day": "2026-11-19",
        "strategies": {
            "s": {
                "action": "CONTINUE",
                "metrics": {"tracking_error_bps": float("nan"), "correlation": float("inf")},
                "worst_trades": [{"price_diff_bps": float("nan"), "live_price": 1.0}],
            }
        },
    }
    assert "nan" not in page_of(report).split("</script>")[1].lower()


@pytest.mark.parametrize("count", [50, 1000])
def test_it_stays_under_500_kb_and_two_seconds_and_says_what_it_left_out(count):
    rng = random.Random(1)
    report = report_of({f"strategy-{i:04d}": entry("CONTINUE" if i else "EMERGENCY_STOP", rng) for i in range(min(count, 100))}, rng)
    base = list(report["strategies"].items())
    report["strategies"] = {**dict(base), **{f"more-{i:04d}": base[-1][1] for i in range(count - len(base))}}
    start = time.process_time()  # of this process alone: the machine may be busy
    page = page_of(report)
    assert time.process_time() - start < 2.0
    assert len(page.encode()) < 500_000
    assert page.index('id="s0">strategy-0000') > 0 and "To keep this page small" in page


def test_a_hundred_thousand_points_and_trades_are_thinned(report):
    s = report["strategies"]["momentum"]
    first = s["series"]["tracking_error"][0]["ts"]
    s["series"]["tracking_error"] = [{"ts": 1_790_000_000 + i, "value": 500.0 if i == 51_234 else 5.0} for i in range(100_000)]
    s["worst_trades"] = trades(random.Random(1), 100_000)
    page = page_of(report)
    assert len(page.encode()) < 500_000 and "to 500.0" in page and first


def test_lines_break_where_nothing_was_measured_and_keep_their_extremes():
    points = charts.points([{"ts": i, "value": None if i == 5 else float(i)} for i in range(10)])
    drawn = str(charts.lines("x", [Line("a", "c1", points)], [Limit(4.0, "l1", "warning")]))
    assert re.search(r'class="line c1" d="M[^M]+M[^M]+"', drawn)
    assert "from 0.0 to 9.0, last 9.0" in drawn and "warning" in drawn
    assert "Nothing measured" in charts.lines("x", [Line("a", "c1", [(0.0, None)])])


@pytest.mark.parametrize("low,high", [(0, 1), (0, 100), (-3.3, 7), (0, 1e-3), (0, 123456), (-5, -1), (0, 0), (0, 1e12)])
def test_ticks_lie_within_and_are_few(low, high):
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 7 and all(low - 1e-9 <= v <= high + 1e-9 for v in found)


def test_a_day_without_trades_has_no_waterfall_of_zeros(report):
    s = report["strategies"]["momentum"]
    s["trades"] = dict.fromkeys(s["trades"], 0)
    s["attribution"]["currency"] = {k: None if k in COSTS else 0.0 for k in s["attribution"]["currency"]}
    s["attribution"]["currency"]["funding_impact"] = 0.0
    page = page_of({**report, "portfolio": {}})
    assert "No trade of the day has been settled" in page and "From the backtest&#39;s P&amp;L" not in page


def test_without_a_strategy_nothing_is_judged():
    page = page_of({"day": "2026-11-19", "headline": "nothing to compare", "strategies": {}})
    assert "nothing is judged" in page and "CONTINUE" not in page.split("</script>")[1]


def test_what_was_not_measured_is_said_in_words_beside_its_name(report):
    report["strategies"]["momentum"]["metrics"]["median_latency_ms"] = None
    assert '<dt>Median latency</dt><dd class="none">not measured</dd>' in page_of(report)


def test_the_hours_of_one_day_say_which_day_and_midnight_is_a_date():
    hours = [(float(T0 - i * HOUR), 1.0) for i in range(6)]
    assert ">2026-11-20 UTC<" in charts.lines("t", [Line("a", "c1", hours)])
    across = charts.lines("t", [Line("a", "c1", [(x - 12 * HOUR, y) for x, y in hours] + [hours[0]])])
    assert ">11-20<" in across and ">UTC<" in across


def test_of_several_strategies_the_costliest_trades_of_all_say_whose_they_are():
    rng = random.Random(2)
    report = report_of({n: entry("CONTINUE", rng) for n in ("alpha", "beta")}, rng)
    page = page_of(report)
    assert "Worst trades of all strategies" in page and "s: matched by id" in page


@pytest.mark.parametrize(("v", "shown"), [(0.0, "0.0"), (999.4, "+999.4"), (-32_487.5, "−32.5k"), (1_250_000, "+1.2M"), (-4.2e9, "−4.2G")])
def test_a_sum_is_short_beside_a_bar(v, shown):
    assert charts.short(v) == shown


def test_the_cost_of_a_symbol_is_said_in_money_as_well(report):
    assert "· −32.5k USD<" in page_of(report)
