"""Unit vectors in fixed steps, starting centres and nearest centres."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from udfs.similarity.kmeans import Floats, different, fixed, lloyd, starts, unit

ROWS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 8)), elements=st.floats(-(2.0**100), 2.0**100, width=32)
)


@given(ROWS)
def test_rows_get_length_one_and_rows_of_zeros_stay(rows: Floats) -> None:
    lengths = np.linalg.norm(unit(rows), axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-6) | (lengths == 0))
    assert np.array_equal(lengths == 0, ~rows.any(axis=1))


@given(st.integers(0, 2**32 - 1), st.integers(1, 600))
def test_dot_products_are_the_same_in_any_order(seed: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    rows, order = unit(random.normal(size=(3, dim))), random.permutation(dim)
    assert np.array_equal(rows @ rows.T, rows[:, order] @ rows[:, order].T)
    assert np.array_equal((rows @ rows.T)[:1, 1], [sum(float(x) * float(y) for x, y in zip(rows[0], rows[1], strict=True))])


@given(st.integers(0, 2**32 - 1))
def test_sums_are_the_same_in_any_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = unit(random.normal(size=(200, 5)))
    assert np.array_equal(rows.sum(axis=0), random.permutation(rows).sum(axis=0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        unit([[1.0, 2.0], [bad, 0.0]])


def test_starts_are_different_rows() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(50, 4)))
    chosen = starts(rows, 10, seed=42)
    assert len(np.unique(chosen, axis=0)) == 10
    assert all((rows == row).all(axis=1).any() for row in chosen)


def test_starts_are_no_more_than_the_rows_that_differ() -> None:
    rows = unit([[1, 0], [0, 1], [1, 0], [2, 0], [0, 1]])
    assert sorted(starts(rows, 4, seed=1).tolist()) == [[0, 1], [1, 0]]


def test_starts_cover_far_groups() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.eye(4), 100, axis=0) + random.normal(size=(400, 4)) * 0.01
    labels = starts(unit(random.permutation(groups)), 4, seed=7).argmax(axis=1)
    assert sorted(labels.tolist()) == [0, 1, 2, 3]


@given(st.integers(0, 2**32 - 1))
def test_steps_end_at_the_means_of_what_is_nearest(seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(60, 4)))
    centres = lloyd(vectors, starts(vectors, 5, seed), 100, 0.0)
    label = np.linalg.norm(vectors[:, None] - fixed(centres)[None], axis=2).argmin(axis=1)
    assert np.array_equal(centres, [vectors[label == k].sum(axis=0) / (label == k).sum() for k in range(5)])


def test_steps_are_as_many_as_asked_for_and_the_same_in_any_order() -> None:
    random = np.random.default_rng(2)
    vectors = unit(random.normal(size=(300, 6)))
    first = starts(vectors, 7, 1)
    one, two = (lloyd(vectors, first, steps, 0.0) for steps in (1, 2))
    assert not np.array_equal(one, two)
    assert np.array_equal(two, lloyd(random.permutation(vectors), one, 1, 0.0))


def test_a_centre_that_is_nearest_to_none_stays() -> None:
    centres = lloyd(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), 5, 0.0)
    assert centres.tolist() == [[1, 0], [0, 1]]


def test_the_first_rows_that_differ() -> None:
    assert different(np.array([[2.0], [2.0], [1.0], [2.0], [3.0]]), 2).tolist() == [[2], [1]]
