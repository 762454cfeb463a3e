"""New vectors find the nearest of the stored ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.similarity.test_levels import clouds
from udfs.runtime.context import Env
from udfs.similarity import arrow, incremental
from udfs.similarity.params import Params

ENV = Env("", "")


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
    columns = [pa.array(names), pa.array(hashes), pa.array(clusters, pa.int32()), arrow.binary_from_matrix(old)]
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
