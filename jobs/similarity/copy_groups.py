"""The clips that pass the gates, each with the kept clip that it is a copy of, and those that were not compared yet."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.flow.gates import gated
from jobs.lake.run import Run


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
