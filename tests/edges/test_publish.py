"""The publisher by itself: whose folder it is, and what engines have seen."""

import json
import time

import pytest

from parityd.core.commands import Moment
from parityd.core.ladder_state import LadderState
from parityd.core.publication import Basis, entries
from parityd.edges.publish import Content, Publisher, Terms
from parityd.engine import Gate

BOOT = "b1"


@pytest.fixture
def publisher(tmp_path):
    tmp_path.chmod(0o755)
    terms = Terms(15.0, 60.0, "DISABLE_TRADING", "desk", _boot_id())
    made = Publisher(tmp_path, terms, time.time_ns, lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME), list)
    made.publish(content("CONTINUE"))
    return made


def _boot_id():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def content(action):
    basis = Basis(ladders={"s": LadderState(strategy="s", action=action)}, reduce_to={})
    moment = Moment(now_ns=time.time_ns(), boottime_ns=0, boot_id=BOOT)
    return Content(lambda: entries(basis, (), (), moment))


def said(publisher):
    return json.loads((publisher.folder / "trading_override.json").read_text())


def test_what_an_engine_has_seen_beyond_is_passed_once(publisher):
    """A snapshot of the machine was put back: the engine knows publications that nobody here remembers."""
    gate = Gate(publisher.folder, "s")
    assert gate.read().fresh
    before = said(publisher)
    publisher.heard(before["decision_sequence"])
    publisher.publish()
    assert said(publisher)["decision_sequence"] == before["decision_sequence"]
    publisher.heard(40)
    publisher.publish()
    assert said(publisher)["decision_sequence"] == 41
    assert said(publisher)["sequence"] > 10**12, "whatever was counted up at one a publication"
    publisher.publish()
    assert said(publisher)["decision_sequence"] == 41
    assert gate.read().fresh
    publisher.heard(999)  # an engine that tells another number than it should drives it no further
    publisher.publish()
    assert said(publisher)["decision_sequence"] == 41


def test_in_a_folder_that_is_somebody_elses_nothing_is_written(publisher):
    before = said(publisher)
    publisher.owned = lambda: False
    assert not publisher.publish(content("EMERGENCY_STOP"))
    assert not publisher.renew()
    assert said(publisher) == before
    publisher.owned = lambda: True
    assert publisher.renew()
    assert said(publisher)["action"] == "EMERGENCY_STOP"


def test_a_folder_that_is_gone_is_made_anew_and_what_it_lies_in_is_not(publisher, tmp_path):
    told = []
    publisher.remade.append(lambda: told.append(1))
    publisher.folder = tmp_path / "above" / "system_actions"
    assert not publisher.renew()
    assert not publisher.folder.parent.exists()
    publisher.folder.parent.mkdir()
    assert publisher.renew()
    assert (publisher.folder.stat().st_mode & 0o7777, told) == (0o755, [1])
    (publisher.folder / "trading_override.json").unlink()
    publisher.withheld = lambda: ["the spool has not been scanned for 30 s"]
    publisher.look()
    assert not list(publisher.folder.glob("trading_override.json")), "a permission that is not earned is not told again"
    publisher.withheld = list
    publisher.look()
    assert said(publisher)["trading_enabled"]


@pytest.mark.parametrize("left_ms", [1, 150, 199, 201, 5_000])
def test_a_rise_for_one_prolongs_no_permission_of_another_however_late_it_comes(publisher, left_ms):
    """Renewals are withheld: what a stop for one strategy tells of the others ends when it would have ended without it."""
    until = said(publisher)["issued_boottime_ns"] + 60 * 10**9
    publisher.boottime = lambda: until - left_ms * 1_000_000
    publisher.withheld = lambda: ["the spool has not been scanned for 30 s"]
    publisher._last = None
    assert publisher.publish(content("EMERGENCY_STOP"), rises_only=True)
    told = said(publisher)
    assert told["strategies"]["s"]["action"] == "EMERGENCY_STOP"
    ends = told["issued_boottime_ns"] + round(told["ttl_seconds"] * 1e9)
    assert ends <= until or not told["default"]["trading_enabled"]


def test_what_has_lapsed_is_told_as_a_stop_for_all(publisher):
    until = said(publisher)["issued_boottime_ns"] + 60 * 10**9
    publisher.boottime = lambda: until + 1
    publisher.withheld = lambda: ["the store cannot be written"]
    publisher._last = None
    assert publisher.publish(content("EMERGENCY_STOP"), rises_only=True)
    assert said(publisher)["default"]["action"] == "DISABLE_TRADING"
    assert said(publisher)["ttl_seconds"] == 60
