"""A window of trades -> the numbers that the parity table judges (JUDGEMENT 3 and 4), and the measures that are shown.

1. Nothing here compares with a threshold, except to know which single trades are worth naming.
2. Imported history (older than seven days as it came in) is in reports, not in evidence.
3. The cost follows the window, not the history: sums of shelves, and rows only of shelves with an outlier or an edge.
"""

import math
from bisect import bisect_right

import msgspec
import numpy as np

from parityd.core.evidence import Evidence, LargeTrade
from parityd.core.marks import Marks
from parityd.core.measures import match_rate, mean_component, mean_fee, price_measures, without_largest
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.records import NO_TS
from parityd.core.rows import DEAD, HOW, NOWHEN, PART, SHELF_NS, SUSPECT, Rows, shelf_of
from parityd.core.splits import rescaled
from parityd.core.strategy import Strategy
from parityd.core.summary import ID, TIMED, Summary
from parityd.core.window import DAY_NS, Settling, Window, evidence_window, moments, numbers_of, settled_rows, summed

HOUR_NS = 3600 * 1_000_000_000
WEEK = 7
SPLITS = (1.5, *range(2, 51))  # new shares for one, as they are usual
NEAR = 0.02
Hour = tuple[int | None, int, int, float]
"""See `runaway`."""


class Judged(msgspec.Struct):
    """One strategy's evidence at one moment, and the measures shown with it."""

    window: Window | None
    evidence: Evidence
    metrics: dict[str, float | None]
    trades: dict[str, int]

    def in_hour(self, hour: Hour) -> "Judged":
        """The same with what was executed of late."""
        evidence = msgspec.structs.replace(
            self.evidence, hour_live=hour[0], hour_largest=hour[1], hour_backtest=hour[2], history_hours=hour[3]
        )
        return Judged(self.window, evidence, dict(self.metrics), dict(self.trades))


def judge(s: Strategy, p: Parameters, until: Settling, now: int) -> Judged:
    """The evidence of a strategy's window."""
    return judge_window(s, p, until).in_hour(runaway(s, now))


def judge_window(s: Strategy, p: Parameters, until: Settling) -> Judged:
    """The same without the last hour: what does not depend on the clock, but for what is settled."""
    return _judged(s, p, until, evidence_window(s, until, p.of(s.name).thresholds.min_trades))


def judge_between(s: Strategy, p: Parameters, until: Settling, start: int, end: int) -> Judged:
    """The evidence of the trades of [start, end] alone: what a closed period is judged by."""
    sums, pending = summed(s.books, start, end, until)
    return _judged(s, p, until, Window(start, end, sums, pending), drifting=False)


def _judged(s: Strategy, p: Parameters, until: Settling, window: Window | None, *, drifting: bool = True) -> Judged:
    terms = p.of(s.name)
    sums = window.sums if window is not None else Summary()
    slip, slip_share = mean_component(sums, "slip")
    timing, timing_share = mean_component(sums, "timing")
    metrics = price_measures(sums, p.tracking_error)
    metrics["match_rate"] = match_rate(sums)
    week = cumulative_drift(s, until, window, terms, max(s.memory.line, s.memory.imported_until + 1)) if drifting else Week()
    metrics["cumulative_drift_bps"] = week.drift
    pairs = sums["matched"]
    suspect = _suspect(s, window)
    evidence = Evidence(
        settled=sums.settled,
        ambiguous_share=sums["ambiguous"] / pairs if pairs else None,
        tracking_error_bps=metrics["tracking_error_bps"],
        tracking_error_without_largest_bps=without_largest(sums, p.tracking_error),
        slippage_bps=slip, slippage_share=slip_share or 0.0,
        fee_impact_bps=mean_fee(sums), fee_impact_share=1.0 if sums["n"] else 0.0,
        timing_impact_bps=timing, timing_impact_share=timing_share or 0.0,
        median_latency_ms=metrics["median_latency_ms"],
        cumulative_drift_bps=week.pooled, cumulative_error_bps=week.error, cumulative_trades=week.trades,
        unmatched=int(sums["missed"] + sums["unexpected"]), executions=sums.settled,
        large_trades=large_trades(s, until, window, terms), capital=terms.capital,
        suspects=int(sums["suspect"]), suspect_d_bps=suspect[0], suspect_example=suspect[1],
    )  # fmt: skip
    return Judged(window, evidence, metrics, counts(sums, window.pending if window else _all_pending(s, until)))


def counts(sums: Summary, pending: int) -> dict[str, int]:
    names = ("matched", "missed", "unexpected")
    return {
        **{k: int(sums[k]) for k in names},
        "pending": pending,
        "suppressed": int(sums["suppressed"]),
        "ambiguous": int(sums["ambiguous"]),
    }


def _all_pending(s: Strategy, until: Settling) -> int:
    return summed(s.books, -(2**62), 2**62, until)[1]


class Week(msgspec.Struct, frozen=True):
    """The last 7 UTC days: the sum of their means; the same and its standard error with thin days pooled; trades."""

    drift: float | None = None
    pooled: float | None = None
    error: float | None = None
    trades: int = 0


def cumulative_drift(s: Strategy, until: Settling, window: Window | None, terms: StrategyTerms, since: int = NO_TS) -> Week:
    """Of the 7 days that end with the window's, without what lies before `since`. Pooled: a day under min_trades goes with the one before (the first with the next)."""
    if window is None:
        return Week()
    last, least = window.end // DAY_NS, terms.thresholds.min_trades
    days: list[tuple[float, float, float]] = []  # n, sum d, sum d2
    for day in range(last - WEEK + 1, last + 1):
        n, d, d2 = moments(s.books, max(day * DAY_NS, since), min((day + 1) * DAY_NS - 1, window.end), until)
        if n:
            days.append((n, d, d2))
    if not days:
        return Week()
    pooled: list[list[float]] = []
    for n, d, d2 in days:
        if pooled and (n < least or pooled[-1][0] < least):
            pooled[-1] = [pooled[-1][0] + n, pooled[-1][1] + d, pooled[-1][2] + d2, pooled[-1][3] + 1]
        else:
            pooled.append([n, d, d2, 1])
    variance = sum(k * k * max(0.0, d2 - d * d / n) / (n - 1) / n for n, d, d2, k in pooled if n > 1)
    return Week(
        drift=sum(d / n for n, d, _ in days),
        pooled=sum(k * d / n for n, d, _, k in pooled),
        error=math.sqrt(variance) if all(n > 1 for n, *_ in pooled) else None,
        trades=int(sum(n for n, *_ in days)),
    )


def large_trades(s: Strategy, until: Settling, window: Window | None, terms: StrategyTerms) -> tuple[LargeTrade, ...]:
    """Settled pairs of the window whose difference is worth naming alone (0.8 x the critical bar and more)."""
    if window is None:
        return ()
    bar = 0.8 * terms.thresholds.max_trade_critical_bps
    out: list[LargeTrade] = []
    for number in s.books.summaries.between(shelf_of(window.start), shelf_of(window.end)):
        summary = s.books.summaries[number]
        if abs(summary.parts[ID].peak) < bar and abs(summary.parts[TIMED].peak) < bar:
            continue
        shelf = s.books.shelf(number)
        r = shelf.rows
        mask = settled_rows(r, until) & (np.abs(np.nan_to_num(r["d"])) >= bar) & ((r["flags"] & SUSPECT) == 0)
        mask &= (r["t"] >= window.start) & (r["t"] <= window.end)
        for place in np.flatnonzero(mask).tolist():
            row = r[place]
            out.append(
                LargeTrade(
                    d_bps=float(row["d"]),
                    matched_by=HOW[int(row["how"])],
                    loss=float(row["x"] * row["d"] / 1e4),
                    trade=shelf.text_of(place) or f"{int(row['pk']):016x}",
                )
            )
    return tuple(sorted(out, key=lambda x: -abs(x.d_bps))[:100])


def _suspect(s: Strategy, window: Window | None) -> tuple[float | None, str]:
    """(d, name) of a suspect trade of the window, the largest of the newest shelf that has one."""
    if window is None or not window.sums["suspect"]:
        return None, ""
    for number in reversed(s.books.summaries.between(shelf_of(window.start), shelf_of(window.end))):
        if any(part["suspect"] for part in s.books.summaries[number].parts):
            shelf = s.books.shelf(number)
            r = shelf.rows
            mask = ((r["flags"] & SUSPECT) != 0) & ((r["flags"] & (DEAD | PART)) == 0) & (r["t"] >= window.start) & (r["t"] <= window.end)
            places = np.flatnonzero(mask)
            if len(places):
                place = int(places[np.abs(r["d"][places]).argmax()])
                name = shelf.text_of(place) or f"{int(r['pk'][place]):016x}"
                return float(r["d"][place]), name + one_sided_split(float(r["d"][place]) * int(r["side"][place]))
    return None, ""


def one_sided_split(apart_bps: float) -> str:
    """What a price of live, this far above the backtest's, looks like where one is a simple multiple of the other; "" where it is none."""
    ratio = 1 + apart_bps / 1e4
    times = ratio if ratio >= 1 else 1 / ratio if ratio > 0 else 0.0
    factor = next((f for f in SPLITS if abs(times / f - 1) < NEAR), None)
    if factor is None:
        return ""
    return f": {'live' if ratio >= 1 else 'the backtest'} has {factor:g} times the price of the other book, as where only one is adjusted for a split"


def runaway(s: Strategy, now: int) -> Hour:
    """(live executions of the last hour, the largest earlier hour of either book in 30 days, the backtest's same hour, hours of history).

    What a reset or a recovery put behind it is not counted once more as the last hour's.
    """
    numbers = numbers_of(s.books)
    at = bisect_right(numbers, NOWHEN)
    if at == len(numbers):
        return None, 0, 0, 0.0
    oldest = numbers[at]
    since = now - HOUR_NS
    live = backtest = 0
    for number in s.books.summaries.between(shelf_of(since), shelf_of(now)):
        r = s.books.shelf(number).rows
        alive = (r["flags"] & (DEAD | PART)) == 0
        live += int(
            (alive & (r["lkey"] != 0) & (r["l_q"] > 0) & (r["l_first"] > max(since, s.memory.line - 1)) & (r["l_first"] <= now)).sum()
        )
        backtest += int((alive & (r["bkey"] != 0) & (r["b_q"] > 0) & (r["b_first"] > since) & (r["b_first"] <= now)).sum())
    history = (now - oldest * SHELF_NS) / HOUR_NS
    if live < 20:
        return live, 0, backtest, history
    first = max(oldest, shelf_of(now - 30 * DAY_NS))
    return live, s.busiest.hour(s.books.summaries, first, shelf_of(since)), backtest, history


def carried_in(s: Strategy, start: int) -> dict[int, tuple[float, float, float, int]]:
    """Net quantities (allowed, full, live) of the trades before `start` and their currency, by symbol: the window's positions as it began.

    Only their differences are exact: orders that joined a trade (split orders) count in what the trade lacks, not in its own quantities.
    """
    from parityd.core.summary import SYM_AT

    first = -(2**62)
    sums = rescaled(
        summed(s.books, first, start - 1, None)[0], s.ledger.splits, first, start - 1, start, lambda a, b: summed(s.books, a, b, None)[0]
    )
    sizing, model, action, live = (SYM_AT[name] for name in ("sizing_a", "model_a", "action_a", "q_live"))
    out = {}
    for sym, v in sums.sym.items():
        allowed = float(v[live] + v[sizing] + v[model])
        out[sym] = (allowed, allowed + float(v[action]), float(v[live]), sums.ccy.get(sym, 0))
    return out


def late_rows(s: Strategy, start: int, end: int, until: Settling | None, sym: int, t: int) -> Rows:
    """Rows of one symbol in the window with a trade time after t."""
    out = []
    for shelf, places in s.books.rows_between(max(start, t + 1), end):
        r = shelf.rows[places]
        keep = (r["sym"] == sym) & ((r["flags"] & (PART | SUSPECT)) == 0) & ((r["b_q"] > 0) | (r["l_q"] > 0))
        if until is not None:
            keep &= settled_rows(r, until)
        out.append(r[keep])
    return np.concatenate(out) if out else np.zeros(0, s.books.shelf(0).view.dtype)


__all__ = ["NO_TS", "Judged", "Marks", "carried_in", "counts", "judge", "late_rows"]
