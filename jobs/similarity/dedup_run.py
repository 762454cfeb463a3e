"""The plan of a dedup run: the clips to link, and the links to drop because a clip is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame, Observation, Window
from pyspark.sql import functions as F

from jobs.flow import score_gates
from jobs.lake.landing import Land
from jobs.lake.run import Run
from jobs.similarity import copy_groups, linked, phash_lsh
from jobs.similarity.linked import Linked, Links
from udfs.similarity.kmeans import Floats, min_cosine


class Model(NamedTuple):
    """The centers in use and their version; none before the first fit."""

    version: int
    centers: Floats


@dataclass(frozen=True)
class Plan:
    """What a dedup run has to do.

    `clips` are to have a link in the end (clip_id; for copies also duplicate_of and similarity). It
    is computed when it is used, unless no clip has a link. `changes` is stored: the clips that are
    `new`, which have no link, or `gone`, which have one that is dropped; a copy of another clip
    than before is both. `unlinked` are the clips to link by their vectors.
    """

    clips: DataFrame
    changes: DataFrame
    unlinked: DataFrame
    num_vectors: int  # to link, or with a link
    num_new_vectors: int  # without a link
    num_new_copies: int  # without a link
    num_gone: int  # links of clips that are gone
    num_links: int  # of earlier runs
    num_vector_links: int  # of these, by vectors
    number: int  # of the dedup run, from 1; that of a killed run is used again
    noted: Linked | None = None  # of rows of earlier runs, among which is none of the clips to link

    @property
    def vector_ids(self) -> DataFrame:
        """The clips that are linked by their vectors."""
        return self.clips.where(F.col("duplicate_of").isNull()).select("clip_id")

    @property
    def new_copies(self) -> DataFrame:
        """Copies without a link: clip_id, duplicate_of, similarity."""
        return self.changes.where("new AND duplicate_of IS NOT NULL").select("clip_id", "duplicate_of", "similarity")

    def __bool__(self) -> bool:
        return bool(self.num_new_vectors or self.num_new_copies or self.num_gone)


def model(run: Run) -> Model:
    """The newest centers that these settings fitted."""
    if not run.tables.exists("centroids"):
        return Model(0, np.zeros((0, 0)))
    centroids = run.tables.read("centroids").where(F.col("fingerprint") == run.fingerprint("dedup"))
    place = F.rank().over(Window.partitionBy("fingerprint").orderBy(F.desc("version"))).alias("place")
    newest = centroids.select("version", "cluster_id", "vector", place).where("place = 1")
    if rows := sorted(newest.collect(), key=itemgetter("cluster_id")):
        return Model(rows[0]["version"], np.array([row["vector"] for row in rows]))
    # Links without centers: of nothing but vectors of zeros and copies.
    links = run.tables.read("duplicates").where(F.col("fingerprint") == run.fingerprint("dedup"))
    row = links.agg(F.max("version").alias("version")).first()
    return Model((row["version"] if row else 0) or 0, np.zeros((0, 0)))


def rows_of_version(run: Run, name: str, version: int) -> DataFrame:
    """Rows of a table that belong to a version of the centers."""
    return run.tables.read(name).where(
        (F.col("fingerprint") == run.fingerprint("dedup")) & (F.col("version") == version)
    )


def plan(run: Run, model: Model, land: Land) -> Plan:
    """What there is to do, by one pass over all clips, or over those of a part, which are all new."""
    if run.part is not None:
        return _plan_of_part(run, model, land)
    clips = _clips(run)
    vector = F.col("duplicate_of").isNull()
    counts = Observation()
    pairs = _with_links(clips, rows_of_version(run, "duplicates", model.version)).observe(
        counts,
        F.count_if(F.col("to_link") & vector).alias("num_vectors"),
        F.count_if(F.col("new") & vector).alias("num_new_vectors"),
        F.count_if(F.col("new") & ~vector).alias("num_new_copies"),
        F.count_if("gone").alias("num_gone"),
        F.count("dedup_run").alias("num_links"),
        F.count_if(F.col("dedup_run").isNotNull() & F.col("linked_copy_of").isNull()).alias("num_vector_links"),
        F.coalesce(F.max("dedup_run") + 1, F.lit(max(1, model.version))).alias("number"),
    )
    changes = land("changes", pairs.where("new OR gone").select("clip_id", "duplicate_of", "similarity", "new", "gone"))
    unlinked = changes.where("new AND duplicate_of IS NULL").select("clip_id")
    return Plan(clips if counts.get["num_links"] else changes, changes, unlinked, **counts.get)


def _plan_of_part(run: Run, model: Model, land: Land) -> Plan:
    noted = linked.noted(run, model.version)
    counts, vector = Observation(), F.col("duplicate_of").isNull()
    clips = _clips(run).observe(
        counts, F.count_if(vector).alias("num_new_vectors"), F.count_if(~vector).alias("num_new_copies")
    )
    changes = land("changes", clips.withColumns({"new": F.lit(True), "gone": F.lit(False)}))
    links = noted.links if noted else _links(run, model)
    num_vectors = links.num_vector_links + counts.get["num_new_vectors"]
    unlinked = changes.where("duplicate_of IS NULL").select("clip_id")
    every = _clips(run.whole) if links.num_links else changes
    sums = {"num_vectors": num_vectors, "num_gone": 0, **counts.get, **links._asdict()}
    return Plan(every, changes, unlinked, noted=noted, **sums)


def _links(run: Run, model: Model) -> Links:
    """What earlier runs stored, by a look at all of it."""
    first = max(1, model.version)
    if not run.tables.exists("duplicates"):
        return Links(0, 0, first)
    rows = rows_of_version(run, "duplicates", model.version)
    return Links(**linked.summed(rows, linked.sums_of_links(first)))


def without_gone(run: Run, model: Model, plan: Plan, land: Land) -> Plan:
    """Drop the links of clips that are gone, and of their duplicates, which are linked again."""
    gone = plan.changes.where("gone").select("clip_id")
    duplicates = rows_of_version(run, "duplicates", model.version).where(is_duplicate(run))
    dropped = with_duplicates(gone, duplicates)
    run.tables.drop("duplicates", dropped)
    unlinked = dropped.join(gone, on="clip_id", how="left_anti").unionByName(plan.unlinked)
    return replace(plan, unlinked=land("unlinked", unlinked))


def with_duplicates(clips: DataFrame, links: DataFrame) -> DataFrame:
    """The clips (clip_id), and all whose links (clip_id, duplicate_of) lead to one of them."""
    every = newest = clips.localCheckpoint()
    while not newest.isEmpty():
        linked = links.join(newest.toDF("duplicate_of"), on="duplicate_of", how="left_semi").select("clip_id")
        newest = linked.join(every, on="clip_id", how="left_anti").localCheckpoint()
        every = every.unionByName(newest)
    return every


def is_duplicate(run: Run) -> Column:
    """Whether a row of `duplicates` is a duplicate at the loosest level."""
    return (F.col("method") == "semantic") & (F.col("similarity") >= min_cosine(max(run.settings.dedup.levels)))


def _clips(run: Run) -> DataFrame:
    """Copies by their hashes, and the other clips that have a vector and pass every gate.

    A clip that fails a gate must not replace one that passes: a copy of such a clip is none.
    """
    clips = copy_groups.with_copies(run).withColumn("kept_clip", F.coalesce("copy_of", "clip_id"))
    embedded = run.made("embeddings").where(F.col("model") == run.settings.embed.model)
    embedded = embedded.select("clip_id", F.lit(True).alias("embedded"))
    stands = F.lit(True)
    if (failing := score_gates.failing(run, were_asked=True)) is not None:
        embedded = embedded.join(failing, on="clip_id", how="left_anti")
        stands = F.col("kept_clip_fails").isNull()
        failing = failing.select(F.col("clip_id").alias("kept_clip"), F.lit(True).alias("kept_clip_fails"))
        clips = clips.join(failing, on="kept_clip", how="left")
    copy = ~F.col("new") & F.col("copy_of").isNotNull() & stands & F.lit(run.settings.filter.duplicates)
    return (
        clips.join(embedded, on="clip_id", how="left")
        .where(copy | (F.col("embedded") & F.col("accepted")))
        .select(
            "clip_id",
            F.when(copy, F.col("copy_of")).alias("duplicate_of"),
            F.when(copy, 1 - F.col("distance") / phash_lsh.HASH_BITS).alias("similarity"),
        )
    )


def _with_links(clips: DataFrame, links: DataFrame) -> DataFrame:
    """Every clip to link or with a link, and whether it is `new` or `gone`.

    `linked_copy_of` and `dedup_run` are those of its link.
    """
    linked_copy_of = F.when(F.col("method") == "phash", F.col("duplicate_of")).alias("linked_copy_of")
    by_clip = links.select("clip_id", linked_copy_of, "dedup_run")
    pairs = clips.withColumn("to_link", F.lit(True)).join(by_clip, on="clip_id", how="full_outer")
    has_link, to_link = F.col("dedup_run").isNotNull(), F.col("to_link").isNotNull()
    same = has_link & to_link & F.col("duplicate_of").eqNullSafe(F.col("linked_copy_of"))
    return pairs.withColumns({"new": to_link & ~same, "gone": has_link & ~same})
