"""One command as a whole process: wall time, processor time and peak memory, its children included.

1. Processor time is what the kernel says when the process is reaped (user and system, with every descendant that was waited for).
2. Peak memory is the larger of the kernel's largest resident set of a single process and the sum over the tree, sampled every 20 ms: resident
   size where the process is alone, proportional size (Pss) where it has children, so that shared pages count once.
3. Whoever calls stays small: the kernel counts what a process held before it became the command.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a command cost, in seconds and MB (10^6 bytes)."""

    wall: float
    cpu: float
    peak: float
    out: str


def environment() -> dict[str, str]:
    """Ours, with the checkout's package first and its bytecode kept."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


def script(name: str, *arguments: object) -> list[str]:
    """A file of this folder as a command."""
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def parityd(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "parityd", *map(str, arguments)]


def family(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    yield pid
    try:
        for thread in (Path("/proc") / str(pid) / "task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))
    except OSError:
        return


def resident(pid: int) -> int:
    """Bytes that the tree holds now."""
    tree = list(family(pid))
    try:
        if len(tree) == 1:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        return sum(_pss(one) for one in tree)
    except (OSError, IndexError):
        return 0


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def run(command: Sequence[str], fine: Sequence[int] = (0,), extra: Mapping[str, str] | None = None) -> Spent:
    """Run it to its end; raises with its words where it ends otherwise than it may."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment() | dict(extra or {}))
        seen, over = [0], threading.Event()

        def look() -> None:
            while not over.wait(EVERY):
                seen.append(resident(process.pid))

        looking = threading.Thread(target=look)
        looking.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        looking.join()
        out.seek(0)
        err.seek(0)
        if process.returncode not in fine:
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{err.read()[-2000:]}")
        return Spent(wall=wall, cpu=used.ru_utime + used.ru_stime, peak=max(used.ru_maxrss * 1024, *seen) / 1e6, out=out.read())
