"""Assign vectors to clusters: each has a home cluster and probes further ones.

Vectors are only compared within clusters. A vector's home is the cluster of the nearest center. As
a vector near a border can have duplicates on its other side, it also probes the next nearest
clusters, at most `probe_clusters` in all (nprobe of an inverted-file index: Jegou et al., 2011,
Product Quantization for Nearest Neighbor Search). Clusters that cannot hold a vector alike to it
are left out: see `nearest_centers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from udfs.similarity import ranking
from udfs.similarity.arrow import binary_from_matrix, matrix_from_lists
from udfs.similarity.kmeans import Floats, Indexes, fixed_point, unit_vectors
from udfs.similarity.params import Params

CHUNK = 1024  # rows at a time, which bounds the memory of their distances to thousands of centers
ROWS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("cluster_id", pa.int32()),  # the home; NULL for a vector of zeros, which has no direction
        ("dedup_run", pa.int32()),
        ("distance_to_centroid", pa.float64()),  # 1 - cosine
        ("probes", pa.list_(pa.int32())),  # further clusters, nearest first
        ("rank", pa.list_(pa.float64())),  # see ranking.keys
        ("vector", pa.binary()),  # of length 1, float32
    ]
)


def rows(batches: Iterable[pa.RecordBatch], centers: Floats, params: Params) -> Iterator[pa.RecordBatch]:
    """ROWS from batches of clip_id, dedup_run, vector (list of float32) and the columns of `params.rank`.

    A clip with a `rank`, if there is such a column, keeps it.
    """
    for batch in batches:
        for start in range(0, len(batch), CHUNK):
            yield _assign(batch.slice(start, CHUNK), centers, params)


def _assign(batch: pa.RecordBatch, centers: Floats, params: Params) -> pa.RecordBatch:
    vectors = unit_vectors(matrix_from_lists(batch.column("vector")))
    nonzero = np.flatnonzero(vectors.any(axis=1))
    home, distance = np.zeros(len(batch), np.int32), np.full(len(batch), np.inf)
    probes = [list[int]() for _ in range(len(batch))]
    if len(nonzero):
        reach = alike_distance(params)
        clusters, distance[nonzero] = nearest_centers(vectors[nonzero], centers, params.probe_clusters, reach)
        home[nonzero] = clusters[:, 0]
        for row, further in zip(nonzero.tolist(), clusters[:, 1:].tolist(), strict=True):
            probes[row] = [cluster for cluster in further if cluster >= 0]
    no_cluster = np.isinf(distance)
    keys = ranking.keys(batch, params.rank, params.seed, distance).tolist()
    if "rank" in batch.schema.names:
        keys = [own if own is not None else key for own, key in zip(batch["rank"].to_pylist(), keys, strict=True)]
    columns = (
        batch.column("clip_id"),
        pa.array(home, mask=no_cluster),
        batch.column("dedup_run"),
        pa.array(distance, mask=no_cluster),
        pa.array(probes, pa.list_(pa.int32())),
        pa.array(keys, pa.list_(pa.float64())),
        binary_from_matrix(vectors.astype(np.float32)),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=ROWS)


def alike_distance(params: Params) -> float:
    """The largest Euclidean distance of two unit vectors that are alike at the loosest level.

    Of unit vectors, |x - y|^2 = 2 - 2 cos(x, y), and the cosine is at least 1 - eps.
    """
    return float(np.sqrt(2 * max(params.levels)))


def nearest_centers(vectors: Floats, centers: Floats, count: int, max_distance: float) -> tuple[Indexes, Floats]:
    """Each unit vector's nearest centers (vectors x count), and 1 - cosine to the nearest.

    The first column is the home cluster, the first of equally near ones. In the further columns, -1
    stands for a cluster all of whose vectors are farther than `max_distance` away. They lie beyond
    the plane halfway between their center c and the home center h, and the vector x is as far from
    that plane as

        (|x - c|^2 - |x - h|^2) / (2 |c - h|)

    The cosine to a center of zeros counts as 0.
    """
    centers = fixed_point(centers)
    norms = (centers * centers).sum(axis=1)
    scores = norms - 2 * (vectors @ centers.T)  # squared distances, less the vector's squared length
    nearest = _smallest(scores, min(count, len(centers)))
    rows = np.arange(len(vectors))[:, None]
    home = nearest[:, 0]
    between = np.linalg.norm(centers[nearest] - centers[home][:, None], axis=2)
    difference = scores[rows, nearest] - scores[rows, home[:, None]]
    to_plane = np.divide(difference, 2 * between, out=np.zeros(nearest.shape), where=between > 0)
    nearest[to_plane > max_distance] = -1
    return nearest, _cosine_distance(vectors, norms, home, scores)


def _cosine_distance(vectors: Floats, norms: Floats, home: Indexes, scores: Floats) -> Floats:
    """1 - cosine of each vector and its home center; `norms` are the centers' squared lengths."""
    length = np.sqrt(norms[home] * (vectors * vectors).sum(axis=1))
    dots = (norms[home] - scores[np.arange(len(home)), home]) / 2
    cosine: Floats = np.divide(dots, length, out=np.zeros(len(home)), where=length > 0)
    return 1 - cosine


def _smallest(numbers: Floats, count: int) -> Indexes:
    """The columns of the `count` smallest numbers of each row, in rising order, ties by column."""
    if count == 1:
        smallest: Indexes = numbers.argmin(axis=1).reshape(-1, 1)
        return smallest
    columns = np.sort(np.argpartition(numbers, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(np.take_along_axis(numbers, columns, axis=1), axis=1, kind="stable")
    in_order: Indexes = np.take_along_axis(columns, order, axis=1)
    return in_order
