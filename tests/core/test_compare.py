"""Two decision logs: alike or not, what differs, why it may, and whether that is good enough to go live."""

from time import process_time
from typing import Any

import pytest

from parityd.core.compare import LogError, compare_logs
from parityd.core.instants import rfc3339

START = 1_763_596_800 * 10**9
MINUTE = 60 * 10**9
DAY = 1440


def row(n: int, action: str = "hold", *, shift_ns: int = 0, symbol: str = "X", **over: Any) -> dict[str, Any]:
    mark = 100 + (n * 37 % 1009) / 100
    context = {
        "timestamp": rfc3339(START + n * MINUTE + shift_ns), "symbol": symbol, "current_mark": str(mark),
        "recent_marks": [str(100 + (k * 37 % 1009) / 100) for k in range(max(0, n - 9), n + 1)], "position_state": {"quantity": "0"}, "equity": "10000",
    }  # fmt: skip
    decision = {"action": action, "quantity": "1" if action != "hold" else None, "reason": f"because {n}", "guards": []}
    execution = {"filled": action != "hold"}
    for key, value in over.items():
        part = context if key in context else execution if key == "filled" else decision
        part[key] = value
        if value is ...:
            del part[key]
    return {"context": context, "decision": decision, "execution": execution}


def act(n: int) -> str:
    return "buy" if n % 50 == 10 else "close" if n % 50 == 40 else "hold"


def log(rows: Any = None, n: int = 2 * DAY, **over: Any) -> dict[str, Any]:
    decisions = [row(k, act(k)) for k in range(n)] if rows is None else rows
    return {"run_id": "r", "strategy_name": "s", "symbol": "X", "config": {"slow": 30}, "decisions": decisions, **over}


def changed(*numbers: int, to: str = "sell", **over: Any) -> dict[str, Any]:
    return log([row(k, to, reason="another", **over) if k in numbers else row(k, act(k)) for k in range(2 * DAY)])


def test_equal_logs_over_two_days_go() -> None:
    found = compare_logs(log(), log())
    assert (found.go, found.parity_rate, found.mismatch_count, found.reasons, found.guards, found.cause) == (True, 1.0, 0, [], "same", None)
    assert found.hours == pytest.approx(48.0)


def test_a_rate_of_exactly_99_percent_is_not_enough() -> None:
    wrong = range(100, 100 + 1 * 28)
    held = log([row(k) for k in range(2800)])
    other = log([row(k, "buy", filled=False) if k in wrong else row(k) for k in range(2800)])
    found = compare_logs(held, other)
    assert found.parity_rate == pytest.approx(0.99)
    assert not found.go
    better = log([row(k, "buy", filled=False) if k in wrong[1:] else row(k) for k in range(2800)])
    assert compare_logs(held, better).go


def test_the_first_mismatch_is_named_with_both_actions_and_reasons() -> None:
    found = compare_logs(log(), changed(60, 900))
    first = found.mismatches[0]
    assert (found.mismatch_count, first.action_a, first.action_b, first.reason_a, first.reason_b) == (
        2,
        "buy",
        "sell",
        "because 60",
        "another",
    )
    assert first.ts == rfc3339(START + 60 * MINUTE)


def test_a_quantity_counts_within_one_percent() -> None:
    assert compare_logs(log(), changed(60, to="buy", quantity="1.009")).mismatch_count == 0
    found = compare_logs(log(), changed(60, to="buy", quantity="1.02", equity="10200"))
    assert found.mismatch_count == 1
    assert found.cause == "equity"


def test_live_decisions_pair_with_their_bar_although_they_come_later() -> None:
    late = log([row(k, act(k), shift_ns=1_700_000_000) for k in range(2 * DAY)])
    assert compare_logs(log(), late).go


def test_guards_that_differ_or_are_not_named_are_never_go() -> None:
    found = compare_logs(log(), changed(60, to="buy", guards=["max_position"]))
    assert (found.guards, found.go) == ("different", False)
    assert found.guard_differences[0].only_b == ["max_position"]
    silent = log([row(k, act(k), guards=...) for k in range(2 * DAY)])
    for a, b in ((log(), silent), (silent, log()), (silent, silent)):
        found = compare_logs(a, b)
        assert (found.guards, found.go, found.parity_rate) == ("not comparable", False, 1.0)


def test_one_trade_more_in_a_symbol_is_no_go() -> None:
    found = compare_logs(log(), changed(60, to="buy", filled=False))
    assert [(t.symbol, t.trades_a, t.trades_b) for t in found.trade_differences] == [("X", 115, 114)]
    assert not found.go


def test_under_a_day_is_no_go_and_a_day_of_bars_is_a_day() -> None:
    assert compare_logs(log(n=DAY), log(n=DAY)).go
    short = compare_logs(log(n=DAY - 1), log(n=DAY - 1))
    assert (short.go, short.parity_rate) == (False, 1.0)
    assert "24 h" in short.reasons[0]


def test_two_distant_decisions_do_not_make_a_day() -> None:
    pair = [row(0, "buy"), row(1200, "close")]
    assert compare_logs(log(pair), log(pair)).hours == pytest.approx(21.0)


def test_without_a_common_decision_there_is_no_rate_and_no_go() -> None:
    later = log([row(k, act(k)) for k in range(5000, 8000)])
    for other in (later, log([])):
        found = compare_logs(log(), other)
        assert (found.go, found.parity_rate, found.common) == (False, None, 0)


def test_only_the_time_that_both_cover_is_judged() -> None:
    found = compare_logs(log(), log([row(k, act(k)) for k in range(700, 4000)]))
    assert (found.go, found.outside_a, found.outside_b) == (True, 700, 4000 - 2 * DAY)


def test_a_log_without_holds_is_taken_to_hold_where_it_is_silent() -> None:
    acts = log([r for r in log()["decisions"] if r["decision"]["action"] != "hold"])
    found = compare_logs(log(), acts)
    assert (found.parity_rate, found.mismatch_count) == (1.0, 0)
    assert found.go


def test_missing_bars_are_mismatches_of_one_side() -> None:
    gaps = log([row(k, act(k)) for k in range(2 * DAY) if not 100 <= k < 140])
    found = compare_logs(log(), gaps)
    assert found.mismatch_count == 40
    assert found.mismatches[0].action_b is None
    assert found.cause == "missing bars"


@pytest.mark.parametrize("late", [1, 60])
def test_a_shifted_clock_is_recognised(late: int) -> None:
    moved = log([row(k, act(k), shift_ns=late * MINUTE) for k in range(2 * DAY)])
    found = compare_logs(log(), moved)
    assert not found.go
    assert found.cause == "shifted time"
    assert str(late) in (found.cause_detail or "")


@pytest.mark.parametrize(
    ("over", "cause"),
    [
        ({}, "indicator window"), ({"position_state": {"quantity": "2"}}, "position state"), ({"equity": "8000"}, "equity"),
        ({"current_mark": "55.5"}, "market data"), ({"recent_marks": [str(100 + (k * 37 % 1009) / 100) for k in range(850, 901) if k != 895]}, "missing bars"),
    ],
)  # fmt: skip
def test_the_guess_is_read_off_the_first_mismatch(over: dict[str, Any], cause: str) -> None:
    found = compare_logs(log(), changed(900, **over))
    assert found.cause == cause


def test_an_indicator_window_is_named_from_the_configurations() -> None:
    found = compare_logs(log(), {**changed(900), "config": {"slow": 34}})
    assert "slow: 30 against 34" in (found.cause_detail or "")


def test_symbols_are_paired_each_on_its_own() -> None:
    both = [r for k in range(2 * DAY) for r in (row(k, act(k)), row(k, act(k + 5), symbol="Y"))]
    assert compare_logs(log(both), log(list(reversed(both)))).go
    found = compare_logs(log(both), log([r for r in both if r["context"]["symbol"] == "X"]))
    assert not found.go
    assert [t.symbol for t in found.trade_differences] == ["Y"]


def test_the_two_logs_can_be_swapped() -> None:
    a, b = compare_logs(log(), changed(60, 900)), compare_logs(changed(60, 900), log())
    assert (a.parity_rate, a.mismatch_count, a.cause, a.go) == (b.parity_rate, b.mismatch_count, b.cause, b.go)
    assert [(m.action_a, m.action_b) for m in a.mismatches] == [(m.action_b, m.action_a) for m in b.mismatches]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"decisions": None}, "decisions: missing"), ({"decisions": [7]}, r"decisions\[0\]: not an object"),
        ({"decisions": [row(0), row(1, timestamp="soon")]}, r"decisions\[1\].context.timestamp"), ({"decisions": [row(0, "hodl")]}, r"decisions\[0\].decision.action"),
        ({"decisions": [row(0, quantity="lots")]}, r"decisions\[0\].decision.quantity"), ({"decisions": [row(0, guards="x")]}, "guards"),
        ({"decisions": [{"context": {}}]}, r"decisions\[0\].decision: missing"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_read_says_where(broken: dict[str, Any], where: str) -> None:
    with pytest.raises(LogError, match=f"^B: .*{where}"):
        compare_logs(log(), {**log(), **broken})


def test_a_shift_that_leaves_no_common_decision_is_named_too() -> None:
    quarter = [row(k * 15, act(k)) for k in range(200)]
    moved = [row(k * 15, act(k), shift_ns=301 * 10**9) for k in range(200)]
    for r, m in zip(quarter, moved, strict=True):
        m["context"]["current_mark"] = r["context"]["current_mark"]
    found = compare_logs(log(quarter), log(moved))
    assert (found.go, found.common, found.cause, found.cause_detail) == (False, 0, "shifted time", "B shows A's marks 301 s later")
    days = compare_logs(log(moved), log([row(k * 15, act(k), shift_ns=-60 * 86_400 * 10**9) for k in range(200)]))
    assert (days.common, days.cause) == (0, "shifted time")


def test_where_no_marks_are_said_no_cause_is_made_of_them() -> None:
    def bare(*wrong: int) -> dict[str, Any]:
        rows = [row(k, "sell" if k in wrong else act(k), current_mark=..., recent_marks=..., position_state=...) for k in range(2 * DAY)]
        return log(rows)

    found = compare_logs(bare(), bare(900))
    assert (found.mismatch_count, found.cause, found.cause_detail) == (1, None, None)


def test_a_position_in_words_is_a_cause() -> None:
    found = compare_logs(changed(900, to="hold", position_state="flat", filled=False), changed(900, position_state="long"))
    assert (found.cause, found.cause_detail) == ("position state", "the position is flat against long")


def test_two_decisions_of_one_moment_pair_by_action_in_any_order() -> None:
    reversal = [row(10, "close"), row(10, "buy"), row(20, "sell")]
    rest = [row(k, act(k)) for k in range(30, 2 * DAY)]
    found = compare_logs(log([*reversal, *rest]), log([*reversed(reversal), *rest]))
    assert (found.go, found.mismatch_count) == (True, 0)
    lone = compare_logs(log([*reversal, *rest]), log([reversal[1], *reversal[2:], *rest]))
    assert [(m.action_a, m.action_b) for m in lone.mismatches] == [("close", None)]


def test_a_target_of_notional_is_the_quantity_it_means() -> None:
    mark = row(60)["context"]["current_mark"]
    meant = changed(60, to="buy", quantity=None, target_notional=str(2 * float(mark)))
    assert compare_logs(changed(60, to="buy", quantity="2"), meant).mismatch_count == 0
    assert compare_logs(changed(60, to="buy", quantity="2.1"), meant).mismatch_count == 1


def test_a_thousand_symbols_cost_no_more_than_their_decisions() -> None:
    """A symbol is not looked for among all decisions: with a thousand of them that took eight minutes."""
    many = log([row(k, act(k), symbol=f"S{n}") for n in range(1000) for k in range(20)])
    began = process_time()
    assert compare_logs(many, many).common == 20_000
    assert process_time() - began < 10
