"""What holds for all tests: programs that they start keep their bytecode, and some tests have the machine for themselves."""

import os
from pathlib import Path

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of a thousand starts compiles the whole package anew

HERE = Path(__file__).parent
# Folders and files whose tests watch the clock closely, boot a machine, or mount and fill disks: `make test` runs them after the others, one at a time.
ALONE = ("faults", "e2e/test_systemd.py", "engine/test_gate_cost.py", "web/test_browser.py", "web/test_server.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs alone."""
    for item in items:
        place = item.path.relative_to(HERE) if item.path.is_relative_to(HERE) else item.path
        if any(place == Path(one) or Path(one) in place.parents for one in ALONE):
            item.add_marker(pytest.mark.alone)
