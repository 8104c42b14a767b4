"""What `make bench` prints: one table whose every row the README explains, whatever the sizes; cells that say what was found and whether the goal is kept."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = "--runs 1 --trades 2000 --short 500 --history 1500 --a-day 500 --replay-days 1 --fills 2 --strategies 1,3 --strategy-trades 300 --reads 2000 --idle 0.2"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / f"benchmarks/{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(folder, *options):
    """The lines of the table, and all that was printed."""
    done = subprocess.run(
        [sys.executable, "benchmarks/table.py", "--folder", str(folder), *options], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [line for line in done.stdout.splitlines() if line.startswith("| ")], done.stdout


def test_a_cell_is_the_median_with_the_smallest_and_the_largest():
    rows = loaded("rows")
    assert rows.spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"
    assert rows.spread([1234.5]) == "1,234"
    assert rows.over([6.0, 2.0], [3.0, 4.0]) == [2.0, 0.5]


def test_a_goal_is_judged_by_the_median_and_says_by_how_much_it_is_missed():
    rows = loaded("rows")
    slow = rows.Row(what="x", values=[1.0, 9.0, 6.0], goal=rows.Goal(of="value", limit=3.0, text="3 s"))
    assert slow.line() == "| x | – | – | 6.00 (1.00 to 9.00) s | – | – | 3 s | no, 2.00 x the goal |"
    fast = rows.Row(what="x", values=[50.0], unit="a second", goal=rows.Goal(of="value", limit=100.0, text="100", least=True))
    assert fast.line().endswith("| no, 2.00 x too slow |")
    assert rows.Row(what="x", ratio=[0.9], against="y", goal=rows.Goal(of="ratio", limit=1.0, text="1 x")).line().endswith("| 1 x | yes |")
    assert rows.Row(what="x", skipped="y is not installed").line().endswith("left out: y is not installed |")


def test_a_command_is_measured_with_its_children_and_a_failure_is_no_measurement():
    processes = loaded("processes")
    child = "x = bytearray(60_000_000); import time; time.sleep(0.3)"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('done')"
    # measured from a small process: Linux counts into a child's peak what its parent held when it was started
    asked = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import processes; print(repr(processes.run([sys.executable, '-c', {command!r}])))"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    got = eval(said, {"Spent": processes.Spent})
    assert got.out == "done\n" and got.wall >= 0.3 and 60 < got.peak < 200 and 0 < got.cpu < got.wall + 5
    with pytest.raises(RuntimeError, match="exit 7"):
        processes.run([sys.executable, "-c", "raise SystemExit(7)"])


def test_the_table_names_the_machine_and_its_load(tmp_path):
    lines, said = table(tmp_path, "--only", "gate", "--runs", "1", "--reads", "2000")
    assert re.search(r"\d+ cores.*\n.*Python 3\.\d+.*SQLite 3.*\n.*msgspec \d.*\n.*UTC.*load", said)
    assert [line.split(" | ")[0] for line in lines[1:]] == ["| `Gate.read()` of an unchanged file", "| memory kept by 2,000 reads"]
    assert not list(tmp_path.iterdir()), "what was made is gone"


def test_every_group_of_rows_is_explained():
    said = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    groups = re.findall(r'(?m)^    "([a-z]+)": ', (ROOT / "benchmarks/table.py").read_text(encoding="utf-8"))
    assert len(groups) == 10
    assert [g for g in groups if f"(`{g}`)" not in said] == []
    named = [*re.findall(r"([a-z_]+)\.py`", said), "script_pandas", "script_polars", "script_duckdb"]
    assert {p.stem for p in (ROOT / "benchmarks").glob("*.py")} == set(named)


@pytest.mark.torture
def test_every_row_is_printed_at_tiny_sizes(tmp_path):
    lines, _ = table(tmp_path, *TINY.split())
    for what in (
        "the floor",
        "`parityd check` drains 2,000",
        "`/healthz` p99 while",
        "HALT",
        "15-minute check with 1,500",
        "replay of 1 days",
        "idle",
        "cost per trade with 3",
    ):
        assert [line for line in lines if line.startswith(f"| {what}")], what
    measured = [line for line in lines[1:] if "left out: " not in line]
    assert all(re.search(r"\d", line.split(" | ", 1)[1]) for line in measured) and len(measured) > 30
