"""The service as an operator installs it, in a real systemd: from the built wheel, with its unit, users, folders, sandbox and credentials.

One machine for the whole file, in order of the tests: what one leaves behind (a strategy, a stop) is lifted by itself.
"""

import json
import os
import re
import shutil
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e.machine import ROOT, Machine, missing, outside

pytestmark = pytest.mark.slow
PYTHON = "/opt/parityd/bin/python"
STATE = "/var/lib/parityd"
FILES = {
    "parityd.service": "usr/lib/systemd/system/parityd.service",
    "parityd@.service": "usr/lib/systemd/system/parityd@.service",
    "parityd.sysusers": "usr/lib/sysusers.d/parityd.conf",
    "parityd.tmpfiles": "usr/lib/tmpfiles.d/parityd.conf",
    "parityd.toml": "etc/parityd/parityd.toml",
}
PIP = (sys.executable, "-m", "pip", "--python", PYTHON, "--disable-pip-version-check", "--no-input", "install", "-q")
READ_GATE = f"""from parityd.engine import Gate
v = Gate("{STATE}/system_actions/trading_override.json", "momentum").read()
print(v.action, v.fresh)"""
DROP = (
    f"{PYTHON} -c 'import time; from parityd.engine import Spool; "
    f'Spool("{STATE}/spool/live").write([{{"kind": "mark", "symbol": "BTC/USD", "price": 1, "ts": time.time()}}])\''
)
RECEIVER = """import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("/run/notices", "a") as f:
            f.write(json.loads(body)["title"] + "\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""


def install(machine):
    """docs/install, command by command, up to the first start."""
    wheels = machine.scratch / "wheel"
    outside(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT))
    (wheel,) = wheels.iterdir()
    shutil.copy(wheel, machine.root / "srv")
    machine.prepare("/usr/bin/python3", "-m", "venv", "--without-pip", "/opt/parityd")
    machine.prepare(*PIP, "--require-hashes", "-r", str(ROOT / "requirements/notify.txt"))
    machine.prepare(*PIP, "--no-deps", f"/srv/{wheel.name}")
    for name, place in FILES.items():
        target = machine.root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "systemd" / name, target)
        target.chmod(0o644)
    (machine.root / "srv/receiver.py").write_text(RECEIVER)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    why = missing()
    if why:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        install(machine.make())
        machine.boot()
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create", "parityd.conf")
        for user, group in (("desk", "parityd-spool"), ("alice", "parityd-ops"), ("mallory", "nogroup")):
            machine.run("useradd", "--no-create-home", "--groups", group, user)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "parityd")
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def running(machine):
    """The service, started and ready, with no operator's word standing."""
    machine.shell(f"rm -f {STATE}/overrides/HALT*")
    if machine.show("parityd", "ActiveState")["ActiveState"] != "active":
        machine.run("systemctl", "start", "parityd")
    machine.until(lambda: "operator halt" not in published(machine)["reason"], 30, "no halt stands")
    return machine


def published(machine, state=STATE):
    return json.loads((machine.root / f"{state[1:]}/system_actions/trading_override.json").read_text())


def main_pid(machine, unit="parityd"):
    return machine.show(unit, "MainPID")["MainPID"]


def status(machine, pid):
    return dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)


def test_it_starts_says_that_it_is_ready_and_publishes_no_permission_before_init(machine):
    shown = machine.show("parityd", "ActiveState", "SubState", "Type", "WatchdogUSec", "NRestarts", "OOMScoreAdjust")
    assert shown == {
        "ActiveState": "active", "SubState": "running", "Type": "notify", "WatchdogUSec": "20s", "NRestarts": "0", "OOMScoreAdjust": "-900",
    }  # fmt: skip
    machine.until(lambda: machine.show("parityd", "StatusText")["StatusText"] == "0 strategies", 20, "what was found is evaluated")
    assert published(machine)["action"] == "DISABLE_TRADING"
    assert "init" in published(machine)["reason"]


def test_it_answers_on_its_port(running):
    code = 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:9815/readyz", timeout=5).status)'
    running.until(lambda: running.run(PYTHON, "-c", code, check=False).stdout.strip() == "200", 30, "/readyz is 200")


def test_systemd_accepts_the_installed_units_without_a_word_and_finds_them_shut_in(running):
    for unit in ("parityd.service", "parityd@desk.service"):
        done = running.run("systemd-analyze", "verify", unit, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    for unit in ("parityd.service",):
        done = running.run("systemd-analyze", "security", "--no-pager", unit)
        exposure = float(re.search(r"Overall exposure level[^:]*: ([\d.]+)", done.stdout)[1])
        assert exposure <= 1.5, done.stdout


def test_the_sandbox_is_in_force(running):
    pid = main_pid(running)
    seen = status(running, pid)
    assert int(seen["CapEff"], 16) == int(seen["CapBnd"], 16) == int(seen["CapAmb"], 16) == 0
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert running.run("ps", "-o", "user=", "-p", pid).stdout.strip() == "parityd"
    assert re.search(r"Max core file size\s+0\s+0", running.run("cat", f"/proc/{pid}/limits").stdout)
    assert running.show("parityd", "LimitNOFILE")["LimitNOFILE"] == "65536"

    def inside(script):
        uid = running.run("id", "-u", "parityd").stdout.strip()
        return running.run("nsenter", "-t", pid, "-m", "setpriv", "--reuid", uid, "--clear-groups", "/bin/sh", "-c", script, check=False)

    assert inside(f"touch {STATE}/here && rm {STATE}/here").returncode == 0
    for place in ("/usr/x", "/etc/x", "/var/lib/x", "/opt/parityd/x", "/sys/x"):
        assert inside(f"touch {place}").returncode != 0, place
    for place in ("/home", "/root"):
        assert inside(f"ls {place}/* 2>/dev/null").stdout == "", place
    assert "ro," in inside("grep ' / ' /proc/mounts").stdout


def test_any_user_reads_the_action_files_and_nothing_else(running):
    # As a unit with a /proc of its own, like parityd's: the container hides the kernel's boot id from everybody else.
    engine = ("systemd-run", "-q", "--pipe", "--wait", "-p", "User=mallory", "-p", "ProtectProc=invisible", PYTHON, "-c", READ_GATE)
    assert running.run(*engine).stdout.split() == ["DISABLE_TRADING", "True"]
    running.run("cat", f"{STATE}/system_actions/parity_action.json", user="mallory")
    for what in ("ls /var/lib/parityd", f"ls {STATE}/spool/live", f"ls {STATE}/audit", f"cat {STATE}/parityd.sqlite", f"touch {STATE}/system_actions/x",
                 f"touch {STATE}/spool/live/x", f"touch {STATE}/overrides/HALT", f"rm {STATE}/system_actions/trading_override.json"):  # fmt: skip
        assert running.shell(what, user="mallory", check=False).returncode != 0, what


@pytest.mark.parametrize("umask", ["022", "077"])
def test_an_engine_of_the_spool_group_drops_files_and_they_are_taken(running, umask):
    archive = running.root / f"{STATE[1:]}/archive/live"
    before = len(list(archive.rglob("*.jsonl")))
    running.shell(f"umask {umask}; {DROP}", user="desk")
    running.until(lambda: len(list(archive.rglob("*.jsonl"))) > before, 20, "the file is in the archive")
    assert list((running.root / f"{STATE[1:]}/spool/live").iterdir()) == []
    for what in (f"ls {STATE}/archive", f"touch {STATE}/overrides/HALT", f"touch {STATE}/spool/x"):
        assert running.shell(what, user="desk", check=False).returncode != 0, what


def test_a_parquet_file_is_decoded_inside_the_sandbox(running):
    """Its decoder is a process of its own with a limit on its memory: the filter of system calls must let both pass."""
    archive = running.root / f"{STATE[1:]}/archive/live"
    table = pa.table({"kind": ["mark"], "symbol": ["ETH/USD"], "price": [2.0], "ts": [time.time()]})
    pq.write_table(table, running.root / "srv/marks.parquet")
    running.shell(
        f"cat /srv/marks.parquet > {STATE}/spool/live/.m && chmod 640 {STATE}/spool/live/.m && mv {STATE}/spool/live/.m {STATE}/spool/live/m.parquet",
        user="desk",
    )
    running.until(lambda: list(archive.rglob("*-m.parquet")), 30, "the file is in the archive")


def test_an_operator_halts_and_lifts_the_halt(running):
    running.run("touch", f"{STATE}/overrides/HALT", user="alice")
    running.until(lambda: published(running)["action"] == "EMERGENCY_STOP", 2, "the halt is in force")
    assert running.shell(f"rm -f {STATE}/overrides/HALT", user="desk", check=False).returncode != 0
    running.run("rm", f"{STATE}/overrides/HALT", user="alice")
    running.until(lambda: published(running)["action"] == "DISABLE_TRADING", 20, "the halt is lifted, and nothing else")


def test_an_operator_sees_that_it_runs_and_is_told_who_may_look_further(running):
    parityd = "/opt/parityd/bin/parityd"
    assert running.run(parityd, "status", user="alice").stdout.startswith(f"daemon: process {main_pid(running)}\n")
    told = running.run(parityd, "doctor", user="alice", check=False).stdout
    assert "127.0.0.1:9815 answers" in told and "no daemon runs here" not in told
    for command in (("explain", "t"), ("audit", "verify"), ("replay",)):
        done = running.run(parityd, *command, user="alice", check=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"it belongs to parityd and this is alice. Mend: sudo -u parityd parityd {' '.join(command)}" in done.stderr


def drop_command(machine, user, name, **document):
    path = f"{STATE}/overrides"
    machine.shell(f"umask 022; cat > {path}/.{name} <<'END'\n{json.dumps(document)}\nEND\nmv {path}/.{name} {path}/{name}", user=user)


def test_operators_may_lower_and_only_named_users_may_raise(running):
    folder = running.root / f"{STATE[1:]}/overrides"
    drop_command(running, "alice", "a.json", command="force_disable", strategy="momentum", operator="alice", reason="news")
    running.until(lambda: (folder / "applied/a.json").exists(), 20, "the lowering command is applied")
    drop_command(running, "alice", "b.json", command="reset", strategy="*", operator="alice", reason="over")
    running.until(lambda: (folder / "refused/b.json").exists(), 20, "alice's reset is refused")
    assert published(running)["strategies"]["momentum"]["action"] == "DISABLE_TRADING"
    config = running.root / "etc/parityd/parityd.toml"
    config.write_text(config.read_text() + '\n[overrides]\nallowed_users = ["alice"]\n')
    running.run("systemctl", "reload", "parityd")
    drop_command(running, "alice", "c.json", command="reset", strategy="*", operator="alice", reason="over")
    running.until(lambda: (folder / "applied/c.json").exists(), 20, "alice may, once she is named")


def test_init_ends_the_first_start(running):
    running.run("systemctl", "stop", "parityd")
    assert running.show("parityd", "Result")["Result"] == "success"
    init = ("/opt/parityd/bin/parityd", "init", "--config", "/etc/parityd/parityd.toml")
    assert running.run(*init, check=False).returncode == 3  # root is told to do it as parityd
    running.run(*init, user="parityd")
    running.run("systemctl", "start", "parityd")
    running.until(lambda: published(running)["default"]["action"] == "CONTINUE", 20, "permission is published")


def test_a_bad_new_configuration_keeps_the_service_running(running):
    config = running.root / "etc/parityd/parityd.toml"
    good, pid = config.read_text(), main_pid(running)
    config.write_text(good + "\n[nonsense]\nx = 1\n")
    running.run("systemctl", "reload", "parityd")
    running.until(lambda: "config.refused" in running.journal("parityd"), 20, "it says so")
    config.write_text(good)
    running.run("systemctl", "reload", "parityd")
    assert main_pid(running) == pid
    assert running.show("parityd", "ActiveState")["ActiveState"] == "active"


def test_credentials_are_read_where_they_are_and_missed_by_nobody_where_not(running):
    store = running.root / "etc/credstore"
    store.mkdir(mode=0o700, exist_ok=True)
    assert not list(store.iterdir())  # it has run without one until here
    (store / "parityd.notify_urls").write_text("# the desk's chat\njson://127.0.0.1:8099/s3cret\n")
    running.run("systemd-run", "--unit=receiver", "/usr/bin/python3", "/srv/receiver.py")
    running.run("systemctl", "restart", "parityd")
    running.run("touch", f"{STATE}/overrides/HALT", user="alice")
    notices = running.root / "run/notices"

    def told():
        return running.run("cat", "/run/notices", check=False).stdout

    running.until(lambda: "EMERGENCY_STOP for all strategies" in told(), 30, "the notice arrives")
    assert not notices.exists()  # the container's own /run
    environment = running.run("cat", f"/proc/{main_pid(running)}/environ").stdout
    assert "s3cret" not in environment + running.journal("parityd")
    (store / "parityd.notify_urls").unlink()
    running.run("systemctl", "restart", "parityd")


def test_a_hang_becomes_a_traceback_and_a_restart_and_the_sequence_goes_on(running):
    pid, before = main_pid(running), published(running)["sequence"]
    restarts = int(running.show("parityd", "NRestarts")["NRestarts"])
    running.run("kill", "-STOP", pid)
    running.until(lambda: int(running.show("parityd", "NRestarts")["NRestarts"]) > restarts, 60, "the watchdog kills it")
    running.until(
        lambda: running.show("parityd", "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}, 30, "it is back"
    )
    assert main_pid(running) != pid
    said = running.journal("parityd")
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said
    running.until(lambda: published(running)["sequence"] > before, 20, "publications go on")


def test_it_is_never_given_up(running):
    restarts = int(running.show("parityd", "NRestarts")["NRestarts"])
    for n in range(1, 8):
        running.until(lambda: running.show("parityd", "SubState")["SubState"] == "running", 30, "it runs")
        running.run("kill", "-KILL", main_pid(running))
        running.until(lambda n=n: int(running.show("parityd", "NRestarts")["NRestarts"]) >= restarts + n, 30, "it is started again")
    running.until(lambda: running.show("parityd", "SubState")["SubState"] == "running", 30, "it runs")


def test_a_second_instance_lives_beside_the_first(running):
    (running.root / "etc/parityd/paper.toml").write_text('data_dir = "/var/lib/parityd-paper"\n[http]\nport = 9816\n')
    snippet = (ROOT / "systemd/parityd.tmpfiles").read_text().replace("/var/lib/parityd", "/var/lib/parityd-paper")
    (running.root / "usr/lib/tmpfiles.d/parityd-paper.conf").write_text(snippet)
    running.run("systemd-tmpfiles", "--create", "parityd-paper.conf")
    running.run("systemctl", "start", "parityd@paper")
    running.until(lambda: published(running, "/var/lib/parityd-paper")["action"] == "CONTINUE", 20, "it publishes")
    assert main_pid(running, "parityd@paper") != main_pid(running)
    running.run("systemctl", "stop", "parityd@paper")
    assert running.show("parityd@paper", "Result")["Result"] == "success"


def test_it_stops_in_time_and_with_success(running):
    running.run("systemctl", "stop", "parityd", timeout=30)
    assert running.show("parityd", "Result", "ExecMainStatus", "ActiveState") == {
        "Result": "success",
        "ExecMainStatus": "0",
        "ActiveState": "inactive",
    }
