"""dedup: link each clip to the nearest representative before it in the clusters it searches.

udfs/similarity/levels.py defines the link within a cluster. A clip that probes further clusters
gets one link in each (jobs/similarity/links.py keeps the nearest), but represents others in its
home cluster only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.core.gpu_device import device
from udfs.runtime.context import Env
from udfs.similarity import neighbors
from udfs.similarity.arrow import id_array, matrix_from_binary
from udfs.similarity.levels import LevelIndex, Links, NearestByLevel
from udfs.similarity.neighbors import Ids, Vectors
from udfs.similarity.params import Params as Params  # exported: the settings of this stage

BLOCK = 512  # rows per comparison
LINKS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("cluster_id", pa.int32()),
        ("dedup_run", pa.int32()),
        ("distance_to_centroid", pa.float64()),
        ("duplicate_of", pa.string()),
        ("similarity", pa.float64()),
    ]
)


class StoredNeighbor(TypedDict):
    """The nearest of an earlier dedup run's representatives whose last level this is."""

    last_level: int
    similarity: float
    duplicate_of: str


class Block(NamedTuple):
    """Consecutive rows of one cluster; those that only probe it have their home in another one."""

    ids: Ids
    vectors: Vectors
    home: npt.NDArray[np.bool_]
    dedup_run: pa.Array
    distance: pa.Array
    stored_neighbors: list[list[StoredNeighbor] | None]


def rows(batches: Iterable[pa.RecordBatch], params: Params, env: Env) -> Iterator[pa.RecordBatch]:
    """A row of LINKS per row of batches sorted by cluster_id, and within a cluster by rank.

    Columns: clip_id, cluster_id, home (whether the cluster is the row's own, not a probe),
    dedup_run, distance_to_centroid, vector (binary), stored_neighbors (array of structs, see
    StoredNeighbor).
    Memory holds a block, its products with a tile, and the first tiles of each level; a file holds
    the rest of a large cluster.
    """
    on = device(env.task, params.resources.gpus, env.models.device)
    arithmetic = neighbors.arithmetic(on, params.precision)
    index, indexed_cluster = None, None
    for cluster, block in blocks(batches):
        if index is None or cluster != indexed_cluster:
            index, indexed_cluster = LevelIndex(params.levels, block.vectors.shape[1], arithmetic), cluster
        nearest = stored_nearest(block.stored_neighbors, len(params.levels))
        yield _links(cluster, block, index.link(block.vectors, block.ids, block.home, nearest))


def blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Block]]:
    """Each cluster_id with its rows, at most BLOCK of them at a time."""
    for batch in batches:
        clusters = batch.column("cluster_id").to_numpy()
        ends = np.append(np.flatnonzero(np.diff(clusters)) + 1, len(clusters))
        start = 0
        for end in ends.tolist():
            for first in range(start, end, BLOCK):
                yield int(clusters[first]), _block(batch.slice(first, min(BLOCK, end - first)))
            start = end


def _block(rows: pa.RecordBatch) -> Block:
    return Block(
        id_array(rows.column("clip_id")),
        matrix_from_binary(rows.column("vector")),
        rows.column("home").to_numpy(zero_copy_only=False),
        rows.column("dedup_run"),
        rows.column("distance_to_centroid"),
        rows.column("stored_neighbors").to_pylist(),
    )


def stored_nearest(stored: list[list[StoredNeighbor] | None], num_levels: int) -> NearestByLevel | None:
    """The stored neighbors of each row as LevelIndex.link takes them; None if no row has any."""
    if not any(stored):
        return None
    nearest = NearestByLevel.empty(len(stored), num_levels)
    for row, by_level in enumerate(stored):
        for neighbor in by_level or ():
            nearest.cosine[row, neighbor["last_level"]] = neighbor["similarity"]
            nearest.duplicate_of[row, neighbor["last_level"]] = neighbor["duplicate_of"]
    return nearest


def _links(cluster: int, block: Block, links: Links) -> pa.RecordBatch:
    """Rows of LINKS; cluster and distance are NULL where a row only probes the cluster."""
    is_probe = ~block.home
    distance = block.distance if block.home.all() else pa.compute.if_else(pa.array(is_probe), None, block.distance)
    no_link = np.isnan(links.similarity)
    columns = (
        pa.array(block.ids.astype(object), pa.string()),
        pa.array(np.full(len(block.ids), cluster, np.int32), mask=is_probe),
        block.dedup_run,
        distance,
        pa.array(links.duplicate_of, pa.string(), mask=no_link),
        pa.array(np.clip(links.similarity, -1, 1), mask=no_link),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=LINKS)
