"""Every numbered case of what must be survived has a test that is named after it."""

import re
from pathlib import Path

CASES = 43


def test_no_case_is_left_out() -> None:
    here = Path(__file__).parent
    named = {int(n) for path in here.glob("test_*.py") for n in re.findall(r"^def test_case_(\d\d)_", path.read_text(), re.MULTILINE)}
    assert named == set(range(1, CASES + 1))


def test_what_guards_has_a_control_that_fails_without_it() -> None:
    """With the fsync, the lock, the ownership check, ... taken out, the guarding test's condition does not hold."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    controls = set(re.findall(r"^def (test_\w*control\w*)", text, re.MULTILINE))
    for word in ("fsync", "lock", "ownership", "replay", "clocks", "start"):
        assert any(word in name for name in controls), word
