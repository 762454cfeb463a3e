"""dedup: the clusters of a sorted stream of vectors, each by itself and in bounded memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.similarity.test_levels import by_hand, clouds
from udfs import dedup
from udfs.dedup import Params
from udfs.runtime.context import Env
from udfs.similarity import assign, incremental, neighbors
from udfs.similarity.neighbors import Vectors

ENV = Env("", "")
NEAR = pa.list_(pa.struct([("shelf", pa.int32()), ("similarity", pa.float64()), ("duplicate_of", pa.string())]))


def stream(
    vectors: Vectors, clusters: list[int], home: list[bool] | None = None, near: Any = None, size: int = 7
) -> list[pa.RecordBatch]:
    """The vectors as rows 0, 1, ... of sorted clusters, in batches."""
    count = len(vectors)
    columns = [
        pa.array([str(i) for i in range(count)]),
        pa.array(clusters, pa.int32()),
        pa.array(home or [True] * count),
        pa.array([1] * count, pa.int32()),
        pa.array([0.25] * count),
        assign.packed(vectors),
        pa.array(near or [None] * count, NEAR),
    ]
    names = ["clip_id", "cluster_id", "home", "dedup_run", "distance_to_centroid", "vector", "near"]
    batches: list[pa.RecordBatch] = pa.Table.from_arrays(columns, names=names).to_batches(size)
    return batches


def linked(batches: list[pa.RecordBatch], params: Params | None = None) -> list[dict[str, Any]]:
    found = dedup.rows(batches, params or Params(), ENV)
    rows: list[dict[str, Any]] = pa.Table.from_batches(list(found), dedup.LINKS).to_pylist()
    return rows


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 6), st.integers(1, 40), st.integers(1, 30))
def test_each_cluster_is_linked_by_itself(seed: int, num_rows: int, num_clusters: int, size: int, block: int) -> None:
    rows = clouds(seed, num_rows)
    clusters = sorted(np.random.default_rng(seed).integers(0, num_clusters, num_rows).tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "BLOCK", block)
        found = linked(stream(rows, clusters, size=size))
    wanted = list[float]()
    for cluster in sorted(set(clusters)):
        wanted += by_hand(rows[np.array(clusters) == cluster], Params().levels)[1]
    assert [row["clip_id"] for row in found] == [str(i) for i in range(num_rows)]
    assert [row["cluster_id"] for row in found] == clusters
    similarity = [np.nan if row["similarity"] is None else row["similarity"] for row in found]
    assert np.allclose(similarity, np.clip(wanted, -1, 1), atol=1e-6, equal_nan=True)
    assert all(clusters[int(row["duplicate_of"])] == row["cluster_id"] for row in found if row["duplicate_of"])


def test_a_visitor_says_only_whom_it_is_linked_to() -> None:
    rows = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    first, visitor, last = linked(stream(rows, [4, 4, 4], [True, False, True]))
    assert (first["cluster_id"], first["distance_to_centroid"], first["dedup_run"], first["similarity"]) == (4, 0.25, 1, None)
    assert (visitor["cluster_id"], visitor["distance_to_centroid"]) == (None, None)
    assert (visitor["duplicate_of"], visitor["similarity"]) == ("0", 1.0)
    assert last["duplicate_of"] == "0"


def test_clips_of_earlier_runs_are_taken_into_account() -> None:
    rows = np.array([[1, 0], [0.8, 0.6]], np.float32)
    near = [[{"shelf": 2, "similarity": 0.95, "duplicate_of": "old"}], [{"shelf": 2, "similarity": 0.5, "duplicate_of": "old"}]]
    first, second = linked(stream(rows, [0, 0], near=near))
    assert (first["duplicate_of"], first["similarity"]) == ("old", 0.95)
    assert (second["duplicate_of"], second["similarity"]) == ("old", 0.5)  # the first has fallen


def test_memory_does_not_grow_with_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "TILE", 128)
    monkeypatch.setattr(neighbors, "IN_MEMORY", 2)
    rows = np.random.default_rng(0).normal(size=(24_000, 256))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    ready = stream(vectors, [0] * len(vectors), size=1000)
    tracemalloc.start()
    found = sum(len(batch) for batch in dedup.rows(ready, Params(), ENV))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 24_000
    assert peak < 0.6 * vectors.nbytes  # of which a block's products with itself are a third, and ids a tenth


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.booleans())
def test_stored_vectors_are_found_by_those_that_look_into_their_clusters(seed: int, size: int, some_fallen: bool) -> None:
    random = np.random.default_rng(seed)
    old, new = clouds(seed, 60), clouds(seed + 1, 20)
    clusters = np.sort(random.integers(0, 4, 60))
    looks = random.random((20, 4)) < 0.5
    hashes = random.permutation(1000)[:60].astype(np.int64)
    fall = random.integers(0, 4, 60).astype(np.int8) if some_fallen else np.full(60, 3, np.int8)
    order = np.argsort(hashes)
    named = order[fall[order] < 3]
    lookers = {cluster: np.flatnonzero(looks[:, cluster]) for cluster in range(3)}  # nobody looks into the last
    night = incremental.Newcomers([f"new{i}" for i in range(20)], new, lookers, hashes[named], fall[named])
    names = [str(i) for i in range(60)]
    columns = [pa.array(names), pa.array(hashes), pa.array(clusters, pa.int32()), assign.packed(old)]
    table = pa.Table.from_arrays(columns, names=["clip_id", "hash", "cluster_id", "vector"])
    found = pa.Table.from_batches(list(incremental.rows(table.to_batches(size), night, Params(), ENV))).to_pylist()
    cosines = new.astype(float) @ old.astype(float).T
    wanted = {}
    for i in range(20):
        for shelf in range(3):
            seen = [j for j in range(60) if clusters[j] < 3 and looks[i, clusters[j]] and fall[j] == shelf + 1]
            if seen:
                wanted[f"new{i}", shelf] = max(cosines[i, seen])
    assert {(row["clip_id"], row["shelf"]): pytest.approx(row["similarity"], abs=1e-9) for row in found} == wanted
    assert all(cosines[int(row["clip_id"][3:]), int(row["duplicate_of"])] == pytest.approx(row["similarity"]) for row in found)


def test_vectors_come_back_from_a_slice_of_bytes() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert dedup.vectors(assign.packed(rows).slice(1, 2)).tolist() == rows[1:3].tolist()


@pytest.mark.parametrize(
    ("num_rows", "asked", "clusters"),
    [(0, 0, 0), (1, 0, 1), (4000, 0, 1), (4001, 0, 2), (1_000_000, 0, 250), (3, 10, 3), (0, 10, 0), (100, 10, 10)],
)
def test_the_number_of_clusters(num_rows: int, asked: int, clusters: int) -> None:
    assert dedup.n_clusters(num_rows, Params(n_clusters=asked)) == clusters


@pytest.mark.parametrize(
    "bad",
    [
        {"levels": []},
        {"levels": [0.0]},
        {"levels": [0.1, 0.03]},
        {"levels": [0.1, 0.1]},
        {"levels": [2.5]},
        {"rank": "best"},
        {"rank": "uri desc"},
        {"n_cluster": 5},
        {"max_iter": 0},
        {"probe_clusters": 0},
        {"precision": "float8"},
        {"engine": "faiss"},
        {"refit_growth": 1.0},
    ],
)
def test_settings_out_of_bounds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Params).validate_python(bad)
