"""What the detectors are fed: the same whatever the order of arrival, the batches, restarts and late records; alarms in time; resets."""

import itertools
import json
import random

import msgspec
import numpy as np
import pytest

from parityd.core.accepting import block
from parityd.core.columns import Bounds
from parityd.core.drift import Detectors
from parityd.core.drift_alarms import LATCH_NS, Raised, gravest
from parityd.core.drift_feed import DriftFeed
from parityd.core.drift_lane import Alarm
from parityd.core.instants import rfc3339
from parityd.core.intake import FileBatch
from parityd.core.monitor import Monitor
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.rebuild import Rebuilder
from parityd.core.records import BACKTEST, LIVE, Native
from parityd.core.returns import measured_returns
from parityd.core.rows import SHELF_NS
from parityd.core.terms import Names
from parityd.core.window import settling

S = 1_000_000_000
T0 = 1_790_035_200  # midnight
DAY = 86_400
P = Parameters(strategies={"s": StrategyTerms(capital=100_000.0)})


class Desk:
    def __init__(self, parameters=P):
        self.given, self.files = [], 0
        self.monitor = Monitor(parameters, Names(), lambda _s, _n: None, Rebuilder(lambda _s: iter(list(self.given))))
        self.parameters = parameters

    def give(self, book, records):
        self.files += 1
        rows = [(i, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records, 1)]
        made = block(book, rows, Bounds())
        assert not made.refusals, made.refusals[:3]
        name = str(self.files)
        batch = FileBatch(
            book=book, name=name, sha256=name, source="", decisions=made.decisions, fills=made.fills, rare=made.rare, refusals=[]
        )
        applied = self.monitor.apply([batch], 0)
        self.given += [(book, g.decisions, g.fills, g.rare) for g in applied.counted]

    @property
    def s(self):
        return self.monitor.strategy("s")

    def beat(self, ts):
        for book in (BACKTEST, LIVE):
            self.give(book, [{"kind": "heartbeat", "strategy": "s", "ts": ts}])

    def feed(self, drift, now, *, intervals=True):
        until = settling(self.s, self.parameters, round(now * S), waiting=False)
        capital = self.parameters.of("s").capital
        r = measured_returns(self.s, self.monitor.marks, capital=capital, now=round(now * S)).returns if intervals else None
        return drift.feed(self.s, r, until, round(now * S))


def trades(d, *, every=1800.0, start=T0, seed=0, quotes=True, ids=True, first=0):
    """One matched trade a number of `d` (bps): (backtest decision, live fill); `quotes`: all references, so that slippage is measured alone."""
    rng = random.Random(seed)
    out, price = [], 100.0
    for k, bps in enumerate(d, first):
        t = start + (k - first) * every + 60.0
        price = round(price * (1 + rng.gauss(0, 0.002)), 4)
        side = "buy" if k % 2 == 0 else "sell"
        sign = 1 if side == "buy" else -1
        paid = price * (1 + sign * bps / 1e4)
        b = {
            "kind": "decision",
            "strategy": "s",
            "symbol": "BTC/USDT",
            "ts": t,
            "action": side,
            "quantity": 10,
            "price": price,
            "mark": price,
        }
        l = {
            "kind": "fill",
            "strategy": "s",
            "symbol": "BTC/USDT",
            "fill_id": f"f{k}",
            "side": side,
            "quantity": 10,
            "price": paid,
            "ts": t + 0.4,
        }
        if ids:
            b["trade_id"] = l["trade_id"] = f"t{k}"
        if quotes:
            l |= {
                "decision_mark": price,
                "arrival_mark": price,
                "arrival_bid": price - (paid - price) * sign,
                "arrival_ask": price + (paid - price) * sign,
            }
        out.append((b, l))
    return out


def noise(n, seed=1, mean=3.0, sd=10.0):
    return (np.random.default_rng(seed).standard_normal(n) * sd + mean).tolist()


def whole(made, now, parameters=P):
    desk, drift = Desk(parameters), DriftFeed("s")
    desk.give(BACKTEST, [b for b, _ in made])
    desk.give(LIVE, [l for _, l in made])
    desk.beat(now)
    return desk, drift, desk.feed(drift, now)


def known(drift):
    """All that the trades' detectors know, and their alarms."""
    alarms = [one for one in drift.raised if one.side == "trades"]
    return msgspec.msgpack.encode([drift.detectors.trades.state(), msgspec.to_builtins(alarms), drift.trades.days, drift.trades.head])


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


def test_before_anything_was_bet_on_there_is_no_confidence():
    _, drift, state = whole(trades(noise(30)), T0 + 3 * DAY)
    assert state.confidence is state.alarm is None
    assert drift.read(0).confidence is None


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


def test_an_adverse_alarm_stands_for_seven_days_and_then_an_epoch_begins():
    d = noise(400) + noise(100, seed=5, mean=15.0) + noise(900, seed=6, mean=15.0)
    made = trades(d, every=1800.0)
    desk, drift = Desk(), DriftFeed("s")
    stood = []
    for day in range(30):
        part = made[day * 48 : (day + 1) * 48]
        desk.give(BACKTEST, [b for b, _ in part])
        desk.give(LIVE, [l for _, l in part])
        now = T0 + (day + 1) * DAY
        desk.beat(now)
        state = desk.feed(drift, now)
        stood.append(state.alarm)
        if state.alarm:
            assert state.alarm.adverse
            assert state.confidence > 0.9
    mean = next(one for one in drift.raised if one.alarm.channel == "mean")
    began = (T0 + 400 * 1800) * S
    assert began <= mean.at < began + 60 * 1800 * S
    assert abs(mean.changed_at - began) < 12 * 1800 * S
    assert mean.alarm.effect_bps == pytest.approx(12, abs=5)
    first, last = (k for k in (stood.index(next(a for a in stood if a)), len(stood) - 1 - next(k for k, a in enumerate(stood[::-1]) if a)))
    assert 6 <= last - first <= 9
    assert drift.detectors.trades.epoch == 1
    assert known(drift) == known(whole(made, T0 + 30 * DAY)[1])


def test_a_latch_ends_by_the_clock_where_no_trade_follows():
    made = trades(noise(400) + noise(60, seed=5, mean=25.0))
    _, drift, state = whole(made, T0 + 10 * DAY)
    assert state.alarm.channel in {"mean", "slippage"}
    end = max(one.until for one in drift.raised)
    assert end == max(one.at for one in drift.raised) + LATCH_NS
    assert drift.read(end - 1).alarm is not None
    over = drift.read(end)
    assert over.alarm is None
    assert over.confidence is None or over.confidence < 0.8
    assert drift.summary(end)["past"]


def test_a_reset_ends_the_epoch_and_earlier_trades_are_no_longer_read():
    made = trades(noise(400) + noise(100, seed=5, mean=25.0) + noise(300, seed=6, mean=25.0))
    desk, drift, state = whole(made[:500], T0 + 11 * DAY)
    assert state.alarm
    desk.s.memory.line = (T0 + 500 * 1800) * S
    state = desk.feed(drift, T0 + 11 * DAY)
    assert state.alarm is state.confidence is None
    assert drift.detectors.trades.epoch == 1
    desk.give(BACKTEST, [b for b, _ in made[500:]])
    desk.give(LIVE, [l for _, l in made[500:]])
    desk.beat(T0 + 20 * DAY)
    state = desk.feed(drift, T0 + 20 * DAY)
    assert len(drift.detectors.trades.price.ranks) == 300
    assert state.alarm is None
    assert state.confidence < 0.8
    assert {one.alarm.epoch for one in drift.raised if one.side == "trades"} == {0}


def test_the_horizon_is_the_matched_trades_of_thirty_days_until_an_epoch_began():
    d = np.array(noise(2000))
    d[1500:] -= 20
    made = trades(d.tolist(), every=500.0)
    _, drift, _ = whole(made, T0 + 25 * DAY)
    _, first, second = drift.trades.starts
    assert (first.epoch, second.epoch) == (0, 1)
    assert second.t > (T0 + 1500 * 500) * S
    assert drift.detectors.trades.horizon == sum(b["ts"] * S < second.t for b, _ in made) > 1300


@pytest.mark.parametrize("cuts", [(), (700, 1999, 2000, 2001, 2600, 5999, 6003)])
def test_a_busy_first_day_outgrows_the_budget_that_its_first_trades_were_given(cuts):
    """2,000 trades on a budget for 1,000, 4,000 on one for 2,000, then one for 6,000: however the day was cut, and with restarts."""
    made = trades(noise(6500), every=13.0, quotes=False)
    desk, drift = Desk(), DriftFeed("s")
    for start, end in itertools.pairwise((0, *cuts, len(made))):
        desk.give(BACKTEST, [b for b, _ in made[start:end]])
        desk.give(LIVE, [l for _, l in made[start:end]])
        desk.beat(made[end - 1][0]["ts"] + 1)
        drift = DriftFeed.restore(drift.state())
        desk.feed(drift, made[end - 1][0]["ts"] + 2, intervals=False)
    first = [(one.epoch, round((one.t / S - T0 - 60.0) / 13.0)) for one in drift.trades.starts[-3:]]
    assert first == [(0, 0), (1, 2000), (2, 6000)]
    assert (drift.detectors.trades.horizon, len(drift.detectors.trades.price.ranks)) == (6000, 500)
    assert known(drift) == known(whole(made, T0 + DAY)[1])


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


def test_a_correlation_that_breaks_is_found_in_the_intervals():
    rng = np.random.default_rng(2)
    d = np.concatenate([rng.standard_normal(900) * 2, rng.standard_normal(300) * 80])
    _, drift, _ = whole(trades(d.tolist(), every=950.0), T0 + 14 * DAY)
    one = next(x for x in drift.raised if x.alarm.channel == "correlation")
    assert one.side == "intervals"
    assert one.adverse
    assert abs(one.changed_at - (T0 + 900 * 950) * S) < 12 * SHELF_NS
    summary = drift.summary(one.at)
    assert summary["channels"]["correlation"]["alarm"]["changed_at"] == rfc3339(one.changed_at)


def test_the_summary_is_plain_and_holds_the_rules_and_the_budget():
    d = noise(300) + [x * 3 for x in noise(30, seed=3)]
    _, drift, _ = whole(trades(d), T0 + 8 * DAY)
    out = drift.summary((T0 + 8 * DAY) * S)
    json.dumps(out, allow_nan=False)
    assert set(out["rules"]) == {"tracking_error", "correlation", "hit_rate", "slippage"}
    assert sum(out["budget"]["shares"].values()) == pytest.approx(0.05)
    assert out["budget"]["per_trades"] == 1000
    assert {"confidence", "confidence_strongest", "channels", "alarm", "past"} <= set(out)
    days = [[x for k, x in enumerate(d) if (k * 1800 + 60) // DAY == day] for day in range(7)]
    errors = [np.sqrt(np.mean(np.square(x))) for x in days]
    rule = out["rules"]["tracking_error"]
    assert rule["value"] == pytest.approx(np.mean(errors[-3:]), abs=1e-6)
    assert rule["baseline"] == pytest.approx(np.mean(errors[:-3]), abs=1e-6)
    assert out["rules"]["slippage"]["value"] is not None


def raised(channel, direction="adverse", effect=None, note=None):
    alarm = Alarm(
        channel=channel, epoch=0, index=1, key=1, change_index=0, change_key=1, evidence=1.0, limit=1.0, effect_bps=effect, before=0.0, since=0.0,
        spread_before=None, spread_since=None, direction=direction, note=note,
    )  # fmt: skip
    return Raised(side="trades", at=0, changed_at=0, alarm=alarm)


def test_of_several_standing_alarms_the_gravest_is_told():
    volatile = raised("scale", effect=40.0, note="volatility or drift")
    assert gravest([]) is None
    assert gravest([volatile, raised("mean", effect=6.0), raised("hit")]).channel == "mean"
    assert gravest([raised("mean", "favourable", -9.0), raised("hit")]).channel == "hit"
    assert gravest([volatile]).note == "volatility or drift"


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
