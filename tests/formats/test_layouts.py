"""Layouts: a block says the same with only the fields that it has as with all that there are."""

import json

import numpy as np
from formats.samples import TS, decision, fill
from hypothesis import given, settings
from hypothesis import strategies as st

from parityd.core.accepting import accepted_decisions, accepted_fills, decision_columns, fill_columns
from parityd.core.columns import Bounds
from parityd.core.records import Decision, Fill, Heartbeat
from parityd.formats.layouts import CHANGES, MANY, WHOLE, WORTH, Layouts

TEXTS = st.sampled_from(["", None, "a", 7, "é", "x" * 80])
OTHERS = {
    "trade_id": TEXTS, "order_id": TEXTS, "account": TEXTS, "fee": st.sampled_from([None, 1, "2.5", -1.25]), "decision_ts": st.sampled_from([None, "", TS, 5.5]),
    "liquidity": st.sampled_from(["maker", "taker", "", None]), "shadow": st.booleans(), "agent": st.sampled_from(["", "b", None]),
    "reason": st.sampled_from(["", None, "why"]), "guards": st.sampled_from([None, ["g"]]), "run_id": TEXTS, "mark": st.sampled_from([None, 2.5]),
    "note": st.sampled_from([None, 1, {"a": [1]}, "x"]), "strange key": st.just(1), 'quo"ted': st.just(2), "é": st.just([]), "": st.just(3),
    "_1": st.just(4), "class": st.just(5),
}  # fmt: skip
DECISION_ONLY, FILL_ONLY = {"reason", "guards", "run_id", "mark"}, {"order_id", "account", "decision_ts", "liquidity", "shadow"}
BOUNDS = Bounds()


@st.composite
def blocks_of_one_file(draw):
    """Blocks, each of records that may have fields of its own and lack some of them."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        names = draw(st.lists(st.sampled_from(sorted(OTHERS)), max_size=7, unique=True))
        made = draw(
            st.lists(
                st.tuples(st.sampled_from([fill, decision]), st.fixed_dictionaries({}, optional={n: OTHERS[n] for n in names})),
                min_size=1,
                max_size=6,
            )
        )
        rows = [
            of(i, **{k: v for k, v in more.items() if k not in (DECISION_ONLY if of is fill else FILL_ONLY)})
            for i, (of, more) in enumerate(made)
        ]
        often = WORTH // min(len(json.dumps(r)) for r in rows) // len(rows) + 1
        found.append(b"".join(json.dumps(r).encode() + b"\n" for r in rows * often))
    return found


def same(a, b):
    assert (a is None) == (b is None)
    for name in a.names() if a is not None else ():
        x, y = getattr(a, name), getattr(b, name)
        assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f") if isinstance(x, np.ndarray) else x == y, name


@settings(deadline=None, max_examples=60)
@given(blocks_of_one_file())
def test_a_block_says_the_same_with_the_fields_of_its_file_as_with_all(found):
    layouts = Layouts()
    for data in found:
        records, whole = layouts.decode(data), WHOLE.decode(data)
        lines = np.arange(len(whole))
        decisions, fills = layouts.now.drafts()
        for draft, lean, kind, accepted, columns in (
            (decisions, layouts.now.decision, Decision, accepted_decisions, decision_columns),
            (fills, layouts.now.fill, Fill, accepted_fills, fill_columns),
        ):
            mine, plain = [r for r in records if type(r) is lean], [r for r in whole if type(r) is kind]
            assert len(mine) == len(plain)
            if plain:
                draft.add(mine, lines[: len(mine)])
                (a, refused), (b, also) = accepted(draft, "live", BOUNDS), columns("live", plain, lines[: len(plain)], BOUNDS)
                assert refused == also
                same(a, b)


def of_fields(*names, n=400):
    return b"".join(json.dumps(fill(i, **dict.fromkeys(names, 1))).encode() + b"\n" for i in range(n))


def test_records_have_only_the_fields_that_were_seen():
    layouts = Layouts()
    layouts.decode(of_fields("trade_id", "note"))
    assert "trade_id" in layouts.now.fill.__struct_fields__
    assert "venue" not in layouts.now.fill.__struct_fields__
    assert layouts.now.decision is Decision


def test_a_new_field_is_learned_and_an_old_one_kept():
    layouts = Layouts()
    for name in ("trade_id", "order_id", "note"):
        records = layouts.decode(of_fields(name))
        assert all(getattr(r, name, 1) == 1 for r in records)
    assert {"trade_id", "order_id"} <= set(layouts.now.fill.__struct_fields__)


def test_a_file_that_keeps_bringing_new_fields_is_read_with_the_whole_types():
    layouts = Layouts()
    for k in range(CHANGES + 2):
        assert len(layouts.decode(of_fields(f"note{k}"))) == 400
    assert layouts.now is WHOLE
    assert Layouts().decode(of_fields(*(f"note{k}" for k in range(MANY)))) is not None


def test_a_small_block_is_not_worth_a_layout():
    layouts = Layouts()
    layouts.decode(of_fields("note", n=2))
    assert layouts.now is WHOLE


def test_a_block_with_a_line_that_is_not_right_is_none_and_the_next_is_learned_again():
    layouts = Layouts()
    layouts.decode(of_fields("trade_id"))
    assert layouts.decode(of_fields("trade_id") + b'{"kind":"fill"}\n') is None
    assert layouts.decode(of_fields("venue") + b"oops\n") is None
    assert len(layouts.decode(of_fields("venue"))) == 400
    assert "venue" in layouts.now.fill.__struct_fields__


def of_names(strategies, symbols, n=400):
    rows = (fill(i, strategy=strategies[i % len(strategies)], symbol=symbols[i % len(symbols)]) for i in range(n))
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


def taken(layouts, data):
    """Decode a block, and let its names be known, as whoever makes columns of it does."""
    records = layouts.decode(data)
    draft = layouts.now.drafts()[1]
    draft.add(records, np.arange(len(records)))
    return [(r.strategy, r.symbol) for r in records]


def test_a_strange_name_is_taken_and_then_known(monkeypatch):
    monkeypatch.setattr("parityd.formats.layouts.FEW", 10**6)  # other tests have named many
    layouts = Layouts()
    for strategies in (["lay-1", "lay-2"], ["lay-1", "lay-3"], ["lay-3"], ["lay-2", "lay-4", "é"]):
        data = of_names(strategies, ["LAY/USD", "LAY/EUR", "x" * 300])
        assert taken(layouts, data) == [(r.strategy, r.symbol) for r in WHOLE.decode(data)]
    assert layouts.strange == 4  # "é" and the long symbol are no good names, and stay strange
    assert taken(layouts, of_names(["lay-4"], ["LAY/EUR"])) == [("lay-4", "LAY/EUR")] * 400
    assert layouts.now.named


def test_a_file_of_many_strange_names_is_read_without_them():
    layouts = Layouts()
    for k in range(CHANGES + 2):
        data = of_names([f"many-{k}-{i}" for i in range(20)], [f"MANY{k}/USD"])
        assert taken(layouts, data) == [(r.strategy, r.symbol) for r in WHOLE.decode(data)]
    assert not layouts.now.named


def test_kinds_that_are_rare_come_as_they_are():
    layouts = Layouts()
    data = of_fields("trade_id") + b'{"kind":"heartbeat","strategy":"mom","ts":"2026-11-20T10:15:00Z","else":1}\n'
    assert type(layouts.decode(data)[-1]) is Heartbeat
