"""Settings of near-duplicate search by vectors: the [dedup] section."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from udfs.core.task_resources import EFFORT, Resources
from udfs.similarity import ranking
from udfs.similarity.neighbors import Precision

Level = Annotated[float, Field(gt=0, le=2)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[dedup]: clusters and links; `filter.duplicate_eps` decides which links drop a clip."""

    engine: Annotated[
        Literal["auto", "cuml", "mllib"],
        Field(description="engine of k-means; auto: cuML where it can run, else MLlib", json_schema_extra=EFFORT),
    ] = "auto"
    levels: Annotated[
        tuple[Level, ...],
        Field(
            min_length=1,
            description="rising eps; at each of them no two kept clips of a cluster have a cosine of 1 - eps or more",
        ),
    ] = (0.01, 0.03, 0.1)
    rank: Annotated[
        str,
        Field(description="which clips are kept: hard, easy, random, or columns: 'aesthetic desc, duration_s desc'"),
    ] = "hard"
    n_clusters: Annotated[int, Field(ge=0, description="number of clusters; 0: one per rows_per_cluster vectors")] = 0
    rows_per_cluster: Annotated[int, Field(ge=1, description="average number of vectors per cluster")] = 4000
    probe_clusters: Annotated[
        int, Field(ge=1, le=64, description="nearest clusters that each clip is compared in, its home cluster included")
    ] = 3
    init: Annotated[
        Literal["k-means++", "random"],
        Field(description="starting centers: vectors far apart (cuML: k-means||), or random ones"),
    ] = "k-means++"
    fit_data_fraction: Annotated[
        float, Field(ge=0, le=1, description="share of the vectors to fit the centers on; 0: 256 vectors per cluster")
    ] = 0.0
    max_iter: Annotated[int, Field(ge=1, description="most iterations of k-means")] = 300
    tol: Annotated[float, Field(ge=0, description="k-means ends once no center moves farther than this")] = 1e-4
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of k-means and of rank = 'random'")] = 42
    refit_growth: Annotated[
        float,
        Field(
            gt=1,
            description="fit new centers once there are this many times as many vectors as at the last fit",
            json_schema_extra=EFFORT,
        ),
    ] = 2.0
    refit_drift: Annotated[
        float,
        Field(
            gt=1,
            description="fit new centers once vectors lie this many times as far from them as at the last fit",
            json_schema_extra=EFFORT,
        ),
    ] = 1.25
    precision: Annotated[
        Precision,
        Field(
            description="number format of most cosines; those close to a level are computed again in float32",
            json_schema_extra=EFFORT,
        ),
    ] = "float32"
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT)] = Resources()

    @field_validator("rank")
    @classmethod
    def _check_rank(cls, rank: str) -> str:
        ranking.columns(rank)
        return rank

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"{list(levels)} is not in rising order")
        return levels


def num_clusters(num_rows: int, params: Params) -> int:
    """The number of clusters for so many vectors: `n_clusters`, or by size; at most `num_rows`."""
    return min(num_rows, params.n_clusters or math.ceil(num_rows / params.rows_per_cluster))
