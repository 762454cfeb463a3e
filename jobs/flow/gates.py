"""passing: clips, their signals and copies -> the clips that pass the gates so far, with what a model stage reads of them"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.settings import Settings
from udfs.filter import reasons_sql, signal_gates

READ = ("clip_id", "video_id", "uri", "num_bytes", "width", "height", "framerate", "num_frames", "duration_s")


def passing(clips: DataFrame, signals: DataFrame, copies: DataFrame, settings: Settings) -> DataFrame:
    """The clips that pass the gates that are on, as far as is known before a model is asked, and where to look for them."""
    found = gated(clips, signals, settings)
    if settings.filter.duplicates:
        found = found.join(_stood_for(copies, found), on="clip_id", how="left_anti")
    return _read(found, settings)


def gated(clips: DataFrame, signals: DataFrame, settings: Settings) -> DataFrame:
    """The clips that pass the gates that are on, as far as their signals can tell, with their signals."""
    params = replace(settings.filter, duplicates=False)
    reasons = F.expr(reasons_sql(signal_gates(params), params))
    return _measured(clips, signals).where(F.size(reasons) == 0)


def measured(clips: DataFrame, signals: DataFrame, settings: Settings) -> DataFrame:
    """The clips that have signals, whatever those tell, and where a stage is to look for them."""
    return _read(_measured(clips, signals), settings)


def _stood_for(copies: DataFrame, passing: DataFrame) -> DataFrame:
    """The clips whose stand-in passes: one that is gone or fails a gate stands for none."""
    return copies.join(passing.select(F.col("clip_id").alias("copy_of")), on="copy_of", how="left_semi").select(
        "clip_id"
    )


def _measured(clips: DataFrame, signals: DataFrame) -> DataFrame:
    return clips.select(*READ).join(signals.drop("fingerprint", "run_id"), on="clip_id", how="inner")


def _read(clips: DataFrame, settings: Settings) -> DataFrame:
    proxy = F.col("proxy_uri") if settings.proxy.use else F.lit(None).cast("string")
    return clips.select(*READ, proxy.alias("proxy_uri"))
