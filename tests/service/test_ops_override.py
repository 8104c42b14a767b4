"""`parityd override`: a correct file, or one line that says why not."""

import json
import os
import stat

import pytest
from service.ops_desk import Desk, pairs


@pytest.fixture
def desk(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    decisions, fills = pairs(24)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    desk.check()
    return desk


def written(desk):
    (path,) = (desk.data / "overrides").glob("*.json")
    return path, json.loads(path.read_text())


def test_a_lowering_command_is_a_file_that_the_next_check_obeys(desk):
    out = desk.ok("override", "force_disable", "--strategy", "s", "--operator", "ann", "--reason", "venue down", "--for", "2h")
    path, body = written(desk)
    assert str(path) in out
    assert (body["command"], body["strategy"], body["operator"], body["reason"]) == ("force_disable", "s", "ann", "venue down")
    assert body["expires_at"].endswith("Z")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert desk.check()["strategies"]["s"]["action"] == "DISABLE_TRADING"


def test_lowering_needs_no_reason_and_warns_of_an_unknown_strategy(desk):
    status, _, err = desk.run("override", "reduce-size", "--strategy", "nobody", "--size", "0.25")
    assert status == 0
    assert "neither seen nor configured" in err
    assert written(desk)[1]["size_multiplier"] == 0.25


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["launch"], "no command"),
        (["reduce_size"], "--size"),
        (["reduce_size", "--size", "1"], "--size"),
        (["force_disable", "--size", "0.5"], "--size"),
        (["reset"], "--reason"),
        (["force_enable", "--reason", "r"], "--for"),
        (["force_enable", "--reason", "r", "--for", "25h"], "24h"),
        (["force_enable", "--reason", "r", "--for", "2"], "--for"),
        (["force_enable", "--reason", "r", "--for", "1h", "--strategy", "nobody"], "neither seen"),
        (["force_disable", "--expires", "yesterday"], "no time"),
        (["force_disable", "--expires", "2020-01-01T00:00:00Z"], "past"),
        (["force_disable", "--expires", "2099-01-01T00:00:00Z", "--for", "1h"], "one of them"),
        (["force_disable", "--strategy", "../etc"], "--strategy"),
        (["unhalt"], "there is no"),
    ],
)
def test_what_would_be_refused_is_refused_here_and_leaves_no_file(desk, args, said):
    assert said in desk.refused("override", *args)
    assert not list((desk.data / "overrides").glob("*.json*"))


def test_a_folder_that_others_write_costs_raising_and_not_lowering(desk):
    os.chmod(desk.data / "overrides", 0o777)
    assert "chmod o-w" in desk.refused("override", "reset", "--reason", "r")
    desk.ok("override", "force_disable", "--reason", "r")


def test_a_reset_ends_what_was_commanded(desk):
    desk.ok("override", "force_disable", "--reason", "r")
    assert desk.check()["action"] == "DISABLE_TRADING"
    desk.ok("override", "reset", "--reason", "done")
    assert desk.check()["action"] == "CONTINUE"


def test_halt_touches_and_unhalt_removes(desk):
    desk.ok("override", "halt", "--operator", "ann", "--reason", "smoke")
    assert json.loads((desk.data / "overrides/HALT").read_text())["operator"] == "ann"
    assert desk.check()["action"] == "EMERGENCY_STOP"
    desk.ok("override", "halt", "--strategy", "s")
    status, _, err = desk.run("override", "unhalt")
    assert status == 0
    assert "HALT.s" in err
    assert not (desk.data / "overrides/HALT").exists()
    assert (desk.data / "overrides/HALT.s").exists()


def test_a_latched_stop_must_be_acknowledged(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    decisions, fills = pairs(32, diff_bps=150)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    assert desk.check()["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    asked = ("override", "force_enable", "--strategy", "s", "--reason", "r", "--for", "1h")
    assert "--acknowledge EMERGENCY_STOP" in desk.refused(*asked)
    desk.ok(*asked, "--acknowledge", "EMERGENCY_STOP")
    assert desk.check()["strategies"]["s"]["trading_enabled"]


def test_without_folders_it_says_how_to_make_them(tmp_path, capsys):
    assert "parityd init" in Desk(tmp_path, capsys).refused("override", "halt")


def test_with_signers_a_raising_command_must_be_signed(tmp_path, capsys):
    import subprocess

    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"ann {(tmp_path / 'key.pub').read_text()}")
    desk = Desk(tmp_path, capsys, f'[overrides]\nallowed_signers = "{signers}"\n')
    desk.check()
    desk.ok("override", "force_disable", "--reason", "r")
    assert desk.check()["action"] == "DISABLE_TRADING"
    assert "--sign" in desk.refused("override", "reset", "--reason", "r")
    desk.ok("override", "reset", "--reason", "r", "--sign", key)
    assert desk.check()["action"] == "CONTINUE"


def test_beside_a_daemon_it_tells_what_became_of_it(desk):
    with desk:
        assert "applied" in desk.ok("override", "force_disable", "--strategy", "s", "--reason", "r")
        assert desk.override()["strategies"]["s"]["action"] == "DISABLE_TRADING"
        assert json.loads(desk.ok("override", "reset", "--reason", "r", "--json"))["state"] == "applied"
        assert desk.override()["action"] == "CONTINUE"
