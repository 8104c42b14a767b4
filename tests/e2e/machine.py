"""A machine of its own to install parityd on: this one's files under an overlay, booted by a real systemd in a container without a network.

1. Nothing of it outlives `stop`; the machine below is never written to.
2. `prepare` runs a command before the boot, with the host's network; `run` runs one in the booted machine.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NEEDED = {"systemd-nspawn": "systemd-container", "systemctl": "systemd", "nsenter": "util-linux", "runuser": "util-linux"}
# Of what may be installed on the machine below, only this is started.
BOOT = """[Unit]
Description=what the tests need
Requires=basic.target
Wants=systemd-journald.service systemd-tmpfiles-setup.service
After=basic.target
AllowIsolate=yes
"""


def missing():
    """Why there can be no such machine here; "" where there can."""
    if os.geteuid() != 0:
        return "only root boots a machine"
    for command, package in NEEDED.items():
        if shutil.which(command) is None:
            return f"{command} is not installed (Debian package {package})"
    return ""


class Machine:
    """`root`: its files as seen from outside."""

    def __init__(self, scratch):
        self.scratch = Path(scratch)
        self.root = self.scratch / "root"
        self.leader = 0
        self._nspawn = None

    def make(self):
        self.scratch.mkdir(parents=True, exist_ok=True)
        outside("mount", "-t", "tmpfs", "-o", "size=3g,mode=755", "tmpfs", str(self.scratch))
        for name in ("upper", "work", "root"):
            (self.scratch / name).mkdir()
        layers = f"lowerdir=/,upperdir={self.scratch}/upper,workdir={self.scratch}/work"
        outside("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        units = self.root / "etc/systemd/system"
        for name in ("systemd-udevd", "systemd-timesyncd", "console-getty"):
            (units / f"{name}.service").unlink(missing_ok=True)
            (units / f"{name}.service").symlink_to("/dev/null")
        (units / "tests.target").write_text(BOOT)
        (self.root / "etc/machine-id").unlink(missing_ok=True)
        (self.root / "etc/machine-id").write_text("")
        return self

    def prepare(self, *command):
        """A command in it before it is booted; the checkout and the environment of the tests are where they are."""
        binds = {f"--bind-ro={path}" for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix)) if not path.is_relative_to("/usr")}
        passed = {
            f"--setenv={k}={v}"
            for k, v in os.environ.items()
            if k.startswith(("PIP_", "SSL_", "REQUESTS_")) or k.lower().endswith("_proxy")
        }
        options = ["-q", "--register=no", "--keep-unit", "--pipe", *sorted(binds), *sorted(passed)]
        return outside("systemd-nspawn", "-D", str(self.root), *options, "--", *command)

    def boot(self):
        log = (self.scratch / "console").open("wb")
        options = ["--register=no", "--keep-unit", "--private-network", "--boot", "-M", f"parityd-{os.getpid()}"]
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "-D", str(self.root), *options, "--", "--unit=tests.target"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        self.until(lambda: children.read_text().split(), 30, "the container starts")
        self.leader = int(children.read_text().split()[0])
        self.until(lambda: self.run("systemctl", "is-active", "tests.target", check=False).stdout.strip() == "active", 60, "it boots")
        return self

    def run(self, *command, user=None, check=True, timeout=60):
        """A command in the booted machine."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w"]
        as_user = ["runuser", "-u", user, "--"] if user else []
        return outside(*enter, *as_user, *command, check=check, timeout=timeout)

    def shell(self, script, **how):
        return self.run("/bin/sh", "-c", script, **how)

    def show(self, unit, *names):
        """Properties of a unit."""
        lines = self.run("systemctl", "show", unit, *(f"--property={n}" for n in names)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def until(self, what, seconds, why):
        """Wait until `what()` is true and return it; a file that is not there yet is no error."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(FileNotFoundError):
                if found := what():
                    return found
            assert time.monotonic() < end, f"not within {seconds} s: {why}\n{self._said()}"
            time.sleep(0.1)

    def _said(self):
        console = self.scratch / "console"
        return console.read_text(errors="replace")[-3000:] if console.exists() else ""

    def stop(self):
        if self._nspawn is not None:
            self._nspawn.terminate()
            try:
                self._nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        for path in (self.root, self.scratch):
            subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


def outside(*command, check=True, timeout=600):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done
