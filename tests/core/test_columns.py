"""Columns: a block says of each record what the record alone would get, and refuses what is not right with its reason."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.accepting import block, decision_columns, fill_columns
from parityd.core.columns import Bounds
from parityd.core.records import (
    NAN,
    NO_TS,
    Balance,
    Decision,
    Fill,
    Heartbeat,
    Line,
    Mark,
    Order,
    Position,
    Run,
    Split,
    is_absent,
)

TS = "2026-11-20T10:15:00.000000Z"
BOUNDS = Bounds()


def a_fill(**k):
    return Fill(**{"strategy": "s", "symbol": "BTC/USD", "fill_id": "f1", "side": "buy", "quantity": 1.0, "price": 2.0, "ts": TS, **k})


def a_decision(**k):
    return Decision(**{"strategy": "s", "symbol": "BTC/USD", "action": "buy", "quantity": 1.0, "price": 2.0, "ts": TS, **k})


NUMBERS = st.sampled_from([NAN, None, 1.5, 0.0, -1.0, math.inf, math.nan, 2, 1e308])
NAMES = st.sampled_from(["", None, "a", "longer than eight", 7, "é"])
TIMES = st.sampled_from([TS, "2026-11-20T10:15:00Z", 5, "x", "1980-01-01T00:00:00.000000Z", "2300-01-01T00:00:00.000000Z"])
FILLS = st.builds(
    a_fill, strategy=st.sampled_from(["s", "t", "no/name", ""]), symbol=st.sampled_from(["BTC/USD", "", "x" * 300]),
    fill_id=st.sampled_from(["f1", "f2", "", 3]), side=st.sampled_from(["buy", "sell"]), quantity=NUMBERS.filter(lambda v: v is not None),
    price=st.sampled_from([2.0, 3.0]), fee=NUMBERS, ts=TIMES, decision_ts=st.none() | TIMES, trade_id=NAMES, order_id=NAMES, account=NAMES,
    venue=NAMES, multiplier=NUMBERS, latency_ms=NUMBERS, arrival_bid=NUMBERS, liquidity=st.sampled_from(["", None, "maker", "taker"]),
    shadow=st.sampled_from([None, True, False]), reduce_only=st.sampled_from([None, True, False]), currency=NAMES.filter(lambda v: v != 7),
)  # fmt: skip
DECISIONS = st.builds(
    a_decision, strategy=st.sampled_from(["s", "t", "no/name"]), action=st.sampled_from(["buy", "sell", "close", "hold"]),
    side=st.sampled_from(["", None, "buy", "sell"]), quantity=NUMBERS, price=NUMBERS, fee=NUMBERS, mark=NUMBERS, equity=NUMBERS, ts=TIMES,
    filled=st.sampled_from([None, True, False]), trade_id=NAMES, guards=st.none() | st.lists(st.sampled_from(["g", "h"])),
    run_id=st.sampled_from(["", "r1", 5]), reason=st.sampled_from(["", None, "why"]),
)  # fmt: skip


def same(whole, parts):
    """Field by field; NaN is NaN."""
    for name in whole.names():
        a = getattr(whole, name)
        b = [x for p in parts for x in (getattr(p, name).tolist() if isinstance(getattr(p, name), np.ndarray) else getattr(p, name))]
        a = a.tolist() if isinstance(a, np.ndarray) else a
        assert len(a) == len(b)
        assert [repr(x) for x in a] == [repr(x) for x in b], name


@pytest.mark.parametrize(("build", "rows"), [(fill_columns, FILLS), (decision_columns, DECISIONS)])
def test_a_block_is_its_records_one_by_one(build, rows):
    @settings(deadline=None)
    @given(st.lists(rows, min_size=1, max_size=8), st.sampled_from(["", "run-1"]))
    def check(records, run):
        lines = np.arange(1, len(records) + 1)
        whole, refused = build("live", records, lines, BOUNDS, run)
        single = [build("live", [r], lines[i : i + 1], BOUNDS, run) for i, r in enumerate(records)]
        assert refused == [x for _, some in single for x in some]
        parts = [c for c, _ in single if c is not None]
        assert (whole is None) == (not parts)
        if whole is not None:
            same(whole, parts)

    check()


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"quantity": 0.0}, "bad_value", "quantity"), ({"quantity": -1.0}, "bad_value", "quantity"), ({"quantity": NAN}, "bad_value", "quantity"),
        ({"price": math.inf}, "bad_value", "price"), ({"price": 0.0}, "bad_value", "price"), ({"fee": math.nan}, "bad_value", "fee"),
        ({"fee": -math.inf}, "bad_value", "fee"), ({"multiplier": 0.0}, "bad_value", "multiplier"), ({"arrival_mark": math.nan}, "bad_value", "arrival_mark"),
        ({"latency_ms": math.nan}, "bad_value", "latency_ms"), ({"strategy": "no/name"}, "bad_value", "strategy"), ({"symbol": ""}, "bad_value", "symbol"),
        ({"fill_id": ""}, "bad_value", "fill_id"), ({"ts": "2026-11-20T10:15:00"}, "bad_value", "ts"), ({"decision_ts": "soon"}, "bad_value", "decision_ts"),
        ({"decision_ts": "2299-12-31T23:59:59Z"}, "future_timestamp", "decision_ts"), ({"decision_ts": 0}, "too_old", "decision_ts"),
        ({"ts": "1989-12-31T23:59:59.999999Z"}, "too_old", "1990"), ({"ts": "2299-12-31T23:59:59.999999Z"}, "future_timestamp", "ahead"),
    ],
)  # fmt: skip
def test_a_fill_that_is_not_right_is_refused_by_name(change, code, word):
    bounds = Bounds(latest=2**61)
    made, refused = fill_columns("live", [a_fill(), a_fill(**change)], np.array([1, 2]), bounds)
    assert made is not None
    assert made.line.tolist() == [1]
    assert [(r.line, r.code) for r in refused] == [(2, code)]
    assert word in refused[0].reason


@pytest.mark.parametrize("optional", ["fee", "mark", "equity", "price", "multiplier", "quantity"])
def test_a_written_nan_is_no_absent_number(optional):
    assert decision_columns("live", [a_decision(**{optional: NAN})], np.array([1]), BOUNDS)[1] == []
    assert decision_columns("live", [a_decision(**{optional: None})], np.array([1]), BOUNDS)[1] == []
    refused = decision_columns("live", [a_decision(**{optional: math.nan})], np.array([1]), BOUNDS)[1]
    assert [r.code for r in refused] == ["bad_value"]


def test_absent_and_null_leave_the_same_content():
    made, _ = fill_columns(
        "live", [a_fill(), a_fill(fee=None, trade_id=None, shadow=None, currency=None, liquidity=None)], np.array([1, 2]), BOUNDS
    )
    assert made is not None
    assert made.key[0] == made.key[1]
    assert made.content[0] == made.content[1]


def test_a_hold_of_nothing_says_that_nothing_is_traded():
    made, refused = decision_columns("backtest", [a_decision(action="hold", quantity=0.0, price=NAN)], np.array([1]), BOUNDS)
    assert refused == []
    assert made is not None
    assert np.isnan(made.quantity[0])


def test_a_close_must_say_its_side():
    made, refused = decision_columns(
        "backtest", [a_decision(action="close"), a_decision(action="close", side="sell")], np.array([1, 2]), BOUNDS
    )
    assert [r.code for r in refused] == ["missing_field"]
    assert made is not None
    assert made.side.tolist() == [-1]


@pytest.mark.parametrize("field", ["fill_id", "strategy", "symbol", "account", "venue"])
def test_each_part_of_a_fills_identity_makes_another_fill(field):
    made, _ = fill_columns("live", [a_fill(), a_fill(**{field: "other"})], np.array([1, 2]), BOUNDS)
    assert made is not None
    assert made.key[0] != made.key[1]


@pytest.mark.parametrize(
    "change", [{"quantity": 2.0}, {"price": 3.0}, {"fee": 0.0}, {"ts": 5e8 + 2e8}, {"side": "sell"}, {"trade_id": "t"}, {"liquidity": "maker"},
               {"shadow": True}, {"reduce_only": False}, {"decision_ts": TS}, {"agent": "x"}, {"arrival_ask": 1.0}],
)  # fmt: skip
def test_everything_else_is_content(change):
    made, refused = fill_columns("live", [a_fill(), a_fill(**change)], np.array([1, 2]), BOUNDS)
    assert refused == []
    assert made is not None
    assert made.key[0] == made.key[1]
    assert made.content[0] != made.content[1]


RARE = [
    (Mark(symbol="X", price=1.0, ts=TS), True),
    (Mark(symbol="X", price=math.nan, ts=TS), False),
    (Mark(symbol="X", price=1.0, bid=math.nan, ts=TS), False),
    (Mark(symbol="X", price=1.0, bid=None, ts=TS), True),
    (Mark(symbol="", price=1.0, ts=TS), False),
    (Split(symbol="X", ratio=0.0, ts=TS), False),
    (Position(strategy="s", symbol="X", quantity=-1.0, ts=TS), True),
    (Balance(strategy="s", equity=math.inf, ts=TS), False),
    (Order(strategy="s", symbol="X", order_id="", status="filled", ts=TS), False),
    (Order(strategy="s", symbol="X", order_id=5, status="filled", ts=TS), True),
    (Heartbeat(strategy="s", ts="2026"), True),
    (Heartbeat(strategy="/", ts=TS), False),
    (Heartbeat(strategy="s", ts=TS, next_by="soon"), False),
    (Heartbeat(strategy="s", ts=TS, override_sequence=-1), False),
    (Heartbeat(strategy="s", ts=TS, override_sequence=2**53), False),
    (Heartbeat(strategy="s", ts=TS, override_sequence=10**30), False),
    (Heartbeat(strategy="s", ts=TS, override_sequence=2**53 - 1), True),
    (Heartbeat(strategy="s", ts=TS, next_by=""), True),
    (Heartbeat(strategy="s", ts=TS, next_by="2200-01-01T00:00:00Z"), True),
    (Run(strategy="s", run_id="r", created=TS, from_=1e9, to=1e9), False),
    (Run(strategy="s", run_id="r", created=TS, from_=1e9, to=2e9), True),
]


@pytest.mark.parametrize(("record", "good"), RARE)
def test_rare_records_are_judged_alike(record, good):
    made = block("live", [(9, record)], Bounds(oldest=0))
    if good:
        assert [type(x) for x in made.rare] == [Line]
        assert made.rare[0].line == 9
    else:
        assert [(r.line, r.code) for r in made.refusals] == [(9, "bad_value")]
        assert made.rare == []


def test_a_block_sorts_what_is_mixed():
    made = block("live", [(1, a_decision()), (2, a_fill()), (3, Mark(symbol="X", price=1.0, ts=TS)), (4, a_fill(fill_id="f2"))], BOUNDS)
    assert made.decisions is not None
    assert made.fills is not None
    assert (made.decisions.line.tolist(), made.fills.line.tolist(), [x.line for x in made.rare]) == ([1], [2, 4], [3])
    assert made.fills.decision_ts.tolist() == [NO_TS, NO_TS]


def test_absent_is_known_by_its_bits():
    assert is_absent(NAN)
    assert is_absent(None)
    assert is_absent(float(np.array([NAN])[0]))
    assert not is_absent(math.nan)
    assert not is_absent(0.0)


def test_names_are_made_once_and_what_is_taken_has_its_own():
    made, _ = fill_columns("live", [a_fill(fill_id="f1"), a_fill(fill_id="f2", symbol="ETH/USD")], np.array([1, 2]), BOUNDS)
    assert made is not None
    assert made.symbol is made.symbol
    assert made.strategy is made.strategy
    assert made.take(np.array([1])).symbol == ["ETH/USD"]
    assert made.symbol == ["BTC/USD", "ETH/USD"]
