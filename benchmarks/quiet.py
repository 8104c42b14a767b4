"""Rows of a daemon with little to do: one fill to its publication beside a bare loop, rest, and what an engine's `Gate.read()` costs."""

import os
import random
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gate
from daemon import Daemon, until
from place import Place
from processes import environment, script
from rows import Goal, Row, at, over

from parityd.engine import Gate


def rfc(t: datetime) -> str:
    return t.isoformat(timespec="microseconds").replace("+00:00", "Z")


def identity(path: Path) -> tuple[int, int]:
    """Changes when the file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def replaced(path: Path, act) -> float:
    """Milliseconds from the act to another file under this name."""
    before = identity(path)
    began = time.perf_counter()
    act()
    until(lambda: identity(path) != before, f"{path} is replaced", 0.0002)
    return (time.perf_counter() - began) * 1e3


def fills(place: Place) -> list[Row]:
    """A fill's file and the bare loop's, turn about."""
    o = place.options
    mine, bare = [], []
    for one in range(o.runs):
        place.say(f"fills, run {one + 1} of {o.runs}")
        a, b = _pairs(place, o.fills)
        mine.append((at(a, 0.5), at(a, 0.99)))
        bare.append((at(b, 0.5), at(b, 0.99)))
    rows = []
    for k, (name, limit) in enumerate((("p50", 10), ("p99", 50))):
        ours, theirs = [x[k] for x in mine], [x[k] for x in bare]
        rows.append(Row(what=f"bare watch, read, fsync, rename: {name} of {o.fills}", values=theirs, unit="ms"))
        rows.append(
            Row(
                what=f"a fill's rename to the replaced override: {name} of {o.fills}", values=ours, unit="ms", ratio=over(ours, theirs),
                against="the bare loop", goal=Goal(of="value", limit=limit, text=f"{limit} ms"),
            )
        )  # fmt: skip
    return rows


def _pairs(place: Place, n: int) -> tuple[list[float], list[float]]:
    root = place.fresh("fills")
    inbox, target = root / "inbox", root / "target"
    inbox.mkdir()
    beside = subprocess.Popen(script("bare.py", inbox, target), env=environment())
    d = Daemon(root)
    mine, bare = [], []
    try:
        with d.running():
            until(target.exists, "the bare loop watches")
            until(d.published.exists, "something is published")
            now = datetime.now(UTC) - timedelta(minutes=30)
            for i in range(n):
                decided(d, i, now + timedelta(seconds=i))
                fill = _fill(i, now + timedelta(seconds=i))
                mine.append(replaced(d.published, lambda fill=fill: d.drop("live", [fill])))
                time.sleep(0.01)
                bare.append(replaced(target, lambda i=i, fill=fill: _put(inbox, i, str(fill).encode())))
    finally:
        beside.terminate()
        beside.wait(10)
    return mine, bare


def decided(d: Daemon, i: int, t: datetime) -> None:
    """The decision, taken in before its fill comes."""
    who = {"strategy": "s", "symbol": "A/USD", "trade_id": f"t{i}"}
    d.drop("backtest", [{"kind": "decision", **who, "ts": rfc(t), "action": "buy", "quantity": 1, "price": 100.0, "mark": 100.0}])
    until(lambda: not d.waiting(), "the decision is taken", 0.005)
    time.sleep(0.02 + random.random() * 0.05)


def _fill(i: int, t: datetime) -> dict[str, object]:
    who = {"strategy": "s", "symbol": "A/USD", "trade_id": f"t{i}", "fill_id": f"f{i}"}
    return {"kind": "fill", **who, "side": "buy", "quantity": 1, "price": 100.01, "ts": rfc(t + timedelta(milliseconds=80))}


def _put(folder: Path, i: int, raw: bytes) -> None:
    hidden = folder / f".{i}"
    hidden.write_bytes(raw)
    os.rename(hidden, folder / f"{i}")


def idle(place: Place) -> list[Row]:
    """A daemon with nothing to do."""
    o = place.options
    shares, held = [], []
    d = Daemon(place.fresh("idle"))
    with d.running():
        time.sleep(3)
        for one in range(o.runs):
            place.say(f"idle, run {one + 1} of {o.runs}")
            before, began = d.cpu(), time.perf_counter()
            time.sleep(o.idle)
            shares.append((d.cpu() - before) / (time.perf_counter() - began) * 100)
            held.append(d.resident())
    return [
        Row(
            what=f"idle for {o.idle:g} s: share of a core",
            values=shares,
            unit="%",
            goal=Goal(of="value", limit=0.5, text="0.5 % of a core"),
        ),
        Row(what="idle: memory held", peak=held, goal=Goal(of="peak", limit=80, text="80 MB")),
    ]


def reads(place: Place) -> list[Row]:
    """Gate.read() of an unchanged file beside a bare os.stat of it."""
    o = place.options
    place.say("Gate.read()")
    took, bare = [], []
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        gate.publish(folder, 1)
        reading = Gate(folder, "s7")
        time.sleep(0.05)
        for one in range(o.runs):
            gate.publish(folder, one + 2)
            time.sleep(0.05)
            took.append(gate.unchanged_us(reading, max(5, o.reads // 10)))
            bare.append(_stat_us(Path(folder) / "trading_override.json", max(5, o.reads // 10)))
        gate.publish(folder, o.runs + 2)
        time.sleep(0.05)
        kept = gate.kept_bytes(reading, o.reads)
    return [
        Row(
            what="`Gate.read()` of an unchanged file", values=took, unit="us", ratio=over(took, bare), against="a bare os.stat",
            goal=Goal(of="value", limit=5, text="5 us"),
        ),
        Row(what=f"memory kept by {o.reads:,} reads", values=[kept], unit="bytes", goal=Goal(of="value", limit=4096, text="none (4 KiB)")),
    ]  # fmt: skip


def _stat_us(path: Path, n: int) -> float:
    rounds = []
    for _ in range(5):
        began = time.perf_counter_ns()
        for _ in range(n // 5):
            os.stat(path)
        rounds.append((time.perf_counter_ns() - began) / (n // 5) / 1e3)
    return min(rounds)
