"""FIX logs: real ones, and each kind of report."""

from pathlib import Path

import pytest
from formats.samples import FIX_EVENTS, blocks, column, counts, fix, refused

from parityd.core.records import Bust, Order
from parityd.formats import Context, Source, Unreadable, read

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real logs are not here")
SOURCE = Source(name="drop", strategy="mom")


def log(*messages, **k):
    return blocks(b"\n".join(messages) + b"\n", "x.log", source=k.pop("source", SOURCE), **k)


def of(path: Path):
    with path.open("rb") as f:
        return list(read(f, Context(book="live", name=path.name, source=SOURCE)))


@needs_data
def test_a_quickfix_log_holds_the_fills_that_were_replayed_into_it():
    found = of(next(DATA.glob("fix/quickfix*/*messages*")))
    assert refused(found) == []
    with next(DATA.glob("nautilus/quotemom_ESH4*/live/fills_report.jsonl.gz")).open("rb") as f:
        given = list(read(f, Context(book="live", name="fills_report.jsonl.gz")))
    names = ("fill_id", "side", "quantity", "price", "fee", "fee_currency", "liquidity", "order_id", "ts")
    assert sorted(zip(*(column(found, "fills", n) for n in names), strict=True)) == sorted(
        zip(*(column(given, "fills", n) for n in names), strict=True)
    )
    orders = [x.record for b in found for x in b.rare]
    assert {s: sum(o.status == s for o in orders) for s in ("submitted", "accepted", "filled")} == {
        "submitted": 123,
        "accepted": 122,
        "filled": 122,
    }


@needs_data
def test_the_same_execution_told_on_several_hops_is_one_fill():
    found = of(DATA / "fix" / "sackfix.example.fix.log")
    assert refused(found) == []
    told = sorted(zip(column(found, "fills", "fill_id"), column(found, "fills", "symbol"), strict=True))
    assert told == [
        ("111904391", "B00LR01"), ("24856", "0491563"), ("27256", "0491563"), ("895969120", "B0L0W35"), ("895969140", "B058J56")
    ]  # fmt: skip


@needs_data
def test_the_log_of_a_sessions_events_holds_nothing_and_is_no_fault():
    (path,) = DATA.glob("fix/quickfix*/*event*")
    with path.open("rb") as f:
        assert list(read(f, Context(book="live", name=path.name))) == []


def test_a_report_sent_again_is_the_same_fill():
    assert counts(log(fix(), fix(t43="Y", t122="20261120-10:15:01"), fix(t49="C", t31="1.005")))[1] == 1


def test_a_fill_is_what_its_report_says():
    found = log(fix())
    names = (
        "fill_id",
        "order_id",
        "symbol",
        "side",
        "quantity",
        "price",
        "ts",
        "fee",
        "fee_currency",
        "currency",
        "liquidity",
        "order_type",
        "account",
        "venue",
    )
    assert [column(found, "fills", n)[0] for n in names] == [
        "e1", "c1", "ESH4", 1, 2.0, 100.5, 1795169700123456000, 0.5, "USD", "USD", 2, "limit", "", ""
    ]  # fmt: skip


@pytest.mark.parametrize("sep", ["\x01", "|", ";", "^A"])
def test_every_separator_is_known(sep):
    assert counts(log(fix(sep)))[1] == 1


@pytest.mark.parametrize(("what", "n"), [("F", 1), ("1", 1), ("2", 1), ("0", 0), ("4", 0), ("3", 0), ("A", 0), ("I", 0)])
def test_only_trades_are_fills(what, n):
    assert counts(log(fix(t150=what)))[1] == n


def test_a_status_report_of_the_old_protocol_is_no_fill():
    assert counts(log(fix(t150="2", t20="3"))) == (0, 0, 0)
    assert counts(log(fix(t150="2", t20="0")))[1] == 1


@pytest.mark.parametrize("tags", [{"t150": "H"}, {"t150": "2", "t20": "1"}])
def test_a_bust_takes_back_the_fill_it_refers_to(tags):
    found = log(fix(), fix(t17="e2", t19="e1", **tags))
    assert column(found, "fills", "fill_id") == ["e1"]
    (bust,) = [x.record for b in found for x in b.rare if isinstance(x.record, Bust)]
    assert bust.fill_id == "e1"


@pytest.mark.parametrize("tags", [{"t150": "G"}, {"t150": "2", "t20": "2"}])
def test_a_correction_takes_back_and_puts_another_in_its_place(tags):
    found = log(fix(), fix(t17="e2", t19="e1", t31="99", **tags))
    assert list(zip(column(found, "fills", "fill_id"), column(found, "fills", "price"), strict=True)) == [("e1", 100.5), ("e2", 99.0)]
    assert [x.record.fill_id for b in found for x in b.rare if isinstance(x.record, Bust)] == ["e1"]


def test_a_replaced_order_keeps_its_first_name():
    found = log(
        fix(t35="D", t11="c1"), fix(t150="5", t11="c2", t41="c1", t32=None, t39=0), fix(t11="c3", t41="c2"), fix(t17="e9", t11="c3")
    )
    assert column(found, "fills", "order_id") == ["c1", "c1"]


def test_a_report_without_the_clients_id_is_named_by_the_venues():
    assert column(log(fix(t11=None)), "fills", "order_id") == ["v1"]


@pytest.mark.parametrize(("kind", "fee"), [("1", 1.0), ("2", 0.5 * 2 * 100.5), ("3", 0.5), (None, 0.5)])
def test_commissions_are_per_unit_a_share_or_a_sum(kind, fee):
    assert column(log(fix(t13=kind)), "fills", "fee") == [fee]


def test_other_fees_are_added_by_currency():
    one = log(fix().replace(b"\x01479=", b"\x01136=2\x01137=0.1\x01138=USD\x01139=1\x01137=0.2\x01138=USD\x01139=4\x01479="))
    assert column(one, "fills", "fee") == [pytest.approx(0.8)]
    two = log(fix().replace(b"\x01479=", b"\x01136=1\x01137=0.1\x01138=EUR\x01139=1\x01479="))
    assert (column(two, "fills", "quantity"), column(two, "fills", "fee_currency")) == ([1.0, 1.0], ["EUR", "USD"])


@pytest.mark.parametrize(
    ("tags", "code"),
    [({"t17": None}, "missing_field"), ({"t31": None}, "missing_field"), ({"t31": "x"}, "bad_value"), ({"t54": "7"}, "bad_value"), ({"t55": None, "t48": None}, "missing_field"),
     ({"t60": "2026-11-20"}, "bad_value"), ({"t60": "20261320-10:00:00"}, "bad_value"), ({"t13": "9"}, "bad_value"), ({"t32": "-"}, "bad_value")],
)  # fmt: skip
def test_a_bad_report_costs_only_itself(tags, code):
    found = log(fix(), fix(t17="e2") if "t17" in tags else fix(), fix(**{"t17": "e3", **tags}))
    assert refused(found) == [(3, code)]


def test_a_message_that_is_cut_is_refused_and_other_lines_say_nothing():
    found = log(b"session created", fix()[:-30], fix())
    assert (counts(found)[1], refused(found)) == (1, [(2, "bad_value")])


def test_local_times_are_of_the_sources_zone():
    seoul = Source(name="k", strategy="mom", timezone="Asia/Seoul")
    assert column(log(fix(t60="20261120-19:15:00"), source=seoul), "fills", "ts") == [1795169700 * 10**9]
    assert column(log(fix(t60=None), source=seoul), "fills", "ts") == [1795169701 * 10**9]


def test_rejections_and_expiries_are_told():
    found = log(fix(t150="8", t39=8, t32=None, t58="no money"), fix(t150="C", t39="C", t32=None), fix(t150="4", t39=4, t32=None))
    orders = [x.record for b in found for x in b.rare]
    assert [(o.status, o.reason) for o in orders] == [("rejected", "no money"), ("expired", ""), ("cancelled", "")]
    assert all(isinstance(o, Order) for o in orders)


def test_without_a_strategy_it_names_the_key():
    with pytest.raises(Unreadable) as e:
        log(fix(), source=None)
    assert "strategy" in e.value.reason


def busts(found):
    return [x.record for b in found for x in b.rare if isinstance(x.record, Bust)]


def test_a_hop_that_names_the_instrument_otherwise_tells_the_same_fill_and_another_order_does_not():
    assert column(log(fix(), fix(t55="ES.CME")), "fills", "symbol") == ["ESH4"]
    assert counts(log(fix(), fix(t55="NQH4", t37="v2")))[1] == 2
    assert counts(log(fix(), fix(t32=3)))[1] == 2, "another quantity under the same id is for the intake to refuse, not to pass over"


def test_several_messages_in_a_line_are_all_read():
    one, two = fix(), fix(t17="e2", t37="v2").partition(b" : ")[2]
    assert column(log(one + two + b"  " + fix(t17="e3")), "fills", "fill_id") == ["e1", "e2", "e3"]


def test_a_message_cut_behind_a_whole_one_costs_only_itself():
    found = log(fix() + b"8=FIX.4.4\x0135=8\x0132=5\x01")
    assert (column(found, "fills", "fill_id"), refused(found)) == (["e1"], [(1, "bad_value")])


def test_a_fill_whose_fees_cannot_be_read_may_come_again():
    found = log(fix(t12="x"), fix())
    assert (counts(found)[1], refused(found)) == (1, [(1, "bad_value")])


def test_a_bust_finds_its_fill_whatever_it_leaves_out():
    (bust,) = busts(log(fix(t1="A1", t30="XCME"), fix(t17="e2", t19="e1", t150="H")))
    assert (bust.account, bust.venue, bust.symbol, bust.fill_id) == ("A1", "XCME", "ESH4", "e1")
    split = fix().replace(b"\x01479=", b"\x01136=1\x01137=0.1\x01138=EUR\x01139=1\x01479=")
    assert {b.fill_id for b in busts(log(split, fix(t17="e2", t19="e1", t150="H")))} == {"e1#EUR", "e1#USD"}


def test_a_correction_under_the_id_of_what_it_corrects_has_one_of_its_own():
    found = log(fix(), fix(t19="e1", t150="G", t31="99"))
    assert column(found, "fills", "fill_id") == ["e1", "e1#2@99"]
    assert [b.fill_id for b in busts(found)] == ["e1"]


def test_an_instrument_without_a_symbol_is_named_by_its_security_id():
    assert column(log(fix(t55="[N/A]", t48="US0378331005")), "fills", "symbol") == ["US0378331005"]


def test_what_is_sent_again_without_its_own_time_has_the_time_it_was_first_sent():
    first, again = log(fix(t60=None)), log(fix(t60=None, t43="Y", t122="20261120-10:15:01.000", t52="20261120-11:00:00"))
    assert column(first, "fills", "ts") == column(again, "fills", "ts")


def test_a_report_of_the_oldest_protocols_says_by_its_status_that_it_filled():
    assert counts(log(fix(t150=None, t20="0")))[1] == 1
    assert counts(log(fix(t150=None, t20="0", t39="0")))[1] == 0


def test_messages_among_a_sessions_events_are_read_after_all():
    assert counts(blocks(FIX_EVENTS, "e.log")) == (0, 0, 0)
    padding = b"20261120-09:59:08 : Heartbeat\n" * 10_000
    with pytest.raises(Unreadable):
        blocks(FIX_EVENTS + padding + fix() + b"\n", "e.log")
    assert counts(blocks(FIX_EVENTS + padding + fix() + b"\n", "e.log", source=SOURCE))[1] == 1


def test_a_later_file_refers_back_to_what_was_noted():
    notes = {}
    log(fix(t1="A1", t30="XCME"), fix(t17="e5", t37="v5"), fix(t150="5", t11="c2", t41="c1", t32=None, t39=0, t17="e6"), notes=notes)
    (bust,) = busts(log(fix(t17="e2", t19="e1", t150="H"), notes=notes))
    assert (bust.account, bust.venue) == ("A1", "XCME")
    assert column(log(fix(t17="e7", t11="c2"), notes=notes), "fills", "order_id") == ["c1"]
    anew = log(fix(t35="D", t11="c2", t17=None, t150=None), fix(t17="e8", t11="c2"), notes=notes)
    assert column(anew, "fills", "order_id") == ["c2"], "ids begin anew each day"
