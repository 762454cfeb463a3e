"""ingest: manifest, takedowns -> videos"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config import arguments
from jobs.config.arguments import StageOptions, argument
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.flow import manifest
from jobs.flow.stage import Stage, pending, run_pending
from jobs.lake import addresses, history
from jobs.lake.history import Counts
from jobs.lake.landing import landed
from jobs.lake.run import Run
from udfs import ingest
from udfs.core.words import counted
from udfs.storage import omissions
from udfs.storage.manifest import Manifest

log = logging.getLogger("reelmill")


@dataclass(frozen=True, kw_only=True)
class Options(StageOptions):
    """What `ingest` takes."""

    manifest: str = argument(
        "folder, glob, video, or a JSON, JSONL, CSV, Parquet or Delta table of videos",
        short="-m",
        positional=True,
        metavar="MANIFEST",
    )
    limit: int | None = argument(
        "take only the first N new files, by address; those that failed before come last",
        default=None,
        type=arguments.positive,
        metavar="N",
    )
    since: datetime | None = argument(
        "take only files that changed since a date, an ISO time, or 36h or 7d ago",
        default=None,
        type=arguments.since,
        metavar="TIME",
    )

    checked_manifest: Manifest | None = None  # what `check` found, so that it is not looked up again

    @property
    def places(self) -> tuple[str, ...]:
        """The addresses that Spark itself must reach."""
        return self.output, self.manifest


def check(options: Options, settings: Settings) -> Options:
    """The options with the examined manifest; refuses one that cannot be read, before Spark starts."""
    return replace(options, checked_manifest=manifest.check(options.manifest, settings.sources))


class Listed(NamedTuple):
    """What a manifest names."""

    num_files: int
    num_signed: int  # files whose address has a signature or password
    num_described: int  # files of which it has other columns
    left_out: Counter[str]  # files or rows, by reason


class Ingested(NamedTuple):
    """Counts of an ingest, and how many files it left to the next run."""

    counts: Counts
    num_left: int  # counted only in a run with a deadline, else 0
    num_described: int  # known videos of which the manifest had other columns


def stage(run: Run, files: DataFrame) -> Stage:
    """The stage for the files of a manifest, which unlike the inputs of other stages is no table."""
    return Stage(
        "ingest",
        table="videos",
        key="uri",
        wave="uri",
        source=lambda run: _to_ingest(files),
        rows=ingest.rows,
        params=partial(_tags_taken_down, run),
        upsert=True,
    )


def _tags_taken_down(run: Run, settings: Settings) -> frozenset[str]:
    """The content tags of videos that were taken down."""
    if not run.tables.exists("takedowns"):
        return frozenset()
    tags = run.tables.read("takedowns").where(F.col("content_tag").isNotNull()).select("content_tag").distinct()
    return frozenset(row["content_tag"] for row in tags.collect())


def _to_ingest(files: DataFrame) -> DataFrame:
    return files.where(F.col("uri").isNotNull() & F.col("left_out").isNull()).select("uri", "attributes", "fingerprint")


def _with_fingerprints(run: Run, options: Options) -> DataFrame:
    """The manifest by `manifest.SCHEMA`, with fingerprints.

    `left_out` is the reason not to ingest a file, else NULL.
    """
    sources = run.settings.sources
    files = manifest.read(run.spark, options.manifest, sources, run.settings.manifest, options.checked_manifest)
    for own in omissions.media_of(run.output):
        is_own = F.when(F.col("uri").startswith(own), omissions.OUTPUT)
        files = files.withColumn("left_out", F.coalesce("left_out", is_own))
    if run.tables.exists("takedowns"):
        taken_down = (
            run.tables.read("takedowns")
            .select(addresses.unsigned_column(F.col("uri")).alias("uri"))  # those of 0.1.0 have signatures
            .distinct()
            .withColumn("why", F.lit(omissions.TAKEN_DOWN))
        )
        files = (
            files.join(taken_down, on="uri", how="left")
            .withColumn("left_out", F.coalesce("left_out", "why"))
            .drop("why")
        )
    if options.since:
        files = _changed(files, options.since)
    seen = F.concat(F.lit(run.fingerprint("ingest") + "-"), F.col("source_version"))
    versions = files.select(*manifest.NAMES).mapInPandas(partial(ingest.add_versions, params=sources), manifest.SCHEMA)
    return versions.withColumn("fingerprint", seen)


def _changed(files: DataFrame, since: datetime) -> DataFrame:
    """The files, with those left out whose time of change, by the manifest, the listing or the file, is before `since`.

    A file without a time of change is taken.

    Raises:
        UsageError: the manifest's column holds what is no time.
    """
    stated = F.col("attributes")[ingest.MODIFIED]
    time = F.try_to_timestamp(stated)
    if wrong := files.where(stated.isNotNull() & time.isNull()).select(stated.alias("time")).first():
        raise UsageError(f"--since: the manifest's column {ingest.MODIFIED} holds {wrong['time']!r}, which is no time")
    timed = files.select(*manifest.NAMES).mapInPandas(ingest.add_change_times, manifest.SCHEMA)
    when = F.coalesce(time, F.timestamp_seconds("changed_s"))
    unchanged = F.when(when < F.lit(since), omissions.UNCHANGED)
    return timed.withColumn("left_out", F.coalesce("left_out", unchanged))


def run(run: Run, options: Options) -> Counts:
    """Probe the new or changed files of the manifest, or the first of them, after a log line that counts them."""
    return ingest_files(run, options).counts


def ingest_files(run: Run, options: Options) -> Ingested:
    """`run`, which also counts the files that a deadline left."""
    # Read once: a store lists a thousand names per request.
    files = _with_fingerprints(run, options).persist(StorageLevel.DISK_ONLY)
    step = stage(run, files)
    try:
        listed = _counts(files)
        log.info("ingest: %s", omissions.summary(listed.num_files, listed.left_out))
        if listed.num_signed or run.tables.exists(addresses.NAME):
            addresses.keep(run, files.where(F.col("left_out").isNull()))
        num_described = _describe(run, files) if listed.num_described else 0
        todo = pending(run, step)
        if options.limit is not None:
            todo = first_files(run, todo, options.limit)
        counts = run_pending(run, step, todo) or history.note_settings(run, "ingest")
        num_left = pending(run, step).count() if run.deadline else 0
    finally:
        files.unpersist()
    counts = replace(counts, num_out=counts.num_out + num_described, num_files=listed.num_files)
    return Ingested(counts, num_left, num_described)


def _describe(run: Run, files: DataFrame) -> int:
    """Bring the attributes of known videos up to date; how many videos had others."""
    if not run.tables.exists("videos"):
        return 0
    with ExitStack() as stack:  # stored, not cached: Delta refuses to merge what is
        described, num = landed(partial(run.store, stack), "described", _described(run, files), rows=F.count("*"))
        if num["rows"]:
            log.info("ingest: other columns in the manifest for %s", counted(num["rows"], "known video"))
            run.tables.update("videos", described)
    return int(num["rows"])


def _described(run: Run, files: DataFrame) -> DataFrame:
    """The known videos (video_id) of which the manifest has other `attributes`. No file is opened.

    Files that `--since` leaves out are among them.
    """
    is_listed = F.col("left_out").isNull() | (F.col("left_out") == omissions.UNCHANGED)
    listed = files.where(is_listed & F.col("attributes").isNotNull()).select("uri", "attributes")
    known = run.current("videos").select("video_id", "uri", F.col("attributes").alias("known"))
    new, old = (F.array_sort(F.map_entries(name)) for name in ("attributes", "known"))
    differs = ~new.eqNullSafe(old)
    others = known.join(listed, on="uri", how="inner").where(differs).select("video_id", "attributes", "known")
    return others.mapInPandas(ingest.attributes_as_text, others.schema).where(differs).select("video_id", "attributes")


def first_files(run: Run, files: DataFrame, number: int) -> DataFrame:
    """The first files by address, and those that failed before only after all others.

    So a host that stays away holds up no new files. With `--retry-failed` all are alike.
    """
    order = [F.col("uri")]
    if run.retry is None and "ingest" in run.tables.failed:
        failed = run.rows("failures").where("stage = 'ingest'").select(F.col("key").alias("uri")).distinct()
        files = files.join(failed.withColumn("failed", F.lit(True)), on="uri", how="left")
        order.insert(0, F.col("failed").isNotNull())
    return files.orderBy(*order).limit(number).select("uri", "attributes", "fingerprint")


def num_new(run: Run, options: Options) -> int:
    """How many files the job would probe."""
    files = _with_fingerprints(run, options)
    number = pending(run, stage(run, files)).count()
    return number if options.limit is None else min(number, options.limit)


def findings(run: Run, options: Options) -> Iterator[str]:
    """What the job would do, in words."""
    files = _with_fingerprints(run, options).persist(StorageLevel.DISK_ONLY)
    try:
        if count := pending(run, stage(run, files)).count():
            yield f"{counted(count, 'file')} to ingest"
        if count := _described(run, files).count():
            yield f"{counted(count, 'video')} with other columns in the manifest"
    finally:
        files.unpersist()


def _counts(files: DataFrame) -> Listed:
    """The numbers of files and rows of the manifest."""
    is_file = F.col("uri").isNotNull()
    rows = files.groupBy("left_out", is_file.alias("is_file")).agg(
        F.count("*").alias("rows"),
        F.sum("number").alias("number"),
        F.count("address").alias("signed"),
        F.count("attributes").alias("described"),
    )
    num_files, num_signed, num_described, left_out = 0, 0, 0, Counter[str]()
    for row in rows.collect():
        num_described += row["described"]
        if row["left_out"] is None:
            num_files += row["rows"]
            num_signed += row["signed"]
        else:
            left_out[row["left_out"]] += row["rows"] if row["is_file"] else row["number"]
        if row["is_file"]:
            left_out[omissions.DUPLICATE] += row["number"] - row["rows"]
    return Listed(num_files, num_signed, num_described, +left_out)


if __name__ == "__main__":
    from jobs.cli import script

    script("ingest")
