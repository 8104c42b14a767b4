"""The daemon as its users feel it, measured on this machine now: start, idle, a fill to the override file, and what stays alive during a backlog.

`python benchmarks/daemon.py [--trades 100000] [--starts 10] [--fills 200]`. Prints one table; nothing here is a test.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from workload import generate


def rfc(t):
    return t.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Daemon:
    def __init__(self, root, extra=""):
        self.root = Path(root)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.data = self.root / "data"
        self.config = self.root / "parityd.toml"
        self.config.write_text(f'data_dir = "{self.data}"\n[http]\nport = {self.port}\n{extra}')
        for book in ("live", "backtest"):
            (self.data / "spool" / book).mkdir(parents=True, exist_ok=True)
        self.n = 0

    def start(self):
        """Seconds to READY=1, processor time until then, seconds to /readyz 200."""
        told = self.root / "notify"
        told.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(told))
            began = time.monotonic()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "parityd", "run", "--config", str(self.config)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "NOTIFY_SOCKET": str(told)},
            )  # fmt: skip
            while b"READY=1" not in notify.recv(4096):
                pass
            ready, cpu = time.monotonic() - began, self.usage()[0]
        while True:
            try:
                if self.get("/readyz", 0.5)[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.005)
        return ready, cpu, time.monotonic() - began

    def get(self, path, timeout=5):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as r:
            return r.status, r.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def drop(self, book, records):
        self.n += 1
        folder = self.data / "spool" / book
        hidden = folder / f".{self.n:07d}.jsonl"
        hidden.write_text("".join(json.dumps(r) + "\n" for r in records))
        os.rename(hidden, folder / f"{self.n:07d}.jsonl")

    def override(self):
        return json.loads((self.data / "system_actions/trading_override.json").read_bytes())

    def usage(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def at(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def starts(n):
    with tempfile.TemporaryDirectory() as root:
        d = Daemon(root)
        d.start()
        d.stop()
        out = []
        for _ in range(n):
            out.append(d.start())
            d.stop()
        return out


def idle(seconds=20):
    with tempfile.TemporaryDirectory() as root:
        d = Daemon(root)
        d.start()
        time.sleep(3)
        before, _ = d.usage()
        time.sleep(seconds)
        after, rss = d.usage()
        d.stop()
        return (after - before) / seconds * 100, rss


def fills(n):
    """From the rename of a fill's file into the spool to the replaced override file."""
    with tempfile.TemporaryDirectory() as root:
        d = Daemon(root)
        d.start()
        now = datetime.now(UTC) - timedelta(minutes=30)
        out = []
        for i in range(n):
            t = now + timedelta(seconds=i)
            d.drop(
                "backtest",
                [
                    dict(
                        kind="decision",
                        strategy="s",
                        symbol="A/USD",
                        trade_id=f"t{i}",
                        ts=rfc(t),
                        action="buy",
                        quantity=1,
                        price=100.0,
                        mark=100.0,
                    )
                ],
            )
            while any((d.data / "spool/backtest").iterdir()):
                time.sleep(0.005)
            time.sleep(0.02 + random.random() * 0.05)
            before = d.override()["sequence"]
            d.drop(
                "live",
                [
                    dict(
                        kind="fill",
                        strategy="s",
                        symbol="A/USD",
                        trade_id=f"t{i}",
                        fill_id=f"f{i}",
                        side="buy",
                        quantity=1,
                        price=100.01,
                        ts=rfc(t + timedelta(milliseconds=80)),
                    )
                ],
            )
            began = time.perf_counter()
            while d.override()["sequence"] == before and time.perf_counter() - began < 5:
                time.sleep(0.0005)
            out.append((time.perf_counter() - began) * 1e3)
        d.stop()
        return out


def syncs(n=100):
    """fsync of a small new file: a fill needs three of them one after another before its publication has its name."""
    with tempfile.TemporaryDirectory() as root:
        out = []
        for i in range(n):
            fd = os.open(f"{root}/{i}", os.O_CREAT | os.O_WRONLY)
            os.write(fd, b"x" * 800)
            began = time.perf_counter()
            os.fsync(fd)
            out.append((time.perf_counter() - began) * 1e3)
            os.close(fd)
        return out


def backlog(trades):
    """Health answers, renewals and a HALT while a backlog drains."""
    with tempfile.TemporaryDirectory() as root:
        d = Daemon(root, '[publish]\ninterval = "1s"\nttl = "4s"\n')
        d.start()
        generate(Path(root) / "made", trades, 1, end=time.time() - 600, files=max(1, trades // 24_000))
        answers, renewals, stop = [], [], threading.Event()

        def ask():
            while not stop.is_set():
                t = time.perf_counter()
                d.get("/healthz")
                answers.append((time.perf_counter() - t) * 1e3)
                time.sleep(0.02)

        def look():
            last = None
            while not stop.is_set():
                s = d.override()["sequence"]
                if s != last:
                    renewals.append(time.perf_counter())
                    last = s
                time.sleep(0.01)

        threads = [threading.Thread(target=f) for f in (ask, look)]
        for t in threads:
            t.start()
        began = time.perf_counter()
        for book in ("backtest", "live"):
            for f in sorted((Path(root) / "made" / book).iterdir()):
                os.rename(f, d.data / "spool" / book / f.name)
        time.sleep(1)
        halted = time.perf_counter()
        (d.data / "overrides/HALT").touch()
        while d.override()["action"] != "EMERGENCY_STOP":
            time.sleep(0.002)
        halt = (time.perf_counter() - halted) * 1e3
        waiting = lambda: any(p.suffix == ".jsonl" for b in ("live", "backtest") for p in (d.data / "spool" / b).iterdir())  # noqa: E731
        busy = waiting()
        while waiting():
            time.sleep(0.05)
        took = time.perf_counter() - began
        stop.set()
        for t in threads:
            t.join()
        _, rss = d.usage()
        d.stop()
        gaps = [b - a for a, b in zip(renewals, renewals[1:], strict=False)]
        return took, answers, max(gaps), halt, busy, rss


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--trades", type=int, default=100_000)
    a.add_argument("--starts", type=int, default=10)
    a.add_argument("--fills", type=int, default=200)
    o = a.parse_args()
    ready, used, answers_at = zip(*starts(o.starts), strict=True)
    cpu, rss = idle()
    f = fills(o.fills)
    sync = syncs()
    took, answers, gap, halt, busy, loaded = backlog(o.trades)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| what | measured |\n|---|---|")
    print(
        f"| start to READY, empty store, {o.starts} warm starts | median {statistics.median(ready):.2f} s, worst {max(ready):.2f} s; "
        f"processor time {statistics.median(used):.2f} s |"
    )
    print(f"| start to /readyz 200 | median {statistics.median(answers_at):.2f} s, worst {max(answers_at):.2f} s |")
    print(f"| idle | {cpu:.2f} % of a core, {rss:.0f} MB |")
    print(f"| a fill's rename to the replaced override file, {o.fills} fills | p50 {at(f, 0.5):.1f} ms, p99 {at(f, 0.99):.1f} ms |")
    print(f"| fsync of a small file beside it | p50 {at(sync, 0.5):.1f} ms, p99 {at(sync, 0.99):.1f} ms |")
    print(f"| backlog of {o.trades} trades | {took:.1f} s, {loaded:.0f} MB after it |")
    print(f"| /healthz meanwhile, {len(answers)} answers | p99 {at(answers, 0.99):.0f} ms, worst {max(answers):.0f} ms |")
    print(f"| longest time between publications (interval 1 s) | {gap:.2f} s |")
    print(f"| HALT to EMERGENCY_STOP, {'during the backlog' if busy else 'after it'} | {halt:.0f} ms |")


if __name__ == "__main__":
    main()
