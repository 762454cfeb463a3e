"""Export the rows of a query at fixed versions of the tables, in parts of even size."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from jobs.config.errors import UsageError
from jobs.exports import folders, named_models, paths, release
from jobs.exports.options import Options
from jobs.exports.release import Request
from jobs.flow.progress import Progress
from jobs.lake import answers, clock, history
from jobs.lake.declared import struct_type
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.queries import spark_engine, statement
from udfs import export
from udfs.core.errors import PASSING
from udfs.exports import huggingface, lance, nemo, parquet, shards, webdataset
from udfs.exports.shards import CLIP, PART, Summary, Write
from udfs.storage import media_store
from udfs.storage.uris import absolute_uri

log = logging.getLogger("reelmill")
UNIT, ORDER = "_unit", "_order"  # rows of one unit go to the same part, in this order
# Columns of a clip beside those of the query.
KNOWN = ("video_id", "uri", "sha256", "num_bytes", "width", "height", "duration_s")


@dataclass(frozen=True)
class Format:
    """How a format is written, and how its rows are dealt to parts."""

    write: Callable[[export.Params], Write]
    cost: Callable[[export.Params], tuple[str, int]]  # SQL: what a row takes of a part; how much a part holds
    bucket: Callable[[export.Params], str] = lambda params: "''"  # SQL: rows of different buckets share no part
    of_clips: bool = True  # whether files of clips go in, not only rows


FORMATS = {
    "nemo": Format(lambda p: partial(nemo.write, params=p.nemo, paths=p.paths), lambda p: nemo.cost_sql(p.nemo)),
    "webdataset": Format(
        lambda p: webdataset.write,
        lambda p: webdataset.cost_sql(p.webdataset),
        lambda p: webdataset.bucket_sql(p.webdataset),
    ),
    "parquet": Format(lambda p: parquet.write, lambda p: parquet.cost_sql(p.parquet), of_clips=False),
    "huggingface": Format(lambda p: huggingface.write, lambda p: huggingface.cost_sql(p.huggingface)),
    "lance": Format(lambda p: lance.write, lambda p: parquet.cost_sql(p.parquet), of_clips=False),
}


@dataclass(frozen=True)
class Plan:
    """One export: its folder, its request, its rows, and the part that each unit of rows goes to."""

    to: str
    request: Request
    params: export.Params  # those of the request, complete
    rows: DataFrame
    dealt: DataFrame


def run(run: Run, options: Options) -> Counts:
    """Write the missing parts; an export that was begun goes on with the tables as they were then."""
    to, wanted, sources = options.folder, release.request(options, run.settings), run.settings.sources
    run = replace(run, settings=wanted.settings(run.settings))
    begun = release.begun(to, wanted, sources)
    pinned = _pinned(run, options, begun)
    if wanted.format == "nemo":
        named_models.check_rows(pinned, wanted.export.nemo)
    plan = _plan(pinned, to, wanted)
    try:
        parts = shards.part_summaries(to, [name for (name,) in plan.dealt.select(PART).distinct().collect()], sources)
        missing = [name for name, part in parts.items() if part is None or is_tried_again(part, run.retry)]
        if options.dry_run:
            _print_size(plan, len(missing))
            return Counts()
        described = begun or release.describe(pinned, wanted)
        counts = history.note_settings(run, "export")
        if missing or "parts" not in described:
            release.write(to, described, sources)
            folders.note(run, to)
            counts = _write(run, plan, sorted(missing))
            _finish(run, plan, described, sorted(parts))
        _compare(run, to, options.release)
        return counts
    finally:
        plan.dealt.unpersist()
        media_store.remove_unfinished(to, sources)


def _pinned(run: Run, options: Options, begun: dict[str, Any] | None) -> Run:
    """The run with all tables in fixed versions, by the settings that made them, and its views."""
    asked = release.load(options.release, run.settings.sources) if options.release else None
    if begun and release.is_of_another(begun, run):
        raise UsageError(f"--to {options.to}: holds an export of another output; give another folder")
    if asked and release.is_of_another(asked, run):
        raise UsageError(f"--release {options.release}: is of another output than {run.output}")
    versions = asked["tables"] if asked else None
    if options.as_of or not (versions or begun):
        versions = run.tables.versions(options.as_of)
    if not versions and not begun:
        raise UsageError(f"--output {run.output}: no tables then")
    if begun:
        if versions and versions != begun["tables"]:
            raise UsageError(f"--to {options.to}: holds an export of other versions of the tables; give another folder")
        log.info("export: with the tables as they were at %s, when %s was begun", begun["begun_at"], options.to)
        versions = begun["tables"]
    pinned = replace(run, pinned=versions)
    try:
        pinned = replace(pinned, recorded=answers.recorded(pinned))
        answers.register(pinned)
    except AnalysisException as e:
        raise UsageError(
            f"--output {run.output}: no longer has a table in that version: {str(e).splitlines()[0]}"
        ) from e
    return pinned


def _plan(run: Run, to: str, wanted: Request) -> Plan:
    try:
        rows = _rows(run, wanted)
    except (ParseException, AnalysisException) as e:
        raise UsageError(f"the query: {str(e).splitlines()[0]}") from e
    params = wanted.export
    if wanted.format == "nemo":
        params = replace(params, nemo=with_input_path(params.nemo, *_first_and_last(rows)))
    return Plan(to, wanted, params, rows, _dealt(rows, FORMATS[wanted.format], params).persist())


def _rows(run: Run, wanted: Request) -> DataFrame:
    """The query's rows, with the facts of their clips and the columns by which they are dealt and sorted."""
    query = statement.query_of("the query", wanted.query, catalog=run.schema is not None).text
    with spark_engine.no_files(run.spark):
        asked = run.spark.sql(query)
    if wanted.format == "nemo" and "clip_id" in asked.columns:
        asked = run.spark.table("nemo").join(asked.select("clip_id"), on="clip_id", how="left_semi")
    if wanted.format != "nemo":
        asked = paths.shown(asked, wanted.export.paths, paths.videos_folder(run))
    order = F.col("span")[0] if wanted.format == "nemo" else F.md5(F.to_json(F.struct("*")))
    rows, of_clips = asked.withColumn(ORDER, order), FORMATS[wanted.format].of_clips
    if "clip_id" in asked.columns:
        known = run.current("clips").select("clip_id", F.struct(*KNOWN).alias(CLIP))
        rows = rows.join(known, on="clip_id", how="left")
        if wanted.format == "nemo":
            return rows.withColumn(UNIT, F.col(f"{CLIP}.video_id"))
        rows = rows.withColumn(UNIT, _unit("clip_id"))
        return rows.where("clip_id IS NOT NULL") if of_clips else rows
    if of_clips:
        raise UsageError(f"--format {wanted.format}: goes by clip_id, which the query does not give")
    if "video_id" not in asked.columns:
        log.warning("export: no takedown can take rows out of it: the query gives neither clip_id nor video_id")
    return rows.withColumn(UNIT, _unit("video_id" if "video_id" in asked.columns else ORDER))


def _unit(column: str) -> Column:
    """The rows of a clip or video are one unit, and each that names none: NULL would equal no other NULL in a join."""
    return F.coalesce(F.col(column), F.col(ORDER))


def _first_and_last(rows: DataFrame) -> tuple[str | None, str | None]:
    """The least and the greatest address of a video, as NeMo Curator names it: all others lie between them."""
    path = F.regexp_replace("source_video", "^[a-z0-9]+://", "")
    [(least, most)] = rows.agg(F.min(path), F.max(path)).collect()
    return least, most


def with_input_path(params: nemo.Params, least: str | None, most: str | None) -> nemo.Params:
    """[export.nemo] with the folder that all videos lie below, from the least address to the greatest.

    There is none where some are files and others remote.

    Raises:
        UsageError: export.nemo.input_path is not above all of them.
    """
    if not least or not most:
        return params
    if not params.input_path:
        are_alike = least.startswith("/") == most.startswith("/")
        folders = [os.path.dirname(address) for address in (least, most)] if are_alike else [""]
        return replace(params, input_path=os.path.commonpath(folders))
    for folder in (params.input_path, absolute_uri(params.input_path)):  # a bucket's name, or a path from here
        above = nemo.source_address(folder).rstrip("/") + "/"
        if least.startswith(above) and most.startswith(above):
            return replace(params, input_path=folder)
    outside = most if least.startswith(above) else least
    raise UsageError(f"export.nemo.input_path: {params.input_path} is not above {outside}")


def _dealt(rows: DataFrame, format: Format, params: export.Params) -> DataFrame:
    """UNIT, PART, and rows and bytes of clips per unit.

    Units fill the parts in their order, so that every run deals them alike.
    """
    known = rows.select(UNIT, f"{CLIP}.*") if CLIP in rows.columns else rows.select(UNIT, F.lit(0).alias("num_bytes"))
    cost, capacity = format.cost(params)
    units = known.groupBy(UNIT).agg(
        F.coalesce(F.min(F.expr(format.bucket(params))), F.lit("unknown")).alias("bucket"),
        F.sum(F.coalesce(F.expr(cost), F.lit(0)).cast("decimal(38, 0)")).alias("cost"),
        F.count("*").alias("num_rows"),
        F.sum("num_bytes").alias("num_bytes"),
    )
    before = Window.partitionBy("bucket").orderBy(UNIT).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    filled = units.withColumn("filled", F.sum("cost").over(before))
    number = filled.withColumn("number", F.expr(f"(filled - cost) div {capacity}"))
    part = F.concat_ws("-", F.expr("nullif(bucket, '')"), F.format_string("%05d", "number"))
    return number.select(UNIT, part.alias(PART), "num_rows", "num_bytes")


def _print_size(plan: Plan, num_missing: int) -> None:
    sums = plan.dealt.agg(F.countDistinct(PART), F.sum("num_rows"), F.sum("num_bytes")).first()
    assert sums is not None
    size = f"{sums[1] or 0} rows, {(sums[2] or 0) / 1e6:.1f} MB of clips"
    print(f"{plan.request.format}: {size}, {sums[0]} parts, {num_missing} to write")


def _write(run: Run, plan: Plan, missing: list[str]) -> Counts:
    """Write the missing parts, a row of `runs`, and a failure for each clip that cannot be read."""
    if not missing:
        return Counts()
    started, items = clock.now(), [Row(part=name) for name in missing]
    media_store.remove_unfinished(plan.to, run.settings.sources)  # deletes what a killed run left
    todo = plan.dealt.where(F.col(PART).isin(missing))
    rows = plan.rows.join(todo.select(UNIT, PART), on=UNIT, how="inner").repartition(len(missing), PART)
    rows = rows.sortWithinPartitions(PART, UNIT, ORDER).drop(UNIT, ORDER)
    with Progress(run, "export", items) as progress, run.tables.landing(f"{run.run_id}-export") as land:
        write = FORMATS[plan.request.format].write(plan.params)
        write_parts = partial(shards.rows, write=write, to=plan.to, env=run.env("export"), done=progress.done)
        results = history.watched(rows.mapInArrow(write_parts, struct_type(shards.ENVELOPE)))
        done = land(results.rows)
        tally = results.tally()
        sums = todo.agg(F.sum("num_rows"), F.sum("num_bytes")).first()
        assert sums is not None
        num_out = sums[0] - tally.failed.total()
        work = Work(started_at=started, num_in=sums[0], num_out=num_out, bytes_in=sums[1])
        return history.record(run, "export", done, tally, work, exported_to=plan.to)


def is_tried_again(part: Summary, retry: tuple[str, ...] | None) -> bool:
    """Whether a part left clips out by failures that this run takes up again."""
    if not part.note["num_failed"]:
        return False
    codes = {*part.note.get("failed", PASSING)}  # exports of 0.1.0 noted how many, but no codes
    if retry == ():
        return True
    return not codes.isdisjoint((*PASSING, *(retry or ())))


def _finish(run: Run, plan: Plan, described: dict[str, Any], names: list[str]) -> None:
    """Write what describes the whole export: a card, a commit, and the release with its parts.

    Raises:
        UsageError: parts that tasks wrote are not visible on this machine.
    """
    written = {name: part for name, part in shards.part_summaries(plan.to, names, run.settings.sources).items() if part}
    if unseen := len(names) - len(written):
        raise UsageError(
            f"--to {plan.to}: is another folder on each machine; {unseen} parts are not on this one: give s3://"
        )
    whole = release.finished(described, written)
    if plan.request.format == "lance" and written:
        lance.commit(plan.to, [part.note for part in written.values()])
    if plan.request.format == "huggingface" and written:
        huggingface.write_card(plan.to, whole, plan.params.huggingface, run.settings.sources)
    release.write(plan.to, whole, run.settings.sources)


def _compare(run: Run, to: str, made_of: str | None) -> None:
    """Log whether an export that was made again has the same bytes."""
    if not made_of:
        return
    old, new = (release.load(path, run.settings.sources) for path in (made_of, f"{to}/{release.FILE}"))
    differs = release.differing(old, new)
    if differs:
        log.warning("export: %d parts are not what %s says, %s first", len(differs), made_of, differs[0])
    else:
        log.info("export: %d parts, byte for byte those of %s", len(new["parts"]), made_of)
