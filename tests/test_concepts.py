"""The worked numbers of the documentation are computed by the blocks beside them, and the blocks run."""

import re
from pathlib import Path

import pytest

from parityd.settings_judgement import Thresholds

ROOT = Path(__file__).parent.parent
MEASURES = (ROOT / "docs/concepts/measures.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
FINDINGS = [
    "tracking_error",
    "correlation",
    "slippage",
    "fee_impact",
    "timing_impact",
    "latency",
    "cumulative_drift",
    "unmatched",
    "decision_parity",
    "action_parity",
    "drift",
    "max_trade_diff",
    "suspect_data",
    "runaway",
    "stale_engine",
    "stale_backtest",
    "lagging",
    "position_mismatch",
    "balance_mismatch",
    "engine_unhealthy",
    "not_obeyed",
    "unacknowledged",
    "broken_source",
    "degraded",
]
ACTIONS = ["CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP"]


def test_the_blocks_of_the_measures_hold_their_own_numbers():
    known: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", MEASURES, re.DOTALL)
    assert len(blocks) > 10
    for block in blocks:
        exec(block, known)  # the page's own code, in the page's order


@pytest.mark.parametrize(
    "name",
    [
        *(
            "price_diff_bps",
            "fee_diff_bps",
            "timing_diff_ms",
            "latency_ms",
            "tracking_error_bps",
            "mean_price_diff_bps",
            "std_price_diff_bps",
        ),
        *("max_price_diff_bps", "cumulative_drift_bps", "match_rate", "markouts", "correlation", "hit_rate", "tracking_error_returns_bps"),
        *("decision_parity", "action_parity", "quality_score", "quality_grade", "data_impact", "timing_impact", "slippage_impact"),
        *(
            "market_impact",
            "fee_impact",
            "sizing_impact",
            "model_impact",
            "funding_impact",
            "carry_impact",
            "action_impact",
            "total_pnl_diff",
        ),
    ],
)
def test_every_measure_is_explained_under_its_name(name):
    assert f"`{name}`" in MEASURES


@pytest.mark.parametrize("heading", [*ACTIONS, *FINDINGS])
def test_every_action_and_finding_has_its_heading_to_link_to(heading):
    assert re.findall(rf"(?m)^#+ `{heading}`$", OPERATIONS) == [f"### `{heading}`"]


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_says_what_it_means_what_to_look_at_and_how_to_leave_it(finding):
    text = OPERATIONS.split(f"### `{finding}`\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert len(re.findall(r"(?m)^\d\. ", text)) == 3
    assert "**Leaving it.**" in text


def test_thresholds_named_in_the_documentation_exist():
    named = set(re.findall(r"`thresholds\.(\w+)`", OPERATIONS + MEASURES))
    assert named
    assert named <= set(Thresholds.model_fields)


def test_links_between_the_documents_lead_somewhere():
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "docs/operations.md",
        *(ROOT / "docs/concepts").glob("*.md"),
        *(ROOT / "docs/reference").glob("*.md"),
    ]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
            place = (page.parent / target) if target else page
            assert place.exists(), (page, target)
            if anchor:
                heads = re.findall(r"(?m)^#+ (.*)$", place.read_text(encoding="utf-8"))
                assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}, (page, anchor)
