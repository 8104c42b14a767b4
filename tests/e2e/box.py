"""One data folder, one configuration and the process itself: what an operator, an engine and a scraper can do, and nothing else.

1. Everything goes through files, the command line, HTTP and signals; nothing of the package is imported.
2. Builders make valid records of one fixed past day (`at`), so that a test names only what it changes.
3. Many strategies share one box: a case is a strategy's name, a check costs one process.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Record = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
DAY0: date = datetime.now(UTC).date() - timedelta(days=1)
"""Yesterday: the day on which builders put their trades."""


def at(hour: float = 0, minute: float = 0, second: float = 0, *, day: int = 0) -> datetime:
    """A moment of yesterday (`day` 0), of the day before (-1) ..."""
    start = datetime(DAY0.year, DAY0.month, DAY0.day, tzinfo=UTC)
    return start + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def day_of(moment: datetime) -> str:
    return moment.date().isoformat()


def decision(strategy: str, trade: str | None, moment: datetime, **other: Any) -> Record:
    base = {
        "kind": "decision",
        "strategy": strategy,
        "symbol": "BTC/USD",
        "ts": stamp(moment),
        "action": "buy",
        "quantity": 1,
        "price": 100,
    }
    return {**base, **({} if trade is None else {"trade_id": trade}), **other}


def fill(strategy: str, trade: str | None, moment: datetime, **other: Any) -> Record:
    base = {
        "kind": "fill", "strategy": strategy, "symbol": "BTC/USD", "fill_id": f"f-{strategy}-{trade}", "side": "buy", "quantity": 1, "price": 100,
        "ts": stamp(moment),
    }  # fmt: skip
    return {**base, **({} if trade is None else {"trade_id": trade}), **other}


def heartbeat(strategy: str, moment: datetime, **other: Any) -> Record:
    return {"kind": "heartbeat", "strategy": strategy, "ts": stamp(moment), **other}


def mark(price: float, moment: datetime, symbol: str = "BTC/USD", **other: Any) -> Record:
    return {"kind": "mark", "symbol": symbol, "price": price, "ts": stamp(moment), **other}


def trades(
    strategy: str,
    diffs: list[float],
    *,
    start: datetime | None = None,
    step: timedelta = timedelta(minutes=10),
    first: int = 0,
    **other: Any,
) -> tuple[list[Record], list[Record]]:
    """Alternate buys and sells at 100, the live price worse by each diff (bps): (decisions, fills)."""
    made: tuple[list[Record], list[Record]] = [], []
    begin = start or at(6)
    for i, d in enumerate(diffs, first):
        moment = begin + step * (i - first)
        side = "buy" if i % 2 == 0 else "sell"
        sign = 1 if side == "buy" else -1
        made[0].append(decision(strategy, f"{strategy}-{i}", moment, action=side))
        made[1].append(
            fill(strategy, f"{strategy}-{i}", moment + timedelta(seconds=1), side=side, price=repr(100 * (1 + sign * d / 1e4)), **other)
        )
    return made


def both(strategy: str, moment: datetime) -> Record:
    """A heartbeat that sets a book's watermark."""
    return heartbeat(strategy, moment)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Box:
    """A folder of data and a configuration, driven from outside."""

    def __init__(self, root: Path, config: str = "", env: dict[str, str] | None = None) -> None:
        self.root = root
        self.data = root / "data"
        for name in ("spool/live", "spool/backtest", "overrides"):
            (self.data / name).mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.file = root / "parityd.toml"
        self.configure(config)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")}
        self.env = {**clean, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.count = 0

    def configure(self, config: str) -> None:
        """Top-level keys come first in `config`; data_dir and the port are added."""
        self.file.write_text(f'data_dir = "{self.data}"\n{config}\n[http]\nport = {self.port}\n')

    # --- files ------------------------------------------------------------------------------------------------------

    def put(self, book: str, name: str, raw: bytes) -> Path:
        """A file in the inbox, by rename."""
        folder = self.data / "spool" / book
        hidden = folder / f".{name}"
        hidden.write_bytes(raw)
        hidden.rename(folder / name)
        return folder / name

    def drop(self, book: str, *records: Record) -> str:
        self.count += 1
        name = f"{self.count:06d}.jsonl"
        self.put(book, name, lines(records))
        return name

    def command(self, name: str, mode: int = 0o644, **body: Any) -> None:
        folder = self.data / "overrides"
        hidden = folder / f".{name}"
        hidden.write_text(json.dumps(body))
        hidden.chmod(mode)
        hidden.rename(folder / name)

    def spooled(self) -> list[str]:
        return sorted(p.name for p in (self.data / "spool").rglob("*") if not p.is_dir() and not p.name.startswith("."))

    def refused(self) -> list[Record]:
        """Every refused record, with the name of its file, in order."""
        found = []
        for p in sorted((self.data / "rejected").rglob("*.rejected.jsonl")):
            found += [{**json.loads(line), "file": p.name} for line in p.read_text().splitlines()]
        return found

    def set_aside(self) -> dict[str, Record]:
        """Files that were refused whole: name -> reason."""
        return {p.name: json.loads(p.read_text()) for p in (self.data / "rejected").rglob("*.reason.json")}

    def archived(self) -> list[str]:
        return sorted(p.name for p in (self.data / "archive").rglob("*") if p.is_file())

    def override(self) -> Record:
        return dict(json.loads((self.data / "system_actions/trading_override.json").read_bytes()))

    def action(self) -> Record:
        return dict(json.loads((self.data / "system_actions/parity_action.json").read_bytes()))

    def audit(self) -> list[Record]:
        return [json.loads(x) for p in sorted((self.data / "audit").glob("audit-*.jsonl")) for x in p.read_text().splitlines()]

    # --- the command line ---------------------------------------------------------------------------------------------

    def run(self, *args: str, config: bool = True) -> subprocess.CompletedProcess[str]:
        more = ["--config", str(self.file)] if config else []
        command = [sys.executable, "-m", "parityd", *args, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.env, cwd=ROOT, check=False)

    def check(self, moment: datetime | None = None) -> Record:
        """`check --json`, as of `moment`: its document, with its exit status under "exit"."""
        done = self.run("check", "--json", *(["--at", stamp(moment)] if moment else []))
        assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, (done.returncode, done.stderr[-2000:])
        return {**json.loads(done.stdout), "exit": done.returncode}

    def report(self, day: str | None = None) -> Record:
        done = self.run("report", "--json", "--day", day or DAY0.isoformat())
        assert done.returncode == 0, done.stderr[-2000:]
        return dict(json.loads(done.stdout))

    # --- the daemon ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def daemon(self, *, wait: bool = True) -> Iterator["Box"]:
        with (self.root / "daemon.log").open("ab") as log:
            command = [sys.executable, "-m", "parityd", "run", "--config", str(self.file)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.env, cwd=ROOT, start_new_session=True)
            try:
                if wait:
                    self.until(lambda: self.get("/readyz")[0] == 200, "ready", 40)
                yield self
            finally:
                self.end()

    def end(self, by: int = signal.SIGTERM) -> int:
        """Tell the daemon to end; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def get(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read(), {k.lower(): v for k, v in e.headers.items()}

    def json(self, path: str) -> Any:
        status, body, _ = self.get(path)
        assert status == 200, (path, status, body[:300])
        return json.loads(body)

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Sample name without the prefix -> (labels, value)."""
        out: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1].decode()):
            for sample in family.samples:
                if sample.name.startswith("parityd_"):
                    out.setdefault(sample.name.removeprefix("parityd_"), []).append((sample.labels, sample.value))
        return out

    def metric(self, name: str, **labels: str) -> float | None:
        found = [value for own, value in self.metrics().get(name, []) if labels.items() <= own.items()]
        return sum(found) if found else None

    def until(self, ask: Any, what: str, seconds: float = 20) -> Any:
        """Ask again and again until the answer is true."""
        end = time.monotonic() + seconds
        seen: Any = None
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                seen = ask()
            except (OSError, KeyError, ValueError) as e:
                seen = e
            else:
                if seen:
                    return seen
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {what}; last {seen!r}; {self.log()[-1500:]}")

    def log(self) -> str:
        path = self.root / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""


def lines(records: Any) -> bytes:
    return "".join(json.dumps(r) + "\n" for r in records).encode()
