"""Decision logs: the run, its watermark, and each decision as it was executed or not."""

import gzip
import json
import math
from math import isnan

import pytest
from formats.samples import blocks, column, counts, log, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.columns import CLOSE, HOLD
from parityd.core.records import Heartbeat, Run
from parityd.formats import Source, Unreadable

START = 1795168800 * 10**9
HOUR = 3600 * 10**9


def of(document, book="backtest", name="log.json", **k):
    return blocks(json.dumps(document).encode(), name, book, **k)


def rare(found, kind):
    return [x for b in found for x in b.rare if isinstance(x.record, kind)]


def test_it_announces_its_run_with_both_ends():
    (run,) = rare(of(log()), Run)
    assert (run.record.run_id, run.record.strategy, run.record.symbol) == ("r-1", "mom", "BTC/USD")
    assert run.ts == START + HOUR
    assert run.record.from_ == "2026-11-20T10:00:00.000000Z"
    assert run.record.to == "2026-11-20T11:00:00.000000001Z"


def test_its_end_is_a_watermark():
    (pulse,) = rare(of(log()), Heartbeat)
    assert (pulse.record.strategy, pulse.ts) == ("mom", START + HOUR)


def test_decisions_carry_what_was_executed():
    found = of(log())
    assert refused(found) == []
    assert column(found, "decisions", "line") == [1, 2, 3, 4]
    assert column(found, "decisions", "run_id") == ["r-1"] * 4
    assert column(found, "decisions", "action") == [1, HOLD, 1, CLOSE]
    assert column(found, "decisions", "side") == [1, 0, 1, -1]
    assert column(found, "decisions", "filled") == [1, 0, 0, 1]
    assert [None if isnan(q) else q for q in column(found, "decisions", "quantity")] == [2.0, None, None, 2.0]
    assert [None if isnan(p) else p for p in column(found, "decisions", "price")] == [101.0, None, None, 101.0]
    assert column(found, "decisions", "mark") == [100.5] * 4
    assert column(found, "decisions", "guards") == [None, None, ["max_position"], None]
    assert column(found, "decisions", "ts")[0] == START + 60 * 10**9


def test_a_naive_time_is_of_the_sources_zone():
    berlin = Source(name="b", timezone="Europe/Berlin")
    assert column(of(log(end_time="2026-11-20T11:00:00"), source=berlin), "decisions", "ts")[0] == START + 60 * 10**9 - HOUR


@pytest.mark.parametrize(
    ("state", "side"),
    [
        ("long", -1),
        ("SHORT", 1),
        ("2.5", -1),
        (-1, 1),
        ({"side": "long"}, -1),
        ({"quantity": "-3"}, 1),
        ({"size": 3}, -1),
        ({"direction": "short", "size": "1"}, 1),
    ],
)
def test_a_close_trades_against_what_is_held(state, side):
    document = log()
    document["decisions"][3]["context"]["position_state"] = state
    assert column(of(document), "decisions", "side")[3] == side


@pytest.mark.parametrize("state", [None, "flat", "0", {"side": "flat"}, {}, {"side": "long", "quantity": "0"}, [1]])
def test_a_close_without_a_named_position_follows_from_the_logs_own_fills_or_lacks_its_side(state):
    document = log()
    document["decisions"][3]["context"]["position_state"] = state
    assert column(of(document), "decisions", "side")[3] == -1  # by the log's own purchase
    document["decisions"][0]["execution"]["filled"] = False
    assert refused(of(document)) == [(4, "missing_field")]


def test_in_the_live_book_it_is_decisions_alone():
    found = of(log(), book="live")
    assert counts(found) == (4, 0, 0)
    assert column(found, "decisions", "run_id") == ["r-1"] * 4


@pytest.mark.parametrize("missing", ["run_id", "strategy_name", "start_time", "end_time"])
def test_without_its_head_it_is_unreadable_and_says_what_is_missing(missing):
    document = log()
    del document[missing]
    with pytest.raises(Unreadable) as e:
        of(document)
    assert e.value.code == "unreadable_file"
    assert missing in e.value.reason


@pytest.mark.parametrize(
    "change", [{"end_time": "2026-11-20T09:00:00Z"}, {"strategy_name": "a/b"}, {"start_time": "soon"}, {"decisions": {}}, {"run_id": ""}]
)
def test_a_head_that_is_not_right_is_unreadable(change):
    with pytest.raises(Unreadable) as e:
        of(log(**change))
    assert e.value.code == "unreadable_file"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [("decision.action", "BUY!", "bad_value"), ("decision.action", None, "missing_field"), ("context.timestamp", None, "missing_field"), ("context.timestamp", "x", "bad_value"),
     ("execution.fill_price", "0", "bad_value"), ("execution.fill_price", None, "missing_field"), ("execution.fill_price", "nan", "bad_value"), ("execution.commission", "nan", "bad_value"),
     ("execution.filled", "maybe", "bad_value"), ("decision", None, "missing_field"), ("context", 5, "bad_value"), ("execution.commission", "much", "bad_value")],
)  # fmt: skip
def test_a_bad_decision_costs_only_itself(path, value, code):
    document = log()
    row, _, leaf = path.rpartition(".")
    (document["decisions"][0][row] if row else document["decisions"][0])[leaf] = value
    found = of(document)
    assert refused(found) == [(1, code)]
    assert counts(found) == (3, 0, 2)
    assert all(r.raw.startswith('{"') for b in found for r in b.refusals)


def test_symbols_of_their_own_make_a_run_of_all_symbols():
    document = log()
    document["decisions"][1]["context"]["symbol"] = "ETH/USD"
    (run,) = rare(of(document), Run)
    assert run.record.symbol == ""


def test_without_decisions_it_still_announces_its_run():
    assert counts(of(log(decisions=[]))) == (0, 0, 2)


def test_an_execution_that_is_absent_did_not_fill():
    document = log()
    del document["decisions"][0]["execution"]
    found = of(document)
    assert column(found, "decisions", "filled")[0] == 0
    assert math.isnan(column(found, "decisions", "price")[0])


def test_fills_of_resting_orders_belong_to_the_decision_that_left_them():
    document = log()
    document["decisions"][0]["execution"] |= {"filled": False, "fill_price": None, "order_id": "o1"}
    document["decisions"][1]["execution"]["other_fills"] = [
        {"order_id": "o1", "side": "buy", "fill_price": "99", "filled_quantity": "2.5", "commission": "0.1"}
    ]
    found = of(document)
    assert refused(found) == []
    assert column(found, "fills", "order_id") == ["o1"]
    assert column(found, "fills", "decision_ts") == [START + 60 * 10**9]
    assert column(found, "fills", "ts") == [START + 120 * 10**9]
    assert column(found, "fills", "run_id") == ["r-1"]


def test_a_long_log_is_read_in_blocks_and_packed_alike():
    document = log()
    document["decisions"] = [
        json.loads(json.dumps(document["decisions"][0]).replace(":01:00", f":{i // 60 % 60:02d}:{i % 60:02d}")) for i in range(3000)
    ]
    plain = of(document)
    packed = blocks(gzip.compress(json.dumps(document).encode()), "log.json.gz", "backtest")
    assert counts(plain) == counts(packed) == (3000, 0, 2)
    assert len(plain) > 3
    assert column(plain, "decisions", "line") == list(range(1, 3001))


VALUES = st.sampled_from([None, "", "nan", "-1", "0", "1e999", 5, -3.5, True, [], {}, [1], {"side": "long"}, "x", "2026-11-20T10:00:00"])
SPOTS = st.sampled_from([(s, k) for s, row in log()["decisions"][0].items() for k in row])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), SPOTS, VALUES), max_size=4))
def test_whatever_a_field_holds_each_decision_is_taken_or_refused(changes):
    document = log()
    for i, (row, leaf), value in changes:
        document["decisions"][i][row][leaf] = value
    found = of(document)
    assert counts(found)[0] + len(refused(found)) == 4
