"""One row as its readers see it: everything known of a trade, in the report's names. Unknown is None."""

from typing import Any

import numpy as np

from parityd.core.fresh import Fresh
from parityd.core.instants import day_text, rfc3339
from parityd.core.marks import Marks
from parityd.core.records import NO_TS
from parityd.core.rows import AMBIGUOUS, B_FILLS, HOW, SUPPRESSED, SUSPECT, Rows, Shelf
from parityd.core.terms import Names


def number(x: object) -> float | None:
    v = float(x)  # type: ignore[arg-type]
    return None if np.isnan(v) else v


def when(ns: object) -> str | None:
    t = int(ns)  # type: ignore[call-overload]
    return None if t == NO_TS else rfc3339(t)


def cost(rows: Rows | Fresh, price: np.ndarray) -> np.ndarray:
    """Money that each trade cost against the backtest, valued at `price` (NaN: the trade's own). Shape (n,)."""
    p = np.where(np.isnan(price), rows["own"], price)
    execution = np.where(np.isnan(rows["d"]), 0.0, rows["x"] * rows["d"] / 1e4 + np.nan_to_num(rows["fee"]))
    money: np.ndarray = execution + np.nan_to_num(rows["oa"] * p + rows["ob"])
    return money


def values(rows: Rows | Fresh, marks: Marks, end: int) -> np.ndarray:
    """m_T for each row, of a unit as it was traded; NaN where it would be older than the trade."""
    out = np.full(len(rows), np.nan)
    for sym in np.unique(rows["sym"]).tolist():
        price, at = marks.price(sym, end)
        if at != NO_TS:
            w = (rows["sym"] == sym) & (rows["t"] <= at)
            out[w] = price * marks.splits.factors(sym, rows["t"][w], end)
    return out


def state_of(row: np.void, *, settled: bool) -> str:
    both = row["bkey"] and row["lkey"] and row["b_q"] > 0 and row["l_q"] > 0
    if int(row["flags"]) & SUPPRESSED:
        return "suppressed"
    if both:
        return "matched"
    if not settled:
        return "pending"
    return "missed" if row["bkey"] and row["b_q"] > 0 else "unexpected"


def _mark_b(row: np.void) -> float | None:
    """The backtest's mark when deciding: the decision's, else that of its own fills."""
    said = number(row["b_mark"])
    return number(row["b_mq"] / row["b_q"]) if said is None and int(row["flags"]) & B_FILLS else said


def view(shelf: Shelf, place: int, strategy: str, names: Names, price: float, *, settled: bool) -> dict[str, Any]:
    """One trade."""
    row = shelf.rows[place]
    has_b, has_l = bool(row["bkey"]) and row["b_q"] > 0, bool(row["lkey"]) and row["l_q"] > 0
    both = has_b and has_l
    total = float(cost(shelf.rows[place : place + 1], np.array([price]))[0])
    notional = number(row["n"]) or number(row["ln"])
    value = price if not np.isnan(price) else float(row["own"])
    opportunity = number(row["oa"] * value + row["ob"])
    return {
        "trade_id": shelf.text_of(place) or f"{int(row['pk']):016x}", "strategy": strategy, "symbol": names[int(row["sym"])],
        "side": "buy" if row["side"] > 0 else "sell", "state": state_of(row, settled=settled), "matched_by": HOW.get(int(row["how"])) if both else None,
        "ts": when(row["t"]), "day": day_text(int(row["t"])), "ambiguous": bool(int(row["flags"]) & AMBIGUOUS), "suspect": bool(int(row["flags"]) & SUSPECT),
        "currency": names[int(row["ccy"])] or None, "allowed": float(row["alpha"]),
        "backtest_time": when(row["b_ts"] if row["b_ts"] != NO_TS else row["b_first"]), "live_time": when(row["l_first"]),
        "backtest_quantity": float(row["b_q"]) if has_b else None, "backtest_price": float(row["b_not"] / row["b_q"]) if has_b else None,
        "backtest_fee": float(row["b_fee"]) if has_b else None, "backtest_mark": _mark_b(row) if has_b else None,
        "live_quantity": float(row["l_q"]) if has_l else None, "live_price": float(row["l_not"] / row["l_q"]) if has_l else None,
        "live_fee": float(row["l_fee"]) if has_l else None, "fills": int(row["n_fills"]), "unpriced_fees": int(row["unpriced"]),
        "live_mark": number((row["l_mq"] + (row["l_mu"] * row["l_dm"] if row["l_mu"] > 0 else 0.0)) / row["l_q"]) if has_l else None, "arrival_price": number(row["l_aq"] / row["l_q"]) if has_l else None,
        "arrival_touch": number(row["l_tq"] / row["l_q"]) if has_l else None,
        "price_diff_bps": number(row["d"]), "fee_diff_bps": number(row["fee_bps"]), "timing_diff_ms": number(row["timing_ms"]), "latency_ms": number(row["latency"]),
        "mark": value if not np.isnan(value) else None, "total_pnl_diff": total, "total_pnl_diff_bps": total / notional * 1e4 if notional else None,
        "components": {
            "data_impact": number(row["data"]), "timing_impact": number(row["timing"]), "slippage_impact": number(row["slip"]),
            "market_impact": number(row["impact"]), "fee_impact": number(row["fee"]), "sizing_impact": opportunity if both else None,
            "model_impact": None if both else opportunity,
        },
    }  # fmt: skip
