"""dedup: unit vectors by cluster, in the order in which they are to be kept -> the elder that each clip is linked to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from udfs.core.gpu_device import device
from udfs.core.task_resources import EFFORT, Resources
from udfs.runtime.context import Env
from udfs.similarity import neighbors, ranking
from udfs.similarity.levels import Ladder, Links, Near
from udfs.similarity.neighbors import Ids, Precision, Vectors

BLOCK = 512  # rows that are compared at a time
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

Level = Annotated[float, Field(gt=0, le=2)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[dedup]: `filter.duplicate_eps` says which of what is found here are duplicates."""

    engine: Annotated[
        Literal["auto", "cuml", "mllib"],
        Field(description="of k-means", json_schema_extra=EFFORT),
    ] = "auto"
    levels: Annotated[
        tuple[Level, ...],
        Field(min_length=1, description="eps, rising, at which no two kept clips of a cluster are alike"),
    ] = (0.01, 0.03, 0.1)
    rank: Annotated[str, Field(description="who is kept: hard, easy, random, or columns: 'aesthetic desc, duration_s desc'")] = (
        "hard"
    )
    n_clusters: Annotated[int, Field(ge=0, description="0: one for each rows_per_cluster")] = 0
    rows_per_cluster: Annotated[int, Field(ge=1, description="on average")] = 4000
    probe_clusters: Annotated[int, Field(ge=1, le=64, description="nearest clusters that a clip is compared in")] = 3
    init: Annotated[
        Literal["k-means++", "random"],
        Field(description="starting centres: far apart (cuML: by k-means||), or any"),
    ] = "k-means++"
    fit_data_fraction: Annotated[
        float, Field(ge=0, le=1, description="share of the vectors that the centres are fitted on; 0: 256 for each cluster")
    ] = 0.0
    max_iter: Annotated[int, Field(ge=1, description="of k-means")] = 300
    tol: Annotated[float, Field(ge=0, description="a step of all centres this short ends k-means")] = 1e-4
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of k-means and of rank = random")] = 42
    refit_growth: Annotated[
        float, Field(gt=1, description="new centres once there are so many times the vectors", json_schema_extra=EFFORT)
    ] = 2.0
    refit_drift: Annotated[
        float, Field(gt=1, description="new centres once vectors lie so many times farther from theirs", json_schema_extra=EFFORT)
    ] = 1.25
    precision: Annotated[
        Precision, Field(description="of most cosines; what comes near a level is computed anew", json_schema_extra=EFFORT)
    ] = "float32"
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT)] = Resources()

    @field_validator("rank")
    @classmethod
    def _known(cls, rank: str) -> str:
        ranking.columns(rank)
        return rank

    @field_validator("levels")
    @classmethod
    def _rising(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"{list(levels)} do not rise")
        return levels


def n_clusters(num_rows: int, params: Params) -> int:
    """How many clusters so many vectors are split into: as set, or by size, and never more than vectors."""
    return min(num_rows, params.n_clusters or math.ceil(num_rows / params.rows_per_cluster))


class Shelved(TypedDict):
    """An elder of an earlier dedup run, nearest of those that fall at the same level."""

    shelf: int
    similarity: float
    duplicate_of: str


class Block(NamedTuple):
    """Consecutive rows of one cluster. Visitors have their home in another one: they look, and stand for nobody here."""

    ids: Ids
    vectors: Vectors
    home: npt.NDArray[np.bool_]
    dedup_run: pa.Array
    distance: pa.Array
    near: list[list[Shelved] | None]  # what is known of elders elsewhere, by level


def rows(batches: Iterable[pa.RecordBatch], params: Params, env: Env) -> Iterator[pa.RecordBatch]:
    """Batches sorted by cluster_id, and within a cluster in the order of keeping, to a LINKS row each.

    Columns: clip_id, cluster_id, home, dedup_run, distance_to_centroid, vector, near (array of structs, see Shelved).
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
        ids(rows.column("clip_id")),
        vectors(rows.column("vector")),
        rows.column("home").to_numpy(zero_copy_only=False),
        rows.column("dedup_run"),
        rows.column("distance_to_centroid"),
        rows.column("near").to_pylist(),
    )


def ids(column: pa.Array) -> Ids:
    """Ids as fixed-width bytes."""
    return np.array(column.to_pylist(), np.bytes_)


def vectors(column: pa.Array) -> Vectors:
    """Binary vectors of one length as the rows of a matrix, without a copy."""
    start, end = (column.offset, column.offset + len(column))
    offsets = np.frombuffer(column.buffers()[1], np.int32)[start : end + 1]
    numbers = np.frombuffer(column.buffers()[2], np.float32, (offsets[-1] - offsets[0]) // 4, offsets[0])
    return numbers.reshape(len(column), -1)


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
        block.dedup_run,
        distance,
        pa.array(links.to, pa.string(), mask=alone),
        pa.array(np.clip(links.similarity, -1, 1), mask=alone),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=LINKS)
