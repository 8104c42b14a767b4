"""A real Prometheus scrapes the served metrics, evaluates the shipped rules and raises the alert."""

import asyncio
import json
import random
import shutil
import socket
from pathlib import Path

import httpx
import pytest
import yaml
from web.fake_desk import FakeDesk, entry

from parityd.web import server
from parityd.web.api import Web
from parityd.web.metrics import Metrics

RULES = Path(__file__).parents[2] / "config/prometheus/parityd.rules.yml"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def asked(client, url, path, **params):
    answer = await client.get(url + path, params=params)
    return answer.json()["data"]


async def until(check, seconds=40):
    for _ in range(seconds * 5):
        try:
            if found := await check():
                return found
        except (httpx.HTTPError, KeyError, json.JSONDecodeError):
            pass
        await asyncio.sleep(0.2)
    raise AssertionError("it did not come")


async def test_prometheus_scrapes_every_second_and_says_that_a_strategy_is_reduced(tmp_path):
    desk = FakeDesk({"momentum": entry("REDUCE_SIZE", random.Random(1))})
    metrics, stop, up = Metrics("9.9"), asyncio.Event(), asyncio.get_running_loop().create_future()
    metrics.follow(desk.action())
    web = Web(desk, metrics)
    serving = asyncio.create_task(server.serve(web, "127.0.0.1", 0, stop, lambda _, port: up.set_result(port)))
    target, port = f"127.0.0.1:{await asyncio.wait_for(up, 5)}", free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "parityd", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = [
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    process = await asyncio.create_subprocess_exec(
        "prometheus", *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/api/v1"
    try:
        async with httpx.AsyncClient() as client:

            async def measured():
                found = await asked(client, url, "/query", query='parityd_tracking_error_bps{strategy="momentum"}')
                return found["result"]

            (sample,) = await until(measured)
            assert float(sample["value"][1]) == desk.strategies["momentum"]["metrics"]["tracking_error_bps"]
            (scrape,) = (await asked(client, url, "/targets"))["activeTargets"]
            assert scrape["health"] == "up" and scrape["lastError"] == ""

            async def fired():
                found = (await asked(client, url, "/alerts"))["alerts"]
                return [a for a in found if a["labels"]["alertname"] == "ParitydReduced" and a["state"] == "firing"]

            (alert,) = await until(fired)
            assert alert["labels"]["strategy"] == "momentum" and target in alert["annotations"]["description"]
            groups = (await asked(client, url, "/rules"))["groups"]
            assert all(r["health"] == "ok" for g in groups for r in g["rules"])
    finally:
        process.terminate()
        await process.wait()
        stop.set()
        await serving
        web.close()
