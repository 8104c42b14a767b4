"""Every row of the second table of findings: what the present alone says, without evidence from trades."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.box import Box, Record, at, decision, fill, heartbeat, lines, mark, stamp, trades

CONFIG = """
[strategies.promised]
max_silence = "20m"
[strategies.own-silence]
stale_engine_warning = "10m"
stale_engine_critical = "20m"
[strategies.closed]
calendar = "XNYS"
[strategies.new-york]
calendar = "XNYS"
"""
T = at(21)


def ago(minutes: float = 0, **other: float) -> datetime:
    return T - timedelta(minutes=minutes, **other)


def silent(
    strategy: str, minutes: float, *, beats: bool = True, flat: bool = False, when: datetime | None = None, **other: object
) -> list[Record]:
    """An engine with a position (or none and no trade of the last day), last heard `minutes` ago."""
    moment = when or ago(minutes + 60)
    out: list[Record] = [] if flat else [fill(strategy, "1", moment if beats else ago(minutes))]
    return out + ([heartbeat(strategy, ago(minutes), **other)] if beats else [])


def waiting(strategy: str, hours: float) -> list[Record]:
    return [fill(strategy, "1", ago(hours=hours)), heartbeat(strategy, ago())]


def positions(strategy: str, *reported: float) -> list[Record]:
    """One fill of 1 after the first record; `reported` every ten minutes from then on."""
    first = at(18)
    out = [{"kind": "position", "strategy": strategy, "symbol": "BTC/USD", "quantity": reported[0], "ts": stamp(first)}]
    out.append(fill(strategy, "1", first + timedelta(minutes=1)))
    for i, q in enumerate(reported[1:], 1):
        out.append(
            {"kind": "position", "strategy": strategy, "symbol": "BTC/USD", "quantity": q, "ts": stamp(first + timedelta(minutes=10 * i))}
        )
    return [*out, heartbeat(strategy, ago(1))]


def balances(strategy: str, *equity: float, transfer: float = 0, apart: float = 61) -> list[Record]:
    first = at(16)
    out: list[Record] = [
        {"kind": "balance", "strategy": strategy, "equity": e, "currency": "USD", "ts": stamp(first + timedelta(minutes=apart * i))}
        for i, e in enumerate(equity)
    ]
    if transfer:
        out.append(
            {"kind": "transfer", "strategy": strategy, "amount": transfer, "currency": "USD", "ts": stamp(first + timedelta(minutes=30))}
        )
    return [*out, heartbeat(strategy, ago(1))]


def flags(strategy: str, *said: tuple[float, bool]) -> list[Record]:
    """Heartbeats (minutes ago, broker connected)."""
    return [heartbeat(strategy, ago(m), broker_connected=ok) for m, ok in said]


CASES: dict[str, tuple[list[Record], dict[str, str]]] = {
    "heard": (silent("heard", 29), {}),
    "silent": (silent("silent", 31), {"stale_engine": "WARNING"}),
    "long-silent": (silent("long-silent", 121), {"stale_engine": "CRITICAL"}),
    "silent-flat": (silent("silent-flat", 300, flat=True), {}),
    "no-pulse": (silent("no-pulse", 300, beats=False), {}),
    "promised": (silent("promised", 21, beats=False), {"stale_engine": "WARNING"}),
    "said-later": (silent("said-later", 200, next_by=stamp(ago(20))), {}),
    "said-too-long-ago": (silent("said-too-long-ago", 200, next_by=stamp(ago(40))), {"stale_engine": "WARNING"}),
    "own-silence": (silent("own-silence", 21), {"stale_engine": "CRITICAL"}),
    "waits": (waiting("waits", 29.9), {}),
    "waits-long": (waiting("waits-long", 30.1), {"stale_backtest": "WARNING"}),
    "waits-too-long": (waiting("waits-too-long", 34.1), {"stale_backtest": "CRITICAL"}),
    "position-right": (positions("position-right", 5, 6, 6), {}),
    "position-once": (positions("position-once", 5, 6, 7), {}),
    "position-mended": (positions("position-mended", 5, 7, 7, 6), {}),
    "position-wrong": (positions("position-wrong", 5, 7, 7), {"position_mismatch": "CRITICAL"}),
    "balance-right": (balances("balance-right", 1000, 1009, 1000), {}),
    "balance-once": (balances("balance-once", 1000, 1000, 1020), {}),
    "balance-wrong": (balances("balance-wrong", 1000, 1020, 1040), {"balance_mismatch": "CRITICAL"}),
    "balance-soon": (balances("balance-soon", 1000, 1020, 1040, apart=20), {}),
    "balance-paid-in": (balances("balance-paid-in", 1000, 1500, 1500, transfer=500), {}),
    "healthy-again": (flags("healthy-again", (5, False), (3, False), (1, True)), {}),
    "unhealthy-once": (flags("unhealthy-once", (5, True), (2, False)), {}),
    "unhealthy-briefly": (flags("unhealthy-briefly", (0.9, False), (0.4, False)), {}),
    "unhealthy": (flags("unhealthy", (5, False), (2, False)), {"engine_unhealthy": "CRITICAL"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Record:
    box = Box(tmp_path_factory.mktemp("state"), CONFIG)
    box.drop("live", mark(100, ago(1)), *(r for records, _ in CASES.values() for r in records))
    document = box.check(T)
    assert box.refused() == []
    return document


@pytest.mark.parametrize("name", CASES)
def test_the_present_speaks_at_its_thresholds(present: Record, name: str) -> None:
    entry = present["strategies"][name]
    found = {f["code"]: f["level"] for f in entry["findings"]}
    assert found == CASES[name][1], entry["findings"]
    action = {"WARNING": "WARNING", "CRITICAL": "REDUCE_SIZE"}.get(
        max(found.values(), key="WARNING CRITICAL".index, default=""), "CONTINUE"
    )
    assert entry["action"] == action


def test_state_findings_end_after_four_clean_checks_and_count_for_no_streak(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop("live", *silent("s", 31))
    assert box.check(T)["strategies"]["s"]["action"] == "WARNING"
    box.drop("live", heartbeat("s", ago(-1)))
    said = [box.check(ago(-1 - i))["strategies"]["s"] for i in range(1, 5)]
    assert [x["action"] for x in said] == ["WARNING"] * 4, "a past moment never publishes less than stands"
    assert box.check()["strategies"]["s"]["streaks"] in ({"WARNING": 0, "CRITICAL": 0}, {})


def test_silence_outside_the_session_is_no_silence(tmp_path: Path) -> None:
    """2026-11-14 is a Saturday, the exchange closed at 21:00 UTC on the day before and opens at 14:30 UTC on Monday."""
    box = Box(tmp_path, '[strategies.shut]\ncalendar = "XNYS"\n')
    close = datetime(2026, 11, 13, 21, tzinfo=UTC)
    for name in ("shut", "always"):
        box.drop("live", fill(name, "1", close - timedelta(hours=2)), heartbeat(name, close - timedelta(minutes=5)))
    monday = datetime(2026, 11, 16, 14, 30, tzinfo=UTC)
    early = box.check(monday + timedelta(minutes=20))["strategies"]
    codes = {n: [(f["code"], f["level"]) for f in early[n]["findings"] if f["code"] == "stale_engine"] for n in early}
    assert codes == {"shut": [], "always": [("stale_engine", "CRITICAL")]}
    late = box.check(monday + timedelta(minutes=26))["strategies"]
    assert ("stale_engine", "WARNING") in [(f["code"], f["level"]) for f in late["shut"]["findings"]]


def test_a_source_of_which_a_fifth_is_refused_binds_the_strategies_that_it_feeds(tmp_path: Path) -> None:
    config = '[sources.good]\nbook = "live"\npath = "good-*.jsonl"\n[sources.bad]\nbook = "live"\npath = "bad-*.jsonl"\n'
    box = Box(tmp_path, config)
    broken: list[Record] = [fill("fed", f"b{i}", ago(200), quantity=-1) for i in range(60)]
    fine = [fill("fed", f"g{i}", ago(190 - i / 10)) for i in range(180)]
    box.put("live", "bad-1.jsonl", lines([*broken, *fine]))
    box.put("live", "good-1.jsonl", lines([fill("other", f"g{i}", ago(190)) for i in range(180)]))
    s = box.check(T)["strategies"]
    assert [(f["code"], f["level"]) for f in s["fed"]["findings"] if f["code"] == "broken_source"] == [("broken_source", "CRITICAL")]
    assert "broken_source" not in {f["code"] for f in s["other"]["findings"]}
    again = box.check(T + timedelta(minutes=1))["strategies"]["fed"]
    assert "broken_source" in {f["code"] for f in again["findings"]}, "a restart clears nothing"


def test_conflicts_and_duplicates_break_no_source(tmp_path: Path) -> None:
    box = Box(tmp_path)
    good = [fill("s", f"{i}", ago(100 - i / 10)) for i in range(120)]
    box.put("live", "1.jsonl", lines(good))
    box.put("live", "2.jsonl", lines([{**f, "price": 101} for f in good] + good + [heartbeat("s", ago(1))]))
    entry = box.check(T)["strategies"]["s"]
    assert len(box.refused()) == 120 and {r["code"] for r in box.refused()} == {"conflict"}
    assert "broken_source" not in {f["code"] for f in entry["findings"]}


def stopped(box: Box, position: float = 0) -> Record:
    """A strategy that was told to stop just now: its engine acknowledges and its position is known."""
    now = datetime.now(UTC)
    decided, filled = trades("s", [130.0, 130.0, -130.0, -130.0] * 4, start=now - timedelta(hours=4))
    known = {"kind": "position", "strategy": "s", "symbol": "BTC/USD", "quantity": position, "ts": stamp(now - timedelta(minutes=5))}
    beats = [heartbeat("s", now - timedelta(minutes=k), override_sequence=0) for k in (3, 2)]
    box.drop("backtest", *decided, heartbeat("s", now - timedelta(minutes=1)))
    box.drop("live", *filled, known, *beats)
    assert box.check()["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    return box.override()


def test_an_engine_that_does_not_acknowledge_is_named(tmp_path: Path) -> None:
    box = Box(tmp_path)
    told = stopped(box)
    issued = datetime.fromisoformat(told["issued_at"])
    codes = {f["code"] for f in box.check(issued + timedelta(seconds=100))["strategies"]["s"]["findings"]}
    assert "unacknowledged" not in codes, "twice the interval of a minute"
    found = {f["code"]: f["level"] for f in box.check(issued + timedelta(seconds=130))["strategies"]["s"]["findings"]}
    assert found.get("unacknowledged") == "WARNING"


def test_exposure_added_under_an_acknowledged_stop_is_disobedience(tmp_path: Path) -> None:
    box = Box(tmp_path)
    told = stopped(box)
    now = datetime.now(UTC)
    order = {"kind": "order", "strategy": "s", "symbol": "BTC/USD", "side": "buy", "quantity": 1, "status": "submitted"}
    box.drop(
        "live", heartbeat("s", now, override_sequence=told["decision_sequence"]),
        {**order, "order_id": "o1", "ts": stamp(now + timedelta(seconds=1))},
        fill("s", "late", now + timedelta(seconds=2), order_id="o1"), heartbeat("s", now + timedelta(seconds=3), override_sequence=told["decision_sequence"]),
    )  # fmt: skip
    entry = box.check()["strategies"]["s"]
    assert ("not_obeyed", "EMERGENCY") in [(f["code"], f["level"]) for f in entry["findings"]]
    assert "not_obeyed" in {x["code"] for x in entry["latched"]}


def test_an_exit_under_a_stop_is_obedience(tmp_path: Path) -> None:
    box = Box(tmp_path)
    told = stopped(box, position=3)
    now = datetime.now(UTC)
    order = {"kind": "order", "strategy": "s", "symbol": "BTC/USD", "side": "sell", "quantity": 1, "status": "submitted"}
    box.drop(
        "live", heartbeat("s", now, override_sequence=told["decision_sequence"]), {**order, "order_id": "o1", "ts": stamp(now + timedelta(seconds=1))},
        fill("s", "late", now + timedelta(seconds=2), order_id="o1", side="sell"), heartbeat("s", now + timedelta(seconds=3), override_sequence=told["decision_sequence"]),
    )  # fmt: skip
    assert "not_obeyed" not in {f["code"] for f in box.check()["strategies"]["s"]["findings"]}


def test_an_open_trade_settles_by_a_decision_that_came(tmp_path: Path) -> None:
    """What waited 34 h for the backtest stops waiting once the backtest has passed it."""
    box = Box(tmp_path)
    box.drop("live", *waiting("s", 34.5))
    assert "stale_backtest" in {f["code"] for f in box.check(T)["strategies"]["s"]["findings"]}
    box.drop("backtest", decision("s", "1", ago(hours=34.5)), heartbeat("s", ago(10)))
    entry = box.check(T)["strategies"]["s"]
    assert entry["trades"]["matched"] == 1 and entry["trades"]["pending"] == 0
