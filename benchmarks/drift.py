"""False alarms and delays of the drift detectors on simulated streams, against their goals, beside river where it is installed.

    python benchmarks/drift.py [--streams 100] [--seed 1] [--peers] [--plot FILE.svg] > table.md

A false alarm is any alarm on any channel in 200 calibration trades (armed from the 51st) and 1,000 in-control trades after them. A delay counts trades
from the change (before the 501st monitored trade) to the alarm of the channel named; streams that alarmed earlier are left out, an alarm later than
the row's limit is a miss. Laws have mean 0 and standard deviation 1; AR(1) has rho 0.3 unless it says 0.5.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from drift_plot import Bar, picture

from parityd.core.drift import Alarm, Detectors
from parityd.core.drift_sides import FIT, fitted_line

CALIBRATION, IN_CONTROL, CHANGE, TAIL = 200, 1000, 700, 400
LAWS = ("normal", "t3", "ar1", "lognormal")
SIGMA_LOG = 0.75
HIT_RATE, LOWER_HIT_RATE = 0.8, 0.6
Array = np.ndarray[Any, np.dtype[np.float64]]


def draw(rng: np.random.Generator, law: str, n: int) -> Array:
    """A stream of a law with mean 0 and standard deviation 1."""
    if law == "t3":
        return rng.standard_t(3, n) / math.sqrt(3.0)
    if law == "lognormal":
        spread = math.exp(SIGMA_LOG**2)
        return (rng.lognormal(0.0, SIGMA_LOG, n) - math.sqrt(spread)) / math.sqrt((spread - 1.0) * spread)
    noise = rng.standard_normal(n)
    rho = {"ar1": 0.3, "ar1 0.5": 0.5}.get(law, 0.0)
    for i in range(1, n) if rho else ():
        noise[i] = rho * noise[i - 1] + math.sqrt(1.0 - rho * rho) * noise[i]
    return noise


def books(rng: np.random.Generator, law: str, n: int, before: float, after: float) -> tuple[Array, Array]:
    """Returns of backtest and live whose correlation falls at the change."""
    strength = np.where(np.arange(n) < CHANGE, before, after)
    back = draw(rng, law, n)
    return back, strength * back + np.sqrt(1.0 - strength**2) * draw(rng, law, n)


def flags(rng: np.random.Generator, law: str, n: int, after: float) -> Array:
    """1 where directions agree, -1 where not; clustered for AR(1) (a latent stream under its quantile)."""
    quantiles = {0.8: 0.8416212335729143, 0.6: 0.2533471031357997}
    limits = np.where(np.arange(n) < CHANGE, quantiles[HIT_RATE], quantiles[after])
    return np.where(draw(rng, "ar1" if law == "ar1" else "normal", n) < limits, 1.0, -1.0)


def keys(rng: np.random.Generator, n: int) -> Any:
    return rng.integers(0, 2**64, n, dtype=np.uint64)


@dataclass
class Delays:
    """Delays of the streams that reached the change; `early` did not."""

    streams: int
    limit: int
    found: list[float] = field(default_factory=list)
    early: int = 0

    def add(self, index: float) -> None:
        """Take the place (from 0) of a stream's first alarm, inf if there was none."""
        if index < CHANGE:
            self.early += 1
        else:
            self.found.append(index - CHANGE + 1)

    def median(self) -> float:
        return float(np.median(self.found)) if self.found else math.nan

    def spread(self) -> tuple[float, float]:
        """(median, 90th percentile); nan where too few reached the change."""
        if len(self.found) < max(3, self.streams // 10):
            return math.nan, math.nan
        ordered = np.sort(self.found)
        return self.median(), float(ordered[min(len(ordered) - 1, math.ceil(0.9 * len(ordered)) - 1)])

    def text(self) -> str:
        _, p90 = self.spread()
        if math.isnan(p90):
            return "n/a"
        missed = sum(delay > self.limit for delay in self.found) / len(self.found)
        return f"{shown(self.median(), self.limit)}/{shown(p90, self.limit)}/{missed:.0%}"


def shown(delay: float, limit: int) -> str:
    return f"{delay:.0f}" if delay <= limit else f">{limit}"


def first(alarms: list[Alarm], channel: str) -> float:
    """Place of the channel's alarm in the first epoch; a false alarm of another channel before the change counts, too.

    A stream whose epoch ended on a favourable alarm after the change, before the channel spoke, is a miss.
    """
    return min(
        (float(alarm.index) for alarm in alarms if not alarm.epoch and (alarm.channel == channel or alarm.index < CHANGE)), default=math.inf
    )


Stream = Callable[[np.random.Generator, str, int], tuple[list[Alarm], str]]


def shifted(rng: np.random.Generator, law: str, name: int, *, shift: float = 0.0, scale: float = 1.0) -> tuple[list[Alarm], str]:
    n = CHANGE + TAIL
    x = draw(rng, law, n)
    x[CHANGE:] = x[CHANGE:] * scale + shift
    return Detectors.fresh(f"{law}-{name}").step_trades(keys(rng, n), 10.0 * x), "mean" if shift else "scale"


def decoupled(rng: np.random.Generator, law: str, name: int, *, before: float, after: float) -> tuple[list[Alarm], str]:
    n = CHANGE + TAIL
    alarms = Detectors.fresh(f"{law}-{name}").step_intervals(keys(rng, n), *books(rng, law, n, before, after))
    return [alarm for alarm in alarms if alarm.channel == "correlation"], "correlation"


def disagreeing(rng: np.random.Generator, law: str, name: int) -> tuple[list[Alarm], str]:
    n = CHANGE + TAIL
    alarms = Detectors.fresh(f"{law}-{name}").step_intervals(keys(rng, n), np.ones(n), flags(rng, law, n, LOWER_HIT_RATE))
    return [alarm for alarm in alarms if alarm.channel == "hit"], "hit"


CHANGES: list[tuple[str, Stream, int, dict[str, str]]] = [
    ("mean +1 sd", lambda r, w, i: shifted(r, w, i, shift=1.0), 200, {"normal": "25", "t3": "25", "lognormal": "25", "ar1": "45"}),
    ("scale x1.5", lambda r, w, i: shifted(r, w, i, scale=1.5), 200, {"normal": "50", "t3": "110"}),
    ("scale x2", lambda r, w, i: shifted(r, w, i, scale=2.0), 200, {"normal": "20", "t3": "40"}),
    (
        "correlation 0.95 to 0.7",
        lambda r, w, i: decoupled(r, w, i, before=0.95, after=0.7),
        200,
        {"normal": "16", "t3": "30", "ar1": "30", "lognormal": "30"},
    ),
    ("hit flags 0.8 to 0.6", disagreeing, 200, {"normal": "75"}),
    (
        "hit 0.8 to 0.6 read from returns",
        lambda r, w, i: decoupled(r, w, i, before=0.809017, after=0.309017),
        200,
        {"normal": "30", "t3": "60", "ar1": "60", "lognormal": "60"},
    ),
]


def delay_table(streams: int, seed: int) -> None:
    print("\n## Delays: median / 90th percentile / missed, and the goal for the median\n")
    print("| change | " + " | ".join(LAWS) + " | goals met |\n|---|" + "---|" * (len(LAWS) + 1))
    for row, (title, stream, limit, goals) in enumerate(CHANGES):
        cells, met = [], []
        for column, law in enumerate(LAWS):
            if "flags" in title and law in {"t3", "lognormal"}:
                cells.append("as normal")
                continue
            rng = np.random.default_rng([seed, 1, row, column])
            delays = Delays(streams, limit)
            for number in range(streams):
                alarms, channel = stream(rng, law, number)
                delays.add(first(alarms, channel))
            goal = goals.get(law)
            cells.append(delays.text() + (f" (goal {goal})" if goal else ""))
            if goal:
                met.append(delays.median() <= float(goal))
        print(f"| {title} | " + " | ".join(cells) + f" | {sum(met)} of {len(met)} |", flush=True)


def false_alarms(streams: int, seed: int) -> None:
    print(f"\n## False alarms: share of {streams} in-control streams with any alarm (goal 5 %, AR(1) 6 %)\n")
    print(
        "| law | any channel | +- (1 s.e.) | before trade 200 | mean | scale | correlation | hit | warned (confidence >= 0.8) |\n|---|---|---|---|---|---|---|---|---|"
    )
    n = CALIBRATION + IN_CONTROL
    for column, law in enumerate((*LAWS, "ar1 0.5")):
        rng = np.random.default_rng([seed, 2, column])
        count = dict.fromkeys(("any", "early", "mean", "scale", "correlation", "hit", "warned"), 0)
        for number in range(streams):
            prices, flagged = Detectors.fresh(f"{law}-{number}"), Detectors.fresh(f"{law}-{number}-flags")
            back, noise = draw(rng, law, n), draw(rng, law, n)
            alarms = prices.step_trades(keys(rng, n), 10.0 * draw(rng, law, n))
            live = 0.95 * back + math.sqrt(1.0 - 0.95**2) * noise
            alarms += [a for a in prices.step_intervals(keys(rng, n), back, live) if a.channel == "correlation"]
            alarms += [a for a in flagged.step_intervals(keys(rng, n), np.ones(n), flags(rng, law, n, HIT_RATE)) if a.channel == "hit"]
            count["any"] += bool(alarms)
            count["early"] += any(alarm.index < CALIBRATION for alarm in alarms)
            for name in {alarm.channel for alarm in alarms}:
                count[name] += 1
            count["warned"] += prices.confidences()[0] >= 0.8
        share = {name: value / streams for name, value in count.items()}
        error = math.sqrt(share["any"] * (1.0 - share["any"]) / streams)
        rest = " | ".join(f"{share[name]:.1%}" for name in ("early", "mean", "scale", "correlation", "hit", "warned"))
        print(f"| {law} | {share['any']:.1%} | {error:.1%} | {rest} |", flush=True)


def cost() -> None:
    rng = np.random.default_rng(0)
    n = 19_000
    d, key = rng.standard_normal(n) * 10.0, keys(rng, n)
    detectors = Detectors.fresh("cost", horizon=10**9)
    start = time.perf_counter()
    detectors.step_trades(key, d)
    batch = (time.perf_counter() - start) / n / 2 * 1e6
    start = time.perf_counter()
    for i in range(900):
        detectors.step_trades(key[i : i + 1], d[i : i + 1])
    single = (time.perf_counter() - start) / 900 / 2 * 1e6
    print(
        f"\nCost of the mean and scale channels, per channel and trade: {batch:.2f} us in a batch of {n:,}, {single:.1f} us one trade at a time (goal 10)."
    )


MAKERS = ("river ADWIN", "river ADWIN clock=1", "river PageHinkley")
OURS = "parityd, as shipped"


def makers() -> dict[str, Callable[[], Any]]:
    """River's detectors with their defaults; none where it is not installed."""
    try:
        drift = import_module("river.drift")
    except ImportError:
        return {}
    return dict(zip(MAKERS, (drift.ADWIN, lambda: drift.ADWIN(clock=1), drift.PageHinkley), strict=True))


def paired(rng: np.random.Generator, law: str, title: str, *, changed: bool) -> tuple[Callable[[str], float], Array]:
    """A stream: what finds the place of our first alarm of the channel in it, and the numbers that river reads."""
    n = CHANGE + TAIL if changed else CALIBRATION + IN_CONTROL
    key = keys(rng, n)
    if title.startswith(("mean", "scale")):
        x = draw(rng, law, n)
        if changed:
            x[CHANGE:] = x[CHANGE:] * (1.0 if title.startswith("mean") else 1.5) + (1.0 if title.startswith("mean") else 0.0)
        values = x if title.startswith("mean") else np.abs(x - np.median(x[:CALIBRATION]))
        return lambda name: told(Detectors.fresh(name).step_trades(key, 10.0 * x), title.split(maxsplit=1)[0]), values
    if title.startswith("correlation"):
        back, live = books(rng, law, n, 0.95, 0.7 if changed else 0.95)
        level, slope = fitted_line(back[:FIT], live[:FIT])
        off = np.abs(live - level - slope * back)
        return lambda name: told(Detectors.fresh(name).step_intervals(key, back, live), "correlation"), off / off[:CALIBRATION].std()
    flagged = flags(rng, law, n, LOWER_HIT_RATE if changed else HIT_RATE)
    return lambda name: told(Detectors.fresh(name).step_intervals(key, np.ones(n), flagged), "hit"), (flagged < 0.0).astype(np.float64)


def told(alarms: list[Alarm], channel: str) -> float:
    """Place of the channel's first alarm in the first epoch, inf if none."""
    return min((float(alarm.index) for alarm in alarms if not alarm.epoch and alarm.channel == channel), default=math.inf)


def heard(make: Callable[[], Any], values: Array) -> float:
    """Place of a river detector's first alarm after the calibration, inf if none."""
    detector = make()
    for place, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected and place >= CALIBRATION:
            return place
    return math.inf


def peers(streams: int, seed: int, plot: Path | None) -> None:
    """The table beside river, and its picture."""
    river = makers()
    if not river:
        print("\nriver is not installed: no comparison (see benchmarks/README.md).")
        return
    print(f"\n## Beside river, on the same {streams} streams a cell\n")
    print("False alarms within 1,000 in-control points of this channel alone, then delay: median / 90th percentile / missed after 200.\n")
    print("| change | detector | " + " | ".join(LAWS) + " |\n|---|---|" + "---|" * len(LAWS))
    bars: list[Bar] = []
    for row, title in enumerate(("mean +1 sd", "scale x1.5", "correlation 0.95 to 0.7", "hit flags 0.8 to 0.6")):
        cells: dict[str, list[str]] = {name: [] for name in (OURS, *river)}
        for column, law in enumerate(LAWS):
            if title.startswith("hit") and law in {"t3", "lognormal"}:
                for line in cells.values():
                    line.append("as normal")
                continue
            false, delays = dict.fromkeys(cells, 0), {name: Delays(streams, 200) for name in cells}
            for number in range(streams):
                rng = np.random.default_rng([seed, 3, row, column, number])
                calm, changed = (paired(rng, law, title, changed=one) for one in (False, True))
                for name in cells:
                    make = river.get(name)
                    false[name] += math.isfinite(calm[0](f"{number}") if make is None else heard(make, calm[1]))
                    delays[name].add(changed[0](f"{number}") if make is None else heard(make, changed[1]))
            for name, line in cells.items():
                line.append(f"{false[name] / streams:.0%}, {delays[name].text()}")
                bars.append(Bar(title, law, name, false[name] / streams, *delays[name].spread()))
        for name, line in cells.items():
            print(f"| {title} | {name} | " + " | ".join(line) + " |", flush=True)
    if plot is not None:
        plot.write_text(picture(bars, limit=200))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=100, help="streams a cell (default 100: under a minute; 1,000 for figures to quote)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="write the comparison with river as an SVG picture")
    parser.add_argument("--peers", action="store_true", help="the comparison with river alone")
    chosen = parser.parse_args()
    print(f"# Drift detectors as shipped: {chosen.streams} streams a cell, seed {chosen.seed}")
    if chosen.peers:
        peers(min(chosen.streams, 100), chosen.seed, chosen.plot)
        return
    false_alarms(chosen.streams, chosen.seed)
    delay_table(chosen.streams, chosen.seed)
    peers(min(chosen.streams, 100), chosen.seed, chosen.plot)
    cost()


if __name__ == "__main__":
    main()
