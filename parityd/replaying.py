"""`parityd replay`: options become settings and days, changes of action become lines.

1. `--set KEY=VALUE` goes the way of an environment variable, with all its checks; where things lie is the configuration's and cannot be set.
2. Standard output is the changes and (without `--json`) each day's headline, and nothing that depends on when or how fast it ran.
"""

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from parityd.core.instants import day_start, rfc3339
from parityd.core.verdicts import Change
from parityd.problem import Problem
from parityd.service.ops_rights import demand_readable
from parityd.service.past_settings import PLACES, path_of
from parityd.service.replay import Days, NothingStoredError, Replay, all_days, stored
from parityd.service.replay import Progress as Far
from parityd.settings import SettingsError, load

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


def replay(
    config: Path | None,
    env: Mapping[str, str],
    first: str,
    last: str,
    changed: Sequence[str],
    arrival: str,
    write: Callable[[str], None],
    *,
    as_json: bool,
) -> None:
    """Run it; each line goes to `write`."""
    if arrival not in ("ts", "recorded"):
        raise Problem(f"--arrival: {arrival!r} is neither ts nor recorded")
    try:
        plain = load(config, env)
        settings = load(config, {**env, **as_variables(changed)}) if changed else plain
    except SettingsError as e:
        raise Problem(_as_set(str(e), changed)) from None
    demand_readable(plain)
    try:
        with stored(plain) as reads:
            days = _days(first, last, all_days(reads))
            run = Replay(settings, reads, days, recorded=arrival == "recorded", operators=not changed)
            if not run.operators:
                sys.stderr.write("parityd: operators' commands and halts are left out of this replay\n")
            if not run.past.known:
                sys.stderr.write(
                    "parityd: what was configured then cannot be used by this version: all is judged by the present configuration\n"
                )
            with _bar(run) as tell:
                for change in run.run(tell):
                    write(line(change, as_json=as_json))
            if not as_json:
                for day, headline in headlines(run):
                    write(f"report of {day}: {headline}")
    except NothingStoredError as e:
        raise Problem(str(e)) from None


def line(change: Change, *, as_json: bool) -> str:
    """One change of action."""
    if as_json:
        content = {
            "ts": rfc3339(change.ts),
            "strategy": change.strategy,
            "from": change.before,
            "to": change.after,
            "reason": change.reason,
        }
        return json.dumps(content, ensure_ascii=False)
    return f"{rfc3339(change.ts)}  {change.strategy}  {change.before} -> {change.after}  {change.reason}"


def headlines(run: Replay) -> Iterator[tuple[str, str]]:
    """The newest revision of each day's report, oldest day first."""
    for r in sorted(run.brain.store.reports(), key=lambda r: r.day):
        found = run.brain.store.report(r.day)
        if found is not None:
            yield r.day, str(json.loads(found.json)["headline"])


def as_variables(changed: Sequence[str]) -> dict[str, str]:
    """`thresholds.warning_bps=15` -> PARITYD_THRESHOLDS__WARNING_BPS."""
    out = {}
    for text in changed:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise Problem(f"--set: {text!r}: give KEY=VALUE, such as thresholds.warning_bps=15")
        path = _path(key.strip())
        if path[0] in PLACES:
            raise Problem(f"--set: {key.strip()} has no part in judgement")
        named = path[0] in ("strategies", "symbols", "sources") and len(path) == 3
        parts = [path[0].upper(), path[1], path[2].upper()] if named else [p.upper() for p in path]
        out["PARITYD_" + "__".join(parts)] = value.strip()
    return out


def _as_set(text: str, changed: Sequence[str]) -> str:
    """A complaint about a variable as one about the option that it came from."""
    for one in changed:
        key = one.partition("=")[0].strip()
        for name in as_variables([one]):
            text = text.replace(f"unknown environment variable {name}", f"--set {key}: unknown key").replace(name, f"--set {key}")
    return text


def _path(key: str) -> tuple[str, ...]:
    try:
        return path_of(key)
    except tomllib.TOMLDecodeError:
        raise Problem(f"--set: {key!r} is no key") from None


def _days(first: str, last: str, known: Days) -> Days:
    chosen = Days(first=first or min(known.first, last or known.first), last=last or max(known.last, first or known.last))
    for name, day in (("--from", chosen.first), ("--to", chosen.last)):
        try:
            good = bool(_DAY.match(day)) and day_start(day) is not None
        except ValueError:
            good = False
        if not good:
            raise Problem(f"{name}: {day!r} is no day; give YYYY-MM-DD")
    if chosen.first > chosen.last:
        raise Problem(f"--from {chosen.first} lies after --to {chosen.last}")
    return chosen


@contextmanager
def _bar(run: Replay) -> Iterator[Callable[[Far], None]]:
    """A progress bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(rfc3339(run.start)[:10], total=run.end - run.start, records=0)

        def tell(far: Far) -> None:
            progress.update(task, completed=far.now - run.start, records=far.records, description=rfc3339(far.now)[:10])

        yield tell
