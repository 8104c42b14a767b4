"""CSV of unknown origin through a map of its columns."""

import pytest
from formats.samples import MAP, MAPPED, blocks, column, counts, lines, refused

from parityd.formats import Source, Unreadable


def mapped(data=MAPPED, columns=MAP, **k):
    return blocks(data, "any.csv", source=Source(name="odd", **{"strategy": "mom", "columns": columns, **k}))


def test_columns_are_what_the_source_says():
    found = mapped()
    assert refused(found) == []
    assert column(found, "fills", "side") == [1, -1]
    assert column(found, "fills", "ts") == [1795169700 * 10**9] * 2
    assert column(found, "fills", "strategy") == ["mom", "mom"]


def test_times_without_offset_are_of_the_sources_zone():
    assert column(mapped(timezone="America/New_York"), "fills", "ts") == [(1795169700 + 5 * 3600) * 10**9] * 2


@pytest.mark.parametrize(
    "said", ["1795169700", "1795169700000", "1795169700000000", "1795169700000000000", "2026-11-20T10:15:00Z", "2026-11-20T11:15:00+01:00"]
)
def test_times_come_in_every_unit(said):
    assert column(mapped(MAPPED.replace(b"2026-11-20 10:15:00", said.encode())), "fills", "ts") == [1795169700 * 10**9] * 2


def test_a_signed_quantity_has_its_side_by_its_sign():
    columns = {k: v for k, v in MAP.items() if k != "side"}
    found = mapped(MAPPED.replace(b";SLD;2;", b";?;-2;"), columns)
    assert (column(found, "fills", "side"), column(found, "fills", "quantity")) == ([1, -1], [2.0, 2.0])


def test_rows_without_ids_are_named_by_their_text_and_counted():
    twice = MAPPED + MAPPED.splitlines()[1] + b"\n"
    ids = column(mapped(twice), "fills", "fill_id")
    assert len(set(ids)) == 3
    assert ids == column(mapped(twice), "fills", "fill_id")
    assert ids[0].removesuffix("#1") == ids[2].removesuffix("#2")


def test_a_constant_is_the_same_for_every_row():
    found = mapped(columns={**MAP, "account": "=A1", "symbol": "=NQ"})
    assert set(column(found, "fills", "account")) == {"A1"}
    assert set(column(found, "fills", "symbol")) == {"NQ"}


def test_other_kinds_can_be_mapped():
    assert counts(mapped(columns={"kind": "=mark", "symbol": "Sym", "price": "Px", "ts": "When"})) == (0, 0, 2)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"100.5", b"nan", "bad_value"),
        (b";B;", b";X;", "bad_value"),
        (b";2;", b";;", "missing_field"),
        (b"ESH4", b"", "missing_field"),
        (b"2026-11-20 10", b"noon", "bad_value"),
    ],
)
def test_a_bad_row_costs_only_itself(old, new, code):
    found = mapped(MAPPED.replace(old, new, 1))
    assert (counts(found)[1], refused(found)) == (1, [(2, code)])


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(Unreadable) as e:
        mapped(columns={**MAP, "fee": "Commission"})
    assert "Commission" in e.value.reason
    assert "sources.odd" in e.value.reason


def test_without_a_strategy_the_file_is_set_aside_naming_the_key():
    with pytest.raises(Unreadable) as e:
        mapped(strategy=None)
    assert "[sources.odd] strategy" in e.value.reason
    assert counts(mapped(strategy=None, columns={"kind": "=mark", "symbol": "Sym", "price": "Px", "ts": "When"})) == (0, 0, 2)
    assert set(column(mapped(strategy=None, columns={**MAP, "strategy": "Note"}), "fills", "strategy")) == {"x"}


def test_pinned_without_columns_it_names_the_key():
    with pytest.raises(Unreadable) as e:
        blocks(MAPPED, "any.csv", source=Source(name="odd", format="mapped", strategy="s"))
    assert "columns" in e.value.reason


def test_the_sign_of_a_sale_that_is_told_with_its_side_is_only_that():
    found = mapped(MAPPED.replace(b";SLD;2;", b";SLD;-2;"))
    assert (column(found, "fills", "side"), column(found, "fills", "quantity")) == ([1, -1], [2.0, 2.0])
    assert refused(mapped(MAPPED.replace(b";B;2;", b";B;-2;"))) == [(2, "bad_value")]


def test_rows_of_json_are_mapped_too_and_zero_and_false_are_values():
    row = {"When": "2026-11-20T10:15:00Z", "Side": "B", "Qty": 2, "Px": 100.5, "Sym": "ESH4", "Paid": 0, "Paper": False}
    source = Source(name="odd", strategy="mom", columns={**MAP, "fee": "Paid", "shadow": "Paper"})
    found = blocks(lines(row, {**row, "Paper": True}), "any.jsonl", source=source)
    assert refused(found) == []
    assert column(found, "fills", "fee") == [0.0, 0.0]
    assert column(found, "fills", "shadow") == [0, 1]
