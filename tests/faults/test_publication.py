"""FAULTS, Publication: cases 30 to 32; and what must hold between a start and the first judgement."""

import json
import os
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.box import Box, strace
from faults.model import Model, chunks, over, trades

from parityd.core.commands import Moment
from parityd.core.publication import Basis, entries
from parityd.edges import clock
from parityd.edges.publish import Content, Publisher, Terms
from parityd.engine import Gate


def publisher(folder: Path, names: int = 3) -> tuple[Publisher, list[str]]:
    """The product's publisher alone, telling by turns of one strategy more or less stopped."""
    actions = ["CONTINUE"]

    def compose() -> object:
        from parityd.core.ladder_state import LadderState

        ladders = {f"s{k}": LadderState(strategy=f"s{k}", action=actions[0], rung=actions[0]) for k in range(names)}
        return entries(Basis(ladders, {}), (), (), Moment(now_ns=clock.now(), boottime_ns=clock.boottime()))

    made = Publisher(folder, Terms(0.5, 60.0, "DISABLE_TRADING", "desk", clock.boot_id()), clock.now, clock.boottime, list)
    made._content = Content(compose)
    return made, actions


def read_while_published(folder: Path, times: int) -> tuple[int, int]:
    """(publications, reads): none torn, none going back."""
    folder.mkdir(mode=0o755)
    source, actions = publisher(folder)
    assert source.publish()
    path, bad, reads, stop = folder / "trading_override.json", [], [0], threading.Event()

    def reader() -> None:
        last, gate = 0, Gate(folder, "s1")
        while not stop.is_set():
            raw = path.read_bytes()
            reads[0] += 1
            try:
                sequence = json.loads(raw)["sequence"]
            except ValueError:
                bad.append(f"torn: {raw[:80]!r}")
                return
            seen = gate.read()
            if sequence < last or not seen.fresh:
                bad.append(f"{sequence} after {last}: {seen.reason}")
            last = sequence

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for t in threads:
        t.start()
    for k in range(times):
        actions[0] = ("CONTINUE", "EMERGENCY_STOP")[k % 2]
        assert source.publish()
    stop.set()
    for t in threads:
        t.join()
    assert not bad, bad[:3]
    return source.sequence, reads[0]


def test_case_30_readers_never_see_a_torn_file_or_a_falling_sequence(tmp_path: Path) -> None:
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        published, reads = read_while_published(Path(folder) / "actions", int(os.environ.get("FAULTS_PUBLICATIONS", "1100")))
    assert published > 1000
    assert reads > 100


def spoiled(path: Path) -> dict[str, Callable[[], object]]:
    body = json.loads(path.read_bytes())

    def put(new: bytes) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(new)
        path.chmod(0o644)

    elsewhere = path.with_name("elsewhere.json")
    elsewhere.write_bytes(path.read_bytes())
    return {
        "missing": path.unlink,
        "empty": lambda: put(b""),
        "huge": lambda: put(path.read_bytes() + b" " * (5 << 20)),
        "foreign": lambda: put(json.dumps(body | {"instance": "another"}).encode()),
        "symlinked": lambda: (path.unlink(), path.symlink_to(elsewhere)),
        "rolled back": lambda: put(json.dumps(body | {"sequence": body["sequence"] - 1}).encode()),
        "writable": lambda: path.chmod(0o666),
        "contradicting": lambda: put(json.dumps(body | {"trading_enabled": False}).encode()),
    }


def test_case_31_whatever_happens_to_the_file_the_gate_says_safe(box: Box) -> None:
    with box.running():
        pass
    path = box.actions / "trading_override.json"
    good = path.read_bytes()
    for name in spoiled(path):
        box.actions.chmod(0o755)
        path.unlink(missing_ok=True)
        body = json.loads(good) | {"issued_boottime_ns": clock.boottime()}
        path.write_text(json.dumps(body))
        gate = box.gate()
        assert gate.read().trading_enabled, name
        spoiled(path)[name]()
        assert not gate.read().trading_enabled, name


def test_case_31_a_folder_or_file_that_is_removed_is_made_anew_at_once_and_told(tmp_path: Path) -> None:
    box = Box(tmp_path, "")
    with box.running():
        gate, before = box.gate(), box.override()
        (box.actions / "trading_override.json").unlink()
        assert not gate.read().trading_enabled
        box.until(lambda: gate.read().fresh, 4, "long before the next renewal")
        assert box.override()["sequence"] > before["sequence"]
        box.actions.rename(tmp_path / "away")
        assert not gate.read().trading_enabled
        box.until(lambda: gate.read().fresh, 4)
        assert stat.S_IMODE(box.actions.stat().st_mode) == 0o755
        box.until(lambda: "system_actions was removed" in json.dumps(json.loads(box.get("/api/v1/status")[1])["degraded"]), 5)
        assert "override.folder_remade" in box.log()
        (box.data / "overrides/HALT").touch()
        box.until(lambda: box.override()["action"] == "EMERGENCY_STOP", 2)
        box.actions.rename(tmp_path / "away2")
        box.until(lambda: gate.read().fresh and gate.read().action == "EMERGENCY_STOP", 4)
        box.stop()
    assert gate.read().action == "EMERGENCY_STOP"


@pytest.mark.torture
def test_case_31_a_frozen_file_lapses(box: Box) -> None:
    with box.running():
        gate = box.gate()
        assert gate.read().trading_enabled
        box.kill()
        box.until(lambda: not gate.read().trading_enabled, 4, "it lapses")


def test_case_32_a_gate_started_on_a_stale_file_is_safe(box: Box) -> None:
    with box.running():
        box.kill()
    box.until(lambda: not box.fresh(), 4)
    assert not box.gate().read().trading_enabled
    assert not box.gate("another").read().trading_enabled


def test_until_the_files_found_are_judged_only_stops_are_told_and_they_prolong_nothing(tmp_path: Path, model: Model) -> None:
    """CONTRACT 3, At start: an old permission runs on, or lapses; a HALT is told at once, and renews nobody's permission."""
    box = Box(tmp_path, '[publish]\ninterval = "1s"\nttl = "6s"\n')
    with box.running():
        box.drop("live", [over("a"), over("b")])
        box.until(lambda: "b" in box.override()["strategies"], 10)
        box.kill()
    decisions, fills = trades(3000)
    for book, records in (("backtest", decisions), ("live", fills)):
        for part in chunks(model.take(records), 5):
            box.drop(book, part)
        box.drop(book, [over()])
    old = box.override()
    box.errors.unlink()
    box.start(shim="slow_turns")
    box.until(lambda: "file.ingested" in box.log(), 15)
    assert box.override() == old
    (box.data / "overrides/HALT.a").touch()
    new = box.until(
        lambda: (o := box.override())["strategies"]["a"]["action"] == "EMERGENCY_STOP" and o, 2, "the stop is told during the backlog"
    )
    assert box.spooled()
    permits = [name for name, entry in new["strategies"].items() if entry["trading_enabled"]]
    end_new = new["issued_boottime_ns"] + new["ttl_seconds"] * 1e9
    end_old = old["issued_boottime_ns"] + old["ttl_seconds"] * 1e9
    assert not permits or end_new <= end_old + 2e6
    gate_a, gate_b = box.gate("a"), box.gate("b")
    assert gate_a.read().action == "EMERGENCY_STOP"
    box.until(lambda: not gate_b.read().trading_enabled or not box.spooled(), 20, "the old permission of the others lapses")
    box.kill()


@pytest.mark.torture
def test_control_a_start_that_does_not_wait_renews_before_it_has_looked(tmp_path: Path, model: Model) -> None:
    box = Box(tmp_path, '[publish]\ninterval = "500ms"\nttl = "4s"\n')
    with box.running():
        box.kill()
    decisions, _ = trades(1500)
    for part in chunks(model.take(decisions), 5):
        box.drop("backtest", part)
    old = box.override()["sequence"]
    with box.running(shim="slow_turns,eager_start", ready=False):
        box.until(lambda: box.override()["sequence"] > old, 10)
        assert box.spooled(), "the control proves nothing"


def order_of_calls(tmp_path: Path, shim: str) -> list[str]:
    """What one `check` does to the published file, in order."""
    box = Box(tmp_path)
    trace = tmp_path / "trace"
    command = [*strace("fsync,fdatasync,/^rename", log=trace, folders=True), *box.command("check", "--json", shim=shim)]
    subprocess.run(command, capture_output=True, timeout=120, env=box.env, check=False)
    calls = []
    for line in trace.read_text(errors="replace").splitlines():
        if "system_actions" not in line:
            continue
        call = line.split(None, 1)[1]
        what = "rename" if call.startswith("rename") else "folder" if call.split(">")[0].endswith("system_actions") else "file"
        calls.append(what)
    return calls


def test_a_publication_is_durable_before_its_name_and_its_name_before_anybody_is_told(tmp_path: Path) -> None:
    calls = order_of_calls(tmp_path, "plain")
    first = calls.index("rename")
    assert calls[first - 1] == "file"
    assert calls[first + 1] == "folder"


@pytest.mark.parametrize(("shim", "missing"), [("no_fsync", "file"), ("no_folder_fsync", "folder")])
def test_control_with_an_fsync_taken_out_the_order_is_wrong(tmp_path: Path, shim: str, missing: str) -> None:
    calls = order_of_calls(tmp_path, shim)
    assert "rename" in calls
    assert missing not in calls


def test_a_publication_that_the_disk_refuses_is_counted_and_told_again(box: Box) -> None:
    with box.running(*strace("fsync", "error=EIO:when=3", path=box.actions)):
        box.until(lambda: box.metric("publish_failures_total") >= 1, 10)
        first = box.override()["sequence"]
        box.until(lambda: box.override()["sequence"] > first + 1 and box.fresh(), 10)
