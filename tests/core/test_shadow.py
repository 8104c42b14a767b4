"""Shadow fills: evidence for a recovery, and nothing else."""

import random

import pytest
from core.state_desk import SECOND, T0, Desk, decision, fill, heartbeat, order

from parityd.core import shadow
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.window import settling

OBEYS = Parameters(strategies={"s": StrategyTerms(obeys=True)})


def paper(at, **more):
    return fill(at, **{"shadow": True, "fill_id": f"p{at}", **more})


def stopped(*, at=0):
    desk = Desk(OBEYS)
    desk.publish(at, 1, "DISABLE_TRADING", 0.0)
    return desk


def trial(desk, since=0):
    until = settling(desk.s, desk.parameters, desk.now * SECOND, waiting=False)
    return shadow.trial(desk.monitor, desk.s, (T0 + since) * SECOND, until)


def evidence(desk, since=0):
    until = settling(desk.s, desk.parameters, desk.now * SECOND, waiting=False)
    return shadow.evidence(desk.monitor, desk.s, (T0 + since) * SECOND, until)


def sides(n):
    return [(60 * k, "buy" if k % 2 else "sell") for k in range(1, n + 1)]


def test_they_enter_no_ledger_row_mark_or_position():
    desk = stopped()
    desk.give("backtest", decision(60))
    desk.give("live", paper(61, trade_id="t60", quantity=1, price=101.0, decision_mark=100.5))
    assert [float(row["l_q"]) for row in desk.rows().values()] == [0.0]
    sym = desk.monitor.names.code("X/USD")
    assert desk.s.ledger.position(sym, 2, 2**62) == desk.s.ledger.position(sym, 3, 2**62) == 0
    assert not desk.s.memory.watch.exposed()
    assert desk.monitor.marks.price(sym, (T0 + 100) * SECOND) == (100.0, (T0 + 60) * SECOND)  # the decision alone
    assert desk.s.memory.shadow_fills == 1


def test_matched_against_the_full_backtest_they_measure_the_tracking_error():
    desk = stopped()
    desk.give(
        "backtest", *(decision(at, side, price=100.0) for at, side in sides(20)), {"kind": "heartbeat", "strategy": "s", "ts": T0 + 5000}
    )
    desk.give(
        "live",
        *(paper(at + 1, side=side, trade_id=f"t{at}", price=100.0 + (0.1 if side == "buy" else -0.1)) for at, side in sides(20)),
        heartbeat(5000),
    )
    found = trial(desk)
    assert found.fresh == 20
    assert found.assessment.sufficient
    assert found.assessment.held["tracking_error"] == "OK"
    e = evidence(desk)
    assert e.tracking_error_bps == pytest.approx(10.0, abs=1e-9)
    assert e.settled == e.executions == 20
    assert e.unmatched == 0
    assert all(row["alpha"] == 0 for row in desk.rows().values())  # of the allowed book nothing is left; the shadow fills see all of it


def test_without_shadow_fills_there_is_no_trial():
    desk = stopped()
    desk.give("backtest", decision(60))
    desk.give("live", heartbeat(5000))
    assert trial(desk) is None


def test_only_those_since_the_rung_was_reached_count():
    desk = stopped()
    desk.give("backtest", *(decision(at, side) for at, side in sides(20)))
    desk.give("live", *(paper(at + 1, side=side, trade_id=f"t{at}") for at, side in sides(20)), heartbeat(9000))
    assert trial(desk, since=600).fresh == 10
    assert trial(desk, since=9000) is None


def test_they_pair_by_time_where_no_ids_are_given():
    desk = stopped()
    desk.give(
        "backtest", *(decision(at, side, trade_id="") for at, side in sides(12)), {"kind": "heartbeat", "strategy": "s", "ts": T0 + 5000}
    )
    desk.give(
        "live",
        *(paper(at + 2, side=side, order_id=f"o{at}") for at, side in sides(12)),
        *(order(at, f"o{at}", side=side) for at, side in sides(12)),
        heartbeat(5000),
    )
    e = evidence(desk)
    assert (e.settled, e.unmatched) == (12, 0)
    assert e.ambiguous_share == 0.0


def test_an_execution_that_the_shadow_stream_left_out_is_missed_and_one_too_many_unexpected():
    desk = stopped()
    desk.give("backtest", *(decision(at, side) for at, side in sides(12)), {"kind": "heartbeat", "strategy": "s", "ts": T0 + 5000})
    sent = [paper(at + 1, side=side, trade_id=f"t{at}") for at, side in sides(12) if at != 360]
    desk.give("live", *sent, paper(400, trade_id="strange"), heartbeat(5000))
    e = evidence(desk)
    assert (e.settled, e.unmatched) == (13, 2)


def test_what_came_before_the_first_shadow_fill_is_not_missed():
    desk = stopped()
    desk.give("backtest", *(decision(at, side) for at, side in sides(12)), {"kind": "heartbeat", "strategy": "s", "ts": T0 + 5000})
    desk.give("live", *(paper(at + 1, side=side, trade_id=f"t{at}") for at, side in sides(12) if at > 300), heartbeat(5000))
    e = evidence(desk)
    assert (e.settled, e.unmatched) == (7, 0)


def test_an_exit_that_was_really_filled_is_not_missed_on_paper():
    desk = stopped(at=100)
    desk.give(
        "backtest",
        decision(60, quantity=2),
        decision(120, "sell", quantity=2),
        decision(180),
        {"kind": "heartbeat", "strategy": "s", "ts": T0 + 5000},
    )
    desk.give(
        "live",
        fill(61, trade_id="t60", quantity=2),
        fill(121, "sell", trade_id="t120", quantity=2),
        paper(119, trade_id="x"),
        paper(181, trade_id="t180"),
        heartbeat(5000),
    )
    e = evidence(desk, since=100)
    assert (e.settled, e.unmatched) == (2, 1)  # t180 matched, x unexpected


def test_a_busted_shadow_fill_is_gone_and_moves_no_ledger():
    desk = stopped()
    desk.give("backtest", decision(60), decision(120))
    desk.give("live", paper(61, trade_id="t60"), paper(121, trade_id="t120"), heartbeat(5000))
    assert trial(desk).fresh == 2
    desk.give("live", {"kind": "bust", "strategy": "s", "symbol": "X/USD", "fill_id": "p61", "ts": T0 + 200})
    assert trial(desk).fresh == 1
    assert desk.s.ledger.position(desk.monitor.names.code("X/USD"), 2, 2**62) == 0


def test_a_bust_of_a_real_fill_makes_no_shadow_fill_real():
    desk = stopped()
    desk.give("backtest", decision(60))
    desk.give("live", fill(61, trade_id="t60"), fill(62, trade_id="t60"), paper(63, trade_id="t60"))
    desk.give("live", {"kind": "bust", "strategy": "s", "symbol": "X/USD", "fill_id": "f61buy", "ts": T0 + 200})
    assert [float(row["l_q"]) for row in desk.rows().values()] == [1.0]


@pytest.mark.parametrize("seed", range(10))
def test_the_evidence_is_a_function_of_the_records(seed):
    rng = random.Random(seed)
    files = [("backtest", decision(at, side, trade_id=rng.choice(["", f"t{at}"]))) for at, side in sides(30)]
    files += [
        ("live", paper(at + rng.choice([1, 9]), side=side, trade_id=rng.choice(["", f"t{at}"]), price=rng.choice([99.9, 100.1])))
        for at, side in sides(30)
    ]
    files += [("live", heartbeat(5000)), ("backtest", {"kind": "heartbeat", "strategy": "s", "ts": T0 + 5000})]
    seen = []
    for k in range(3):
        desk = stopped()
        random.Random(k).shuffle(files)
        at = 0
        while at < len(files):
            n = rng.choice([1, 3, 10])
            desk.turn([(book, [record]) for book, record in files[at : at + n]], now=T0 + 5000)
            at += n
            desk.restart()
        seen.append(evidence(desk))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0].settled >= 30


def test_the_newest_are_kept():
    desk = stopped()
    for k in range(5):
        desk.give("live", *(paper(k * 1000 + i, fill_id=f"{k}-{i}") for i in range(900)))
    kept = shadow.kept(desk.s)
    assert len(kept) == shadow.KEPT
    assert int(kept.ts[-1]) == (T0 + 4899) * SECOND
    assert int(kept.ts[0]) == (T0 + 2700) * SECOND
    assert desk.s.memory.shadow_fills == 4500
