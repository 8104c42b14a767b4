"""FAULTS, Outside: case 36; and From review: cases 37 to 43."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from faults.box import FAST, Box, end_all, mounted, need_root
from faults.model import Model, chunks, over, trades


def steady(box: Box, seconds: float) -> None:
    """Permission never lapses for so long."""
    gate, end = box.gate(), time.monotonic() + seconds
    while time.monotonic() < end:
        assert gate.read().fresh, box.log()[-800:]
        time.sleep(0.01)


def test_case_36_a_scrape_flood_and_stuck_clients_hold_up_no_renewal(box: Box) -> None:
    with box.running(), contextlib.ExitStack() as stack:
        for _ in range(80):
            s = stack.enter_context(socket.socket())
            s.settimeout(1)
            with contextlib.suppress(OSError):
                s.connect(("127.0.0.1", box.port))
                s.send(b"GET /metrics HTTP/1.1\r\n")
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                box.get("/metrics", 1)

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for t in threads:
            t.start()
        steady(box, 1.5)
        stop.set()
        for t in threads:
            t.join()


def test_case_36_a_taken_port_and_a_dead_notification_service_stop_nothing(box: Box) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", box.port))
        taken.listen()
        with box.running(ready=False):
            box.until(box.fresh, 15)
            steady(box, 1)
            (box.data / "overrides/HALT").touch()
            box.until(lambda: box.override()["action"] == "EMERGENCY_STOP", 2)
            assert box.stop() == 0


def test_case_36_a_full_log_target_holds_up_nothing_not_even_the_end(box: Box, model: Model) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    decisions, fills = trades(60)
    try:
        with box.running(ready=False, stderr=writer, env={"PYTHONUNBUFFERED": "1"}):  # started anew: how an interpreter ends is part of it
            box.until(box.fresh, 15)
            for part in chunks(model.take(fills), 2):
                box.drop("live", part)
            box.drop("backtest", [*model.take(decisions), over()])
            box.drop("live", [over()])
            steady(box, 1)
            box.until(lambda: not box.spooled(), 15)
            assert box.stop() == 0
    finally:
        os.close(reader)
        os.close(writer)
    model.agrees(box)


def test_case_37_a_file_that_kills_its_reader_is_set_aside_at_the_next_start(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    box.drop("backtest", [*model.take(decisions), over()], "a.jsonl")
    box.drop("live", model.take(fills[:15]), "a.jsonl")
    box.drop("live", b"POISON\n", "b.jsonl")
    box.drop("live", [*model.take(fills[15:]), over()], "c.jsonl")
    box.start(shim="poison")
    assert box.ended(20) < 0
    gate = box.gate()
    assert not gate.read().trading_enabled
    env = {"PYTHONPATH": str(poisoned_python(box.root))}  # so that the child of the trial dies of it as well
    with box.running(env=env):
        box.until(lambda: not box.spooled(), 20)
    assert [(r["code"], r["name"]) for r in box.whole()] == [("poison", "b.jsonl")]
    box.check()
    assert [row["data"]["codes"] for row in box.events("file.refused")] == [{"poison": 1}]
    model.agrees(box)


def poisoned_python(root: Path) -> Path:
    """A path that makes every interpreter started with it read as the shim does."""
    folder = root / "path"
    folder.mkdir(exist_ok=True)
    here = str(Path(__file__).parent)
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.append({here!r})\nimport shim\nshim.poison()\n")
    return folder


@pytest.mark.torture
def test_case_37_a_file_that_was_being_read_at_a_kill_and_is_sound_is_taken(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    for book, records in (("backtest", decisions), ("live", fills)):
        box.drop(book, [*model.take(records), over()], "a.jsonl")
    (box.data / ".reading").write_text(json.dumps([["live", "a.jsonl"], ["backtest", "a.jsonl"], ["live", "gone.jsonl"]]))
    with box.running():
        box.until(lambda: not box.spooled(), 20)
        assert json.loads((box.data / ".reading").read_bytes()) == []
    assert not box.whole()
    model.agrees(box)


def test_one_record_that_makes_the_turn_raise_is_refused_and_the_rest_counts(box: Box, model: Model) -> None:
    decisions, fills = trades(60)
    bad = [{**fills[0], "fill_id": f"BUG{k}", "trade_id": f"BUG{k}"} for k in range(2)]
    box.drop("backtest", [*model.take(decisions), over()], "a.jsonl")
    mixed = [*model.take(fills[:20]), bad[0], *model.take(fills[20:33]), bad[1], *model.take(fills[33:]), over()]
    box.drop("live", mixed, "b.jsonl")
    with box.running(shim="bad_record"):
        box.until(lambda: not box.spooled(), 20)
    assert [(r["line"], r["code"]) for r in box.rejected()] == [(21, "internal_error"), (35, "internal_error")]
    assert json.loads(box.rejected()[0]["raw"])["fill_id"] == "BUG0"
    model.agrees(box)


def test_case_38_an_unmounted_data_dir_permits_nothing(tmp_path: Path) -> None:
    """An empty folder in its place is a first start; as a service that waits for `parityd init`. And over a running one: no renewal."""
    need_root()
    box = Box(tmp_path, '[publish]\ninterval = "500ms"\nttl = "2s"\nfirst_start = "DISABLE_TRADING"\n')
    point = box.data / "spool/live"
    with box.running():
        assert not box.override()["trading_enabled"]
        with mounted(point, "-t", "tmpfs", "tmpfs"):
            box.until(lambda: "another file system" in json.dumps(json.loads(box.get("/api/v1/status")[1])["degraded"]), 20)
    end_all()


@pytest.mark.parametrize("what", ["store", pytest.param("snapshot", marks=pytest.mark.torture)])
def test_case_39_an_older_copy_put_back_is_told_from_the_present(box: Box, model: Model, what: str) -> None:
    decisions, fills = trades(40)
    saved = box.root / "saved"
    box.drop("backtest", [*model.take(decisions), over()])
    with box.running():
        box.until(lambda: not box.spooled(), 10)
        box.stop()
    shutil.copytree(box.data, saved)
    gate = box.gate()
    with box.running():
        box.drop("live", [*model.take(fills), over()])
        box.until(lambda: not box.spooled() and gate.read().fresh, 10)
        box.order("stop.json", {"command": "force_disable", "strategy": "*", "operator": "ops", "reason": "drill"})
        box.until(lambda: not box.override()["trading_enabled"], 3)
        box.outcome("stop.json", "applied")
        time.sleep(1.2)
        box.stop()
    seen = gate.read()
    if what == "store":
        shutil.copy(saved / "parityd.sqlite", box.data / "parityd.sqlite")
        with box.running():
            said = box.override()
            assert said["sequence"] > seen.sequence
            assert said["decision_sequence"] >= seen.decision_sequence
            assert not said["trading_enabled"], "an older store does not know what has been stopped since"
            assert not gate.read().trading_enabled
        box.check()
        assert box.cli("audit", "verify").returncode == 0
    else:
        shutil.rmtree(box.data)
        shutil.copytree(saved, box.data)
        with box.running():
            assert not gate.read().trading_enabled, "what the engine has seen is newer"


def test_case_41_one_bad_one_record_file_in_an_otherwise_good_source_stops_nothing(box: Box, model: Model) -> None:
    decisions, fills = trades(60)
    with box.running():
        box.drop("backtest", [*model.take(decisions), over()])
        for part in chunks(model.take(fills), 6):
            box.drop("live", part)
        box.drop("live", [over()])
        box.drop("live", b'{"kind": "fill"}\n', "zz.jsonl")
        box.until(lambda: not box.spooled(), 10)
        time.sleep(0.3)
        assert "broken_source" not in (box.actions / "parity_action.json").read_text()
    model.agrees(box)
    assert len(box.rejected()) == 1


def test_case_42_an_upgrade_with_a_renamed_key_is_an_error_that_names_it_and_keeps_the_stop(box: Box) -> None:
    with box.running():
        (box.data / "overrides/HALT").touch()
        box.until(lambda: box.override()["action"] == "EMERGENCY_STOP", 2)
        box.kill()
    box.configure(FAST + "[thresholds]\nwarn_bps = 20\n")
    done = box.cli("run", timeout=20)
    assert done.returncode == 3
    assert "warn_bps" in done.stderr
    assert "Traceback" not in done.stderr
    assert box.gate().read().action == "EMERGENCY_STOP"


def refused_records(box: Box, model: Model, n: int) -> None:
    decisions, fills = trades(20)
    box.drop("backtest", [*model.take(decisions), over()])
    row = json.dumps({**fills[0], "quantity": "-1", "order_id": "x" * 200}).encode() + b"\n"
    box.drop("live", b"".join(json.dumps(r).encode() + b"\n" for r in model.take(fills)) + row * n + json.dumps(over()).encode() + b"\n")
    model.agrees(box)
    lines = list(box.events("file.refused"))
    assert len(lines) == 1
    assert lines[0]["data"]["codes"] == {"bad_value": n}
    size = sum(p.stat().st_size for p in (box.data / "rejected").rglob("*") if p.is_file())
    assert size <= (64 << 20) + 4096
    told = sum(r.get("more", 1) for r in box.rejected())
    assert told == n


def test_case_43_many_refused_records_are_bounded_and_one_line_of_audit(box: Box, model: Model) -> None:
    refused_records(box, model, 20_000)


def test_control_with_the_lock_taken_out_a_second_daemon_starts(box: Box) -> None:
    with box.running():
        second = Box(box.root, data=box.data)
        try:
            second.start(shim="no_lock")
            box.until(lambda: second.proc.poll() is not None or box.log().count('"service.ready"') == 2, 20)
            assert second.proc.poll() is None, "the control proves nothing"
        finally:
            os.killpg(second.proc.pid, signal.SIGKILL)
            second.ended()
