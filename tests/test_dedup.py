"""dedup: each cluster of a sorted stream of vectors is linked by itself, in bounded memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.similarity.test_levels import by_hand, clouds
from udfs import dedup
from udfs.dedup import Params
from udfs.runtime.context import Env
from udfs.similarity import arrow, neighbors
from udfs.similarity.neighbors import Vectors

ENV = Env("", "")
STORED = pa.list_(pa.struct([("last_level", pa.int32()), ("similarity", pa.float64()), ("duplicate_of", pa.string())]))


def stream(
    vectors: Vectors, clusters: list[int], home: list[bool] | None = None, stored: Any = None, size: int = 7
) -> list[pa.RecordBatch]:
    """The vectors as rows 0, 1, ... of sorted clusters, in batches."""
    count = len(vectors)
    columns = [
        pa.array([str(i) for i in range(count)]),
        pa.array(clusters, pa.int32()),
        pa.array(home or [True] * count),
        pa.array([1] * count, pa.int32()),
        pa.array([0.25] * count),
        arrow.binary_from_matrix(vectors),
        pa.array(stored or [None] * count, STORED),
    ]
    names = ["clip_id", "cluster_id", "home", "dedup_run", "distance_to_centroid", "vector", "stored_neighbors"]
    batches: list[pa.RecordBatch] = pa.Table.from_arrays(columns, names=names).to_batches(size)
    return batches


def linked(batches: list[pa.RecordBatch], params: Params | None = None) -> list[dict[str, Any]]:
    links = dedup.rows(batches, params or Params(), ENV)
    rows: list[dict[str, Any]] = pa.Table.from_batches(list(links), dedup.LINKS).to_pylist()
    return rows


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 6), st.integers(1, 40), st.integers(1, 30))
def test_each_cluster_is_linked_by_itself(seed: int, num_rows: int, num_clusters: int, size: int, block: int) -> None:
    rows = clouds(seed, num_rows)
    clusters = sorted(np.random.default_rng(seed).integers(0, num_clusters, num_rows).tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "BLOCK", block)
        links = linked(stream(rows, clusters, size=size))
    expected = list[float]()
    for cluster in sorted(set(clusters)):
        expected += by_hand(rows[np.array(clusters) == cluster], Params().levels)[1]
    assert [row["clip_id"] for row in links] == [str(i) for i in range(num_rows)]
    assert [row["cluster_id"] for row in links] == clusters
    similarity = [np.nan if row["similarity"] is None else row["similarity"] for row in links]
    assert np.allclose(similarity, np.clip(expected, -1, 1), atol=1e-6, equal_nan=True)
    assert all(clusters[int(row["duplicate_of"])] == row["cluster_id"] for row in links if row["duplicate_of"])


def test_a_row_that_only_probes_a_cluster_has_a_link_and_no_cluster() -> None:
    rows = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    first, probe, last = linked(stream(rows, [4, 4, 4], [True, False, True]))
    assert (first["cluster_id"], first["distance_to_centroid"], first["dedup_run"]) == (4, 0.25, 1)
    assert (first["duplicate_of"], first["similarity"]) == (None, None)
    assert (probe["cluster_id"], probe["distance_to_centroid"]) == (None, None)
    assert (probe["duplicate_of"], probe["similarity"]) == ("0", 1.0)
    assert last["duplicate_of"] == "0"


def test_representatives_of_earlier_dedup_runs_count() -> None:
    rows = np.array([[1, 0], [0.8, 0.6]], np.float32)
    neighbor = {"last_level": 2, "duplicate_of": "old"}
    first, second = linked(stream(rows, [0, 0], stored=[[neighbor | {"similarity": cosine}] for cosine in (0.95, 0.5)]))
    assert (first["duplicate_of"], first["similarity"]) == ("old", 0.95)
    assert (second["duplicate_of"], second["similarity"]) == ("old", 0.5)  # the first is a duplicate


def test_memory_does_not_grow_with_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "TILE", 128)
    monkeypatch.setattr(neighbors, "TILES_IN_MEMORY", 2)
    rows = np.random.default_rng(0).normal(size=(12_000, 256))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    ready = stream(vectors, [0] * len(vectors), size=1000)
    tracemalloc.start()
    num_rows = sum(len(batch) for batch in dedup.rows(ready, Params(), ENV))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_rows == 12_000
    assert peak < 0.6 * vectors.nbytes  # of which a block's products with itself are a third, and ids a tenth
