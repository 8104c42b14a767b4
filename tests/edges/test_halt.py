"""HALT files: quick to stop, slow and careful to lift."""

import os
import shutil
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.edges.halt import HaltState, Sighting, look, name_in, release, scope_of, step

S = 1_000_000_000
HERE, ELSEWHERE = (1, 2, 3), (1, 2, 4)
NOW = 1_800_000_000 * S
KNOWN = ("momentum", "a.b")


def seen(*names, folder=HERE, **kw):
    return Sighting(folder=folder, names=names, **kw)


MISSING = Sighting(error="overrides: No such file or directory")


def run(*looks, state=None, known=KNOWN, by_reset_only=False):
    """Looks as (seconds, sighting) or sightings one second apart; the last step."""
    out = None
    state = state or HaltState()
    for k, item in enumerate(looks):
        at, sight = item if isinstance(item, tuple) else (k, item)
        out = step(state, sight, now_ns=NOW + int(at * S), boottime_ns=int(at * S), known=known, by_reset_only=by_reset_only)
        state = out.state
    return out


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("HALT", "*"), ("halt", "*"), ("Halt", "*"), ("HALTED", "*"), ("HALT please.txt", "*"), ("HALT.", "*"), ("HALT.*", "*"),
        ("HALT.momentum", "momentum"), ("halt.momentum", "momentum"), ("HALT.a.b", "a.b"),
        ("HALT.Momentum", "*"), ("HALT.momentun", "*"), ("HALT.momentum.txt", "*"), ("HALTmomentum", "*"), ("HALT-momentum", "*"),
        ("HALT.json", "*"), ("HALT.tmp", "*"),
    ],
)  # fmt: skip
def test_whom_a_halt_file_stops(name, scope):
    found, reason = scope_of(name, KNOWN)
    assert found == scope
    assert name in reason


def test_a_name_that_fits_no_strategy_says_why_everything_is_stopped():
    assert "neither seen nor configured" in scope_of("HALT.momentun", KNOWN)[1]


@pytest.mark.parametrize("name", ["HALT", "HALT.momentum", "HALT.ghost", "HALT me now", "HALT.my strat", "halt names a strategy"])
def test_the_file_is_found_again_in_the_sentence(name):
    assert name_in(scope_of(name, {"momentum", "my strat"})[1]) == name


def test_it_stops_when_seen_and_says_so_once():
    first = run(seen("HALT"))
    assert first.state.reasons("anything") == ("operator halt: HALT",)
    assert [latch.name for latch in first.raised] == ["HALT"]
    assert run(seen("HALT"), seen("HALT")).raised == ()


def test_two_looks_a_second_apart_that_find_it_gone_lift_it():
    assert run(seen("HALT"), (1, seen()), (1.5, seen())).state.scopes() == {"*"}
    done = run(seen("HALT"), (1, seen()), (1.5, seen()), (2, seen()))
    assert done.state.latches == ()
    assert [latch.name for latch in done.lifted] == ["HALT"]


@pytest.mark.parametrize("between", [MISSING, seen(folder=ELSEWHERE), seen("HALT"), seen(cut=True)])
def test_any_other_look_between_them_starts_the_count_anew(between):
    looks = [(0, seen("HALT")), (1, seen()), (2, between), (3, seen())]
    assert run(*looks).state.scopes() == {"*"}
    assert run(*looks, (4, seen())).state.scopes() == set()


@pytest.mark.parametrize("sight", [MISSING, seen(folder=ELSEWHERE), seen(cut=True)])
def test_a_folder_missing_replaced_or_overfull_keeps_it_for_ever(sight):
    assert run(seen("HALT"), *[sight] * 50).state.scopes() == {"*"}


def test_a_halt_put_into_the_replaced_folder_and_taken_away_lifts_it():
    assert run(seen("HALT"), seen(folder=ELSEWHERE), seen("HALT", folder=ELSEWHERE), *[seen(folder=ELSEWHERE)] * 3).state.latches == ()


def test_a_restart_clears_nothing_and_makes_an_earlier_look_worthless():
    state = run(seen("HALT.momentum"), seen()).state
    again = msgspec.json.decode(msgspec.json.encode(state), type=HaltState).resumed()
    assert again.scopes() == {"momentum"}
    assert run((500, seen()), state=again).state.scopes() == {"momentum"}
    assert run((500, seen()), (501, seen()), state=again).state.latches == ()


def test_a_boot_clock_that_starts_anew_lifts_nothing_early():
    assert run((0, seen("HALT")), (900, seen()), (3, seen())).state.scopes() == {"*"}


def test_a_record_that_makes_the_name_known_does_not_narrow_the_stop():
    state = run(seen("HALT.new")).state
    assert run(seen("HALT.new"), state=state, known=("new",)).state.scopes() == {"*"}


def test_each_file_lifts_for_itself():
    state = run(seen("HALT", "HALT.momentum"), *[seen("HALT.momentum")] * 3).state
    assert state.scopes() == {"momentum"}
    assert state.reasons("other") == ()


def test_with_signers_only_a_release_lifts_it_and_never_while_the_file_is_there():
    state = run(seen("HALT", "HALT.momentum"), *[seen("HALT.momentum")] * 9, by_reset_only=True).state
    assert state.scopes() == {"*", "momentum"}
    assert release(state, "*", MISSING).state == state
    assert release(state, "momentum", seen("HALT.momentum")).state == state
    assert release(state, "momentum", seen()).state.scopes() == {"*"}
    assert release(state, "*", seen("HALT.momentum")).state.scopes() == {"momentum"}


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 3), st.sampled_from([seen("HALT"), seen(), MISSING, seen(folder=ELSEWHERE), seen("HALT", folder=ELSEWHERE)])
        ),
        max_size=30,
    )
)
def test_it_never_lifts_without_two_good_looks_a_second_apart_in_a_row(looks):
    state, at, history = HaltState(), 0.0, []
    for gap, sight in looks:
        at += gap
        history.append((at, sight))
        result = step(state, sight, now_ns=NOW, boottime_ns=int(at * S), known=())
        if sight.names:
            assert result.state.scopes() == {"*"}
        if result.lifted:
            row = []
            for t, s in reversed(history):
                if s.folder is None or s.names or s.folder != sight.folder:
                    break
                row.append(t)
            assert row[0] - row[-1] >= 1 - 1e-6
        state = result.state


# --- the real folder ------------------------------------------------------------------------------------------------------------


def test_any_type_of_entry_is_a_halt_and_none_is_opened(tmp_path):
    (tmp_path / "HALT").mkdir()
    (tmp_path / "halt.link").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "Halt.fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "HALT.sock"))
    for other in ("halberd", "NOHALT", ".HALT", "applied"):
        (tmp_path / other).touch()
    os.close(os.open(os.fsencode(tmp_path) + b"/HALT\xff\n", os.O_CREAT | os.O_WRONLY))
    assert look(tmp_path).names == ("HALT", "HALT.sock", "HALT\\xff\\n", "Halt.fifo", "halt.link")


def test_a_folder_deleted_with_its_halt_and_made_again_keeps_the_stop(tmp_path):
    folder = tmp_path / "overrides"
    folder.mkdir()
    (folder / "HALT").touch()
    first = look(folder)
    shutil.rmtree(folder)
    gone = look(folder)
    assert (gone.folder, "No such file" in gone.error) == (None, True)
    folder.mkdir()
    after = look(folder)
    if after.folder == first.folder:
        pytest.skip("this file system gives a new folder the old identity")
    assert run(first, gone, after, after, after).state.scopes() == {"*"}


def test_a_flood_of_halts_is_bounded_and_lifts_nothing(tmp_path):
    for k in range(1200):
        (tmp_path / f"HALT{k:05d}").touch()
    flood = look(tmp_path)
    assert (len(flood.names), flood.cut) == (1000, True)
    state = run(flood).state
    assert run(seen(cut=True), seen(cut=True), state=state).state.scopes() == {"*"}
