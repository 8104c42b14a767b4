"""Where the real engines are, and a real daemon beside them. `make integrations` installs each engine into an environment of its own."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PYTHONPATH = {"PYTHONPATH": str(ROOT)}


def interpreter(name):
    """The engine's own Python, or the reason to skip."""
    python = Path(os.environ.get(f"{name.upper()}_PYTHON", ROOT / ".venv" / "engines" / name / "bin" / "python"))
    found = python.is_file() and subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0
    if not found:
        pytest.skip(f"{name} is not installed: make integrations (or {name.upper()}_PYTHON=/path/to/its/python)")
    return python


def run(name, script, *arguments, timeout=240):
    """What a script of the engine's printed last, as JSON."""
    command = [interpreter(name), HERE / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | PYTHONPATH, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


class Daemon:
    """`parityd run` in a folder of its own."""

    def __init__(self, folder, **tables):
        self.data = folder / "data"
        self.config = folder / "parityd.toml"
        lines = [f"data_dir = {json.dumps(str(self.data))}", "[http]", "port = 0"]
        for table, keys in tables.items():
            lines += [f"[{table.replace('__', '.')}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")
        self.log = folder / "daemon.log"

    def command(self, *arguments):
        return [sys.executable, "-m", "parityd", *arguments, "--config", str(self.config)]

    def told(self):
        return self.log.read_text()

    def until(self, met, seconds=120):
        end = time.monotonic() + seconds
        while not (found := met()):
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < end, self.told()[-3000:]
            time.sleep(0.1)
        return found

    def metric(self, name, **labels):
        port = re.search(r'"port": (\d+), "event": "http.listening"', self.told())[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = re.search(rf"(?m)^{re.escape(name + (f'{{{wanted}}}' if wanted else ''))} (\S+)$", text)
        return float(found[1]) if found else None

    def published(self):
        return json.loads((self.data / "system_actions" / "trading_override.json").read_text())

    def refused(self):
        return [path.read_text() for path in (self.data / "rejected").rglob("*") if path.is_file()]

    def __enter__(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.command("run"), stdout=log, stderr=log, env=os.environ | PYTHONPATH)
        try:
            self.until(lambda: "service.ready" in self.told())
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()
