"""Groups of near-copies by hashes: a kept clip and its copies, of clips that pass the gates."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.flow.gates import gated
from jobs.lake.run import Run, without_superseded


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


def with_kept(run: Run, pairs: DataFrame) -> DataFrame:
    """The pairs of clips of which the earlier is new or, by `copy_of`, still kept.

    It is no longer kept once it is gone, was made by other settings, or fails a gate. Only the rows
    of these clips are looked up.
    """
    is_stored = F.col("copy_of").isNotNull()
    ids = pairs.where(is_stored).select(F.col("copy_of").alias("clip_id")).distinct()
    if ids.isEmpty():
        return pairs
    rows = {name: run.made(name).join(ids, on="clip_id", how="left_semi") for name in ("copies", "clips", "signals")}
    spans = without_superseded(run.made("spans").join(ids, on="clip_id", how="left_semi"), run.tables.read("videos"))
    clips = gated(rows["clips"], rows["signals"], run.settings).join(spans, on="clip_id", how="left_semi")
    kept = clips.join(rows["copies"].where(F.col("copy_of").isNull()), on="clip_id", how="left_semi")
    of_kept = pairs.where(is_stored).join(kept.select(F.col("clip_id").alias("copy_of")), on="copy_of", how="left_semi")
    return pairs.where(~is_stored).unionByName(of_kept)
