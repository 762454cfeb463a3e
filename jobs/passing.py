"""passing: clips and their signals -> the clips that pass the gates so far, with what a model stage reads of them"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.settings import Settings
from udfs.filter import reasons_sql, signal_gates

READ = ("clip_id", "video_id", "uri", "num_bytes", "width", "height", "framerate", "num_frames", "duration_s")


def passing(clips: DataFrame, signals: DataFrame, settings: Settings) -> DataFrame:
    """The clips that pass the gates that are on, as far as their signals can tell, and where a stage is to look for them."""
    params = replace(settings.filter, duplicates=False)
    reasons = F.expr(reasons_sql(signal_gates(params), params))
    return _read(_measured(clips, signals).where(F.size(reasons) == 0), settings)


def measured(clips: DataFrame, signals: DataFrame, settings: Settings) -> DataFrame:
    """The clips that have signals, whatever those tell, and where a stage is to look for them."""
    return _read(_measured(clips, signals), settings)


def _measured(clips: DataFrame, signals: DataFrame) -> DataFrame:
    return clips.select(*READ).join(signals.drop("fingerprint", "run_id"), on="clip_id", how="inner")


def _read(clips: DataFrame, settings: Settings) -> DataFrame:
    proxy = F.col("proxy_uri") if settings.proxy.use else F.lit(None).cast("string")
    return clips.select(*READ, proxy.alias("proxy_uri"))
