"""Embeddings -> MLlib k-means centres, each clip's nearest one, and within each cluster who stands for whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from pyspark.mllib.clustering import KMeans, KMeansModel
from pyspark.mllib.linalg import DenseVector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, IntegerType, StructType

from jobs.tables import struct_type
from schemas.duplicates import TABLE
from udfs import dedup, ranking
from udfs.kmeans import Floats, nearest, starts, unit

ENGINE = "mllib"
SAMPLED = 10_000  # vectors at least that the starting centres are chosen from
SAMPLED_PER_CLUSTER = 5
ZERO_GROUPS = 1000


def fit_predict(embeddings: DataFrame, params: dedup.Params) -> tuple[Floats, DataFrame]:
    """Cluster the vectors of `embeddings` (clip_id, vector, any more columns).

    Gives the centres, one row each, and the embeddings with cluster_id and distance_to_centroid (1 - cosine), both NULL for a
    vector of zeros. The result is the same to the last bit for any order and partitioning of the rows: see udfs/kmeans.py on
    sums, while the starting centres come from the vectors whose clip_ids have the least hashes.
    """
    centres = fit(embeddings.select("clip_id", "vector").where(_has_direction()), params)
    schema = StructType([*embeddings.schema.fields]).add("cluster_id", IntegerType()).add("distance_to_centroid", DoubleType())
    return centres, embeddings.mapInPandas(partial(_assigned, centres=centres), schema)


def fit(embeddings: DataFrame, params: dedup.Params) -> Floats:
    """The centres of k-means, clusters x dim: none without vectors, fewer than asked for where fewer vectors differ."""
    num_rows = embeddings.count()
    wanted = dedup.n_clusters(num_rows, params)
    if wanted == 0:
        return np.zeros((0, 0))
    sample = embeddings.orderBy(F.xxhash64(F.lit(params.seed), "clip_id"), "clip_id")
    sample = sample.limit(max(SAMPLED, SAMPLED_PER_CLUSTER * wanted))
    first = starts(unit(np.stack([row["vector"] for row in sample.select("vector").collect()])), wanted, params.seed)
    points = (
        embeddings.select("vector").mapInPandas(_units, "vector array<double>").rdd.map(lambda row: DenseVector(row["vector"]))
    )
    model = KMeans.train(
        points, len(first), maxIterations=params.max_iter, epsilon=params.tol, initialModel=KMeansModel(list(first))
    )
    return np.array(model.clusterCenters, np.float64)


def duplicates(assigned: DataFrame, params: dedup.Params) -> DataFrame:
    """Rows of `duplicates` without fingerprint and run_id, from what `fit_predict` gave and the columns `params.rank` names."""
    columns = ["clip_id", "vector", "cluster_id", "distance_to_centroid", *ranking.columns(params.rank)]
    schema = StructType([field for field in struct_type(TABLE.schema).fields if field.name in dedup.COLUMNS])
    # Vectors of zeros have no cluster and no duplicates: dealt into small groups, none has to hold them all.
    dealt = -1 - F.pmod(F.xxhash64("clip_id"), F.lit(ZERO_GROUPS))
    groups = assigned.select(*columns).groupBy(F.coalesce(F.col("cluster_id"), dealt))
    return groups.applyInPandas(partial(dedup.cluster_rows, params=params), schema)


def _has_direction() -> Column:
    return F.exists("vector", lambda x: x != 0)


def _units(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for batch in batches:
        yield pd.DataFrame({"vector": list(unit(np.stack(batch["vector"].to_list())))})


def _assigned(batches: Iterable[pd.DataFrame], centres: Floats) -> Iterator[pd.DataFrame]:
    for batch in batches:
        yield assign(batch, centres)


def assign(batch: pd.DataFrame, centres: Floats) -> pd.DataFrame:
    """A batch with the cluster_id and distance_to_centroid of each vector, NULL for one of zeros."""
    vectors = unit(np.stack(batch["vector"].to_list())) if len(batch) else np.zeros((0, centres.shape[1]))
    known = vectors.any(axis=1)
    label, distance = np.full(len(batch), None, object), np.full(len(batch), None, object)
    if known.any():
        label[known], distance[known] = nearest(vectors[known], centres)
    return batch.assign(cluster_id=label, distance_to_centroid=distance)
