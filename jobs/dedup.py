"""dedup: embeddings, clips, signals, aesthetics, copies -> centroids, assignments, duplicates"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial, reduce
from importlib.util import find_spec

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions, flag
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.lake import history
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.lake.tables import struct_type
from jobs.similarity import dedup_run, kmeans_fit, links
from jobs.similarity.dedup_run import Land, Model, Plan
from jobs.spark import gpu_check, resources, session
from schemas import TABLES
from udfs.similarity import ranking

log = logging.getLogger("reelmill")

MANY = 10_000  # vectors


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
    """Link each new clip to the most similar earlier one; earlier links stay unless a linked clip is gone."""
    started, refit = history.now(), options.refit
    with ExitStack() as stack:
        land = partial(_land, run, stack)
        if run.tables.read("embeddings").count() > MANY:
            stack.enter_context(session.compiled(run.spark))
        model = dedup_run.model(run)
        plan = dedup_run.plan(run, model, land)
        if not (plan or refit):
            return history.note_settings(run, "dedup")
        stack.enter_context(session.skipping(run.spark))  # what follows reads some dedup runs, and some clusters
        if plan.gone:
            plan = dedup_run.without_gone(run, model, plan, land)
        relinks_all, stored = refit or not len(model.centres), 0
        if not relinks_all:
            none_placed = not plan.placed_before and dedup_run.made(run, "assignments", model.version).isEmpty()
            _assign(run, model, plan, every=none_placed)
            relinks_all, stored = _outgrown(run, model, plan.number)
        if relinks_all:
            if plan.placed_before:
                plan = replace(plan, wanted=land("wanted", plan.wanted))
            model = _fit(run, model, plan)
            _assign(run, model, plan, every=True)
        some_unlinked = (
            plan.gone > 0 or stored != plan.placed_vectors
        )  # stored vectors without a link represent no clip
        written = _place(
            run, model, plan, land, every=relinks_all or not plan.placed_before, some_unlinked=some_unlinked
        )
    history.note(run, "dedup", Work(started_at=started, num_in=written, num_out=written))
    return Counts(written, written)


def _fit(run: Run, model: Model, plan: Plan) -> Model:
    """Fit new centers and write them to their table."""
    params = run.settings.dedup
    choice = kmeans_fit.choose(run.spark, params)
    centers = kmeans_fit.fit(_vectors(run, plan.vector_ids), params, choice)
    version = max(plan.number, model.version + 1)
    stamp = (choice.engine, run.fingerprint("dedup"), run.run_id)
    rows = [(run.settings.embed.model, version, i, centre.tolist(), *stamp) for i, centre in enumerate(centers)]
    run.tables.add("centroids", run.spark.createDataFrame(rows, struct_type(TABLES["centroids"].schema)))
    log.info("dedup: %d clusters fitted (version %d)", len(centers), version)
    return Model(version, centers)


def _assign(run: Run, model: Model, plan: Plan, *, every: bool) -> None:
    """Write the vectors that are not in `assignments` yet; every vector where a new version of the centers begins."""
    there = dedup_run.made(run, "assignments", model.version)
    if not plan.gone:
        there = there.where(F.col("dedup_run") == plan.number)  # by a run that was killed
    new = plan.unplaced.join(there, on="clip_id", how="left_anti")
    rows = links.assigned(_ranked(run, plan, None if every else new), model.centres, run.settings.dedup)
    files = links.num_parts(plan.total if every else plan.vectors, model.centres, links.FEW if every else 1)
    rows = links.dealt(rows.withColumns(_stamp(run, model)), len(model.centres), files)
    if every:
        run.tables.replace("assignments", rows)
    else:
        run.tables.add("assignments", rows)


def _vectors(run: Run, ids: DataFrame, *, few: bool = False) -> DataFrame:
    """The vectors of these clips; with `few`, only files of the runs that made these vectors are read."""
    embeddings = run.made("embeddings").where(F.col("model") == run.settings.embed.model)
    if few:
        runs = (
            embeddings.select("clip_id", "run_id").join(ids, on="clip_id", how="left_semi").select("run_id").distinct()
        )
        embeddings = embeddings.where(F.col("run_id").isin([row["run_id"] for row in runs.collect()]))
    return embeddings.select("clip_id", "vector").join(ids, on="clip_id", how="left_semi")


def _ranked(run: Run, plan: Plan, few: DataFrame | None) -> DataFrame:
    """The vectors, or those of a few clips, with the columns that decide who is kept; those placed before keep their plan."""
    ranking_columns = set(ranking.columns(run.settings.dedup.rank))
    rows = _vectors(run, plan.vector_ids if few is None else few, few=few is not None)
    if ranking_columns - {"aesthetic"}:
        rows = rows.join(
            run.made("clips").select("clip_id", *(ranking_columns - {"aesthetic"})), on="clip_id", how="left"
        )
    if "aesthetic" in ranking_columns:
        scores = run.made("aesthetics").select("clip_id", F.col("score_mean").alias("aesthetic"))
        rows = rows.join(scores, on="clip_id", how="left")
    if few is not None:
        return rows.withColumn("dedup_run", F.lit(plan.number))
    before = (
        run.tables.read("duplicates")
        .where(F.col("fingerprint") == run.fingerprint("dedup"))
        .select("clip_id", "dedup_run")
    )
    return rows.join(before, on="clip_id", how="left").withColumn(
        "dedup_run", F.coalesce("dedup_run", F.lit(plan.number))
    )


def _outgrown(run: Run, model: Model, number: int) -> tuple[bool, int]:
    """Whether the centers no longer fit, by the number of vectors or their distance; how many vectors earlier runs stored."""
    old = F.col("dedup_run") <= model.version
    distance = F.col("distance_to_centroid")
    row = (
        dedup_run.made(run, "assignments", model.version)
        .agg(
            F.try_divide(F.count("*"), F.count_if(old)).alias("growth"),
            (F.avg(distance) / F.greatest(F.avg(F.when(old, distance)), F.lit(1e-6))).alias("drift"),
            F.count_if(F.col("dedup_run") < number).alias("stored"),
        )
        .first()
    )
    assert row is not None
    growth, drift = row["growth"] or 1.0, row["drift"] or 1.0
    outgrown = growth > run.settings.dedup.refit_growth or drift > run.settings.dedup.refit_drift
    if outgrown:
        log.info(
            "dedup: %.2f times the vectors of the last fit, %.2f times as far from their centers: fitting new centers",
            growth,
            drift,
        )
    return outgrown, row["stored"]


def _place(run: Run, model: Model, plan: Plan, land: Land, *, every: bool, some_unlinked: bool) -> int:
    """Link the clips that have no link yet, or every clip again; how many rows were written."""
    params, env = run.settings.dedup, run.env("dedup")
    placed, assigned = (
        dedup_run.made(run, "duplicates", model.version),
        dedup_run.made(run, "assignments", model.version),
    )
    new = assigned if every else land("new", _unplaced(assigned, plan))
    near = (
        None
        if every
        else _near(
            run, new, placed, assigned.where(F.col("dedup_run") < plan.number), land, some_unlinked=some_unlinked
        )
    )
    tasks = 4 * resources.num_slots(run.spark.sparkContext, params.resources) if every else 1
    parts = links.num_parts(plan.total if every else plan.vectors, model.centres, tasks)
    linked = links.links(new, near, len(model.centres), parts, params, env)
    copies = plan.wanted.where(F.col("duplicate_of").isNotNull()) if every else plan.new_copies
    rows = land("links", _rows(run, linked, new, copies, model, plan))
    if every:
        run.tables.replace("duplicates", rows)
    else:
        run.tables.append("duplicates", rows, among=f"dedup_run = {plan.number}")
    return rows.count()


def _unplaced(assigned: DataFrame, plan: Plan) -> DataFrame:
    """Rows of `assignments` without a link: new ones, and those that lost theirs because a linked clip is gone."""
    if not plan.gone:
        return assigned.where(F.col("dedup_run") == plan.number)
    return assigned.join(plan.unplaced, on="clip_id", how="left_semi")


def _near(
    run: Run, new: DataFrame, placed: DataFrame, before: DataFrame, land: Land, *, some_unlinked: bool
) -> DataFrame:
    """The nearest stored vectors of all new rows."""
    fallen = placed.where(dedup_run.fallen(run)).select("clip_id", "similarity")
    if some_unlinked:
        without = before.select("clip_id").join(placed, on="clip_id", how="left_anti")
        fallen = fallen.unionByName(without.withColumn("similarity", F.lit(1.0)))
    neighbors = links.nearest_stored(new, before, fallen, run.settings.dedup, run.env("dedup"))
    pieces = [land(f"near-{i}", piece) for i, piece in enumerate(neighbors)]
    return reduce(DataFrame.unionByName, pieces) if pieces else run.spark.createDataFrame([], links.NEAR)


def _rows(run: Run, linked: DataFrame, new: DataFrame, copies: DataFrame, model: Model, plan: Plan) -> DataFrame:
    """Rows of `duplicates`: of the vectors, of vectors of zeros, and of the near-copies by their hashes."""
    semantic = F.lit("semantic").alias("method")
    zeros = new.where(F.col("cluster_id").isNull()).select("clip_id", "dedup_run", semantic)
    dropped = copies.select("*", F.lit(plan.number).alias("dedup_run"), F.lit("phash").alias("method"))
    rows = linked.select("*", semantic)
    for others in (zeros, dropped):
        rows = rows.unionByName(others, allowMissingColumns=True)
    return rows.withColumns(_stamp(run, model)).select(*TABLES["duplicates"].schema.names)


def _stamp(run: Run, model: Model) -> dict[str, Column]:
    """The columns that say how a row was made."""
    return {
        "version": F.lit(model.version),
        "fingerprint": F.lit(run.fingerprint("dedup")),
        "run_id": F.lit(run.run_id),
    }


def _land(run: Run, stack: ExitStack, name: str, rows: DataFrame) -> DataFrame:
    """Store rows, so that they are computed once, for as long as the stack is open."""
    return stack.enter_context(run.tables.landing(f"{run.run_id}-dedup-{name}"))(rows)


if __name__ == "__main__":
    from jobs.cli import script

    script("dedup")
