"""Scores are rounded so that every comparison with a threshold gives what the score itself gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.reports.rounding import numbers, rounded, stops

SCORES = st.lists(st.floats(-1e4, 1e4, allow_nan=False, allow_subnormal=False), min_size=1, max_size=30)


def test_numbers_have_few_digits_and_go_a_decade_beyond_the_values() -> None:
    found = numbers(np.array([0.5, 3.0]), 1)
    assert found[:6].tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert found[-1] == 90.0
    assert len(numbers(np.array([0.5]), 3)) == 1 + 2 * 900


def test_numbers_hold_what_else_is_asked_for() -> None:
    assert 0.98765 in numbers(np.array([0.5]), 2, [0.98765])
    assert numbers(np.array([]), 3, [0.5]).tolist() == [0.0, 0.5]


@pytest.mark.parametrize(("up", "expected"), [(False, [0, 1, 1, 2, -1]), (True, [0, 1, 2, 2, -1])])
def test_a_score_gets_the_number_beside_it(up: bool, expected: list[int]) -> None:
    scores = np.array([0.0, 1.0, 1.5, 2.0, np.nan])
    assert rounded(scores, np.array([0.0, 1.0, 2.0]), up=up).tolist() == expected


@given(SCORES, st.integers(1, 3), st.data())
def test_comparisons_stay_exact(values: list[float], digits: int, data: st.DataObject) -> None:
    scores = np.array(values)
    keys = numbers(scores, digits, [0.123456])
    threshold = data.draw(st.sampled_from(keys.tolist()))
    down, up = (keys[rounded(scores, keys, up=side)] for side in (False, True))
    # What is below the smallest decade is rounded to 0, from which on the comparison is exact again.
    exact = (scores == 0) | (np.abs(scores) >= keys[keys > 0].min())
    assert ((down < threshold) == (scores < threshold))[exact].all()
    assert ((up > threshold) == (scores > threshold))[exact].all()


def test_a_slider_stands_at_even_ranks_and_at_what_else_is_asked_for() -> None:
    assert stops(np.arange(100.0), 3, [7.5]) == [0.0, 7.5, 50.0, 99.0]
    assert stops(np.array([]), 3, [7.5]) == [7.5]
