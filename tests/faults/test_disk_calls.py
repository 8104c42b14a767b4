"""FAULTS, Disk: cases 14, 16 and 17: calls that are refused, a store that is broken, a wrong owner or mode."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from faults.box import Box, need_root, strace
from faults.model import Model, chunks, over, trades


def refused_at(box: Box, call: str, error: str, n: int) -> tuple[int, bool]:
    """One `check` whose n-th call fails: (exit status, whether there was an n-th call)."""
    trace = box.root / "trace"
    command = [*strace(call, f"error={error}:when={n}", log=trace), *box.command("check", "--json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=box.env, check=False)
    assert "Traceback" not in done.stderr, f"{call} {n}: {done.stderr[-1500:]}"
    return done.returncode, "INJECTED" in trace.read_text(errors="replace")


def nth_call_refused(tmp_path: Path, call: str, error: str, n: int) -> bool:
    """After it, the same again without the fault: nothing lost, nothing twice. False where there was no n-th call."""
    root = tmp_path / f"{call.strip('/^')}-{n}"
    root.mkdir()
    box, model = Box(root), Model()
    decisions, fills = trades(20)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over(), {**fills[0], "fill_id": "bad", "price": "0"}])
    code, injected = refused_at(box, call, error, n)
    assert code in (0, 1, 2, 3, -6, -9), code
    gate = box.gate()
    if code == 3:
        gate.read()
    store = box.data / "parityd.sqlite"
    assert not (injected and code == 0 and not store.exists())
    answer = box.cli("check", "--json")
    assert answer.returncode in (0, 1, 2), answer.stderr[-800:]
    model.agrees(box)
    assert [r["code"] for r in box.rejected()] == ["bad_value"]
    shutil.rmtree(root)
    return injected


@pytest.mark.parametrize(("call", "error", "n"), [("fsync", "EIO", 4), ("pwrite64", "ENOSPC", 12)])
def test_case_14_the_nth_call_refused_loses_nothing(tmp_path: Path, call: str, error: str, n: int) -> None:
    nth_call_refused(tmp_path, call, error, n)


RUNNING_CALLS = (
    ("fsync", "EIO"), ("/^rename", "EIO"), ("/^rename", "ENOSPC"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("write", "ENOSPC"), ("/^unlink", "EIO"),
    ("openat", "EMFILE"), ("openat", "EIO"), ("/^mkdir", "ENOSPC"), ("syncfs", "EIO"), ("getdents64", "EIO"), ("ftruncate", "EIO"),
    ("fstat,newfstatat,statx", "EIO"), ("read,pread64", "EIO"), ("statfs,fstatfs", "EIO"), ("clone3,clone", "EAGAIN"), ("mmap", "ENOMEM"),
    ("futex", "EINTR"), ("epoll_wait", "EINTR"),
)  # fmt: skip


def _safe_or_told(box: Box) -> bool:
    """What cannot even be opened is not obeyed; then this is told."""
    stopped = not any(box.gate(name).read().trading_enabled for name in ("s", "t"))
    return stopped or "operators are not heard" in box.get("/api/v1/status")[1].decode()


def refused_while_running(root: Path, call: str, error: str, when: str) -> bool:
    """A daemon that is ready, then calls that fail while records, a HALT and a command come; False where it ended of it.

    As long as it lives, the stops are told, or nothing is permitted, or it says that it cannot hear; the next process has everything once, and the stops.
    """
    box, model, (decisions, fills) = Box(root), Model(), trades(40)
    box.start()
    tracer = None
    try:
        box.ready()
        tracer = subprocess.Popen(strace(call, f"error={error}:when={when}", attach=box.proc.pid), stderr=subprocess.DEVNULL)
        status = Path(f"/proc/{box.proc.pid}/status")
        box.until(lambda: "TracerPid:\t0" not in status.read_text(), 10)
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", model.take(fills[:20]))
        time.sleep(0.4)
        (box.data / "overrides/HALT.s").touch()
        box.drop("live", [*model.take(fills[20:]), over()])
        box.order("c.json", {"command": "force_disable", "strategy": "t"})
        box.until(lambda: box.proc.poll() is not None or _safe_or_told(box), 10, "told, or nothing permitted")
        time.sleep(0.5)
        lived = box.proc.poll() is None
    finally:
        box.kill()
        if tracer is not None:
            tracer.kill()
            tracer.wait()
    with box.running():
        box.until(lambda: not box.spooled(), 20)
        box.until(lambda: box.override()["strategies"]["s"]["action"] == "EMERGENCY_STOP", 5)
        box.until(lambda: not box.override()["strategies"]["t"]["trading_enabled"], 5)
        box.stop()
    model.agrees(box)
    assert not box.rejected()
    assert not box.whole()
    return lived


@pytest.mark.parametrize(("call", "error", "when"), [("openat", "EMFILE", "4+5"), ("/^rename", "EIO", "2+")])
def test_case_14_calls_refused_in_the_running_daemon_cost_no_stop_and_no_record(box: Box, call: str, error: str, when: str) -> None:
    refused_while_running(box.root, call, error, when)


def test_case_14_a_store_whose_disk_fails_ends_the_process_and_the_next_one_finds_out_what_it_holds(box: Box, model: Model) -> None:
    decisions, fills = trades(40)
    with box.running():
        box.drop("backtest", [*model.take(decisions), over()])
        box.until(lambda: not box.spooled(), 10)
        box.kill()
    log = box.data / "parityd.sqlite-wal"
    with box.running(*strace("pwrite64", "error=EIO:when=6+", path=log), ready=False):
        for part in chunks(model.take(fills), 10):
            box.drop("live", part)
        box.drop("live", [over()])
        assert box.ended(30) != 0
    gate = box.gate()
    box.until(lambda: not gate.read().trading_enabled, 4)
    model.agrees(box)


def damage(box: Box, how: str) -> None:
    store = box.data / "parityd.sqlite"
    if how == "flipped":
        raw = bytearray(store.read_bytes())
        for k in range(4096, len(raw), 4096):
            raw[k] ^= 0xFF
        store.write_bytes(raw)
    elif how == "cut":
        with store.open("r+b") as f:
            f.truncate(store.stat().st_size // 2)
    elif how == "emptied":
        store.write_bytes(b"")
    elif how == "deleted":
        for path in box.data.glob("parityd.sqlite*"):
            path.unlink()


def reset_broken(box: Box, name: str = "reset.json") -> None:
    box.order(name, {"command": "reset", "strategy": "*", "operator": "ops", "reason": "looked at", "acknowledge": "BROKEN_STORE"})
    box.outcome(name, "applied")


@pytest.mark.parametrize("how", ["flipped", "deleted", *(pytest.param(how, marks=pytest.mark.torture) for how in ("cut", "emptied"))])
def test_case_16_a_broken_store_is_set_aside_and_never_silently_empty(box: Box, model: Model, how: str) -> None:
    decisions, fills = trades(40)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    box.check()
    before = box.override()
    damage(box, how)
    box.start(shim="eager_crash").kill()  # even a death right after the new store was made changes nothing
    with box.running():
        now = box.override()
        assert (now["action"], now["trading_enabled"], now["default"]["action"]) == ("DISABLE_TRADING", False, "DISABLE_TRADING")
        assert now["sequence"] > before["sequence"]
        assert now["decision_sequence"] > before["decision_sequence"]
        assert now["instance"] == before["instance"]
        if how == "flipped":
            box.order("plain.json", {"command": "reset", "strategy": "*", "operator": "ops", "reason": "no"})
            assert box.outcome("plain.json", "refused")["code"] == "not_acknowledged"
            assert not box.override()["trading_enabled"]
            reset_broken(box)
            box.until(lambda: box.override()["trading_enabled"], 10)
    box.check()
    assert box.cli("audit", "verify").returncode == 0
    if how != "deleted":
        assert list(box.data.glob("parityd.sqlite.broken-*"))


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_case_16_a_store_spoilt_while_running_is_noticed_and_safe(box: Box, model: Model, how: str) -> None:
    """Within seconds, not only when the next record comes."""
    decisions, fills = trades(40)
    box.drop("backtest", [*model.take(decisions), over()])
    box.drop("live", [*model.take(fills), over()])
    with box.running():
        box.until(lambda: "s" in box.override()["strategies"], 10)
        damage(box, how)
        assert box.ended(20) != 0
    with box.running():
        assert box.override()["action"] == "DISABLE_TRADING"


def test_case_16_a_missing_log_is_a_broken_store(box: Box) -> None:
    with box.running():
        box.drop("live", [over()])
        box.until(lambda: not box.spooled(), 10)
        box.kill()
    (box.data / "parityd.sqlite-wal").unlink()
    with box.running():
        assert box.override()["action"] == "DISABLE_TRADING"


def test_case_17_a_wrong_owner_or_mode_is_refused_at_start_with_the_mend(box: Box) -> None:
    need_root()
    box.check()
    os.chown(box.data, 65534, 65534)
    done = box.cli("run", timeout=20)
    assert done.returncode == 3
    assert "belongs to" in done.stderr
    assert "Mend:" in done.stderr
    os.chown(box.data, 0, 0)
    box.actions.chmod(0o777)
    done = box.cli("run", timeout=20)
    assert done.returncode == 3
    assert "chmod" in done.stderr
    box.actions.chmod(0o755)
    (box.data / "parityd.sqlite").chmod(0o000)
    box.actions.chmod(0o755)
    assert "Traceback" not in box.cli("check").stderr
