"""Draws the pictures of the page of measures: `python docs/pictures/measures.py`. What they show is worked out by parityd itself.

1. The same bytes each time: a test holds the files against this code.
2. Plain SVG of a few kilobytes, with a title for those who do not see it; nothing is measured from a screen.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from parityd.core.drift import Detectors
from parityd.core.findings_bars import fisher_upper, wilson
from parityd.core.quality import WEIGHTS

HERE = Path(__file__).parent
W, H, LEFT, RIGHT, TOP, BOTTOM = 560.0, 220.0, 64.0, 20.0, 34.0, 30.0
GREEN, RED, ORANGE, BLUE, GREY, FAINT = "#0b6e4f", "#c1666b", "#b3701a", "#5b7db1", "#555", "#ddd"
DS = [3.0, -5.0, 8.0, -2.0, 30.0, 1.0, -4.0, 6.0, 0.0, -7.0]


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = GREY, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'


def bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{max(height, 0.8):.1f}" fill="{colour}"/>'


def dot(x: float, y: float, colour: str, size: float = 3.5) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}"/>'


def path(points: Sequence[tuple[float, float]], colour: str, width: float = 1.8) -> str:
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def svg(title: str, body: Sequence[str], height: float = H) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W:.0f} {height:.0f}" font-family="sans-serif" font-size="11" role="img">'
    return "\n".join([head, f"<title>{title}</title>", '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>", ""])


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda v: start + (v - low) / (high - low) * (end - start)


def grid(y: Callable[[float], float], values: Sequence[float], form: str = "{:g}") -> Iterator[str]:
    for v in values:
        yield line(LEFT, y(v), W - RIGHT, y(v), GREY if v == 0 else FAINT)
        yield text(LEFT - 6, y(v) + 4, form.format(v).replace("-", "−"), "end", GREY)


def chain() -> str:
    """The worked trade's cost, part by part."""
    parts = [("data", 0.18), ("timing", 0.27), ("slippage", -0.45), ("impact", 0.27), ("fee", 0.2991), ("sizing", 0.7999)]
    y = scale(0.0, 1.5, H - BOTTOM, TOP)
    body = [
        text(LEFT, 18, "what the worked trade cost, in quote currency: part by part to the total", colour=GREY),
        *grid(y, (0, 0.5, 1.0, 1.5)),
    ]
    step, at = (W - LEFT - RIGHT) / 7, 0.0
    for k, (name, value) in enumerate([*parts, ("total", sum(v for _, v in parts))]):
        low, high = (0.0, value) if name == "total" else (min(at, at + value), max(at, at + value))
        at += 0.0 if name == "total" else value
        x = LEFT + k * step + 8
        body += [bar(x, y(high), step - 16, y(low) - y(high), BLUE if name == "total" else RED if value > 0 else GREEN)]
        body += [
            text(x + step / 2 - 8, y(high) - 4, f"{value:+.4g}".replace("-", "−"), "middle"),
            text(x + step / 2 - 8, H - 12, name, "middle"),
        ]
    return svg("The cost of the worked trade as the sum of its parts", body)


def tracking() -> str:
    """Ten differences, their root mean square with and without the largest, and their mean."""
    y = scale(-12.0, 34.0, H - BOTTOM, TOP)
    body = [text(LEFT, 18, "price differences of ten trades, bps", colour=GREY), *grid(y, (-10, 0, 10, 20, 30))]
    step, end = 34.0, W - RIGHT - 140
    for k, d in enumerate(DS):
        body.append(bar(LEFT + 10 + k * step, min(y(d), y(0)), 18, abs(y(d) - y(0)), ORANGE if d == 30 else BLUE))
    root = math.sqrt(sum(d * d for d in DS) / 10)
    rest = math.sqrt(sum(d * d for d in DS if d != 30) / 9)
    for value, name, colour in ((root, "tracking error", RED), (rest, "without the largest", GREEN), (3.0, "mean", GREY)):
        body += [line(LEFT, y(value), end, y(value), colour, 'stroke-dasharray="5 3"')]
        body += [text(end + 4, y(value) + (4 if value != 3.0 else 20), f"{name} {value:.4g}", colour=colour)]
    return svg("Price differences of ten trades with their root mean square and mean", body)


def cumulative() -> str:
    """Seven days of a mean of 16 bps, summed."""
    y = scale(0.0, 210.0, H - BOTTOM, TOP)
    body = [text(LEFT, 18, "cumulative drift of seven days of +16 bps each, bps", colour=GREY), *grid(y, (0, 50, 100, 150, 200))]
    step, error = (W - LEFT - RIGHT) / 7, math.sqrt(7 * 64 / 12)
    for k in range(7):
        x = LEFT + k * step + 14
        body += [
            bar(x, y(16.0 * (k + 1)), step - 28, y(0) - y(16.0 * (k + 1)), BLUE),
            text(x + step / 2 - 14, H - 12, f"day {k + 1}", "middle"),
        ]
    middle = W - RIGHT - step / 2
    body += [
        line(middle, y(112 - 4 * error), middle, y(112 + 4 * error), "#222", 'stroke-width="2"'),
        text(middle - 6, y(112 + 4 * error) - 4, "± 4 errors", "middle"),
    ]
    body += [line(LEFT, y(v), W - RIGHT, y(v), c, 'stroke-dasharray="5 3"') for v, c in ((100.0, ORANGE), (200.0, RED))]
    body += [text(LEFT + 6, y(100) - 4, "WARNING", colour=ORANGE), text(LEFT + 6, y(200) + 12, "CRITICAL", colour=RED)]
    return svg("A small bias of each day adds up to a finding", body)


def markouts() -> str:
    """The price after the worked fill."""
    y = scale(100.0, 100.26, H - BOTTOM, TOP)
    x = scale(-2.0, 32.0, LEFT, W - RIGHT)
    seen = [(0.0, 100.13), (1.0, 100.10), (5.0, 100.03), (30.0, 100.23)]
    body = [text(LEFT, 18, "marks after a buy at 100.13", colour=GREY), *grid(y, (100.05, 100.10, 100.15, 100.20, 100.25), "{:.2f}")]
    body += [line(x(-2), y(100.13), x(32), y(100.13), GREY, 'stroke-dasharray="3 3"'), path([(x(t), y(p)) for t, p in seen], BLUE)]
    for (t, p), (across, down, anchor) in zip(seen[1:], ((9, 3, "start"), (8, 12, "start"), (0, -8, "end")), strict=True):
        bps = (p - 100.13) / 100.13 * 1e4
        body += [dot(x(t), y(p), GREEN if bps > 0 else RED)]
        body += [text(x(t) + across, y(p) + down, f"{t:.0f} min: {bps:+.2f} bps".replace("-", "−"), anchor)]
    body += [dot(x(0), y(100.13), "#222"), text(x(0), y(100.13) - 8, "fill", "middle")]
    return svg("Markouts: how far the price went after a fill", body)


def bounds() -> str:
    """The same share from few and many, and the bound of a correlation by how many intervals."""
    x = scale(0.0, 0.35, LEFT + 40, W / 2 - 10)
    body = [text(LEFT - 40, 18, "unmatched: 15 %, with 90 % bounds", colour=GREY)]
    for k, (hits, n) in enumerate(((3, 20), (30, 200))):
        low, high = wilson(hits, n)
        at = 78.0 + 52 * k
        body += [
            line(x(low), at, x(high), at, BLUE, 'stroke-width="3"'),
            dot(x(hits / n), at, "#222"),
            text(x(0) - 6, at + 4, f"{hits} of {n}", "end"),
        ]
        body += [text(x(low), at - 8, f"{low:.1%}", "start" if low > 0.1 else "end", RED if low > 0.1 else GREEN)]
    body += [line(x(0.1), 46, x(0.1), 168, ORANGE, 'stroke-dasharray="5 3"'), text(x(0.1), 184, "WARNING over 10 %", "middle", ORANGE)]
    r, n = scale(0.70, 0.90, H - BOTTOM, TOP), scale(math.log(30), math.log(1000), W / 2 + 60, W - RIGHT)
    body.append(text(W / 2 + 30, 18, "correlation 0.75: upper bound by intervals", colour=GREY))
    body += [
        x
        for v in (0.7, 0.8, 0.9)
        for x in (line(W / 2 + 60, r(v), W - RIGHT, r(v), FAINT), text(W / 2 + 54, r(v) + 4, f"{v:g}", "end", GREY))
    ]
    body += [text(n(math.log(v)), H - 12, str(v), "middle", GREY) for v in (40, 100, 300, 600)]
    body.append(path([(n(math.log(k)), r(fisher_upper(0.75, k) or 0.0)) for k in range(30, 1001, 5)], BLUE))
    body += [
        line(W / 2 + 60, r(0.8), W - RIGHT, r(0.8), ORANGE, 'stroke-dasharray="5 3"'),
        text(W - RIGHT, r(0.8) - 5, "WARNING below 0.80", "end", ORANGE),
    ]
    body += [dot(n(math.log(k)), r(fisher_upper(0.75, k) or 0.0), RED if k == 600 else GREEN) for k in (40, 600)]
    return svg("Bounds: few observations say little, many say more", body)


def pair_of_returns() -> tuple[np.ndarray, np.ndarray]:
    """Forty intervals: live is the backtest with noise."""
    k = np.arange(40.0)
    back = 12.0 * np.sin(2.4 * k) + 5.0 * np.sin(5.1 * k)
    return back, back + 7.0 * np.sin(11.3 * k + 1.0)


def returns() -> str:
    """Forty interval returns of both books against each other."""
    back, live = pair_of_returns()
    x, y = scale(-20.0, 20.0, LEFT, LEFT + 230), scale(-26.0, 26.0, H - 12, 28)
    hits = np.sign(back) == np.sign(live)
    body = [bar(x(0), y(26), x(20) - x(0), y(0) - y(26), "#eef6f1"), bar(x(-20), y(0), x(0) - x(-20), y(-26) - y(0), "#eef6f1")]
    body += [line(x(-20), y(0), x(20), y(0)), line(x(0), y(-26), x(0), y(26))]
    body += [dot(x(b), y(v), GREEN if h else RED) for b, v, h in zip(back, live, hits, strict=True)]
    r = float(np.corrcoef(back, live)[0, 1])
    error = float(np.std(live - back, ddof=1)) * math.sqrt(96)
    say = [
        "forty intervals, bps of capital:",
        "across the backtest, upwards live",
        "",
        f"correlation {r:.4f}, upper bound {fisher_upper(r, 40):.4f}",
        f"hit rate {hits.mean():.3f} ({int(hits.sum())} in the shaded quarters)",
        f"tracking error of returns {error:.1f} bps a day",
    ]
    body += [text(LEFT + 250, 60 + 18 * k, words, colour=GREY if k < 2 else "#222") for k, words in enumerate(say)]
    return svg("Interval returns of live against those of the backtest", body)


def decisions() -> str:
    """A thousand decisions, most of them common holds."""
    body = [text(24, 18, "a thousand decisions of both books", colour=GREY)]
    for y, name, shares in (
        (50.0, "decision parity 0.992", ((992, GREEN, ""), (8, RED, ""))),
        (134.0, "action parity 0.6", ((12, GREEN, "12 alike"), (8, RED, "8 not"))),
    ):
        body.append(text(24, y - 6, name))
        at, total = 24.0, sum(n for n, _, _ in shares)
        for n, colour, words in shares:
            width = (W - 48) * n / total
            body += [bar(at, y, width, 26, colour), text(at + width / 2, y + 17, words, "middle", "white")]
            at += width
    body += [text(24, 94, "992 alike, of which 980 are holds"), text(W - 24, 94, "8 not", "end", RED)]
    return svg("Common holds hide the trades that differ", body, 176)


def score() -> str:
    """The parts of the example's score."""
    got = (0.8, 0.9, 0.8, 1.0)
    names = ("tracking error 20 of 100", "correlation 0.9", "hits 0.8", "decisions 1")
    x = scale(0.0, 100.0, 24, W - 24)
    body, at, points = [text(24, 18, f"quality score {sum(w * g for w, g in zip(WEIGHTS, got, strict=True)):g}: B", colour=GREY)], 0.0, 0.0
    for w, g, name in zip(WEIGHTS, got, names, strict=True):
        body += [bar(x(at) + 1, 50, x(at + w) - x(at) - 2, 30, FAINT), bar(x(at) + 1, 50, (x(at + w) - x(at) - 2) * g, 30, BLUE)]
        body += [
            text(x(at + w / 2), 70, f"{w * g:g} of {w:g}", "middle", "white"),
            text(x(at) + 1, 44, name if w > 15 else ""),
        ]
        if w <= 15:
            body.append(text(x(at + w / 2), 98, name, "middle"))
        at, points = at + w, points + w * g
    return svg("The quality score is the sum of four weighted parts", body, 112)


def drift() -> str:
    """Evidence of the mean channel over a stream whose mean moves by a standard deviation at trade 500."""
    d = np.random.default_rng(3).standard_normal(560) * 10.0
    d[500:] += 10.0
    detectors, seen = Detectors.fresh("picture"), []
    alarm = 0
    for k in range(560):
        raised = detectors.step_trades(np.array([k], np.uint64), d[k : k + 1])
        alarm = alarm or (k if any(a.channel == "mean" for a in raised) else 0)
        told = detectors.summary()["channels"]["mean"]
        seen.append(told["evidence"])
    limit = detectors.summary()["channels"]["mean"]["limit"]
    x, y = scale(0, 560, LEFT, W - RIGHT), scale(-2.0, 16.0, H - BOTTOM, TOP)
    known = [(k, v) for k, v in enumerate(seen) if v is not None and v > -2.0]
    body = [
        text(
            LEFT,
            18,
            f"evidence of the mean channel: one sd more from trade 500 on, alarm {alarm - 499} trades later",
            colour=GREY,
        )
    ]
    body += [*grid(y, (0, 5, 10, 15)), path([(x(k), y(min(v, 16.0))) for k, v in known], BLUE, 1.2)]
    body += [
        line(LEFT, y(limit), W - RIGHT, y(limit), RED, 'stroke-dasharray="5 3"'),
        text(LEFT + 6, y(limit) - 5, f"limit {limit:.2f}", colour=RED),
    ]
    body += [line(x(500), TOP, x(500), H - BOTTOM, ORANGE, 'stroke-dasharray="3 3"'), text(x(500) - 4, TOP + 10, "change", "end", ORANGE)]
    body += [text(x(t), H - 12, str(t), "middle", GREY) for t in range(0, 501, 100)]
    return svg("Evidence of drift stays low while nothing changes and climbs when something does", body)


def drawdown() -> str:
    """The equity of the four round trips."""
    equity = list(np.cumsum([100.0, 29.8, -10.2, 19.8, -5.2]))
    x, y = scale(0, 4, LEFT + 20, W - RIGHT - 60), scale(95.0, 145.0, H - BOTTOM, TOP)
    body = [text(LEFT, 18, "equity after each of four round trips, and its running peak", colour=GREY), *grid(y, (100, 110, 120, 130, 140))]
    peaks = list(np.maximum.accumulate(equity))
    body += [path([(x(k), y(v)) for k, v in enumerate(peaks)], GREY, 1.0), path([(x(k), y(v)) for k, v in enumerate(equity)], BLUE)]
    body += [dot(x(k), y(v), BLUE) for k, v in enumerate(equity)]
    body += [line(x(2), y(peaks[2]), x(2), y(equity[2]), RED, 'stroke-width="2"')]
    body += [text(x(2) - 6, y(equity[2]) + 16, f"drawdown {(peaks[2] - equity[2]) / peaks[2]:.2%}", "middle", RED)]
    body += [text(x(k), H - 12, "begin" if k == 0 else f"trip {k}", "middle", GREY) for k in range(5)]
    return svg("Equity, its running peak and the deepest fall from it", body)


PICTURES = {
    "measures-cost": chain, "measures-tracking": tracking, "measures-cumulative": cumulative, "measures-markouts": markouts,
    "measures-bounds": bounds, "measures-returns": returns, "measures-decisions": decisions, "measures-score": score,
    "measures-drift": drift, "measures-drawdown": drawdown,
}  # fmt: skip


def main() -> None:
    for name, draw in PICTURES.items():
        (HERE / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
