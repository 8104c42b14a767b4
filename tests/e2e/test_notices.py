"""Notices of the real daemon, through a real chat service on the loopback that is well, dead, slow to answer, or late."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from edges.receiver import Receiver, until

pytest.importorskip("apprise")
SECRET = "s3cret"


class Desk:
    """One data directory and the daemon over it."""

    def __init__(self, root):
        self.root, self.data, self.config = root, root / "data", root / "parityd.toml"
        self.process = None

    def configure(self, *urls, more=""):
        self.config.write_text(
            f'data_dir = "{self.data}"\n[http]\nport = 0\n[publish]\ninstance = "desk"\ninterval = "1s"\nttl = "4s"\n[notify]\nurls = {json.dumps(urls)}\n{more}'
        )
        return self

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")}
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "parityd", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        ready = self.log().count("service.ready") + 1
        until(lambda: self.log().count("service.ready") >= ready or self.process.poll() is not None, 40)
        assert self.process.poll() is None, self.log()
        return self

    def end(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            assert self.process.wait(30) == (0 if how == signal.SIGTERM else -how)

    def log(self):
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def published(self):
        return json.loads((self.data / "system_actions/trading_override.json").read_text())

    def override(self, name, **document):
        temporary = self.data / "overrides" / f".{name}"
        temporary.write_text(json.dumps(document))
        temporary.rename(self.data / "overrides" / name)

    def halt(self):
        (self.data / "overrides/HALT").touch()

    def lift(self):
        (self.data / "overrides/HALT").unlink()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    with contextlib.suppress(ProcessLookupError):
        desk.end(signal.SIGKILL)


def short(titles):
    return [t.removeprefix("parityd desk: ") for t in titles]


def heard(service, *titles, seconds=20.0):
    until(lambda: set(titles) <= set(short(service.titles())), seconds)
    return short(service.titles())


def quiet(desk, service, seconds=3.0):
    """Several looks and renewals pass, and nothing is said."""
    before, sequence = list(service.titles()), desk.published()["sequence"]
    until(lambda: desk.published()["sequence"] >= sequence + round(seconds))
    assert service.titles() == before


def test_stops_overrides_refusals_and_recovery_are_each_told_once(desk):
    with Receiver() as service:
        desk.configure(service.url(), more="[strategies.momentum]\nobeys = true\n").start()
        desk.halt()
        heard(service, "EMERGENCY_STOP for all strategies", "HALT seen: HALT")
        desk.lift()
        heard(service, "CONTINUE for all strategies", "HALT lifted: HALT")
        desk.override("a.json", command="force_disable", strategy="momentum", operator="alice", reason="news at eight")
        heard(service, "force_disable applied for momentum", "DISABLE_TRADING for momentum")
        desk.override("b.json", command="force_enable", strategy="momentum")
        heard(service, "a command was refused")
        desk.override("c.json", command="reset", strategy="momentum", operator="alice", reason="over")
        heard(service, "reset applied for momentum", "CONTINUE for momentum")
        quiet(desk, service)
        assert len(service.titles()) == len(set(service.titles())) == 9
        assert {x["type"] for x in service.got if "EMERGENCY" in x["title"]} == {"failure"}
        (told,) = [x["message"] for x in service.got if "DISABLE_TRADING" in x["title"]]
        assert "news at eight" in told
        desk.end()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_neither_loses_nor_repeats_a_notice(desk, how):
    with Receiver() as service:
        desk.configure(service.url()).start()
        desk.halt()
        heard(service, "EMERGENCY_STOP for all strategies", "HALT seen: HALT")
        quiet(desk, service)
        desk.end(how)
        desk.start()
        quiet(desk, service)
        service.status = 503
        desk.lift()
        until(lambda: "notice.failed" in desk.log())
        desk.end(how)
        service.status = 200
        desk.start()
        heard(service, "CONTINUE for all strategies", "HALT lifted: HALT")
        quiet(desk, service)
        assert len(service.titles()) == 4
        desk.end()


def test_what_happened_while_the_daemon_was_killed_is_told_at_the_next_start(desk):
    with Receiver() as service:
        desk.configure(service.url()).start()
        desk.end(signal.SIGKILL)
        desk.halt()
        desk.start()
        assert sorted(heard(service, "EMERGENCY_STOP for all strategies", "HALT seen: HALT")) == [
            "EMERGENCY_STOP for all strategies",
            "HALT seen: HALT",
        ]
        desk.end()


def test_a_dead_service_is_tried_again_named_as_degraded_and_holds_up_no_other(desk):
    with Receiver(500) as dead, Receiver() as well:
        desk.configure(dead.url(), well.url()).start()
        desk.halt()
        heard(well, "EMERGENCY_STOP for all strategies")
        port = next(json.loads(x)["port"] for x in desk.log().splitlines() if "http.listening" in x)

        def status():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=5) as answer:
                return answer.read().decode()

        until(lambda: "json (address 1) answered with HTTP status 500" in status(), 40)
        dead.status = 200
        heard(dead, "EMERGENCY_STOP for all strategies", seconds=40)
        until(lambda: "json (address 1)" not in status())
        until(lambda: len(dead.titles()) == 2)
        assert len(well.titles()) == 2
        assert SECRET not in desk.log() + status()
        assert SECRET.encode() not in b"".join(p.read_bytes() for p in desk.data.rglob("*") if p.is_file())
        desk.end()


def test_a_service_that_never_answers_delays_no_renewal_no_stop_and_no_end(desk):
    with Receiver(None) as service:
        desk.configure(*(service.url(str(i)) + "?rto=100" for i in range(5))).start()
        desk.halt()
        until(lambda: service.asked >= 5)
        issued, end = set(), time.monotonic() + 6
        while time.monotonic() < end:
            issued.add((desk.published()["sequence"], desk.published()["issued_boottime_ns"]))
            time.sleep(0.02)
        times = sorted(t for _, t in issued)
        assert max(b - a for a, b in itertools.pairwise(times)) < 2e9
        desk.override("a.json", command="force_disable", strategy="momentum", operator="alice", reason="x")
        until(lambda: "momentum" in desk.published()["strategies"], 1.0)
        started = time.monotonic()
        desk.end()
        assert time.monotonic() - started < 8


def test_a_full_disk_silences_no_stop(desk):
    """The store takes no more commits: the stop is told all the same."""
    with Receiver() as service:
        desk.configure(service.url(), more='[store]\nurl = "sqlite:///{data_dir}/store/parityd.sqlite"\n')
        store = desk.data / "store"
        store.mkdir(parents=True)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(store)], check=False).returncode:
            pytest.skip("needs root and a file system that can be mounted")
        try:
            desk.start()
            with contextlib.suppress(OSError), (store / "ballast").open("wb", buffering=0) as f:
                while True:
                    f.write(bytes(1024))
            desk.halt()
            heard(service, "EMERGENCY_STOP for all strategies")
            desk.end(signal.SIGKILL)
        finally:
            subprocess.run(["umount", "-l", str(store)], check=True)


def test_an_address_added_by_a_reload_hears_what_stands_from_now_on(desk):
    with Receiver() as service:
        desk.configure().start()
        desk.halt()
        until(lambda: desk.published()["action"] == "EMERGENCY_STOP")
        desk.configure(service.url())
        desk.process.send_signal(signal.SIGHUP)
        assert "EMERGENCY_STOP for all strategies" in heard(service, "EMERGENCY_STOP for all strategies")
        desk.lift()
        heard(service, "CONTINUE for all strategies")
        desk.end()


def notify_test(desk, *more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")}
    command = [sys.executable, "-m", "parityd", "notify", "test", "--config", str(desk.config), *more]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_notify_test_tells_every_address_and_says_which_failed(desk):
    with Receiver() as well, Receiver(403) as ill:
        desk.configure(well.url(), ill.url())
        done = notify_test(desk)
        assert (done.returncode, done.stdout) == (3, "json (address 1): sent\n")
        assert done.stderr == "parityd: json (address 2): answered with HTTP status 403\n"
        assert short(well.titles()) == ["test"]
        desk.configure(well.url())
        done = notify_test(desk, "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, [{"channel": "json (address 1)", "sent": True, "error": None}])


def test_notify_test_without_an_address_is_one_line_and_exit_3(desk):
    done = notify_test(desk.configure())
    assert (done.returncode, done.stderr) == (3, "parityd: notify.urls names no address: nobody would be told\n")
