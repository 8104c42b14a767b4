"""What a day's report says beside its trades: returns, markouts and performance, from the stored records of that day, read once for all."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.assessing import rate as rate_at
from parityd.core.columns import FillColumns
from parityd.core.commands import ALL
from parityd.core.day_rows import Stored
from parityd.core.day_series import day_series
from parityd.core.drift_path import drift_path
from parityd.core.executions import fill_executions
from parityd.core.gauges import Gauges
from parityd.core.instants import DAY_NS, day_start, rfc3339
from parityd.core.ledger import LIVE_BOOK
from parityd.core.live_fills import LiveFills, live_fills, no_fills, outcomes
from parityd.core.markouts import markouts
from parityd.core.monitor import Monitor
from parityd.core.performance import MONEY, daily_profits, performance, without
from parityd.core.portfolio import Ledger, week_drift
from parityd.core.ranking import Ranking
from parityd.core.records import LIVE, NO_TS, Line
from parityd.core.returns import A_DAY, correlation, hit_rate, measured_returns, part_of, tracking_error_returns_bps
from parityd.core.round_trips import Lot
from parityd.core.rows import SHELF_NS
from parityd.core.standing import busted
from parityd.core.strategy import Strategy
from parityd.core.summary import ShelfSummary
from parityd.core.trailing import trailing
from parityd.core.window import of_day, settling
from parityd.store import Store

MOST_FILLS = 3_000_000
"""Beyond so many live fills in a day markouts and performance are left out (None): they are held at once."""
HISTORY_NS = 30 * DAY_NS
DRIFT_NS = 6 * DAY_NS
"""How far before its day a report shows how the evidence of drift came about."""
MOST_HISTORY = 100_000
"""Beyond so many live fills in the 30 days before, positions carried in are valued from the day's first price on."""


def day_extras(
    m: Monitor,
    store: Store,
    day: str,
    now: int,
    parity: dict[str, dict[str, float | None]],
    gauges: Mapping[str, Gauges],
    *,
    waiting: bool,
) -> dict[str, dict[str, Any]]:
    """By strategy: further metrics, markouts, performance and chart series of one UTC day. `gauges`: what is kept of each strategy that is judged."""
    start = day_start(day)
    end = start + DAY_NS - 1
    fills, lines, whole = _records(m, store, start, end, MOST_FILLS)
    carried = {
        name for name, s in m.strategies.items() if any(s.ledger.position(sym, LIVE_BOOK, start // SHELF_NS) for sym in s.ledger.entries)
    }
    before, known = (
        _records(m, store, start - HISTORY_NS, start - 1, MOST_HISTORY, carried)[::2] if whole and carried & fills.keys() else ({}, True)
    )
    since = start - HISTORY_NS if known else start
    unpriced = _unpriced(m, store, start, end)
    whose = [(s, settling(s, m.parameters, now, waiting=False)) for s in m.strategies.values()]
    everything = {"drift": week_drift(whose, end), "parity": parity.get(ALL, {})}
    return {ALL: everything} | {
        name: {
            **_one(
                m,
                s,
                start,
                end,
                now,
                fills.get(name),
                lines.get(name, []),
                parity.get(name, {}),
                before.get(name),
                _opening(m, s, since) if name in carried else {},
                gauges.get(name),
                partial(store.shelves_in_columns, name),
                Ranking(of_day(settling(s, m.parameters, now, waiting=waiting))),
                many=not whole,
            ),
            "unpriced": unpriced.get(name, {}),
        }
        for name, s in m.strategies.items()
    }


def _unpriced(m: Monitor, store: Store, start: int, end: int) -> dict[str, dict[str, dict[str, float]]]:
    """By strategy and currency: number and sum of the fees of the day's fills that no mark could value."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    if not any(part["unpriced"] for s in m.strategies.values() for one in _summaries(s, start, end) for part in one.parts):
        return out
    for file, own, _, _ in store.records(None, start, end):
        if own is None or not any(own.fee_currency):
            continue
        whose = list(zip(own.strategy, own.symbol, own.fee_currency, strict=True))
        strange = {one for one in set(whose) if one[2] and one[0] in m.strategies and one[2] not in _of_pair(m, file.book, one[0], one[1])}
        mask = np.fromiter((one in strange for one in whose), np.bool_, len(whose)) & (own.ts >= start) & (own.ts <= end) & ~own.shadow
        for i in np.flatnonzero(mask & (np.nan_to_num(own.fee) != 0)).tolist():
            one = own.take(np.array([i]))
            if (
                busted(m.strategies[own.strategy[i]], file.book, one)[0]
                or fill_executions(file.book, one, m.instruments, m.fee_price).postings.fee_known[0]
            ):
                continue
            said = out.setdefault(own.strategy[i], {}).setdefault(own.fee_currency[i], {"fees": 0, "amount": 0.0})
            said["fees"] += 1
            said["amount"] += float(own.fee[i])
    return out


def _summaries(s: Strategy, start: int, end: int) -> list[ShelfSummary]:
    """Of the day's shelves and of the days around it: a fill may lie elsewhere than the trade that it belongs to."""
    return [s.books.summaries[k] for k in range(start // SHELF_NS - A_DAY, end // SHELF_NS + A_DAY) if k in s.books.summaries]


def _of_pair(m: Monitor, book: str, strategy: str, symbol: str) -> tuple[str, str]:
    pair = m.instruments.pair(book, strategy, symbol)
    return pair.base, pair.quote


def _opening(m: Monitor, s: Strategy, t: int) -> dict[int, Lot]:
    """What the live book held at a time, at the price of that time."""
    out = {}
    for sym in s.ledger.entries:
        units = s.ledger.position(sym, LIVE_BOOK, t // SHELF_NS)
        price, when = m.marks.price(sym, t)
        if when == NO_TS:
            price, when = m.marks.first_after(sym, t)
        if units and when != NO_TS:
            out[sym] = Lot(units=units, cost=price, opened=float(t))
    return out


def _records(
    m: Monitor, store: Store, start: int, end: int, most: int, names: Collection[str] | None = None
) -> tuple[dict[str, LiveFills], dict[str, list[Line]], bool]:
    """Live fills and other lines of [start, end] by strategy (of `names`), and whether they are all: no fills where there are more than `most`."""
    found: list[LiveFills] = []
    lines: dict[str, list[Line]] = {}
    agents = [""]
    if store.fills_within(LIVE, start, end) > most:
        return {}, {}, False
    wanted = list(m.strategies) if names is None else [name for name in m.strategies if name in names]
    held = 0
    for _, own, _, rare in store.records(None, start, end, book=LIVE):
        for line in rare:
            name = getattr(line.record, "strategy", "")
            if name and start <= line.ts <= end:
                lines.setdefault(name, []).append(line)
        if own is None:
            continue
        held += len(own)
        if held > most:
            return {}, lines, False
        mine = _standing(m, own, (own.ts >= start) & (own.ts <= end) & ~own.shadow, wanted)
        if len(mine):
            found.append(live_fills(mine, m.instruments, m.fee_price, agents))
    return LiveFills.joined(found).by_strategy(wanted) if found else {}, lines, True


def _is(name: str, strategy: str, _: str) -> bool:
    return strategy == name


def _standing(m: Monitor, own: FillColumns, keep: NDArray[np.bool_], names: Collection[str]) -> FillColumns:
    """Those of the kept fills that are of these strategies and were not taken back."""
    present = own.strategies()
    if not present <= set(names):
        keep = keep & owners.looked_up(own.owner, lambda strategy, _: strategy in names, np.bool_)
    for name in present.intersection(names):
        if m.strategies[name].memory.busted:
            keep = keep & ~(busted(m.strategies[name], LIVE, own) & owners.looked_up(own.owner, partial(_is, name), np.bool_))
    return own if keep.all() else own.take(keep)


def _sessions(m: Monitor, s: Strategy) -> Callable[[int], bool] | None:
    """Whether a day has a session, where the strategy names a calendar."""
    calendar, asked = m.parameters.of(s.name).calendar, m.parameters.has_session
    return None if calendar is None or asked is None else partial(asked, calendar)


def _one(
    m: Monitor,
    s: Strategy,
    start: int,
    end: int,
    now: int,
    day: LiveFills | None,
    lines: list[Line],
    parity: dict[str, float | None],
    history: LiveFills | None,
    opening: dict[int, Lot],
    gauges: Gauges | None,
    stored: Stored,
    ranking: Ranking,
    *,
    many: bool,
) -> dict[str, Any]:
    """`day`: the day's live fills; `history`: those before, from the positions `opening` on; `many`: there are too many to be looked at."""
    terms = m.parameters.of(s.name)

    def rate(ccy: int) -> float | None:
        return rate_at(m, ccy, end)

    kept = gauges.columns if gauges is not None else None
    if kept is not None:
        kept.tape.note(s.ledger.changed)
    period = partial(measured_returns, s, m.marks, capital=terms.capital, now=now, last=end // SHELF_NS, rate=rate)
    long = period(first=(start - 29 * DAY_NS) // SHELF_NS, kept=kept).returns
    returns = None if long is None else part_of(long, start // SHELF_NS, terms.capital)
    if long is not None and returns is None:
        returns = period(first=start // SHELF_NS).returns
    metrics = {
        "correlation": correlation(returns), "hit_rate": hit_rate(returns), "tracking_error_returns_bps": tracking_error_returns_bps(returns), **parity,
    }  # fmt: skip
    until = settling(s, m.parameters, now, waiting=False)
    series = day_series(s, m.marks, m.names, start, end, until, returns, rate, stored, ranking)
    path = [p for p in drift_path(gauges.feed, now, end) if p["ts"] >= rfc3339(start - DRIFT_NS)] if gauges is not None else []
    series |= {"drift": path} if path else {}
    along = trailing(long, start // SHELF_NS, end // SHELF_NS) if long is not None else []
    series |= {"correlation": along} if along else {}
    out: dict[str, Any] = {"metrics": metrics, "series": series, "returns": returns, "ranking": ranking}
    if many:
        return out
    own = day or no_fills()
    fills = LiveFills.joined([history, own]) if history is not None else own
    out["markouts"] = markouts(own, m.marks, min(now, end + 1800 * 1_000_000_000)) if len(own) else None
    worth, summable = _worth(own, rate)
    capital = long.capital if long is not None else terms.capital
    found, tally = performance(
        fills, outcomes(lines, own), start, end, daily=daily_profits(long), marks=m.marks, opening=opening, rates=worth, capital=capital,
        sessions=_sessions(m, s),
    )  # fmt: skip
    if len(own) or lines:
        out["performance"] = msgspec.to_builtins(found if summable else without(found, MONEY))
    out["ledger"] = Ledger(tally=tally, unit=_unit(m, own), capital=capital, summable=summable)
    return out


def _unit(m: Monitor, fills: LiveFills) -> str | None:
    """The currency in which the money of these fills is summed; None where there are none."""
    held = {fills.ccy[sym] for sym in np.unique(fills.sym).tolist()}
    return None if not held else m.names[held.pop()] if len(held) == 1 else m.parameters.reporting_currency


def _worth(fills: LiveFills, rate: Callable[[int], float | None]) -> tuple[dict[int, float], bool]:
    """Value of each symbol's currency, where they are several, and whether all are known."""
    money = {sym: fills.ccy[sym] for sym in np.unique(fills.sym).tolist()}
    if len(set(money.values())) < 2:
        return {}, True
    values = {sym: rate(ccy) for sym, ccy in money.items()}
    return {sym: v for sym, v in values.items() if v is not None}, None not in values.values()
