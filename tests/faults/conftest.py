"""A box for each test, and nothing left running after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.box import Box, end_all
from faults.model import Model


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    yield Box(tmp_path)
    end_all()


@pytest.fixture
def model() -> Model:
    return Model()
