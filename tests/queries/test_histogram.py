"""Histograms in a line: bins that hold every value, thresholds within them, and heights."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.queries import histogram
from jobs.queries.histogram import Bins

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1), st.lists(NUMBERS, max_size=2), st.integers(1, 100))
@example([5e-324], [], 2)
@example([0.0, 5e-324], [0.0], 100)
def test_every_value_has_a_bin(values: list[float], thresholds: list[float], number: int) -> None:
    ordered = sorted(values)
    inner = ordered[len(values) // 20], ordered[-1 - len(values) // 20]
    bins = histogram.bins(ordered[0], ordered[-1], inner, thresholds, number)
    assert bins.width > 0
    assert all(0 <= bins.place(value) < number for value in values)


def test_a_threshold_near_the_values_is_within_the_bins_and_one_far_away_is_not() -> None:
    near, far = (histogram.bins(0.0, 1.0, (0.1, 0.9), [threshold], 10) for threshold in (2.0, 50.0))
    assert near.low <= 2.0 <= near.high
    assert (far.low, far.high) == (0.0, 1.0)


def test_a_long_tail_does_not_squeeze_the_other_values() -> None:
    bins = histogram.bins(0.0, 1000.0, (1.0, 2.0), [], 10)
    assert bins.high == 6.0
    assert bins.place(1000.0) == 9


@pytest.mark.parametrize("value", [0.0, -3.0, 7.5])
def test_equal_values_are_in_one_bin(value: float) -> None:
    bins = histogram.bins(value, value, (value, value), [], 10)
    assert bins.edges(bins.place(value))[0] == value


def test_edges_meet() -> None:
    bins = Bins(0.0, 1.0, 4)
    assert [bins.edges(place) for place in range(4)] == [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]


def test_heights_follow_the_counts_and_one_clip_is_seen() -> None:
    assert histogram.drawn({0: 1000, 2: 500, 3: 1}, 5) == "█ ▄▁ "
    assert histogram.drawn({0: 8, 1: 1}, 3, histogram.PLAIN) == "@. "
    assert histogram.drawn({}, 3) == "   "
