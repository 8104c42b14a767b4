"""The command line: exit statuses, one-line errors, configuration and environment (contract 8)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.box import ROOT, Box, at, both, day_of, decision, fill, heartbeat, stamp, trades


@pytest.mark.parametrize(
    ("config", "env", "names"),
    [
        ("typo = 1\n", {}, "typo"), ("[http]\nhost = 5\n", {}, "http.host"), ("[thresholds]\nwarning_bps = -3\n", {}, "warning_bps"),
        ("[thresholds]\nwarning_bps = 80\ncritical_bps = 50\n", {}, "warning_bps"), ("[publish]\ninterval = '40s'\nttl = '60s'\n", {}, "ttl"),
        ("[schedule]\ncheck_interval = 'soon'\n", {}, "check_interval"), ("[strategies.a]\nprofil = 'strict'\n", {}, "profil"), ("[nonsense]\na = 1\n", {}, "nonsense"),
        ("[sources.a]\npath = 'x'\nbook = 'paper'\n", {}, "book"), ("[publish]\non_expiry = 'WARNING'\n", {}, "on_expiry"), ("x = [\n", {}, "parityd.toml"),
        ("", {"PARITYD_HTTP__PROT": "1"}, "PARITYD_HTTP__PROT"), ("", {"PARITYD_NONSENSE": "1"}, "PARITYD_NONSENSE"), ("", {"PARITYD_HTTP__PORT": "many"}, "PARITYD_HTTP__PORT"),
        ("[overrides]\nallowed_users = ['nobody-of-this-name']\n", {}, "nobody-of-this-name"), ("[tracking_error]\nmethod = 'mean'\n", {}, "method"),
    ],
)  # fmt: skip
def test_a_bad_configuration_is_one_line_that_names_the_key(tmp_path: Path, config: str, env: dict[str, str], names: str) -> None:
    box = Box(tmp_path, env=env)
    if "[http]" in config:
        box.file.write_text(f'data_dir = "{box.data}"\n{config}')
    else:
        box.configure(config)
    done = box.run("config", "check")
    assert done.returncode == 3 and done.stdout == "", done
    assert len(done.stderr.strip().splitlines()) == 1 and names in done.stderr and "Traceback" not in done.stderr


def test_what_is_shown_is_what_holds_and_secrets_are_masked(tmp_path: Path) -> None:
    box = Box(tmp_path, '[notify]\nurls = ["json://user:hunter2@localhost/x"]\n', env={"PARITYD_THRESHOLDS__MIN_TRADES": "7"})
    done = box.run("config", "show")
    assert done.returncode == 0 and "hunter2" not in done.stdout + done.stderr
    assert (
        "thresholds.min_trades = 7" in done.stdout
        and "PARITYD_THRESHOLDS__MIN_TRADES" in done.stdout
        and "schedule.check_interval" in done.stdout
    )
    assert box.run("config", "check").returncode == 0


@pytest.mark.parametrize(
    "args",
    [
        ("check", "--at", "yesterday"), ("check", "--nonsense"), ("report", "--day", "2026-13-45"), ("explain", "no-such-trade"), ("nonsense",), ("replay", "--from", "x", "--to", "y"),
        ("compare", "/nowhere/a.json", "/nowhere/b.json"), ("requeue", "/nowhere/file"), ("restore", "/nowhere"), ("override", "launch"), ("doctor", "/nowhere/file"),
        ("report", "--day", "2099-01-01"), ("explain", ""),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_3(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = Box(tmp_path).run(*args)
    assert done.returncode == 3 and 1 <= len(done.stderr.strip().splitlines()) <= 2 and "Traceback" not in done.stderr, done


def test_a_trail_is_not_called_whole_where_there_is_no_folder(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.data.rename(tmp_path / "elsewhere")
    done = box.run("audit", "verify")
    assert (done.returncode, done.stdout) == (3, "") and f"{box.data} is not there" in done.stderr
    assert not box.data.exists()


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.file.unlink()
    done = box.run("check")
    assert done.returncode == 3 and "parityd.toml" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_exit_statuses_and_the_json_are_the_published_document(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for want, bps in ((0, 3.0), (1, 30.0), (2, 70.0)):
        decided, filled = trades(f"s{want}", [bps if i % 4 < 2 else -bps for i in range(12)])
        box.drop("backtest", *decided, heartbeat(f"s{want}", at(20, 45)))
        box.drop("live", *filled, heartbeat(f"s{want}", at(20, 45)))
        done = box.run("check", "--json", "--at", "2000-01-01T00:00:00Z") if False else box.check(at(21))
        assert done.pop("exit") == want and done == box.action()
    text = box.run("check", "--at", at(21).isoformat())
    assert text.returncode == 2 and "s2" in text.stdout
    assert box.check(at(21))["action"] == "REDUCE_SIZE"
    told = box.run("explain", "s2-3")
    assert told.returncode == 0 and "s2-3" in told.stdout


def test_the_audit_names_its_first_broken_line(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.drop("live", fill("s", "1", at(6)), {"kind": "martian"})
    box.drop("backtest", decision("s", "1", at(6)))
    box.check(at(7))
    box.check(at(8))
    assert box.run("audit", "verify").returncode == 0
    (path,) = (box.data / "audit").glob("audit-*.jsonl")
    rows = path.read_text().splitlines()
    rows[0] = json.dumps({**json.loads(rows[0]), "actor": "me"})
    path.write_text("\n".join(rows) + "\n")
    done = box.run("audit", "verify")
    assert done.returncode == 2 and path.name in done.stderr + done.stdout and ":1" in done.stderr + done.stdout


def test_replay_tells_every_change_and_touches_nothing(tmp_path: Path) -> None:
    box = Box(tmp_path)
    decided, filled = trades("s", [70.0, 70.0, -70.0, -70.0] * 4)
    box.drop("backtest", *decided, heartbeat("s", at(20)))
    box.drop("live", *filled, heartbeat("s", at(20)))
    box.check(at(20, 10))
    before = box.override()["sequence"]
    day = at(0).date().isoformat()
    done = box.run("replay", "--from", day, "--to", day, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(x) for x in done.stdout.splitlines()]
    assert {"ts", "strategy", "from", "to", "reason"} <= set(rows[0]) and any(
        r["strategy"] == "s" and r["to"] == "REDUCE_SIZE" for r in rows
    )
    milder = box.run("replay", "--from", day, "--to", day, "--json", "--set", "thresholds.critical_bps=90")
    assert milder.returncode == 0
    told = [json.loads(x) for x in milder.stdout.splitlines()]
    assert not [r for r in told if r["to"] == "REDUCE_SIZE" and "tracking_error" in r["reason"]]
    assert [r for r in told if r["to"] == "WARNING" and "tracking_error" in r["reason"]]
    assert box.override()["sequence"] == before


def test_a_reader_who_leaves_changes_no_answer(tmp_path: Path) -> None:
    """`parityd check | head -1` under pipefail is the verdict, not 1, which would be WARNING."""
    box = Box(tmp_path)
    decided, filled = trades("s", [70.0 if i % 4 < 2 else -70.0 for i in range(16)])
    box.drop("backtest", *decided, both("s", at(20)))
    box.drop("live", *filled, both("s", at(20)))
    for args, status in ((("check", "--at", stamp(at(20))), 2), (("check", "--at", stamp(at(20)), "--json"), 2), (("status",), 0), (("config", "show"), 0), (("--help",), 0),
                         (("explain", "s-1"), 0), (("replay",), 0), (("report", "--json", "--day", day_of(at())), 0)):  # fmt: skip
        ours, theirs = os.pipe()
        os.close(ours)
        config = [] if args == ("--help",) else ["--config", str(box.file)]
        with os.fdopen(theirs, "wb") as nobody:
            done = subprocess.run(
                [sys.executable, "-m", "parityd", *args, *config],
                stdout=nobody,
                stderr=subprocess.PIPE,
                text=True,
                env=box.env,
                cwd=ROOT,
                check=False,
            )
        assert done.returncode == status and "ipe" not in done.stderr and "Traceback" not in done.stderr, (args, done)
