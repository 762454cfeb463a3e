"""copies: clips, signals -> copies"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.gates import gated
from jobs.lake import history
from jobs.lake.history import Counts
from jobs.lake.run import Run
from jobs.similarity import phash_lsh
from schemas import TABLES
from udfs.similarity import ranking


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse to wait for more frames to agree than there are."""
    asked, there = settings.copies.min_agree, settings.phash.num_frames
    if settings.analyze.phash and asked > there:
        raise SettingsError(f"copies.min_agree: {asked} frames cannot agree where phash.num_frames = {there}")


def compared(run: Run) -> DataFrame:
    """The clips that pass the gates so far, each with its `copy_of` and `distance`, or `new` if it has no row that counts.

    A row counts no more once the clip that stands in it is gone, was made by other settings, or fails a gate.
    """
    rows = run.made("copies").select("clip_id", "copy_of", "distance", F.lit(True).alias("told"))
    clips = gated(run.current("clips"), run.made("signals"), run.settings).join(rows, on="clip_id", how="left")
    group = Window.partitionBy(F.coalesce("copy_of", "clip_id"))  # a clip that is kept, and those that it stands in for
    stands = F.max(F.col("told") & F.col("copy_of").isNull()).over(group)
    return clips.withColumn("new", ~F.coalesce(stands, F.lit(False)))


def pending(run: Run) -> DataFrame:
    """The clips to be compared with those that are kept and with each other."""
    return compared(run).where("new")


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Find, among the clips that are new, copies of each other and of those kept so far, which stay."""
    started = history.now()
    if run.tables.exists("copies") and pending(run).isEmpty():
        return history.note_settings(run, "copies")
    rank = ranking.columns(run.settings.copies.rank)
    asked = compared(run).where(F.col("new") | F.col("copy_of").isNull())
    clips = asked.select("clip_id", *rank, "new", phash_lsh.numbers(F.col("phash")).alias("hashes"))
    with run.tables.landing(f"{run.run_id}-ranked") as land, run.tables.landing(f"{run.run_id}-copies") as land_rows:
        ranked = land(phash_lsh.ranked(clips, rank))
        total = run.tables.append(
            "copies", land_rows(_rows(run, ranked)), upsert=True
        )  # rows that count no more are replaced
    history.note(run, "copies", {"started_at": started, "num_in": total, "num_out": total, "num_failed": 0})
    return Counts(total, total)


def _rows(run: Run, ranked: DataFrame) -> DataFrame:
    """A row a new clip."""
    found = (
        ranked.where("new")
        .select("clip_id")
        .join(phash_lsh.stand_ins(ranked, run.settings.copies), on="clip_id", how="left")
    )
    stamp = {"fingerprint": F.lit(run.fingerprint("copies")), "run_id": F.lit(run.run_id)}
    return found.withColumns(stamp).select(*TABLES["copies"].schema.names)


if __name__ == "__main__":
    cli.script("copies")
