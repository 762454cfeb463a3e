"""Vectors, each in its cluster -> the elder that each clip is linked to, among those of its dedup run and of the runs before."""

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

FEW = 32  # files, each of some clusters, however few the vectors
PART_BYTES = 64 << 20  # of vectors in a file or task, where this makes more of them
PASS_BYTES = 64 << 20  # of new vectors that are compared with the stored ones in one pass over these
_NEAR = "array<struct<last_level:int,similarity:double,duplicate_of:string>>"
NEAR = f"clip_id string, stored_neighbors {_NEAR}"
RANGES = 100  # of cluster_id in a query; more would slow down its planning

Work = Callable[..., Iterator[pa.RecordBatch]]


def assigned(embeddings: DataFrame, centres: Floats, params: dedup.Params) -> DataFrame:
    """Rows of udfs/similarity/assign.py's ROWS from clip_id, vector, dedup_run and the columns that `params.rank` names."""
    work = partial(assign.rows, centers=centres, params=params)
    return embeddings.mapInArrow(work, from_arrow_schema(assign.ROWS))


def num_parts(num_rows: int, centres: Floats, few: int = FEW) -> int:
    """Into how many files or tasks so many vectors are dealt: no cluster is split."""
    by_size = 4 * num_rows * centres.shape[1] // PART_BYTES
    return max(1, min(len(centres), max(few, int(by_size))))


def dealt(rows: DataFrame, num_clusters: int, parts: int, *order: str | Column) -> DataFrame:
    """Rows of neighbouring clusters together, in their order; those in no cluster are in the first part."""
    if parts == 1:
        return rows.repartition(1).sortWithinPartitions("cluster_id", *order)
    part = (F.coalesce(F.col("cluster_id"), F.lit(0)).cast("long") * parts / max(1, num_clusters)).cast("int")
    keys = _keys(rows.sparkSession, parts)
    placed = rows.withColumn("part", F.element_at(F.array(*map(F.lit, keys)), part + 1)).repartition(parts, "part")
    return placed.drop("part").sortWithinPartitions("cluster_id", *order)


def links(
    new: DataFrame, near: DataFrame | None, num_clusters: int, parts: int, params: dedup.Params, env: Env
) -> DataFrame:
    """What each of the new rows (of `assignments`) is linked to; `near` is what `nearest_stored` found for them."""
    looks = new.select("*", F.lit(True).alias("home")).drop("probes")
    if params.probe_clusters > 1:
        visits = (
            new.withColumn("cluster_id", F.explode("probes")).select("*", F.lit(False).alias("home")).drop("probes")
        )
        looks = looks.unionByName(visits)
    looks = looks.where(F.col("cluster_id").isNotNull())
    if near is None:
        looks = looks.withColumn("stored_neighbors", F.lit(None).cast(_NEAR))
    else:
        looks = looks.join(near, on="clip_id", how="left").withColumn(
            "stored_neighbors", F.when(F.col("home"), F.col("stored_neighbors"))
        )
    columns = ("clip_id", "cluster_id", "home", "dedup_run", "distance_to_centroid", "vector", "stored_neighbors")
    ordered = dealt(looks, num_clusters, parts, "dedup_run", "rank", "clip_id").select(*columns)
    found = _mapped(ordered, dedup.rows, dedup.LINKS, params, env)
    if params.probe_clusters == 1:
        return found
    best = F.max(F.struct("similarity", "duplicate_of"))
    said = [F.max(name).alias(name) for name in ("cluster_id", "dedup_run", "distance_to_centroid")]
    return found.groupBy("clip_id").agg(*said, best.alias("best")).select("*", "best.*").drop("best")


def nearest_stored(
    new: DataFrame, before: DataFrame, fallen: DataFrame, params: dedup.Params, env: Env
) -> Iterator[DataFrame]:
    """For the new rows, some at a time, clip_id and `stored_neighbors`: the nearest stored rows by last level.

    `before` are rows of `assignments`; only the files of clusters that new rows look into are read. `fallen` (clip_id,
    similarity) names those that do not represent every level; one of similarity 1 represents none.
    """
    hashed = fallen.select(F.xxhash64("clip_id").alias("hash"), "similarity").toPandas().sort_values("hash")
    hashes, fall = (
        hashed["hash"].to_numpy(np.int64),
        duplicate_levels_of(hashed["similarity"].to_numpy(float), params.levels),
    )
    some_cluster = new.where(F.col("cluster_id").isNotNull())
    looking = iter(some_cluster.select("clip_id", "cluster_id", "probes", "vector").toLocalIterator())
    for first in looking:
        some = [first, *islice(looking, max(0, PASS_BYTES // len(first["vector"]) - 1))]
        lookers = _lookers(some)
        vectors = np.stack([np.frombuffer(row["vector"], np.float32) for row in some])
        queries = Queries([row["clip_id"] for row in some], vectors, lookers, hashes, fall)
        there = before.where(_between(sorted(lookers))).select(
            "clip_id", F.xxhash64("clip_id").alias("hash"), "cluster_id", "vector"
        )
        found = _mapped(there, partial(incremental.rows, queries=queries), incremental.NEIGHBORS, params, env)
        best = found.groupBy("clip_id", "last_level").agg(F.max(F.struct("similarity", "duplicate_of")).alias("best"))
        neighbor = F.struct(
            "last_level", F.col("best.similarity").alias("similarity"), F.col("best.duplicate_of").alias("duplicate_of")
        )
        yield best.groupBy("clip_id").agg(F.collect_list(neighbor).alias("stored_neighbors"))


def _lookers(rows: list[Any]) -> dict[int, Any]:
    found: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        for cluster in (row["cluster_id"], *row["probes"]):
            found.setdefault(cluster, []).append(i)
    return {cluster: np.array(rows) for cluster, rows in found.items()}


def _between(clusters: list[int]) -> Column:
    """Whether cluster_id is one of these, or lies in one of the narrowest gaps between them where there are very many."""
    gaps = [i for i in range(1, len(clusters)) if clusters[i] - clusters[i - 1] > 1]
    widest = sorted(gaps, key=lambda i: clusters[i - 1] - clusters[i])[: RANGES - 1]
    wanted = F.lit(False)
    for start, end in pairwise([0, *sorted(widest), len(clusters)]):
        wanted = wanted | F.col("cluster_id").between(clusters[start], clusters[end - 1])
    return wanted


def _keys(spark: SparkSession, parts: int) -> list[int]:
    """For each partition a number that Spark's hash sends there."""
    ids = spark.range(32 * parts).select(F.col("id").cast("int").alias("id"))
    where = {
        row["part"]: row["id"] for row in ids.select("id", F.pmod(F.hash("id"), F.lit(parts)).alias("part")).collect()
    }
    return [where[part] for part in range(parts)]


def _mapped(rows: DataFrame, work: Work, schema: pa.Schema, params: dedup.Params, env: Env) -> DataFrame:
    """The work on batches, scheduled as [dedup.resources] asks."""
    with resources.scheduled("dedup", rows.sparkSession.sparkContext, params.resources) as profile:
        return rows.mapInArrow(partial(with_task, work, params, env), from_arrow_schema(schema), profile=profile)
