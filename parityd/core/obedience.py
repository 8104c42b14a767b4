"""Whether an engine obeys: orders that added exposure under a published stop (JUDGEMENT 4, `not_obeyed`).

1. An order is judged by its submission: after the engine acknowledged the stop and before that was lifted. Without order times by its fill,
   from 60 s after the issue on; an engine that sends order times is waited for.
2. Only where the position is known: a `position` record of the symbol has come, and the newest one that was due agrees with the fills.
3. A reducing fill never adds; a reversing one adds what it opens. A hundredth of an order is rounding, or a fee taken in base.
4. Each order is told once.
"""

import numpy as np

from parityd.core.publications import Stop
from parityd.core.records import NO_TS
from parityd.core.strategy import Strategy
from parityd.core.terms import Names
from parityd.core.watch import UNIT, Aligned, Disobeyed, Watch

ISSUE_DELAY_NS = 60 * 1_000_000_000
TOLD = 1000
DUST = 0.01


def look(names: Names, s: Strategy) -> None:
    """Orders that added exposure under a stop (JUDGEMENT 4, `not_obeyed`), where the position is known."""
    watch = s.memory.watch
    stops = [stop for stop in s.memory.publications.stops() if stop.until_ns > watch.reset_ns]
    if not stops or not watch.seeds:
        return
    since = max(watch.reset_ns, stops[0].issued_ns, watch.floor)
    tape = watch.rows
    tape = tape[(tape["ts"] > since)]
    if not len(tape):
        return
    tape = tape[np.lexsort((tape["order"], tape["ts"]))]
    for sym, account in [(sym, account) for sym, table in watch.seeds.items() for account in table]:
        held = _known(watch, sym, account, since)
        if held is None:
            continue
        for row in tape[(tape["sym"] == sym) & np.isin(tape["account"], watch.accounts(sym, account))]:
            before, units = held, int(row["held"])
            held += units
            added = abs(held) if held * before < 0 else abs(held) - abs(before)
            if added > DUST * abs(units) and not row["reduces"]:
                _judge(names, s, stops, row)


def _known(watch: Watch, sym: int, account: int, t: int) -> int | None:
    """The position at t, where a position record says what it began with and the newest one that was due agrees."""
    aligned = watch.positions.get(sym, {}).get(account, Aligned())
    filled = watch.filled(sym, account, t)
    if filled is None or (aligned.compared and aligned.compared[-1].differs):
        return None
    return filled + watch.seeds[sym][account].offset + aligned.shift


def _judge(names: Names, s: Strategy, stops: list[Stop], row: np.void) -> None:
    watch, order, ts = s.memory.watch, int(row["order"]), int(row["ts"])
    key = order or ts
    if key in watch.told or any(one.order == key for one in watch.disobeyed):
        return
    submitted = _submitted(s, order)
    if submitted == NO_TS and order and s.memory.orders.get("submitted"):
        return  # an engine that tells its orders' times has yet to tell this one's
    for stop in stops:
        if submitted == NO_TS:
            begins = stop.issued_ns + ISSUE_DELAY_NS
        elif stop.acknowledged_ns is None:
            continue
        else:
            begins = stop.acknowledged_ns
        if begins < (ts if submitted == NO_TS else submitted) < stop.until_ns:
            said = f"{names[int(row['sym'])]} {int(row['held']) / UNIT:+g}"
            watch.disobeyed.append(Disobeyed(key, ts, stop.action, said))
            return


def _submitted(s: Strategy, order: int) -> int:
    found = s.books.locate(order) if order else None
    return NO_TS if found is None else int(found[0].view["l_sub"][found[1]])
