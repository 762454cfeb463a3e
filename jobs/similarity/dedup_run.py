"""What a dedup run has to do: the clips without a link, and the links of clips that are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from jobs.lake.run import Run
from jobs.similarity import copy_groups, phash_lsh
from udfs.filter import aesthetic_gate, reasons_sql
from udfs.similarity.kmeans import Floats, min_cosine

Land = Callable[[str, DataFrame], DataFrame]


class Model(NamedTuple):
    """The centers in use and their version; none before the first fit."""

    version: int
    centres: Floats


@dataclass(frozen=True)
class Plan:
    """What a dedup run has to do.

    `wanted` are the clips to link (clip_id; for copies also duplicate_of and similarity). It is computed when it is used,
    unless no clip has a link. `changed` is stored: the clips that are `new`, which have no link, or `gone`, which have one
    and are not to be linked any more; a copy of another clip than before is both. `unplaced` are the vectors without a link.
    """

    wanted: DataFrame
    changed: DataFrame
    unplaced: DataFrame
    total: int  # vectors to link, or linked before
    vectors: int  # vectors without a link
    copies: int  # copies without a link
    gone: int  # links of clips that are gone
    placed_before: int  # links of earlier runs
    placed_vectors: int  # of these, links of vectors
    number: int  # of the dedup run, from 1; that of a killed run is used again

    @property
    def vector_ids(self) -> DataFrame:
        """The clips that are linked by their vectors."""
        return self.wanted.where(F.col("duplicate_of").isNull()).select("clip_id")

    @property
    def new_copies(self) -> DataFrame:
        """Copies without a link: clip_id, duplicate_of, similarity."""
        return self.changed.where("new AND duplicate_of IS NOT NULL").select("clip_id", "duplicate_of", "similarity")

    def __bool__(self) -> bool:
        return bool(self.vectors or self.copies or self.gone)


def model(run: Run) -> Model:
    """The newest centers that these settings fitted."""
    if not run.tables.exists("centroids"):
        return Model(0, np.zeros((0, 0)))
    fitted = run.tables.read("centroids").where(F.col("fingerprint") == run.fingerprint("dedup"))
    last = fitted.agg(F.max("version").alias("version"))
    rows = fitted.join(last, on="version", how="left_semi").orderBy("cluster_id").select("version", "vector").collect()
    if rows:
        return Model(rows[0]["version"], np.array([row["vector"] for row in rows]))
    placed = run.tables.read("duplicates").where(F.col("fingerprint") == run.fingerprint("dedup"))
    alone = placed.agg(F.max("version").alias("version")).first()  # nothing but zeros and copies
    return Model((alone["version"] if alone else 0) or 0, np.zeros((0, 0)))


def made(run: Run, name: str, version: int) -> DataFrame:
    """Rows of a table that go with a version of the centres."""
    return run.tables.read(name).where(
        (F.col("fingerprint") == run.fingerprint("dedup")) & (F.col("version") == version)
    )


def plan(run: Run, model: Model, land: Land) -> Plan:
    """What there is to do, by one pass over all clips."""
    wanted = _wanted(run)
    vector = F.col("duplicate_of").isNull()
    seen = Observation()
    pairs = _pairs(wanted, made(run, "duplicates", model.version)).observe(
        seen,
        F.count_if(F.col("wanted") & vector).alias("total"),
        F.count_if(F.col("new") & vector).alias("vectors"),
        F.count_if(F.col("new") & ~vector).alias("copies"),
        F.count_if("gone").alias("gone"),
        F.count("dedup_run").alias("placed_before"),
        F.count_if(F.col("dedup_run").isNotNull() & F.col("before").isNull()).alias("placed_vectors"),
        F.coalesce(F.max("dedup_run") + 1, F.lit(max(1, model.version))).alias("number"),
    )
    changed = land("changed", pairs.where("new OR gone").select("clip_id", "duplicate_of", "similarity", "new", "gone"))
    counts = seen.get
    unplaced = changed.where("new AND duplicate_of IS NULL").select("clip_id")
    return Plan(
        wanted if counts["placed_before"] else changed,
        changed,
        unplaced,
        total=counts["total"],
        vectors=counts["vectors"],
        copies=counts["copies"],
        gone=counts["gone"],
        placed_before=counts["placed_before"],
        placed_vectors=counts["placed_vectors"],
        number=counts["number"],
    )


def without_gone(run: Run, model: Model, plan: Plan, land: Land) -> Plan:
    """Drop the links of clips that are gone, and of their duplicates, which are linked again."""
    gone = plan.changed.where("gone").select("clip_id")
    lost = followed(gone, made(run, "duplicates", model.version).where(fallen(run)))
    run.tables.drop("duplicates", lost)
    anew = lost.join(gone, on="clip_id", how="left_anti").unionByName(plan.unplaced)
    return replace(plan, unplaced=land("unplaced", anew))


def followed(first: DataFrame, linked: DataFrame) -> DataFrame:
    """The clips of `first` (clip_id), and all that are linked (clip_id, duplicate_of) to one of them, directly or not."""
    every = newest = first.localCheckpoint()
    while not newest.isEmpty():
        found = linked.join(newest.toDF("duplicate_of"), on="duplicate_of", how="left_semi").select("clip_id")
        newest = found.join(every, on="clip_id", how="left_anti").localCheckpoint()
        every = every.unionByName(newest)
    return every


def fallen(run: Run) -> Column:
    """Whether a row of `duplicates` is a duplicate at the loosest level."""
    return (F.col("method") == "semantic") & (F.col("similarity") >= min_cosine(max(run.settings.dedup.levels)))


def _wanted(run: Run) -> DataFrame:
    """Copies by their hashes, and the other clips that have a vector and pass every gate.

    A clip that fails a gate must not replace one that passes.
    """
    copy = ~F.col("new") & F.col("copy_of").isNotNull() & F.lit(run.settings.filter.duplicates)
    embedded = run.made("embeddings").where(F.col("model") == run.settings.embed.model)
    embedded = embedded.select("clip_id", F.lit(True).alias("embedded"))
    if gate := aesthetic_gate(run.settings.filter):
        score = F.col(f"score_{run.settings.filter.aesthetic_reduction}").alias(gate.score)
        reasons = reasons_sql([gate], replace(run.settings.filter, duplicates=False))
        embedded = embedded.join(run.made("aesthetics").select("clip_id", score), on="clip_id", how="left")
        embedded = embedded.where(F.size(F.expr(reasons)) == 0).select("clip_id", "embedded")
    return (
        copy_groups.compared(run)
        .join(embedded, on="clip_id", how="left")
        .where(copy | F.col("embedded"))
        .select(
            "clip_id",
            F.when(copy, F.col("copy_of")).alias("duplicate_of"),
            F.when(copy, 1 - F.col("distance") / phash_lsh.HASH_BITS).alias("similarity"),
        )
    )


def _pairs(wanted: DataFrame, placed: DataFrame) -> DataFrame:
    """Each clip to link or linked before, with the copy and the dedup run of its link, and whether it is new or gone."""
    stood = F.when(F.col("method") == "phash", F.col("duplicate_of")).alias("before")
    places = placed.select("clip_id", stood, "dedup_run")
    pairs = wanted.withColumn("wanted", F.lit(True)).join(places, on="clip_id", how="full_outer")
    there, asked = F.col("dedup_run").isNotNull(), F.col("wanted").isNotNull()
    same = there & asked & F.col("duplicate_of").eqNullSafe(F.col("before"))
    return pairs.withColumns({"new": asked & ~same, "gone": there & ~same})
