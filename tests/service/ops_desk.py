"""A data directory, its configuration, records for it, and the command line in this process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from parityd import cli


def rfc(t):
    return t.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pairs(n, strategy="s", diff_bps=0.0, prefix="t", end=None, minutes=300):
    """n decisions and a fill each, `diff_bps` worse."""
    end = end or datetime.now(UTC) - timedelta(minutes=2)
    decisions, fills = [], []
    for i in range(n):
        t = end - timedelta(minutes=minutes * (n - 1 - i) / n)
        side, sign = ("buy", 1) if i % 2 == 0 else ("sell", -1)
        price = 50_000.0 + 10 * i
        own = {"strategy": strategy, "symbol": "BTC/USD", "trade_id": f"{prefix}-{i}"}
        decisions.append(
            {
                "kind": "decision",
                **own,
                "ts": rfc(t),
                "action": side,
                "quantity": "1",
                "price": repr(price),
                "fee": "5",
                "mark": repr(price),
            }
        )
        fills.append(
            {
                "kind": "fill", **own, "fill_id": f"{prefix}-f{i}", "side": side, "quantity": "1", "price": repr(price * (1 + sign * diff_bps / 1e4)), "fee": "5",
                "fee_currency": "USD", "ts": rfc(t + timedelta(milliseconds=120)),
            }
        )  # fmt: skip
    return decisions, fills


class Desk:
    """`run` is the command line: (exit status, standard output, standard error)."""

    def __init__(self, root, capsys, config=""):
        self.root, self.capsys = Path(root), capsys
        self.data = self.root / "data"
        self.config = self.root / "parityd.toml"
        self.port = free_port()
        self.config.write_text(f'data_dir = "{self.data}"\n{config}\n[http]\nport = {self.port}\n')
        self.n = 0
        self.proc = None

    def run(self, *args):
        self.capsys.readouterr()
        status = cli.main([*map(str, args), "--config", str(self.config)])
        said = self.capsys.readouterr()
        return status, said.out, said.err

    def ok(self, *args):
        status, out, err = self.run(*args)
        assert status == 0, (status, out, err)
        return out

    def refused(self, *args):
        status, out, err = self.run(*args)
        assert status == 3, (status, out, err)
        assert out == ""
        assert len(err.splitlines()) == 1
        return err

    def drop(self, book, records, name=None, raw=None):
        self.n += 1
        folder = self.data / "spool" / book
        folder.mkdir(parents=True, exist_ok=True)
        name = name or f"{self.n:05d}.jsonl"
        (folder / f".{name}").write_bytes(raw if raw is not None else "".join(json.dumps(r) + "\n" for r in records).encode())
        os.rename(folder / f".{name}", folder / name)
        return name

    def check(self):
        status, out, err = self.run("check", "--json")
        assert status in (0, 1, 2), err
        return json.loads(out)

    def trades(self, strategy="s"):
        return self.check()["strategies"][strategy]["trades"]

    def override(self):
        return json.loads((self.data / "system_actions/trading_override.json").read_text())

    def audit(self):
        return [json.loads(line) for path in sorted((self.data / "audit").glob("*.jsonl")) for line in path.read_text().splitlines()]

    def rejected(self, pattern="*.rejected.jsonl"):
        return sorted(p for p in (self.data / "rejected").rglob(pattern) if p.is_file())

    # --- the daemon ---------------------------------------------------------------------------------------------

    def __enter__(self):
        log = (self.root / "log").open("ab")
        env = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")}
        self.proc = subprocess.Popen(
            [sys.executable, "-m", "parityd", "run", "--config", str(self.config)], stdout=log, stderr=log, env=env
        )
        log.close()
        try:
            self.until(self.ready, 60)
        except BaseException:
            self.proc.kill()
            self.proc.wait(30)
            raise
        return self

    def __exit__(self, *_):
        self.proc.send_signal(signal.SIGTERM)
        assert self.proc.wait(30) == 0

    def ready(self):
        assert self.proc.poll() is None, (self.root / "log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as e:
            e.close()
            return False

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        last = None
        while time.monotonic() < end:
            try:
                found = what()
            except (OSError, ValueError, KeyError) as e:
                last = e
            else:
                if found:
                    return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {last}")
