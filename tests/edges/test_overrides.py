"""Commands judged: lowering risk needs nothing, raising it everything."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parityd.core.instants import rfc3339
from parityd.edges.commands import LOWERING, Accepted, Facts, Moment, Refused, Standing, Terms, ended
from parityd.edges.overrides import content_hash, judge, latched_over
from parityd.edges.signatures import Signed, Unsigned

S = 1_000_000_000
HOUR = 3600 * S
NOW = 1_800_000_000 * S
MOMENT = Moment(now_ns=NOW, boottime_ns=500 * S, boot_id="b1")
FILE = Facts(uid=0, gid=0, mode=0o644, mtime_ns=NOW - S)
FOLDER = Facts(uid=0, gid=0, mode=0o755)
TERMS = Terms(daemon_uid=990, allowed_uids=frozenset({1001}))
STANDING = Standing(known=("s", "t"))


def enable(**change):
    body = {"command": "force_enable", "strategy": "s", "operator": "ops", "reason": "drill", "expires_at": rfc3339(NOW + HOUR)} | change
    return {k: v for k, v in body.items() if v is not ...}


def reset(**change):
    body = {"command": "reset", "strategy": "s", "operator": "ops", "reason": "checked"} | change
    return {k: v for k, v in body.items() if v is not ...}


def verdict(body, file=FILE, folder=FOLDER, terms=TERMS, moment=MOMENT, standing=STANDING, signature=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(raw, file, folder, terms, moment, standing, signature)


def command(body, **kw):
    found = verdict(body, **kw)
    assert isinstance(found, Accepted), found
    return found.command


def code(body, **kw):
    found = verdict(body, **kw)
    assert isinstance(found, Refused), found
    assert found.text
    return found.code


FIELDS = ("strategy", "operator", "reason", "expires_at", "size_multiplier", "id", "zzz")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)

# --- lowering ---------------------------------------------------------------------------------------------------------------------


def test_a_complete_lowering_command_is_taken_as_it_stands():
    found = command(
        {
            "command": "reduce_size",
            "strategy": "s",
            "operator": "ops",
            "reason": "r",
            "size_multiplier": 0.25,
            "expires_at": rfc3339(NOW + HOUR),
        }
    )
    assert (found.command, found.strategy, found.operator, found.reason, found.size_multiplier) == ("reduce_size", "s", "ops", "r", 0.25)
    assert (found.expires_ns, found.expires_boottime_ns) == (NOW + HOUR, 500 * S + HOUR)
    assert found.notes == ()


def test_the_barest_stop_stops_everything_until_reset():
    found = command({"command": "force_disable"})
    assert (found.command, found.strategy, found.operator, found.reason, found.expires_ns) == (
        "force_disable",
        "*",
        "unknown",
        "unknown",
        None,
    )
    assert len(found.notes) == 3


def test_anybody_may_stop_as_often_as_he_likes():
    body = {"command": "force_disable", "strategy": "s", "operator": "x", "reason": "y", "id": "1"}
    raw = json.dumps(body).encode()
    stranger, open_folder = Facts(uid=4711, gid=4711, mode=0o777, links=3), Facts(uid=4711, gid=4711, mode=0o777)
    after = Standing(known=("s",), applied=(content_hash(raw),), ids=("1",), broken_store=True, latched={"*": "EMERGENCY_STOP"})
    found = command(raw, file=stranger, folder=open_folder, terms=Terms(daemon_uid=1, signers=True), standing=after)
    assert found.lowers
    assert found.notes == ()


@pytest.mark.parametrize("size", [1, 1.0, -0.1, 7, "NaN", "x", None, True, [0.5], 1e400, float("nan"), ...])
def test_a_size_out_of_its_range_disables(size):
    body = {"command": "reduce_size", "strategy": "s"} | ({} if size is ... else {"size_multiplier": size})
    found = command(body)
    assert (found.command, found.size_multiplier) == ("force_disable", None)
    assert any("size_multiplier" in note for note in found.notes)


@pytest.mark.parametrize(("size", "meant"), [(0, 0.0), (-0.0, 0.0), (0.999, 0.999), ("0.3", 0.3)])
def test_a_size_within_its_range_is_kept(size, meant):
    found = command({"command": "reduce_size", "strategy": "s", "size_multiplier": size})
    assert (found.command, found.size_multiplier) == ("reduce_size", meant)


@pytest.mark.parametrize("strategy", [None, "", 7, ["s"], "../etc", "x" * 65, "s\n", {}])
def test_without_a_usable_strategy_it_holds_for_all(strategy):
    assert command({"command": "force_disable", "strategy": strategy}).strategy == "*"


def test_a_strategy_nobody_knows_is_stopped_under_its_name_and_alerted():
    found = command({"command": "force_disable", "strategy": "next", "operator": "o", "reason": "r"})
    assert found.strategy == "next"
    assert found.notes == ("strategy next is neither seen nor configured",)


@pytest.mark.parametrize("expires", ["tomorrow", "2027-01-15T08:00:00", True, [], 1e300, "", rfc3339(NOW - 2 * S)])
def test_a_bad_end_is_no_end(expires):
    found = command(
        {"command": "force_disable", "strategy": "s", "expires_at": expires}, file=Facts(uid=0, gid=0, mode=0o644, mtime_ns=NOW - S)
    )
    assert found.expires_ns is None
    assert any("until reset" in note for note in found.notes)


def test_a_stop_that_was_over_before_it_was_read_is_over():
    written_before = Facts(uid=0, gid=0, mode=0o644, mtime_ns=NOW - HOUR)
    found = command({"command": "force_disable", "strategy": "s", "expires_at": rfc3339(NOW - 2 * S)}, file=written_before)
    assert ended(found, MOMENT)


def test_sloppy_bytes_do_not_stop_a_stop():
    assert command(b'\xef\xbb\xbf{"command": "force_disable", "strategy": "s", "reason": "caf\xe9"}').strategy == "s"
    lone = command(b'{"command": "force_disable", "operator": "\\ud800"}').operator
    assert lone.encode() == b"\\ud800"
    assert command(b'{"command": " Force-Disable "}').command == "force_disable"
    assert command(b'{"command": "force_disable", "size": 1' + b"0" * 6000 + b"}").lowers


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_stop_is_read_in_any_encoding_and_a_permission_in_one(encoding):
    found = command(json.dumps({"command": "reduce_size", "strategy": "s", "size_multiplier": 0.2}).encode(encoding))
    assert (found.command, found.strategy, found.size_multiplier) == ("reduce_size", "s", 0.2)
    if encoding != "utf-8-sig":
        assert code(json.dumps(reset()).encode(encoding)) == "bad_encoding"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"command": "force_disable", "strategy": "s",}',
        b'[{"command": "reduce_size", "strategy": "s"}]',
        b'{"command": "force_disable"}\n{"command": "reset"}',
        b'\0{"command": "force_disable"}',
        b"{'command': 'force-disable'}",
        b"command = force_disable",
        b'{"command": "force_disable", "deep": ' + b"[" * 50_000,
    ],
)
def test_a_stop_that_can_only_be_made_out_stops_everything_once_it_has_settled(raw):
    found = verdict(raw)
    assert isinstance(found, Accepted)
    assert found.again, "its writer may be at it still"
    assert (found.command.command, found.command.strategy, found.command.expires_ns) == ("force_disable", "*", None)
    assert "it names" in found.command.notes[0]


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_commands_in_one_file_the_lowering_one_counts(order):
    parts = ['"command": "force_enable"', '"command": "force_disable"']
    raw = "{" + ", ".join(parts[::-1] if order else parts) + ', "strategy": "s", "strategy": "t"}'
    found = command(raw.encode())
    assert (found.command, found.strategy) == ("force_disable", "*")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS), SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
    ),
    st.sampled_from(LOWERING),
)
def test_nothing_beside_the_command_can_stop_a_stop(fields, name):
    found = command({"command": name, **fields})
    assert found.lowers
    json.dumps([found.operator, found.reason, found.strategy, found.id], ensure_ascii=False).encode()


# --- what is no command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"force_disable"', b"\0\1\2", b"[" * 100_000, b'{"a":' * 100_000, b"force_disable"]
)
def test_garbage_is_refused_and_may_still_be_being_written(raw):
    found = verdict(raw)
    assert (found.code, found.again) == ("bad_json", True)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "missing_field"),
        ({"command": "launch"}, "unknown_command"),
        ({"command": 3}, "missing_field"),
        ({"command": "Reset"}, "unknown_command"),
    ],
)
def test_what_names_no_command_is_refused(body, why):
    assert code(body) == why


# --- raising --------------------------------------------------------------------------------------------------------------------


def test_a_complete_raising_command_is_obeyed():
    found = command(enable())
    assert (found.command, found.strategy, found.expires_ns, found.expires_boottime_ns) == ("force_enable", "s", NOW + HOUR, 500 * S + HOUR)
    assert not found.lowers
    assert command(reset(strategy="*")).expires_ns is None


@pytest.mark.parametrize("make", [enable, reset])
@pytest.mark.parametrize("field", ["strategy", "operator", "reason"])
@pytest.mark.parametrize("value", [..., None, "", "  "])
def test_a_raising_command_lacks_nothing(make, field, value):
    assert code(make(**{field: value})) == "missing_field"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"expires_at": ...}, "missing_field"), ({"expires_at": None}, "missing_field"), ({"expires_at": "soon"}, "bad_value"),
        ({"expires_at": "2027-01-15T09:00:00"}, "bad_value"), ({"expires_at": rfc3339(NOW)}, "expired"), ({"expires_at": rfc3339(NOW - HOUR)}, "expired"),
        ({"expires_at": rfc3339(NOW + 24 * HOUR + 1000)}, "too_far_ahead"), ({"strategy": "u"}, "unknown_strategy"), ({"strategy": "../s"}, "bad_value"),
        ({"strategy": ["s"]}, "bad_value"), ({"operator": 7}, "bad_value"), ({"reason": {"a": 1}}, "bad_value"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_permission_is_said(change, why):
    assert code(enable(**change)) == why


@pytest.mark.parametrize("expires", [rfc3339(NOW + 24 * HOUR), (NOW + HOUR) / S, "2027-01-15T19:30:00+10:00"])
def test_a_permission_may_last_a_day(expires):
    assert command(enable(expires_at=expires)).expires_ns <= NOW + 24 * HOUR


@pytest.mark.parametrize(("uid", "allowed"), [(0, True), (990, True), (1001, True), (1002, False), (65534, False)])
def test_only_root_the_daemon_and_the_allowed_raise(uid, allowed):
    found = verdict(enable(), file=Facts(uid=uid, gid=0, mode=0o644))
    assert isinstance(found, Accepted) is allowed
    assert allowed or found.code == "wrong_owner"


@pytest.mark.parametrize(
    ("file", "folder", "allowed"),
    [
        (0o644, 0o755, True), (0o600, 0o700, True), (0o666, 0o755, False), (0o646, 0o3770, False), (0o644, 0o777, False), (0o644, 0o1777, False),
        (0o644, 0o775, False), (0o644, 0o2770, False), (0o644, 0o3770, True), (0o664, 0o3770, True), (0o664, 0o755, False), (0o620, 0o700, False),
    ],
)  # fmt: skip
def test_neither_file_nor_folder_may_be_writable_by_others(file, folder, allowed):
    found = verdict(enable(), file=Facts(uid=0, gid=0, mode=file), folder=Facts(uid=0, gid=5, mode=folder))
    assert isinstance(found, Accepted) is allowed
    assert allowed or found.code == "writable_by_others"


def test_a_file_of_two_links_is_somebody_elses_too():
    assert code(enable(), file=Facts(uid=0, gid=0, mode=0o644, links=2)) == "writable_by_others"


@pytest.mark.parametrize("body", [enable(), reset(), reset(strategy="*")])
def test_content_once_applied_is_not_applied_again_but_mended_content_is(body):
    applied = Standing(known=("s",), applied=(content_hash(json.dumps(body).encode()),))
    assert code(body, standing=applied) == "replayed"
    assert command(body | {"reason": "another"}, standing=applied)


@pytest.mark.parametrize(
    ("strategy", "latched", "needed"),
    [
        ("s", {}, None), ("s", {"t": "EMERGENCY_STOP"}, None), ("s", {"s": "EMERGENCY_STOP"}, "EMERGENCY_STOP"), ("s", {"*": "DISABLE_TRADING"}, "DISABLE_TRADING"),
        ("s", {"s": "DISABLE_TRADING", "*": "EMERGENCY_STOP"}, "EMERGENCY_STOP"), ("*", {"t": "DISABLE_TRADING"}, "DISABLE_TRADING"),
        ("*", {"s": "DISABLE_TRADING", "t": "EMERGENCY_STOP"}, "EMERGENCY_STOP"),
    ],
)  # fmt: skip
def test_against_a_latched_stop_its_action_is_named(strategy, latched, needed):
    standing = Standing(known=("s", "t"), latched=latched)
    assert latched_over(strategy, latched) == needed
    assert command(enable(strategy=strategy, acknowledge=needed or ...), standing=standing)
    if needed:
        for wrong in (..., "", "YES", "REDUCE_SIZE", needed.lower()):
            assert code(enable(strategy=strategy, acknowledge=wrong), standing=standing) == "not_acknowledged"


def test_a_strategy_that_only_a_command_names_can_be_reset_and_not_enabled():
    standing = Standing(known=("s",), commanded=frozenset({"ghost"}))
    assert command(reset(strategy="ghost"), standing=standing).strategy == "ghost"
    assert code(enable(strategy="ghost"), standing=standing) == "unknown_strategy"
    assert code(reset(strategy="nobody"), standing=standing) == "unknown_strategy"


def test_a_broken_store_is_left_by_a_reset_that_says_so_and_by_nothing_else():
    broken = Standing(known=("s",), broken_store=True)
    assert code(reset(strategy="*"), standing=broken) == "not_acknowledged"
    assert command(reset(strategy="*", acknowledge="BROKEN_STORE"), standing=broken).acknowledge == "BROKEN_STORE"
    assert code(enable(acknowledge="BROKEN_STORE"), standing=broken) == "broken_store"
    assert command(reset(), standing=broken)


def test_a_doubled_field_or_wrong_bytes_give_no_permission():
    raw = json.dumps(enable()).encode()
    assert code(raw[:-1] + b', "strategy": "*"}') == "bad_value"
    assert code(raw.replace(b"drill", b"dr\xff")) == "bad_encoding"


# --- signatures -----------------------------------------------------------------------------------------------------------------

SIGNED = Signed(signer="ops@desk")
WITH_SIGNERS = Terms(daemon_uid=990, signers=True)


def signed(**change):
    return enable(id="c-1", issued_at=rfc3339(NOW - 60 * S)) | change


def test_a_signed_command_names_its_signer():
    assert command(signed(), terms=WITH_SIGNERS, signature=SIGNED).signer == "ops@desk"


@pytest.mark.parametrize(
    ("change", "signature", "why"),
    [
        ({}, None, "unsigned"), ({}, Unsigned(code="unsigned", reason="none"), "unsigned"), ({}, Unsigned(code="bad_signature", reason="x"), "bad_signature"),
        ({"id": ""}, SIGNED, "missing_field"), ({"id": None}, SIGNED, "missing_field"), ({"issued_at": None}, SIGNED, "missing_field"),
        ({"issued_at": rfc3339(NOW - 901 * S)}, SIGNED, "too_old"), ({"issued_at": rfc3339(NOW + 120 * S)}, SIGNED, "bad_value"),
        ({"id": "used"}, SIGNED, "replayed"), ({"operator": ""}, SIGNED, "missing_field"),
    ],
)  # fmt: skip
def test_with_signers_the_signature_comes_on_top_of_all_else(change, signature, why):
    standing = Standing(known=("s",), ids=("used",))
    assert code(signed(**change), terms=WITH_SIGNERS, signature=signature, standing=standing) == why


def test_a_signature_does_not_mend_an_owner():
    assert code(signed(), terms=WITH_SIGNERS, signature=SIGNED, file=Facts(uid=5, gid=5, mode=0o644)) == "wrong_owner"


# --- ends -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "boot", "boot_id", "stop_over", "permission_over"),
    [
        (HOUR - 1, HOUR - 1, "b1", False, False), (HOUR, HOUR, "b1", True, True), (HOUR, 5, "b1", False, True), (5, HOUR, "b1", False, True),
        (HOUR, 5, "b2", True, True), (5, 10 * HOUR, "b2", False, False),
    ],
)  # fmt: skip
def test_a_stop_ends_by_both_clocks_and_a_permission_by_either(wall, boot, boot_id, stop_over, permission_over):
    later = Moment(now_ns=NOW + wall, boottime_ns=500 * S + boot, boot_id=boot_id)
    stop = command({"command": "force_disable", "strategy": "s", "expires_at": rfc3339(NOW + HOUR)})
    assert (ended(stop, later), ended(command(enable()), later)) == (stop_over, permission_over)


def test_without_an_end_it_stands():
    assert not ended(command({"command": "force_disable"}), Moment(now_ns=2**62, boottime_ns=2**62, boot_id="b1"))
