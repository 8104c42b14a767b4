"""What a check costs beside how much history it has: `python benchmarks/check.py [--a-day 10000] [--days 1000] [--checks 40]`.

Two brains live through the same day of trades, a turn and a check every 15 minutes. One of them has, before that day, the sums of many days like it
(no rows: a check may not look at them). The last checks of both are timed in turn; what is printed is CPU time, median and spread.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))

from year import DAY, NAME, START, SYMBOL, Engine, Kind, World

from parityd.core.rows import SHELF_NS
from parityd.core.summary import ShelfSummary

A_DAY = 96
QUARTER = 900


def lived(world: World, engine: Engine, start: int, quarters: int) -> None:
    """Trade for so many quarters of an hour, a turn and a check each."""
    n = int(engine.kind.a_day / A_DAY)
    for quarter in range(quarters):
        t = start + quarter * QUARTER
        backtest, live = [], []
        for k in range(n):
            engine.move(QUARTER / n)
            decision, fill = engine.trade(t + 1 + k * 890 / n, 0, 1.0)
            backtest.append(decision)
            live.append(fill)
        live.append({"kind": "mark", "symbol": SYMBOL, "price": engine.price, "ts": t + 899})
        backtest.append({"kind": "heartbeat", "strategy": NAME, "ts": t + 899})
        world.clock = (t + QUARTER) * 10**9 - 10**6
        world.give("backtest", backtest)
        world.give("live", live)
        world.brain.evaluate(now=world.clock, reports=False)
        world.clock = (t + QUARTER) * 10**9


def add_history(world: World, days: int) -> int:
    """The sums of the first day once more for each of so many days before it; returns the trades they stand for."""
    table = world.brain.v.m.strategies[NAME].books.summaries
    own = {number: table[number] for number in list(table.order)}
    for day in range(days, 0, -1):
        for number, summary in own.items():
            past = ShelfSummary.__new__(ShelfSummary)
            past.parts = summary.parts
            past.spans = [
                (a - day * A_DAY * SHELF_NS, b - day * A_DAY * SHELF_NS) if (a, b) != (0, 0) else (0, 0) for a, b in summary.spans
            ]
            table[number - day * A_DAY] = past
    return sum(part.settled for number in table.order for part in table[number].parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--a-day", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=1000, help="days of history")
    parser.add_argument("--checks", type=int, default=40)
    chosen = parser.parse_args()
    kind = Kind("busy", chosen.a_day, base=10)
    pairs = [(World(kind, QUARTER), Engine(kind, Random(1))) for _ in range(2)]
    trades = []
    for place, (world, engine) in enumerate(pairs):
        lived(world, engine, START, A_DAY)
        world.brain.check(now=world.clock, report_due=False)
        trades.append(add_history(world, chosen.days if place else 0))
    spent: list[list[float]] = [[], []]
    for n in range(chosen.checks):
        for place, (world, engine) in enumerate(pairs):
            lived(world, engine, START + DAY + n * QUARTER, 1)
            began = time.process_time()
            world.brain.check(now=world.clock, report_due=False)
            spent[place].append((time.process_time() - began) * 1e3)
    print("| trades of history | CPU of a check, median | 10 % to 90 % |\n|---|---|---|")
    for count, took in zip(trades, spent, strict=True):
        ordered = sorted(took[2:])
        print(
            f"| {count:,} | {statistics.median(ordered):.2f} ms | {ordered[len(ordered) // 10]:.2f} to {ordered[-len(ordered) // 10]:.2f} ms |"
        )
    print(f"\nratio {statistics.median(spent[1][2:]) / statistics.median(spent[0][2:]):.2f} (at most 1.2)")


if __name__ == "__main__":
    main()
