"""Groups of near-copies by hashes: a kept clip and its copies, of clips that pass the gates on signals."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.flow import conditions
from jobs.flow.gates import gated
from jobs.lake.run import Run


def with_copies(run: Run) -> DataFrame:
    """The clips that pass the gates so far, with `copy_of` and `distance`; `new` if no row is valid.

    A row is not valid once the clip that it is a copy of is gone, was made by other settings, or
    fails a gate on signals. `accepted` says whether `filter.where` is true of a clip: one of which
    it is true is no copy of one of which it is not.
    """
    rows = run.made("copies").select("clip_id", "copy_of", "distance", F.lit(True).alias("has_row"))
    clips = conditions.with_accepted(run, gated(run.current("clips"), run.made("signals"), run.settings))
    clips = clips.join(rows, on="clip_id", how="left")
    if run.part is not None:  # of new videos: their rows were made a moment ago
        return clips.withColumn("new", F.col("has_row").isNull())
    group = Window.partitionBy(F.coalesce("copy_of", "clip_id"))  # a kept clip and its copies
    worth = F.when(F.col("accepted"), 2).otherwise(1)
    kept = F.max(F.when(F.col("has_row") & F.col("copy_of").isNull(), worth)).over(group)
    return clips.withColumn("new", F.coalesce(kept < worth, F.lit(True)))


def pending(run: Run) -> DataFrame:
    """The clips to compare with those that are kept and with each other."""
    return with_copies(run).where("new")
