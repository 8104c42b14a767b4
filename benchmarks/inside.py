"""Measured inside one process that has folded a store: the check after each quarter of an hour, and a day's report.

`python benchmarks/inside.py check CONFIG AT CHECKS FIRST A_DAY`: CHECKS checks, 15 minutes apart from AT (epoch seconds), each after the trades of
those minutes have come (numbers from FIRST, A_DAY a day). The one before them is not counted: it meets a state that was just folded.
`python benchmarks/inside.py report CONFIG DAY`: the report as JSON, then as a page. Both print what they took as one JSON object.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from workload import generate

from parityd.app import App, built, drain
from parityd.core.assessing import Facts
from parityd.settings import load

QUARTER = 900


def give(app: App, until: float, first: int, count: int) -> None:
    """The trades of a quarter of an hour, drained."""
    with tempfile.TemporaryDirectory(dir=app.settings.data_dir) as folder:
        made = Path(folder)
        generate(made, count, first, end=until - 5, files=1, hours=QUARTER / 3600, first=first)
        for book in ("backtest", "live"):
            for path in (made / book).iterdir():
                path.rename(app.settings.data_dir / "spool" / book / f"{first}.jsonl")
    drain(app, at=round(until * 1e9))


def check(config: Path, began: float, checks: int, first: int, a_day: int) -> dict[str, list[float]]:
    wall, cpu = [], []
    a_quarter = max(1, a_day * QUARTER // 86_400)
    with built(load(config, {}), command="check") as app:
        app.brain.facts_of = Facts
        for one in range(checks + 1):
            at = began + one * QUARTER
            give(app, at, first + one * a_quarter, a_quarter)
            started, used = time.perf_counter(), time.process_time()
            done = app.brain.check(now=round(at * 1e9))
            if done.failed:
                raise RuntimeError(done.failed)
            if one:
                wall.append((time.perf_counter() - started) * 1e3)
                cpu.append((time.process_time() - used) * 1e3)
            app.brain.reporter.write()
    return {"wall": wall, "cpu": cpu}


def report(config: Path, day: str) -> dict[str, list[float]]:
    with built(load(config, {}), command="report") as app:
        brain, now = app.brain, app.now()
        brain.facts_of = Facts
        brain.v.check_only(now, brain.facts())
        brain.show_all()
        marks, used = [time.perf_counter()], [time.process_time()]
        document = brain.reporter.make(day, now)
        body = msgspec.json.format(msgspec.json.encode(document), indent=1)
        marks.append(time.perf_counter())
        used.append(time.process_time())
        page = brain.reporter.html(document)
        marks.append(time.perf_counter())
        used.append(time.process_time())
        trades = sum(s["trades"]["matched"] for s in document["strategies"].values())
    return {
        "json": [marks[1] - marks[0], used[1] - used[0], len(body)],
        "both": [marks[2] - marks[0], used[2] - used[0], len(page or b"")],
        "trades": [trades],
    }


def main() -> None:
    what, config, *rest = sys.argv[1:]
    if what == "check":
        at, checks, first, a_day = rest
        found = check(Path(config), float(at), int(checks), int(first), int(a_day))
    else:
        found = report(Path(config), rest[0])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
