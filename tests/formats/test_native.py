"""Native records: what is taken, what is refused and why, and that a block says of each line what the line alone would get."""

import json
import math

import pytest
from formats.samples import TS, blocks, column, counts, decision, fill, lines, refused, said
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.records import Line
from parityd.formats import Limits

GOOD = lines(fill(1))


def one(raw: bytes, **k):
    """(codes, reasons) of a file of one good line and this one."""
    found = blocks(GOOD + raw + b"\n" + lines(fill(3)), **k)
    assert counts(found)[1] >= 2
    return [(r.line, r.code, r.reason) for b in found for r in b.refusals]


@pytest.mark.parametrize(
    ("raw", "code", "word"),
    [
        (b"not json", "bad_json", "JSON"), (b'{"kind":"fill"', "bad_json", "truncated"), (b"[1]", "bad_json", "object"), (b"5", "bad_json", "object"),
        (b'"x"', "bad_json", "object"), (b"null", "bad_json", "object"), (lines(fill(2))[:-1] * 2, "bad_json", "trailing"),
        (b'{"a":NaN}', "bad_json", "JSON"), (b"\0", "bad_json", "JSON"), (b"{\0}", "bad_json", "JSON"),
        (b"\xff\xfe", "bad_encoding", "0xff"), (b'{"kind":"mark","symbol":"\xc3\x28","price":1,"ts":1}', "bad_encoding", "UTF-8"),
        (b'{"kind":"mark","note":"\xff","symbol":"X","price":1,"ts":1}', "bad_encoding", "UTF-8"),
        (b'{"strategy":"s"}', "missing_field", "kind"), (b'{"kind":null}', "missing_field", "kind"), (b'{"kind":"trade"}', "unknown_kind", "trade"),
        (b'{"kind":5}', "unknown_kind", "5"), (b'{"kind":"FILL"}', "unknown_kind", "FILL"),
        (b'{"kind":"mark","symbol":"X","ts":1}', "missing_field", "price"), (b'{"kind":"mark","symbol":"X","price":null,"ts":1}', "missing_field", "price"),
        (b'{"kind":"mark","symbol":"X","price":1e400,"ts":1}', "bad_value", "out of range"), (b'{"kind":"mark","symbol":"\\ud800","price":1,"ts":1}', "bad_json", ""),
        (b'{"kind":"run","strategy":"s","run_id":"r","created":1,"to":2}', "missing_field", "from"),
        (b'{"kind":"fill","z":' + b"[" * 33 + b"]" * 33 + b"}", "bad_json", "32 levels"), (b"[" * 100_000, "bad_json", "32 levels"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_record_is_refused_with_its_code(raw, code, word):
    (found,) = one(raw)
    assert found[:2] == (2, code)
    assert word in found[2]


BAD_FIELDS = [
    ("quantity", 0), ("quantity", "-1"), ("quantity", True), ("quantity", "nan"), ("quantity", "NaN"), ("quantity", "Infinity"), ("quantity", ""),
    ("quantity", "1_0"), ("quantity", "1,0"), ("quantity", "0x10"), ("quantity", [1]), ("quantity", "1e400"), ("price", "inf"), ("fee", "nan"),
    ("fee", "NAN"), ("fee", "-inf"), ("fee", False), ("multiplier", "nan"), ("latency_ms", "nAn"), ("side", "BUY"), ("side", 1), ("fill_id", 1.5),
    ("fill_id", ""), ("fill_id", True), ("strategy", ""), ("strategy", "a/b"), ("strategy", "x" * 65), ("strategy", " x"), ("strategy", 5),
    ("symbol", ""), ("ts", "2026-11-20T10:15:00"), ("ts", True), ("ts", "soon"), ("ts", {}), ("liquidity", "both"), ("shadow", "perhaps"), ("decision_ts", "x"),
    ("trade_id", {}), ("currency", 5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_a_fill_with_a_bad_field_is_a_bad_value_that_names_it(name, value):
    (found,) = one(json.dumps(fill(2, **{name: value})).encode())
    assert found[:2] == (2, "bad_value")
    assert name in found[2] or "strategy's name" in found[2]


@pytest.mark.parametrize("name", ["price", "quantity", "fee", "mark", "equity", "multiplier"])
@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity"])
def test_a_decisions_optional_number_may_be_absent_and_not_nan(name, value):
    assert refused(blocks(lines(decision(1), decision(2, **{name: value})))) == [(2, "bad_value")]
    assert refused(blocks(lines(decision(1), decision(2, **{name: None})))) == []


@pytest.mark.parametrize("value", ["1.5", "+1.5", "1.50", " 1.5 ", ".15e1", "15e-1", "15E-1", 1.5])
def test_decimal_text_is_a_number(value):
    found = blocks(lines(fill(1, quantity=value)))
    assert refused(found) == []
    assert column(found, "fills", "quantity") == [1.5]


def test_a_fee_may_be_negative_and_a_hold_may_have_no_quantity():
    found = blocks(lines(fill(1, fee="-0.5"), decision(2, action="hold", quantity=0, price=None)))
    assert refused(found) == []
    assert column(found, "fills", "fee") == [-0.5]


def test_unknown_fields_are_ignored_and_null_is_absent():
    plain, more = blocks(lines(fill(1))), blocks(lines(fill(1, colour={"deep": [1]}, trade_id=None, reduce_only=None)))
    assert said(plain) == said(more)


def test_of_a_key_that_stands_twice_the_last_counts():
    found = blocks(b'{"kind":"mark","kind":"mark","symbol":"X","price":1,"price":2,"ts":1700000000}\n')
    assert [x.record.price for b in found for x in b.rare] == [2.0]
    other = blocks(b'{"kind":"fill","kind":"mark","symbol":"X","price":2,"ts":1700000000}\n')
    assert said(found) == said(other)


def test_the_raw_text_of_a_refusal_is_kept_and_bounded():
    found = blocks(GOOD + b"\xffabc\n" + b"[" + b"x" * 100_000 + b"\n" + json.dumps(fill(2, price=-1)).encode() + b"\r\n")
    raws = [r.raw for b in found for r in b.refusals]
    assert raws[0] == "\\xffabc"
    assert len(raws[1]) == 64 << 10
    assert json.loads(raws[2])["price"] == -1


@pytest.mark.parametrize("size", [1 << 10, 1 << 20])
def test_a_line_over_the_limit_is_refused_and_the_rest_is_read(size):
    limits = Limits(line=size)
    exact = json.dumps(fill(2, reason="")).encode()
    exact = json.dumps(fill(2, reason="x" * (size - len(exact)))).encode()
    data = GOOD + exact + b"\r\n" + exact + b" \n" + b"y" * (size * 3) + b"\n" + lines(fill(3))
    found = blocks(data, limits=limits)
    assert refused(found) == [(3, "too_long"), (4, "too_long")]
    assert column(found, "fills", "line") == [1, 2, 5]
    assert all(len(r.raw) <= 64 << 10 for b in found for r in b.refusals)


def test_an_unterminated_line_over_the_limit_at_the_end_is_refused():
    assert refused(blocks(GOOD + b"z" * 3_000_000)) == [(2, "too_long")]


def test_lines_are_numbered_with_the_blank_ones():
    found = blocks(b"\n  \n" + lines(fill(1)) + b"\r\n" + lines(fill(2), fill(3, price=0)))
    assert column(found, "fills", "line") == [3, 5]
    assert refused(found) == [(6, "bad_value")]


def test_many_blocks_say_what_their_records_say():
    rows = [fill(i, fill_id=f"f{i}", trade_id=f"t{i}", price=50_000 + i) for i in range(6000)]
    rows[3333] = fill(3333, price="abc")
    found = blocks(lines(*rows))
    assert len(found) == 3  # what was gathered before the block with the bad line, that block, and the rest
    assert column(found, "fills", "line") == [i + 1 for i in range(6000) if i != 3333]
    assert column(found, "fills", "price") == [50_000.0 + i for i in range(6000) if i != 3333]
    assert refused(found) == [(3334, "bad_value")]


def test_what_is_refused_among_many_blocks_keeps_its_line_and_text():
    rows = [fill(i, fill_id=f"f{i}", note="x" * 300) for i in range(40_000)]
    bad = {0: "1980-01-01T00:00:00Z", 17_000: "soon", 39_999: "2400-01-01T00:00:00Z"}
    rows = [r if i not in bad else {**r, "ts": bad[i]} for i, r in enumerate(rows)]
    found = blocks(lines(*rows))
    refusals = [r for b in found for r in b.refusals]
    assert [(r.line, r.code) for r in refusals] == [(1, "too_old"), (17_001, "bad_value"), (40_000, "future_timestamp")]
    assert [r.raw for r in refusals] == [json.dumps(rows[i]) for i in bad]
    assert len(column(found, "fills", "line")) == 39_997


@pytest.mark.parametrize("of", [fill(7), {"kind": "heartbeat", "strategy": "mom", "ts": TS}])
def test_a_line_that_nests_too_deeply_is_found_among_many_flat_ones(of):
    deep = json.dumps({**of, "note": 0}).replace('"note": 0', '"note": ' + "[" * 33 + "]" * 33)
    found = blocks(lines(*(fill(i, fill_id=f"f{i}") for i in range(400))) + deep.encode() + b"\n")
    assert refused(found) == [(401, "bad_json")]
    assert len(column(found, "fills", "line")) == 400


ODD = st.sampled_from(
    [fill(1), fill(2, price="nan"), fill(3, fee=True), decision(4), decision(5, action="close"), {"kind": "mark", "symbol": "X", "price": 1, "ts": 1.7e9},
     {"kind": "mark", "symbol": "X", "price": 0, "ts": 1.7e9}, fill(6, ts="2026-11-20T10:15:00Z"), {"kind": "x"}, {}, fill(7, fee="+1")],
).map(lambda r: json.dumps(r).encode()) | st.sampled_from([b"", b" ", b"{", b"[]", b"\xff", b'{"kind":"mark","symbol":"\xc3\xa9","price":1,"ts":1700000000}'])  # fmt: skip


@settings(deadline=None)
@given(st.lists(ODD, min_size=1, max_size=8))
def test_a_block_says_of_each_line_what_the_line_alone_would_get(raws):
    head = lines(fill(59))
    whole = blocks(head + b"\n".join(raws) + b"\n")
    parts = [b for raw in raws for b in blocks(head + raw + b"\n")]
    assert counts(whole) == tuple(n - (len(raws) - 1) * (i == 1) for i, n in enumerate(counts(parts)))
    assert [c for _, c in refused(whole)] == [c for _, c in refused(parts)]


def test_a_file_of_only_broken_lines_is_refused_line_by_line():
    assert refused(blocks(b"oops\n{\n")) == [(1, "bad_json"), (2, "bad_json")]


def test_csv_takes_the_header_for_names_and_empty_for_absent():
    data = (
        b"kind,strategy,symbol,fill_id,side,quantity,price,ts,fee,trade_id,reduce_only\nfill,s,X,007,buy,1,2,2026-11-20T10:15:00Z,,,True\n"
    )
    found = blocks(data, "x.csv")
    assert refused(found) == []
    assert column(found, "fills", "fill_id") == ["007"]
    assert column(found, "fills", "reduce_only") == [1]
    assert math.isnan(column(found, "fills", "fee")[0])


HEAD = b"kind,symbol,price,ts,note\n"


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b"mark,X,1,1700000000", "bad_value"), (b"mark,X,1,1700000000,a,b", "bad_value"), (b"mark,X,nan,1700000000,", "bad_value"),
     (b"mark,X,,1700000000,", "missing_field"), (b",X,1,1700000000,", "missing_field"), (b"nope,X,1,1700000000,", "unknown_kind"),
     (b'mark,X,1,1700000000,"open', "bad_value"), (b'mark,X,1,1700000000,"a"b', "bad_value"), (b"mark,\xff,1,1700000000,", "bad_encoding")],
)  # fmt: skip
def test_a_bad_row_of_csv_costs_only_itself(raw, code):
    good = b"mark,X,1,1700000000,ok\n"
    found = blocks(HEAD + good + raw + b"\n" + good * 60, "x.csv")
    assert refused(found) == [(3, code)]
    assert counts(found) == (0, 0, 61)
    assert all(r.raw for b in found for r in b.refusals)


def test_a_quoted_cell_may_run_over_lines():
    found = blocks(HEAD + b'mark,X,1,1700000000,"two\nlines, ""quoted"""\nmark,X,2,1700000000,\n', "x.csv")
    assert [(x.line, x.record.price) for b in found for x in b.rare] == [(2, 1.0), (4, 2.0)]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_known_by_the_header(mark):
    data = (HEAD + b"mark,X,1,1700000000,\n").replace(b",", mark.encode())
    assert counts(blocks(data, "x.csv")) == (0, 0, 1)


def test_guards_in_csv_are_a_list():
    head = b"kind,strategy,symbol,action,ts,guards\n"
    rows = b'decision,s,X,buy,2026-11-20T10:15:00Z,a; b\ndecision,s,Y,buy,2026-11-20T10:15:00Z,"[""a"",""b""]"\n'
    assert column(blocks(head + rows, "x.csv"), "decisions", "guards") == [["a", "b"], ["a", "b"]]


def run(run_id="r1", **k):
    return {
        "kind": "run",
        "strategy": "mom",
        "run_id": run_id,
        "created": TS,
        "from": "2026-11-20T00:00:00Z",
        "to": "2026-11-21T00:00:00Z",
        **k,
    }


def keys(found, kind="decisions"):
    return column(found, kind, "key")


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_backtest_records_belong_to_the_run_of_their_file_wherever_it_stands(name):
    def file(*rows):
        return lines(*rows) if name == "x.jsonl" else json.dumps(rows).encode()

    first, last = (blocks(file(*rows), name, "backtest") for rows in ((run(), decision(1), fill(1)), (decision(1), fill(1), run())))
    none = blocks(file(decision(1), fill(1)), name, "backtest")
    assert column(first, "decisions", "run_id") == ["r1"]
    assert (keys(first), keys(first, "fills")) == (keys(last), keys(last, "fills"))
    assert keys(first) != keys(none)
    assert keys(first, "fills") != keys(none, "fills")
    live = blocks(file(run(), decision(1)), name, "live")
    assert column(live, "decisions", "run_id") == [""]


def test_a_run_takes_its_strategy_and_symbol_only():
    rows = [run(symbol="A"), decision(1, symbol="A"), decision(2, symbol="B"), decision(3, symbol="A", strategy="other")]
    assert column(blocks(lines(*rows), book="backtest"), "decisions", "run_id") == ["r1", "", ""]


def test_of_several_runs_the_one_above_takes_a_record():
    rows = [decision(9), run("r1"), decision(1), run("r2"), decision(2), decision(3, run_id="own")]
    assert column(blocks(lines(*rows), book="backtest"), "decisions", "run_id") == ["r2", "r1", "r2", "own"]


def test_of_several_runs_those_that_hold_the_time_come_first():
    other = run("r2", **{"from": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:00Z"})
    rows = [run("r1"), other, decision(1), decision(2, ts="2026-11-21T01:00:00Z")]
    assert column(blocks(lines(*rows), book="backtest"), "decisions", "run_id") == ["r1", "r2"]


def test_a_run_that_is_refused_takes_nothing():
    found = blocks(lines(run(to="2026-11-19T00:00:00Z"), decision(1)), book="backtest")
    assert refused(found) == [(1, "bad_value")]
    assert column(found, "decisions", "run_id") == [""]


def test_rare_records_keep_their_line_and_time():
    (made,) = [x for b in blocks(lines({"kind": "heartbeat", "strategy": "mom", "ts": TS})) for x in b.rare]
    assert isinstance(made, Line)
    assert (made.line, made.ts) == (1, 1795169700 * 10**9)
