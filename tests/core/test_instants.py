"""Times: the column is read as its values one by one, and those as the calendar says."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.core.instants import day_start, day_text, parse_time, parse_times, rfc3339
from parityd.core.records import NO_TS

GOOD = "2026-11-20T10:15:00.123456Z"


def usual(t: datetime) -> str:
    return t.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def ns(t: datetime) -> int:
    return (t - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


MOMENTS = st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))


@given(st.lists(MOMENTS, min_size=1, max_size=30))
def test_the_usual_form_is_read_to_the_microsecond(moments):
    assert parse_times([usual(t) for t in moments]).tolist() == [ns(t) for t in moments]


BROKEN = st.builds(
    lambda at, c: GOOD[:at] + c + GOOD[at + 1 :], st.integers(0, 26), st.sampled_from([*"0123456789-:T.Z/; tz\n", "é", "٣", ""])
)


@given(
    st.lists(
        BROKEN | st.sampled_from([GOOD, "2026-02-30T00:00:00.000000Z", "2026-13-01T00:00:00.000000Z", 5, "5", None, 1.5]),
        min_size=1,
        max_size=6,
    )
)
def test_a_column_says_of_each_value_what_the_single_reading_says(values):
    assert parse_times(values).tolist() == [parse_time(v) for v in values]


@pytest.mark.parametrize("pair", [(GOOD[:26], "Z" + GOOD), (GOOD + "\n" + GOOD[:5], GOOD[5:-1][:21]), (GOOD[:-1], GOOD + "Z")])
def test_texts_that_only_together_look_right_are_not(pair):
    assert parse_times(list(pair)).tolist() == [parse_time(v) for v in pair]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:00+00:00", 0),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456_789),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        ("1969-12-31T23:30:00-0030", 0),
        ("0.5", 500_000_000),
        ("12", 12_000_000_000),
        ("1969-12-31T23:59:60Z", 0),
        ("1970-01-01T00:59:60.5+01:00", 500_000_000),
    ],
)
def test_what_is_a_time(text, expected):
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "value",
    ["1970-01-01T00:00:00", "1970-01-01", "", "now", "1970-01-01T24:00:00Z", "1970-01-01T00:00:60Z", "1970-02-30T00:00:00Z",
     "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00+01:60", "nan", "inf", "1e400", float("nan"), float("inf"), True, None],
)  # fmt: skip
def test_what_is_none(value):
    assert parse_time(value) == NO_TS
    assert parse_times([value]).tolist() == [NO_TS]


def test_a_time_without_offset_is_utc_where_that_is_agreed():
    assert parse_time("1970-01-01T00:00:01", naive_is_utc=True) == 10**9


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59.999999Z", 10**12, 1e300, "1e300", 1_760_000_000_000])
def test_a_time_out_of_reach_is_the_last_one(value):
    assert parse_time(value) == 2**63 - 1
    assert parse_times([value]).tolist() == [2**63 - 1]


def test_a_time_before_all_reach_is_the_first_one():
    assert parse_times(["0001-01-01T00:00:00.000000Z", -1e12]).tolist() == [-(2**63) + 1] * 2


def test_an_empty_column_has_no_times():
    assert parse_times([]).shape == (0,)
    assert parse_times([]).dtype == np.int64


@given(st.integers(-(2**61), 2**61))
def test_what_is_written_is_read_again(value):
    assert parse_time(rfc3339(value)) == value


def test_days_begin_where_they_say():
    assert day_text(day_start("2026-11-20")) == "2026-11-20"
    assert day_text(day_start("2026-11-20") - 1) == "2026-11-19"
