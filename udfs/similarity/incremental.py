"""stored: the vectors of earlier dedup runs, as they lie in their files -> the nearest of them to each vector of a new run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.core.gpu_device import device
from udfs.dedup import Params, vectors
from udfs.runtime.context import Env
from udfs.similarity import neighbors
from udfs.similarity.kmeans import Indexes
from udfs.similarity.levels import Falls, Near, nearer
from udfs.similarity.neighbors import TILE, Product, Vectors, cosines

NEAR = pa.schema([("clip_id", pa.string()), ("shelf", pa.int32()), ("similarity", pa.float64()), ("duplicate_of", pa.string())])


@dataclass(frozen=True)
class Newcomers:
    """New vectors, by cluster the rows that look into it, and what is known of stored ones that do not stand at every level."""

    ids: list[str]
    vectors: Vectors
    lookers: dict[int, Indexes]
    fallen: npt.NDArray[np.int64]  # hashes of clip_id, sorted
    fall: Falls  # of those


def rows(batches: Iterable[pa.RecordBatch], new: Newcomers, params: Params, env: Env) -> Iterator[pa.RecordBatch]:
    """Batches of stored clip_id, hash, cluster_id, vector to NEAR: the nearest to each new row on each shelf of a ladder."""
    product = neighbors.arithmetic(device(env.task, params.resources.gpus, env.models.device), "float32").fine
    near = Near.nothing(len(new.ids), len(params.levels))
    for batch in batches:
        for part in _runs(batch):
            looking = new.lookers.get(part.column("cluster_id")[0].as_py())
            if looking is not None:
                found = _found(part, new, new.vectors[looking], len(params.levels), product)
                here = nearer(Near(near.cosine[looking], near.to[looking]), found)
                near.cosine[looking], near.to[looking] = here.cosine, here.to
    yield _near(near, new)


def _runs(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Stretches of one cluster each."""
    clusters = batch.column("cluster_id").to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(clusters)) + 1).tolist(), len(clusters)]
    for start, end in pairwise(cuts):
        if end > start:
            yield batch.slice(start, end - start)


def _found(part: pa.RecordBatch, new: Newcomers, block: Vectors, num_levels: int, product: Product) -> Near:
    elders, fall = vectors(part.column("vector")), _fall(part.column("hash").to_numpy(), new, num_levels)
    near = Near.nothing(len(block), num_levels)
    for shelf in range(num_levels):
        here = np.flatnonzero(fall == shelf + 1)
        for start in range(0, len(here), TILE):
            rows = here[start : start + TILE]
            place = rows[product(block, elders[rows]).place]
            cosine = cosines(block, elders[place])
            better = cosine > near.cosine[:, shelf]
            near.cosine[better, shelf] = cosine[better]
            near.to[better, shelf] = part.column("clip_id").take(pa.array(place[better])).to_pylist()
    return near


def _fall(hashes: npt.NDArray[np.int64], new: Newcomers, num_levels: int) -> Falls:
    """The level at which each stored row falls: of one that `fallen` does not name, none."""
    fall = np.full(len(hashes), num_levels, np.int8)
    if len(new.fallen):
        place = np.searchsorted(new.fallen, hashes).clip(max=len(new.fallen) - 1)
        named = new.fallen[place] == hashes
        fall[named] = new.fall[place[named]]
    return fall


def _near(near: Near, new: Newcomers) -> pa.RecordBatch:
    row, shelf = np.nonzero(near.cosine > -np.inf)
    columns = (
        pa.array([new.ids[i] for i in row.tolist()], pa.string()),
        pa.array(shelf.astype(np.int32)),
        pa.array(near.cosine[row, shelf]),
        pa.array(near.to[row, shelf].tolist(), pa.string()),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=NEAR)
