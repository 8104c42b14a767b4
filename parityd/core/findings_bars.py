"""How one number is held against its thresholds: bounds of a rate and of a correlation, the bars, and the fifth by which a recovery must clear them.

1. A rate or a correlation asks by its 90 % bound on the lenient side (one-sided, z = 1.2816), never by the point estimate.
2. Two numbers within 1e-9 are the same: a price difference of exactly 20 bps is 20 however the doubles fell.
3. `held` is the level that the value would have if every bar lay a fifth further out: bps, counts and times at 0.8 x the bar; where low is bad,
   at bar + 0.2 x (1 - bar). Hence `held` is never below the level itself.
4. A `Reading` that does not count (too few trades, too little of it measured) asks for nothing; one that is absent was not measured.
"""

import math

import msgspec

from parityd.core.ladder_table import LEVEL_RANK

Z90 = 1.2816
SAME = 1e-9
FIFTH = 0.2


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measure beside its bars. `value` is compared, `shown` is published. `bars`: (level, threshold), mildest first.

    `low_is_bad`: a value under the bar asks; else one over it, or on it where `inclusive`. `asks`: level -> action where it is not the level's.
    `forced`: a level that stands whatever the value.
    """

    code: str
    value: float
    bars: tuple[tuple[str, float], ...]
    unit: str = "bps"
    shown: float | None = None
    low_is_bad: bool = False
    inclusive: bool = False
    counts: bool = True
    forced: str = "OK"
    note: str = ""
    asks: tuple[tuple[str, str], ...] = ()


def fisher_upper(r: float, n: int) -> float | None:
    """Upper 90 % bound of a correlation over `n` points; None under 4 points."""
    if n <= 3:
        return None
    if abs(r) >= 1.0:
        return math.copysign(1.0, r)
    return math.tanh(math.atanh(r) + Z90 / math.sqrt(n - 3))


def wilson(k: int, n: int) -> tuple[float, float]:
    """Lower and upper 90 % bound of a rate k / n (each one-sided; Wilson 1927); (0, 1) where n is 0."""
    if n <= 0:
        return 0.0, 1.0
    p, z2 = k / n, Z90 * Z90 / n
    centre, half = p + z2 / 2, Z90 * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    return max(0.0, (centre - half) / (1 + z2)), min(1.0, (centre + half) / (1 + z2))


def clear_of(bar: float, *, low_is_bad: bool) -> float:
    """What a recovery must see instead of the bar."""
    return bar + FIFTH * (1 - bar) if low_is_bad else (1 - FIFTH) * bar


def reached(value: float, bar: float, *, low_is_bad: bool, inclusive: bool) -> bool:
    """Whether the value asks."""
    beyond = bar - value if low_is_bad else value - bar
    return beyond >= -SAME if inclusive else beyond > SAME


def level_of(reading: Reading) -> tuple[str, float | None]:
    """The level a reading asks for and the bar it reached (None where the level was forced)."""
    level, bar = "OK", None
    for name, at in reading.bars if reading.counts else ():
        if reached(reading.value, at, low_is_bad=reading.low_is_bad, inclusive=reading.inclusive):
            level, bar = name, at
    return (level, bar) if LEVEL_RANK[level] >= LEVEL_RANK[reading.forced] else (reading.forced, None)


def held_of(reading: Reading) -> str:
    """The most severe level whose bar the value is not clear of; a value on the clear threshold is not clear yet."""
    held = "OK"
    for name, at in reading.bars if reading.counts else ():
        clear = clear_of(at, low_is_bad=reading.low_is_bad)
        if reached(reading.value, clear, low_is_bad=reading.low_is_bad, inclusive=True):
            held = name
    return max(held, reading.forced, level_of(reading)[0], key=LEVEL_RANK.__getitem__)


def written(value: float, bar: float, unit: str) -> str:
    """A value with as many digits as it needs to be seen beside its bar."""
    text = f"{value:.3f}" if unit == "" else f"{value:.1f}"
    if abs(float(text) - bar) < SAME < abs(value - bar):
        text = f"{value:.6g}"
    return f"{text} {unit}".rstrip()
