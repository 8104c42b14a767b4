"""Every metric of the contract, absent where nothing was measured, bounded, and clean by promtool."""

import copy
import random
import shutil
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from web.fake_desk import COSTS, FakeDesk, entry

from parityd.core.records import BOOKS, CODES
from parityd.web.metrics import FAMILIES, KINDS, Metrics

CONTRACT = {
    "records_ingested_total": {"book", "kind"}, "records_rejected_total": {"book", "code"}, "records_duplicate_total": {"book"}, "files_ingested_total": {"book"},
    "spool_backlog_files": {"book"}, "ingest_lag_seconds": {"book"}, "trades": {"strategy", "state"}, "match_rate": {"strategy"}, "tracking_error_bps": {"strategy"},
    "mean_price_diff_bps": {"strategy"}, "attribution_bps": {"strategy", "component"}, "correlation": {"strategy"}, "hit_rate": {"strategy"}, "decision_parity": {"strategy"},
    "action_parity": {"strategy"}, "cumulative_drift_bps": {"strategy"}, "quality_score": {"strategy"}, "drift_evidence": {"strategy", "channel"}, "action_level": {"strategy"},
    "trading_enabled": {"strategy"}, "size_multiplier": {"strategy"}, "override_active": {"strategy", "command"}, "escalation_streak": {"strategy", "level"},
    "finding_active": {"strategy", "code"}, "free_bytes": set(), "acknowledged_sequence": {"strategy"}, "check_duration_seconds": set(), "report_duration_seconds": set(),
    "last_check_timestamp_seconds": set(), "last_report_timestamp_seconds": set(), "publish_timestamp_seconds": set(), "publish_failures_total": set(),
    "config_last_reload_successful": set(), "audit_entries_total": set(), "build_info": {"version"},
}  # fmt: skip


def samples(metrics):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for f in text_string_to_metric_families(metrics.render().decode())
        for s in f.samples
    }


def value(metrics, name, **labels):
    return samples(metrics).get(("parityd_" + name, tuple(sorted(labels.items()))))


def full():
    metrics, e = Metrics("1.2.3"), entry("WARNING", random.Random(1))
    e["attribution"] = {k + "_bps": v for k, v in COSTS.items()}
    e["override"] = [{"command": "reduce_size"}, {"command": "force_disable"}]
    e["metrics"] |= {"decision_parity": 1.0, "action_parity": 0.99}
    metrics.follow({**FakeDesk({"s": e}).action(), "override": {"command": "HALT"}})
    for book in BOOKS:
        metrics.ingested(book, "fill", 3)
        metrics.rejected(book, "bad_json")
        metrics.duplicates(book)
        metrics.files(book)
        metrics.backlog(book, 2, 1.5)
    metrics.free(10**9)
    metrics.checked(1_700_000_000 * 10**9, 0.02)
    metrics.reported(1_700_000_000 * 10**9, 1.0)
    metrics.published(1_700_000_000_500_000_000)
    metrics.publish_failed()
    metrics.reloaded(successful=True)
    metrics.audited(2)
    return metrics


def test_the_list_is_the_contract():
    assert {f.name: set(f.labels) for f in FAMILIES} == CONTRACT


def test_all_of_it_is_exported_with_exactly_its_labels():
    seen = {}
    for name, labels in samples(full()):
        base = name.removeprefix("parityd_")
        for end in ("_bucket", "_sum", "_count"):
            if base.endswith(end):
                base = base.removesuffix(end)
        seen.setdefault(base, set()).update(k for k, _ in labels if k != "le")
    assert seen == CONTRACT


def test_each_help_says_what_it_means_and_what_to_do():
    text = full().render().decode()
    for f in FAMILIES:
        assert len(f.means) > 10 and len(f.do) > 10
        assert f"# HELP {f.full} {f.help}" in text
        assert text.count(f"# HELP {f.full} ") == text.count(f"# TYPE {f.full} ") == 1


def test_counters_start_at_zero_and_count():
    metrics = Metrics("1")
    assert all(value(metrics, "records_ingested_total", book=b, kind=k) == 0 for b in BOOKS for k in KINDS)
    assert all(value(metrics, "records_rejected_total", book=b, code=c) == 0 for b in BOOKS for c in CODES)
    metrics.ingested("live", "fill", 32)
    assert value(metrics, "records_ingested_total", book="live", kind="fill") == 32


def test_foreign_labels_are_bounded():
    metrics = Metrics("1")
    for i in range(1000):
        metrics.ingested("live", f"kind-{i}")
        metrics.rejected("live", f"code-{i}")
    assert value(metrics, "records_ingested_total", book="live", kind="other") == 1000
    assert value(metrics, "records_rejected_total", book="live", code="other") == 1000


def test_what_was_not_measured_has_no_series_and_returns_when_it_is():
    metrics, e = Metrics("1"), entry("CONTINUE", random.Random(1), "")
    e["metrics"] |= {"correlation": None, "hit_rate": float("nan"), "match_rate": float("inf")}
    desk = FakeDesk({"s": e})
    metrics.follow(desk.action())
    assert [value(metrics, n, strategy="s") for n in ("correlation", "hit_rate", "match_rate", "decision_parity")] == [None] * 4
    assert value(metrics, "attribution_bps", strategy="s", component="data") is None
    assert value(metrics, "trades", strategy="s", state="suppressed") == 0
    e["metrics"]["correlation"] = 0.0
    metrics.follow(desk.action())
    assert value(metrics, "correlation", strategy="s") == 0
    metrics.backlog("live", 0, None)
    assert value(metrics, "ingest_lag_seconds", book="live") is None and value(metrics, "free_bytes") is None


def test_a_strategy_that_is_gone_takes_its_series_along():
    metrics, e = Metrics("1"), entry("WARNING", random.Random(1))
    metrics.follow(FakeDesk({"a": e, "b": copy.deepcopy(e)}).action())
    metrics.follow(FakeDesk({"b": e}).action())
    names = {dict(labels).get("strategy") for _, labels in samples(metrics)}
    assert names == {"b", "*", None}


def test_a_finding_that_ended_is_gone_and_a_changed_entry_is_seen_even_when_changed_in_place():
    metrics, e = Metrics("1"), entry("WARNING", random.Random(1))
    desk = FakeDesk({"s": e})
    metrics.follow(desk.action())
    assert value(metrics, "finding_active", strategy="s", code="tracking_error") == 1
    e.update(findings=[], action="EMERGENCY_STOP", trading_enabled=False, size_multiplier=0.0)
    metrics.follow(desk.action())
    assert value(metrics, "finding_active", strategy="s", code="tracking_error") is None
    assert [value(metrics, n, strategy="s") for n in ("action_level", "trading_enabled", "size_multiplier")] == [4, 0, 0]


def test_unknown_strategies_obey_the_default_and_commands_for_all_are_seen():
    metrics = Metrics("1")
    stop = {"action": "EMERGENCY_STOP", "trading_enabled": False, "size_multiplier": 0.0}
    metrics.follow({"strategies": {}, "default": stop, "override": {"command": "HALT"}})
    assert value(metrics, "action_level", strategy="*") == 4 and value(metrics, "trading_enabled", strategy="*") == 0
    assert value(metrics, "override_active", strategy="*", command="HALT") == 1
    metrics.follow(
        {"strategies": {}, "default": {**stop, "override": None, "overrides": [{"command": "force_disable"}, {"command": "reduce_size"}]}}
    )
    assert (
        value(metrics, "override_active", strategy="*", command="force_disable")
        == value(metrics, "override_active", strategy="*", command="reduce_size")
        == 1
    )
    metrics.follow({"strategies": {}, "default": {"action": "CONTINUE"}})
    assert value(metrics, "action_level", strategy="*") == 0 and value(metrics, "size_multiplier", strategy="*") == 1
    assert value(metrics, "override_active", strategy="*", command="HALT") is None


def test_components_carry_the_names_of_the_measures():
    found = {dict(labels)["component"]: v for (n, labels), v in samples(full()).items() if n == "parityd_attribution_bps"}
    assert found["slippage"] == COSTS["slippage_impact"] and found["impact"] == COSTS["market_impact"] and "model" not in found


def test_drift_evidence_is_a_share_of_its_limit_and_never_below_zero():
    metrics, e = Metrics("1"), entry("WARNING", random.Random(1))
    e["drift"] = {
        "channels": {
            "mean": {"evidence": 5.75, "limit": 11.5},
            "hit": {"evidence": -3.0, "limit": 10.6},
            "scale": {"evidence": None, "limit": 11.0},
        }
    }
    metrics.follow(FakeDesk({"s": e}).action())
    assert value(metrics, "drift_evidence", strategy="s", channel="mean") == 0.5
    assert value(metrics, "drift_evidence", strategy="s", channel="hit") == 0
    assert value(metrics, "drift_evidence", strategy="s", channel="scale") is None


def test_names_are_escaped():
    metrics = Metrics("1")
    name = 'a"b\\c\nd'
    metrics.follow({"strategies": {name: {"action": "CONTINUE"}}})
    assert value(metrics, "action_level", strategy=name) == 0


def test_a_thousand_strategies_are_scraped_within_fifty_milliseconds():
    rng, metrics = random.Random(1), Metrics("1")
    metrics.follow(FakeDesk({f"s{i}": entry("WARNING", rng) for i in range(1000)}).action())
    took = []
    for _ in range(5):
        start = time.perf_counter()
        size = len(metrics.render())
        took.append(time.perf_counter() - start)
    assert size > 1_000_000 and min(took) < 0.05, took


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say():
    done = subprocess.run(["promtool", "check", "metrics"], input=full().render(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    assert not done.stderr.strip() and not done.stdout.strip()
