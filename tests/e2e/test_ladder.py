"""Waiting and settling by watermark and grace, the window, and the ladder over days: escalation, recovery, operators' words (judgement, 2, 3 and 5)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from e2e.box import Box, Record, at, decision, fill, heartbeat, stamp, trades


def counted(entry: Record) -> tuple[int, int, int, int]:
    t = entry["trades"]
    return t["matched"], t["missed"], t["unexpected"], t["pending"]


def test_a_trade_waits_for_the_other_books_watermark_and_the_tolerance(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop("backtest", decision("b", "1", at(6)), heartbeat("l", at(6, 4)), decision("grace", "1", at(6)))
    box.drop("live", heartbeat("b", at(6, 4)), fill("l", "1", at(6)))
    s = box.check(at(7))["strategies"]
    assert counted(s["b"]) == (0, 0, 0, 1) and counted(s["l"]) == (0, 0, 0, 1)
    box.drop("live", heartbeat("b", at(6, 5, 1)))
    box.drop("backtest", heartbeat("l", at(6, 5, 1)))
    s = box.check(at(7))["strategies"]
    assert counted(s["b"]) == (0, 1, 0, 0) and counted(s["l"]) == (0, 0, 1, 0)
    assert counted(s["grace"]) == (0, 0, 0, 1)
    assert counted(box.check(at(6) + timedelta(hours=35.9))["strategies"]["grace"]) == (0, 0, 0, 1)
    assert counted(box.check(at(6) + timedelta(hours=36.1))["strategies"]["grace"]) == (0, 1, 0, 0)
    box.drop("live", fill("b", "1", at(6, 0, 3)))
    assert counted(box.check(at(8))["strategies"]["b"]) == (1, 0, 0, 0), "late arrivals still pair"


def test_grace_counts_from_what_the_other_book_promised(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop("backtest", decision("s", "1", at(6)))
    box.drop("live", heartbeat("s", at(5), next_by=stamp(at(15))))
    assert counted(box.check(at(6) + timedelta(hours=40))["strategies"]["s"]) == (0, 0, 0, 1)
    assert counted(box.check(at(15) + timedelta(hours=36.1))["strategies"]["s"]) == (0, 1, 0, 0)


def test_how_a_pair_was_made_is_told(tmp_path: Path) -> None:
    """By id; by decision time where both have one; by the first fill else; never further apart than the tolerance."""
    box = Box(tmp_path)
    beats = [heartbeat(n, at(20)) for n in ("id", "decision", "fill", "far", "order", "other-id", "side", "symbol")]
    order = {
        "kind": "order",
        "strategy": "order",
        "symbol": "BTC/USD",
        "order_id": "o",
        "status": "submitted",
        "ts": stamp(at(6, 0, 1)),
        "side": "buy",
        "quantity": 1,
    }
    box.drop(
        "backtest", decision("id", "1", at(6)), decision("decision", None, at(6)), decision("fill", None, at(6)), decision("far", None, at(6)), decision("order", None, at(6)),
        decision("other-id", "1", at(6)), decision("other-id", "2", at(8)), decision("side", None, at(6)), decision("symbol", None, at(6)), *beats,
    )  # fmt: skip
    box.drop(
        "live", fill("id", "1", at(9)), fill("decision", None, at(6, 40), decision_ts=stamp(at(6, 0, 55))), fill("fill", None, at(6, 0, 50)), fill("far", None, at(6, 5, 1)),
        order, fill("order", None, at(6, 50), order_id="o"), fill("other-id", "1", at(6)), fill("other-id", "3", at(8)), fill("side", None, at(6), side="sell"),
        fill("symbol", None, at(6), symbol="ETH/USD"), *beats,
    )  # fmt: skip
    box.check(at(21))
    s = box.report()["strategies"]
    how = {n: {k: v for k, v in s[n]["matched_by"].items() if v} for n in s}
    assert how == {
        "id": {"id": 1}, "decision": {"decision": 1}, "fill": {"fill": 1}, "far": {}, "order": {"decision": 1}, "other-id": {"id": 1}, "side": {}, "symbol": {},
    }  # fmt: skip
    assert counted(s["other-id"]) == (1, 1, 1, 0), "where ids meet, an id is joined by its id alone"
    assert counted(s["far"]) == (0, 1, 1, 0) == counted(s["side"]) == counted(s["symbol"])


def test_the_window_is_a_day_and_reaches_back_for_min_trades(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for name, late in (("enough", 12), ("reaches", 6)):
        old, new = trades(name, [40.0, -40.0] * 5, start=at(6, day=-2)), trades(name, [4.0, -4.0] * (late // 2), start=at(6), first=100)
        box.drop("backtest", *old[0], *new[0], heartbeat(name, at(20, 50)))
        box.drop("live", *old[1], *new[1], heartbeat(name, at(20, 50)))
    s = box.check(at(21))["strategies"]
    assert abs(s["enough"]["metrics"]["tracking_error_bps"] - 4) < 1e-6 and s["enough"]["trades"]["matched"] == 12
    assert (
        s["reaches"]["trades"]["matched"] == 10
        and abs(s["reaches"]["metrics"]["tracking_error_bps"] - ((6 * 16 + 4 * 1600) / 10) ** 0.5) < 1e-6
    )


def put_day(box: Box, name: str, day: int, bps: float, n: int = 12, **other: Any) -> None:
    decided, filled = trades(name, [bps if i % 4 < 2 else -bps for i in range(n)], start=at(6, day=day), first=1000 * (day + 100), **other)
    box.drop("backtest", *decided, heartbeat(name, at(24, 10, day=day)))
    box.drop("live", *filled, heartbeat(name, at(24, 10, day=day)))


def test_days_in_a_row_escalate_and_a_thin_day_neither_counts_nor_breaks(tmp_path: Path) -> None:
    """Days -6 .. 0: w = three at WARNING; t = two, a thin one, a third; b = two, a good one, two; c = two at CRITICAL."""
    box = Box(tmp_path)
    plans: dict[str, list[float | None]] = {"w": [25, 25, 25], "t": [25, 25, None, 25], "b": [25, 25, 3, 25, 25], "c": [60, 60]}
    seen: dict[str, list[str]] = {n: [] for n in plans}
    streaks: dict[str, list[int]] = {n: [] for n in plans}
    for k in range(5):
        for name, plan in plans.items():
            if k < len(plan):
                bps = plan[k]
                put_day(box, name, k - 5, 90.0 if bps is None else bps, 4 if bps is None else 12)
        s = box.check(at(0, 20, day=k - 4))["strategies"]
        for name in plans:
            seen[name].append(s[name]["action"])
            streaks[name].append(s[name]["streaks"]["WARNING"])
    assert seen["w"][:3] == ["WARNING", "WARNING", "REDUCE_SIZE"], (seen, streaks)
    assert seen["t"][:4] == ["WARNING", "WARNING", seen["t"][2], "REDUCE_SIZE"] and streaks["t"][:3] == [1, 2, 2]
    assert "REDUCE_SIZE" not in seen["b"] and streaks["b"] == [1, 2, 0, 1, 2]
    assert seen["c"][:2] == ["REDUCE_SIZE", "DISABLE_TRADING"]
    assert streaks["w"][2] == 0, "then the streak starts anew"


def test_without_heartbeats_a_day_closes_at_the_grace_also_after_a_downtime(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for day in (-4, -3):
        decided, filled = trades("s", [60.0, 60.0, -60.0, -60.0] * 3, start=at(6, day=day), first=1000 * (day + 100))
        box.drop("backtest", *decided)
        box.drop("live", *filled)
    assert box.check(at(20, day=-3))["strategies"]["s"]["streaks"]["CRITICAL"] == 1, "closed by the next day's records"
    assert box.check(at(11, day=-1))["strategies"]["s"]["streaks"]["CRITICAL"] == 1
    entry = box.check(at(13, day=-1))["strategies"]["s"]
    assert entry["action"] == "DISABLE_TRADING" and entry["streaks"]["CRITICAL"] == 0


def test_state_findings_never_escalate(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for day in (-4, -3, -2, -1):
        put_day(box, "s", day, 3.0)
        box.drop(
            "live", heartbeat("s", at(24, 11, day=day), broker_connected=False), heartbeat("s", at(24, 13, day=day), broker_connected=False)
        )
        entry = box.check(at(0, 20, day=day + 1))["strategies"]["s"]
        assert entry["streaks"] == {"WARNING": 0, "CRITICAL": 0} and entry["action"] == "REDUCE_SIZE"


RECENT = "[thresholds]\nmin_trades = 10\n[recovery]\nchecks = 2\n"


def test_a_rung_is_left_after_clean_checks_on_new_evidence_only(tmp_path: Path) -> None:
    """The wall clock is used, so that a fall is published; two clean checks are asked for."""
    box = Box(tmp_path, RECENT)
    now = datetime.now(UTC)
    bad = trades("s", [60.0, -60.0] * 8, start=now - timedelta(minutes=60), step=timedelta(minutes=1))
    box.drop("backtest", *bad[0])
    box.drop("live", *bad[1])
    assert box.check()["strategies"]["s"]["action"] == "REDUCE_SIZE"
    good = trades("s", [45.0, -45.0] * 6, start=datetime.now(UTC), step=timedelta(seconds=1), first=500)
    box.drop("backtest", *good[0])
    box.drop("live", *good[1])
    assert [box.check()["strategies"]["s"]["action"] for _ in range(3)] == ["REDUCE_SIZE"] * 3, "45 is not under 0.8 x 50"
    better = trades("s", [2.0, -2.0] * 60, start=datetime.now(UTC) + timedelta(seconds=15), step=timedelta(seconds=1), first=900)
    box.drop("backtest", *better[0])
    box.drop("live", *better[1])
    entries = [box.check()["strategies"]["s"] for _ in range(3)]
    assert entries[0]["action"] == "REDUCE_SIZE" and entries[-1]["action"] in ("WARNING", "CONTINUE"), [
        (e["action"], e["reason"], e["metrics"]["tracking_error_bps"]) for e in entries
    ]


HEAVY = (
    "[recovery]\nchecks = 2\n{}[strategies.s]\nwarning_bps = 300\ncritical_bps = 400\nemergency_bps = 500\n"
    '[matching]\ntolerance = "10s"\ngap = "5s"\n'
)


def disabled(box: Box) -> None:
    """A week that adds up to more than 200 bps: DISABLE_TRADING, by no streak."""
    for day in range(-6, 0):
        decided, filled = trades("s", [40.0, 40.5] * 5, start=at(6, day=day), first=1000 * (day + 100))
        box.drop("backtest", *decided)
        box.drop("live", *filled)
    assert box.check()["strategies"]["s"]["action"] == "DISABLE_TRADING"


def followed(box: Box, *, shadow: bool) -> list[Record]:
    """Sixteen good trades from now on, over before the three checks are (what comes later than a reset counts again)."""
    now = datetime.now(UTC)
    decided, filled = trades("s", [1.0, -1.0] * 8, start=now, step=timedelta(milliseconds=50), first=5000)
    box.drop("backtest", *decided, heartbeat("s", now + timedelta(seconds=60)))
    box.drop("live", *({**f, **({"shadow": True} if shadow else {})} for f in filled), heartbeat("s", now + timedelta(seconds=60)))
    return [box.check()["strategies"]["s"] for _ in range(3)]


def test_disabled_trading_is_left_on_shadow_fills_to_reduced_size(tmp_path: Path) -> None:
    box = Box(tmp_path, HEAVY.format(""))
    disabled(box)
    entries = followed(box, shadow=True)
    assert entries[-1]["action"] == "REDUCE_SIZE", [(e["action"], e["reason"], e["trades"]) for e in entries]
    assert entries[-1]["trades"]["unexpected"] == 0, "shadow fills enter no measure"


@pytest.mark.parametrize("config", ["auto_enable = false\n", ""])
def test_disabled_trading_stays_without_shadow_fills_or_where_only_an_operator_enables(tmp_path: Path, config: str) -> None:
    box = Box(tmp_path, HEAVY.format(config))
    disabled(box)
    assert [e["action"] for e in followed(box, shadow=bool(config))] == ["DISABLE_TRADING"] * 3
    box.command("reset.json", command="reset", strategy="s", operator="ops", reason="looked at")
    assert box.check()["strategies"]["s"]["action"] == "CONTINUE"


def test_an_emergency_latches_until_a_reset_draws_a_line(tmp_path: Path) -> None:
    box = Box(tmp_path, RECENT)
    now = datetime.now(UTC)
    bad = trades("s", [130.0, -130.0] * 8, start=now - timedelta(minutes=60), step=timedelta(minutes=1))
    box.drop("backtest", *bad[0])
    box.drop("live", *bad[1])
    assert box.check()["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    good = trades("s", [1.0, -1.0] * 80, start=datetime.now(UTC), step=timedelta(seconds=1), first=500)
    box.drop("backtest", *good[0])
    box.drop("live", *good[1])
    box.configure(RECENT + "[escalation]\nwarning_periods = 9\n")
    assert box.check()["strategies"]["s"]["action"] == "EMERGENCY_STOP", "a new configuration clears nothing"
    box.command("early.json", command="force_enable", strategy="s", operator="o", reason="r", expires_at=stamp(now + timedelta(hours=1)))
    assert box.check()["strategies"]["s"]["action"] == "EMERGENCY_STOP" and (box.data / "overrides/refused/early.json").exists()
    box.command(
        "enable.json",
        command="force_enable",
        strategy="s",
        operator="o",
        reason="r",
        expires_at=stamp(now + timedelta(hours=1)),
        acknowledge="EMERGENCY_STOP",
    )
    entry = box.check()["strategies"]["s"]
    assert entry["action"] == "CONTINUE" and entry["override"], entry["reason"]
    box.command("reset.json", command="reset", strategy="s", operator="o", reason="r")
    entry = box.check()["strategies"]["s"]
    assert entry["action"] == "CONTINUE" and entry["latched"] == [], "earlier trades raise nothing"


def test_lowering_words_are_obeyed_at_once_and_the_smaller_size_holds(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop("live", fill("s", "1", datetime.now(UTC)))
    box.command("a.json", 0o666, command="reduce_size", strategy="s", size_multiplier=0.3)
    entry = box.check()["strategies"]["s"]
    assert (entry["action"], entry["size_multiplier"], entry["trading_enabled"]) == ("REDUCE_SIZE", 0.3, True)
    box.command("b.json", command="reduce_size", strategy="s", size_multiplier=0.8, operator="o", reason="r")
    assert box.check()["strategies"]["s"]["size_multiplier"] == 0.3
    box.command("c.json", command="reduce_size", strategy="s", size_multiplier=1.5)
    entry = box.check()["strategies"]["s"]
    assert entry["action"] == "DISABLE_TRADING" and entry["size_multiplier"] == 0
    box.command("d.json", command="reset", strategy="*", operator="o", reason="r")
    assert box.check()["strategies"]["s"]["action"] == "CONTINUE"
    (box.data / "overrides/halt-now").mkdir()
    document = box.check()
    assert document["action"] == "EMERGENCY_STOP" and box.override()["default"]["action"] == "EMERGENCY_STOP" and document["exit"] == 2
    box.command("e.json", command="reset", strategy="*", operator="o", reason="again")
    assert box.check()["action"] == "EMERGENCY_STOP", "a reset never lifts a HALT whose file is there"


def test_sequences_rise_for_ever_and_the_decision_sequence_with_changes_alone(tmp_path: Path) -> None:
    box = Box(tmp_path)
    put_day(box, "s", 0, 3.0)
    box.check()
    one = box.override()
    box.check()
    two = box.override()
    assert two["sequence"] > one["sequence"] and two["decision_sequence"] == one["decision_sequence"] and two["instance"] == one["instance"]
    (box.data / "overrides/HALT.s").touch()
    box.check()
    three = box.override()
    assert three["decision_sequence"] == two["decision_sequence"] + 1 and three["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    assert three["default"]["action"] == "CONTINUE"
    (box.data / "overrides/HALT.nobody").touch()
    box.check()
    assert box.override()["default"]["action"] == "EMERGENCY_STOP" and "nobody" in box.override()["reason"]
    for p in box.data.glob("parityd.sqlite*"):
        p.unlink()
    document = box.check()
    assert document["sequence"] > three["sequence"] and document["action"] in ("DISABLE_TRADING", "EMERGENCY_STOP")


def test_what_parityd_cut_itself_is_no_drift(tmp_path: Path) -> None:
    """An engine that obeys halves what it opens after REDUCE_SIZE: alike with the allowed book; the cost stands beside the sum."""
    box = Box(tmp_path, "[strategies.s]\nobeys = true\nmin_trades = 5\n")
    box.command("a.json", command="reduce_size", strategy="s", size_multiplier=0.5, operator="o", reason="r")
    put_day(box, "s", -1, 3.0)
    box.check()
    now = datetime.now(UTC)
    decided, filled = trades("s", [0.0] * 4, start=now + timedelta(seconds=1), step=timedelta(seconds=1), first=9000)
    box.drop("backtest", *decided, heartbeat("s", now + timedelta(seconds=30)))
    box.drop("live", *({**f, "quantity": 0.5} for f in filled), heartbeat("s", now + timedelta(seconds=30)))
    box.check()
    s = box.report(now.date().isoformat())["strategies"]["s"]
    assert s["trades"]["matched"] == 4
    assert s["attribution"]["currency"]["sizing_impact"] == 0


def test_neither_a_rerun_backtest_nor_advisory_mode_lifts_what_is_in_force(tmp_path: Path) -> None:
    box = Box(tmp_path, RECENT)
    now = datetime.now(UTC)
    decided, filled = trades("s", [60.0, -60.0] * 8, start=now - timedelta(minutes=60), step=timedelta(minutes=1))
    box.drop("backtest", *decided)
    box.drop("live", *filled)
    assert box.check()["strategies"]["s"]["action"] == "REDUCE_SIZE"
    again = [{**d, "price": f["price"]} for d, f in zip(decided, filled, strict=True)]
    run = {
        "kind": "run",
        "strategy": "s",
        "run_id": "again",
        "created": stamp(now),
        "from": stamp(now - timedelta(hours=2)),
        "to": stamp(now - timedelta(minutes=30)),
    }
    box.drop("backtest", run, *again)
    box.configure("auto_disable_on_drift = false\n" + RECENT)
    entries = [box.check()["strategies"]["s"] for _ in range(3)]
    assert [e["metrics"]["tracking_error_bps"] for e in entries] == [0.0] * 3, "the newest run has replaced the records"
    assert [(e["action"], e["would_be_action"]) for e in entries] == [("REDUCE_SIZE", "REDUCE_SIZE")] * 3
    box.configure(RECENT)
    box.command("fe.json", command="force_enable", strategy="s", operator="o", reason="r", expires_at=stamp(now + timedelta(hours=1)))
    entry = box.check()["strategies"]["s"]
    assert (entry["action"], entry["override"]["command"]) == ("CONTINUE", "force_enable")
    worse = trades("s", [190.0, -190.0] * 8, start=datetime.now(UTC) - timedelta(seconds=20), step=timedelta(seconds=1), first=500)
    box.drop("backtest", *worse[0])
    box.drop("live", *worse[1])
    entry = box.check()["strategies"]["s"]
    assert (entry["action"], entry["override"]) == ("EMERGENCY_STOP", None), "an emergency that was not there ends the permission"


def test_only_a_settled_pair_stops(tmp_path: Path) -> None:
    box = Box(tmp_path)
    when = at(6)
    box.drop("backtest", decision("s", None, when), decision("id", "1", when))
    box.drop("live", fill("s", None, when, price=115, decision_ts=stamp(when)), fill("id", "1", when, price=115))
    s = box.check(at(6, 1))["strategies"]
    assert (s["s"]["action"], s["id"]["action"]) == ("CONTINUE", "EMERGENCY_STOP"), (
        "an id settles at once, a time when nothing nearer can come"
    )
    beat = heartbeat("s", at(6, 5, 1))
    box.drop("backtest", beat)
    box.drop("live", beat)
    assert box.check(at(6, 6))["strategies"]["s"]["action"] == "EMERGENCY_STOP"
