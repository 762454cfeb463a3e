"""Run a stage: select pending inputs, process them on Spark, append rows, record failures and costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StringType, StructType

from jobs.config.settings import Settings
from jobs.flow.progress import Progress
from jobs.flow.steps import named
from jobs.lake import addresses, clock, history
from jobs.lake.commits import Committed
from jobs.lake.declared import struct_type
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.spark import resources
from schemas import TABLES
from udfs.core import bugs, scheduling
from udfs.core.errors import PASSING, RunError
from udfs.core.task_resources import Resources
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env

log = logging.getLogger("reelmill")

T = TypeVar("T")
Rows = Callable[..., Iterator[pd.DataFrame]]

FEW = 2000  # inputs that are dealt to waves on the driver; more are stored in between
WAVE = "wave"  # the column with the number of a wave


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


class Done(NamedTuple):
    """What a stage did: its counts, and the rows that it added to its table; None if it had nothing to do."""

    counts: Counts
    rows: DataFrame | None = None


def pending(run: Run, stage: Stage) -> DataFrame:
    """The stage's inputs that have neither a row nor a failure with these settings, nor any failure of this run."""
    inputs = stage.source(run)
    if "fingerprint" not in inputs.columns:
        inputs = inputs.withColumn("fingerprint", F.lit(run.fingerprint(stage.name)))
    if run.holds(stage.table):
        done = run.current(stage.table) if stage.upsert else run.rows(stage.table)
        keys = [stage.key, "fingerprint"]
        inputs = inputs.join(done.select(keys), on=keys, how="left_anti")
    return _without_failed(run, stage, inputs)


def _without_failed(run: Run, stage: Stage, inputs: DataFrame) -> DataFrame:
    """The inputs that have not failed since their video was ingested.

    An older failure may be of a file that was still being written: it may have had its final size,
    head, tail and samples, and so the same video_id. Run ids sort by the time at which runs began.
    """
    if not run.holds("failures") or stage.name not in run.tables.failed:
        return inputs
    failed = given_up(run, stage.name, and_of_this_run=True).withColumnRenamed("key", stage.key)
    keys = [stage.key, "fingerprint"]
    if "video_id" not in inputs.columns:
        return inputs.join(failed, on=keys, how="left_anti")
    seen = run.rows("videos").select("video_id", F.col("run_id").alias("seen_in"))
    since = inputs.join(seen, on="video_id", how="left").alias("i")
    failed = failed.alias("f")
    same = [F.col(f"i.{name}") == F.col(f"f.{name}") for name in keys]
    later = F.col("f.failed_in") >= F.coalesce("i.seen_in", F.lit(""))
    return since.join(failed, on=[*same, later], how="left_anti").drop("seen_in")


def given_up(run: Run, stage: str, *, and_of_this_run: bool = False) -> DataFrame:
    """Key, fingerprint and run (`failed_in`) of the inputs that failed in a stage and are not tried again.

    The newest failure of an input decides: an earlier one may be of other limits. Those that failed
    `of_this_run` are only tried again by later ones.
    """
    of_stage = run.rows("failures").where(F.col("stage") == stage).groupBy("key", "fingerprint")
    last = of_stage.agg(F.max_by("code", "run_id").alias("code"), F.max("run_id").alias("failed_in"))
    is_final = ~F.col("code").isin(*PASSING)
    if run.retry is not None:
        is_final &= ~F.col("code").isin(*run.retry) if run.retry else F.lit(False)
    if and_of_this_run:
        is_final |= F.col("failed_in") == run.run_id
    return last.where(is_final).drop("code")


def work(run: Run, stage: Stage, inputs: DataFrame) -> DataFrame:
    """Inputs as rows of work."""
    return stage.units(inputs, run.settings) if stage.units else inputs


def wave_of(column: str, num_waves: int) -> Column:
    """The number of the wave of a row. A hash decides, so that all rows of a video get the same one without a list."""
    return F.pmod(F.xxhash64(column), F.lit(num_waves)).cast("int")


def run_alone(run: Run, stage: Stage) -> Counts:
    """Process everything pending of one stage, wave after wave, until the deadline."""
    return run_pending(run, stage, pending(run, stage)) or history.note_settings(run, stage.name)


def run_pending(run: Run, stage: Stage, inputs: DataFrame) -> Counts:
    """Process these inputs, wave after wave, until the deadline."""
    counts = Counts()
    with ExitStack() as stack:
        todo = work(run, stage, inputs)
        for wave, items in enumerate(waves(run, stage.name, todo, stack, by=stage.wave, duration=stage.duration)):
            if run.late:
                break
            with (
                named(run, f"{stage.name}, wave {wave + 1}"),
                run.tables.landing(f"{run.run_id}-{stage.name}-{wave}") as land,
            ):
                counts += process(run, stage, items, land).counts
    return counts


class Items(NamedTuple):
    """Rows of work on the driver, with their columns."""

    rows: list[Row]
    schema: StructType


def waves(run: Run, name: str, todo: DataFrame, stack: ExitStack, *, by: str, duration: str | None) -> Iterator[Items]:
    """The rows of work of one wave after the other, each looked up once.

    They are dealt to waves by a column; `duration` names the one with seconds of media. `name` is that of the stage.
    """
    few = todo.limit(FEW + 1).collect()
    if len(few) <= FEW:
        for rows in scheduling.waves(few, by, duration, run.settings.curate):
            yield Items(rows, todo.schema)
        return
    stored = run.store(stack, f"{name}-todo", todo)
    seconds = F.coalesce(F.sum(duration), F.lit(0.0)) if duration else F.lit(0.0)
    size = stored.agg(F.countDistinct(by).alias("n"), seconds.alias("s")).first()
    assert size is not None
    total = scheduling.num_waves(size["n"], size["s"], run.settings.curate)
    by_wave = run.store(stack, f"{name}-waves", stored.withColumn(WAVE, wave_of(by, total)), by=WAVE)
    for wave in range(total):
        yield Items(by_wave.where(F.col(WAVE) == wave).drop(WAVE).collect(), todo.schema)


def process(run: Run, stage: Stage, items: Items, land: Callable[..., DataFrame]) -> Done:
    """Process rows of work: one Spark job that stores the results with `land`, then one commit per table."""
    if not items.rows:
        return Done(Counts())
    started = clock.now()
    rows = partial(with_task, stage.rows, stage.params(run.settings), run.env(stage.name))
    with Progress(run, stage.name, items.rows) as progress:
        counted = partial(batching.count_inputs, rows=rows, done=progress.done, failed=progress.failed)
        named_rows, schema = addresses.with_addresses(run, items.rows, items.schema)
        inputs = spread(run, stage.resources(run.settings), named_rows, schema, stage.duration, stage.cost)
        results = history.watched(_with_check_failures(stage, _mapped(run, stage, inputs, counted)))
        done = land(results.rows)
    tally = results.tally()
    _stop_on_many_check_failures(stage, done, tally, len(items.rows))
    stored = [*columns(stage.table), *({COST} & {*TABLES[stage.table].schema.names}), "fingerprint"]
    ok = done.where(F.col(FAILURE[0]).isNull()).select(*stored)
    ok = ok.withColumn("run_id", F.lit(run.run_id))
    written = _write(run, stage, ok, tally.num_ok) if tally.num_ok else Committed(0, 0)
    bytes_in = sum(item[stage.num_bytes] or 0 for item in items.rows) if stage.num_bytes else 0
    media_s = sum(item[stage.duration] or 0.0 for item in items.rows) if stage.duration else None
    did = Work(len(items.rows), written.total, started_at=started, bytes_in=bytes_in, media_s=media_s)
    counts = replace(history.record(run, stage.name, done, tally, did), num_updated=written.updated)
    return Done(counts, ok if written.total else None)


def _write(run: Run, stage: Stage, rows: DataFrame, count: int) -> Committed:
    if stage.upsert:
        return run.tables.upsert(stage.table, rows, count)
    return Committed(run.tables.insert(stage.table, rows, count), 0)


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


def _with_check_failures(stage: Stage, done: DataFrame) -> DataFrame:
    """The rows of a stage's work; a row that breaks a check of its table is a BUG of its input."""
    table = TABLES[stage.table]
    checks = {name: F.expr(check) for name, check in table.checks.items()}
    checks |= {f"{f.name} is not NULL": F.col(f.name).isNotNull() for f in _declared(stage) if not f.nullable}
    broken = F.coalesce(
        *(F.when(~F.coalesce(check, F.lit(False)), F.lit(name)) for name, check in checks.items()), F.lit(None)
    )
    key, code, message = FAILURE
    what = (F.lit(_broken_check(stage)), broken, F.lit(bugs.MET_BY), stage.key)
    is_broken = F.col(key).isNull() & broken.isNotNull()
    failed = {key: F.col(stage.key), code: F.lit("BUG"), message: F.concat(*what)}
    return done.withColumns({name: F.when(is_broken, new).otherwise(F.col(name)) for name, new in failed.items()})


def _broken_check(stage: Stage) -> str:
    return f"a row that breaks a check of {stage.table}: "


def _stop_on_many_check_failures(stage: Stage, done: DataFrame, tally: history.Tally, num_inputs: int) -> None:
    """Stop the run if most rows break a check: the code is wrong, not the inputs.

    Raises:
        RunError: it names one of them.
    """
    if tally.failed["BUG"] < max(bugs.MANY_VIDEOS, bugs.MOST * num_inputs):
        return
    broken = done.where(F.col(FAILURE[2]).startswith(_broken_check(stage)))
    count, message = broken.agg(F.count("*"), F.min(FAILURE[2])).collect()[0]
    if count >= max(bugs.MANY_VIDEOS, bugs.MOST * num_inputs):
        raise RunError(f"{stage.name}: {count} of {num_inputs} inputs gave {message}")
