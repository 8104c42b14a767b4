"""What is claimed about speed, measured here and now: `python benchmarks/table.py`, which is `make bench`. README.md beside it says what each row means.

One table on standard output; what is being done meanwhile goes to standard error. Nothing here is a test, and nothing here fails for being
slow: exit 1 says that something could not be measured at all.
"""

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import alive
import bulk
import past
import quiet
from place import ROOT, Place
from rows import HEAD, Row

GROUPS: dict[str, Callable[[Place], list[Row]]] = {
    "backlog": bulk.backlog,
    "alive": alive.alive,
    "fills": quiet.fills,
    "check": past.check,
    "start": past.start,
    "report": past.report,
    "replay": past.replay,
    "idle": quiet.idle,
    "gate": quiet.reads,
    "strategies": bulk.strategies,
}
VERSIONS = ("msgspec", "numpy", "pandas", "polars", "duckdb")


def options(given: Sequence[str]) -> argparse.Namespace:
    a = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    a.add_argument("--runs", type=int, default=5, help="of everything, turn about")
    a.add_argument("--trades", type=int, default=200_000, help="of the backlog, the drain and the report; the goals speak of 1000000")
    a.add_argument("--day-strategies", type=int, default=10, help="that share the trades of the backlog, the drain and the report")
    a.add_argument("--short", type=int, default=10_000, help="trades of the short history")
    a.add_argument("--history", type=int, default=300_000, help="trades of the long history; the goals speak of 10000000")
    a.add_argument("--a-day", type=int, default=10_000, help="trades a day of both histories")
    a.add_argument("--replay-days", type=int, default=10, help="days of the long history that are replayed")
    a.add_argument("--fills", type=int, default=100, help="single fills a run")
    a.add_argument("--strategies", type=_counts, default="1,8,100,1000", help="the first is what the others are compared with")
    a.add_argument("--strategy-trades", type=int, default=50_000, help="trades for each number of strategies")
    a.add_argument("--reads", type=int, default=1_000_000, help="of the gate")
    a.add_argument("--idle", type=float, default=10.0, help="seconds of rest a run")
    a.add_argument("--seed", type=int, default=1, help="of the workload")
    a.add_argument("--only", type=_groups, default=",".join(GROUPS), help="groups of rows")
    a.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where stores and files lie while it runs")
    return a.parse_args(given)


def _counts(text: str) -> list[int]:
    return [int(x) for x in text.split(",")]


def _groups(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := [x for x in chosen if x not in GROUPS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(GROUPS)}")
    return chosen


def machine(folder: Path) -> str:
    """Processor, memory, system, and the versions of what is measured."""
    cpu = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    parts = [
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release()}, {_filesystem(folder)}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, parityd {_version('parityd')}",
        ", ".join(f"{name} {_version(name)}" for name in VERSIONS),
    ]
    return "  \n".join(parts)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _filesystem(folder: Path) -> str:
    """Type of the file system that a folder lies on."""
    mounts = [line.split() for line in _lines("/proc/mounts")]
    over = [(len(m[1]), m[2]) for m in mounts if folder.resolve().is_relative_to(m[1])]
    return max(over)[1] if over else "unknown file system"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def load() -> str:
    return " ".join(f"{x:.1f}" for x in os.getloadavg())


def measured(place: Place) -> list[Row]:
    """Every row asked for; those that were done where somebody presses Ctrl-C, and a group that fails is a row that says so."""
    rows: list[Row] = []
    for name, group in GROUPS.items():
        if name in place.options.only:
            try:
                rows += group(place)
            except KeyboardInterrupt:
                return [*rows, Row(what=name, skipped="interrupted")]
            except Exception as e:
                place.say("".join(traceback.format_exception(e)))
                rows.append(Row(what=name, skipped=f"failed: {(str(e) or type(e).__name__).splitlines()[0]}"))
    return rows


def main(given: Sequence[str]) -> None:
    o = options(given)
    o.folder.mkdir(parents=True, exist_ok=True)
    began, before = time.time(), load()
    with tempfile.TemporaryDirectory(dir=o.folder, prefix="run-") as folder:
        place = Place(o, Path(folder))
        heading = machine(place.folder)
        rows = measured(place)
    print(
        f"{heading}  \n{time.strftime('%Y-%m-%d %H:%M', time.gmtime(began))} UTC, {(time.time() - began) / 60:.0f} min; load (1, 5, 15 min) "
    )
    print(
        f"{before} before, {load()} after; runs: {o.runs}; cells are median (smallest to largest); options: {' '.join(given) or 'none'}\n"
    )
    print(HEAD)
    for row in rows:
        print(row.line())
    sys.exit(any(row.skipped.startswith("failed") for row in rows))


if __name__ == "__main__":
    main(sys.argv[1:])
