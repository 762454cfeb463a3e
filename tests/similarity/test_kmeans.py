"""Unit vectors in fixed point, starting centers, and Lloyd's algorithm."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from udfs.similarity import kmeans
from udfs.similarity.kmeans import Floats, distinct_rows, fixed_point, lloyd, min_cosine, starting_centers, unit_vectors

ROWS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 8)), elements=st.floats(-(2.0**100), 2.0**100, width=32)
)


@settings(deadline=None)
@given(ROWS)
def test_rows_are_scaled_to_length_one_and_rows_of_zeros_stay_zeros(rows: Floats) -> None:
    lengths = np.linalg.norm(unit_vectors(rows), axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-6) | (lengths == 0))
    assert np.array_equal(lengths == 0, ~rows.any(axis=1))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 600))
def test_dot_products_are_the_same_in_any_order(seed: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    rows, order = unit_vectors(random.normal(size=(3, dim))), random.permutation(dim)
    assert np.array_equal(rows @ rows.T, rows[:, order] @ rows[:, order].T)
    one_by_one = sum(float(x) * float(y) for x, y in zip(rows[0], rows[1], strict=True))
    assert np.array_equal((rows @ rows.T)[:1, 1], [one_by_one])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sums_are_the_same_in_any_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = unit_vectors(random.normal(size=(200, 5)))
    assert np.array_equal(rows.sum(axis=0), random.permutation(rows).sum(axis=0))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 1600))
def test_equal_vectors_are_alike_at_eps_zero(seed: int, dim: int) -> None:
    (row,) = unit_vectors(np.random.default_rng(seed).normal(size=(1, dim)))
    assert row @ row >= min_cosine(0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        unit_vectors([[1.0, 2.0], [bad, 0.0]])


def test_starting_centers_are_different_rows() -> None:
    rows = unit_vectors(np.random.default_rng(0).normal(size=(50, 4)))
    centers = starting_centers(rows, 10, seed=42)
    assert len(np.unique(centers, axis=0)) == 10
    assert all((rows == center).all(axis=1).any() for center in centers)


def test_there_are_no_more_starting_centers_than_rows_that_differ() -> None:
    rows = unit_vectors([[1, 0], [0, 1], [1, 0], [2, 0], [0, 1]])
    assert sorted(starting_centers(rows, 4, seed=1).tolist()) == [[0, 1], [1, 0]]


def test_each_group_of_vectors_has_a_starting_center() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.eye(4), 100, axis=0) + random.normal(size=(400, 4)) * 0.01
    labels = starting_centers(unit_vectors(random.permutation(groups)), 4, seed=7).argmax(axis=1)
    assert sorted(labels.tolist()) == [0, 1, 2, 3]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_centers_converge_to_the_means_of_their_clusters(seed: int) -> None:
    vectors = unit_vectors(np.random.default_rng(seed).normal(size=(60, 4)))
    centers = lloyd(vectors, starting_centers(vectors, 5, seed), 100, 0.0)
    label = np.linalg.norm(vectors[:, None] - fixed_point(centers)[None], axis=2).argmin(axis=1)
    assert np.array_equal(centers, [vectors[label == k].sum(axis=0) / (label == k).sum() for k in range(5)])


def test_iterations_are_counted_and_do_not_depend_on_the_order_of_rows() -> None:
    random = np.random.default_rng(2)
    vectors = unit_vectors(random.normal(size=(300, 6)))
    start = starting_centers(vectors, 7, 1)
    one, two = (lloyd(vectors, start, iterations, 0.0) for iterations in (1, 2))
    assert not np.array_equal(one, two)
    assert np.array_equal(two, lloyd(random.permutation(vectors), one, 1, 0.0))


def test_a_center_that_is_nearest_to_no_vector_stays() -> None:
    centers = lloyd(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), 5, 0.0)
    assert centers.tolist() == [[1, 0], [0, 1]]


def test_distinct_rows_are_the_first_of_their_kind() -> None:
    assert distinct_rows(np.array([[2.0], [2.0], [1.0], [2.0], [3.0]]), 2).tolist() == [[2], [1]]


def test_the_size_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(3).normal(size=(300, 6))
    vectors = unit_vectors(rows)
    centers = lloyd(vectors, vectors[:40], 5, 0.0)
    monkeypatch.setattr(kmeans, "BLOCK_ROWS", 7)
    assert np.array_equal(unit_vectors(rows), vectors)
    assert np.array_equal(lloyd(vectors, vectors[:40], 5, 0.0), centers)


def test_memory_does_not_grow_with_clusters_times_vectors() -> None:
    vectors = unit_vectors(np.random.default_rng(4).normal(size=(20_000, 16)))
    tracemalloc.start()
    lloyd(vectors, vectors[:2000], 2, 0.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * kmeans.BLOCK_BYTES < 8 * 20_000 * 2000
