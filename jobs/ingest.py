"""ingest: manifest -> videos"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli, manifest
from jobs.history import Counts
from jobs.run import Run
from jobs.settings import Settings
from jobs.stage import Stage, run_alone
from udfs import ingest


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a manifest that cannot be read, before Spark starts and any table is touched."""
    manifest.check(options.manifest, settings.sources)


def stage(options: argparse.Namespace) -> Stage:
    """Ingest of this manifest: unlike the other stages' input, it is no table."""
    return Stage(
        "ingest",
        table="videos",
        key="uri",
        wave="uri",
        source=partial(_listed, options=options),
        rows=ingest.rows,
        params=lambda settings: settings.sources,
        upsert=True,
    )


def _listed(run: Run, options: argparse.Namespace) -> DataFrame:
    """The manifest's files, a row each; one that has changed since it was ingested has another fingerprint."""
    files = manifest.read(run.spark, options.manifest, options.limit, run.settings.sources)
    seen = F.concat(F.lit(run.fingerprint("ingest") + "-"), F.col("source_version"))
    versions = partial(ingest.versions, params=run.settings.sources)
    return files.mapInPandas(versions, manifest.SCHEMA).select("uri", "attributes", seen.alias("fingerprint"))


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Probe the files of the manifest that are new or changed."""
    # Asked for once: each wave looks at all of it, and a store lists a thousand names a request.
    files = _listed(run, options).persist(StorageLevel.DISK_ONLY)
    try:
        return run_alone(run, replace(stage(options), source=lambda run: files))
    finally:
        files.unpersist()


if __name__ == "__main__":
    cli.script("ingest")
