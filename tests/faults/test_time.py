"""FAULTS, Time: cases 26 to 29."""

import json
import time

import pytest
from faults.box import Box, need_faketime
from faults.model import Model, over, trades


def faked(box: Box, offset: str) -> dict[str, str]:
    clock = box.root / "clock"
    clock.write_text(offset)
    return {
        "LD_PRELOAD": str(need_faketime()), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


def set_clock(box: Box, offset: str) -> None:
    beside = box.root / "clock.new"
    beside.write_text(offset)
    beside.rename(box.root / "clock")


def stepped(box: Box, model: Model, steps: list[str]) -> None:
    """The wall clock jumps about under load; after it all is as the model says."""
    decisions, fills = trades(10 * len(steps))
    with box.running(env=faked(box, "+0s")):
        for k, step in enumerate(steps):
            before = box.override()["sequence"]
            set_clock(box, step)
            box.drop("backtest", model.take(decisions[10 * k : 10 * k + 10]))
            box.drop("live", model.take(fills[10 * k : 10 * k + 10]))
            box.until(lambda before=before: box.override()["sequence"] > before + 1, 30, f"{step}: renewals go on: {box.get('/readyz')}")
            box.until(lambda: box.gate().read().fresh, 5, step)
        set_clock(box, "+0s")
        box.drop("backtest", [over()])
        box.drop("live", [over()])
        box.until(lambda: not box.spooled(), 20, f"back at the true time: {box.get('/readyz')}")
    model.agrees(box)
    assert not [r for r in box.rejected() if r["code"] != "future_timestamp"]


@pytest.mark.parametrize("steps", [["-1d", "+0s"], pytest.param(["+3600s", "+3650d", "+0s"], marks=pytest.mark.torture)])
def test_case_26_the_wall_clock_steps_and_renewals_go_on_once_everything_was_judged_again(box: Box, model: Model, steps: list[str]) -> None:
    stepped(box, model, steps)
    assert not box.rejected()


def test_case_26_in_1970_files_wait_and_nothing_is_refused_for_its_date(box: Box, model: Model) -> None:
    decisions, fills = trades(20)
    box.check()
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    with box.running(env=faked(box, "@1970-01-01 01:00:00"), ready=False):
        box.until(lambda: "files wait until it has passed it" in box.get("/api/v1/status")[1].decode(), 10, "the files were seen")
        assert len(box.spooled()) == 2
        assert not box.rejected()
        set_clock(box, "+0s")
        box.until(lambda: not box.spooled(), 20)
    model.agrees(box)


def test_case_26_after_ten_years_ahead_the_next_start_waits_says_so_and_one_check_ends_it(box: Box, model: Model) -> None:
    """A start cannot tell which of the two times was wrong; an operator can."""
    decisions, fills = trades(20)
    with box.running(env=faked(box, "+3650d")):
        box.stop()
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    with box.running(ready=False):
        box.until(lambda: "files wait until it has passed it" in box.get("/readyz")[1].decode(), 10)
        assert len(box.spooled()) == 2
        assert "run `parityd check` once" in box.cli("doctor").stdout
        box.stop()
    box.check()
    with box.running():
        assert box.gate().read().fresh
    model.agrees(box)


def test_case_26_while_the_clocks_disagree_a_halt_is_told_and_prolongs_nothing(box: Box) -> None:
    with box.running(env=faked(box, "+0s")):
        box.drop("live", [over("a"), over("b")])
        box.until(lambda: "b" in box.override()["strategies"], 10)
        set_clock(box, "-3600s")
        (box.data / "overrides/HALT.a").touch()
        box.until(lambda: box.override()["strategies"]["a"]["action"] == "EMERGENCY_STOP", 3)


def test_case_27_after_a_suspend_nothing_is_permitted_before_it_was_looked_at(box: Box) -> None:
    mark = box.root / "suspend"
    with box.running(shim="long_suspend", env={"SUSPEND": str(mark)}):
        gate = box.gate()
        first = box.override()
        mark.touch()
        box.until(
            lambda: box.override()["issued_boottime_ns"] > first["issued_boottime_ns"] + 3_000 * 10**9, 40, "it goes on after an hour"
        )
        told = [r for r in box.audit() if r["event"] == "service.started"]
        assert len(told) == 1
        assert not gate.read().fresh or gate.read().trading_enabled
        box.until(lambda: box.get("/readyz")[0] == 200, 20)


def test_case_28_an_engine_whose_clock_is_minutes_off_is_not_misled(box: Box) -> None:
    """The boot-time clock decides on one machine; from another machine, wall time does, and a publication from the future is none."""
    from parityd.engine import Gate

    with box.running():
        assert box.gate().read().fresh
        said = box.override()
        carried = box.root / "carried"
        carried.mkdir(mode=0o755)
        for ahead, fresh in ((0, True), (300, False), (-300, False)):
            body = dict(said, boot_id="another")
            body |= shifted(said, ahead)
            (carried / "trading_override.json").write_text(json.dumps(body))
            (carried / "trading_override.json").chmod(0o644)
            assert Gate(carried, "s", remote=True).read().fresh is fresh
            assert not Gate(carried, "s").read().fresh


def shifted(said: dict, seconds: int) -> dict:
    from datetime import UTC, datetime, timedelta

    issued = datetime.now(UTC) + timedelta(seconds=seconds)
    text = [(issued + timedelta(seconds=s)).isoformat(timespec="milliseconds").replace("+00:00", "Z") for s in (0, said["ttl_seconds"])]
    return {"issued_at": text[0], "expires_at": text[1]}


def test_case_29_after_a_reboot_an_old_file_permits_nothing_until_it_was_looked_at(box: Box, model: Model) -> None:
    decisions, fills = trades(20)
    with box.running():
        pass
    path = box.actions / "trading_override.json"
    old = dict(box.override(), boot_id="of another boot", issued_boottime_ns=9 * 10**18)
    path.write_text(json.dumps(old))
    gate = box.gate()
    assert not gate.read().trading_enabled
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    with box.running():
        box.until(lambda: gate.read().fresh, 10)
        assert box.override()["sequence"] > old["sequence"]
    model.agrees(box)


@pytest.mark.torture
def test_control_without_the_comparison_of_clocks_a_step_is_not_noticed(box: Box) -> None:
    box.check()
    with box.running(env=faked(box, "+0s"), shim="no_clock_check"):
        set_clock(box, "+3600s")
        time.sleep(1.5)
        assert "moved" not in json.dumps(json.loads(box.get("/api/v1/status")[1])["withheld"])
        assert "clock" not in box.log()
