"""filter: clips, signals, aesthetics, duplicates -> verdicts"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli, history
from jobs.history import Counts
from jobs.run import Run
from udfs.filter import gates, reasons_sql


def judged(run: Run) -> DataFrame:
    """A verdict on every clip that counts: SQL only, so that a new threshold costs no decode."""
    params = run.settings.filter
    clips = run.current("clips").select("clip_id", "video_id", "width", "height")
    signals = run.made("signals").drop("fingerprint", "run_id")
    aesthetic_score = F.col(f"score_{params.aesthetic_reduction}").alias("aesthetic_score")
    aesthetics = run.made("aesthetics").select("clip_id", aesthetic_score)
    duplicates = run.tables.read("duplicates").select("clip_id", "duplicate_of")
    scored = clips
    for scores in (signals, aesthetics, duplicates):
        scored = scored.join(scores, on="clip_id", how="left")
    reasons = F.expr(reasons_sql(gates(params), params)).alias("reasons")
    return scored.select("clip_id", "video_id", reasons).select(
        "clip_id",
        "video_id",
        (F.size("reasons") == 0).alias("kept"),
        "reasons",
        F.lit(run.fingerprint("filter")).alias("fingerprint"),
        F.lit(run.run_id).alias("run_id"),
    )


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Bring the verdicts up to date; where nothing changed, nothing is written."""
    started = history.now()
    verdicts = judged(run).persist()
    try:
        total, changed = verdicts.count(), run.tables.change("verdicts", verdicts)
    finally:
        verdicts.unpersist()
    if not changed:
        return history.note_settings(run, "filter")
    history.note(run, "filter", {"started_at": started, "num_in": total, "num_out": changed, "num_failed": 0})
    return Counts(total, changed)


if __name__ == "__main__":
    cli.script("filter")
