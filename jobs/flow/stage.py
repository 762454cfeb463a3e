"""Run a stage: select pending inputs, process them on Spark, append rows, record failures and costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import pandas as pd
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StringType, StructType

from jobs.config.settings import Settings
from jobs.flow.progress import Progress
from jobs.lake import history
from jobs.lake.history import Work
from jobs.lake.run import Run
from jobs.lake.tables import struct_type
from jobs.spark import resources
from schemas import TABLES
from udfs.core import bugs, scheduling
from udfs.core.errors import PASSING
from udfs.core.task_resources import Resources
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env

log = logging.getLogger("reelmill")

T = TypeVar("T")
Rows = Callable[..., Iterator[pd.DataFrame]]


@dataclass(frozen=True)
class Stage:
    """A step of the flow: its inputs, the function that processes them, and the table that it fills."""

    name: str  # as in conf, failures and runs
    table: str
    key: str  # the column that names an input, there also in the table
    source: Callable[[Run], DataFrame]  # every current input, pending or not
    rows: Rows  # of udfs: (batches, params, env) -> batches
    params: Callable[[Settings], Any]
    wave: str = "video_id"  # the column by which inputs are dealt to waves
    units: Callable[[DataFrame, Settings], DataFrame] | None = None  # inputs -> rows of work, where they differ
    upsert: bool = False  # the newest row of a key wins
    resources: Callable[[Settings], Resources] = lambda settings: Resources()  # what a task takes
    duration: str | None = None  # the column of a row of work with its seconds of media
    num_bytes: str | None = None  # the column of a row of work with its bytes of media
    cost: Callable[[dict[str, Any], Settings], float] | None = None  # of a row of work, for tasks of even cost


def pending(run: Run, stage: Stage) -> DataFrame:
    """The stage's inputs that have neither a row nor a failure with these settings."""
    inputs = stage.source(run)
    if "fingerprint" not in inputs.columns:
        inputs = inputs.withColumn("fingerprint", F.lit(run.fingerprint(stage.name)))
    done = run.current(stage.table) if stage.upsert else run.tables.read(stage.table)
    keys = [stage.key, "fingerprint"]
    return _without_failed(run, stage, inputs.join(done.select(keys), on=keys, how="left_anti"))


def _without_failed(run: Run, stage: Stage, inputs: DataFrame) -> DataFrame:
    """The inputs that have not failed since their video was ingested.

    An older failure may be of a file that was still being written: it may have had its final size,
    head, tail and samples, and so the same video_id. Run ids sort by the time at which runs began.
    """
    if not run.tables.exists("failures"):
        return inputs
    failed = given_up(run, stage.name).withColumnRenamed("key", stage.key)
    keys = [stage.key, "fingerprint"]
    if "video_id" not in inputs.columns:
        return inputs.join(failed, on=keys, how="left_anti")
    seen = run.tables.read("videos").select("video_id", F.col("run_id").alias("seen_in"))
    since = inputs.join(seen, on="video_id", how="left").alias("i")
    failed = failed.alias("f")
    same = [F.col(f"i.{name}") == F.col(f"f.{name}") for name in keys]
    later = F.col("f.failed_in") >= F.coalesce("i.seen_in", F.lit(""))
    return since.join(failed, on=[*same, later], how="left_anti").drop("seen_in")


def given_up(run: Run, stage: str) -> DataFrame:
    """Key, fingerprint and run (`failed_in`) of the inputs that failed in a stage and are not tried again."""
    failed = run.tables.read("failures").where((F.col("stage") == stage) & ~F.col("code").isin(*PASSING))
    if run.retry is not None:
        failed = failed.where(~F.col("code").isin(*run.retry)) if run.retry else failed.limit(0)
    return failed.select("key", "fingerprint", F.col("run_id").alias("failed_in"))


def in_wave(column: str, wave: int, num_waves: int) -> Column:
    """Whether a row belongs to a wave. A hash of the video decides, so that all stages agree without a list."""
    return F.pmod(F.xxhash64(column), F.lit(num_waves)) == wave


def run_alone(run: Run, stage: Stage) -> history.Counts:
    """Process everything pending of one stage, wave after wave, until the deadline."""
    todo = pending(run, stage)
    # Where units differ from inputs, only units have a duration.
    duration = F.sum(stage.duration) if stage.duration and stage.units is None else F.lit(0.0)
    size = todo.agg(F.countDistinct(stage.wave).alias("n"), F.coalesce(duration, F.lit(0.0)).alias("s")).first()
    assert size is not None
    total = scheduling.num_waves(size["n"], size["s"], run.settings.curate)
    counts = history.Counts()
    for wave in range(total):
        if run.late:
            return counts
        counts += run_wave(run, stage, wave, total)
    return counts or history.note_settings(run, stage.name)


def run_wave(run: Run, stage: Stage, wave: int, num_waves: int) -> history.Counts:
    """Process what is pending of one wave: one Spark job, then one commit per table."""
    started = history.now()
    todo = pending(run, stage).where(in_wave(stage.wave, wave, num_waves))
    work = stage.units(todo, run.settings) if stage.units else todo
    items = work.collect()
    if not items:
        return history.Counts()
    rows = partial(with_task, stage.rows, stage.params(run.settings), run.env(stage.name))
    with Progress(run, stage.name, items) as progress, run.tables.landing(f"{run.run_id}-{stage.name}-{wave}") as land:
        counted = partial(batching.count_inputs, rows=rows, done=progress.done)
        inputs = spread(run, stage.resources(run.settings), items, work.schema, stage.duration, stage.cost)
        done = land(_mapped(run, stage, inputs, counted))
        return _write(run, stage, done, items, started)


def with_task(rows: Callable[..., Iterator[T]], params: Any, env: Env, batches: Iterable[T]) -> Iterator[T]:
    """On the executor: process batches, with the Spark task in `env`."""
    return rows(batches, params=params, env=replace(env, task=resources.task()))


def _mapped(run: Run, stage: Stage, inputs: DataFrame, rows: batching.Rows) -> DataFrame:
    """Process the inputs of a stage, scheduled by its resources.

    The inputs come from the driver, so that nothing else runs in the Spark stage that has the profile.
    """
    with resources.scheduled(stage.name, run.spark.sparkContext, stage.resources(run.settings)) as profile:
        return inputs.mapInPandas(rows, envelope(_declared(stage)), profile=profile)


def spread(
    run: Run,
    needs: Resources,
    items: list[Row],
    schema: StructType,
    duration: str | None,
    cost: Callable[[dict[str, Any], Settings], float] | None = None,
) -> DataFrame:
    """The inputs in partitions of even cost, the dearest first; without `cost` it is the column `duration`."""
    costs = [float((item[duration] if duration else None) or 1.0) for item in items]
    costs = [cost(item.asDict(), run.settings) for item in items] if cost else costs
    context = run.spark.sparkContext
    slots = resources.num_slots(context, needs)
    tasks = scheduling.pack(costs, scheduling.num_tasks(costs, slots, run.settings.curate))
    dealt = context.parallelize([[items[i] for i in task] for task in tasks], len(tasks))
    return run.spark.createDataFrame(dealt.flatMap(lambda task: task), schema, verifySchema=False)


def columns(table: str) -> list[str]:
    """The columns of a table that its stage computes."""
    return TABLES[table].stage_columns


def _declared(stage: Stage) -> StructType:
    declared = struct_type(TABLES[stage.table].schema)
    return StructType(
        [StructType().add(f.name, f.dataType).fields[0] for f in declared if f.name in columns(stage.table)]
    )


def envelope(results: StructType) -> StructType:
    """The columns of a stage's results, and those that `batching` adds to them."""
    whole = StructType([*results.fields])
    for name in ("fingerprint", *FAILURE):
        whole = whole.add(name, StringType())
    return whole.add(COST, DoubleType()).add(GPU_COST, DoubleType())


def _write(run: Run, stage: Stage, done: DataFrame, items: list[Row], started: datetime) -> history.Counts:
    checked = _with_check_failures(stage, done)
    tally, written = history.tally(checked), 0
    if tally.failed["BUG"] < max(bugs.MANY_VIDEOS, bugs.MOST * len(items)):
        done = checked  # else the checks of the table stop the run
    if tally.num_ok:
        ok = done.where(F.col(FAILURE[0]).isNull()).select(*columns(stage.table), "fingerprint")
        written = run.tables.append(stage.table, ok.withColumn("run_id", F.lit(run.run_id)), upsert=stage.upsert)
    bytes_in = sum(item[stage.num_bytes] or 0 for item in items) if stage.num_bytes else 0
    media_s = sum(item[stage.duration] or 0.0 for item in items) if stage.duration else None
    work = Work(len(items), written, started_at=started, bytes_in=bytes_in, media_s=media_s)
    return history.record(run, stage.name, done, tally, work)


def _with_check_failures(stage: Stage, done: DataFrame) -> DataFrame:
    """The rows of a stage's work; a row that breaks a check of its table is a BUG of its input."""
    table = TABLES[stage.table]
    checks = {name: F.expr(check) for name, check in table.checks.items()}
    checks |= {f"{f.name} is not NULL": F.col(f.name).isNotNull() for f in _declared(stage) if not f.nullable}
    broken = F.coalesce(
        *(F.when(~F.coalesce(check, F.lit(False)), F.lit(name)) for name, check in checks.items()), F.lit(None)
    )
    key, code, message = FAILURE
    what = (F.lit(f"a row that breaks a check of {table.name}: "), broken, F.lit(bugs.MET_BY), stage.key)
    is_broken = F.col(key).isNull() & broken.isNotNull()
    failed = {key: F.col(stage.key), code: F.lit("BUG"), message: F.concat(*what)}
    return done.withColumns({name: F.when(is_broken, new).otherwise(F.col(name)) for name, new in failed.items()})
