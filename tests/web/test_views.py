"""Content as words: nothing unmeasured becomes a number, nothing that rounds to zero has a sign."""

import pytest

from parityd.core.instants import SECOND
from parityd.web import views

NAN = float("nan")


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (NAN, "–"), (float("inf"), "–"), (True, "–"), ("abc", "–"), ([], "–"), (0, "0.0"), (-0.04, "0.0"), (1234.56, "1,234.6"), ("12.5", "12.5"), (-3, "−3.0"),
                                              (1e18, "1e+18")])  # fmt: skip
def test_plain_numbers(value, shown):
    assert views.plain(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.0, "0.0"), (0.04, "0.0"), (-0.04, "0.0"), (2, "+2.0"), (-2, "−2.0")])
def test_signed_numbers(value, shown):
    assert views.signed(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (-5, "5 s"),
        (NAN, "–"),
    ],
)
def test_spans(seconds, shown):
    assert views.span(seconds) == shown


@pytest.mark.parametrize(("value", "shown"), [("2026-11-20T10:15:03.5Z", "2026-11-20 10:15:03"), ("2026-11-20T11:15:03+01:00", "2026-11-20 10:15:03"), (1795169703, "2026-11-20 10:15:03"),
                                              (1795169703 * SECOND, "2026-11-20 10:15:03"), (1795169703.25, "2026-11-20 10:15:03"), ("soon", "–"), (None, "–"), (True, "–"), ({}, "–")])  # fmt: skip
def test_times_are_utc_however_they_come(value, shown):
    assert views.instant(value) == shown


def test_ages_and_what_lies_ahead():
    now = 1795169703 * SECOND
    assert views.ago(now, "2026-11-20T10:15:00Z") == "3 s ago"
    assert views.ago(now, "2026-11-20T10:16:03Z") == "in 1 min"
    assert views.left(now, "2026-11-20T10:16:03Z") == 60 and views.left(now, None) is None


def test_an_unknown_action_counts_as_the_worst():
    assert [views.severity(a) for a in (*views.ACTIONS, "?", None)] == [0, 1, 2, 3, 4, 4, 4]
