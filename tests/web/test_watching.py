"""What Prometheus and Grafana are given: rules that fire when they should, and names that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from parityd.web.metrics import FAMILIES

ROOT = Path(__file__).parents[2]
RULES, TESTS, BOARD = (
    ROOT / "config/prometheus/parityd.rules.yml",
    ROOT / "config/prometheus/parityd.rules.test.yml",
    ROOT / "config/grafana/parityd.json",
)
NAMES = {f.full for f in FAMILIES} | {f.full + e for f in FAMILIES if f.kind == "histogram" for e in ("_bucket", "_sum", "_count")}
LABELS = {f.full: set(f.labels) for f in FAMILIES}
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def alerts():
    return [r for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]]


def metrics_in(expression):
    return set(re.findall(r"\bparityd_[a-z_]+", expression))


@promtool
def test_the_rules_are_rules():
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "21 rules" in done.stdout, done.stderr


@promtool
def test_each_rule_fires_when_it_should_and_only_then():
    done = subprocess.run(["promtool", "test", "rules", TESTS.name], cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_the_rules_tests_can_fail(tmp_path):
    (tmp_path / RULES.name).write_text(RULES.read_text().replace("parityd_action_level == 2", "parityd_action_level == 7"))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    assert subprocess.run(["promtool", "test", "rules", TESTS.name], cwd=tmp_path, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("alert", alerts(), ids=lambda a: a["alert"])
def test_an_alert_says_what_and_what_to_do_and_is_tested(alert):
    notes = alert["annotations"]
    assert len(notes["summary"]) > 15 and len(notes["description"]) > 40
    assert re.fullmatch(r"docs/operations\.md#([a-z_-]+|\{\{ \$labels\.code \}\})", notes["runbook_url"])
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert metrics_in(alert["expr"]) <= NAMES
    assert TESTS.read_text().count(alert["alert"]) >= 2, "once silent, once firing"


def test_every_runbook_is_a_heading_of_operations():
    text = (ROOT / "docs/operations.md").read_text()
    headings = {re.sub(r"[^a-z0-9_ -]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    named = {a["annotations"]["runbook_url"].split("#", 1)[1] for a in alerts()}
    codes = {c for a in alerts() for m in re.findall(r'code=~?"([a-z_|]+)"', a["expr"]) for c in m.split("|")}
    assert {n for n in named if "{" not in n} | codes <= headings


def test_each_metric_of_the_board_exists_and_nearly_all_are_on_it():
    board = json.loads(BOARD.read_text())
    used = {m for p in board["panels"] for t in p.get("targets", ()) for m in metrics_in(t["expr"])}
    assert used <= NAMES
    shown = {n.removesuffix("_bucket") for n in used}
    assert {f.full for f in FAMILIES} - shown == set()


def test_the_board_is_laid_out_without_overlap_and_asks_one_data_source():
    board = json.loads(BOARD.read_text())
    ids, taken = [p["id"] for p in board["panels"]], set()
    assert len(ids) == len(set(ids)) and board["uid"] and board["schemaVersion"] >= 36
    for p in board["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert g["x"] + g["w"] <= 24 and not cells & taken
        taken |= cells
        assert p["type"] == "row" or p["datasource"]["uid"] == "${datasource}"
        assert p["title"] and (p["type"] == "row" or p["targets"])


@promtool
def test_each_expression_of_the_board_is_promql(tmp_path):
    board = json.loads(BOARD.read_text())
    found = [t["expr"] for p in board["panels"] for t in p.get("targets", ())] + [a["expr"] for a in board["annotations"]["list"]]
    plain = [e.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$strategy", ".*") for e in found]
    rules = {"groups": [{"name": "board", "rules": [{"record": f"board:{i}", "expr": e} for i, e in enumerate(plain)]}]}
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump(rules))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
