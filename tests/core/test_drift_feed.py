"""What the detectors are fed: the same whatever the order of arrival, the batches, restarts and late records."""

import random

import msgspec
import numpy as np
import pytest
from core.drift_desk import DAY, T0, Desk, S, known, noise, trades, whole

from parityd.core.drift import Detectors
from parityd.core.drift_feed import DriftFeed
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE
from parityd.core.returns import measured_returns


def test_the_detectors_get_the_settled_trades_in_order_of_trade_time():
    d = noise(300)
    desk, drift, state = whole(trades(d), T0 + 8 * DAY)
    plain = Detectors.fresh("s", with_slippage=True)
    rows = sorted(
        (int(r["t"]), int(r["bkey"]), float(r["d"]), float(r["slip"] / r["x"] * 1e4))
        for n in desk.s.books.shelves
        for r in desk.s.books.shelves[n].rows
    )
    assert [x[2] for x in rows] == pytest.approx(d, abs=1e-6)
    raised = plain.step_trades([x[1] for x in rows], [round(x[2], 9) for x in rows], [round(x[3], 9) for x in rows])
    assert raised == [one.alarm for one in drift.raised if one.side == "trades"]
    assert drift.detectors.trades.state()["price"]["channels"] == plain.trades.state()["price"]["channels"]
    assert drift.detectors.trades.slippage is not None
    assert state.confidence == drift.detectors.confidences()[1 if state.alarm else 0]
    assert state.strongest == drift.detectors.confidences()[1]


def test_long_stretches_at_once_end_their_epochs_where_short_ones_do():
    """Epochs that are outgrown, that end by themselves in the midst of many trades, and one that is latched."""
    d = np.array(noise(9000))
    d[3100:] -= 14
    d[7600:] += 25
    made = trades(d.tolist(), every=40.0)
    want = whole(made, T0 + 6 * DAY)[1]
    assert {one.alarm.direction for one in want.raised} == {"adverse", "favourable"}
    assert len(want.trades.starts) > 3
    desk, drift = Desk(), DriftFeed("s")
    for part in [made[k : k + 450] for k in range(0, len(made), 450)]:
        desk.give(BACKTEST, [b for b, _ in part])
        desk.give(LIVE, [l for _, l in part])
        desk.feed(drift, part[-1][1]["ts"] + 3600, intervals=False)
    desk.beat(T0 + 6 * DAY)
    desk.feed(drift, T0 + 6 * DAY, intervals=False)
    assert known(drift) == known(want)
    assert drift.trades.starts == want.trades.starts


def eventful(n=700, seed=4):
    d = np.array(noise(n, seed))
    d[250:] -= 14  # better: a new epoch by itself
    d[480:] += 25  # worse: latched
    return d.tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ids", [True, False])
def test_the_result_is_a_function_of_the_trades_not_of_arrival_batches_or_restarts(seed, ids):
    made = trades(eventful(), every=3600.0 if seed % 2 else 1300.0, ids=ids, quotes=seed % 3 != 0)
    end = T0 + 40 * DAY
    want = whole(made, end)[1]
    assert {one.alarm.direction for one in want.raised} == {"adverse", "favourable"}
    rng = random.Random(seed)
    desk, drift = Desk(), DriftFeed("s")
    now = T0
    waiting = [(b["ts"] + rng.choice([0, 0, 0, 5000, 90_000, 400_000]), BACKTEST, b) for b, _ in made]
    waiting += [(l["ts"] + rng.choice([0, 0, 0, 0, 0, 30_000]), LIVE, l) for _, l in made]
    waiting.sort(key=lambda x: x[0])
    while waiting:
        now += rng.choice([900, 5000, 40_000, 300_000])
        for book in (BACKTEST, LIVE):
            here = [r for t, k, r in waiting if t <= now and k == book]
            rng.shuffle(here)
            if here:
                desk.give(book, here)
        waiting = [x for x in waiting if x[0] > now]
        desk.feed(drift, now, intervals=False)
        if rng.random() < 0.2:
            drift = DriftFeed.restore(drift.state())
    desk.beat(end)
    desk.feed(drift, end, intervals=False)
    assert known(drift) == known(want)


@pytest.mark.parametrize("late", [5, 180, 430, 599])
def test_a_trade_that_comes_late_or_is_taken_back_is_as_if_it_had_always_or_never_been_there(late):
    made = trades(noise(600), every=1800.0)
    end = T0 + 14 * DAY
    desk, drift, _ = whole([m for k, m in enumerate(made) if k != late], end)
    drift = DriftFeed.restore(drift.state()) if late % 2 else drift
    without = known(drift)
    desk.give(BACKTEST, [made[late][0]])
    desk.give(LIVE, [made[late][1]])
    desk.feed(drift, end)
    assert known(drift) == known(whole(made, end)[1])
    desk.give(LIVE, [{"kind": "bust", "strategy": "s", "symbol": "BTC/USDT", "fill_id": f"f{late}", "ts": end}])
    desk.feed(drift, end)
    fresh, fresh_desk = DriftFeed("s"), Desk()
    fresh_desk.give(BACKTEST, [m[0] for m in made])
    fresh_desk.give(LIVE, [m[1] for k, m in enumerate(made) if k != late])
    fresh_desk.beat(end)
    fresh_desk.feed(fresh, end)
    assert known(drift) == known(fresh) == without


def test_intervals_are_fed_in_order_and_mended_where_the_ledgers_changed():
    made = trades(noise(1200, sd=30.0), every=1100.0)
    end = T0 + 16 * DAY
    desk, drift = Desk(), DriftFeed("s")
    for day in range(16):
        part = [m for m in made if day * DAY <= m[0]["ts"] - T0 < (day + 1) * DAY and m not in (made[333], made[900])]
        desk.give(BACKTEST, [b for b, _ in part])
        desk.give(LIVE, [l for _, l in part])
        desk.beat(T0 + (day + 1) * DAY)
        desk.feed(drift, T0 + (day + 1) * DAY)
    for k in (333, 900):
        desk.give(BACKTEST, [made[k][0]])
        desk.give(LIVE, [made[k][1]])
        drift = DriftFeed.restore(drift.state())
        desk.feed(drift, end)
    want = whole(made, end)[1]
    assert drift.intervals.fed == want.intervals.fed > 700
    assert np.allclose(drift.intervals.points["live"], want.intervals.points["live"], atol=1e-9)
    assert drift.detectors.intervals.state()["hits"] == want.detectors.intervals.state()["hits"]
    mine, theirs = drift.detectors.intervals.summary()["correlation"], want.detectors.intervals.summary()["correlation"]
    assert mine["n"] == theirs["n"]
    assert mine["evidence"] == pytest.approx(theirs["evidence"], abs=1e-9)


def test_without_a_configured_capital_the_first_sixty_intervals_give_the_unit():
    made = trades(noise(300, sd=30.0), every=1100.0)
    desk, drift, _ = whole(made, T0 + 5 * DAY, Parameters())
    r = measured_returns(desk.s, desk.monitor.marks, capital=None, now=(T0 + 5 * DAY) * S).returns
    first = r.gross[np.flatnonzero(r.active)[:60]].max()
    assert drift.intervals._unit(None) == first
    back = np.frombuffer(drift.detectors.intervals.state()["back"])
    assert np.allclose(back, r.pnl_allowed[r.active][:60] / r.gross[r.active][:60], atol=1e-11)  # ranked as shares of what was held
    few = whole(made[:50], T0 + 5 * DAY, Parameters())[1]
    assert few.intervals.fed == 0


def test_a_state_of_another_version_is_refused():
    data = msgspec.msgpack.decode(DriftFeed("s").state())
    with pytest.raises(ValueError, match="version"):
        DriftFeed.restore(msgspec.msgpack.encode(data | {"version": 0}))


def test_what_holds_nothing_of_the_stream_is_not_read_again_until_it_changes():
    """All that a stopped strategy's backtest does is looked at once: walked at every check it made a check dearer each day."""
    made = trades(noise(400))
    desk, drift = Desk(), DriftFeed("s")
    desk.give(BACKTEST, [b for b, _ in made])
    desk.give(LIVE, [l for _, l in made[:100]])
    now = made[-1][0]["ts"] + DAY
    desk.beat(now)
    desk.feed(drift, now, intervals=False)
    looked = desk.s.books._clock
    desk.beat(now + 900)
    desk.feed(drift, now + 900, intervals=False)
    assert desk.s.books._clock - looked < 10
    for k in (150, 399):
        desk.give(LIVE, [made[k][1]])
    desk.feed(drift, now + 900, intervals=False)
    only = [m for k, m in enumerate(made) if k < 100 or k in (150, 399)]
    assert known(drift) == known(whole(only, now + 900)[1])
