"""A year of judgement on strategies that a trader would leave alone, simulated: which actions would have been false?

    python benchmarks/year.py [--days 365] [--every 1h] [--seed 1] [--only NAME] > table.md

Each row is a strategy that trades as its backtest does but for noise, told to the product's own turns on a virtual clock: records arrive, the
spool is judged, the check comes `--every` so often, the engine obeys and acknowledges. Noise of price_diff is Student t with 3 degrees of
freedom, 12 bps root mean square, and every 300th trade is a gap of 350 bps. The price is a random walk of 50 % a year.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Bounds
from parityd.core.intake import FileBatch
from parityd.core.records import Native
from parityd.edges.waiting import Waiting
from parityd.service.reading import Read
from parityd.service.rerun import Rerun
from parityd.settings import load

DAY = 86_400
START = 1_767_225_600  # 2026-01-01, a Thursday
NAME, SYMBOL = "s", "BTC/USD"
SECONDS = {"m": 60, "h": 3600}


@dataclass
class Kind:
    """What is simulated."""

    title: str
    a_day: float
    base: float = 0.0  # position held beneath the trades, in trades
    bps: float | None = None  # a steady difference of this size and a random sign instead of the noise
    bad_days: range = range(0)  # days on which the noise is five times as large
    nightly: bool = False  # the backtest lands at 06:00 and runs the last seven days again
    calendar: str = ""
    restart: bool = False  # the state is folded anew from the store each week


KINDS = [
    Kind("in parity, 2 trades a day", 2),
    Kind("in parity, 15 trades a day", 15),
    Kind("in parity, 500 trades a day", 500, base=10),
    Kind("one bad day: cut to half size, then recovered", 15, bad_days=range(60, 61)),
    Kind("nightly backtest at 06:00 of the last seven days", 15, nightly=True),
    Kind("equities: sessions of XNYS only, flat between trades", 15, calendar="XNYS"),
    Kind("equities: the same over a position of ten trades", 15, calendar="XNYS", base=10),
    Kind("a restart a week", 15, restart=True),
    Kind("a steady 22 bps", 15, bps=22.0),
]


@dataclass
class Engine:
    """One strategy at both ends: what it decides, and what came of it."""

    kind: Kind
    rng: random.Random
    price: float = 100.0
    paper: float = 0.0
    real: float = 0.0
    count: int = 0
    decided: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def move(self, seconds: float) -> None:
        self.price *= math.exp(self.rng.gauss(0.0, 0.5 * math.sqrt(seconds / (365 * DAY))))

    def slip(self, day: int) -> float:
        """price_diff of the next trade in bps."""
        self.count += 1
        if self.kind.bps is not None:
            return self.kind.bps * self.rng.choice((1.0, -1.0))
        if self.count % 300 == 0:
            return 350.0
        t3 = self.rng.gauss(0.0, 1.0) / math.sqrt(sum(self.rng.gauss(0.0, 1.0) ** 2 for _ in range(3)) / 3)
        return 12.0 / math.sqrt(3.0) * t3 * (5.0 if day in self.kind.bad_days else 1.0)

    def trade(self, t: float, day: int, size: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """(decision, fill): opens or adds scaled by `size`, closes the same share of what is held."""
        buy = self.paper <= self.kind.base
        full = max(1.0, self.kind.base) if self.count == 0 else 1.0
        sign = 1.0 if buy else -1.0
        quantity = round(full * size if buy else self.real * full / self.paper, 8)
        self.paper += sign * full
        self.real = 0.0 if self.paper == 0.0 else self.real + sign * quantity
        slip = self.slip(day)
        who = {"strategy": NAME, "symbol": SYMBOL, "trade_id": f"t{self.count}"}
        side = "buy" if buy else "sell"
        decision = {**who, "kind": "decision", "ts": t, "action": side, "quantity": full, "price": self.price, "mark": self.price}
        fill = {
            **who, "kind": "fill", "fill_id": f"f{self.count}", "side": side, "quantity": quantity or full, "ts": t + 2.0,
            "price": self.price * (1.0 + sign * slip / 1e4), "latency_ms": 100.0, "fee": 0.0,
        }  # fmt: skip
        return decision, fill


class World:
    """The product on a virtual clock."""

    def __init__(self, kind: Kind, every: int) -> None:
        self.clock, self.files = START * 10**9, 0
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "parityd.toml"
            own = f'[strategies.{NAME}]\ncalendar = "{kind.calendar}"\n' if kind.calendar else ""
            config.write_text(f'data_dir = "{folder}"\n[schedule]\ncheck_interval = "{every}s"\n{own}')
            self.brain = Rerun(load(config, {}), lambda: self.clock)

    def give(self, book: str, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        self.files += 1
        run = next((r["run_id"] for r in records if r["kind"] == "run"), "")
        made = block(book, [(i, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records, 1)], Bounds(), run)
        name, sha256 = f"{book}-{self.files}", f"{self.files:064x}"
        batch = FileBatch(
            book=book,
            name=name,
            sha256=sha256,
            source=book,
            decisions=made.decisions,
            fills=made.fills,
            rare=made.rare,
            refusals=made.refusals,
        )
        waiting = Waiting(book=book, path=Path(name), name=name, key=(0, 0, 1, 0, 0), since_ns=self.clock)
        times = [int(float(r.get("ts", self.clock / 1e9)) * 1e9) for r in records]
        read = Read(
            waiting,
            sha256=sha256,
            size=1,
            format="native",
            source=book,
            batch=batch,
            first_ts=min(times),
            last_ts=max(times),
            strategies=[NAME],
        )
        self.brain.files([read], now=self.clock)

    @property
    def told(self) -> tuple[float, int]:
        """(size multiplier, decision_sequence) as published."""
        publisher = self.brain.publisher
        assert publisher is not None
        if publisher.entries is None:
            return 1.0, 0
        entry = publisher.entries.strategies.get(NAME, publisher.entries.default)
        return entry.size_multiplier, publisher.decision_sequence


def is_open(kind: Kind) -> Callable[[float], bool]:
    """Whether the strategy trades at a time."""
    if not kind.calendar:
        return lambda _t: True
    from parityd.edges.calendars import session_seconds

    return lambda t: session_seconds(kind.calendar, round(t * 1e9), round((t + 60) * 1e9)) >= 60


def simulate(kind: Kind, days: int, every: int, seed: int) -> tuple[list[Any], float]:
    """(changes of action, CPU seconds it took)."""
    began = time.process_time()
    engine, world, open_at = Engine(kind, random.Random(seed)), World(kind, every), is_open(kind)
    changes: list[Any] = []
    session_share = 6.5 / 24 if kind.calendar else 1.0
    for step in range(days * DAY // every):
        t0 = START + step * every
        day = (t0 - START) // DAY
        size, sequence = world.told
        backtest, live = [], []
        for quarter in range(max(1, every // 900)):
            t = t0 + quarter * 900
            if not open_at(t):
                continue
            live.append({"kind": "heartbeat", "strategy": NAME, "ts": t + 1, "override_sequence": sequence})
            expected = kind.a_day / 96 / session_share * min(1.0, every / 900)
            n = int(expected) + (engine.rng.random() < expected % 1)
            for k in range(n):
                engine.move(900 / n)
                decision, fill = engine.trade(t + 10 + k * 880 / n, day, size)
                backtest.append(decision)
                live.append(fill)
            if not n:
                engine.move(900)
            live.append({"kind": "mark", "symbol": SYMBOL, "price": engine.price, "ts": t + 899})
            if not kind.nightly:
                backtest.append({"kind": "heartbeat", "strategy": NAME, "ts": t + 899})
        world.clock = (t0 + every) * 10**9 - 10**6
        if kind.nightly:
            backtest = rerun(engine, backtest, t0 + every)
        world.give("backtest", backtest)
        world.give("live", live)
        world.clock = (t0 + every) * 10**9  # the check follows the scan at once: an evaluation in between would say the same
        changes += world.brain.check(now=world.clock, report_due=False).changes
        if kind.restart and world.clock // 10**9 % (7 * DAY) == 0:
            world.brain.reload()
    return [c for c in changes if c.strategy == NAME], time.process_time() - began


def rerun(engine: Engine, decided: list[dict[str, Any]], now: int) -> list[dict[str, Any]]:
    """Keep what was decided; at 06:00 the last seven days land as one run."""
    engine.decided += [(round(d["ts"]), d) for d in decided]
    if now % DAY != 6 * 3600:
        return []
    end = now // DAY * DAY
    start = max(START, end - 7 * DAY)
    if start >= end:
        return []
    engine.decided = [one for one in engine.decided if one[0] >= end - 8 * DAY]
    run = {
        "kind": "run",
        "strategy": NAME,
        "run_id": f"night-{end}",
        "created": float(now),
        "from": float(start),
        "to": float(end),
        "ts": float(now),
    }
    chosen = [d for at, d in engine.decided if start <= at < end]
    return [run, *chosen, {"kind": "heartbeat", "strategy": NAME, "ts": float(end)}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--every", default="1h", help="how often the check comes: 15m is the product's own, 1h takes a quarter of the time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds whose title has this in it")
    parser.add_argument("--told", action="store_true", help="print each change as well")
    chosen = parser.parse_args()
    every = int(chosen.every[:-1]) * SECONDS[chosen.every[-1]]
    print(f"{chosen.days} days, a check every {chosen.every}, seed {chosen.seed}\n")
    print("| strategy | days in WARNING / REDUCE_SIZE / DISABLE_TRADING / EMERGENCY_STOP | rises | why | CPU |\n|---|---|---|---|---|")
    for kind in KINDS:
        if chosen.only not in kind.title:
            continue
        if kind.nightly and 6 * 3600 % every:
            print(f"{kind.title}: left out, no check falls on 06:00", file=sys.stderr)
            continue
        changes, seconds = simulate(kind, chosen.days, every, chosen.seed)
        print(row(kind, changes, chosen.days, seconds), flush=True)
        for c in changes if chosen.told else ():
            print(f"    {time.strftime('%F %H:%M', time.gmtime(c.ts / 1e9))} {c.before} -> {c.after}: {c.reason}", file=sys.stderr)


ORDER = ("CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP")


def row(kind: Kind, changes: list[Any], days: int, seconds: float) -> str:
    """One line of the table."""
    at, action, spent = START * 10**9, "CONTINUE", Counter[str]()
    rises: Counter[str] = Counter()
    why: Counter[str] = Counter()
    for c in changes:
        spent[action] += c.ts - at
        at, action = c.ts, c.after
        if ORDER.index(c.after) > ORDER.index(c.before):
            rises[c.after] += 1
            why[c.reason.removeprefix(f"{NAME}: ").split(" ")[0] if "closed days" not in c.reason else "escalation"] += 1
    spent[action] += (START + days * DAY) * 10**9 - at
    in_days = " / ".join(f"{spent[a] / 1e9 / DAY:.1f}" for a in ORDER[1:])
    said = ", ".join(f"{n} to {a}" for a, n in rises.items()) or "none"
    reasons = ", ".join(f"{code} {n}" for code, n in why.most_common())
    return f"| {kind.title} | {in_days} | {said} | {reasons} | {seconds:.0f} s |"


if __name__ == "__main__":
    main()
