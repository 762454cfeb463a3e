"""Compare the new vectors of a dedup run with those that earlier runs stored.

A new vector searches the clusters that it was assigned to (its home cluster and its probes). In
these it is compared with every stored representative; udfs/similarity/levels.py defines levels and
last levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.core.gpu_device import device
from udfs.runtime.context import Env
from udfs.similarity import neighbors
from udfs.similarity.arrow import matrix_from_binary
from udfs.similarity.kmeans import Indexes
from udfs.similarity.levels import DuplicateLevels, NearestByLevel, nearest_of_both
from udfs.similarity.neighbors import TILE, Product, Vectors, cosines
from udfs.similarity.params import Params

# A row per new clip and last level: the nearest representative, if there is one.
NEIGHBORS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("last_level", pa.int32()),
        ("similarity", pa.float64()),
        ("duplicate_of", pa.string()),
    ]
)


@dataclass(frozen=True)
class Queries:
    """New vectors, and the duplicate levels of stored clips that are duplicates at any level."""

    ids: list[str]
    vectors: Vectors
    rows_by_cluster: dict[int, Indexes]  # the rows of `vectors` that search a cluster
    duplicate_hashes: npt.NDArray[np.int64]  # hashes of the stored clips' ids, sorted
    duplicate_levels: DuplicateLevels  # in the same order


def rows(batches: Iterable[pa.RecordBatch], queries: Queries, params: Params, env: Env) -> Iterator[pa.RecordBatch]:
    """One batch of NEIGHBORS from batches of stored vectors.

    Their columns: clip_id, hash (int64, of the clip_id, as in `queries`), cluster_id, vector
    (binary).
    """
    on = device(env.task, params.resources.gpus, env.models.device)
    product = neighbors.arithmetic(on, "float32").fine
    nearest = NearestByLevel.empty(len(queries.ids), len(params.levels))
    for batch in batches:
        for stored in _cluster_slices(batch):
            some = queries.rows_by_cluster.get(stored.column("cluster_id")[0].as_py())
            if some is not None:
                here = _nearest(stored, queries, queries.vectors[some], len(params.levels), product)
                best = nearest_of_both(NearestByLevel(nearest.cosine[some], nearest.duplicate_of[some]), here)
                nearest.cosine[some], nearest.duplicate_of[some] = best.cosine, best.duplicate_of
    yield _neighbors(nearest, queries.ids)


def _cluster_slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices of consecutive rows of one cluster each."""
    clusters = batch.column("cluster_id").to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(clusters)) + 1).tolist(), len(clusters)]
    for start, end in pairwise(cuts):
        if end > start:
            yield batch.slice(start, end - start)


def _nearest(
    stored: pa.RecordBatch,
    queries: Queries,
    block: Vectors,
    num_levels: int,
    product: Product,
) -> NearestByLevel:
    """The nearest representatives, among rows of one cluster, to each query of `block`."""
    vectors = matrix_from_binary(stored.column("vector"))
    duplicate_level = _duplicate_levels(stored.column("hash").to_numpy(), queries, num_levels)
    nearest = NearestByLevel.empty(len(block), num_levels)
    for last_level in range(num_levels):
        representatives = np.flatnonzero(duplicate_level == last_level + 1)
        for start in range(0, len(representatives), TILE):
            tile = representatives[start : start + TILE]
            position = tile[product(block, vectors[tile]).position]
            cosine = cosines(block, vectors[position])
            nearer = cosine > nearest.cosine[:, last_level]
            nearest.cosine[nearer, last_level] = cosine[nearer]
            ids = stored.column("clip_id").take(pa.array(position[nearer])).to_pylist()
            nearest.duplicate_of[nearer, last_level] = ids
    return nearest


def _duplicate_levels(hashes: npt.NDArray[np.int64], queries: Queries, num_levels: int) -> DuplicateLevels:
    """The duplicate level of each row; rows that `queries` does not list represent every level."""
    levels = np.full(len(hashes), num_levels, np.int8)
    if len(queries.duplicate_hashes):
        position = np.searchsorted(queries.duplicate_hashes, hashes).clip(max=len(queries.duplicate_hashes) - 1)
        has_level = queries.duplicate_hashes[position] == hashes
        levels[has_level] = queries.duplicate_levels[position[has_level]]
    return levels


def _neighbors(nearest: NearestByLevel, ids: list[str]) -> pa.RecordBatch:
    row, last_level = np.nonzero(nearest.cosine > -np.inf)
    columns = (
        pa.array([ids[i] for i in row.tolist()], pa.string()),
        pa.array(last_level.astype(np.int32)),
        pa.array(nearest.cosine[row, last_level]),
        pa.array(nearest.duplicate_of[row, last_level].tolist(), pa.string()),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=NEIGHBORS)
