"""What the rows of a stretch of time add up to: the sums from which every measure of MATH 2 and 3 is taken.

1. A summary is additive: of two stretches it is the sum of both. A shelf's is kept; only shelves that a window's edge or a watermark cuts are
   summed anew from their rows.
2. Rows fall into four classes, because they settle differently: joined by id (at once), joined by time (both watermarks), backtest
   only (the live watermark or the grace), live only (the backtest's).
3. Suspect rows count as matched and are in no sum. Parts, intents and tombstones are nowhere.
4. What depends on the price at the end is kept per symbol as coefficients of it.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from parityd.core.rows import AMBIGUOUS, BY_DECISION, BY_FILL, BY_ID, DEAD, PART, SLIP_ALONE, SUPPRESSED, SUSPECT, TIMING_ALONE, Rows

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

ID, TIMED, B_ONLY, L_ONLY = range(4)

FIELDS = (
    "matched", "missed", "unexpected", "suppressed", "suspect", "ambiguous", "by_id", "by_decision", "by_fill", "unpriced",
    "n", "d", "d2", "w", "wd", "wd2", "fee_bps", "timing_ms", "timing_n", "data_n", "timing_c", "slip_c", "impact_n", "slip_alone_n", "timing_alone_n",
    "slip_alone_bps", "timing_alone_bps",
)  # fmt: skip
AT = {name: k for k, name in enumerate(FIELDS)}
# per symbol, in its quote currency: money; sizing and model as coefficients of m_T, what parityd's own actions took away; signed quantities
PER_SYMBOL = (
    "N", "LN", "x", "data", "timing", "slip", "impact", "fee", "merged", "exec",
    "sizing_a", "sizing_b", "model_a", "model_b", "action_a", "action_b", "q_allowed", "q_full", "q_live", "live_fees", "live_notional",
)  # fmt: skip
SYM_AT = {name: k for k, name in enumerate(PER_SYMBOL)}


class Summary:
    """Sums of one stretch; `s` has shape (FIELDS,), `sym` maps a symbol's code to shape (PER_SYMBOL,)."""

    __slots__ = ("ccy", "latency", "latest", "newest", "peak", "peak_w", "s", "sym")

    def __init__(self) -> None:
        self.s: F64 = np.zeros(len(FIELDS))
        self.peak = 0.0  # the d of largest absolute value, signed
        self.peak_w = 0.0
        self.sym: dict[int, F64] = {}
        self.ccy: dict[int, int] = {}  # quote currency of each symbol
        self.latest: dict[int, int] = {}  # newest trade time of each symbol
        self.newest = -(2**63)
        self.latency: list[F64] = []

    def __getitem__(self, name: str) -> float:
        return float(self.s[AT[name]])

    @property
    def settled(self) -> int:
        """Settled executions: matched, missed and unexpected."""
        return int(self.s[0] + self.s[1] + self.s[2])


def classes(rows: Rows) -> tuple[Mask, Mask, Mask, Mask]:
    """Which of the living rows are joined by id, joined by time, backtest only, live only."""
    alive = (rows["flags"] & (DEAD | PART)) == 0
    b = alive & (rows["bkey"] != 0) & (rows["b_q"] > 0)
    l = alive & (rows["lkey"] != 0) & (rows["l_q"] > 0)
    both = b & l
    by_id = both & (rows["how"] == BY_ID)
    return by_id, both & ~by_id, b & ~l, l & ~b


def summarise(rows: Rows) -> Summary:
    """Sum the given rows (already chosen: settled, of one window)."""
    out = Summary()
    if len(rows) == 0:
        return out
    s = out.s
    flags = rows["flags"]
    b, l = (rows["bkey"] != 0) & (rows["b_q"] > 0), (rows["lkey"] != 0) & (rows["l_q"] > 0)
    suppressed, suspect = (flags & SUPPRESSED) != 0, (flags & SUSPECT) != 0
    matched = b & l & ~suppressed
    s[AT["matched"]] = matched.sum()
    s[AT["missed"]] = (b & ~l & ~suppressed).sum()
    s[AT["unexpected"]] = (l & ~b).sum()
    s[AT["suppressed"]] = suppressed.sum()
    s[AT["suspect"]] = suspect.sum()
    s[AT["ambiguous"]] = (matched & ((flags & AMBIGUOUS) != 0)).sum()
    for name, how in (("by_id", BY_ID), ("by_decision", BY_DECISION), ("by_fill", BY_FILL)):
        s[AT[name]] = (matched & (rows["how"] == how)).sum()
    s[AT["unpriced"]] = rows["unpriced"].sum()
    out.newest = int(rows["t"].max())
    codes, place = np.unique(rows["sym"], return_inverse=True)
    table = np.zeros((len(codes), len(PER_SYMBOL)))
    good = matched & ~suspect
    _measures(out, rows[good], place[good], table)
    _one_sided(rows, b, l, suppressed, suspect, place, table)
    newest = np.full(len(codes), -(2**63))
    np.maximum.at(newest, place, rows["t"])
    ccy = np.zeros(len(codes), np.int64)
    np.maximum.at(ccy, place, rows["ccy"])
    for k, c in enumerate(codes.tolist()):
        out.sym[c], out.latest[c], out.ccy[c] = table[k], int(newest[k]), int(ccy[k])
    return out


def _measures(out: Summary, r: Rows, place: NDArray[np.int64], table: F64) -> None:
    """Matched trades: what MATH 3 averages, and the components per symbol."""
    if len(r) == 0:
        return
    s, m = out.s, len(table)
    d, w, x = r["d"], r["n"], r["x"]
    top = int(np.abs(d).argmax())
    out.peak, out.peak_w = float(d[top]), float(w[top])
    for name, v in (("n", float(len(r))), ("d", d.sum()), ("d2", (d * d).sum()), ("w", w.sum()), ("wd", (w * d).sum()), ("wd2", (w * d * d).sum()),
                    ("fee_bps", r["fee_bps"].sum()), ("timing_ms", np.nansum(r["timing_ms"])), ("timing_n", (~np.isnan(r["timing_ms"])).sum())):  # fmt: skip
        s[AT[name]] += v
    for name, count in (("data", "data_n"), ("timing", "timing_c"), ("slip", "slip_c"), ("impact", "impact_n")):
        known = ~np.isnan(r[name])
        s[AT[count]] += known.sum()
        table[:, SYM_AT[name]] += np.bincount(place, np.where(known, r[name], 0.0), m)
    alone, slow = (r["flags"] & SLIP_ALONE) != 0, (r["flags"] & TIMING_ALONE) != 0
    for name, mask, column in (("slip_alone", alone, "slip"), ("timing_alone", slow, "timing")):
        s[AT[name + "_n"]] += mask.sum()
        s[AT[name + "_bps"]] += (r[column][mask] / x[mask]).sum() * 1e4
    merged = np.where(alone, 0.0, np.nan_to_num(r["slip"]))
    for name, v in (("N", w), ("LN", r["ln"]), ("x", x), ("fee", r["fee"]), ("exec", x * d / 1e4 + r["fee"]), ("merged", merged)):
        table[:, SYM_AT[name]] += np.bincount(place, v, m)
    waits = r["latency"][~np.isnan(r["latency"])]  # the largest over the fills not marked maker
    if len(waits):
        out.latency.append(waits.copy())


def _one_sided(rows: Rows, b: Mask, l: Mask, suppressed: Mask, suspect: Mask, place: NDArray[np.int64], table: F64) -> None:
    """Opportunity, what parityd took away, and quantities; suspect trades are left out."""
    m = len(table)
    ok = ~suspect
    sign = rows["side"].astype(np.float64)
    both = b & l & ~suppressed
    alone = (b ^ l) | suppressed
    bq, bn, bf = (np.where(b & ok, rows[f], 0.0) for f in ("fq", "fn", "ff"))
    rest = 1.0 - rows["alpha"]
    oa, ob = np.nan_to_num(np.where(ok, rows["oa"], 0.0)), np.nan_to_num(np.where(ok, rows["ob"], 0.0))
    live = np.where(l & ok, rows["lq"], 0.0)
    allowed = sign * live + oa  # of the whole trade, with the parts that joined it: oa is the sign x what is allowed and was not done
    n = np.where(b & ok, np.nan_to_num(rows["n"]), 0.0)
    for name, v in (
        ("sizing_a", np.where(both, oa, 0.0)), ("sizing_b", np.where(both, ob, 0.0)),
        ("model_a", np.where(both, 0.0, oa)), ("model_b", np.where(both, 0.0, ob)),
        ("action_a", sign * bq - allowed), ("action_b", -sign * (bn - n) - rest * bf),
        ("q_allowed", allowed), ("q_full", sign * bq), ("q_live", sign * live),
        ("N", np.where(alone, n, 0.0)), ("LN", np.nan_to_num(np.where(alone & ok, rows["ln"], 0.0))),
        ("live_fees", np.where(l & ok, rows["l_fee"], 0.0)), ("live_notional", np.where(l & ok, rows["l_not"], 0.0)),
    ):  # fmt: skip
        table[:, SYM_AT[name]] += np.bincount(place, v, m)


def total(parts: Iterable[Summary]) -> Summary:
    """The sum of many summaries, in one pass."""
    parts = list(parts)
    out = Summary()
    if not parts:
        return out
    if len(parts) > 1:
        out.s = np.sum([p.s for p in parts], axis=0)
    else:
        out.s = parts[0].s.copy()
    for p in parts:
        if abs(p.peak) > abs(out.peak):
            out.peak, out.peak_w = p.peak, p.peak_w
        for k, v in p.sym.items():
            out.sym[k] = out.sym[k] + v if k in out.sym else v
        for k, t in p.latest.items():
            if t > out.latest.get(k, -(2**63)):
                out.latest[k] = t
            out.ccy[k] = max(p.ccy[k], out.ccy.get(k, 0))
        out.newest = max(out.newest, p.newest)
        out.latency += p.latency
    return out


class ShelfSummary:
    """The four classes of one shelf, with the span of trade times of each."""

    __slots__ = ("parts", "spans")

    def __init__(self, rows: Rows) -> None:
        self.parts: list[Summary] = []
        self.spans: list[tuple[int, int]] = []
        for mask in classes(rows):
            chosen = rows[mask]
            self.parts.append(summarise(chosen))
            self.spans.append((int(chosen["t"].min()), int(chosen["t"].max())) if len(chosen) else (0, 0))

    @property
    def counts(self) -> list[int]:
        return [p.settled + int(p["suppressed"]) for p in self.parts]
