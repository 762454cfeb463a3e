"""Groups of near-copies by hashes: a kept clip and its copies, of clips that pass the gates."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.flow.gates import gated
from jobs.lake.run import Run


def with_copies(run: Run) -> DataFrame:
    """The clips that pass the gates so far, with `copy_of` and `distance`; `new` if no row is valid.

    A row is not valid once the clip that it is a copy of is gone, was made by other settings, or
    fails a gate.
    """
    rows = run.made("copies").select("clip_id", "copy_of", "distance", F.lit(True).alias("has_row"))
    clips = gated(run.current("clips"), run.made("signals"), run.settings).join(rows, on="clip_id", how="left")
    group = Window.partitionBy(F.coalesce("copy_of", "clip_id"))  # a kept clip and its copies
    has_kept_clip = F.max(F.col("has_row") & F.col("copy_of").isNull()).over(group)
    return clips.withColumn("new", ~F.coalesce(has_kept_clip, F.lit(False)))


def pending(run: Run) -> DataFrame:
    """The clips to compare with those that are kept and with each other."""
    return with_copies(run).where("new")
