"""The real daemon watched by a real Prometheus, whose alert reaches a real Alertmanager, with the shipped rules."""

import contextlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from e2e.box import ROOT, Box, at, free_port, trades

RULES = ROOT / "config/prometheus/parityd.rules.yml"
TOOLS = ("prometheus", "prometheus-alertmanager")
missing = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing) and not os.environ.get("CI"), reason=f"not installed: {', '.join(missing)}"),
]


def asked(url, **params):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(params)}" if params else url, timeout=5) as answer:
        return json.load(answer)


def patient(ask):
    """`ask`, with a server that is not there yet taken for no answer."""

    def once():
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return ask()
        return None

    return once


@contextlib.contextmanager
def running(folder: Path, *command: str):
    with (folder / f"{command[0]}.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def watchers(folder: Path, target: str):
    """(Prometheus, Alertmanager) as URLs; both scrape, evaluate and group as fast as they can."""
    prometheus, manager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (folder / "alertmanager.yml").write_text(
        yaml.safe_dump({"route": {"receiver": "desk", "group_wait": "0s"}, "receivers": [{"name": "desk"}]})
    )
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
                "scrape_configs": [{"job_name": "parityd", "static_configs": [{"targets": [target]}]}],
            }
        )
    )
    told = (
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        "--storage.path=am",
        f"--web.listen-address={manager}",
        "--cluster.listen-address=",
    )
    scraped = ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address={prometheus}")
    with running(folder, *told), running(folder, *scraped):
        yield f"http://{prometheus}/api/v1", f"http://{manager}/api/v2"


def test_prometheus_scrapes_the_daemon_and_alertmanager_hears_of_a_stop(tmp_path):
    assert not missing, f"CI needs {missing}: see .ci/run"
    box = Box(tmp_path)
    decisions, fills = trades("momentum", [3.0] * 12, start=at(20))
    box.drop("backtest", *decisions)
    box.drop("live", *fills)
    with box.daemon():
        box.until(lambda: box.metric("tracking_error_bps", strategy="momentum"), "measured")
        with watchers(tmp_path, f"127.0.0.1:{box.port}") as (prometheus, manager):

            def measured():
                found = asked(f"{prometheus}/query", query='parityd_tracking_error_bps{strategy="momentum"}')
                return found["data"]["result"]

            (sample,) = box.until(patient(measured), "scraped", 60)
            assert float(sample["value"][1]) == box.metric("tracking_error_bps", strategy="momentum")
            (scrape,) = asked(f"{prometheus}/targets")["data"]["activeTargets"]
            assert scrape["health"] == "up" and scrape["lastError"] == ""
            described = asked(f"{prometheus}/metadata")["data"]
            own = {name: d[0] for name, d in described.items() if name.startswith("parityd_")}
            assert len(own) >= 25 and all(len(d["help"]) > 40 and d["type"] != "unknown" for d in own.values())

            (box.data / "overrides/HALT").touch()

            def heard():
                found = asked(f"{manager}/alerts", filter='alertname="ParitydEmergencyStop"')
                return [a for a in found if a["labels"].get("strategy") == "momentum"]

            (alert,) = box.until(patient(heard), "the alert", 60)
            assert alert["labels"]["severity"] == "page"
            assert f"127.0.0.1:{box.port}" in alert["labels"]["instance"]
            assert alert["annotations"]["runbook_url"] == "docs/operations.md#emergency_stop"
            groups = asked(f"{prometheus}/rules")["data"]["groups"]
            assert all(r["health"] == "ok" for g in groups for r in g["rules"])
