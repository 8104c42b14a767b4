"""One trade -> the components of its shortfall (MATH 1 and 2), for a whole array of rows at once.

1. data + timing + slippage + impact = s q_l (p_l - p_b), whatever references are missing: a missing node merges its two links,
   nothing is lost and nothing is guessed.
2. A merged link is slippage if any part of it is `spread` or `modelled`, else timing; what it swallowed is NaN (not measurable).
3. What depends on the price at the window's end, m_T, is kept as oa x m_T + ob (sizing, or the model component of a one-sided trade);
   `own` is the price that stands in where m_T would be older than the trade.
4. The backtest side is the *allowed* one: quantity, notional and fee times `alpha`.
5. A trade that leftovers joined is derived from the sums of all its parts (`Totals`), its base columns stay its own.

Source: Perold (1988), "The implementation shortfall: paper versus reality", with the backtest as the paper portfolio.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from parityd.core.fresh import Fresh
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import B_FILLS, HAS_PARTS, MEASURED, SLIP_ALONE, SUMMED, SUPPRESSED, SUSPECT, TIMING_ALONE, Rows, trade_time

F64 = NDArray[np.float64]
MODELLED, DATA, TIMING, SPREAD, IMPACT = range(5)


def _links(present: int) -> list[tuple[int, int, list[int]]]:
    """The chain p_b m_b m_l a t p_l with some of the four inner nodes missing -> (from node, to node, links merged)."""
    nodes = [0, *(k for k in range(1, 5) if present >> (k - 1) & 1), 5]
    return [(a, b, list(range(a, b))) for a, b in pairwise(nodes)]


def components(s: F64, q: F64, nodes: list[F64]) -> tuple[F64, F64, F64, F64, NDArray[np.bool_], NDArray[np.bool_]]:
    """(data, timing, slippage, impact, slippage unmerged, timing unmerged); money, shape (n,).

    `nodes`: p_b, m_b, m_l, a, t, p_l; NaN = missing (the outer two never are).
    """
    n = len(s)
    data, timing, slip, impact = (np.full(n, np.nan) for _ in range(4))
    alone_slip, alone_timing = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    pattern = sum((~np.isnan(nodes[k])).astype(np.int64) << (k - 1) for k in range(1, 5))
    for p in np.unique(pattern).tolist():
        w = np.flatnonzero(pattern == p)
        out: dict[str, F64] = {}
        merged_slip = False
        for a, b, parts in _links(p):
            value = s[w] * q[w] * (nodes[b][w] - nodes[a][w])
            if len(parts) == 1:
                name = ("slip", "data", "timing", "slip", "impact")[parts[0]]
            else:
                name = "slip" if MODELLED in parts or SPREAD in parts else "timing"
                merged_slip |= name == "slip"
            out[name] = out[name] + value if name in out else value
        alone_slip[w] = not merged_slip
        alone_timing[w] = any(parts == [TIMING] for _, _, parts in _links(p))
        for name, column in (("data", data), ("timing", timing), ("slip", slip), ("impact", impact)):
            if name in out:
                column[w] = out[name]
    return data, timing, slip, impact, alone_slip, alone_timing


class Totals:
    """Sums of both sides over all parts of each trade: full and allowed backtest, live, and quantity x reference. Arrays of shape (n,)."""

    NAMES = ("fq", "fn", "ff", "aq", "an", "af", "lq", "ln", "lf", "mb", "ml", "ar", "to", "unpriced", "n_fills")
    __slots__ = (*NAMES, "latency", "live", "start")

    def __init__(self, r: Rows | Fresh) -> None:
        self.fq, self.fn, self.ff = r["b_q"], r["b_not"], r["b_fee"]
        self.aq, self.an, self.af = r["b_q"] * r["alpha"], r["b_not"] * r["alpha"], r["b_fee"] * r["alpha"]
        self.lq, self.ln, self.lf = r["l_q"], r["l_not"], r["l_fee"]
        own = np.where((r["flags"] & B_FILLS) != 0, r["b_mq"], np.nan)
        self.mb = np.where(r["b_q"] > 0, np.where(np.isnan(r["b_mark"]), own, r["b_mark"] * r["b_q"]), 0.0)
        self.ml = r["l_mq"] + np.where(r["l_mu"] > 0, r["l_mu"] * r["l_dm"], 0.0)
        self.ar, self.to = r["l_aq"], r["l_tq"]
        self.unpriced, self.n_fills = r["b_unp"].astype(np.int64) + r["l_unp"], r["l_n"].astype(np.int64)
        self.start = decision_time(r, BACKTEST)
        self.live, self.latency = r["l_first"], r["l_wait"]

    def with_parts(self, parts: "Totals") -> "Totals":
        """One trade (n = 1) and what joined it, as one."""
        for name in self.NAMES:
            setattr(self, name, getattr(self, name) + getattr(parts, name).sum(keepdims=True))
        for name in ("start", "live"):
            known = [int(t) for t in (*getattr(self, name), *getattr(parts, name)) if t != NO_TS]
            if int(getattr(self, name)[0]) != NO_TS:
                setattr(self, name, np.array([min(known)]))
        self.latency = np.fmax(self.latency, np.fmax.reduce(parts.latency))
        return self


def decision_time(r: Rows | Fresh, book: str) -> NDArray[np.int64]:
    """The decision's own time, else the one that its fills name, else the first submission; NO_TS without."""
    said, sub = ("l_dts", "l_sub") if book == LIVE else ("b_ts", "b_sub")
    return np.where(r[said] != NO_TS, r[said], r[sub])


def references(rows: Rows) -> list[F64]:
    """The chain p_b m_b m_l a t p_l of each row (its own fills), NaN where a reference is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        s = Totals(rows)
        return [s.an / s.aq, s.mb / s.fq, s.ml / s.lq, s.ar / s.lq, s.to / s.lq, s.ln / s.lq]


def derive(rows: Rows | Fresh, suspect_bps: float | F64) -> None:
    """Fill the derived columns, in place, from the base columns of matched and one-sided rows; `suspect_bps` one for all, or each row's."""
    if len(rows):
        rows["t"] = trade_time(rows)
        _measure(rows, Totals(rows), suspect_bps)


def with_parts(row: Rows, parts: Rows, suspect_bps: float) -> None:
    """Derive a pair (one row) that leftover executions joined (JUDGEMENT 2, step 4) from the sums of all its parts; base columns stay its own."""
    row["t"] = trade_time(row)
    times = trade_time(parts[parts["bkey"] != 0])
    if len(times):
        row["t"] = min(int(row["t"][0]), int(times.min()))
    _measure(row, Totals(row).with_parts(Totals(parts)), suspect_bps)
    row["flags"] |= HAS_PARTS


def _measure(rows: Rows | Fresh, s: Totals, suspect_bps: float | F64) -> None:
    for f in SUMMED:
        rows[f] = getattr(s, f)
    flags = rows["flags"] & ~np.uint16(SUSPECT | SUPPRESSED | SLIP_ALONE | TIMING_ALONE)
    has_b, has_l = (rows["bkey"] != 0) & (s.fq > 0), (rows["lkey"] != 0) & (s.lq > 0)
    gone = has_b & (s.aq == 0)
    flags[gone] |= SUPPRESSED
    allowed = has_b & ~gone
    both = allowed & has_l
    if both.all():
        made, extra = _both(rows, s, slice(None), suspect_bps)
        rows["flags"] = flags | extra
    else:
        made = {f: np.full(len(flags), np.nan) for f in MEASURED}
        if both.any():
            w = np.flatnonzero(both)
            own, extra = _both(rows, s, w, suspect_bps)
            flags[w] |= extra
            _give(made, own, w)
        rows["flags"] = flags
        _missed(made, rows, s, np.flatnonzero(allowed & ~has_l))
        _unexpected(made, rows, s, np.flatnonzero(~allowed & has_l))
        for f in ("n", "x", "ln", "oa", "ob"):
            made[f][gone & ~has_l] = 0.0
    for f, v in made.items():
        rows[f] = v


def _give(made: dict[str, F64], values: Mapping[str, F64 | float], w: NDArray[np.int64]) -> None:
    for f, v in values.items():
        made[f][w] = v


def _both(
    rows: Rows | Fresh, totals: Totals, w: NDArray[np.int64] | slice, suspect_bps: float | F64
) -> tuple[dict[str, F64], NDArray[np.uint16]]:
    """(what is measured of matched trades, their flags)."""
    s = rows["side"][w].astype(np.float64)
    full, qb, ql, fb, fl = totals.fq[w], totals.aq[w], totals.lq[w], totals.af[w], totals.lf[w]
    pb, pl = totals.an[w] / qb, totals.ln[w] / ql
    nodes = [pb, totals.mb[w] / full, totals.ml[w] / ql, totals.ar[w] / ql, totals.to[w] / ql, pl]
    data, timing, slip, impact, slip_alone, timing_alone = components(s, ql, nodes)
    d = s * (pl - pb) / pb * 1e4
    fee = fl - fb * ql / qb
    x = ql * pb
    start, live = totals.start[w], totals.live[w]
    made = {
        "d": d, "n": totals.an[w], "x": x, "ln": totals.ln[w], "fee_bps": fee / x * 1e4, "fee": fee, "own": pb,
        "timing_ms": np.where((start != NO_TS) & (live != NO_TS), (live - start) / 1e6, np.nan),
        "data": data, "timing": timing, "slip": slip, "impact": impact,
        "oa": (qb - ql) * s, "ob": -(qb - ql) * s * pb - fb * (1 - ql / qb),
    }  # fmt: skip
    limit = suspect_bps[w] if isinstance(suspect_bps, np.ndarray) else suspect_bps
    extra = np.where(np.abs(d) > limit, SUSPECT, 0) | np.where(slip_alone, SLIP_ALONE, 0) | np.where(timing_alone, TIMING_ALONE, 0)
    return made, extra.astype(np.uint16)


def _missed(made: dict[str, F64], rows: Rows | Fresh, t: Totals, w: NDArray[np.int64]) -> None:
    s, q = rows["side"][w].astype(np.float64), t.aq[w]
    _give(made, {"n": t.an[w], "x": 0.0, "ln": 0.0, "oa": s * q, "ob": -s * t.an[w] - t.af[w], "own": t.an[w] / q}, w)


def _unexpected(made: dict[str, F64], rows: Rows | Fresh, t: Totals, w: NDArray[np.int64]) -> None:
    s, q, notional = rows["side"][w].astype(np.float64), t.lq[w], t.ln[w]
    _give(made, {"n": 0.0, "x": 0.0, "ln": notional, "oa": -s * q, "ob": t.lf[w] + s * notional, "own": notional / q}, w)
