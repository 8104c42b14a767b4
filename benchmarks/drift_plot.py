"""The comparison of drift detectors as a picture: a dot at the median delay, a line to the 90th percentile, the false alarms beside it.

Plain SVG, so that nothing need be installed. A detector that alarms falsely in more than 5 % of the streams is drawn hollow: its delay is bought.
"""

import math
from typing import NamedTuple

COLOURS = {"parityd, as shipped": "#0b6e4f", "river ADWIN": "#c1666b", "river ADWIN clock=1": "#e0a458", "river PageHinkley": "#5b7db1"}
LEFT, WIDTH, ROW, GAP, TOP = 210, 620, 14, 22, 60
BUDGET = 0.05


class Bar(NamedTuple):
    """One cell of the table; nan where too few streams reached the change."""

    change: str
    law: str
    detector: str
    false_alarms: float
    median: float
    p90: float


def picture(bars: list[Bar], *, limit: int) -> str:
    """The SVG."""
    out: list[str] = []
    y = float(TOP)
    last = ("", "")
    for bar in bars:
        if (bar.change, bar.law) != last:
            y += GAP
            last = (bar.change, bar.law)
            out.append(f'<text x="{LEFT - 12}" y="{y + 14}" text-anchor="end">{bar.change}, {bar.law}</text>')
        y += ROW
        out += _drawn(bar, y, limit)
    height = y + 40
    axis = [
        f'<line x1="{_x(t, limit)}" x2="{_x(t, limit)}" y1="{TOP}" y2="{height - 30}" stroke="#ddd"/>'
        f'<text x="{_x(t, limit)}" y="{height - 14}" text-anchor="middle" fill="#555">{t}{"+" if t == limit else ""}</text>'
        for t in range(0, limit + 1, 50)
    ]
    legend = [
        f'<circle cx="{LEFT + 160 * k}" cy="24" r="5" fill="{colour}"/><text x="{LEFT + 160 * k + 10}" y="28">{name}</text>'
        for k, (name, colour) in enumerate(COLOURS.items())
    ]
    note = f'<text x="{LEFT}" y="46" fill="#555">delay in points: median, line to the 90th percentile; right: false alarms in 1,000 points; hollow: over 5 %</text>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 80} {height:.0f}" font-family="sans-serif" font-size="11">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *axis, *legend, note, *out, "</svg>", ""])


def _drawn(bar: Bar, y: float, limit: int) -> list[str]:
    colour, right = COLOURS[bar.detector], LEFT + WIDTH + 14
    text = f'<text x="{right}" y="{y + 4}" fill="{colour}">{bar.false_alarms:.0%}</text>'
    if math.isnan(bar.median):
        return [f'<text x="{LEFT + 4}" y="{y + 4}" fill="{colour}">false alarms before the change</text>', text]
    start, end = _x(bar.median, limit), _x(bar.p90, limit)
    fill = colour if bar.false_alarms <= BUDGET else "white"
    line = f'<line x1="{start}" x2="{end}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    return [line, f'<circle cx="{start}" cy="{y}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>', text]


def _x(delay: float, limit: int) -> float:
    return round(LEFT + WIDTH * min(delay, limit) / limit, 1)
