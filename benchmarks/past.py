"""Rows of a store with a past: the check and the start with a long history beside a short one, a large day's report, a replay.

Both histories hold the same number of trades a day, so that what the windows hold is alike and only the past behind them differs.
"""

import statistics
import time
from pathlib import Path

from bulk import parsed
from daemon import Daemon
from place import DAY, Place, iso, midnight
from processes import parityd, run, script
from rows import Goal, Row, over

QUARTER = 900
CHECKS = 4  # a run


def history(place: Place, trades: int) -> tuple[Path, float]:
    """The configuration of a store that has taken so many trades, and when the last of them was."""
    o = place.options
    name = f"history-{trades}"
    end = time.time() // QUARTER * QUARTER - (o.runs * (CHECKS + 1) + 2) * QUARTER
    if name not in place.made:
        hours = 24 * trades / o.a_day
        made = place.workload(f"{name}-made", trades, end - 5, hours=hours)
        place.say(f"taking {trades:,} trades as history")
        config = place.data(name, made)
        place.check(config, "--at", iso(end))
        (config.parent / "end").write_text(str(end))
        place.made[name] = config
    config = place.made[name]
    return config, float((config.parent / "end").read_text())


def check(place: Place) -> list[Row]:
    """The 15-minute check, short and long history turn about."""
    o = place.options
    got: dict[int, list[dict[str, list[float]]]] = {n: [] for n in (o.short, o.history)}
    for one in range(o.runs):
        place.say(f"check, run {one + 1} of {o.runs}")
        for n, found in got.items():
            config, end = history(place, n)
            began = end + one * (CHECKS + 1) * QUARTER + QUARTER
            first = n + one * (CHECKS + 1) * max(1, o.a_day * QUARTER // DAY)
            found.append(parsed(run(script("inside.py", "check", config, began, CHECKS, first, o.a_day))))
    wall = {n: [statistics.median(f["wall"]) for f in found] for n, found in got.items()}
    cpu = {n: [statistics.median(f["cpu"]) for f in found] for n, found in got.items()}
    seconds = {n: [x / 1e3 for x in values] for n, values in cpu.items()}
    goal = Goal(of="ratio", limit=1.2, text="1.2 x that with the short one")
    return [
        Row(what=f"15-minute check with {o.short:,} trades of history", values=wall[o.short], unit="ms", cpu=seconds[o.short]),
        Row(
            what=f"15-minute check with {o.history:,} trades of history", values=wall[o.history], unit="ms", ratio=over(wall[o.history], wall[o.short]),
            cpu_ratio=over(cpu[o.history], cpu[o.short]), against="the short one", cpu=seconds[o.history], goal=goal,
        ),
    ]  # fmt: skip


def start(place: Place) -> list[Row]:
    """Start to READY=1, with nothing, a short and a long history behind it."""
    o = place.options
    configs = {"an empty store": place.data("empty", None)}
    configs |= {f"{n:,} trades of history": history(place, n)[0] for n in (o.short, o.history)}
    daemons = {name: Daemon(config.parent) for name, config in configs.items()}
    got: dict[str, list[tuple[float, float, float]]] = {name: [] for name in daemons}
    for one in range(o.runs + 1):
        place.say(f"start, run {one} of {o.runs}")
        for name, d in daemons.items():
            with d.running() as (ready, cpu):
                if one:  # the first start of a store is not like the others
                    got[name].append((ready, cpu, d.peak()))
    first = got["an empty store"]
    rows = []
    for name, found in got.items():
        wall, cpu, peak = ([x[k] for x in found] for k in range(3))
        beside = [x[0] for x in first], [x[1] for x in first]
        rows.append(
            Row(
                what=f"start to READY with {name}", values=wall, cpu=cpu, peak=peak, ratio=over(wall, beside[0]) if found is not first else (),
                cpu_ratio=over(cpu, beside[1]) if found is not first else (), against="an empty store",
                goal=Goal(of="value", limit=3.0, text="3 s") if name.startswith(f"{o.history:,}") else None,
            )
        )  # fmt: skip
    return rows


def report(place: Place) -> list[Row]:
    """The report of the backlog's day, made anew by one process a run."""
    o, config = place.options, place.drained()
    day = iso(midnight() - DAY)[:10]
    found, peaks, ratios = [], [], []
    for one in range(o.runs):
        place.say(f"report, run {one + 1} of {o.runs}")
        spent = run(script("inside.py", "report", config, day))
        peaks.append(spent.peak)
        found.append(parsed(spent))
        if found[-1]["trades"][0] < o.trades * 0.9:
            raise RuntimeError(f"the report holds {found[-1]['trades'][0]} matched trades of {o.trades}")
        ratios.append(found[-1]["both"][0] / found[-1]["json"][0])
    values = {kind: [f[kind][0] for f in found] for kind in ("json", "both")}
    cpus = {kind: [f[kind][1] for f in found] for kind in ("json", "both")}
    what = f"the daily report of {o.trades:,} trades"
    return [
        Row(what=f"{what}, JSON", values=values["json"], cpu=cpus["json"], goal=Goal(of="value", limit=3.0, text="3 s")),
        Row(
            what=f"{what}, JSON and HTML", values=values["both"], ratio=ratios, against="JSON alone", cpu=cpus["both"], peak=peaks,
            goal=Goal(of="value", limit=5.0, text="5 s"),
        ),
    ]  # fmt: skip


def replay(place: Place) -> list[Row]:
    """Whole days of the long history, as a whole process."""
    o = place.options
    config, end = history(place, o.history)
    days = max(1, min(o.replay_days, o.history // o.a_day - 1))
    last = end // DAY * DAY - DAY
    chosen = ("--from", iso(last - (days - 1) * DAY)[:10], "--to", iso(last)[:10])
    found = []
    for one in range(o.runs):
        place.say(f"replay, run {one + 1} of {o.runs}")
        found.append(run(parityd("replay", "--json", "--config", config, *chosen)))
    trades = days * o.a_day
    goal = Goal(of="value", limit=100_000, text="100,000 trades/s", least=True)
    return [
        Row(
            what=f"replay of {days} days of {o.a_day:,} trades", values=[trades / s.wall for s in found], unit="trades/s",
            cpu=[s.cpu for s in found], peak=[s.peak for s in found], goal=goal,
        )
    ]  # fmt: skip
