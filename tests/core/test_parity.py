"""Decision parity: what is alike, silence and holds, what counts when, runs, allowed sizes, cuts of the input; against a plain count."""

import random
import time

import msgspec
import numpy as np
import pytest

from parityd.core.accepting import block
from parityd.core.books import RunSpan
from parityd.core.columns import Bounds
from parityd.core.decisions import KEPT, Decisions
from parityd.core.parameters import Parameters
from parityd.core.parity import DecisionParity
from parityd.core.records import BACKTEST, LIVE, NO_TS, Decision
from parityd.core.rows import SHELF_NS
from parityd.core.terms import Instruments, Names

T0 = 1_790_000_100  # on a boundary of 15 minutes
S = 1_000_000_000
EVER = 2**62
NO_HOLDS = {LIVE: False, BACKTEST: False}
HOLDS = {LIVE: True, BACKTEST: True}


class Desk:
    def __init__(self, timeframe=None, **kw):
        self.names = Names()
        self.instruments = Instruments(Parameters(), self.names)
        self.decisions = Decisions(timeframe=timeframe, **kw)
        gap = round((timeframe / 2 if timeframe else 30) * S)
        self.parity = DecisionParity(self.decisions, gap=gap, tolerance=300 * S, quantity_tolerance=0.01)

    def give(self, book, rows, created=None):
        """rows: (second, action, quantity) or with a symbol and more fields."""
        records = []
        for ts, action, quantity, *more in rows:
            said = {"kind": "decision", "strategy": "s", "symbol": "BTC/USDT", "ts": T0 + ts, "action": action, **(more[0] if more else {})}
            if quantity is not None:
                said["quantity"] = quantity
            if action == "close":
                said.setdefault("side", "sell")
            records.append(msgspec.convert(said, Decision, strict=False))
        made = block(book, list(enumerate(records, 1)), Bounds())
        assert not made.refusals, made.refusals
        when = None if created is None else np.full(len(records), created)
        self.decisions.add(book, made.decisions, self.instruments, when)

    def read(self, start=0, end=10**7, reached=EVER, holds=NO_HOLDS, scales=()):
        self.parity.refresh(scales)
        return self.parity.window(round((T0 + start) * S), round((T0 + end) * S), reached, holds)


def both(desk, b, l, **kw):
    desk.give(BACKTEST, b)
    desk.give(LIVE, l)
    return desk.read(**kw)


def test_alike_is_the_same_action_and_a_quantity_within_one_per_cent_of_the_backtests():
    b = [(0, "buy", 100), (60, "buy", 100), (120, "buy", 100), (180, "sell", 100), (240, "buy", None), (300, "hold", None)]
    l = [(0, "buy", 101), (60, "buy", 101.1), (120, "sell", 100), (180, "sell", 99), (240, "buy", 5), (300, "hold", None)]
    p = both(Desk(), b, l)
    assert (p.decisions, p.alike, p.actions, p.actions_alike) == (6, 4, 5, 3)
    assert p.decision_parity == pytest.approx(4 / 6)
    assert p.action_parity == pytest.approx(3 / 5)


def test_close_is_alike_only_for_the_same_side():
    b = [(0, "close", 1, {"side": "sell"}), (60, "close", 1, {"side": "buy"})]
    l = [(0, "close", 1, {"side": "sell"}), (60, "close", 1, {"side": "sell"})]
    assert both(Desk(), b, l).alike == 1


def test_a_reversal_of_two_decisions_at_one_time_is_alike_in_either_order():
    b = [(0, "close", 1, {"trade_id": "a"}), (0, "buy", 1, {"trade_id": "b"})]
    assert both(Desk(), b, b[::-1]).action_parity == 1.0


def test_silence_is_a_hold_for_a_book_that_sends_none_and_unlike_for_one_that_does():
    b = [(0, "buy", 1), (60, "hold", None), (120, "hold", None), (180, "sell", 1)]
    l = [(0, "buy", 1)]
    p = both(Desk(), b, l, holds={BACKTEST: True, LIVE: False})
    assert (p.decisions, p.alike, p.actions, p.actions_alike) == (4, 3, 2, 1)
    p = both(Desk(), b, l, holds=HOLDS)
    assert (p.decisions, p.alike, p.actions, p.actions_alike) == (4, 1, 2, 1)


def test_a_hold_against_an_action_is_one_decision_unlike():
    p = both(Desk(), [(0, "hold", None), (60, "buy", 1)], [(0, "buy", 1), (60, "hold", None)], holds=HOLDS)
    assert (p.decisions, p.alike, p.actions) == (2, 0, 2)


def test_null_unless_both_books_sent_decisions_in_the_window():
    desk = Desk()
    p = both(desk, [(0, "buy", 1), (5000, "buy", 1)], [(0, "buy", 1)])
    assert p.decision_parity == 0.5
    late = desk.read(start=4000)
    assert (late.decisions, late.decision_parity, late.action_parity) == (1, None, None)
    assert desk.read(start=6000).decision_parity is None


def test_times_are_aligned_as_matching_aligns_them_not_by_nearest_first():
    p = both(Desk(), [(0, "buy", 1), (10, "sell", 2)], [(10, "buy", 1), (20, "sell", 2)])
    assert p.action_parity == 1.0
    far = both(Desk(), [(0, "buy", 1)], [(60, "buy", 1)])
    assert (far.decisions, far.alike) == (2, 0)
    near = both(Desk(), [(0, "buy", 1)], [(59, "buy", 1)])
    assert (near.decisions, near.alike) == (1, 1)


def test_symbols_are_aligned_apart():
    p = both(Desk(), [(0, "buy", 1, {"symbol": "A/B"})], [(0, "buy", 1, {"symbol": "C/B"})])
    assert (p.decisions, p.alike) == (2, 0)


def test_with_a_timeframe_decisions_of_one_bar_meet_and_of_two_bars_do_not():
    b = [(0, "buy", 1), (3600, "sell", 1), (7200, "hold", None)]
    p = both(Desk(timeframe=3600), [(t - 900, *x) for t, *x in b], [(t + 890, *x) for t, *x in b])
    assert p.decision_parity == 1.0  # T0 is a quarter past the hour
    apart = both(Desk(timeframe=60), [(59, "buy", 1)], [(61, "buy", 1)])
    assert apart.decisions == 2
    several = both(Desk(timeframe=60), [(40, "buy", 1)], [(2, "hold", None), (30, "buy", 1)], holds=HOLDS)
    assert (several.decisions, several.actions_alike) == (2, 1)


def test_a_decision_counts_once_both_watermarks_have_reached_it_and_silence_once_they_are_past_its_reach():
    desk = Desk()
    both(desk, [(0, "buy", 1), (600, "sell", 1)], [(3, "buy", 1)])
    at = lambda seconds: desk.read(reached=(T0 + seconds) * S).decisions
    assert [at(x) for x in (2, 3, 600, 659, 660)] == [0, 1, 1, 1, 2]


def test_what_was_cut_is_compared_with_the_allowed_size_and_what_was_stopped_counts_nowhere():
    scales = [((T0 + 100) * S, 0.5), ((T0 + 300) * S, 0.0), ((T0 + 500) * S, 1.0)]
    b = [
        (0, "buy", 100),
        (200, "buy", 100),
        (220, "buy", 100),
        (240, "buy", 100),
        (400, "buy", 100),
        (420, "close", 100),
        (600, "buy", 100),
    ]
    l = [(0, "buy", 50), (200, "buy", 50), (220, "buy", 100), (240, "buy", 70), (420, "close", 50), (600, "buy", 100)]
    p = both(Desk(), b, l, scales=scales)
    assert p.suppressed == 1
    assert (p.actions, p.actions_alike) == (6, 4)
    assert both(Desk(), b, l).actions_alike == 2


def test_a_newer_run_replaces_what_it_covers_also_when_it_is_read_again():
    desk = Desk()
    desk.give(LIVE, [(0, "buy", 1), (600, "sell", 1), (5000, "buy", 1)])
    desk.give(BACKTEST, [(0, "sell", 1), (600, "buy", 1), (5000, "sell", 1)], created=5)
    assert desk.read().alike == 0
    desk.decisions.supersede([RunSpan("r2", 9, T0 * S, (T0 + 1000) * S)], desk.names)
    desk.give(BACKTEST, [(0, "buy", 1), (600, "sell", 1)], created=9)
    p = desk.read()
    assert (p.decisions, p.alike) == (3, 2)
    desk.give(BACKTEST, [(100, "buy", 7)], created=NO_TS)  # an older run's record that comes late
    assert desk.read() == p
    pieces = desk.decisions.pieces()
    again = Desk(load=lambda n: pieces.get(n, b""))
    again.names, again.instruments = desk.names, desk.instruments
    again.decisions.supersede([RunSpan("r2", 9, T0 * S, (T0 + 1000) * S)], desk.names)
    again.decisions.restore(list(pieces))
    assert again.read() == p


def awkward(seed, n=300):
    rng = random.Random(seed)
    t, b, l = 0.0, [], []
    for _ in range(n):
        t += rng.choice([0.2, 5, 20, 45, 61, 300, 1200])
        action = rng.choice(["buy", "sell", "hold", "hold", "close"])
        q = None if action == "hold" else rng.choice([1, 2])
        if rng.random() < 0.9:
            b.append((round(t, 3), action, q))
        if rng.random() < 0.9:
            l.append((round(t + rng.choice([0, 0, 0.4, 3]), 3), action if rng.random() < 0.9 else "buy", q or 1))
    return b, l


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("timeframe", [None, 60])
def test_cuts_of_the_input_order_of_arrival_and_a_restart_change_nothing(seed, timeframe):
    b, l = awkward(seed)
    want = both(Desk(timeframe), b, l, holds=HOLDS)
    rng = random.Random(seed)
    stored, cut = {}, Desk(timeframe)
    todo = [(BACKTEST, x) for x in b] + [(LIVE, x) for x in l]
    rng.shuffle(todo)
    while todo:
        n = rng.choice([1, 3, 40])
        for book in (BACKTEST, LIVE):
            mine = [x for k, x in todo[:n] if k == book]
            if mine:
                cut.give(book, mine)
        del todo[:n]
        if rng.random() < 0.5:
            cut.read(holds=HOLDS)
        for number, data in cut.decisions.pieces().items():
            stored[number] = stored.get(number, b"") + data
    assert cut.read(holds=HOLDS) == want
    revived = Desk(timeframe, load=lambda k: stored[k], most=50)
    revived.decisions.restore(list(stored))
    assert revived.read(holds=HOLDS) == want
    revived.decisions.forget()
    assert sum(map(len, revived.decisions.shelves.values())) <= 50
    assert revived.read(holds=HOLDS) == want


@pytest.mark.parametrize("seed", range(8))
def test_windows_add_up_and_agree_with_a_plain_count(seed):
    """Far apart decisions: pairs are obvious, so a count by hand is."""
    rng = random.Random(seed)
    b, l, want = [], [], []
    for k in range(200):
        t, kind = k * 130, rng.choice(["alike", "size", "action", "b", "l", "hold", "bhold"])
        if kind != "l":
            b.append((t, "hold" if "hold" in kind else "buy", None if "hold" in kind else 10))
        if kind not in {"b", "bhold"}:
            l.append(
                (t + 1.5, {"hold": "hold", "action": "sell"}.get(kind, "buy"), None if kind == "hold" else 11 if kind == "size" else 10)
            )
        want.append((t + (1.5 if kind == "l" else 0), kind))
    desk = Desk()
    whole = both(desk, b, l, holds={LIVE: False, BACKTEST: True})
    assert whole.decisions == 200
    assert whole.alike == sum(k in {"alike", "hold", "bhold"} for _, k in want)
    assert whole.actions == sum(k not in {"hold", "bhold"} for _, k in want)
    assert whole.actions_alike == sum(k == "alike" for _, k in want)
    for _ in range(20):
        lo, hi = sorted(rng.uniform(-10, 26_500) for _ in range(2))
        part = desk.read(lo, hi, holds={LIVE: False, BACKTEST: True})
        assert part.alike == sum(k in {"alike", "hold", "bhold"} for t, k in want if lo <= t <= hi)
        assert part.decisions == sum(lo <= t <= hi for t, _ in want)


def test_what_is_older_than_the_kept_days_is_forgotten():
    desk = Desk()
    both(desk, [(0, "buy", 1)], [(0, "buy", 1)])
    desk.give(LIVE, [(KEPT * 900, "buy", 1)])
    assert desk.decisions.forget() == [T0 * S // SHELF_NS]
    assert desk.read(end=10**8).decisions == 1


def test_a_refresh_costs_what_is_new():
    desk = Desk(timeframe=60)
    minutes = [(60 * k, "hold", None) for k in range(8 * 1440)]
    for book in (BACKTEST, LIVE):
        desk.give(book, minutes)
    desk.read()
    best = 1.0
    for k in range(5):
        desk.give(LIVE, [(60 * (8 * 1440 + k), "buy", 1)])
        t = time.perf_counter()
        p = desk.read(holds=HOLDS)
        best = min(best, time.perf_counter() - t)
    print(f"{best * 1e3:.2f} ms")
    assert p.decisions == 8 * 1440 + 5
    assert best < 0.025
