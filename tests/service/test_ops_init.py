"""A first start in production stays disabled until `parityd init`, beside a daemon or without one."""

import os
import pwd
import stat
from pathlib import Path

import pytest
from service.ops_desk import Desk, pairs

from parityd.service.ops_rights import INBOXES, PRIVATE, unmounted
from parityd.settings import load

PRODUCTION = '[publish]\nfirst_start = "DISABLE_TRADING"\n'


def test_the_folders_have_the_modes_of_production(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    desk.ok("init")
    for name, mode in PRIVATE.items():
        assert stat.S_IMODE((desk.data / name).stat().st_mode) == mode, name
    assert all((desk.data / name).is_dir() for name in INBOXES)
    assert "mode" not in desk.ok("init")


def test_a_first_start_is_disabled_until_init(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, PRODUCTION)
    assert desk.check()["action"] == "DISABLE_TRADING"
    assert desk.check()["action"] == "DISABLE_TRADING"  # a restart ends nothing
    desk.ok("init", "--operator", "ann", "--reason", "looked at")
    assert desk.check()["action"] == "CONTINUE"
    assert [(r["actor"], r["data"]["command"]) for r in desk.audit() if r["event"] == "override.applied"] == [("ann", "init")]
    assert desk.run("audit", "verify")[0] == 0


def test_init_before_the_first_start_leaves_nothing_to_wait_for(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, PRODUCTION)
    desk.ok("init")
    assert desk.check()["action"] == "CONTINUE"


def test_neither_a_reset_nor_an_end_with_a_last_stop_is_init(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, PRODUCTION + 'on_stop = "disable"\n')
    with desk:
        desk.ok("override", "reset", "--operator", "ann", "--reason", "looked at")
        desk.until(lambda: any(r["event"] == "override.applied" for r in desk.audit()))
        assert desk.override()["action"] == "DISABLE_TRADING"
    assert desk.override()["action"] == "DISABLE_TRADING"
    with desk:
        assert desk.override()["action"] == "DISABLE_TRADING"
        desk.ok("init")
        desk.until(lambda: desk.override()["action"] == "CONTINUE")
    assert desk.override()["action"] == "DISABLE_TRADING", "on_stop"
    with desk:
        assert desk.override()["action"] == "CONTINUE"


def test_init_ends_no_stop(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, PRODUCTION)
    decisions, fills = pairs(32, diff_bps=150)
    desk.drop("backtest", decisions)
    desk.drop("live", fills)
    desk.check()
    desk.ok("override", "force_disable", "--strategy", "x", "--reason", "r")
    desk.check()
    desk.ok("init")
    after = desk.check()
    assert after["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    assert after["strategies"]["x"]["action"] == "DISABLE_TRADING"
    assert after["default"]["action"] == "CONTINUE"


def test_a_start_that_ended_before_its_first_commit_is_still_a_first_start(tmp_path, capsys):
    from parityd.store import Store

    desk = Desk(tmp_path, capsys, PRODUCTION)
    desk.data.mkdir()
    Store.open(desk.data / "parityd.sqlite", now_ns=1).close()
    assert desk.check()["action"] == "DISABLE_TRADING"


def test_after_a_broken_store_init_is_refused(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    decisions, _ = pairs(3)
    desk.drop("backtest", decisions)
    desk.check()
    (desk.data / "parityd.sqlite").write_bytes(b"no store")
    assert "BROKEN_STORE" in desk.refused("init")
    assert desk.check()["action"] == "DISABLE_TRADING"
    assert "BROKEN_STORE" in desk.refused("init")


def test_beside_a_daemon_init_ends_the_first_start(tmp_path, capsys):
    desk = Desk(tmp_path, capsys, PRODUCTION)
    with desk:
        assert desk.override()["action"] == "DISABLE_TRADING"
        assert "applied" in desk.ok("init")
        desk.until(lambda: desk.override()["action"] == "CONTINUE")


def test_the_written_configuration_is_good_and_is_never_written_over(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    target = tmp_path / "etc" / "parityd.toml"
    desk.ok("init", "--write-config", target, "--data-dir", desk.data)
    settings = load(target, {})
    assert settings.publish.first_start == "DISABLE_TRADING"
    assert settings.data_dir == desk.data
    assert "is there already" in desk.refused("init", "--write-config", target)


def test_a_mount_point_that_is_not_mounted_is_no_first_start(tmp_path):
    fstab, mounts = tmp_path / "fstab", tmp_path / "mountinfo"
    fstab.write_text("# /dev/x /ignored ext4\n/dev/y /srv/my\\040data xfs defaults 0 0\n")
    mounts.write_text("22 1 8:1 / / rw - ext4 /dev/root rw\n")
    found = unmounted(Path("/srv/my data/parityd"), fstab, mounts, tmp_path / "units")
    assert found is not None
    assert found.mend == "mount '/srv/my data'"
    mounts.write_text("22 1 8:1 / / rw - ext4 /dev/root rw\n23 22 8:2 / /srv/my\\040data rw - xfs /dev/y rw\n")
    assert unmounted(Path("/srv/my data/parityd"), fstab, mounts, tmp_path / "units") is None
    assert unmounted(Path("/srv/other"), fstab, mounts, tmp_path / "units") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_directory_of_somebody_else_is_refused_with_the_mend(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    desk.check()
    nobody = pwd.getpwnam("nobody")
    os.chown(desk.data, nobody.pw_uid, nobody.pw_gid)
    for args in (["check"], ["rebuild"], ["init"], ["backup", tmp_path / "b"], ["requeue", "x"]):
        assert "sudo -u nobody parityd" in desk.refused(*args)
    os.chown(desk.data, 0, 0)
    os.chown(desk.data / "archive", nobody.pw_uid, nobody.pw_gid)
    assert "sudo chown root" in desk.refused("check")


@pytest.mark.parametrize("name", ["", "system_actions", "archive", "audit", "rejected"])
def test_a_private_folder_that_the_world_writes_is_refused_with_the_mend(tmp_path, capsys, name):
    desk = Desk(tmp_path, capsys)
    desk.check()
    os.chmod(desk.data / name, 0o777)
    assert "chmod o-w" in desk.refused("check")


def test_a_folder_that_is_a_file_is_refused(tmp_path, capsys):
    desk = Desk(tmp_path, capsys)
    desk.check()
    (desk.data / "parity_reports").rmdir()
    (desk.data / "parity_reports").touch()
    assert "it is no folder" in desk.refused("check")
