"""Command files and the trail, sentence by sentence of CONTRACT 6 and 7, against the running daemon: what the cases of FAULTS do not name."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from faults.box import Box, need_root
from faults.model import Model, over, rfc, trades
from faults.test_operators import ENABLE, RESET, signers, soon, stopped
from faults.test_time import faked, set_clock


def enabled(box: Box, strategy: str) -> bool:
    o = box.override()
    return bool(o["strategies"].get(strategy, o["default"])["trading_enabled"])


def known(box: Box, *names: str) -> None:
    box.drop("live", [over(name) for name in names])
    box.until(lambda: set(names) <= set(box.override()["strategies"]), 10)


def test_commands_of_one_look_count_in_the_order_of_their_last_change(box: Box) -> None:
    folder, then = box.data / "overrides", time.time() - 60
    words = {
        "z.json": {"command": "force_disable", "strategy": "s"},
        "a.json": RESET,
        "b.json": {"command": "force_disable", "strategy": "t"},
        "c.json": {"command": "reduce_size", "strategy": "t", "size_multiplier": 0.9},
        "d.json": {"command": "reduce_size", "strategy": "s", "size_multiplier": 0.7},
        "e.json": {"command": "reduce_size", "strategy": "s", "size_multiplier": 0.2},
    }
    with box.running():
        known(box, "s", "t")
        for k, (name, body) in enumerate(words.items()):
            (folder / f".{name}").write_text(json.dumps(body))
            os.utime(folder / f".{name}", (then + k, then + k))
        for name in words:
            (folder / f".{name}").rename(folder / name)
        for name in words:
            box.outcome(name, "applied")
        box.until(
            lambda: box.override()["strategies"]["s"]["size_multiplier"] == 0.2,
            5,
            "the smaller of the two, and no stop from before the reset",
        )
        assert not enabled(box, "t"), "what came after the reset"


def test_lines_of_the_trail_that_are_cut_or_lost_are_written_anew_and_a_forged_one_is_named(box: Box) -> None:
    with box.running():
        for k in range(3):
            box.order(f"{k}.json", {"command": "force_disable", "strategy": f"x{k}"})
            box.outcome(f"{k}.json", "applied")
        (path,) = box.until(lambda: len(box.events("override.applied")) == 3 and list((box.data / "audit").glob("*.jsonl")), 5)
        box.until(lambda: box.cli("audit", "verify").returncode == 0, 10)
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for left in (b"".join(lines[:-2]), whole[:-20], b""):
            path.write_bytes(left)
            box.until(lambda: path.read_bytes() == whole, 5)
        path.unlink()
        box.until(lambda: path.read_bytes() == whole, 5)
        forged = json.loads(lines[-1]) | {"actor": "somebody else"}
        path.write_bytes(b"".join(lines[:-1]) + json.dumps(forged, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        done = box.cli("audit", "verify")
    assert done.returncode == 2
    assert f"{path}:{len(lines)}" in done.stdout + done.stderr


@pytest.mark.torture
def test_a_lowering_command_ends_by_its_time_also_across_a_restart_and_says_so(box: Box) -> None:
    with box.running():
        known(box, "s")
        box.order("a.json", {"command": "force_disable", "strategy": "s", "expires_at": soon(4 / 3600)})
        box.outcome("a.json", "applied")
        assert not enabled(box, "s")
        box.kill()
    with box.running():
        box.until(lambda: enabled(box, "s"), 10)
        box.until(lambda: len(box.events("override.ended")) == 1, 5)
        box.order("b.json", {"command": "force_disable", "strategy": "s", "expires_at": soon(2 / 3600)})
        box.outcome("b.json", "applied")
        box.kill()
    time.sleep(2)
    with box.running():
        box.until(lambda: enabled(box, "s"), 10)
        box.until(lambda: len(box.events("override.ended")) == 2, 5)


@pytest.mark.torture
def test_a_wall_clock_that_jumps_ahead_ends_no_stop_and_one_that_jumps_back_prolongs_no_permission(box: Box, model: Model) -> None:
    decisions, fills = trades(40, bps=70.0)
    with box.running(env=faked(box, "+0s")):
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over(), over("t")])
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "REDUCE_SIZE", 15)
        box.order("off.json", {"command": "force_disable", "strategy": "t", "expires_at": soon(12 / 3600)})
        box.outcome("off.json", "applied")
        told = time.monotonic()
        set_clock(box, "+3600s")
        while time.monotonic() - told < 5:
            assert not enabled(box, "t")
            time.sleep(0.05)
        box.kill()
    with box.running(env=faked(box, "+3600s")):
        assert not enabled(box, "t"), "a restart changes nothing about it"
        set_clock(box, "+0s")
        box.until(lambda: enabled(box, "t"), 20)
        box.order("on.json", ENABLE | {"expires_at": soon(8 / 3600)})
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "CONTINUE", 5)
        set_clock(box, "-3600s")
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "REDUCE_SIZE", 14)


def put(box: Box, name: str, body: bytes, mode: int = 0o644, uid: int = 0, *, linked: bool = False) -> None:
    beside = box.data / "overrides" / f".{name}"
    beside.write_bytes(body)
    beside.chmod(mode)
    os.chown(beside, uid, uid)
    if linked:
        os.link(beside, box.root / name)
    beside.rename(box.data / "overrides" / name)


@pytest.mark.torture
def test_odd_files_stop_all_the_same_and_permit_nothing(box: Box) -> None:
    need_root()
    folder = box.data / "overrides"

    def refused(name: str, code: str) -> None:
        box.until(lambda: os.path.lexists(folder / "refused" / name), 15, name)
        assert json.loads((folder / f"refused/{name}.reason.json").read_text())["code"] == code, name

    with box.running():
        known(box, "s")
        put(box, "mode0.json", b'{"command":"force_disable","strategy":"s"}', 0o000)
        box.until(lambda: not enabled(box, "s"), 3)
        put(box, "linked-stop.json", b'{"command":"reduce_size","strategy":"x","size_multiplier":0.1}', 0o666, 12345, linked=True)
        box.until(lambda: box.override()["strategies"]["x"]["size_multiplier"] == 0.1, 3)
        put(box, "owner.json", json.dumps(RESET).encode(), uid=12345)
        refused("owner.json", "wrong_owner")
        put(box, "linked.json", json.dumps(RESET).encode(), linked=True)
        refused("linked.json", "writable_by_others")
        (folder / "link.json").symlink_to(box.root / "linked.json")
        (folder / "nowhere.json").symlink_to("/nowhere")
        os.mkfifo(folder / "fifo.json")
        (folder / "folder.json").mkdir()
        for name in ("link", "nowhere", "fifo", "folder"):
            refused(f"{name}.json", "unreadable_file")
        stops = {
            "nan.json": b'{"command":"reduce_size","strategy":"*","size_multiplier":NaN}',
            "deep.json": b'{"command":"force_disable","strategy":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "big.json": b'{"command":"force_disable","x":"' + b"y" * (3 << 20) + b'"}',
            "twice.json": b'{"command":"reset","command":"force_disable","strategy":"*"}',
        }
        for name, raw in stops.items():
            put(box, f"reset-{name}", json.dumps(RESET | {"reason": name}).encode())
            box.outcome(f"reset-{name}", "applied")
            box.until(lambda: box.override()["trading_enabled"], 5)
            put(box, name, raw, 0o666)
            box.until(lambda: not box.override()["trading_enabled"], 6, name)
        put(box, "long.json", json.dumps(RESET | {"reason": "r" * (2 << 20)}).encode())
        refused("long.json", "too_long")
        put(box, "said-twice.json", b'{"command":"reset","strategy":"*","operator":"o","reason":"r","reason":"q"}')
        refused("said-twice.json", "bad_value")
        for mode, code in ((0o777, "writable_by_others"), (0o1777, "writable_by_others"), (0o775, "writable_by_others")):
            folder.chmod(mode)
            put(box, f"folder-{mode:o}.json", json.dumps(RESET | {"reason": f"{mode}"}).encode())
            refused(f"folder-{mode:o}.json", code)
        folder.chmod(0o3770)
        assert not box.override()["trading_enabled"]
        put(box, "sticky.json", json.dumps(RESET | {"reason": "sticky"}).encode(), 0o664)
        box.outcome("sticky.json", "applied")


def signed(box: Box, key: Path, name: str, body: dict[str, Any], namespace: str = "parityd-override") -> tuple[bytes, bytes]:
    """A command and its signature, not dropped yet."""
    path = box.root / name
    path.write_text(json.dumps(body))
    with contextlib.suppress(FileNotFoundError):
        path.with_name(f"{name}.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace, str(path)], check=True, capture_output=True)
    return path.read_bytes(), path.with_name(f"{name}.sig").read_bytes()


@pytest.mark.torture
def test_signatures_that_are_late_odd_or_of_something_else(box: Box) -> None:
    key = signers(box)
    folder, allowed = box.data / "overrides", box.root / "allowed"

    def body(number: int, **other: Any) -> dict[str, Any]:
        return RESET | {"id": str(number), "issued_at": rfc(datetime.now(UTC))} | other

    def dropped(name: str, raw: bytes, signature: bytes, mode: int = 0o644) -> None:
        put(box, f"{name}.sig", signature)
        put(box, name, raw, mode)

    def refused(name: str, code: str) -> None:
        assert box.outcome(name, "refused")["code"] == code, name

    with box.running():
        raw, signature = signed(box, key, "late.json", body(1))
        put(box, "late.json", raw)
        time.sleep(2)
        put(box, "late.json.sig", signature)
        box.outcome("late.json", "applied")
        wrong: dict[str, tuple[dict[str, Any], str, str]] = {
            "same-id.json": (body(1, reason="another"), "parityd-override", "replayed"),
            "purpose.json": (body(2), "file", "bad_signature"),
            "no-id.json": ({k: v for k, v in body(3).items() if k != "id"}, "parityd-override", "missing_field"),
            "ahead.json": (body(4, issued_at=soon(0.1)), "parityd-override", "bad_value"),
        }
        for name, (said, namespace, code) in wrong.items():
            dropped(name, *signed(box, key, name, said, namespace))
            refused(name, code)
        raw, signature = signed(box, key, "changed.json", body(5))
        dropped("changed.json", raw + b" ", signature)
        refused("changed.json", "bad_signature")
        odd: dict[str, Callable[[Path], Any]] = {
            "link": lambda p: p.symlink_to(box.root / "late.json.sig"),
            "fifo": os.mkfifo,
            "dir": os.mkdir,
        }
        for name, make in odd.items():
            make(folder / f"{name}.json.sig")
            put(box, f"{name}.json", signed(box, key, f"{name}.json", body(6))[0])
        for name in odd:
            refused(f"{name}.json", "unsigned")
        put(box, "stop.json.sig", b"no signature")
        put(box, "stop.json", b'{"command":"force_disable"}', 0o666)
        box.until(lambda: not box.override()["trading_enabled"], 3)
        whole = allowed.read_bytes()
        for k, spoil in enumerate((lambda: allowed.chmod(0o666), lambda: allowed.write_bytes(b""), allowed.unlink)):
            spoil()
            dropped(f"list-{k}.json", *signed(box, key, f"list-{k}.json", body(20 + k)))
            refused(f"list-{k}.json", "bad_signature")
            allowed.write_bytes(whole)
            allowed.chmod(0o644)
        raw, signature = signed(box, key, "open.json", body(30))
        dropped("open.json", raw, signature, 0o666)
        refused("open.json", "writable_by_others")
        dropped("open.json", raw, signature)
        box.outcome("open.json", "applied")
        box.until(lambda: box.override()["trading_enabled"], 5, "refused it may be mended and dropped again")


@pytest.mark.torture
def test_with_signers_a_halt_outlives_its_file_a_restart_and_the_reset_of_another(box: Box) -> None:
    key = signers(box)
    halts = [box.data / "overrides/HALT", box.data / "overrides/HALT.s"]

    def reset(number: int, **other: str) -> None:
        raw, signature = signed(box, key, f"{number}.json", RESET | {"id": str(number), "issued_at": rfc(datetime.now(UTC))} | other)
        put(box, f"{number}.json.sig", signature)
        put(box, f"{number}.json", raw)
        box.outcome(f"{number}.json", "applied")

    with box.running():
        known(box, "s", "t")
        for halt in halts:
            halt.touch()
        box.until(lambda: stopped(box, "s") and stopped(box, "t") and len(box.events("halt.raised")) == 2, 5)
        box.kill()
    for halt in halts:
        halt.unlink()
    with box.running():
        time.sleep(2.5)
        assert stopped(box, "s")
        assert stopped(box, "t")
        reset(1, strategy="s")
        halts[0].touch()
        reset(2)
        time.sleep(1.5)
        assert stopped(box, "t"), "a reset of one ends no stop of all, and no reset one whose file is there"
        halts[0].unlink()
        time.sleep(2.5)
        assert stopped(box, "t")
        reset(3)
        box.until(lambda: not stopped(box, "t"), 5)


@pytest.mark.torture
def test_a_command_used_after_the_backup_is_used_up_after_the_restore(box: Box) -> None:
    used = RESET | {"reason": "used once"}
    with box.running():
        known(box, "s")
    assert box.cli("backup", str(box.root / "backup")).returncode == 0
    with box.running():
        box.order("a.json", used)
        box.outcome("a.json", "applied")
        box.order("stop.json", {"command": "force_disable", "strategy": "s"})
        box.outcome("stop.json", "applied")
        box.until(lambda: len(box.events("override.applied")) == 2, 5)
        seen = box.gate().read()
        box.stop()
    shutil.rmtree(box.data / "overrides/applied")
    assert box.cli("restore", str(box.root / "backup")).returncode == 0
    with box.running():
        now = box.override()
        assert now["sequence"] > seen.sequence
        assert now["decision_sequence"] >= seen.decision_sequence
        assert not enabled(box, "s")
        box.order("b.json", used)
        assert box.outcome("b.json", "refused")["code"] == "replayed"
