"""Every row of the first table of findings, at each of its levels and just below them: one strategy a case, one check for all."""

import math
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from e2e.box import Box, Record, at, decision, fill, heartbeat, mark, stamp, trades

CONFIG = """
[strategies.strict-ok]
profile = "strict"
[strategies.strict-warning]
profile = "strict"
[strategies.strict-critical]
profile = "strict"
[strategies.strict-emergency]
profile = "strict"
[strategies.own]
warning_bps = 4.0
critical_bps = 6.0
[strategies.capital-small]
capital = 1000
[strategies.capital-large]
capital = 10000
[strategies.capital-gain]
capital = 1000
[strategies.anti]
min_trades = 1
[strategies.together]
min_trades = 1
[strategies.sum-noise]
warning_bps = 300
critical_bps = 400
emergency_bps = 500
[strategies.advised]
auto_disable_on_drift = false
"""

Case = tuple[list[Record], list[Record]]


def swing(strategy: str, bps: float, n: int = 12) -> Case:
    """A tracking error of `bps` with a mean of 0."""
    return trades(strategy, [bps if i % 4 < 2 else -bps for i in range(n)])


def chained(
    strategy: str, n: int, *, arrival: float = 0, touch: float = 0, measured: int | None = None, fee: float = 0.0, **other: object
) -> Case:
    """Trades whose every link is known: arrival and touch in bps from the decision's mark, against us; the first `measured` of them only."""
    decided, filled = trades(strategy, [arrival + touch] * n)
    for i, (d, f) in enumerate(zip(decided, filled, strict=True)):
        sign = 1 if f["side"] == "buy" else -1
        d |= {"mark": 100, "fee": 0}
        f |= {"fee": fee, "fee_currency": "USD", **other}
        if measured is None or i < measured:
            mid, edge = 100 * (1 + sign * arrival / 1e4), 100 * (1 + sign * (arrival + touch) / 1e4)
            far = 2 * mid - edge
            f |= {"decision_mark": 100, "arrival_mark": mid, "arrival_ask": max(edge, far), "arrival_bid": min(edge, far)}
    return decided, filled


def charged(strategy: str, bps: float) -> Case:
    """The backtest charged itself `bps` over its mark, live paid nothing over it."""
    decided, filled = chained(strategy, 12)
    for d in decided:
        d["price"] = 100 * (1 + (1 if d["action"] == "buy" else -1) * bps / 1e4)
    return decided, filled


def unmatched(strategy: str, matched: int, missed: int, unexpected: int) -> Case:
    decided, filled = trades(strategy, [0.0] * (matched + missed))
    filled = filled[:matched]
    filled += [fill(strategy, f"x{i}", at(18, i)) for i in range(unexpected)]
    return decided, filled


def days(strategy: str, per_day: list[float]) -> Case:
    """The same differences on each of seven days."""
    decided: list[Record] = []
    filled: list[Record] = []
    for k in range(7):
        d, f = trades(strategy, per_day, start=at(6, day=-k), first=1000 * k)
        decided += d
        filled += f
    return decided, filled


def parity(strategy: str, alike: int, unlike: int, holds: int = 0) -> Case:
    """Decisions of both books that are no executions: `unlike` of them buy here and sell there."""
    mine, theirs = [], []
    for i in range(alike + unlike + holds):
        moment, action = at(6, 2 * i), "hold" if i >= alike + unlike else "buy"
        own = {"kind": "decision", "strategy": strategy, "symbol": "BTC/USD", "ts": stamp(moment), "action": action}
        mine.append(own)
        theirs.append({**own, "action": "sell"} if alike <= i < alike + unlike else own)
    ten = trades(strategy, [0.0] * 10, start=at(1), step=timedelta(minutes=1))
    for d in ten[0]:
        theirs.append({k: v for k, v in d.items() if k not in ("price", "fee")} | {"price": 100})
    return mine + ten[0], theirs + ten[1]


def held(strategy: str, side: str) -> Case:
    """A position of a day in each book: the backtest's long, the live one on `side`; the price walks."""
    decided = [decision(strategy, "1", at(2))]
    filled = [fill(strategy, "1" if side == "buy" else "other", at(2, 0, 1), side=side)]
    return decided, filled


def runaway(strategy: str, last: int, early: int) -> Case:
    """One trade an hour for 30 hours (`early` in one of them), then `last` live executions in the hour before the check."""
    decided, filled = trades(strategy, [0.0] * 30, start=at(14, day=-1), step=timedelta(hours=1))
    d, f = trades(strategy, [0.0] * early, start=at(7, 30), step=timedelta(minutes=1), first=500)
    filled += [fill(strategy, f"r{i}", at(20, 2 + i)) for i in range(last)]
    return decided + d, filled + f


def drifting(strategy: str, shift: float) -> Case:
    rng = Random(7)
    noise = [rng.gauss(0, 2) for _ in range(400)] + [rng.gauss(shift, 2) for _ in range(90)]
    return trades(strategy, noise, start=at(6, day=-3), step=timedelta(minutes=10))


CASES: dict[str, tuple[Case, dict[str, str], str]] = {
    "quiet": (swing("quiet", 3), {}, "CONTINUE"),
    "te-under": (swing("te-under", 19.99), {}, "CONTINUE"),
    "te-warning": (swing("te-warning", 20), {"tracking_error": "WARNING"}, "WARNING"),
    "te-under-critical": (swing("te-under-critical", 49.9), {"tracking_error": "WARNING"}, "WARNING"),
    "te-critical": (swing("te-critical", 50), {"tracking_error": "CRITICAL"}, "REDUCE_SIZE"),
    "te-emergency": (swing("te-emergency", 100), {"tracking_error": "EMERGENCY"}, "EMERGENCY_STOP"),
    "te-one-outlier": (trades("te-one-outlier", [0.0] * 11 + [400.0]), {}, "CONTINUE"),
    "te-rest-warns": (trades("te-rest-warns", [30.0, -30.0] * 6 + [400.0]), {"tracking_error": "WARNING"}, "WARNING"),
    "too-few": (swing("too-few", 130, 9), {}, "CONTINUE"),
    "strict-ok": (swing("strict-ok", 14.9), {}, "CONTINUE"),
    "strict-warning": (swing("strict-warning", 15), {"tracking_error": "WARNING"}, "WARNING"),
    "strict-critical": (swing("strict-critical", 30), {"tracking_error": "CRITICAL"}, "REDUCE_SIZE"),
    "strict-emergency": (swing("strict-emergency", 60), {"tracking_error": "EMERGENCY"}, "EMERGENCY_STOP"),
    "own": (swing("own", 7), {"tracking_error": "CRITICAL"}, "REDUCE_SIZE"),
    "advised": (swing("advised", 130), {"tracking_error": "EMERGENCY"}, "WARNING"),
    "slip-at": (chained("slip-at", 12, touch=30), {"tracking_error": "WARNING"}, "WARNING"),
    "slip-over": (chained("slip-over", 12, touch=30.5), {"tracking_error": "WARNING", "slippage": "CRITICAL"}, "REDUCE_SIZE"),
    "slip-gain": (charged("slip-gain", 31), {"tracking_error": "WARNING"}, "WARNING"),
    "fee-at": (chained("fee-at", 12, fee=0.15), {}, "CONTINUE"),
    "fee-over": (chained("fee-over", 12, fee=0.151), {"fee_impact": "CRITICAL"}, "REDUCE_SIZE"),
    "timing-at": (chained("timing-at", 12, arrival=10), {}, "CONTINUE"),
    "timing-over": (chained("timing-over", 12, arrival=10.1), {"timing_impact": "CRITICAL"}, "REDUCE_SIZE"),
    "timing-half": (chained("timing-half", 12, arrival=11, measured=6), {"timing_impact": "CRITICAL"}, "REDUCE_SIZE"),
    "timing-few": (chained("timing-few", 12, arrival=11, measured=5), {}, "CONTINUE"),
    "late-at": (trades("late-at", [0.0] * 12, latency_ms=1000), {}, "CONTINUE"),
    "late-over": (trades("late-over", [0.0] * 12, latency_ms=1000.5), {"latency": "CRITICAL"}, "REDUCE_SIZE"),
    "late-makers": (trades("late-makers", [0.0] * 12, latency_ms=60000, liquidity="maker"), {}, "CONTINUE"),
    "sum-warning": (days("sum-warning", [16.0, 16.5] * 5), {"cumulative_drift": "WARNING"}, "WARNING"),
    "sum-gain": (days("sum-gain", [-16.0, -16.5] * 5), {"cumulative_drift": "WARNING"}, "WARNING"),
    "sum-noise": (days("sum-noise", [50.5, -19.5] * 5), {}, "CONTINUE"),
    "unmatched-few": (unmatched("unmatched-few", 18, 2, 0), {}, "CONTINUE"),
    "unmatched-warning": (unmatched("unmatched-warning", 15, 3, 2), {"unmatched": "WARNING"}, "WARNING"),
    "unmatched-critical": (unmatched("unmatched-critical", 12, 4, 4), {"unmatched": "CRITICAL"}, "REDUCE_SIZE"),
    "trade-critical": (trades("trade-critical", [0.0] * 11 + [501.0]), {"max_trade_diff": "CRITICAL"}, "REDUCE_SIZE"),
    "trade-gain": (trades("trade-gain", [0.0] * 11 + [-501.0]), {"max_trade_diff": "CRITICAL"}, "REDUCE_SIZE"),
    "trade-emergency": (trades("trade-emergency", [0.0] * 11 + [1001.0]), {"max_trade_diff": "EMERGENCY"}, "EMERGENCY_STOP"),
    "trade-alone": (trades("trade-alone", [600.0]), {"max_trade_diff": "CRITICAL"}, "REDUCE_SIZE"),
    "capital-small": (trades("capital-small", [0.0] * 11 + [600.0]), {"max_trade_diff": "CRITICAL"}, "REDUCE_SIZE"),
    "capital-large": (trades("capital-large", [0.0] * 11 + [600.0]), {}, "CONTINUE"),
    "capital-gain": (trades("capital-gain", [0.0] * 11 + [-600.0]), {}, "CONTINUE"),
    "suspect": (trades("suspect", [0.0] * 11 + [3001.0]), {"suspect_data": "CRITICAL"}, "REDUCE_SIZE"),
    "suspect-alone": (trades("suspect-alone", [-3500.0]), {"suspect_data": "CRITICAL"}, "REDUCE_SIZE"),
    "runaway": (runaway("runaway", 25, 0), {"runaway": "CRITICAL", "unmatched": "CRITICAL"}, "REDUCE_SIZE"),
    "busy-before": (runaway("busy-before", 25, 9), {"unmatched": "CRITICAL"}, "REDUCE_SIZE"),
    "runaway-few": (runaway("runaway-few", 18, 0), {"unmatched": "CRITICAL"}, "REDUCE_SIZE"),
    "alike": (parity("alike", 30, 0), {}, "CONTINUE"),
    "unlike-critical": (parity("unlike-critical", 30, 10), {"decision_parity": "CRITICAL", "action_parity": "CRITICAL"}, "REDUCE_SIZE"),
    "unlike-held": (parity("unlike-held", 40, 3, 320), {"action_parity": "WARNING"}, "WARNING"),
    "anti": (held("anti", "sell"), {"correlation": "EMERGENCY"}, "EMERGENCY_STOP"),
    "together": (held("together", "buy"), {}, "CONTINUE"),
}  # fmt: skip
LOOSE = {"anti": {"unmatched"}} | {name: {"correlation"} for name in ("sum-warning", "sum-gain", "sum-noise", "unmatched-warning")}
"""Findings that a case may have beside its own."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, Record]:
    box = Box(tmp_path_factory.mktemp("parity"), CONFIG)
    beats = [heartbeat(name, at(20, 59)) for name in CASES]
    rng = Random(3)
    price, prices = 100.0, [mark(100, at(1, 59))]
    for k in range(60):
        price *= math.exp(rng.gauss(0, 0.002))
        prices.append(mark(round(price, 4), at(2, 15 * k + 14)))
    box.drop("backtest", *(r for case, _, _ in CASES.values() for r in case[0]), *beats)
    box.drop("live", *prices, *(r for case, _, _ in CASES.values() for r in case[1]), *beats)
    return box, box.check(at(21))


@pytest.mark.parametrize("name", CASES)
def test_each_level_is_asked_for_at_its_threshold_and_not_below(judged: tuple[Box, Record], name: str) -> None:
    _, wanted, action = CASES[name]
    entry = judged[1]["strategies"][name]
    found = {f["code"]: f["level"] for f in entry["findings"] if f["code"] not in LOOSE.get(name, ())}
    assert found == wanted, (found, entry["metrics"], entry["trades"])
    assert entry["action"] == action or len(entry["findings"]) > len(found)


def test_nothing_was_refused_on_the_way(judged: tuple[Box, Record]) -> None:
    assert judged[0].refused() == []
    assert judged[0].spooled() == []


def test_findings_say_code_level_value_threshold_and_detail(judged: tuple[Box, Record]) -> None:
    (f,) = judged[1]["strategies"]["te-critical"]["findings"]
    assert set(f) >= {"code", "level", "value", "threshold", "detail"}
    assert math.isclose(f["value"], 50, abs_tol=1e-6) and f["threshold"] == 50


def test_suspect_trades_are_kept_out_of_every_other_measure(judged: tuple[Box, Record]) -> None:
    metrics = judged[1]["strategies"]["suspect"]["metrics"]
    assert metrics["tracking_error_bps"] == 0 and metrics["max_price_diff_bps"] == 0 and metrics["mean_price_diff_bps"] == 0


def test_the_top_level_is_the_most_severe_entry(judged: tuple[Box, Record]) -> None:
    document = judged[1]
    assert document["action"] == "EMERGENCY_STOP" and document["exit"] == 2 and not document["trading_enabled"]
    assert judged[0].override()["default"]["action"] == "CONTINUE"


def test_sizes_published_follow_the_table_of_actions(judged: tuple[Box, Record]) -> None:
    told = judged[0].override()["strategies"]
    want = {
        "CONTINUE": (True, 1),
        "WARNING": (True, 1),
        "REDUCE_SIZE": (True, 0.5),
        "DISABLE_TRADING": (False, 0),
        "EMERGENCY_STOP": (False, 0),
    }
    for name, entry in told.items():
        assert (entry["trading_enabled"], entry["size_multiplier"]) == want[entry["action"]], name


def test_advisory_mode_caps_the_action_and_tells_what_it_would_be(judged: tuple[Box, Record]) -> None:
    entry = judged[1]["strategies"]["advised"]
    assert entry["action"] == "WARNING" and entry["would_be_action"] == "EMERGENCY_STOP"


def test_an_entry_has_every_field_of_the_contract(judged: tuple[Box, Record]) -> None:
    names = {"level", "grade", "action", "would_be_action", "since", "evidence", "findings", "metrics", "streaks", "override", "drift"}
    for entry in judged[1]["strategies"].values():
        assert names <= set(entry)


def test_the_grade_is_excellent_under_five_good_under_the_threshold_and_null_without_evidence(judged: tuple[Box, Record]) -> None:
    s = judged[1]["strategies"]
    assert s["quiet"]["grade"] == "EXCELLENT" and s["te-under"]["grade"] == "GOOD"
    assert s["too-few"]["grade"] is None and s["too-few"]["evidence"] == "insufficient" and s["te-warning"]["grade"] in (None, "WARNING")


def test_action_changes_are_in_the_audit_with_their_reasons(judged: tuple[Box, Record]) -> None:
    said = {x["strategy"]: x for x in judged[0].audit() if x["event"] == "action.changed" and x["strategy"] in CASES}
    assert said["te-critical"]["data"]["to"] == "REDUCE_SIZE" and "50" in said["te-critical"]["data"]["reason"]
    assert "quiet" not in said


def test_a_large_cumulative_drift_and_a_detected_one(tmp_path: Path) -> None:
    box = Box(tmp_path)
    heavy, moved = days("heavy", [30.0, 30.5] * 5), drifting("moved", 30)
    beats = [heartbeat(n, at(20, 59)) for n in ("heavy", "moved")]
    box.drop("backtest", *heavy[0], *moved[0], *beats)
    box.drop("live", *heavy[1], *moved[1], *beats)
    s = box.check(at(21))["strategies"]
    codes = {f["code"]: f["level"] for f in s["heavy"]["findings"]}
    assert codes["cumulative_drift"] == "CRITICAL" and s["heavy"]["action"] == "DISABLE_TRADING"
    codes = {f["code"]: f["level"] for f in s["moved"]["findings"]}
    assert codes["drift"] == "CRITICAL" and codes["tracking_error"] == "WARNING", (codes, s["moved"]["drift"])


def test_ambiguous_pairs_are_no_evidence(tmp_path: Path) -> None:
    """Twelve pairs by time, each with a rival half as near as its partner."""
    box = Box(tmp_path)
    decided = [decision("s", None, at(6, 10 * i), quantity=1) for i in range(12)]
    live = [fill("s", None, at(6, 10 * i, 20), fill_id=f"a{i}", price=102) for i in range(12)]
    live += [fill("s", None, at(6, 10 * i, 30), fill_id=f"b{i}", price=102) for i in range(12)]
    beat = heartbeat("s", at(20, 50))
    box.drop("backtest", *decided, beat)
    box.drop("live", *live, beat)
    entry = box.check(at(21))["strategies"]["s"]
    assert entry["trades"]["matched"] == 12 and entry["trades"]["unexpected"] == 12
    assert entry["trades"]["ambiguous"] == 12 and entry["evidence"] == "insufficient" and entry["action"] == "CONTINUE"
