"""embed: clips, signals -> embeddings"""

from __future__ import annotations

import argparse
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli
from jobs.history import Counts
from jobs.run import Run
from jobs.stage import Stage, run_alone
from udfs import embed
from udfs.filter import reasons_sql, signal_gates


def _passing(run: Run) -> DataFrame:
    """The clips that pass the gates that are on, as far as their signals can tell."""
    params = replace(run.settings.filter, duplicates=False)
    reasons = F.expr(reasons_sql(signal_gates(params), params))
    signals = run.made("signals").drop("fingerprint", "run_id")
    clips = run.current("clips").select(
        "clip_id", "video_id", "uri", "num_bytes", "width", "height", "framerate", "num_frames", "duration_s"
    )
    passing = clips.join(signals, on="clip_id", how="inner").where(F.size(reasons) == 0)
    proxy = F.col("proxy_uri") if run.settings.proxy.use else F.lit(None).cast("string")
    return passing.select(*clips.columns, proxy.alias("proxy_uri"))


STAGE = Stage(
    "embed",
    table="embeddings",
    key="clip_id",
    source=_passing,
    rows=embed.rows,
    params=lambda settings: settings.embed,
)


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Embed every clip that passes the gates and has no vector by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("embed")
