"""Real exports of a real engine, through the whole product, against numbers computed independently of it."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXPORTS = Path(os.environ.get("GOLDEN_EXPORTS", HERE.parents[2] / "shared/data/nautilus"))
SAMPLE = HERE.parents[1] / "data/sample"
CASES = sorted(p.parent.name for p in (HERE / "nautilus").glob("*/expected.json"))


def folder_of(case):
    folder = SAMPLE if case == "sample" else EXPORTS / case
    if not folder.is_dir():
        pytest.skip(f"the exports of {case} are not here")
    return folder


def parityd(*args, config):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")}
    return subprocess.run(
        [sys.executable, "-m", "parityd", *args, "--config", str(config)], capture_output=True, text=True, env=env, timeout=300
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """case -> (expected, day -> report), each made once by the command line as a user would."""
    made = {}

    def make(case):
        if case not in made:
            folder = folder_of(case)
            expected = json.loads((HERE / "nautilus" / case / "expected.json").read_text())
            root = tmp_path_factory.mktemp(case)
            lines = [f'data_dir = "{root}/data"', "[http]", "port = 0"]
            for name, terms in expected["settings"].get("symbols", {}).items():
                lines += [f'[symbols."{name}"]', *(f"{k} = {json.dumps(float(v) if k == 'multiplier' else v)}" for k, v in terms.items())]
            config = root / "parityd.toml"
            config.write_text("\n".join(lines) + "\n")
            for book in ("backtest", "live"):
                spool = root / "data/spool" / book
                spool.mkdir(parents=True)
                for pattern in ("fills_report.jsonl*", "order_events.jsonl*"):
                    for f in sorted((folder / book).glob(pattern)):
                        if "pandas_default" not in f.name:
                            shutil.copy(f, spool / f.name)
            checked = parityd("check", "--json", "--at", expected["at"], config=config)
            assert checked.returncode in (0, 1, 2), checked.stderr
            days = {}
            for day in expected["days"]:
                r = parityd("report", "--day", day, "--json", config=config)
                assert r.returncode == 0, r.stderr
                days[day] = json.loads(r.stdout)
            rejected = [json.loads(x) for p in (root / "data/rejected").rglob("*.jsonl") for x in p.read_text().splitlines()]
            made[case] = expected, days, rejected
        return made[case]

    return make


@pytest.mark.parametrize("case", CASES)
def test_every_record_is_read(reports, case):
    assert reports(case)[2] == []


@pytest.mark.parametrize("case", CASES)
def test_counts_are_those_of_the_independent_matching(reports, case):
    expected, days, _ = reports(case)
    strategy = expected["strategy"]
    for day, want in expected["days"].items():
        got = days[day]["strategies"][strategy]
        assert {k: got["trades"][k] for k in want["trades"]} == want["trades"], day
        assert got["matched_by"] == want["matched_by"], day


@pytest.mark.parametrize("case", CASES)
def test_measures_agree_within_a_millionth_of_a_basis_point(reports, case):
    expected, days, _ = reports(case)
    strategy = expected["strategy"]
    for day, want in expected["days"].items():
        got = days[day]["strategies"][strategy]
        for name, value in want["metrics"].items():
            close(got["metrics"][name], value, 1e-6, f"{day} {name}")
        for name, value in want["attribution"].items():
            if name != "currency":
                close(got["attribution"][name], value, 1e-6, f"{day} {name}")
        for name, value in want["attribution"]["currency"].items():
            close(got["attribution"]["currency"][name], value, 1e-5 * max(1.0, abs(float(value or 0))), f"{day} {name}")


def close(got, want, tolerance, what):
    if want is None:
        assert got is None, what
    else:
        assert got is not None, what
        assert math.isclose(got, float(want), abs_tol=tolerance, rel_tol=1e-7), (what, got, want)
