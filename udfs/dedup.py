"""dedup: the vectors of one cluster -> which clip stands for which."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from schemas.duplicates import TABLE
from udfs import ranking
from udfs.kmeans import Floats, Indexes, unit

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
ROUNDING = 1e-6  # what the fixed steps of `unit` may cost a cosine: equal vectors are duplicates even at eps = 0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[dedup]"""

    eps: Annotated[float, Field(ge=0, le=2, description="duplicates have a cosine of at least 1 - eps")] = 0.1
    rank: Annotated[str, Field(description="who is kept: hard, easy, random, or columns: 'duration_s desc, num_bytes'")] = "hard"
    n_clusters: Annotated[int, Field(ge=0, description="0: one for each rows_per_cluster")] = 0
    rows_per_cluster: Annotated[int, Field(ge=1, description="on average")] = 4000
    max_iter: Annotated[int, Field(ge=1, description="of k-means")] = 300
    tol: Annotated[float, Field(ge=0, description="a step of all centres this short ends k-means")] = 1e-4
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of k-means and of rank = random")] = 42
    tile_rows: Annotated[int, Field(ge=1, description="side of the blocks of cosines held at a time")] = 1024

    @field_validator("rank")
    @classmethod
    def _known(cls, rank: str) -> str:
        ranking.columns(rank)
        return rank


def n_clusters(num_rows: int, params: Params) -> int:
    """How many clusters so many vectors are split into: as set, or by size, and never more than vectors."""
    return min(num_rows, params.n_clusters or math.ceil(num_rows / params.rows_per_cluster))


def survivors(vectors: npt.ArrayLike, order: Indexes, eps: float, tile_rows: int = 1024) -> tuple[Indexes, Floats]:
    """Of each row the kept row that stands for it, or -1 if it is kept itself, and its cosine to the nearest kept elder.

    In the given order a row is kept unless a row kept before has a cosine of at least 1 - eps to it; the nearest such row, the
    first of equals, stands for it. So no row stands for another that does not stand itself. A row of zeros is kept and stands
    for none; its cosine is NaN, like the first row's. Memory beside the vectors: blocks of tile_rows x tile_rows.

    Raises:
        ValueError: a number that is not finite.
    """
    rows = unit(vectors)
    order = order[rows[order].any(axis=1)]
    place, nearness = _greedy(rows[order], 1 - eps - ROUNDING, tile_rows)
    stands_for, similarity = np.full(len(rows), -1), np.full(len(rows), np.nan)
    stands_for[order] = np.where(nearness >= 1 - eps - ROUNDING, order[place], -1)
    similarity[order] = np.where(place >= 0, nearness, np.nan)
    return stands_for, similarity


def cluster_rows(clips: pd.DataFrame, params: Params) -> pd.DataFrame:
    """One cluster's clips (clip_id, vector, cluster_id, distance_to_centroid, ranking columns) to rows of `duplicates`.

    Raises:
        ValueError: a vector with a number that is not finite.
    """
    vectors = np.stack(clips["vector"].to_list())
    stands_for, similarity = survivors(vectors, ranking.order(clips, params.rank, params.seed), params.eps, params.tile_rows)
    ids = clips["clip_id"].to_list()
    found = clips[["clip_id", "cluster_id", "distance_to_centroid"]].reset_index(drop=True)
    found["duplicate_of"] = [ids[i] if i >= 0 else None for i in stands_for]
    found["similarity"] = similarity.clip(-1.0, 1.0)
    return found.assign(method="semantic")[COLUMNS]


def _greedy(rows: Floats, least: float, tile_rows: int) -> tuple[Indexes, Floats]:
    """The nearest kept elder of each row, -1 if there is none, and the cosine to it."""
    place, nearness = np.full(len(rows), -1), np.full(len(rows), -np.inf)
    kept = list[int]()
    for start in range(0, len(rows), tile_rows):
        tile = slice(start, start + tile_rows)
        for block in range(0, len(kept), tile_rows):
            elders = np.array(kept[block : block + tile_rows])
            _take_nearer(place[tile], nearness[tile], rows[tile] @ rows[elders].T, elders)
        inner = rows[tile] @ rows[tile].T
        for i in range(len(inner)):
            if nearness[start + i] < least:
                kept.append(start + i)
                younger = slice(start + i + 1, start + tile_rows)
                _take_nearer(place[younger], nearness[younger], inner[i + 1 :, i : i + 1], np.array([start + i]))
    return place, nearness


def _take_nearer(place: Indexes, nearness: Floats, cosines: Floats, elders: Indexes) -> None:
    """Where one of these elders is nearer than those before, note it, in place."""
    best = cosines.argmax(axis=1)
    value = cosines[np.arange(len(best)), best]
    nearer = value > nearness
    place[nearer], nearness[nearer] = elders[best[nearer]], value[nearer]
