"""assign: vectors and centres -> each vector's cluster, the further ones in its reach, and its place in the order of keeping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from udfs.dedup import Params
from udfs.similarity import ranking
from udfs.similarity.kmeans import Floats, Indexes, fixed, unit
from udfs.similarity.neighbors import Vectors

CHUNK = 1024  # rows at a time: their distances to thousands of centres, in double precision
ROWS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("cluster_id", pa.int32()),
        ("dedup_run", pa.int32()),
        ("distance_to_centroid", pa.float64()),
        ("probes", pa.list_(pa.int32())),
        ("rank", pa.list_(pa.float64())),
        ("vector", pa.binary()),
    ]
)


def rows(batches: Iterable[pa.RecordBatch], centres: Floats, params: Params) -> Iterator[pa.RecordBatch]:
    """Batches of clip_id, dedup_run, vector (array of float) and the columns that `params.rank` names, to ROWS."""
    for batch in batches:
        for start in range(0, len(batch), CHUNK):
            yield _assigned(batch.slice(start, CHUNK), centres, params)


def _assigned(batch: pa.RecordBatch, centres: Floats, params: Params) -> pa.RecordBatch:
    vectors = unit(matrix(batch.column("vector")))
    some = np.flatnonzero(vectors.any(axis=1))
    label, distance = np.zeros(len(batch), np.int32), np.full(len(batch), np.inf)
    probes = [list[int]() for _ in range(len(batch))]
    if len(some):
        around, distance[some] = nearest(vectors[some], centres, params.probe_clusters, reach(params))
        label[some] = around[:, 0]
        for row, further in zip(some.tolist(), around[:, 1:].tolist(), strict=True):
            probes[row] = [cluster for cluster in further if cluster >= 0]
    nowhere = np.isinf(distance)
    order = ranking.keys(batch, params.rank, params.seed, distance)
    columns = (
        batch.column("clip_id"),
        pa.array(label, mask=nowhere),
        batch.column("dedup_run"),
        pa.array(distance, mask=nowhere),
        pa.array(probes, pa.list_(pa.int32())),
        pa.array(order.tolist(), pa.list_(pa.float64())),
        packed(vectors.astype(np.float32)),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=ROWS)


def matrix(column: pa.Array) -> Vectors:
    """Vectors of one length, given as arrays of float, as the rows of a matrix, without a copy."""
    found: Vectors = column.flatten().to_numpy().reshape(len(column), -1)
    return found


def packed(vectors: Vectors | Floats) -> pa.Array:
    """Each row as bytes."""
    size = vectors.itemsize * vectors.shape[1]
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * size
    data = np.ascontiguousarray(vectors)
    return pa.Array.from_buffers(pa.binary(), len(vectors), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def reach(params: Params) -> float:
    """How far apart two unit vectors are at most that are alike at the loosest level."""
    return float(np.sqrt(2 * max(params.levels)))


def nearest(vectors: Floats, centres: Floats, count: int, within: float) -> tuple[Indexes, Floats]:
    """For each unit vector the indexes of the nearest centres, the first of equals, and 1 - cosine to the nearest one.

    The nearest is its home. Of the next ones, up to count - 1, those are -1 whose vectors lie all farther than `within`: the
    plane that halves the way between two centres parts what is at home here from what is there, and is farther away. The
    distance to a centre of zeros, which has no direction, is 1.
    """
    at = fixed(centres)
    norms = (at * at).sum(axis=1)
    squared = norms - 2 * (vectors @ at.T)
    few = _least(squared, min(count, len(at)))
    rows = np.arange(len(vectors))[:, None]
    home = few[:, 0]
    apart = np.linalg.norm(at[few] - at[home][:, None], axis=2)
    margin = np.divide(squared[rows, few] - squared[rows, home[:, None]], 2 * apart, out=np.zeros(few.shape), where=apart > 0)
    few[margin > within] = -1
    return few, _distance(vectors, at, norms, home, squared)


def _distance(vectors: Floats, at: Floats, norms: Floats, home: Indexes, squared: Floats) -> Floats:
    length = np.sqrt(norms[home] * (vectors * vectors).sum(axis=1))
    dots = (norms[home] - squared[np.arange(len(home)), home]) / 2
    cosine: Floats = np.divide(dots, length, out=np.zeros(len(home)), where=length > 0)
    return 1 - cosine


def _least(numbers: Floats, count: int) -> Indexes:
    """The places of the least numbers of each row in rising order, the first of equals first."""
    if count == 1:
        nearest: Indexes = numbers.argmin(axis=1).reshape(-1, 1)
        return nearest
    few = np.sort(np.argpartition(numbers, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(np.take_along_axis(numbers, few, axis=1), axis=1, kind="stable")
    found: Indexes = np.take_along_axis(few, order, axis=1)
    return found
