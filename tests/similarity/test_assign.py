"""Each vector's home cluster, and the further clusters that it probes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import dedup
from udfs.similarity import arrow, assign
from udfs.similarity.kmeans import Floats, fixed_point, unit_vectors


def batch(vectors: Floats) -> pa.RecordBatch:
    rows = np.asarray(vectors, np.float32)
    names = [f"{i:03d}" for i in range(len(rows))]
    columns = {"clip_id": names, "dedup_run": [1] * len(rows), "vector": pa.array(list(rows), pa.list_(pa.float32()))}
    return pa.RecordBatch.from_pydict(columns)


def assign_batch(vectors: Floats, centers: Floats, params: dedup.Params) -> pa.Table:
    return pa.Table.from_batches(assign.rows([batch(vectors)], centers, params), assign.ROWS)


def test_the_first_of_equally_near_centers_is_the_home() -> None:
    centers = np.array([[0.0, 1.0], [1.0, 0.0]])
    nearest, distance = assign.nearest_centers(unit_vectors([[1.0, 1.0]]), centers, 2, max_distance=1.0)
    assert nearest.tolist() == [[0, 1]]
    assert distance == pytest.approx([1 - np.sqrt(0.5)])


def test_the_distance_to_a_center_of_zeros_is_one() -> None:
    _, distance = assign.nearest_centers(unit_vectors([[3.0, 4.0]]), np.zeros((1, 2)), 1, max_distance=1.0)
    assert distance.tolist() == [1.0]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 9))
def test_nearest_centers_have_the_least_euclidean_distance_in_any_batch(seed: int, clusters: int, count: int) -> None:
    random = np.random.default_rng(seed)
    rows, centers = unit_vectors(random.normal(size=(20, 6))), random.normal(size=(clusters, 6)) / 3
    nearest, distance = assign.nearest_centers(rows, centers, count, max_distance=np.inf)
    apart = np.linalg.norm(rows[:, None] - fixed_point(centers)[None], axis=2)
    assert np.array_equal(nearest, apart.argsort(axis=1)[:, : min(count, clusters)])
    one_by_one = [assign.nearest_centers(rows[i : i + 1], centers, count, np.inf)[1] for i in range(len(rows))]
    assert np.allclose(distance, np.concatenate(one_by_one), rtol=0, atol=0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.3))
def test_no_cluster_with_a_vector_alike_is_left_out(seed: int, eps: float) -> None:
    random = np.random.default_rng(seed)
    directions = random.normal(size=(5, 4))
    rows = unit_vectors(directions[random.integers(0, 5, 80)] + random.normal(size=(80, 4)) * 0.3)
    centers = directions / np.linalg.norm(directions, axis=1, keepdims=True) * random.uniform(0.5, 1, (5, 1))
    nearest, _ = assign.nearest_centers(rows, centers, 5, max_distance=float(np.sqrt(2 * eps)))
    for i, j in np.argwhere(rows @ rows.T >= 1 - eps):
        assert nearest[j, 0] in nearest[i]


def test_vectors_alike_at_the_loosest_level_are_within_the_distance() -> None:
    params = dedup.Params(levels=(0.01, 0.2))
    angle = np.arccos(1 - 0.2)
    x, y = np.array([1, 0]), np.array([np.cos(angle), np.sin(angle)])
    assert assign.alike_distance(params) == pytest.approx(float(np.linalg.norm(x - y)))


def test_clusters_that_are_too_far_are_left_out() -> None:
    nearest, _ = assign.nearest_centers(unit_vectors([[1.0, 0.01]]), np.eye(2), 2, max_distance=0.1)
    assert nearest.tolist() == [[0, -1]]


def test_rows_have_home_probes_rank_and_unit_vector() -> None:
    params = dedup.Params(levels=(0.5,), probe_clusters=2)
    rows = assign_batch(np.array([[2.0, 0], [0, 0], [1, 0.9]]), np.eye(2), params)
    assert rows["cluster_id"].to_pylist() == [0, None, 0]
    assert rows["probes"].to_pylist() == [[1], [], [1]]
    assert rows["distance_to_centroid"].to_pylist()[:2] == [0.0, None]
    assert rows["rank"].to_pylist()[:2] == [[-0.0], [np.inf]]  # hard: the farthest first, zeros last
    vectors = arrow.matrix_from_binary(rows["vector"].combine_chunks())
    assert vectors.tolist()[:2] == [[1.0, 0.0], [0.0, 0.0]]
    assert np.linalg.norm(vectors[2]) == pytest.approx(1)


def test_one_cluster_to_search_leaves_no_probes() -> None:
    rows = assign_batch(np.eye(3), np.eye(3), dedup.Params(probe_clusters=1))
    assert rows["probes"].to_pylist() == [[], [], []]


def test_the_size_of_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vectors, centers = random.normal(size=(50, 3)), random.normal(size=(4, 3))
    whole = assign_batch(vectors, centers, dedup.Params())
    monkeypatch.setattr(assign, "CHUNK", 7)
    assert assign_batch(vectors, centers, dedup.Params()).equals(whole)


def test_a_vector_with_nan_stops_the_job() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        assign_batch(np.array([[1.0, 0], [np.nan, 0]]), np.eye(2), dedup.Params())


def test_vectors_of_zeros_have_no_cluster_even_without_centers() -> None:
    rows = assign_batch(np.zeros((2, 3)), np.zeros((0, 0)), dedup.Params())
    assert rows["cluster_id"].to_pylist() == [None, None]


def test_a_clip_that_has_a_rank_keeps_it() -> None:
    rows = batch(np.array([[1.0, 0], [1, 0.2], [1, 0.9]]))
    ranked = rows.append_column("rank", pa.array([[0.5], None, [-np.inf]], pa.list_(pa.float64())))
    new, kept = (pa.Table.from_batches(assign.rows([each], np.eye(2), dedup.Params())) for each in (rows, ranked))
    assert kept["rank"].to_pylist() == [[0.5], new["rank"][1].as_py(), [-np.inf]]
