"""New vectors are compared with the stored representatives of the clusters that they search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.similarity.test_levels import clouds
from udfs.runtime.context import Env
from udfs.similarity import arrow, incremental
from udfs.similarity.incremental import Queries
from udfs.similarity.neighbors import Vectors
from udfs.similarity.params import Params


def stored_batches(
    vectors: Vectors,
    clusters: list[int],
    hashes: list[int] | None = None,
    size: int = 7,
) -> list[pa.RecordBatch]:
    """The vectors as stored clips 0, 1, ..., whose hash is their number, in batches."""
    count = len(vectors)
    columns = {
        "clip_id": [str(i) for i in range(count)],
        "hash": pa.array(range(count) if hashes is None else hashes, pa.int64()),
        "cluster_id": pa.array(clusters, pa.int32()),
        "vector": arrow.binary_from_matrix(vectors),
    }
    batches: list[pa.RecordBatch] = pa.table(columns).to_batches(size)
    return batches


def neighbors(batches: list[pa.RecordBatch], queries: Queries, params: Params | None = None) -> list[dict[str, Any]]:
    hits = incremental.rows(batches, queries, params or Params(), Env("", ""))
    rows: list[dict[str, Any]] = pa.Table.from_batches(list(hits), incremental.NEIGHBORS).to_pylist()
    return rows


def query(vector: list[float], clusters: list[int], duplicates: dict[int, int] | None = None) -> Queries:
    """A new clip that searches these clusters; `duplicates` maps stored hashes to levels."""
    stored_duplicates = sorted((duplicates or {}).items())
    hashes, levels = (np.array([pair[i] for pair in stored_duplicates], np.int64) for i in (0, 1))
    rows = {cluster: np.array([0]) for cluster in clusters}
    return Queries(["new"], np.array([vector], np.float32), rows, hashes, levels.astype(np.int8))


TWO = np.array([[1, 0], [0.6, 0.8]], np.float32)


def test_only_clusters_that_are_searched_are_compared() -> None:
    batches = stored_batches(TWO, [4, 5])
    (neighbor,) = neighbors(batches, query([1, 0], [5]))
    assert neighbor == {"clip_id": "new", "last_level": 2, "similarity": pytest.approx(0.6), "duplicate_of": "1"}
    assert neighbors(batches, query([1, 0], [6])) == []


def test_the_nearest_of_several_clusters_and_batches_is_kept() -> None:
    batches = stored_batches(np.concatenate([TWO, -TWO]), [1, 2, 2, 3], size=1)
    (neighbor,) = neighbors(batches, query([0.8, 0.6], [1, 2, 3]))
    assert (neighbor["duplicate_of"], neighbor["similarity"]) == ("1", pytest.approx(0.96))


def test_a_stored_duplicate_represents_only_tighter_levels() -> None:
    hits = neighbors(stored_batches(TWO, [0, 0]), query([1, 0], [0], {0: 1}))
    assert [(neighbor["last_level"], neighbor["duplicate_of"]) for neighbor in hits] == [(0, "0"), (2, "1")]


def test_a_duplicate_at_the_tightest_level_represents_nothing() -> None:
    (neighbor,) = neighbors(stored_batches(TWO, [0, 0]), query([1, 0], [0], {0: 0}))
    assert neighbor["duplicate_of"] == "1"


def test_nothing_stored_gives_no_neighbors() -> None:
    assert neighbors([], query([1, 0], [0])) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.booleans())
def test_neighbors_are_the_nearest_of_the_clusters_searched(seed: int, size: int, has_duplicates: bool) -> None:
    random = np.random.default_rng(seed)
    old, new = clouds(seed, 60), clouds(seed + 1, 20)
    clusters = np.sort(random.integers(0, 4, 60))
    searches = random.random((20, 4)) < 0.5
    hashes = random.permutation(1000)[:60].astype(np.int64)
    level = random.integers(0, 4, 60).astype(np.int8) if has_duplicates else np.full(60, 3, np.int8)
    order = np.argsort(hashes)
    stored_duplicates = order[level[order] < 3]
    rows_by_cluster = {cluster: np.flatnonzero(searches[:, cluster]) for cluster in range(3)}  # none searches the last
    names = [f"new{i}" for i in range(20)]
    queries = Queries(names, new, rows_by_cluster, hashes[stored_duplicates], level[stored_duplicates])
    hits = neighbors(stored_batches(old, clusters.tolist(), hashes.tolist(), size), queries)
    cosines = new.astype(float) @ old.astype(float).T
    expected = {}
    for i in range(20):
        for last_level in range(3):
            searched = (clusters < 3) & searches[i, clusters]
            of_level = np.flatnonzero(searched & (level == last_level + 1))
            if len(of_level):
                expected[f"new{i}", last_level] = max(cosines[i, of_level])
    by_level = {(row["clip_id"], row["last_level"]): row["similarity"] for row in hits}
    assert by_level == {key: pytest.approx(cosine, abs=1e-9) for key, cosine in expected.items()}
    targets = [cosines[int(row["clip_id"][3:]), int(row["duplicate_of"])] for row in hits]
    assert targets == pytest.approx([row["similarity"] for row in hits])
