"""The long form: `python tests/faults/torture.py [NAME ...] [--kills N] ...`; prints a table of case, tries, outcome. Exit 1 where any failed.

Each row runs the same functions as the short tests, with the counts from the command line; the seed is printed, and given again repeats it.
"""

import argparse
import datetime
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

import pytest  # noqa: E402
from faults import test_disk, test_disk_calls, test_outside, test_process, test_publication, test_spool, test_time  # noqa: E402
from faults.box import Box, end_all  # noqa: E402
from faults.model import Model, over, trades  # noqa: E402

CALLS = (
    ("fsync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("write", "ENOSPC"), ("/^rename", "EIO"), ("/^unlink", "EIO"), ("/^mkdir", "ENOSPC"),
    ("ftruncate", "EIO"), ("syncfs", "EIO"),
)  # fmt: skip


def kills(room: Path, n: argparse.Namespace) -> int:
    done, k = 0, 0
    while done < n.kills:
        cycles = min(20, n.kills - done)
        test_process.kill_cycles(Box(fresh(room)), Model(), cycles, n.seed + k)
        done, k = done + cycles, k + 1
    return done


def steps(room: Path, n: argparse.Namespace) -> int:
    tries = 0
    for call in ("fsync", "pwrite64", "/^rename", "/^unlink"):
        for k in range(n.first, n.nth + 1):
            box, model = Box(fresh(room)), Model()
            decisions, fills = trades(20)
            box.drop("backtest", [*model.take(decisions), over()])
            box.drop("live", [*model.take(fills), over(), {**fills[0], "fill_id": "bad", "quantity": "-1"}])
            hit = test_process.killed_at(box, model, call, k)
            model.agrees(box)
            assert [r["code"] for r in box.rejected()] == ["bad_value"], f"{call} {k}"
            tries += 1
            if not hit:
                break
    return tries


def refusals(room: Path, n: argparse.Namespace) -> int:
    tries = 0
    for call, error in CALLS:
        for k in range(n.first, n.nth + 1):
            try:
                again = test_disk_calls.nth_call_refused(fresh(room), call, error, k)
            except AssertionError as e:
                raise AssertionError(f"{call} {error} call {k}: {e}") from e
            tries += 1
            if not again:
                break
    return tries


def running(room: Path, n: argparse.Namespace) -> int:
    rng, ended = random.Random(n.seed), 0
    for k in range(n.calls):
        call, error = test_disk_calls.RUNNING_CALLS[k % len(test_disk_calls.RUNNING_CALLS)]
        when = f"{int(rng.expovariate(1 / 25)) + 1}{rng.choice(['', '', '+3', '+'])}"
        try:
            ended += not test_disk_calls.refused_while_running(fresh(room), call, error, when)
        except (AssertionError, subprocess.SubprocessError) as e:
            raise AssertionError(f"{call} {error} {when}: {e}") from e
    sys.stdout.write(f"   {ended} of {n.calls} ended the process\n")
    return n.calls


def cuts(kind: str) -> Callable[[Path, argparse.Namespace], int]:
    def run(room: Path, n: argparse.Namespace) -> int:
        for _ in range(n.cuts):
            test_disk.test_case_12_power_cut_loses_nothing_acknowledged(fresh(room), kind)
        return n.cuts

    return run


def full(room: Path, n: argparse.Namespace) -> int:
    for _ in range(n.full):
        test_disk.test_case_13_a_full_disk_still_tells_a_stop_and_resumes_when_freed(fresh(room), Model())
    return n.full


def publications(room: Path, n: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else room) as memory:  # atomicity needs no slow disk
        published, _ = test_publication.read_while_published(Path(memory) / "actions", n.publications)
    return published


def clocks(room: Path, n: argparse.Namespace) -> int:
    rng = random.Random(n.seed)
    for _ in range(-(-n.steps // 6)):
        jumps = [rng.choice(["+0s", "-3600s", "+3600s", "-90s", "+3650d", "+7d", "-1d", "+2.5s"]) for _ in range(5)]
        box, model = Box(fresh(room)), Model()
        test_time.stepped(box, model, [*jumps, "+0s"])
        late = [r for r in box.rejected()]
        assert not late, f"{jumps}: {late[0]}"
    return -(-n.steps // 6) * 6


def files(room: Path, n: argparse.Namespace) -> int:
    box, model = Box(fresh(room), '[publish]\ninterval = "2s"\nttl = "20s"\n'), Model()
    gap, seconds, peak = test_spool.many_files(box, model, n.files)
    sys.stdout.write(
        f"   {n.files} files: {seconds:.0f} s, longest gap between renewals {gap:.2f} s, resident memory at most {peak >> 20} MiB\n"
    )
    assert peak < 600 << 20
    assert gap < 20, "a permission lapsed"
    model.agrees(box)
    return n.files


def refused(room: Path, n: argparse.Namespace) -> int:
    test_outside.refused_records(Box(fresh(room)), Model(), n.refused)
    return n.refused


def gate(room: Path, n: argparse.Namespace) -> int:
    del room
    fuzz = HERE.parent / "engine/fuzz_gate.py"
    done = subprocess.run([sys.executable, str(fuzz), str(n.mutations), str(n.seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-1500:]
    return n.mutations


def rest(room: Path, n: argparse.Namespace) -> int:
    """The short tests that are too long for `make test`."""
    del n
    at = f"--basetemp={fresh(room) / 't'}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", at, "-m", "torture", str(HERE)], capture_output=True, text=True, check=False, cwd=HERE.parents[1]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:]
    return int(done.stdout.rsplit(" passed", 1)[0].split()[-1])


ROWS: dict[str, tuple[str, Callable[[Path, argparse.Namespace], int]]] = {
    "kills": ("1 SIGKILL at random under load", kills),
    "steps": ("2 SIGKILL at the N-th fsync, write, rename, unlink", steps),
    "cut-ext4": ("12 power cut, ext4", cuts("ext4")),
    "cut-xfs": ("12 power cut, XFS", cuts("xfs")),
    "full": ("13 full disk, a stop told on it, resumed", full),
    "refusals": ("14 N-th call refused, until a clean pass", refusals),
    "running": ("14 random calls refused in the running daemon", running),
    "files": ("23 files at once", files),
    "clocks": ("26 clock steps", clocks),
    "publications": ("30 publications with readers", publications),
    "gate": ("31 mutations of a publication", gate),
    "refused": ("43 refused records", refused),
    "rest": ("further single cases and negative controls", rest),
}


def fresh(room: Path) -> Path:
    for old in room.iterdir():
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=room))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], default=[])
    for name, count in (
        ("kills", 500), ("first", 1), ("nth", 400), ("cuts", 10), ("full", 5), ("calls", 210), ("publications", 100_000), ("steps", 96), ("files", 200_000),
        ("mutations", 1_000_000), ("refused", 100_000), ("seed", int(time.time())),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=count)
    return parser.parse_args()


def one(name: str, n: argparse.Namespace) -> tuple[str, str]:
    """(tries, outcome) of one row."""
    try:
        with tempfile.TemporaryDirectory(prefix=f"torture-{name}-", ignore_cleanup_errors=True) as room:
            tries = ROWS[name][1](Path(room), n)
    except pytest.skip.Exception as e:
        return "-", f"skipped: {e}"
    except BaseException as e:  # a row that fails does not hide the others
        if isinstance(e, KeyboardInterrupt):
            raise
        traceback.print_exc()
        return "-", f"FAILED: {str(e).splitlines()[0][:160] if str(e) else type(e).__name__}"
    finally:
        end_all()
    return f"{tries:,}", "no loss, no double, nothing unsafe"


def main() -> int:
    n = arguments()
    sys.stdout.write(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.platform()}, Python {platform.python_version()}, seed {n.seed}\n\n"
    )
    sys.stdout.write("| case | tries | seconds | outcome |\n|---|---|---|---|\n")
    bad = False
    for name in n.rows or ROWS:
        started = time.monotonic()
        tries, outcome = one(name, n)
        bad = bad or outcome.startswith("FAILED")
        sys.stdout.write(f"| {ROWS[name][0]} | {tries} | {time.monotonic() - started:.0f} | {outcome} |\n")
        sys.stdout.flush()
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
