"""Charts as SVG text, drawn on the server: no script, no library, no request.

1. A chart says in words what it shows (title and description), for those who do not see it; colours come from the style sheet.
2. Points that were not measured break the line; at most 240 points a line are drawn, each bucket's extremes kept.
3. Without a single point there is no chart but a sentence.
4. Every text is escaped; every coordinate is a number made here.

Series that pages and reports read (each may be absent): `tracking_error [{ts, value}]` · `pnl [{ts, backtest, allowed, live}]` ·
`price_diff {edges_bps [n+1], counts [n], outliers [{trade_id, symbol, value_bps}]}` · `drift [{ts, channels {name: share of its limit}}]`
· `correlation [{ts, correlation, hit_rate}]` · `costs_by_hour [{hour, total_bps}]` · `costs_by_symbol [{symbol, total_bps}]`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from parityd.core.instants import DAY_NS, rfc3339
from parityd.web.views import DASH, MINUS, listed, number, plain, signed, to_ns

W, H = 480.0, 216.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 12.0, 24.0, 26.0
MOST_POINTS = 240
Point = tuple[float, float | None]


class Line(NamedTuple):
    """One line: its name, its style (`c1` to `c5`) and its points by time."""

    name: str
    style: str
    points: list[Point]


class Limit(NamedTuple):
    """A horizontal limit with its style (`l1` to `l3`)."""

    value: float
    style: str
    name: str


def points(series: Any, key: str = "value") -> list[Point]:
    """The points of a series in order of time; what has no time is left out."""
    found = [(float(ns), number(p.get(key))) for p in listed(series) if (ns := to_ns(p.get("ts"))) is not None]
    return _thin(sorted(found, key=lambda p: p[0]))


def _thin(line: list[Point]) -> list[Point]:
    if len(line) <= MOST_POINTS:
        return line
    size, kept = -(-len(line) // (MOST_POINTS // 2)), []
    for start in range(0, len(line), size):
        bucket = line[start : start + size]
        known = [p for p in bucket if p[1] is not None]
        kept += sorted({min(known, key=_height), max(known, key=_height)}) if known else bucket[:1]
    return kept


def _height(p: Point) -> float:
    return p[1] or 0.0


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values within [low, high]."""
    width = (high - low) / most or 1.0
    power = 10.0 ** math.floor(math.log10(width))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= width * (1 - 1e-9))
    first = int(low // step)
    return [round(i * step, 10) for i in range(first, first + 3 * most) if low - step * 1e-9 <= i * step <= high + step * 1e-9]


class _Plane:
    """From values to coordinates; the y axis always holds 0."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.x0, self.x1 = min(xs), max(xs)
        low, high = min(0.0, *ys), max(0.0, *ys)
        room = (high - low) * 0.06 or 1.0
        self.y0, self.y1 = (low - room if low < 0 else 0.0), high + room

    def x(self, v: float) -> float:
        at = (v - self.x0) / (self.x1 - self.x0) if self.x1 > self.x0 else 0.5
        return LEFT + at * (W - LEFT - RIGHT)

    def y(self, v: float) -> float:
        return TOP + (self.y1 - v) / (self.y1 - self.y0) * (H - TOP - BOTTOM)

    def grid(self) -> str:
        rows = []
        for v in ticks(self.y0, self.y1):
            y = self.y(v)
            rows.append(f'<path class="{"axis" if v == 0 else "grid"}" d="M{LEFT:.0f} {y:.1f}H{W - RIGHT:.0f}"/>')
            rows.append(f'<text x="{LEFT - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{_short(v)}</text>')
        return "".join(rows)

    def units(self, y: str, x: str) -> str:
        """What the axes count: above the first, at the end of the second."""
        above = f'<text class="unit" x="{LEFT - 6:.0f}" y="{TOP - 10:.0f}" text-anchor="end">{escape(y)}</text>' if y else ""
        return above + f'<text class="unit" x="{W - RIGHT:.0f}" y="{H - 8:.0f}" text-anchor="end">{escape(x)}</text>'

    def days(self) -> str:
        """Labels of the time axis: UTC midnights, and round hours where it spans less than two days."""
        size = DAY_NS if self.x1 - self.x0 >= 2 * DAY_NS else DAY_NS // 24
        step = size * next(k for k in (1, 2, 3, 4, 6, 12, 24, 48, 10**6) if (self.x1 - self.x0) / (size * k) <= 6.5)
        first = -int(-self.x0 // step) * step
        at = [
            t for t in range(first, int(self.x1) + 1, step) if LEFT + 16 <= self.x(t) <= W - RIGHT - (46 if self.date() == "UTC" else 104)
        ] or [int(self.x0)]
        said = ((t, rfc3339(t)[5:10] if t % DAY_NS == 0 else rfc3339(t)[11:16]) for t in at)
        return "".join(f'<text x="{self.x(t):.1f}" y="{H - 8:.0f}" text-anchor="middle">{word}</text>' for t, word in said)

    def date(self) -> str:
        """What stands at the end of the time axis: its date where all of it lies on one, for its labels are hours then."""
        return f"{rfc3339(int(self.x0))[:10]} UTC" if int(self.x0) // DAY_NS == (int(self.x1) - 1) // DAY_NS else "UTC"


def _short(v: float) -> str:
    size = abs(v)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{v / (1e3 if unit == 'k' else limit):g}{unit}".replace("-", MINUS)
    return f"{v:g}".replace("-", MINUS)


def _svg(title: str, told: str, body: str, height: float = H, style: str = "chart") -> Markup:
    return Markup(  # noqa: S704  every text in it went through escape
        f'<svg class="{style}" viewBox="0 0 {W:.0f} {height:.0f}" role="img"><title>{escape(title)}</title><desc>{escape(told)}</desc>{body}</svg>'
    )


def nothing(why: str = "Nothing measured yet.") -> Markup:
    return Markup('<p class="none">{}</p>').format(why)


def _path(plane: _Plane, line: list[Point]) -> str:
    text, pen = "", "M"
    for i, (x, y) in enumerate(line):
        if y is None:
            pen = "M"
            continue
        alone = pen == "M" and (i + 1 == len(line) or line[i + 1][1] is None)
        text += f"{pen}{plane.x(x):.1f} {plane.y(y):.1f}" + ("h.1" if alone else "")
        pen = "L"
    return text


def _legend(drawn: Sequence[Line], *, lone: bool) -> str:
    if len(drawn) < 2 - lone:
        return ""
    x, rows = LEFT + 8, []
    for line in drawn:
        rows.append(
            f'<path class="key {line.style}" d="M{x:.0f} {TOP - 14:.0f}h14"/><text x="{x + 18:.0f}" y="{TOP - 10:.0f}">{escape(line.name)}</text>'
        )
        x += 32 + 7.4 * len(line.name)
    return "".join(rows)


def lines(
    title: str, drawn: Sequence[Line], limits: Sequence[Limit] = (), unit: str = "", *, shade: bool = False, lone: bool = False
) -> Markup:
    """Lines over time with their limits. `shade` fills the gap between the first line and the last, `lone` names also a single one."""
    drawn = [d for d in drawn if any(y is not None for _, y in d.points)]
    if not drawn:
        return nothing()
    xs = [x for d in drawn for x, _ in d.points]
    ys = [y for d in drawn for _, y in d.points if y is not None]
    near = [b.value for b in limits if b.value <= max(ys) * 1.6 or b is limits[0]]
    plane = _Plane(xs, ys + near)
    body = plane.grid() + plane.days() + plane.units(unit, plane.date())
    for b in limits:
        if b.value in near:
            y = plane.y(b.value)
            body += f'<path class="limit {b.style}" d="M{LEFT:.0f} {y:.1f}H{W - RIGHT:.0f}"/>'
            body += f'<text class="{b.style}" x="{W - RIGHT - 2:.0f}" y="{y - 4:.1f}" text-anchor="end">{escape(b.name)}</text>'
    if shade and len(drawn) > 1:
        body += _gap(plane, drawn[0].points, drawn[-1].points)
    body += "".join(f'<path class="line {d.style}" d="{_path(plane, d.points)}"/>' for d in drawn) + _legend(drawn, lone=lone)
    told = "; ".join(
        f"{d.name}: from {plain(min(v))} to {plain(max(v))}, last {plain(v[-1])} {unit}"
        for d in drawn
        if (v := [y for _, y in d.points if y is not None])
    )
    return _svg(title, told, body)


def _gap(plane: _Plane, above: list[Point], below: list[Point]) -> str:
    edge = [(x, y) for x, y in above if y is not None] + [(x, y) for x, y in reversed(below) if y is not None]
    return '<polygon class="gap" points="' + " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in edge) + '"/>'


def waterfall(title: str, start: tuple[str, float], steps: Sequence[tuple[str, float | None]], end: tuple[str, float], unit: str) -> Markup:
    """From one total to another: each step is what it adds; None was not measured and is named as such."""
    row, height = 24.0, 24.0 * (len(steps) + 2) + 8
    at, marks = start[1], []
    for _, step in steps:
        marks.append((at, at + (step or 0.0)))
        at += step or 0.0
    ends = [0.0, start[1], end[1], *(m for pair in marks for m in pair)]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0

    def x(v: float) -> float:
        return 118 + (v - low) / width * 258

    def bar(i: int, a: float, b: float, style: str, name: str, value: str) -> str:
        left, size = min(x(a), x(b)), max(abs(x(a) - x(b)), 1.0)
        y = 6 + i * row
        return (
            f'<text x="112" y="{y + 14:.0f}" text-anchor="end">{escape(name)}</text><rect class="{style}" x="{left:.1f}" y="{y + 3:.0f}" '
            f'width="{size:.1f}" height="15"/><text x="{W - 4:.0f}" y="{y + 14:.0f}" text-anchor="end">{escape(value)}</text>'
        )

    body = f'<path class="axis" d="M{x(0.0):.1f} 4V{height - 4:.0f}"/>' + bar(0, 0.0, start[1], "total", start[0], signed(start[1], 2))
    for i, ((name, step), (a, b)) in enumerate(zip(steps, marks, strict=True)):
        if step is None:
            body += f'<text x="112" y="{20 + (i + 1) * row:.0f}" text-anchor="end">{escape(name)}</text><text class="none" x="{W - 4:.0f}" y="{20 + (i + 1) * row:.0f}" text-anchor="end">not measured</text>'
        else:
            body += bar(i + 1, a, b, "gain" if step >= 0 else "cost", name, signed(step, 2))
    body += bar(len(steps) + 1, 0.0, end[1], "total", end[0], signed(end[1], 2))
    told = (
        f"{start[0]} {signed(start[1], 2)}; "
        + "; ".join(f"{n} {signed(v, 2) if v is not None else 'not measured'}" for n, v in steps)
        + f"; {end[0]} {signed(end[1], 2)} {unit}"
    )
    return _svg(title, told, body, height)


def histogram(title: str, series: Any) -> Markup:
    """Counts over price differences in bps, as `price_diff` of the module's series."""
    found = series if isinstance(series, Mapping) else {}
    edges, counts = [number(e) for e in found.get("edges_bps") or ()], [number(c) for c in found.get("counts") or ()]
    known = [e for e in edges if e is not None]
    if len(known) != len(edges) or len(edges) != len(counts) + 1 or not any(counts) or known[0] >= known[-1]:
        return nothing()
    heights = [c or 0.0 for c in counts]
    plane = _Plane(known, heights)
    body = plane.grid() + plane.units("trades", "bps")
    for a, b, n in zip(known, known[1:], heights, strict=False):
        if n:
            body += f'<rect class="bin" x="{plane.x(a):.1f}" y="{plane.y(n):.1f}" width="{max(plane.x(b) - plane.x(a) - 1, 0.6):.1f}" height="{plane.y(0) - plane.y(n):.1f}"/>'
    for v in ticks(known[0], known[-1], 6):
        body += "" if plane.x(v) > W - RIGHT - 40 else f'<text x="{plane.x(v):.1f}" y="{H - 8:.0f}" text-anchor="middle">{_short(v)}</text>'
    if known[0] < 0 < known[-1]:
        body += f'<path class="axis" d="M{plane.x(0):.1f} {TOP:.0f}V{H - BOTTOM:.0f}"/>'
    peak = heights.index(max(heights))
    return _svg(
        title,
        f"{sum(heights):.0f} trades from {plain(known[0])} to {plain(known[-1])} bps, most between {plain(known[peak])} and {plain(known[peak + 1])}",
        body,
    )


def columns(title: str, rows: Sequence[tuple[float, float | None]], unit: str, x_unit: str, upto: int) -> Markup:
    """Upright bars at the whole numbers 0..upto - 1, positive = cost."""
    known = [(int(x), v) for x, v in rows if v is not None and 0 <= x < upto]
    if not known:
        return nothing()
    plane = _Plane([0.0, float(upto)], [v for _, v in known])
    body = plane.grid() + plane.units(unit, x_unit)
    for x, v in known:
        top, bottom = plane.y(max(v, 0.0)), plane.y(min(v, 0.0))
        left, width = plane.x(x) + 1.5, plane.x(1) - plane.x(0) - 3
        body += f'<rect class="{"cost" if v > 0 else "gain"}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{max(bottom - top, 0.8):.1f}"/>'
    for x in range(0, upto, max(1, upto // 8)):
        if plane.x(x) < W - RIGHT - 70:
            body += f'<text x="{plane.x(x + 0.5):.1f}" y="{H - 8:.0f}" text-anchor="middle">{x}</text>'
    return _svg(title, "; ".join(f"{x}: {signed(v, 2)}" for x, v in known) + f" {unit}", body)


def short(v: float) -> str:
    """A sum with its sign, in at most seven characters: `+32.5k`."""
    size = next((s for s in (1e9, 1e6, 1e3) if abs(v) >= s), 1.0)
    return signed(v / size, 1) + {1e9: "G", 1e6: "M", 1e3: "k", 1.0: ""}[size]


def bars(title: str, rows: Sequence[tuple[str, float | None, str]], unit: str = "bps") -> Markup:
    """Horizontal bars by name, positive = cost; what else is known of each is written behind its value."""
    known = [(str(n), v, more) for n, v, more in rows if v is not None]
    if not known:
        return nothing()
    low, high = min(0.0, *(v for _, v, _ in known)), max(0.0, *(v for _, v, _ in known))
    scale, height = 205 / ((high - low) or 1.0), 20.0 * len(known) + 8
    zero = 128 - low * scale
    body = f'<path class="axis" d="M{zero:.1f} 2V{height - 2:.0f}"/>'
    for i, (name, v, more) in enumerate(known):
        y = 4 + i * 20
        body += f'<text x="120" y="{y + 13:.0f}" text-anchor="end">{escape(name[:18])}</text>'
        body += f'<rect class="{"cost" if v > 0 else "gain"}" x="{min(zero, zero + v * scale):.1f}" y="{y + 2}" width="{max(abs(v * scale), 0.6):.1f}" height="14"/>'
        body += f'<text x="{W - 4:.0f}" y="{y + 13:.0f}" text-anchor="end">{signed(v, 2)}{escape(more and f" · {more}")}</text>'
    return _svg(title, "; ".join(f"{n} {signed(v, 2)} {unit}{more and f', {more}'}" for n, v, more in known), body, height)


def meter(value: Any, limits: Sequence[float], unit: str = "bps") -> Markup:
    """A small bar of a value against its three limits, for a table's cell."""
    found, top = number(value), limits[-1] * 1.15 if limits and limits[-1] > 0 else 1.0
    if found is None:
        return Markup('<span class="none">{}</span>').format(DASH)
    style = f"l{sum(abs(found) >= v for v in limits)}"
    width = min(abs(found) / top, 1.0) * 80
    marks = "".join(f"M{min(v / top, 1) * 80:.1f} 0v8" for v in limits)
    told = f"{plain(found)} {unit}; limits {', '.join(f'{v:g}' for v in limits)}"
    return Markup(  # noqa: S704  numbers made here and an escaped text
        f'<svg class="meter" viewBox="0 0 80 8" role="img" aria-label="{escape(told)}"><path class="rail" d="M0 4h80"/>'
        f'<rect class="{style}" width="{width:.1f}" y="1" height="6"/><path class="mark" d="{marks}"/></svg>'
    )
