"""Link each vector to its nearest representative in Spark: new ones, and those of earlier runs.

Vectors are only compared within the clusters that they search: their home cluster and their probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.flow.stage import with_task
from jobs.spark import resources
from udfs import dedup
from udfs.runtime.context import Env
from udfs.similarity import assign, incremental
from udfs.similarity.incremental import Queries
from udfs.similarity.kmeans import Floats
from udfs.similarity.levels import duplicate_levels_of

MIN_PARTS = 32  # files of some clusters each, however few the vectors
PART_BYTES = 64 << 20  # of vectors in a file or task, where this makes more of them
PASS_BYTES = 64 << 20  # of new vectors that are compared with the stored ones in one pass over these
_NEIGHBORS = "array<struct<last_level:int,similarity:double,duplicate_of:string>>"
STORED_NEIGHBORS = f"clip_id string, stored_neighbors {_NEIGHBORS}"
RANGES = 100  # of cluster_id in a query; more would slow down its planning

Work = Callable[..., Iterator[pa.RecordBatch]]


def assignments(embeddings: DataFrame, centers: Floats, params: dedup.Params) -> DataFrame:
    """Rows of `ROWS` in udfs/similarity/assign.py.

    Columns of `embeddings`: clip_id, vector, dedup_run and those that `params.rank` names.
    """
    work = partial(assign.rows, centers=centers, params=params)
    return embeddings.mapInArrow(work, from_arrow_schema(assign.ROWS))


def num_parts(num_rows: int, centers: Floats, min_parts: int = MIN_PARTS) -> int:
    """How many files or tasks hold so many vectors: no cluster is split."""
    by_size = 4 * num_rows * centers.shape[1] // PART_BYTES
    return max(1, min(len(centers), max(min_parts, int(by_size))))


def cluster_partitions(rows: DataFrame, num_clusters: int, parts: int, *order: str | Column) -> DataFrame:
    """The rows with a partition per run of consecutive clusters, and in order within it.

    Rows without a cluster are in the first partition.
    """
    if parts == 1:
        return rows.repartition(1).sortWithinPartitions("cluster_id", *order)
    part = (F.coalesce(F.col("cluster_id"), F.lit(0)).cast("long") * parts / max(1, num_clusters)).cast("int")
    keys = _keys(rows.sparkSession, parts)
    by_part = rows.withColumn("part", F.element_at(F.array(*map(F.lit, keys)), part + 1)).repartition(parts, "part")
    return by_part.drop("part").sortWithinPartitions("cluster_id", *order)


def links(
    new: DataFrame, stored_neighbors: DataFrame | None, num_clusters: int, parts: int, params: dedup.Params, env: Env
) -> DataFrame:
    """What each of the new rows (of `assignments`) is linked to.

    `stored_neighbors` are the rows that `nearest_stored` yields; None if no vectors are stored.
    """
    searches = _searches(new, params).where(F.col("cluster_id").isNotNull())
    if stored_neighbors is None:
        searches = searches.withColumn("stored_neighbors", F.lit(None).cast(_NEIGHBORS))
    else:
        at_home = F.when(F.col("home"), F.col("stored_neighbors"))
        searches = searches.join(stored_neighbors, on="clip_id", how="left").withColumn("stored_neighbors", at_home)
    columns = ("clip_id", "cluster_id", "home", "dedup_run", "distance_to_centroid", "vector", "stored_neighbors")
    by_cluster = cluster_partitions(searches, num_clusters, parts, "dedup_run", "rank", "clip_id").select(*columns)
    by_search = _map_batches(by_cluster, dedup.rows, dedup.LINKS, params, env)
    if params.probe_clusters == 1:
        return by_search
    best = F.max(F.struct("similarity", "duplicate_of"))
    of_home = [F.max(name).alias(name) for name in ("cluster_id", "dedup_run", "distance_to_centroid")]
    return by_search.groupBy("clip_id").agg(*of_home, best.alias("best")).select("*", "best.*").drop("best")


def _searches(new: DataFrame, params: dedup.Params) -> DataFrame:
    """One row per new row and cluster that it searches; `home` if it is the home cluster."""
    homes = new.select("*", F.lit(True).alias("home")).drop("probes")
    if params.probe_clusters == 1:
        return homes
    probes = new.withColumn("cluster_id", F.explode("probes")).select("*", F.lit(False).alias("home"))
    return homes.unionByName(probes.drop("probes"))


def nearest_stored(
    new: DataFrame, stored: DataFrame, duplicates: DataFrame, params: dedup.Params, env: Env
) -> Iterator[DataFrame]:
    """For the new rows, some at a time, clip_id and `stored_neighbors`: the nearest by last level.

    `stored` are rows of `assignments`; only the files and pages of clusters that new rows search are read.
    `duplicates` (clip_id, cluster_id, similarity) are stored clips that do not represent every level; one
    of similarity 1 represents none.
    """
    with_cluster = new.where(F.col("cluster_id").isNotNull())
    rows = iter(with_cluster.select("clip_id", "cluster_id", "probes", "vector").toLocalIterator())
    for first in rows:
        block = [first, *islice(rows, max(0, PASS_BYTES // len(first["vector"]) - 1))]
        rows_by_cluster = _rows_by_cluster(block)
        vectors = np.stack([np.frombuffer(row["vector"], np.float32) for row in block])
        searched = _between(sorted(rows_by_cluster))
        hashed = duplicates.where(searched).select(F.xxhash64("clip_id").alias("hash"), "similarity").toPandas()
        hashed = hashed.sort_values("hash")
        levels = duplicate_levels_of(hashed["similarity"].to_numpy(float), params.levels)
        hashes = hashed["hash"].to_numpy(np.int64)
        queries = Queries([row["clip_id"] for row in block], vectors, rows_by_cluster, hashes, levels)
        candidates = stored.where(searched).select(
            "clip_id", F.xxhash64("clip_id").alias("hash"), "cluster_id", "vector"
        )
        work = partial(incremental.rows, queries=queries)
        nearest = _map_batches(candidates, work, incremental.NEIGHBORS, params, env)
        best = nearest.groupBy("clip_id", "last_level").agg(F.max(F.struct("similarity", "duplicate_of")).alias("best"))
        neighbor = F.struct(
            "last_level", F.col("best.similarity").alias("similarity"), F.col("best.duplicate_of").alias("duplicate_of")
        )
        yield best.groupBy("clip_id").agg(F.collect_list(neighbor).alias("stored_neighbors"))


def _rows_by_cluster(rows: list[Any]) -> dict[int, Any]:
    """The numbers of the rows that search each cluster."""
    numbers: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        for cluster in (row["cluster_id"], *row["probes"]):
            numbers.setdefault(cluster, []).append(i)
    return {cluster: np.array(rows) for cluster, rows in numbers.items()}


def _between(clusters: list[int]) -> Column:
    """Whether cluster_id lies in one of at most RANGES ranges that hold all these clusters.

    Where there are more runs of clusters than that, the ranges also hold the narrowest gaps.
    """
    gaps = [i for i in range(1, len(clusters)) if clusters[i] - clusters[i - 1] > 1]
    widest = sorted(gaps, key=lambda i: clusters[i - 1] - clusters[i])[: RANGES - 1]
    condition = F.lit(False)
    for start, end in pairwise([0, *sorted(widest), len(clusters)]):
        condition = condition | F.col("cluster_id").between(clusters[start], clusters[end - 1])
    return condition


def _keys(spark: SparkSession, parts: int) -> list[int]:
    """For each partition a number that Spark's hash sends there."""
    ids = spark.range(32 * parts).select(F.col("id").cast("int").alias("id"))
    rows = ids.select("id", F.pmod(F.hash("id"), F.lit(parts)).alias("part")).collect()
    key_by_part = {row["part"]: row["id"] for row in rows}
    return [key_by_part[part] for part in range(parts)]


def _map_batches(rows: DataFrame, work: Work, schema: pa.Schema, params: dedup.Params, env: Env) -> DataFrame:
    """The results of the work on batches, scheduled as [dedup.resources] asks."""
    with resources.scheduled("dedup", rows.sparkSession.sparkContext, params.resources) as profile:
        return rows.mapInArrow(partial(with_task, work, params, env), from_arrow_schema(schema), profile=profile)
