"""dedup: unit vectors by cluster, in the order in which they are to be kept -> the elder that each clip is linked to."""

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
from udfs.similarity.levels import Ladder, Links, Near
from udfs.similarity.neighbors import Ids, Vectors
from udfs.similarity.params import Params as Params  # exported: the settings are those of this stage

BLOCK = 512  # rows that are compared at a time
LINKS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("cluster_id", pa.int32()),
        ("night", pa.int32()),
        ("distance_to_centroid", pa.float64()),
        ("duplicate_of", pa.string()),
        ("similarity", pa.float64()),
    ]
)


class Shelved(TypedDict):
    """An elder of an earlier night, nearest of those that fall at the same level."""

    shelf: int
    similarity: float
    duplicate_of: str


class Block(NamedTuple):
    """Consecutive rows of one cluster. Visitors have their home in another one: they look, and stand for nobody here."""

    ids: Ids
    vectors: Vectors
    home: npt.NDArray[np.bool_]
    night: pa.Array
    distance: pa.Array
    near: list[list[Shelved] | None]  # what is known of elders elsewhere, by level


def rows(batches: Iterable[pa.RecordBatch], params: Params, env: Env) -> Iterator[pa.RecordBatch]:
    """Batches sorted by cluster_id, and within a cluster in the order of keeping, to a LINKS row each.

    Columns: clip_id, cluster_id, home, night, distance_to_centroid, vector, near (array of structs, see Shelved).
    Memory: a block, its products with a tile, and a few tiles of each level; what stands in a larger cluster lies in a file.
    """
    arithmetic = neighbors.arithmetic(device(env.task, params.resources.gpus, env.models.device), params.precision)
    cluster, ladder = None, None
    for found, block in blocks(batches):
        if ladder is None or found != cluster:
            cluster, ladder = found, Ladder(params.levels, block.vectors.shape[1], arithmetic)
        links = ladder.climb(block.vectors, block.ids, block.home, known(block.near, len(params.levels)))
        yield _links(found, block, links)


def blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Block]]:
    """Rows of one cluster at a time, at most BLOCK of them."""
    for batch in batches:
        clusters = batch.column("cluster_id").to_numpy()
        ends = np.append(np.flatnonzero(np.diff(clusters)) + 1, len(clusters))
        start = 0
        for end in ends.tolist():
            for at in range(start, end, BLOCK):
                yield int(clusters[at]), _block(batch.slice(at, min(BLOCK, end - at)))
            start = end


def _block(rows: pa.RecordBatch) -> Block:
    return Block(
        id_array(rows.column("clip_id")),
        matrix_from_binary(rows.column("vector")),
        rows.column("home").to_numpy(zero_copy_only=False),
        rows.column("night"),
        rows.column("distance_to_centroid"),
        rows.column("near").to_pylist(),
    )


def known(near: list[list[Shelved] | None], num_levels: int) -> Near | None:
    """What rows know of elders elsewhere, as a ladder takes it."""
    if not any(near):
        return None
    found = Near.nothing(len(near), num_levels)
    for row, shelves in enumerate(near):
        for shelf in shelves or ():
            found.cosine[row, shelf["shelf"]] = shelf["similarity"]
            found.to[row, shelf["shelf"]] = shelf["duplicate_of"]
    return found


def _links(cluster: int, block: Block, links: Links) -> pa.RecordBatch:
    """Of a visitor only whom it is linked to: the rest is said where it is at home."""
    away = pa.array(~block.home)
    where = pa.array(np.full(len(block.ids), cluster, np.int32), mask=~block.home)
    distance = block.distance if block.home.all() else pa.compute.if_else(away, None, block.distance)
    alone = np.isnan(links.similarity)
    columns = (
        pa.array(block.ids.astype(object), pa.string()),
        where,
        block.night,
        distance,
        pa.array(links.to, pa.string(), mask=alone),
        pa.array(np.clip(links.similarity, -1, 1), mask=alone),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=LINKS)
