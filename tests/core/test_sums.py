"""Sums of rows: one by one and in columns alike, and equal to what the formulas say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.rows import BY_DECISION, BY_FILL, BY_ID, DEAD, PART, SLIP_ALONE, SUPPRESSED, SUSPECT, TIMING_ALONE, blank
from parityd.core.summary import AT, FIELDS, ID, SYM_AT, ShelfSummary, classes, summarise
from parityd.core.sums import FEW, in_columns, one_by_one

MEASURED = ("d", "n", "x", "ln", "fee_bps", "fee", "fq", "fn", "ff", "lq", "l_fee", "l_not")
KNOWN_OR_NOT = ("timing_ms", "data", "timing", "slip", "impact", "latency", "oa", "ob", "ln")


def rows_of(seed, n):
    """Rows of every class, joined in every way, with every flag that sums look at, some of it unknown."""
    rng = np.random.default_rng(seed)
    r = blank(n)
    r["bkey"], r["lkey"] = rng.integers(0, 3, n), rng.integers(0, 3, n)
    r["b_q"], r["l_q"] = rng.integers(0, 3, n), rng.integers(0, 3, n)
    r["how"] = rng.choice([BY_ID, BY_DECISION, BY_FILL], n)
    r["flags"] = np.bitwise_or.reduce(
        [np.where(rng.random(n) < 0.15, f, 0) for f in (DEAD, PART, SUSPECT, SUPPRESSED, SLIP_ALONE, TIMING_ALONE)]
    )
    r["sym"], r["ccy"], r["unpriced"] = rng.integers(1, 4, n), rng.integers(0, 3, n), rng.integers(0, 3, n)
    r["side"], r["alpha"], r["t"] = rng.choice([-1, 1], n), rng.choice([1.0, 0.5, 0.0], n), rng.integers(-(10**15), 10**15, n)
    for name in MEASURED:
        r[name] = rng.normal(0, 10, n)
    for name in KNOWN_OR_NOT:
        r[name] = np.where(rng.random(n) < 0.3, np.nan, rng.normal(0, 10, n))
    measured = r["bkey"] & r["lkey"]
    r["ln"] = np.where((measured != 0) & np.isnan(r["ln"]), 1.0, r["ln"])
    r["d"] = np.where(rng.random(n) < 0.3, 7.0, r["d"]) * rng.choice([-1, 1], n)
    return r


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 60))
def test_one_by_one_and_in_columns_rows_add_up_to_the_same(seed, n):
    rows = rows_of(seed, n)
    (few, crowns), (many, wholes) = one_by_one(rows), in_columns(rows)
    assert [one._replace(sums=None) for one in few] == [one._replace(sums=None) for one in many]
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a.sums, b.sums, rtol=1e-12, atol=1e-9)
    assert crowns.keys() == wholes.keys()
    for kind, a in crowns.items():
        assert (a.peak, a.peak_w) == (wholes[kind].peak, wholes[kind].peak_w)
        assert sorted(a.waits.tolist()) == sorted(wholes[kind].waits.tolist())


@pytest.mark.parametrize("n", [FEW, 5 * FEW])
def test_a_shelf_is_summed_by_class_as_its_rows_are(n):
    rows = rows_of(n, n)
    shelf = ShelfSummary(rows)
    for kind, mask in enumerate(classes(rows)):
        part, alone = shelf.parts[kind], summarise(rows[mask])
        np.testing.assert_allclose(part.s, alone.s, rtol=1e-12, atol=1e-9)
        assert (part.latest, part.ccy, part.newest, part.peak, part.peak_w) == (
            alone.latest,
            alone.ccy,
            alone.newest,
            alone.peak,
            alone.peak_w,
        )
        t = rows["t"][mask]
        assert shelf.spans[kind] == ((int(t.min()), int(t.max())) if len(t) else (0, 0))
        assert part.settled + int(part["suppressed"]) == shelf.counts[kind]


@pytest.mark.parametrize("n", [1, 3 * FEW])
def test_the_sums_are_those_of_the_formulas(n):
    rows = rows_of(5, n)
    rows["bkey"] = rows["lkey"] = rows["b_q"] = rows["l_q"] = 1
    rows["flags"], rows["how"], rows["sym"], rows["ln"] = SLIP_ALONE, BY_ID, 2, 4.0
    part = ShelfSummary(rows).parts[ID]
    d, w, slip = rows["d"], rows["n"], np.nan_to_num(rows["slip"])
    expected = {
        "matched": n, "by_id": n, "n": n, "d": d.sum(), "d2": (d * d).sum(), "w": w.sum(), "wd": (w * d).sum(), "wd2": (w * d * d).sum(),
        "slip_c": (~np.isnan(rows["slip"])).sum(), "slip_alone_n": n, "unpriced": rows["unpriced"].sum(), "missed": 0, "unexpected": 0,
    }  # fmt: skip
    assert {name: part[name] for name in expected} == pytest.approx(expected)
    table, oa = part.sym[2], np.nan_to_num(rows["oa"])
    money = {
        "N": w.sum(), "LN": 4.0 * n, "x": rows["x"].sum(), "slip": slip.sum(), "merged": 0.0, "exec": (rows["x"] * d / 1e4 + rows["fee"]).sum(),
        "sizing_a": oa.sum(), "model_a": 0.0, "q_full": (rows["side"] * rows["fq"]).sum(), "q_live": (rows["side"] * rows["lq"]).sum(),
        "action_a": (rows["side"] * (rows["fq"] - rows["lq"]) - oa).sum(), "live_fees": rows["l_fee"].sum(),
        "action_b": (-rows["side"] * (rows["fn"] - w) - (1 - rows["alpha"]) * rows["ff"]).sum(),
    }  # fmt: skip
    assert {name: float(table[SYM_AT[name]]) for name in money} == pytest.approx(money)
    assert len(part.s) == len(FIELDS) and part.s[AT["timing_alone_n"]] == 0.0
