"""FAULTS, Disk: cases 12, 13 and 15: file systems that lose power, are full, turn read-only."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from faults.box import FAST, Box, end_all, mounted, need, need_root, power_cut
from faults.model import Model, chunks, over, trades

from parityd.edges.files import unwritable
from parityd.engine import Spool


def image(tmp_path: Path, kind: str, megabytes: int) -> Path:
    """A file with a file system in it."""
    path = tmp_path / f"{kind}.img"
    with path.open("wb") as f:
        f.truncate(megabytes << 20)
    made = ["mkfs.ext4", "-q", "-F"] if kind == "ext4" else ["mkfs.xfs", "-q", "-f"]
    subprocess.run([*made, str(path)], check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
    return path


def cut_while_it_runs(tmp_path: Path, kind: str, seconds: float, shim: str = "") -> tuple[Box, Model, int, list[str]]:
    """A daemon under load on an image of its own, the plug pulled, the image mounted again: (box, model, last sequence seen, files written).

    The files are written as engines write them: what has a name in the spool is durable.
    """
    need_root()
    need(f"mkfs.{kind}")
    disk, point = image(tmp_path, kind, 320), tmp_path / "mnt"
    model, written = Model(), list[str]()
    with mounted(point, "-o", "loop", str(disk)):
        box = Box(tmp_path, FAST, data=point / "data")
        decisions, fills = trades(400)
        box.start(shim=shim)
        box.until(box.fresh, 60)
        end = time.monotonic() + seconds
        parts = [("backtest", c) for c in chunks(decisions, 20)] + [("live", c) for c in chunks(fills, 20)]
        while parts and (time.monotonic() < end or len(parts) > 28):  # a slow machine drops fewer in the time
            book, part = parts.pop(0)
            path = Spool(box.data / "spool" / book).write(model.take(part))
            assert path is not None
            written.append(path.name)
            time.sleep(0.02)
        box.until(lambda: len(list((box.data / "archive").rglob("*.jsonl"))) > 5, 60)
        seen = box.override()["sequence"]
        power_cut(point)
        box.kill()
    subprocess.run(["mount", "-o", "loop", str(disk), str(point)], check=True)
    return box, model, seen, written


def found(box: Box) -> set[str]:
    """Names of the files that are in the spool or in the archive."""
    return {p.name.split("-", 1)[1] for p in (box.data / "archive").rglob("*.jsonl")} | set(box.spooled())


def unmount(box: Box) -> None:
    subprocess.run(["umount", "-l", str(box.data.parent)], check=False)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_case_12_power_cut_loses_nothing_acknowledged(tmp_path: Path, kind: str) -> None:
    box, model, seen, written = cut_while_it_runs(tmp_path, kind, 1.0)
    try:
        # the newest may have been seen between its rename and the fsync of its folder; it began after the one before was durable
        assert box.override()["sequence"] >= seen - 1, "a publication that engines saw is gone"
        assert set(written) <= found(box), "a file is neither in the spool nor in the archive"
        decisions, fills = trades(400)
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        model.agrees(box)
    finally:
        end_all()
        unmount(box)


@pytest.mark.torture
def test_case_12_control_with_the_fsync_taken_out_the_power_cut_is_noticed(tmp_path: Path) -> None:
    box, _, seen, written = cut_while_it_runs(tmp_path, "xfs", 1.0, shim="no_fsync")
    try:
        path = box.actions / "trading_override.json"
        whole = path.exists() and path.stat().st_size > 0 and box.override()["sequence"] >= seen - 1
        assert not (whole and set(written) <= found(box)), "nothing was lost: the power cut of this test proves nothing"
    finally:
        end_all()
        unmount(box)


def small(tmp_path: Path, size: str) -> tuple[Path, Box]:
    need_root()
    point = tmp_path / "small"
    point.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(point)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs a tmpfs: {done.stderr.strip()}")
    return point, Box(tmp_path, FAST + '[limits]\nmin_free = "0"\n', data=point / "data")


def fill_up(folder: Path) -> Path:
    ballast = folder / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b"x" * 4096)
    os.close(fd)
    return ballast


def test_case_13_a_full_disk_still_tells_a_stop_and_resumes_when_freed(tmp_path: Path, model: Model) -> None:
    point, box = small(tmp_path, "24m")
    try:
        decisions, fills = trades(60)
        box.drop("backtest", [*model.take(decisions[:30]), over()])
        box.drop("live", [*model.take(fills[:30])])
        with box.running():
            box.until(lambda: not box.spooled(), 10)
            for name, part in (("backtest", model.take(decisions[30:])), ("live", [*model.take(fills[30:]), over()])):
                box.drop(name, part, f".later-{name}.jsonl")
            (box.data / "overrides/.HALT").touch()
            ballast = fill_up(point)
            for name in ("backtest", "live"):
                folder = box.data / "spool" / name
                (folder / f".later-{name}.jsonl").rename(folder / f"later-{name}.jsonl")
            gate = box.gate()
            box.until(lambda: not gate.read().trading_enabled, 15, "what cannot be stored earns no renewal")
            assert box.proc.poll() is None, "a full disk must not become a kill loop"
            (box.data / "overrides/.HALT").rename(box.data / "overrides/HALT")
            box.until(lambda: box.override()["action"] == "EMERGENCY_STOP", 3, "the stop is told on a full disk")
            assert os.statvfs(point).f_bavail * 4096 < 2 << 20, "the disk was not full: nothing was shown"
            ballast.unlink()
            (box.data / "overrides/HALT").unlink()
            box.until(lambda: gate.read().trading_enabled and not box.spooled(), 25, f"it resumes: {box.get('/readyz')}")
        model.agrees(box)
    finally:
        end_all()
        subprocess.run(["umount", "-l", str(point)], check=False)


def test_case_13_a_store_whose_disk_is_full_earns_no_renewal_though_nothing_comes_to_be_stored(tmp_path: Path) -> None:
    """The store on a file system of its own: publications could still be written."""
    need_root()
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs") as point:
        url = f'[store]\nurl = "sqlite:///{point}/parityd.sqlite"\n'
        box = Box(tmp_path, FAST + url)
        with box.running():
            gate, ballast = box.gate(), fill_up(point)
            box.until(lambda: not gate.read().fresh, 6, "it lapses")
            assert "its disk is full" in box.get("/readyz")[1].decode()
            (box.data / "overrides/HALT").touch()
            box.until(lambda: gate.read().action == "EMERGENCY_STOP" and gate.read().fresh, 3, "a stop is told all the same")
            (box.data / "overrides/HALT").unlink()
            ballast.unlink()
            box.until(lambda: gate.read().fresh and gate.read().trading_enabled, 12, f"it is earned again: {box.get('/readyz')}")
            box.kill()
        subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
        assert unwritable(point) == "its file system is read-only"
        end_all()


def test_case_13_a_file_that_cannot_leave_the_spool_is_counted_once_and_leaves_when_it_can(box: Box, model: Model) -> None:
    decisions, fills = trades(30)
    (box.data / "full").touch()
    with box.running(shim="full_archive"):
        box.drop("backtest", [*model.take(decisions), over()])
        box.drop("live", [*model.take(fills), over()])
        box.until(lambda: "s" in box.override()["strategies"], 15)
        time.sleep(0.5)
        assert len(box.spooled()) == 2
        assert box.proc.poll() is None
        (box.data / "full").unlink()
        box.until(lambda: not box.spooled(), 15)
    model.agrees(box)


def test_case_15_a_file_system_that_turns_read_only_is_safe_and_loses_nothing(tmp_path: Path, model: Model) -> None:
    need_root()
    need("mkfs.ext4")
    disk, point = image(tmp_path, "ext4", 64), tmp_path / "mnt"
    decisions, fills = trades(30)
    with mounted(point, "-o", "loop,errors=remount-ro", str(disk)):
        box = Box(tmp_path, FAST, data=point / "data")
        device = os.path.basename(
            subprocess.run(["findmnt", "-no", "SOURCE", str(point)], capture_output=True, text=True, check=True).stdout.strip()
        )
        trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip("needs /sys/fs/ext4/*/trigger_fs_error")
        box.drop("backtest", [*model.take(decisions), over()])
        with box.running():
            gate = box.gate()
            box.until(lambda: not box.spooled(), 10)
            box.drop("live", [*model.take(fills), over()])
            trigger.write_text("a test")
            box.until(lambda: not gate.read().trading_enabled, 10, "nothing can be renewed")
            box.stop()
    subprocess.run(
        ["fsck.ext4", "-fy", str(disk)], capture_output=True, check=False, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
    )
    with mounted(point, "-o", "loop", str(disk)):
        box.drop("live", [*model.take(fills), over()])
        model.agrees(box)
    end_all()
