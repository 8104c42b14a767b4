"""The systemd files: accepted without a word, well shut in, and the folders' modes and groups as engines and operators need them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from parityd.settings import load

ROOT = Path(__file__).parent.parent
UNITS = {"parityd.service": "parityd.service", "parityd@.service": "parityd@desk.service"}
MODES = {
    "": (0o711, "parityd", "parityd"),
    "system_actions": (0o755, "parityd", "parityd"),
    "spool": (0o750, "parityd", "parityd-spool"),
    "spool/live": (0o3770, "parityd", "parityd-spool"),
    "spool/backtest": (0o3770, "parityd", "parityd-spool"),
    "overrides": (0o3770, "parityd", "parityd-ops"),
    "overrides/applied": (0o750, "parityd", "parityd"),
    "overrides/refused": (0o750, "parityd", "parityd"),
    "archive": (0o750, "parityd", "parityd"),
    "rejected": (0o750, "parityd", "parityd"),
    "parity_reports": (0o750, "parityd", "parityd"),
    "audit": (0o750, "parityd", "parityd"),
}


def needs(command):
    if shutil.which(command) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{command} is not installed (Debian package systemd)")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=UNITS, ids=str)
def unit(request, tmp_path):
    """A unit as it would be installed, but for its program, which need not be on this machine."""
    text = (ROOT / "systemd" / request.param).read_text(encoding="utf-8")
    assert "ExecStart=/opt/parityd/bin/parityd run " in text
    place = tmp_path / UNITS[request.param]
    place.write_text(text.replace("/opt/parityd/bin/parityd", "/bin/true"), encoding="utf-8")
    return place


def test_systemd_accepts_the_unit_without_a_word(unit):
    needs("systemd-analyze")
    done = run("systemd-analyze", "verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistaken_unit_would_be_noticed(unit):
    needs("systemd-analyze")
    unit.write_text(unit.read_text(encoding="utf-8").replace("Type=notify", "Type=notify-reload").replace("WatchdogSec", "WatchDogSec"))
    assert run("systemd-analyze", "verify", str(unit)).stderr != ""


def test_the_service_is_shut_in(unit):
    needs("systemd-analyze")
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit))
    assert done.returncode == 0, done.stdout


def test_both_units_say_the_same_of_one_and_of_several(unit):
    texts = [(ROOT / "systemd" / name).read_text(encoding="utf-8") for name in UNITS]
    one, several = ("\n".join(text.splitlines()[1:]) for text in texts)
    assert several.replace(" (%i)", "").replace("parityd-%i", "parityd").replace("%i.toml", "parityd.toml") == one


def test_the_watchdog_and_the_restart_are_as_a_safety_device_needs_them(unit):
    text = unit.read_text(encoding="utf-8")
    wanted = "Type=notify WatchdogSec=20 WatchdogSignal=SIGABRT Restart=always RestartSec=2 StartLimitIntervalSec=0 TimeoutStopSec=30 "
    wanted += "UMask=0077 PrivateUsers=no LimitCORE=0 Environment=PYTHONFAULTHANDLER=1"
    assert [line for line in wanted.split() if line not in text.splitlines()] == []


def test_a_unit_calls_nothing_that_a_small_machine_may_lack(unit):
    programs = re.findall(r"(?m)^Exec\w+=[-+!@]*(\S+)", unit.read_text(encoding="utf-8"))
    assert set(programs) == {"/bin/true", "/bin/sh"}  # the first stands for parityd; kill is a package of its own


def test_the_production_file_loads_and_starts_with_trading_off():
    settings = load(ROOT / "systemd/parityd.toml", {"STATE_DIRECTORY": "/var/lib/parityd"})
    assert settings.publish.first_start == "DISABLE_TRADING"
    assert settings.data_dir == Path("/var/lib/parityd")


def test_every_folder_below_the_state_directory_is_made_with_its_mode_and_group():
    lines = [line.split() for line in (ROOT / "systemd/parityd.tmpfiles").read_text(encoding="utf-8").splitlines() if line.startswith("d ")]
    told = {
        path.removeprefix("/var/lib/parityd").lstrip("/"): (int(mode, 8), user, group)
        for _, path, mode, user, group, _ in lines
        if "/var" in path
    }
    assert told == MODES


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to other users")
def test_a_fresh_machine_gets_users_and_folders(tmp_path):
    for tool in ("systemd-sysusers", "systemd-tmpfiles"):
        needs(tool)
    (tmp_path / "etc").mkdir()
    for name in ("sysusers", "tmpfiles"):
        folder = tmp_path / f"usr/lib/{name}.d"
        folder.mkdir(parents=True)
        shutil.copy(ROOT / f"systemd/parityd.{name}", folder / "parityd.conf")
    (tmp_path / "usr/lib/sysusers.d/basic.conf").write_text("u root 0 - /root\n")
    assert run("systemd-sysusers", f"--root={tmp_path}").returncode == 0
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", "parityd.conf")
    assert (done.returncode, done.stderr) == (0, "")
    accounts = {kind: dict(re.findall(r"(?m)^([^:]+):[^:]*:(\d+):", (tmp_path / "etc" / kind).read_text())) for kind in ("passwd", "group")}
    for path, (mode, user, group) in MODES.items():
        found = (tmp_path / "var/lib/parityd" / path).stat()
        wanted = (mode, int(accounts["passwd"][user]), int(accounts["group"][group]))
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == wanted, path
