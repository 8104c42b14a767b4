"""What rows add to the sums of MATH 2 and 3: by class and symbol, in columns where they are many, one by one where they are few.

1. Both ways add the same numbers; only the last bits of a sum depend on which way and order it was taken (a property test holds them together).
2. Rows fall into four classes, because they settle differently: joined by id (at once), joined by time (both watermarks), backtest
   only (the live watermark or the grace), live only (the backtest's).
3. Suspect rows count as matched and are in no sum. Parts, intents and tombstones are nowhere.
4. What depends on the price at the end is kept per symbol as coefficients of it.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parityd.core.fresh import Fresh
from parityd.core.grouping import order_by
from parityd.core.rows import AMBIGUOUS, BY_DECISION, BY_FILL, BY_ID, DEAD, PART, SLIP_ALONE, SUPPRESSED, SUSPECT, TIMING_ALONE, Rows

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

ID, TIMED, B_ONLY, L_ONLY = range(4)
KINDS = range(4)
NO_CLASS = -1

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
FEW = 16
"""So many rows are quicker one by one."""

_ALL = (*FIELDS, *PER_SYMBOL)
_COUNTED = (("data", "data_n"), ("timing", "timing_c"), ("slip", "slip_c"), ("impact", "impact_n"))
_JOINED = (("by_id", BY_ID), ("by_decision", BY_DECISION), ("by_fill", BY_FILL))


class Group(NamedTuple):
    """The rows of one class and symbol: sums (FIELDS and then PER_SYMBOL), span of trade times, quote currency."""

    kind: int
    sym: int
    sums: F64
    first: int
    last: int
    ccy: int


class Whole(NamedTuple):
    """Of one class: the d of largest absolute value with its weight, and the latencies known."""

    peak: float
    peak_w: float
    waits: F64


def classed(rows: Rows | Fresh) -> NDArray[np.int8]:
    """The class of each row, NO_CLASS where it has none."""
    alive = (rows["flags"] & (DEAD | PART)) == 0
    b = alive & (rows["bkey"] != 0) & (rows["b_q"] > 0)
    l = alive & (rows["lkey"] != 0) & (rows["l_q"] > 0)
    joined = np.where(rows["how"] == BY_ID, ID, TIMED)
    return np.where(b & l, joined, np.where(b, B_ONLY, np.where(l, L_ONLY, NO_CLASS))).astype(np.int8)


def groups(rows: Rows) -> tuple[list[Group], dict[int, Whole]]:
    """The sums of the rows that have a class, in order of class and symbol; and what is of a class alone, by class with measured trades."""
    return in_columns(rows) if len(rows) > FEW else one_by_one(rows)


# --- in columns -----------------------------------------------------------------------------------------------------


def in_columns(rows: Rows) -> tuple[list[Group], dict[int, Whole]]:
    """As `groups`."""
    kinds = classed(rows)
    symbol = rows["sym"].astype(np.int64)
    named = kinds.astype(np.int64) * (int(symbol.max(initial=0)) + 1) + symbol
    order = order_by(named)
    order = order[int((kinds == NO_CLASS).sum()) :]
    if not len(order):
        return [], {}
    named = named[order]
    starts = np.flatnonzero(np.append(True, named[1:] != named[:-1]))
    r = {name: rows[name][order] for name in _READ}
    kind = kinds[order]
    good, table = _table(r, kind)
    sums = np.ascontiguousarray(np.add.reduceat(table, starts, axis=1).T)
    spans = (np.minimum.reduceat(r["t"], starts), np.maximum.reduceat(r["t"], starts), np.maximum.reduceat(r["ccy"], starts))
    keys = zip(kind[starts].tolist(), r["sym"][starts].tolist(), sums, *(x.tolist() for x in spans), strict=True)
    return [Group(*one) for one in keys], _wholes(r, order, np.where(good, kind, NO_CLASS))


def _wholes(r: dict[str, NDArray[Any]], order: NDArray[np.int64], kind: NDArray[np.int8]) -> dict[int, Whole]:
    out = {}
    for k in KINDS:
        mine = np.flatnonzero(kind == k)
        if len(mine):
            size, waits = np.abs(r["d"][mine]), r["latency"][mine]
            highest = mine[size == size.max()]
            top = highest[order[highest].argmin()]  # of equal peaks the first row's
            out[k] = Whole(float(r["d"][top]), float(r["n"][top]), waits[~np.isnan(waits)])
    return out


def _table(r: dict[str, NDArray[Any]], kind: NDArray[np.int8]) -> tuple[Mask, F64]:
    """(which are measured, what each row adds to each sum: (sums, rows))."""
    out = np.zeros((len(_ALL), len(kind)))
    v = dict(zip(_ALL, out, strict=True))
    b, l = kind != L_ONLY, kind != B_ONLY
    suppressed, suspect = (r["flags"] & SUPPRESSED) != 0, (r["flags"] & SUSPECT) != 0
    matched = b & l & ~suppressed
    good = matched & ~suspect
    v["matched"][:], v["missed"][:], v["unexpected"][:] = matched, b & ~l & ~suppressed, ~b
    v["suppressed"][:], v["suspect"][:], v["ambiguous"][:] = suppressed, suspect, matched & ((r["flags"] & AMBIGUOUS) != 0)
    for name, how in _JOINED:
        v[name][:] = matched & (r["how"] == how)
    v["unpriced"][:] = r["unpriced"]
    _measure(v, r, good)
    _settle(v, r, b & ~suspect, l & ~suspect, matched)
    return good, out


def _measure(v: dict[str, F64], r: dict[str, NDArray[Any]], good: Mask) -> None:
    """Matched trades: what MATH 3 averages, and the components per symbol."""
    d, w, x, fee = (np.where(good, r[name], 0.0) for name in ("d", "n", "x", "fee"))
    v["n"][:], v["d"][:], v["w"][:], v["x"][:], v["fee"][:], v["N"][:] = good, d, w, x, fee, w
    v["exec"][:] = x * d / 1e4 + fee
    np.multiply(d, d, out=v["d2"])
    np.multiply(w, d, out=v["wd"])
    np.multiply(v["wd"], d, out=v["wd2"])
    np.copyto(v["fee_bps"], r["fee_bps"], where=good)
    np.copyto(v["LN"], r["ln"], where=good)
    known = good & ~np.isnan(r["timing_ms"])
    v["timing_n"][:] = known
    np.copyto(v["timing_ms"], r["timing_ms"], where=known)
    for name, count in _COUNTED:
        known = good & ~np.isnan(r[name])
        v[count][:] = known
        np.copyto(v[name], r[name], where=known)
    for name, flag, column in (("slip_alone", SLIP_ALONE, "slip"), ("timing_alone", TIMING_ALONE, "timing")):
        alone = good & ((r["flags"] & flag) != 0)
        v[name + "_n"][:] = alone
        np.divide(r[column] * 1e4, r["x"], out=v[name + "_bps"], where=alone)
    np.copyto(v["merged"], v["slip"], where=v["slip_alone_n"] == 0.0)


def _settle(v: dict[str, F64], r: dict[str, NDArray[Any]], b: Mask, l: Mask, matched: Mask) -> None:
    """Opportunity, what parityd took away, and quantities. `b`, `l`: has this side and is not suspect."""
    sign = r["side"].astype(np.float64)
    bq, bn, bf, n = (np.where(b, r[name], 0.0) for name in ("fq", "fn", "ff", "n"))
    oa, ob = (np.where((b | l) & ~np.isnan(r[name]), r[name], 0.0) for name in ("oa", "ob"))
    n[np.isnan(n)] = 0.0
    full, live = sign * bq, sign * np.where(l, r["lq"], 0.0)
    allowed = live + oa  # of the whole trade, with the parts that joined it: oa is the sign x what is allowed and was not done
    v["sizing_a"][:], v["model_a"][:] = np.where(matched, oa, 0.0), np.where(matched, 0.0, oa)
    v["sizing_b"][:], v["model_b"][:] = np.where(matched, ob, 0.0), np.where(matched, 0.0, ob)
    v["action_a"][:], v["action_b"][:] = full - allowed, -sign * (bn - n) - (1.0 - r["alpha"]) * bf
    v["q_allowed"][:], v["q_full"][:], v["q_live"][:] = allowed, full, live
    np.copyto(v["live_fees"], r["l_fee"], where=l)
    np.copyto(v["live_notional"], r["l_not"], where=l)
    np.copyto(v["N"], n, where=~matched)
    np.copyto(v["LN"], r["ln"], where=~matched & (b | l) & ~np.isnan(r["ln"]))


# --- one by one -----------------------------------------------------------------------------------------------------


def one_by_one(rows: Rows) -> tuple[list[Group], dict[int, Whole]]:
    """As `groups`."""
    found: dict[tuple[int, int], Group] = {}
    peaks: dict[int, tuple[float, float]] = {}
    waits: dict[int, list[float]] = {}
    for r in map(_Row._make, rows[list(_READ)].tolist()):
        kind = _class(r)
        if kind == NO_CLASS:
            continue
        one, known = Group(kind, r.sym, _adds(r, kind), r.t, r.t, r.ccy), found.get((kind, r.sym))
        found[kind, r.sym] = one if known is None else _joined(known, one)
        if kind <= TIMED and not r.flags & (SUPPRESSED | SUSPECT):
            if kind not in peaks or abs(r.d) > abs(peaks[kind][0]):
                peaks[kind] = r.d, r.n
            waits.setdefault(kind, []).extend([] if math.isnan(r.latency) else [r.latency])
    return [found[key] for key in sorted(found)], {kind: Whole(*peak, np.array(waits[kind])) for kind, peak in peaks.items()}


def _class(r: "_Row") -> int:
    alive = not r.flags & (DEAD | PART)
    b, l = alive and r.bkey != 0 and r.b_q > 0, alive and r.lkey != 0 and r.l_q > 0
    if b and l:
        return ID if r.how == BY_ID else TIMED
    return B_ONLY if b else L_ONLY if l else NO_CLASS


def _joined(a: Group, b: Group) -> Group:
    return Group(a.kind, a.sym, a.sums + b.sums, min(a.first, b.first), max(a.last, b.last), max(a.ccy, b.ccy))


def _adds(r: "_Row", kind: int) -> F64:
    """What one row adds to each sum."""
    suppressed, suspect = bool(r.flags & SUPPRESSED), bool(r.flags & SUSPECT)
    matched = kind <= TIMED and not suppressed
    v: dict[str, float] = {
        "matched": matched, "missed": kind == B_ONLY and not suppressed, "unexpected": kind == L_ONLY, "suppressed": suppressed,
        "suspect": suspect, "ambiguous": matched and bool(r.flags & AMBIGUOUS), "unpriced": r.unpriced,
    }  # fmt: skip
    if matched:
        v |= {name: r.how == how for name, how in _JOINED}
    if not suspect:
        v |= _settled(r, kind != L_ONLY, kind != B_ONLY, matched)
        v |= _measured(r) if matched else {"N": _0(r.n) if kind != L_ONLY else 0.0, "LN": _0(r.ln)}
    return np.array([v.get(name, 0.0) for name in _ALL], np.float64)


def _measured(r: "_Row") -> dict[str, float]:
    d, w = r.d, r.n
    v = {
        "n": 1.0, "d": d, "d2": d * d, "w": w, "wd": w * d, "wd2": w * d * d, "fee_bps": r.fee_bps, "timing_ms": _0(r.timing_ms),
        "timing_n": r.timing_ms == r.timing_ms, "N": w, "LN": r.ln, "x": r.x, "fee": r.fee, "exec": r.x * d / 1e4 + r.fee, "merged": _0(r.slip),
        "data": _0(r.data), "timing": _0(r.timing), "slip": _0(r.slip), "impact": _0(r.impact),
        "data_n": r.data == r.data, "timing_c": r.timing == r.timing, "slip_c": r.slip == r.slip, "impact_n": r.impact == r.impact,
    }  # fmt: skip
    if r.flags & SLIP_ALONE:
        v |= {"slip_alone_n": 1.0, "slip_alone_bps": r.slip * 1e4 / r.x, "merged": 0.0}
    if r.flags & TIMING_ALONE:
        v |= {"timing_alone_n": 1.0, "timing_alone_bps": r.timing * 1e4 / r.x}
    return v


def _settled(r: "_Row", b: bool, l: bool, matched: bool) -> dict[str, float]:
    sign, oa, ob = float(r.side), _0(r.oa), _0(r.ob)
    bq, bn, bf, n = (r.fq, r.fn, r.ff, _0(r.n)) if b else (0.0, 0.0, 0.0, 0.0)
    live = sign * r.lq if l else 0.0
    allowed, full = live + oa, sign * bq
    return {
        "sizing_a" if matched else "model_a": oa, "sizing_b" if matched else "model_b": ob,
        "action_a": full - allowed, "action_b": -sign * (bn - n) - (1.0 - r.alpha) * bf, "q_allowed": allowed, "q_full": full, "q_live": live,
        "live_fees": r.l_fee if l else 0.0, "live_notional": r.l_not if l else 0.0,
    }  # fmt: skip


def _0(x: float) -> float:
    return x if x == x else 0.0  # noqa: PLR0124  NaN


class _Row(NamedTuple):
    """What is read of a row."""

    bkey: int
    b_q: float
    lkey: int
    l_q: float
    flags: int
    how: int
    t: int
    sym: int
    ccy: int
    unpriced: int
    side: int
    d: float
    n: float
    x: float
    ln: float
    fee_bps: float
    timing_ms: float
    data: float
    timing: float
    slip: float
    impact: float
    fee: float
    latency: float
    fq: float
    fn: float
    ff: float
    alpha: float
    oa: float
    ob: float
    lq: float
    l_fee: float
    l_not: float


_READ = _Row._fields
