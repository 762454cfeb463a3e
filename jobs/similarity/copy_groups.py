"""The clips that pass the gates, each with the kept clip that it is a copy of, and those that were not compared yet."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.flow.gates import gated
from jobs.lake.run import Run


def compared(run: Run) -> DataFrame:
    """The clips that pass the gates so far, each with its `copy_of` and `distance`; `new` if it has no valid row.

    A row is not valid once the clip that it is a copy of is gone, was made by other settings, or fails a gate.
    """
    rows = run.made("copies").select("clip_id", "copy_of", "distance", F.lit(True).alias("compared"))
    clips = gated(run.current("clips"), run.made("signals"), run.settings).join(rows, on="clip_id", how="left")
    group = Window.partitionBy(F.coalesce("copy_of", "clip_id"))  # a kept clip and its copies
    stands = F.max(F.col("compared") & F.col("copy_of").isNull()).over(group)
    return clips.withColumn("new", ~F.coalesce(stands, F.lit(False)))


def pending(run: Run) -> DataFrame:
    """The clips to compare with those that are kept and with each other."""
    return compared(run).where("new")
