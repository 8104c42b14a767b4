"""FAULTS, Operators: cases 33 to 35 and 40; and HALT as CONTRACT 6 has it."""

import os
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faults.box import FAST, Box, need, need_root
from faults.model import Model, chunks, over, rfc, trades


def soon(hours: float = 1.0) -> str:
    return rfc(datetime.now(UTC) + timedelta(hours=hours))


def stopped(box: Box, strategy: str = "") -> bool:
    o = box.override()
    entry = o["strategies"][strategy] if strategy else o
    return entry["action"] == "EMERGENCY_STOP"


ENABLE = {"command": "force_enable", "strategy": "s", "operator": "ops", "reason": "drill"}
RESET = {"command": "reset", "strategy": "*", "operator": "ops", "reason": "looked at"}


def test_case_33_what_raises_risk_without_right_is_refused_and_audited(box: Box) -> None:
    need_root()
    with box.running():
        box.drop("live", [over()])
        box.until(lambda: "s" in box.override()["strategies"], 10)
        box.order("stop.json", {"command": "force_disable", "strategy": "s", "operator": "ops", "reason": "drill"})
        box.until(lambda: not box.override()["strategies"]["s"]["trading_enabled"], 3)
        wrong = {
            "expired": (ENABLE | {"expires_at": soon(-1)}, 0o644, "expired"),
            "far": (ENABLE | {"expires_at": soon(25)}, 0o644, "too_far_ahead"),
            "scope": (ENABLE | {"expires_at": soon(), "strategy": "nobody"}, 0o644, "unknown_strategy"),
            "world": (RESET, 0o666, "writable_by_others"),
            "group": (RESET, 0o664, "writable_by_others"),
            "silent": (RESET | {"reason": " "}, 0o644, "missing_field"),
            "unknown": (RESET | {"command": "launch"}, 0o644, "unknown_command"),
        }
        for name, (body, mode, _) in wrong.items():
            box.order(f"{name}.json", body, mode)
        beside = box.data / "overrides/.owner.json"
        beside.write_text('{"command":"reset","strategy":"*","operator":"o","reason":"r"}')
        os.chown(beside, 65534, 65534)
        beside.rename(beside.with_name("owner.json"))
        for name, (_, _, code) in (wrong | {"owner": ({}, 0, "wrong_owner")}).items():
            assert box.outcome(f"{name}.json", "refused")["code"] == code, name
        box.order("ok.json", RESET)
        box.outcome("ok.json", "applied")
        box.until(lambda: box.override()["strategies"]["s"]["trading_enabled"], 5)
        box.order("again.json", RESET)
        assert box.outcome("again.json", "refused")["code"] == "replayed"
    box.check()
    assert len(box.events("override.refused")) == len(wrong) + 2
    assert len(box.events("override.applied")) == 2


def test_case_33_of_two_equal_commands_in_one_look_one_counts_and_across_a_restart_none(box: Box) -> None:
    body = RESET | {"reason": "twice"}
    for name in ("a.json", "b.json"):
        box.order(name, body)
    with box.running():
        box.outcome("a.json", "applied")
        assert box.outcome("b.json", "refused")["code"] == "replayed"
        box.kill()
    box.order("c.json", body)
    with box.running():
        assert box.outcome("c.json", "refused")["code"] == "replayed"


def test_case_33_control_without_the_ownership_check_anybody_raises(box: Box) -> None:
    need_root()
    with box.running(shim="no_owner"):
        box.order("world.json", RESET, 0o666)
        box.outcome("world.json", "applied")


def test_case_33_control_without_the_replay_check_a_command_counts_twice(box: Box) -> None:
    with box.running(shim="no_replay_check"):
        for name in ("a.json", "b.json"):
            box.order(name, RESET)
            box.outcome(name, "applied")


def signers(box: Box) -> Path:
    need("ssh-keygen")
    key = box.root / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed = box.root / "allowed"
    allowed.write_text(f"ops {(box.root / 'key.pub').read_text()}")
    box.configure(f'{FAST}[overrides]\nallowed_signers = "{allowed}"\n')
    return key


def sign(box: Box, key: Path, name: str, body: dict) -> None:
    import json

    path = box.root / name
    path.write_text(json.dumps(body))
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "parityd-override", str(path)], check=True, capture_output=True)
    for part in (f"{name}.sig", name):
        shutil.copy(box.root / part, box.data / "overrides" / f".{part}")
        (box.data / "overrides" / f".{part}").rename(box.data / "overrides" / part)


def test_case_33_with_signers_only_what_is_signed_counts_and_a_halt_ends_by_it_alone(box: Box) -> None:
    key = signers(box)
    with box.running():
        (box.data / "overrides/HALT").touch()
        box.until(lambda: stopped(box), 2)
        (box.data / "overrides/HALT").unlink()
        now = rfc(datetime.now(UTC))
        box.order("bare.json", RESET | {"id": "2", "issued_at": now})
        sign(box, key, "old.json", RESET | {"id": "1", "issued_at": soon(-0.5)})
        assert box.outcome("old.json", "refused")["code"] == "too_old"
        stranger = box.root / "stranger"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
        sign(box, stranger, "stranger.json", RESET | {"id": "3", "issued_at": now})
        box.outcome("stranger.json", "refused")
        assert box.outcome("bare.json", "refused")["code"] == "unsigned"
        assert stopped(box)
        sign(box, key, "good.json", RESET | {"id": "4", "issued_at": rfc(datetime.now(UTC))})
        box.outcome("good.json", "applied")
        box.until(lambda: not stopped(box), 5)


def test_case_34_lowering_risk_is_obeyed_whoever_asks_and_whatever_is_missing(box: Box) -> None:
    with box.running():
        box.drop("live", [over(), over("t")])
        box.until(lambda: {"s", "t"} <= set(box.override()["strategies"]), 10)
        box.order("a.json", {"command": "reduce_size", "strategy": "s", "size_multiplier": 0.3}, 0o666)
        box.until(lambda: box.override()["strategies"]["s"]["size_multiplier"] == 0.3, 3)
        box.order("b.json", {"command": "reduce_size", "strategy": "t", "size_multiplier": 7}, 0o666)
        box.until(lambda: not box.override()["strategies"]["t"]["trading_enabled"], 3)
        box.order("c.json", {"command": "force_disable"}, 0o666)
        box.until(lambda: not box.override()["trading_enabled"] and not box.override()["default"]["trading_enabled"], 3)
        applied = box.data / "overrides/applied/c.json"
        box.until(applied.exists, 5)
        box.order("reset.json", RESET)
        box.outcome("reset.json", "applied")
        box.until(lambda: box.override()["trading_enabled"], 5)
        applied.rename(box.data / "overrides/c.json")  # the very same file, moved back
        box.until(lambda: not box.override()["trading_enabled"], 3, "as often as they come")
        box.order("reset2.json", RESET | {"reason": "again"})
        box.until(lambda: box.override()["trading_enabled"], 5)
        box.order("d.json", {"command": "force_disable", "strategy": "ghost"}, 0o666)
        box.until(lambda: "ghost" in box.override()["strategies"], 3)
        box.order("e.json", RESET | {"strategy": "ghost"})
        box.until(lambda: "ghost" not in box.override()["strategies"], 5, "what only a command names is reset as any other")
        (box.data / "overrides/torn.json").write_bytes(b'{"command": "force_disable", "strategy": "s",')
        assert box.override()["trading_enabled"], "it may still be being written"
        box.until(lambda: not box.override()["trading_enabled"], 6, "what may have been meant as a stop is one")


def test_case_34_a_flood_of_files_delays_no_stop(box: Box) -> None:
    """Whoever may write into the folder may fill it: a HALT behind thousands of files is told all the same, and so is the last of them."""
    signers(box)
    folder = box.data / "overrides"
    big = b'{"command": "reset", "reason": "' + b"x" * 300_000 + b'"}'
    with box.running():
        for k in range(500):
            (folder / f".{k}").write_bytes(big if k % 10 == 0 else b"{}")
            (folder / f"{k}.json.sig").write_bytes(b"no signature" if k % 10 == 0 else b"")
            (folder / f".{k}").rename(folder / f"{k}.json")
        box.order("zz.json", {"command": "force_disable"}, 0o666)
        box.until(lambda: not box.override()["trading_enabled"], 10)
        assert len(list(folder.glob("*.json"))) > 50, "the flood is over already: nothing was shown"
        (folder / "HALT").touch()
        started = time.monotonic()
        box.until(lambda: stopped(box), 5)
        assert time.monotonic() - started < 1.5
        assert box.fresh()


def test_case_40_a_folder_that_is_gone_is_told(box: Box) -> None:
    with box.running():
        (box.data / "overrides").rename(box.data / "away")
        box.until(lambda: "operators are not heard" in box.get("/api/v1/status")[1].decode(), 5)
        (box.data / "away").rename(box.data / "overrides")
        box.until(lambda: "operators are not heard" not in box.get("/api/v1/status")[1].decode(), 5)


def test_case_35_check_lifts_a_halt_as_the_daemon_does(box: Box) -> None:
    halt = box.data / "overrides/HALT"
    halt.touch()
    assert box.check()["action"] == "EMERGENCY_STOP"
    assert box.check()["action"] == "EMERGENCY_STOP"
    halt.unlink()
    assert box.check()["action"] == "CONTINUE", "one command looks twice, a second apart"
    halt.touch()
    assert box.check()["action"] == "EMERGENCY_STOP"
    halt.parent.rename(box.data / "away")
    halt.parent.mkdir()
    assert box.check()["action"] == "EMERGENCY_STOP", "in another folder it cannot be seen to be gone"


def test_case_34_a_halt_is_told_within_a_second_while_a_backlog_is_drained(box: Box, model: Model) -> None:
    with box.running():
        decisions, fills = trades(600)
        for book, records in (("backtest", decisions), ("live", fills)):
            for part in chunks(model.take(records), 2):
                box.drop(book, part)
            box.drop(book, [over()])
        assert len(box.spooled()) > 50
        (box.data / "overrides/HALT").mkdir()
        started = time.monotonic()
        box.until(lambda: stopped(box), 5)
        assert time.monotonic() - started < 1.0
        (box.data / "overrides/HALT").rmdir()
        box.until(lambda: not stopped(box), 20)
    model.agrees(box)


def test_case_34_halt_names_scopes_and_its_end(box: Box) -> None:
    folder = box.data / "overrides"
    with box.running():
        box.drop("live", [over(), over("t")])
        box.until(lambda: {"s", "t"} <= set(box.override()["strategies"]), 10)
        (folder / "HALT.s").touch()
        box.until(lambda: stopped(box, "s"), 2)
        assert box.override()["default"]["trading_enabled"]
        assert not stopped(box, "t")
        (folder / "HALT.S").touch()
        box.until(lambda: stopped(box, "t"), 2, "a strategy that nobody knows stops everything")
        assert "neither seen nor configured" in box.override()["default"]["reason"]
        (folder / "HALT.S").unlink()
        box.until(lambda: not stopped(box, "t"), 6)
        assert stopped(box, "s")
        box.order("reset.json", RESET)
        box.outcome("reset.json", "applied")
        time.sleep(1.5)
        assert stopped(box, "s"), "a reset never ends a HALT whose file is there"
        (folder / "HALT.s").unlink()
        box.until(lambda: not stopped(box, "s"), 6)
        (folder / "halt-everything.txt").symlink_to("/nowhere")
        box.until(lambda: stopped(box) and stopped(box, "t"), 2)
        box.until(lambda: len(box.events("halt.raised")) == 3, 5)
    told = [(row["event"], row["strategy"], row["data"]["file"]) for row in box.audit() if row["event"].startswith("halt.")]
    assert told == [
        ("halt.raised", "s", "HALT.s"), ("halt.raised", "*", "HALT.S"), ("halt.lifted", "*", "HALT.S"), ("halt.lifted", "s", "HALT.s"),
        ("halt.raised", "*", "halt-everything.txt"),
    ]  # fmt: skip


def test_case_35_an_emergency_stop_survives_a_kill_and_a_lost_store_and_ends_by_reset_alone(box: Box, model: Model) -> None:
    decisions, fills = trades(40, bps=160.0)
    recent = [dict(r, ts=rfc(datetime.fromisoformat(r["ts"]))) for r in (*decisions, *fills)]
    with box.running():
        box.drop("backtest", [*model.take(recent[:40]), over()])
        box.drop("live", [*model.take(recent[40:]), over()])
        box.until(lambda: stopped(box, "s"), 15)
        box.kill()
    gate = box.gate()
    with box.running():
        assert gate.read().action == "EMERGENCY_STOP"
        assert stopped(box, "s")
        box.kill()
    backup = box.root / "old.sqlite"
    shutil.copy(box.data / "parityd.sqlite", backup)
    for path in box.data.glob("parityd.sqlite*"):
        path.unlink()
    with box.running():
        assert stopped(box, "s"), "the store is lost, the stop is not"
        assert box.override()["default"]["action"] == "DISABLE_TRADING"
        assert gate.read().action == "EMERGENCY_STOP"
        box.order("reset.json", RESET | {"acknowledge": "BROKEN_STORE"})
        box.outcome("reset.json", "applied")
        box.until(lambda: box.override()["trading_enabled"], 5)


@pytest.mark.parametrize("how", ["replaced", "restart", pytest.param("missing", marks=pytest.mark.torture)])
def test_case_40_a_halt_outlives_the_folder_it_was_in(box: Box, how: str) -> None:
    folder = box.data / "overrides"
    with box.running():
        (folder / "HALT").touch()
        box.until(lambda: stopped(box), 2)
        if how == "restart":
            time.sleep(0.5)
            box.kill()
        folder.rename(box.data / "away")
        if how != "missing":
            folder.mkdir()
        if how != "restart":
            time.sleep(2.5)
            assert stopped(box)
            if how == "replaced":
                box.order("reset.json", RESET)
                box.until(lambda: not stopped(box), 6, "a reset lifts what is not there any more")
    if how == "restart":
        with box.running():
            time.sleep(2.5)
            assert stopped(box)


def test_case_35_a_halt_that_went_while_nothing_ran_is_lifted_after_two_looks_and_not_before(box: Box) -> None:
    with box.running():
        (box.data / "overrides/HALT").touch()
        box.until(lambda: stopped(box) and "operator halt" in box.log(), 4)
        box.kill()
    (box.data / "overrides/HALT").unlink()
    with box.running(ready=False):
        box.until(lambda: not stopped(box), 10)


def test_a_force_enable_ends_by_its_time_and_what_lies_under_it_holds_at_once(box: Box, model: Model) -> None:
    decisions, fills = trades(40, bps=70.0)
    with box.running():
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "REDUCE_SIZE", 15)
        box.order("on.json", ENABLE | {"expires_at": soon(2.5 / 3600)})
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "CONTINUE", 5)
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "REDUCE_SIZE", 6)


@pytest.mark.torture
def test_an_expired_force_enable_does_not_come_back_with_a_restart(box: Box, model: Model) -> None:
    decisions, fills = trades(40, bps=70.0)
    with box.running():
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "REDUCE_SIZE", 15)
        box.order("on.json", ENABLE | {"expires_at": soon(3 / 3600)})
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "CONTINUE", 5)
        box.kill()
    time.sleep(2)
    with box.running():
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "REDUCE_SIZE", 8)
