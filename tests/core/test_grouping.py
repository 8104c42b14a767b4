"""Rows of one number come together and stay in order, whatever the numbers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd.core.grouping import each, order_by

BOUNDS = [(0, 3), (-5, 5), (10**12, 10**12 + 70_000), (-(2**62), 2**62)]


@pytest.mark.parametrize("bounds", BOUNDS)
@given(data=st.data())
def test_the_order_is_that_of_a_stable_sort(bounds, data):
    numbers = np.array(data.draw(st.lists(st.integers(*bounds), max_size=40)), np.int64)
    assert order_by(numbers).tolist() == np.argsort(numbers, kind="stable").tolist()


@pytest.mark.parametrize("bounds", BOUNDS)
@given(data=st.data())
def test_each_number_comes_once_with_all_its_places(bounds, data):
    numbers = np.array(data.draw(st.lists(st.integers(*bounds), max_size=40)), np.int64)
    found = [(k, w.tolist()) for k, w in each(numbers)]
    assert found == [(k, np.flatnonzero(numbers == k).tolist()) for k in sorted(set(numbers.tolist()))]
