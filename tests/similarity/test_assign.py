"""Each vector's cluster, and the further ones in its reach."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import dedup
from udfs.similarity import assign
from udfs.similarity.kmeans import Floats, fixed, unit


def batch(vectors: Floats) -> pa.RecordBatch:
    rows = np.asarray(vectors, np.float32)
    names = [f"{i:03d}" for i in range(len(rows))]
    columns = {"clip_id": names, "dedup_run": [1] * len(rows), "vector": pa.array(list(rows), pa.list_(pa.float32()))}
    return pa.RecordBatch.from_pydict(columns)


def assigned(vectors: Floats, centres: Floats, params: dedup.Params) -> pa.Table:
    return pa.Table.from_batches(assign.rows([batch(vectors)], centres, params), assign.ROWS)


def test_the_first_of_equally_near_centres_is_home() -> None:
    found, distance = assign.nearest(unit([[1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), 2, within=1.0)
    assert found.tolist() == [[0, 1]]
    assert distance == pytest.approx([1 - np.sqrt(0.5)])


def test_the_distance_to_a_centre_without_direction_is_one() -> None:
    assert assign.nearest(unit([[3.0, 4.0]]), np.zeros((1, 2)), 1, within=1.0)[1].tolist() == [1.0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 9))
def test_the_nearest_agree_with_euclid_and_ignore_the_batch(seed: int, clusters: int, count: int) -> None:
    random = np.random.default_rng(seed)
    rows, centres = unit(random.normal(size=(20, 6))), random.normal(size=(clusters, 6)) / 3
    found, distance = assign.nearest(rows, centres, count, within=np.inf)
    apart = np.linalg.norm(rows[:, None] - fixed(centres)[None], axis=2)
    assert np.array_equal(found, apart.argsort(axis=1)[:, : min(count, clusters)])
    one_by_one = [assign.nearest(rows[i : i + 1], centres, count, np.inf)[1] for i in range(len(rows))]
    assert np.allclose(distance, np.concatenate(one_by_one), rtol=0, atol=0)


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.3))
def test_no_cluster_is_out_of_reach_that_holds_anything_alike(seed: int, eps: float) -> None:
    random = np.random.default_rng(seed)
    directions = random.normal(size=(5, 4))
    rows = unit(directions[random.integers(0, 5, 80)] + random.normal(size=(80, 4)) * 0.3)
    centres = directions / np.linalg.norm(directions, axis=1, keepdims=True) * random.uniform(0.5, 1, (5, 1))
    found, _ = assign.nearest(rows, centres, 5, within=float(np.sqrt(2 * eps)))
    for i, j in np.argwhere(rows @ rows.T >= 1 - eps):
        assert found[j, 0] in found[i]


def test_far_clusters_are_out_of_reach() -> None:
    found, _ = assign.nearest(unit([[1.0, 0.01]]), np.eye(2), 2, within=0.1)
    assert found.tolist() == [[0, -1]]


def test_rows_have_all_that_dedup_needs() -> None:
    rows = assigned(np.array([[2.0, 0], [0, 0], [1, 0.9]]), np.eye(2), dedup.Params(levels=(0.5,), probe_clusters=2))
    assert rows["cluster_id"].to_pylist() == [0, None, 0]
    assert rows["probes"].to_pylist() == [[1], [], [1]]
    assert rows["distance_to_centroid"].to_pylist()[:2] == [0.0, None]
    assert rows["rank"].to_pylist()[:2] == [[-0.0], [np.inf]]  # hard: the farthest first, what lies nowhere last
    vectors = dedup.vectors(rows["vector"].combine_chunks())
    assert vectors.tolist()[:2] == [[1.0, 0.0], [0.0, 0.0]]
    assert np.linalg.norm(vectors[2]) == pytest.approx(1)


def test_probing_one_cluster_is_probing_no_further_ones() -> None:
    rows = assigned(np.eye(3), np.eye(3), dedup.Params(probe_clusters=1))
    assert rows["probes"].to_pylist() == [[], [], []]


def test_a_long_batch_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vectors, centres = random.normal(size=(50, 3)), random.normal(size=(4, 3))
    whole = assigned(vectors, centres, dedup.Params())
    monkeypatch.setattr(assign, "CHUNK", 7)
    assert assigned(vectors, centres, dedup.Params()).equals(whole)


def test_a_vector_with_nan_stops_the_job() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        assigned(np.array([[1.0, 0], [np.nan, 0]]), np.eye(2), dedup.Params())


def test_no_centres_and_nothing_but_zeros() -> None:
    rows = assigned(np.zeros((2, 3)), np.zeros((0, 0)), dedup.Params())
    assert rows["cluster_id"].to_pylist() == [None, None]
