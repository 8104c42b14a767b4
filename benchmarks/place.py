"""What the rows share: the options, folders for the runs, the workload made once, and a store that has taken it.

1. Everything lies in one temporary folder of the checkout's own file system, so that fsync costs what it costs.
2. The workload is one UTC day, yesterday, made once from its seed; every competitor of a round reads the same files, copied, in the same cache.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processes import ROOT, Spent, parityd, run, script

DAY = 86_400
A_FILE = 47_600  # trades
CHECKED = (0, 1, 2)  # exit codes of `check`: what it found, not whether it worked


def midnight() -> float:
    """The last one, UTC."""
    return time.time() // DAY * DAY


def iso(t: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))


@dataclass
class Place:
    """Options, and what was made with them."""

    options: argparse.Namespace
    folder: Path
    made: dict[str, Path] = field(default_factory=dict)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def workload(self, name: str, trades: int, end: float, **given: object) -> Path:
        """A generated day or more, by name; made by another process, which keeps this one small."""
        if name not in self.made:
            self.say(f"making {trades:,} trades ({name})")
            path = self.fresh(f"made-{name}")
            options = [x for k, v in given.items() for x in (f"--{k}", v)]
            files = max(1, trades // A_FILE)
            command = script(
                "workload.py", path, "--trades", trades, "--seed", self.options.seed, "--end", iso(end), "--files", files, *options
            )
            self.totals[name] = json.loads(run(command).out)
            self.made[name] = path
        return self.made[name]

    def day(self) -> Path:
        """The workload of the backlog: yesterday's."""
        return self.workload("day", self.options.trades, midnight() - 5, strategies=self.options.day_strategies)

    def data(self, name: str, made: Path | None, more: str = "") -> Path:
        """A data folder with its configuration, the made files in its spool; returns the configuration."""
        root = self.fresh(name)
        config = root / "parityd.toml"
        config.write_text(f'data_dir = "{root / "data"}"\n[http]\nport = 0\n{more}')
        for book in ("live", "backtest"):
            spool = root / "data/spool" / book
            spool.mkdir(parents=True)
            for path in sorted((made / book).iterdir()) if made else ():
                shutil.copyfile(path, spool / path.name)
        return config

    def check(self, config: Path, *more: str) -> Spent:
        return run(parityd("check", "--json", "--config", config, *more), CHECKED)

    def drained(self) -> Path:
        """The configuration of a store that has taken the day."""
        if "drained" not in self.made:
            config = self.data("drained", self.day())
            self.check(config)
            self.made["drained"] = config
        return self.made["drained"]

    def say(self, text: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n")
        sys.stderr.flush()


def store_bytes(config: Path) -> int:
    """The store with its write-ahead log."""
    found: Sequence[Path] = [p for p in (config.parent / "data").rglob("*.sqlite*") if p.name.endswith((".sqlite", "-wal"))]
    return sum(p.stat().st_size for p in found)


__all__ = ["A_FILE", "CHECKED", "DAY", "ROOT", "Place", "iso", "midnight", "store_bytes"]
