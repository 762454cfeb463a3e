"""ingest: manifest, takedowns -> videos"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import datetime
from functools import partial

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli, manifest
from jobs.history import Counts
from jobs.run import Run
from jobs.settings import Settings
from jobs.stage import Stage, pending, run_alone
from udfs import ingest
from udfs.source import MODIFIED


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a manifest that cannot be read, before Spark starts and any table is touched."""
    manifest.check(options.manifest, settings.sources)


def stage(run: Run, options: argparse.Namespace) -> Stage:
    """Ingest of this manifest: unlike the other stages' input, it is no table."""
    tags = run.tables.read("takedowns").where(F.col("content_tag").isNotNull()).select("content_tag").distinct()
    taken = frozenset(row["content_tag"] for row in tags.collect())
    return Stage(
        "ingest",
        table="videos",
        key="uri",
        wave="uri",
        source=partial(_listed, options=options),
        rows=ingest.rows,
        params=lambda settings: taken,
        upsert=True,
    )


def _listed(run: Run, options: argparse.Namespace) -> DataFrame:
    """The manifest's files, a row each; one that has changed since it was ingested has another fingerprint."""
    sources = run.settings.sources
    files = manifest.read(run.spark, options.manifest, sources)
    if run.tables.exists("takedowns"):
        files = files.join(run.tables.read("takedowns").select("uri"), on="uri", how="left_anti")
    if options.since:
        files = _changed(files, options.since)
    seen = F.concat(F.lit(run.fingerprint("ingest") + "-"), F.col("source_version"))
    versions = files.mapInPandas(partial(ingest.versions, params=sources), manifest.SCHEMA)
    return versions.select("uri", "attributes", seen.alias("fingerprint"))


def _changed(files: DataFrame, since: datetime) -> DataFrame:
    """The files changed since then, as the manifest says, else the listing or the file itself; what says nothing is taken.

    Raises:
        UsageError: the manifest's column holds what is no time.
    """
    stated = F.col("attributes")[MODIFIED]
    time = F.try_to_timestamp(stated)
    if wrong := files.where(stated.isNotNull() & time.isNull()).select(stated.alias("time")).first():
        raise cli.UsageError(f"--since: the manifest's column {MODIFIED} holds {wrong['time']!r}, which is no time")
    told = files.mapInPandas(ingest.changes, manifest.SCHEMA)
    when = F.coalesce(time, F.timestamp_seconds("changed_s"))
    return told.where(when.isNull() | (when >= F.lit(since)))


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Probe the files of the manifest that are new or changed, or the first of them."""
    # Asked for once: each wave looks at all of it, and a store lists a thousand names a request.
    files = _listed(run, options).persist(StorageLevel.DISK_ONLY)
    step = replace(stage(run, options), source=lambda run: files)
    try:
        if options.limit is None:
            return run_alone(run, step)
        with run.tables.landing(f"{run.run_id}-ingest-first") as land:
            first = land(pending(run, step).orderBy("uri").limit(options.limit))
            return run_alone(run, replace(step, source=lambda run: first))
    finally:
        files.unpersist()


if __name__ == "__main__":
    cli.script("ingest")
