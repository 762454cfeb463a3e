"""dedup: embeddings, clips, videos, signals, aesthetics, copies, labels -> centroids, assignments, duplicates"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial, reduce
from importlib.util import find_spec
from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions, flag
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow.steps import step
from jobs.lake import clock, history
from jobs.lake.declared import struct_type
from jobs.lake.history import Counts, Work
from jobs.lake.landing import Land, landed
from jobs.lake.run import Run
from jobs.similarity import dedup_run, kmeans_fit, linked, links
from jobs.similarity.dedup_run import Model, Plan
from jobs.similarity.linked import Links, Vectors
from jobs.spark import gpu_check, resources, session
from schemas import TABLES
from udfs.core.words import counted
from udfs.similarity import ranking

log = logging.getLogger("reelmill")

MANY = 10_000  # vectors


class Stored(NamedTuple):
    """What `assignments` holds once the vectors of the clips to link are there."""

    new: DataFrame | None  # the rows of these clips; None: they have to be looked up
    vectors: Vectors
    num_earlier: int  # vectors of earlier dedup runs


@dataclass(frozen=True, kw_only=True)
class Options(StageOptions):
    """What `dedup` takes."""

    refit: bool = flag("fit new centers, and find every duplicate again")


def check(options: Options, settings: Settings) -> None:
    """Refuse an engine that is not installed, or arithmetic that needs torch where that is not."""
    kmeans_fit.check(settings.dedup)
    params = settings.dedup
    gpu_check.check("dedup", params.resources, settings.models.device, settings.spark)
    if (params.resources.gpus or params.precision != "float32") and find_spec("torch") is None:
        raise SettingsError("dedup: GPUs and a precision other than float32 need torch: pip install 'reelmill[models]'")


def run(run: Run, options: Options) -> Counts:
    """Link each new clip to the most similar earlier one.

    Earlier links stay unless a linked clip is gone.
    """
    started, refit = clock.now(), options.refit
    with ExitStack() as stack:
        stack.enter_context(step(run, "dedup"))
        land = partial(run.store, stack)
        if run.last.num_verdicts > MANY:
            stack.enter_context(session.compiled(run.spark))
        model = dedup_run.model(run)
        plan = dedup_run.plan(run, model, land)
        if plan.num_vectors > MANY:  # for the first time
            stack.enter_context(session.compiled(run.spark))
        if plan or refit or not plan.noted:
            run.last.linked = None  # until it is known what is stored then
        if not (plan or refit):
            return history.note_settings(run, "dedup")
        log.info(
            "dedup: %s to compare by vector, %d of them new, and %s by hash",
            *(counted(plan.num_vectors, "clip"), plan.num_new_vectors),
            counted(plan.num_new_copies, "new copy", "new copies"),
        )
        stack.enter_context(session.skipping(run.spark))  # what follows reads some dedup runs, and some clusters
        stack.enter_context(session.finely_paged(run.spark))  # and writes rows by cluster
        if plan.num_gone:
            plan = dedup_run.without_gone(run, model, plan, land)
        relinks_all, stored = refit or not len(model.centers), None
        if not relinks_all:
            stored = _store_vectors(run, model, plan, land)
            relinks_all = _outgrown(run, stored.vectors)
        if relinks_all:
            if plan.num_links:
                plan = replace(plan, clips=land("clips", plan.clips))
            model = _fit(run, model, plan)
            _assign(run, model, plan, land, every=True)
        num_rows = _link(run, model, plan, land, None if relinks_all or not plan.num_links else stored)
    log.info("dedup: %s linked in %.1f s", counted(num_rows, "clip"), clock.seconds_since(started))
    history.note(run, "dedup", Work(started_at=started, num_in=num_rows, num_out=num_rows))
    return Counts(num_rows, num_rows)


def num_pending(run: Run) -> int:
    """How many clips are to be linked, or have a link that is to be dropped."""
    with ExitStack() as stack:
        plan = dedup_run.plan(run, dedup_run.model(run), partial(run.store, stack))
        return plan.changes.select("clip_id").distinct().count()


def _fit(run: Run, model: Model, plan: Plan) -> Model:
    """Fit new centers and write them to their table."""
    params = run.settings.dedup
    choice = kmeans_fit.choose(run.spark, params)
    centers = kmeans_fit.fit(_vectors(run, plan.vector_ids), params, choice)
    version = max(plan.number, model.version + 1)
    stamp = (choice.engine, run.fingerprint("dedup"), run.run_id)
    rows = [(run.settings.embed.model, version, i, center.tolist(), *stamp) for i, center in enumerate(centers)]
    stored = run.spark.createDataFrame(rows, struct_type(TABLES["centroids"].schema))
    run.tables.insert("centroids", stored, len(rows))
    log.info("dedup: %s fitted (version %d)", counted(len(centers), "cluster"), version)
    # Another run may have fitted the same version first.
    return Model(version, centers) if run.is_only_writer else dedup_run.model(run)


def _store_vectors(run: Run, model: Model, plan: Plan, land: Land) -> Stored:
    """Write the vectors of the clips to link that are not in `assignments` yet."""
    if plan.noted:
        rows = _assignments(run, model, plan, plan.unlinked, 1)
        new, sums = landed(land, "assigned", rows, **linked.sums_of_vectors(model.version))
        run.tables.add("assignments", new)
        return Stored(new, plan.noted.vectors.with_new(Vectors(**sums)), plan.noted.vectors.num_vectors)
    # Without a link, what a killed run assigned is not trusted: clips may be gone since.
    _assign(run, model, plan, land, every=not plan.num_links)
    rows = dedup_run.rows_of_version(run, "assignments", model.version)
    earlier = {"earlier": F.count_if(F.col("dedup_run") < plan.number)}
    sums = linked.summed(rows, linked.sums_of_vectors(model.version) | earlier)
    num_earlier = sums.pop("earlier")
    return Stored(None, Vectors(**sums), num_earlier)


def _assign(run: Run, model: Model, plan: Plan, land: Land, *, every: bool) -> None:
    """Write the vectors that are not in `assignments` yet; every vector for new centers."""
    if every:
        run.tables.replace("assignments", _assignments(run, model, plan, None, links.MIN_PARTS))
        return
    stored = _perhaps_unlinked(run, dedup_run.rows_of_version(run, "assignments", model.version), plan)
    new = plan.unlinked.join(stored, on="clip_id", how="left_anti")
    rows = _assignments(run, model, plan, new, 1)
    if run.is_only_writer:
        run.tables.add("assignments", rows)
    else:
        run.tables.append("assignments", land("assigned", rows), among=f"version = {model.version}")


def _assignments(run: Run, model: Model, plan: Plan, few: DataFrame | None, min_files: int) -> DataFrame:
    """Rows of `assignments` of all or a few clips, by cluster."""
    rows = links.assignments(_with_ranking(run, plan, few), model.centers, run.settings.dedup)
    num_vectors = plan.num_vectors if few is None else plan.num_new_vectors
    num_files = links.num_parts(num_vectors, model.centers, min_files)
    return links.cluster_partitions(rows.withColumns(_stamp(run, model)), len(model.centers), num_files)


def _vectors(run: Run, ids: DataFrame, *, few: bool = False) -> DataFrame:
    """The vectors of these clips.

    With `few`, only files of the runs that made these vectors are read.
    """
    embeddings = (run if few else run.whole).made("embeddings").where(F.col("model") == run.settings.embed.model)
    if few and run.part is None:
        of_ids = embeddings.select("clip_id", "run_id").join(ids, on="clip_id", how="left_semi")
        run_ids = [row["run_id"] for row in of_ids.select("run_id").distinct().collect()]
        embeddings = embeddings.where(F.col("run_id").isin(run_ids))
    return embeddings.select("clip_id", "vector").join(ids, on="clip_id", how="left_semi")


def _with_ranking(run: Run, plan: Plan, few: DataFrame | None) -> DataFrame:
    """The vectors of all or a few clips, with the dedup run and the columns that rank them.

    Clips with a link keep the number of their dedup run and their rank: by distances to other
    centers, one that was dropped could come before the one that was kept.
    """
    ranking_columns = set(ranking.columns(run.settings.dedup.rank))
    rows = _vectors(run, plan.vector_ids if few is None else few, few=few is not None)
    made = (run.whole if few is None else run).made
    if of_clips := ranking_columns - {"aesthetic"}:
        rows = rows.join(made("clips").select("clip_id", *of_clips), on="clip_id", how="left")
    if "aesthetic" in ranking_columns:
        scores = made("aesthetics").select("clip_id", F.col("score_mean").alias("aesthetic"))
        rows = rows.join(scores, on="clip_id", how="left")
    if few is not None:
        return rows.withColumn("dedup_run", F.lit(plan.number))
    links = run.tables.read("duplicates").where(F.col("fingerprint") == run.fingerprint("dedup"))
    ranks = run.tables.read("assignments").where(F.col("fingerprint") == run.fingerprint("dedup"))
    ranks = ranks.select("clip_id", "rank").dropDuplicates(["clip_id"])  # a killed run of 0.1.0 may have left two
    links = links.select("clip_id", "dedup_run").join(ranks, on="clip_id", how="left")
    rows = rows.join(links, on="clip_id", how="left")
    return rows.withColumn("dedup_run", F.coalesce("dedup_run", F.lit(plan.number)))


def _outgrown(run: Run, vectors: Vectors) -> bool:
    """Whether the centers no longer fit: the number of vectors or their mean distance has grown too much."""
    growth, drift = vectors.growth, vectors.drift
    outgrown = growth > run.settings.dedup.refit_growth or drift > run.settings.dedup.refit_drift
    if outgrown:
        log.info(
            "dedup: %.2f times the vectors of the last fit, %.2f times as far from their centers: fitting new centers",
            growth,
            drift,
        )
    return outgrown


def _link(run: Run, model: Model, plan: Plan, land: Land, stored: Stored | None) -> int:
    """Link the clips that have no link yet, or without `stored` every clip again; how many rows were written."""
    params, env = run.settings.dedup, run.env("dedup")
    assignments = dedup_run.rows_of_version(run, "assignments", model.version)
    if stored is None:
        new, stored_neighbors = assignments, None
    else:
        new = land("new", _unlinked(run, assignments, plan)) if stored.new is None else stored.new
        stored_neighbors = _stored_neighbors(run, model, plan, new, stored, land)
    num_vectors = plan.num_vectors if stored is None else plan.num_new_vectors
    num_tasks = 4 * resources.num_slots(run.spark.sparkContext, params.resources) if stored is None else 1
    parts = links.num_parts(num_vectors, model.centers, num_tasks)
    by_vectors = links.links(new, stored_neighbors, len(model.centers), parts, params, env)
    copies = plan.clips.where(F.col("duplicate_of").isNotNull()) if stored is None else plan.new_copies
    sums = {"rows": F.count("*"), "by_vector": F.count_if(F.col("method") != "phash")}
    rows, num = landed(land, "links", _rows(run, by_vectors, new, copies, model, plan), **sums)
    if stored is None:
        run.tables.replace("duplicates", rows)
    else:  # another run may have placed the same clips in a dedup run of its own
        run.tables.insert("duplicates", rows, num["rows"], among=f"version = {model.version}")
        if run.part is not None:
            num_links = plan.num_links + num["rows"], plan.num_vector_links + num["by_vector"]
            linked.note(run, model.version, Links(*num_links, plan.number + 1), stored.vectors)
    return int(num["rows"])


def _unlinked(run: Run, assignments: DataFrame, plan: Plan) -> DataFrame:
    """The rows of `assignments` of the clips to link."""
    return _perhaps_unlinked(run, assignments, plan).join(plan.unlinked, on="clip_id", how="left_semi")


def _perhaps_unlinked(run: Run, assignments: DataFrame, plan: Plan) -> DataFrame:
    """The rows of `assignments` among which those of the clips to link are.

    New videos have no row of an earlier dedup run. Else a clip may have one, whose link was dropped
    because another clip is gone, in this run or in one that was killed.
    """
    return assignments if run.part is None else assignments.where(F.col("dedup_run") == plan.number)


def _stored_neighbors(run: Run, model: Model, plan: Plan, new: DataFrame, stored: Stored, land: Land) -> DataFrame:
    """The nearest stored vectors of all new rows."""
    assignments = dedup_run.rows_of_version(run, "assignments", model.version)
    earlier = assignments.where(F.col("dedup_run") < plan.number)
    rows = dedup_run.rows_of_version(run, "duplicates", model.version)
    duplicates = rows.where(dedup_run.is_duplicate(run)).select("clip_id", "cluster_id", "similarity")
    # Stored vectors without a link by their vector represent no clip. Nor do those of copies by hashes, which were
    # vectors while what they are copies of was not.
    if plan.num_gone > 0 or stored.num_earlier != plan.num_vector_links:
        by_vector = rows.where(F.col("method") != "phash")
        unlinked = earlier.select("clip_id", "cluster_id").join(by_vector, on="clip_id", how="left_anti")
        duplicates = duplicates.unionByName(unlinked.withColumn("similarity", F.lit(1.0)))
    neighbors = links.nearest_stored(new, earlier, duplicates, run.settings.dedup, run.env("dedup"))
    pieces = [land(f"neighbors-{i}", piece) for i, piece in enumerate(neighbors)]
    return reduce(DataFrame.unionByName, pieces) if pieces else run.spark.createDataFrame([], links.STORED_NEIGHBORS)


def _rows(run: Run, by_vectors: DataFrame, new: DataFrame, copies: DataFrame, model: Model, plan: Plan) -> DataFrame:
    """Rows of `duplicates`: links by vectors, vectors of zeros, and near-copies by their hashes."""
    semantic = F.lit("semantic").alias("method")
    zeros = new.where(F.col("cluster_id").isNull()).select("clip_id", "dedup_run", semantic)
    by_hashes = copies.select("*", F.lit(plan.number).alias("dedup_run"), F.lit("phash").alias("method"))
    rows = by_vectors.select("*", semantic)
    for others in (zeros, by_hashes):
        rows = rows.unionByName(others, allowMissingColumns=True)
    rows = rows.withColumns(_stamp(run, model)).select(*TABLES["duplicates"].schema.names)
    return rows.sortWithinPartitions("cluster_id")  # so that a later run reads those of some clusters


def _stamp(run: Run, model: Model) -> dict[str, Column]:
    """The columns that say how a row was made."""
    return {
        "version": F.lit(model.version),
        "fingerprint": F.lit(run.fingerprint("dedup")),
        "run_id": F.lit(run.run_id),
    }


if __name__ == "__main__":
    from jobs.cli import script

    script("dedup")
