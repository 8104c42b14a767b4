"""What holds for all tests.

1. Programs that they start keep their bytecode, and some tests have the machine for themselves.
2. In CI a test that is skipped has failed, but for what `ALLOWED` lists: a check that nobody ran has shown nothing.
"""

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of a thousand starts compiles the whole package anew

HERE = Path(__file__).parent
# Folders and files whose tests watch the clock closely, boot a machine, or mount and fill disks: `make test` runs them after the others, one at a time.
APART = ("faults",)  # mostly wait for the disk and for processes: side by side with each other, not with the others
ALONE = ("e2e/test_systemd.py", "engine/test_gate_cost.py", "web/test_browser.py", "web/test_server.py")
ALLOWED = (
    r"(are|is) not here",  # other projects' exports, which may not be copied into this one
    r"is not at hand",
    r"the sample was cut",
    r"this file system (gives a new folder the old identity|has no inode generations)",
    r"needs /sys/fs/ext4/\*/trigger_fs_error",  # kernels built without it
    r"could not import '(backtesting|polars)'",  # asked for by hand, no dependency of the tests
)
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs apart, and what runs alone."""
    for item in items:
        place = item.path.relative_to(HERE) if item.path.is_relative_to(HERE) else item.path
        for marker, places in ((pytest.mark.apart, APART), (pytest.mark.alone, ALONE)):
            if any(place == Path(one) or Path(one) in place.parents for one in places):
                item.add_marker(marker)


def _judged(report: Any) -> Any:
    """A skip that is not listed becomes a failure, with its reason."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(one, reason) for one in ALLOWED):
            report.outcome, report.longrepr = "failed", f"{reason}\nA skip that tests/conftest.py does not list fails in CI."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _judged((yield))
