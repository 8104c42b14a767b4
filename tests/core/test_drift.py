"""The detectors as a whole: cut, restored and replayed alike; calm in control; loud, right and latched when something changed."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.drift import EPOCH_POINTS, MIN_HORIZON, PAST_ALARMS, SHARES, Detectors


def keys_of(n, start=0):
    return np.arange(start, start + n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def trades(n=1200, *, seed=1, at=None, shift=0.0, scale=1.0, sd=10.0, mean=3.0):
    d = np.random.default_rng(seed).standard_normal(n) * sd
    if at is not None:
        d[at:] = d[at:] * scale + shift
    return d + mean


def books(n=1200, *, seed=1, at=None, rho=0.95, after=0.7):
    rng = np.random.default_rng(seed)
    back, noise = rng.standard_normal((2, n)) * 0.001
    strength = np.full(n, rho)
    if at is not None:
        strength[at:] = after
    return back, strength * back + np.sqrt(1 - strength**2) * noise


def packed(detectors):
    return msgspec.msgpack.encode(detectors.state())


def restored(detectors):
    return Detectors.restore(msgspec.msgpack.decode(packed(detectors)))


def cut_trades(columns, sizes, *, revive=False, **fresh):
    detectors, raised, done = Detectors.fresh("momentum", **fresh), [], 0
    sizes = iter(sizes)
    n = len(columns["d"])
    while done < n:
        size = next(sizes, n)
        raised += detectors.step_trades(**{name: column[done : done + size] for name, column in columns.items()})
        done += size
        if revive:
            detectors = restored(detectors)
    return detectors, raised


def eventful_columns(n=2600, seed=3):
    """Trades with ties, gaps in slippage and normaliser, two improvements (new epochs by themselves) and a worsening."""
    rng = np.random.default_rng(seed)
    d = (rng.standard_t(3, n) * 8).round(1)
    d[500:] -= 14.0
    d[1400:] -= 18.0
    d[2300:] += 30.0
    slippage = np.where(rng.random(n) < 0.9, d / 2 + rng.standard_normal(n), math.nan)
    normaliser = np.where(rng.random(n) < 0.95, rng.uniform(0.8, 1.2, n), math.nan)
    return {"keys": keys_of(n), "d": d, "slippage": slippage, "normaliser": normaliser, "horizon": np.linspace(900, 2200, n).round()}


FLAGS = {"with_slippage": True, "normaliser_present": True}


def test_the_eventful_stream_is_eventful():
    detectors, raised = cut_trades(eventful_columns(), [], **FLAGS)
    assert [alarm.direction for alarm in raised].count("favourable") >= 2
    assert detectors.trades.epoch >= 2
    assert any(alarm.direction == "adverse" for alarm in detectors.alarms)
    assert detectors.trades.horizon > MIN_HORIZON


@pytest.mark.parametrize("revive", [False, True])
def test_one_by_one_gives_the_same_bits_as_the_whole(revive):
    columns = eventful_columns()
    whole, alarms = cut_trades(columns, [], **FLAGS)
    cut, same = cut_trades(columns, [1] * 2600, revive=revive, **FLAGS)
    assert same == alarms
    assert packed(cut) == packed(whole)
    assert cut.summary() == whole.summary()


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 700), max_size=30), revive=st.booleans(), flags=st.sampled_from([{}, FLAGS]), seed=st.integers(0, 999))
def test_any_cut_of_the_trades_gives_the_same_bits(sizes, revive, flags, seed):
    columns = eventful_columns(seed=seed)
    whole, alarms = cut_trades(columns, [], **flags)
    cut, same = cut_trades(columns, sizes, revive=revive, **flags)
    assert same == alarms
    assert packed(cut) == packed(whole)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), max_size=20),
    revive=st.booleans(),
    seed=st.integers(0, 999),
    at=st.sampled_from([None, 40, 150, 500]),
)
def test_any_cut_of_the_intervals_gives_the_same_bits(sizes, revive, seed, at):
    back, live = books(900, seed=seed, at=at, after=0.3)
    whole, cut = Detectors.fresh("s"), Detectors.fresh("s")
    alarms, same, done = whole.step_intervals(keys_of(900), back, live), [], 0
    for size in [*sizes, 900]:
        same += cut.step_intervals(keys_of(900)[done : done + size], back[done : done + size], live[done : done + size])
        done += size
        if revive:
            cut = restored(cut)
    assert same == alarms
    assert packed(cut) == packed(whole)


def test_intervals_one_by_one_give_the_same_bits():
    back, live = books(600, at=400, after=0.3)
    whole, cut = Detectors.fresh("s"), Detectors.fresh("s")
    whole.step_intervals(keys_of(600), back, live)
    for i in range(600):
        cut.step_intervals(keys_of(600)[i : i + 1], back[i : i + 1], live[i : i + 1])
    assert packed(cut) == packed(whole)


def test_a_full_epoch_ends_on_schedule_at_the_same_trade_however_cut():
    n = EPOCH_POINTS + 300
    columns = {"keys": keys_of(n), "d": trades(n, seed=5), "horizon": np.full(n, 5000.0)}
    whole, alarms = cut_trades(columns, [], horizon=100_000)
    cut, _ = cut_trades(columns, [EPOCH_POINTS - 3, *[1] * 9, 7], horizon=100_000)
    assert alarms == []
    assert (whole.trades.epoch, whole.summary()["channels"]["mean"]["n"], whole.trades.horizon) == (1, 300, 5000)
    assert packed(cut) == packed(whole)


def test_an_adverse_alarm_outlives_the_schedule_and_a_full_epoch_takes_no_more():
    n = EPOCH_POINTS + 50
    columns = {"keys": keys_of(n), "d": trades(n, seed=5, at=600, shift=20.0)}
    whole, alarms = cut_trades(columns, [])
    cut, _ = cut_trades(columns, [EPOCH_POINTS - 3, *[1] * 9])
    assert whole.alarms[0] == alarms[0]
    assert (whole.trades.epoch, len(whole.trades.price.ranks)) == (0, EPOCH_POINTS)
    assert packed(cut) == packed(whole)


def test_a_worse_mean_is_found_with_time_effect_and_direction_and_latched():
    detectors = Detectors.fresh("s")
    (alarm,) = [a for a in detectors.step_trades(keys_of(1200), trades(at=700, shift=10.0)) if a.channel == "mean"]
    assert 700 < alarm.index <= 745
    assert 685 <= alarm.change_index <= 715
    assert alarm.key == int(keys_of(1200)[alarm.index])
    assert alarm.change_key == int(keys_of(1200)[alarm.change_index])
    assert alarm.effect_bps == pytest.approx(10.0, abs=4.0)
    assert (alarm.direction, alarm.note) == ("adverse", None)
    d = trades(at=700, shift=10.0)
    since = d[alarm.change_index : alarm.index + 1]
    assert (alarm.since, alarm.spread_since) == (np.median(since), np.median(np.abs(since - np.median(since))))
    assert alarm.effect_bps == np.median(since) - np.median(d[: alarm.change_index])
    before = detectors.summary()["channels"]["mean"]
    detectors.step_trades(keys_of(500, 5000), trades(500, seed=9))
    after = detectors.summary()["channels"]["mean"]
    assert {**after, "n": 0} == {**before, "n": 0}


def test_a_better_mean_starts_a_new_epoch_right_after_its_trade():
    detectors = Detectors.fresh("s")
    (alarm,) = detectors.step_trades(keys_of(1200), trades(at=700, shift=-10.0), horizon=4321)
    assert alarm.direction == "favourable"
    assert detectors.alarms == []
    assert detectors.past == [alarm]
    shown = detectors.summary()
    assert (shown["epoch"], shown["horizon"]) == ({"trades": 1, "intervals": 0}, {"trades": 4321, "intervals": 1000})
    assert shown["channels"]["mean"]["n"] == 1200 - alarm.index - 1
    assert shown["past"][0]["effect_bps"] == alarm.effect_bps < 0


def test_a_wider_spread_is_volatility_or_drift_unless_a_normaliser_says_more():
    d = trades(seed=2, at=700, scale=2.0, mean=0.0)
    (alarm,) = [a for a in Detectors.fresh("s").step_trades(keys_of(1200), d) if a.channel == "scale"]
    assert (alarm.direction, alarm.note) == ("adverse", "volatility or drift")
    assert alarm.effect_bps > 2.0
    normalised = Detectors.fresh("s", normaliser_present=True)
    (alarm,) = [a for a in normalised.step_trades(keys_of(1200), d, normaliser=np.ones(1200)) if a.channel == "scale"]
    assert alarm.note is None
    explained = Detectors.fresh("s", normaliser_present=True)
    volatility = np.where(np.arange(1200) < 700, 1.0, 2.0)
    assert explained.step_trades(keys_of(1200), d, normaliser=volatility) == []


def test_slippage_is_watched_by_itself_and_halves_the_share_of_the_mean():
    detectors = Detectors.fresh("s", with_slippage=True)
    slippage = trades(seed=8, at=700, shift=8.0, sd=4.0)
    alarms = detectors.step_trades(keys_of(1200), trades(seed=7), slippage)
    assert {alarm.channel for alarm in alarms} == {"slippage"}
    limits = {name: shown["limit"] for name, shown in detectors.summary()["channels"].items()}
    assert limits["mean"] == limits["slippage"] == pytest.approx(math.log(1000 / 0.005))
    assert sum(one.evidence.share for one in detectors.channels.values()) == pytest.approx(0.05)


def test_the_limits_are_those_of_the_budget():
    limits = {name: round(shown["limit"], 2) for name, shown in Detectors.fresh("s").summary()["channels"].items()}
    assert limits == {"mean": 11.51, "scale": 11.29, "correlation": 12.90, "hit": 10.60}
    assert sum(SHARES.values()) == pytest.approx(0.05)
    assert Detectors.fresh("s", horizon=3).summary()["horizon"]["trades"] == MIN_HORIZON
    assert Detectors.fresh("s", horizon=5000).summary()["channels"]["mean"]["limit"] == pytest.approx(math.log(5000 / 0.01))


def test_a_broken_correlation_is_found():
    back, live = books(at=700)
    detectors = Detectors.fresh("s")
    (alarm,) = [a for a in detectors.step_intervals(keys_of(1200), back, live) if a.channel == "correlation"]
    assert 700 < alarm.index < 740
    assert 690 <= alarm.change_index <= 712
    assert alarm.key == int(keys_of(1200)[alarm.index])
    assert (alarm.direction, alarm.effect_bps > 0) == ("adverse", True)
    assert detectors.summary()["channels"]["correlation"]["alarm"] == msgspec.to_builtins(alarm)


def test_calibration_arming_and_counts_are_shown():
    detectors = Detectors.fresh("s", with_slippage=True)
    detectors.step_trades(keys_of(49), trades(49), np.r_[np.full(9, math.nan), np.zeros(40)])
    shown = detectors.summary()["channels"]
    assert (shown["mean"]["n"], shown["mean"]["armed"], shown["mean"]["calibration_left"], shown["slippage"]["n"]) == (49, False, 151, 40)
    assert shown["mean"] | {"evidence": None, "confidence": 0.0, "alarm": None} == shown["mean"]
    detectors.step_trades(keys_of(2, 49), trades(2))
    shown = detectors.summary()["channels"]["mean"]
    assert (shown["armed"], shown["evidence"] is not None) == (True, True)
    back, live = books(109)
    detectors.step_intervals(keys_of(109), back, live)
    assert detectors.summary()["channels"]["correlation"]["armed"] is False
    detectors.step_intervals(keys_of(1, 109), back[:1], live[:1])
    assert detectors.summary()["channels"]["correlation"]["armed"] is True


def test_values_that_are_not_numbers_are_left_out():
    d = trades()
    holes = np.insert(d, [10, 300, 300, 800], [math.nan, math.inf, -math.inf, math.nan])
    keys = np.insert(keys_of(1200), [10, 300, 300, 800], [1, 2, 3, 4])
    whole, holed = Detectors.fresh("s"), Detectors.fresh("s")
    whole.step_trades(keys_of(1200), d)
    holed.step_trades(keys, holes)
    assert packed(whole) == packed(holed)
    back, live = books(300)
    detectors = Detectors.fresh("s")
    detectors.step_intervals(keys_of(302), np.r_[math.nan, back, 0.1], np.r_[0.1, live, math.inf])
    assert detectors.summary()["channels"]["hit"]["n"] == 300


@pytest.mark.parametrize("d", [np.zeros(1500), np.full(1500, 12.5), np.tile([1.0, -1.0], 750), np.full(1500, 1e300)])
def test_degenerate_streams_raise_nothing_and_break_nothing(d):
    detectors = Detectors.fresh("s", with_slippage=True)
    assert detectors.step_trades(keys_of(1500), d, d) == []
    assert detectors.step_intervals(keys_of(1500), d, d) == []
    assert packed(restored(detectors)) == packed(detectors)


def test_a_constant_that_moves_is_found():
    detectors = Detectors.fresh("s")
    alarms = detectors.step_trades(keys_of(900), np.r_[np.zeros(500), np.full(400, 5.0)])
    by_name = {alarm.channel: alarm for alarm in alarms}
    assert by_name["mean"].effect_bps == 5.0
    assert by_name["mean"].change_index == pytest.approx(500, abs=5)
    assert by_name["mean"].index < 520


def test_next_epoch_begins_anew_and_remembers_what_was():
    detectors = Detectors.fresh("s", epoch=4)
    detectors.step_trades(keys_of(1200), trades(at=700, shift=10.0))
    assert detectors.alarms
    detectors.next_epoch(horizon=2500, with_slippage=True)
    shown = detectors.summary()
    assert shown["epoch"] == {"trades": 5, "intervals": 5}
    assert shown["horizon"] == {"trades": 2500, "intervals": 2500}
    assert (shown["alarm"], shown["confidence"], shown["confidence_strongest"]) == (False, 0.0, 0.0)
    assert "slippage" in shown["channels"]
    assert [alarm["channel"] for alarm in shown["past"]] == [alarm.channel for alarm in detectors.past] != []
    detectors.next_epoch("trades")
    assert (detectors.trades.epoch, detectors.intervals.epoch) == (6, 5)
    for _ in range(PAST_ALARMS + 3):
        detectors.step_trades(keys_of(500), np.r_[trades(250), trades(250) + 60.0])
        detectors.next_epoch()
    assert len(detectors.past) == PAST_ALARMS


def test_the_epoch_changes_the_tosses_but_the_same_epoch_repeats_them():
    ties = np.random.default_rng(1).integers(0, 3, 400).astype(float)
    first, again, other = Detectors.fresh("s"), Detectors.fresh("s"), Detectors.fresh("s", epoch=1)
    for detectors in (first, again, other):
        detectors.step_trades(keys_of(400), ties)
    assert packed(first) == packed(again)
    assert first.trades.price.ranks.p[60:] != other.trades.price.ranks.p[60:]


def test_confidence_is_loud_on_drift_and_the_strongest_bounds_the_channels():
    detectors = Detectors.fresh("s")
    detectors.step_trades(keys_of(1200), trades(at=1190, shift=80.0))
    shown = detectors.summary()
    assert shown["channels"]["mean"]["confidence"] > 0.9
    assert shown["confidence_strongest"] > 0.8
    assert 0.0 <= shown["confidence"] <= shown["confidence_strongest"] <= max(c["confidence"] for c in shown["channels"].values())


@pytest.mark.parametrize("law", ["normal", "t3", "lognormal"])
def test_stable_strategies_stay_within_the_budget(law):
    rng = np.random.default_rng(["normal", "t3", "lognormal"].index(law))
    draw = {"normal": rng.standard_normal, "t3": lambda n: rng.standard_t(3, n), "lognormal": lambda n: rng.lognormal(0, 0.75, n)}[law]
    raised = 0
    for stream in range(200):
        detectors = Detectors.fresh(f"s{stream}")
        x, noise = draw(1200), draw(1200)
        raised += bool(
            detectors.step_trades(keys_of(1200), draw(1200)) + detectors.step_intervals(keys_of(1200), x, 0.95 * x + 0.3 * noise)
        )
    assert raised <= 18, "at 5 % more than 18 of 200 happen once in a hundred runs"


def test_columns_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="different length"):
        Detectors.fresh("s").step_trades(keys_of(3), [1.0, 2.0])


def test_a_state_of_another_version_is_an_error():
    with pytest.raises(ValueError, match="version"):
        Detectors.restore(Detectors.fresh("s").state() | {"version": 0})


def test_a_book_that_grows_does_not_drift():
    """Ranked as money, the deviations of a position that grows threefold in a year were taken for a drift of the correlation."""
    rng = np.random.default_rng(3)
    n = 12_000
    size = np.exp(np.linspace(0.0, np.log(3.0), n))
    back, noise = rng.standard_normal(n) * 1e-3, rng.standard_normal(n) * 1e-4
    live = back + noise
    by_size = Detectors.fresh("s")
    assert by_size.step_intervals(keys_of(n), back * size, live * size, size=size) == []
    assert [a.channel for a in Detectors.fresh("s").step_intervals(keys_of(n), back * size, live * size)] == ["correlation"]


def test_what_breaks_is_seen_at_any_size_and_a_change_of_size_is_no_break():
    rng = np.random.default_rng(4)
    n = 1200
    size = np.repeat(np.exp(rng.normal(0.0, 0.7, n // 20)), 20)
    back, noise = rng.standard_normal(n) * 1e-3, rng.standard_normal(n) * 3e-4
    noise[900:] *= 3.0
    books = back * size, (back + noise) * size
    for known, least in ((size, 900), (None, 200)):  # as money alone it is taken for a break before there is one
        alarms = Detectors.fresh("s").step_intervals(keys_of(n), *books, size=known)
        (alarm,) = [a for a in alarms if a.channel == "correlation"]
        assert alarm.direction == "adverse"
        assert least <= alarm.index < least + 30
