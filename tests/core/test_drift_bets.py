"""Quantiles against published values and closed forms; bets integrate to 1 and read alike one at a time and in columns."""

import math

import numpy as np
import pytest

from parityd.core.drift_bets import DEVIATION, P_FLOOR, SHIFT, SPREAD, BetTable, normal_quantile, t3_quantile

# to 30 digits with an arbitrary-precision library, then rounded
NORMAL = {1e-7: -5.199337582192817, 1e-6: -4.753424308822899, 0.025: -1.959963984540054, 0.2: -0.8416212335729142, 0.995: 2.575829303548901}
T3 = {0.75: 0.7648923284043543, 0.9: 1.637744353696210, 0.975: 3.182446305284263, 0.995: 5.840909309733357, 1e-6: -103.29946778041947}
ALL_TABLES = [SHIFT, SPREAD, DEVIATION]


@pytest.mark.parametrize(("p", "expected"), NORMAL.items())
def test_the_normal_quantile_is_the_published_one(p, expected):
    assert normal_quantile(p) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("p", "expected"), T3.items())
def test_the_t3_quantile_is_the_published_one(p, expected):
    assert t3_quantile(p) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("p", [1e-6, 1e-5, 1e-3, 0.01, 0.1, 0.3, 0.45, 0.4999, 0.5, 0.501, 0.7, 0.95, 0.999, 1 - 1e-6])
def test_the_t3_law_takes_its_quantile_back(p):
    angle = math.atan(t3_quantile(p) / math.sqrt(3.0))
    assert 0.5 + (angle + math.sin(angle) * math.cos(angle)) / math.pi == pytest.approx(p, abs=1e-13)


def exact_bets(p: float) -> tuple[list[float], list[float], list[float]]:
    def g(q):
        return (1.0 + q * q / 3.0) ** -2

    def normal(z, s):
        return math.exp(z * z / 2 * (1 - 1 / s**2)) / s

    z, q = normal_quantile(p), t3_quantile(p)
    shift = [math.exp(a * z - a * a / 2) for a in (0.6, 1.1, -0.6, -1.1)] + [g(q - c * math.sqrt(3.0)) / g(q) for c in (1, -1)]
    spread = [normal(z, 1.5)] + [g(q / s) / g(q) / s for s in (1.5, 2.2)]
    z, q = -normal_quantile((1 - p) / 2), -t3_quantile((1 - p) / 2)
    return shift, spread, [normal(z, 1.6), normal(z, 2.4), g(q / 2.0) / g(q) / 2.0]


def test_the_tables_agree_with_the_formulas_to_a_millionth_in_the_logarithm():
    rng = np.random.default_rng(3)
    tails = np.exp(rng.uniform(math.log(P_FLOOR), math.log(0.5), 1500))
    for p in [*tails.tolist(), *(1.0 - tails).tolist(), 0.5, P_FLOOR, 1.0 - P_FLOOR]:
        for table, exact in zip(ALL_TABLES, exact_bets(p), strict=True):
            assert np.log(table.at(p)) == pytest.approx(np.log(exact), abs=1e-6)


@pytest.mark.parametrize("table", ALL_TABLES)
def test_every_bet_integrates_to_one(table: BetTable):
    edges = np.concatenate([[0.0], np.geomspace(P_FLOOR, 0.5, 60_000)])
    middles = np.maximum((edges[1:] + edges[:-1]) / 2, P_FLOOR)
    mass = np.diff(edges) @ (table.over(middles) + table.over(1.0 - middles))
    assert mass == pytest.approx(1.0, abs=0.04), "the clip costs the heaviest bet a little of its mass"
    assert (mass < 1.0 + 1e-5).all()


@pytest.mark.parametrize("table", ALL_TABLES)
def test_one_value_and_a_column_read_the_same_bits(table: BetTable):
    rng = np.random.default_rng(4)
    p = np.concatenate([rng.uniform(P_FLOOR, 1 - P_FLOOR, 3000), [P_FLOOR, 0.25, 0.5, 0.75, 1 - P_FLOOR, np.nextafter(0.5, 0)]])
    assert table.over(p).tolist() == [table.at(value) for value in p.tolist()]
