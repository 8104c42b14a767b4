"""The live side as it is observed: fills, positions, balances, heartbeats and order times -> what the state findings are made of.

1. `note_fills` when fills come in, `settle` once at the end of a turn: within a turn the order of the records does not matter.
2. The first `position` record of a symbol and account seeds both ledgers with what the fills until its time do not explain; a fill that comes later
   and explains some of it takes that back.
3. A record is compared at its own time once the live watermark is `position_delay` past it; the newest two are compared again as late fills come.
4. What cannot be known (an older time than the tape reaches, fills without an account among several, no price of the time) is not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parityd.core import obedience
from parityd.core.columns import FillColumns
from parityd.core.executions import Executions, order_names
from parityd.core.grouping import each
from parityd.core.records import BOOKS, LIVE, NO_TS
from parityd.core.strategy import Reported, Strategy
from parityd.core.watch import TAPE, UNIT, Aligned, Anchor, Balances, Compared, Seed, Tape, Watch

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

SECOND = 1_000_000_000
HOUR_NS = 3600 * SECOND
WEEK_NS = 7 * 86_400 * SECOND
PRICE_AGE_NS = 900 * SECOND
GAPS = 8


def note_fills(m: Monitor, c: FillColumns, e: Executions, *, back: bool = False) -> None:
    """Live fills with their executions (postings in the order of `c`); `back`: busted, to be taken out again."""
    account = c.account.codes(m.names.code) if c.account.some() else None
    orders = None
    tape, kept = _tape(e, c), dict[str, list[Tape]]()
    for k, mine in each(e.fill_pair):
        pair = e.pairs[k]
        watch, stops = m.strategies[pair.strategy].memory.watch, m.strategies[pair.strategy].memory.publications.stops()
        if stops and orders is None:
            orders = order_names(e.pairs, e.fill_pair, c)
        for code, at in each(account[mine]) if account is not None else ((0, slice(None)),):
            w = mine[at]
            tape["sym"][w], tape["account"][w] = pair.sym, code
            rows = tape.take(w)
            if stops and orders is not None:
                rows["order"] = orders[w]
            if back:
                for row in rows:
                    watch.take_back(row)
                _grow(m, watch, rows, pair.sym, code, sign=-1)
                continue
            watch.count(rows)
            kept.setdefault(pair.strategy, []).append(rows)
            _grow(m, watch, rows, pair.sym, code)
            total, newest = watch.total(pair.sym, code), int(w[np.argmax(c.ts[w])])
            total.multiplier = float(abs(e.postings.quantity[newest]) / c.quantity[newest])
            total.ccy = m.names.code(c.currency[newest]) if c.currency[newest] else pair.ccy
    for name, parts in kept.items():
        m.strategies[name].memory.watch.keep(parts)


def _tape(e: Executions, c: FillColumns) -> Tape:
    """A posting of each fill, without its symbol and account."""
    p = e.postings
    rows = np.zeros(len(c), TAPE)
    rows["ts"], rows["held"], rows["q"] = p.ts, np.rint(p.held * UNIT), np.rint(p.quantity * UNIT)
    rows["cash"] = -p.quantity * p.price - p.fee
    rows["reduces"] = c.reduce_only == 1
    return rows


def _grow(m: Monitor, watch: Watch, rows: Tape, sym: int, account: int, sign: int = 1) -> None:
    """What splits that are known already make of fills of before them (and after the first position record, which tells the others)."""
    seed = watch.seeds.get(sym, {}).get(account)
    new = rows if seed is None else rows[rows["ts"] > seed.ts]
    more = 0
    for ts, ratio in m.splits.table.get(sym, ()):
        units = round((int(new["held"][new["ts"] < ts].sum()) + more) * (ratio - 1))
        if units:
            watch.post(_single(sym, ts, account=account, units=sign * units))
        more += units


def note_funding(s: Strategy, sym: int, ts: int, amount: float) -> None:
    """Funding paid moves cash alone."""
    s.memory.watch.post(_single(sym, ts, cash=-amount))


def note_split(s: Strategy, sym: int, ts: int, ratio: float) -> None:
    """`ratio` new units for one: every account's position is multiplied at that time."""
    watch = s.memory.watch
    for account in list(watch.totals.get(sym, {})):
        before = watch.filled(sym, account, ts - 1)
        more = watch.total(sym, account).held if before is None else before
        watch.post(_single(sym, ts, account=account, units=round(more * (ratio - 1))))
    for account, seed in watch.seeds.get(sym, {}).items():
        if ts > seed.ts:
            watch.post(_single(sym, ts, account=account, units=round(seed.offset * (ratio - 1))))


def _single(sym: int, ts: int, *, account: int = 0, units: int = 0, cash: float = 0.0) -> Tape:
    row = np.zeros(1, TAPE)
    row["ts"], row["sym"], row["account"], row["held"], row["q"], row["cash"], row["reduces"] = ts, sym, account, units, units, cash, True
    return row


def settle(m: Monitor, s: Strategy, now: int) -> None:
    """Read what the turn brought: heartbeats, positions, balances, orders under a stop."""
    memory = s.memory
    watch = memory.watch
    for book in BOOKS:
        _read_beats(s, book)
    watch.recent |= s.live.watermark >= now - WEEK_NS
    reports, memory.reports = sorted(memory.reports, key=lambda r: (r.ts, r.kind, r.sym, r.account, r.quantity, r.equity)), []
    delay = round(m.parameters.of(s.name).thresholds.position_delay * SECOND)
    for r in reports:
        if r.kind == "position":
            _seed(m, watch, r)
        if s.live.watermark < r.ts + delay:
            memory.reports.append(r)
        elif r.kind == "position":
            _due(m, watch, r)
        else:
            _balance(m, s, r)
    _open(s)
    for sym, table in watch.positions.items():
        for account, aligned in table.items():
            _compare(watch, sym, account, aligned)
    obedience.look(m.names, s)
    watch.trim()
    del memory.transfers[:-2000]


# --- heartbeats ---------------------------------------------------------------------------------------------------


def _read_beats(s: Strategy, book: str) -> None:
    p = s.memory.pulses[book]
    beats, p.beats = sorted(p.beats, key=lambda beat: (beat.ts, beat.next_by, str(beat.flags))), []
    for beat in beats:
        if beat.override_sequence is not None and book == LIVE:
            s.memory.publications.acknowledge(beat.override_sequence, beat.ts)
            if beat.override_sequence > p.acknowledged:
                p.acknowledged, p.acknowledged_at = beat.override_sequence, beat.ts
        if beat.ts < p.heartbeat:
            continue
        if p.heartbeat not in (NO_TS, beat.ts):
            p.gaps = [*p.gaps, beat.ts - p.heartbeat][-GAPS:]
        p.previous, p.heartbeat, p.next_by, p.detail = p.heartbeat, beat.ts, beat.next_by, beat.detail
        for name, well in beat.flags.items():
            p.flags[name] = well
            if well:
                p.false_since.pop(name, None)
                p.false_count.pop(name, None)
            else:
                p.false_since.setdefault(name, beat.ts)
                p.false_count[name] = p.false_count.get(name, 0) + 1


# --- positions ----------------------------------------------------------------------------------------------------


def _units(m: Monitor, watch: Watch, r: Reported) -> tuple[int, int]:
    account = m.names.code(r.account) if r.account else 0
    return account, round(r.quantity * watch.multiplier(r.sym, account, r.multiplier) * UNIT)


def _seed(m: Monitor, watch: Watch, r: Reported) -> None:
    account, reported = _units(m, watch, r)
    known = watch.seeds.get(r.sym, {}).get(account)
    if known is not None and known.ts <= r.ts:
        return
    explained = watch.filled(r.sym, account, r.ts)
    if explained is None:
        return
    seed = watch.seeds.setdefault(r.sym, {})[account] = Seed(r.ts, reported, reported - explained)
    more = 0
    for ts, ratio in m.splits.table.get(r.sym, ()):
        told = (seed.offset if r.ts < ts else 0) - (known.offset if known is not None and known.ts < ts else 0)
        units = round((told + more) * (ratio - 1))
        watch.post(_single(r.sym, ts, account=account, units=units))
        more += units


def _open(s: Strategy) -> None:
    """Give both ledgers what the seeds say, once."""
    watch = s.memory.watch
    for sym in watch.seeds:
        more = watch.opening(sym) - watch.opened.get(sym, 0)
        if more:
            watch.opened[sym] = watch.opening(sym)
            s.ledger.open(sym, more, min(seed.ts for seed in watch.seeds[sym].values()))


def _due(m: Monitor, watch: Watch, r: Reported) -> None:
    account, reported = _units(m, watch, r)
    aligned = watch.positions.setdefault(r.sym, {}).setdefault(account, Aligned())
    aligned.due = sorted({**dict(aligned.due), r.ts: reported}.items())[-2:]


def _compare(watch: Watch, sym: int, account: int, aligned: Aligned) -> None:
    """The newest due records against the fills until them; after a reset the first one says where things stand."""
    seed = watch.seeds.get(sym, {}).get(account)
    if seed is None:
        return
    if watch.reset_ns > aligned.reset_ns:
        aligned.due = [one for one in aligned.due if one[0] > watch.reset_ns]
    before = {one.ts: one for one in aligned.compared}
    aligned.compared = []
    for ts, reported in aligned.due:
        filled = watch.filled(sym, account, ts)
        if filled is not None:
            if watch.reset_ns > aligned.reset_ns:
                aligned.reset_ns, aligned.shift = watch.reset_ns, reported - filled - seed.offset
            aligned.compared.append(Compared(ts, reported, filled + seed.offset + aligned.shift))
        elif ts in before:
            aligned.compared.append(before[ts])


# --- balances -----------------------------------------------------------------------------------------------------


def _balance(m: Monitor, s: Strategy, r: Reported) -> None:
    """The next balance at least an hour after the anchor is measured against it and becomes the anchor."""
    watch = s.memory.watch
    account, currency = (m.names.code(text) if text else 0 for text in (r.account, r.currency))
    own = watch.balances.setdefault(account, {}).setdefault(currency, Balances())
    before = own.anchor
    if before is not None and r.ts < before.ts + HOUR_NS:
        return
    parts = _parts(m, watch, account, currency, r.ts)
    if parts is None:
        return
    own.anchor = Anchor(r.ts, r.equity, parts)
    if before is None:
        return
    share = _unexplained(s, before, own.anchor)
    if share is not None:
        large = abs(share) > m.parameters.of(s.name).thresholds.balance_tolerance
        own.bad = [*own.bad, (r.ts, share)][-2:] if large else []


def _parts(m: Monitor, watch: Watch, account: int, currency: int, t: int) -> dict[int, tuple[int, float, float | None]] | None:
    """(quantity, cash, price) by symbol at t; None where it is not known or not in this currency."""
    out: dict[int, tuple[int, float, float | None]] = {}
    if t < watch.floor:
        return None
    tape = watch.rows
    quotes = {total.ccy for table in watch.totals.values() for total in table.values()} - {0}
    told = set(watch.balances[account])
    if (len(quotes) > 1 and not quotes <= told) or (currency and quotes and currency not in quotes):
        return None
    for sym, table in watch.totals.items():
        if watch.ambiguous(sym, account):
            return None
        mine = [a for a in watch.accounts(sym, account) if a in table and (len(quotes) < 2 or table[a].ccy == currency)]
        later = tape[(tape["sym"] == sym) & (tape["ts"] > t) & np.isin(tape["account"], mine)]
        q, cash = sum(table[a].q for a in mine) - int(later["q"].sum()), sum(table[a].cash for a in mine) - float(later["cash"].sum())
        price, when = m.marks.price(sym, t)
        out[sym] = (q, cash, price if when != NO_TS and t - when <= PRICE_AGE_NS else None)
    return out


def _unexplained(s: Strategy, a: Anchor, b: Anchor) -> float | None:
    """Share of equity by which it changed beyond the ledger's P&L and the transfers between two balances."""
    watch = s.memory.watch
    paid = [amount for ts, amount in s.memory.transfers if a.ts < ts <= b.ts]
    if not a.equity or (paid and sum(len(table) for table in watch.balances.values()) > 1):
        return None
    profit = 0.0
    for sym, (q, cash, price) in b.parts.items():
        q0, cash0, price0 = a.parts.get(sym, (0, 0.0, None))
        opened = watch.opening(sym)
        for units, at, sign in ((q + opened, price, 1), (q0 + opened, price0, -1)):
            if units and at is None:
                return None
            profit += sign * units / UNIT * (at or 0.0)
        profit += cash - cash0
    return (b.equity - a.equity - profit - sum(paid)) / abs(a.equity)
