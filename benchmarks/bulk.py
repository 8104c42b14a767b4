"""Rows of the backlog: `parityd check` beside its floor, bare decoding and the scripts that a desk would write; and the cost of many strategies.

Each round runs every competitor once, one after the other, on the same files; a ratio is that of one round.
"""

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from place import CHECKED, Place, midnight, store_bytes
from processes import Spent, parityd, run, script
from rows import Goal, Row, over

BESIDE = "the floor"
SCRIPTS = ("pandas", "polars", "duckdb")
HELPED = "[ingest]\nprocesses = 1\n"


def backlog(place: Place) -> list[Row]:
    """Every competitor of the backlog."""
    made, runs = place.day(), place.options.runs
    present = [name for name in SCRIPTS if find_spec(name)]
    got: dict[str, list[Spent]] = {}
    kept: dict[str, list[float]] = {"store": [], "floor": []}
    for one in range(runs):
        place.say(f"backlog, run {one + 1} of {runs}")
        target = place.fresh("targets")
        keep = partial(_keep, place, got)
        keep("floor", run(script("floor.py", made, target / "floor.sqlite")))
        kept["floor"].append((target / "floor.sqlite").stat().st_size / place.options.trades)
        config = place.data("drained", made)
        keep("check", run(parityd("check", "--json", "--config", config), CHECKED))
        place.made["drained"] = config
        kept["store"].append(store_bytes(config) / place.options.trades)
        keep("helped", run(parityd("check", "--json", "--config", place.data("helped", made, HELPED)), CHECKED))
        keep("decode", run(script("decode.py", made)))
        for name in present:
            keep(name, run(script(f"script_{name}.py", made, target / f"{name}.sqlite")))
            agree(name, got[name][-1], place)
        for path in (target, place.folder / "helped"):
            place.fresh(path.name)
    return [*_table(got, place.options.trades), *_scripts(got, present), _store(kept)]


def _keep(place: Place, got: dict[str, list[Spent]], name: str, spent: Spent) -> None:
    got.setdefault(name, []).append(spent)
    place.say(f"  {name}: {spent.wall:.2f} s, processor {spent.cpu:.2f} s, {spent.peak:.0f} MB")


def agree(name: str, spent: Spent, place: Place) -> None:
    """A script that matches other trades than there are has measured nothing."""
    matched = place.totals["day"]["matched"]
    if int(spent.out) != matched:
        raise RuntimeError(f"the {name} script matched {spent.out.strip()} trades, the workload holds {matched}")


def walls(spent: list[Spent]) -> list[float]:
    return [s.wall for s in spent]


def cpus(spent: list[Spent]) -> list[float]:
    return [s.cpu for s in spent]


def peaks(spent: list[Spent]) -> list[float]:
    return [s.peak for s in spent]


def _beside(what: str, mine: list[Spent], floor: list[Spent], goal: Goal | None = None) -> Row:
    return Row(
        what=what, values=walls(mine), ratio=over(walls(mine), walls(floor)), cpu_ratio=over(cpus(mine), cpus(floor)), against=BESIDE,
        cpu=cpus(mine), peak=peaks(mine), goal=goal,
    )  # fmt: skip


def _table(got: dict[str, list[Spent]], trades: int) -> list[Row]:
    floor, mine, helped = got["floor"], got["check"], got["helped"]
    return [
        Row(what=f"the floor: {trades:,} trades decoded and inserted", values=walls(floor), cpu=cpus(floor), peak=peaks(floor)),
        _beside("msgspec decode alone", got["decode"], floor),
        _beside(
            f"`parityd check` drains {trades:,} trades", mine, floor, Goal(of="ratio", limit=1.0, text="1.0 x the floor (must: 1.5 x)")
        ),
        Row(what="its peak memory", peak=peaks(mine), goal=Goal(of="peak", limit=300, text="300 MB")),
        _beside("the same with the decoder process", helped, floor, Goal(of="ratio", limit=0.7, text="0.7 x the floor")),
        Row(what="its peak memory, with children", peak=peaks(helped), goal=Goal(of="peak", limit=350, text="350 MB")),
    ]


def _scripts(got: dict[str, list[Spent]], present: list[str]) -> list[Row]:
    out = []
    for name in SCRIPTS:
        what = f"the same data by a {name} script"
        missing = Row(what=what, skipped=f"{name} is not installed")
        out.append(_beside(what, got[name], got["floor"]) if name in present else missing)
    goal = Goal(of="ratio", limit=0.25, text="0.25 x the pandas script")
    what = "`parityd check` against the pandas script"
    if "pandas" not in present:
        return [*out, Row(what=what, goal=goal, skipped="pandas is not installed")]
    mine, other = got["check"], got["pandas"]
    ratio, cpu = over(walls(mine), walls(other)), over(cpus(mine), cpus(other))
    return [*out, Row(what=what, ratio=ratio, cpu_ratio=cpu, against="the script", goal=goal)]


def _store(kept: dict[str, list[float]]) -> Row:
    return Row(
        what="store after it, file and write-ahead log", values=kept["store"], unit="bytes a trade", ratio=over(kept["store"], kept["floor"]),
        against="the floor's file", goal=Goal(of="value", limit=250, text="250 bytes a trade"),
    )  # fmt: skip


def strategies(place: Place) -> list[Row]:
    """Cost per trade with more and more strategies, less what an empty check costs."""
    o = place.options
    got: dict[int, list[float]] = {}
    made = {
        n: place.workload(f"strategies-{n}", o.strategy_trades, midnight() - 5, strategies=n)
        for n in o.strategies
    }  # fmt: skip
    for one in range(o.runs):
        place.say(f"strategies, run {one + 1} of {o.runs}")
        empty = _checked(place, None)
        for n, folder in made.items():
            got.setdefault(n, []).append((_checked(place, folder) - empty) / o.strategy_trades * 1e6)
    first = got[o.strategies[0]]
    rows = [Row(what=_named(o.strategies[0], o.strategy_trades), values=first, unit="us of processor a trade")]
    for n in o.strategies[1:]:
        goal = Goal(of="ratio", limit=1.3, text=f"1.3 x that of {o.strategies[0]}")
        against = f"{o.strategies[0]} strategy"
        rows.append(
            Row(
                what=_named(n, o.strategy_trades),
                values=got[n],
                unit="us of processor a trade",
                ratio=over(got[n], first),
                against=against,
                goal=goal,
            )
        )
    return rows


def _named(n: int, trades: int) -> str:
    return f"cost per trade with {n:,} {'strategy' if n == 1 else 'strategies'}, {trades:,} trades"


def _checked(place: Place, made: Path | None) -> float:
    return run(parityd("check", "--json", "--config", place.data("counted", made)), CHECKED).cpu


def parsed(spent: Spent) -> dict[str, list[float]]:
    """What a child measured of itself."""
    found: dict[str, list[float]] = json.loads(spent.out)
    return found
