"""ingest: manifest -> videos"""

from __future__ import annotations

import argparse
from functools import partial

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
    manifest.check(options.manifest)


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
    files = manifest.read(run.spark, options.manifest, options.limit)
    seen = F.concat(F.lit(run.fingerprint("ingest") + "-"), F.col("source_version"))
    versions = partial(ingest.versions, params=run.settings.sources)
    return files.mapInPandas(versions, "uri string, attributes map<string, string>, source_version string").select(
        "uri", "attributes", seen.alias("fingerprint")
    )


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Probe the files of the manifest that are new or changed."""
    return run_alone(run, stage(options))


if __name__ == "__main__":
    cli.script("ingest")
