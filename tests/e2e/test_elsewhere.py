"""A backup put back elsewhere, and a store refilled from its archive: whoever looks from outside sees what he saw before (contract 3 and 8)."""

import gzip
import json
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from e2e.box import DAY0, Box, Record, at, both, day_of, decision, fill, heartbeat, lines, mark, stamp, trades

pytestmark = pytest.mark.slow
CONFIG = """reporting_currency = "USD"
[publish]
interval = "1s"
ttl = "4s"
[strategies.alpha]
capital = 100000
[symbols."OLD/USD"]
alias = "ACME/USD"
"""
DAYS = [day_of(at(day=-1)), DAY0.isoformat()]
# What a moment, a process or a folder has of its own; sequences are compared by themselves.
PASSING = {"issued_at", "issued_boottime_ns", "expires_at", "boot_id", "sequence", "decision_sequence", "now", "judged_at", "last_check", "started_at",
           "uptime_seconds", "pid", "free_bytes", "generated_at", "data_dir", "not_ready", "ready"}  # fmt: skip
COUNTED_ANEW = ("check_duration", "free_bytes", "_timestamp_seconds", "audit_entries", "ingest_lag", "report_duration")


def every_kind(s: str) -> list[Record]:
    """Of the live book, with what is refused, taken back, unpriced and doubtful."""
    return [
        mark(100, at(5)), mark(101, at(12), bid=100.9, ask=101.1, volume=5), mark(2, at(5), "BNB/USD"), mark(200, at(5), "ACME/USD"),
        {"kind": "order", "strategy": s, "symbol": "BTC/USD", "order_id": "o1", "status": "submitted", "ts": stamp(at(12)), "side": "buy", "quantity": 2, "trade_id": "x1"},
        fill(s, "x1", at(12, 0, 2), quantity=2, order_id="o1", fee=0.5, fee_currency="BNB", liquidity="maker", arrival_mark=100.5, arrival_bid=100.4, arrival_ask=100.6,
             decision_mark=100.2, latency_ms=120, agent="a1"),
        fill(s, "x2", at(12, 30), side="sell", fee=0.5, fee_currency="DOGE"),
        fill(s, "x3", at(12, 40), quantity=3),
        {"kind": "bust", "strategy": s, "symbol": "BTC/USD", "fill_id": f"f-{s}-x3", "ts": stamp(at(12, 45)), "reason": "typo"},
        fill(s, "shadow", at(13), shadow=True),
        fill(s, "split", at(4), symbol="OLD/USD", price=800),
        {"kind": "split", "symbol": "ACME/USD", "ratio": 4, "ts": stamp(at(4, 30))},
        {"kind": "funding", "strategy": s, "symbol": "BTC/USD", "amount": 1.5, "ts": stamp(at(16)), "funding_id": "u1"},
        {"kind": "funding", "strategy": s, "symbol": "BTC/USD", "amount": -0.5, "ts": stamp(at(16, 1)), "type": "dividend"},
        {"kind": "position", "strategy": s, "symbol": "BTC/USD", "quantity": 1, "ts": stamp(at(17))},
        {"kind": "balance", "strategy": s, "equity": 100000, "ts": stamp(at(17))},
        {"kind": "transfer", "strategy": s, "amount": 10, "ts": stamp(at(17, 1))},
        fill(s, "euro", at(17, 5), symbol="ACME-EUR", price=50),
        decision(s, "x1", at(12)),
        {"kind": "martian"}, {"kind": "fill", "strategy": s}, mark(-1, at(5)),
    ]  # fmt: skip


def drop_all(box: Box) -> None:
    for day in (-1, 0):
        for name, bps in (("alpha", 3.0), ("beta", 30.0), ("gamma", 60.0)):
            decided, filled = trades(name, [bps if i % 4 < 2 else -bps for i in range(16)], start=at(6, day=day), first=100 * (day + 1))
            box.drop("backtest", *decided)
            box.drop("live", *filled)
    box.put("live", "kinds.jsonl", lines(every_kind("alpha")))
    again = fill("alpha", "x2", at(12, 30), side="sell", quantity=9, fee=0.5, fee_currency="DOGE")
    box.put("live", "same.jsonl.gz", gzip.compress(lines([mark(100, at(5)), mark(100.5, at(14)), again])))
    box.put("live", "bad.parquet", b"PAR1 this is not Parquet")
    run = {"kind": "run", "strategy": "beta", "run_id": "r1", "created": stamp(at(1)), "from": stamp(at(day=-5)), "to": stamp(at(day=1))}
    box.drop("backtest", run, mark(100, at(5)), decision("alpha", "x1", at(12), quantity=2, price=100.3, mark=100.2), decision("alpha", "x2", at(12, 30), action="sell"),
             decision("alpha", "euro", at(17, 5), symbol="ACME-EUR", price=49.9), decision("alpha", "split", at(4), symbol="OLD/USD", price=799),
             decision("alpha", "missed", at(12, 50)), decision("alpha", "hold", at(12, 51), action="hold", quantity=None, price=None))  # fmt: skip
    for name in ("alpha", "beta", "gamma"):
        box.drop("live", both(name, at(20)), heartbeat(name, at(20, 1)))
        box.drop("backtest", both(name, at(20)))


def commanded(box: Box) -> None:
    """Commands of every sort, one of them refused, a HALT for one strategy; then the process is killed."""
    who = {"operator": "o", "reason": "r"}
    with box.daemon():
        box.command("a.json", command="reduce_size", strategy="alpha", size_multiplier=0.25, **who)
        box.command("b.json", command="force_disable", strategy="beta", **who)
        box.until(lambda: box.override()["strategies"]["beta"]["action"] == "DISABLE_TRADING", "disabled")
        box.command("c.json", command="reset", strategy="beta", **who)
        box.until(lambda: box.override()["strategies"]["beta"]["action"] != "DISABLE_TRADING", "enabled again")
        box.command("d.json", command="force_enable", strategy="gamma", expires_at=stamp(datetime.now(UTC) + timedelta(hours=3)), **who)
        box.command("e.json", command="force_enable", strategy="gamma", expires_at=stamp(datetime.now(UTC) + timedelta(hours=30)), **who)
        (box.data / "overrides/HALT.beta").touch()
        box.until(lambda: box.override()["strategies"]["beta"]["action"] == "EMERGENCY_STOP", "halted")
        box.until(lambda: box.override()["strategies"]["gamma"]["action"] == "CONTINUE", "forced")
        box.end(signal.SIGKILL)


def seen(box: Box) -> Record:
    """Everything that an outsider can see of a box that nobody runs."""
    reports = {day: box.report(day) for day in DAYS}
    with box.daemon():
        rows, cursor = [], ""
        while cursor is not None:
            page = box.json(f"/api/v1/trades?limit=50&cursor={cursor}")
            rows, cursor = rows + page["trades"], page["next_cursor"]
        counted = {
            f"{n} {sorted(labels.items())}": v
            for n, all_of in box.metrics().items()
            for labels, v in all_of
            if not any(x in n for x in COUNTED_ANEW)
        }
        explained = {trade: json.loads(box.run("explain", trade, "--json").stdout) for trade in ("x1", "missed", "split", "gamma-503")}
        return {"reports": reports, "trades": rows, "metrics": counted, "status": box.json("/api/v1/status"), "listed": box.json("/api/v1/reports"), "explained": explained,
                  "audit": box.run("audit", "verify").returncode, "archive": box.archived(), "refused": box.refused(), "aside": box.set_aside(), "published": box.override()}  # fmt: skip


def unlike(a: Any, b: Any, place: str = "") -> list[str]:
    """Where two looks differ, but for the time that passed between them."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [x for k in sorted({*a, *b} - PASSING) for x in unlike(a.get(k, "absent"), b.get(k, "absent"), f"{place}/{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [x for i, (one, other) in enumerate(zip(a, b, strict=True)) for x in unlike(one, other, f"{place}[{i}]")]
    return (
        []
        if a == b or (isinstance(a, float) and isinstance(b, float) and a == pytest.approx(b, rel=1e-9))
        else [f"{place}: {a!r} != {b!r}"[:300]]
    )


def without_waiting(told: Record) -> Record:
    """Findings that say how long something has waited are of their moment."""
    text = json.loads(json.dumps(told))
    for entries in (text["status"]["action"]["strategies"], *(r["strategies"] for r in text["reports"].values())):
        for entry in entries.values():
            entry["findings"] = [
                f for f in entry["findings"] if f["code"] not in ("stale_engine", "unacknowledged", "stale_live", "stale_backtest")
            ]
    text["metrics"] = {k: v for k, v in text["metrics"].items() if "'stale_" not in k and "'unacknowledged'" not in k}
    return dict(text)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A box that has seen everything, backed up while it ran; a copy of it as it was then, and what it tells."""
    root = tmp_path_factory.mktemp("elsewhere")
    box = Box(root / "first", CONFIG)
    drop_all(box)
    box.check()
    for day in DAYS:
        box.report(day)
    commanded(box)
    with box.daemon():
        decided, filled = trades("gamma", [5.0] * 8, start=at(21), first=500)
        box.drop("backtest", *decided, both("gamma", at(23)))
        box.drop("live", *filled, both("gamma", at(23)))
        box.until(lambda: box.metric("files_ingested_total", book="live") == 1 and not box.spooled(), "taken")
        done = box.run("backup", str(root / "backup"))
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    shutil.copytree(box.data, root / "as-it-was", symlinks=True)
    return root, seen(box)


def test_a_backup_that_was_made_beside_the_daemon_tells_the_same_in_another_folder(lived: tuple[Path, Record], tmp_path: Path) -> None:
    root, first = lived
    box = Box(tmp_path, CONFIG)
    done = box.run("restore", str(root / "backup"))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    there = seen(box)
    assert unlike(without_waiting(first), without_waiting(there)) == []
    assert there["published"]["sequence"] > first["published"]["sequence"]
    assert there["published"]["decision_sequence"] > first["published"]["decision_sequence"]


def test_a_store_that_is_refilled_from_its_archive_tells_the_same(lived: tuple[Path, Record], tmp_path: Path) -> None:
    root, first = lived
    box = Box(tmp_path, CONFIG)
    shutil.rmtree(box.data)
    shutil.copytree(root / "as-it-was", box.data, symlinks=True)
    before = box.override()
    done = box.run("rebuild")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    there = seen(box)
    assert unlike(without_waiting(first), without_waiting(there)) == []
    assert there["published"]["sequence"] > before["sequence"] and there["published"]["decision_sequence"] > before["decision_sequence"]
