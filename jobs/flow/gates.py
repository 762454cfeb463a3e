"""The clips that pass the gates applied before models run, with the columns that models read."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.settings import Settings
from jobs.flow import score_gates
from jobs.lake.run import Run
from udfs.filter import reasons_sql, signal_gates

READ = ("clip_id", "video_id", "uri", "num_bytes", "width", "height", "framerate", "num_frames", "duration_s")


def inputs(run: Run) -> DataFrame:
    """What models are asked about: the current clips that pass the gates so far."""
    return inputs_with_signals(run).select(*READ, "proxy_uri")


def inputs_with_signals(run: Run) -> DataFrame:
    """The same clips with all of their signals."""
    copies = None
    if run.settings.filter.duplicates and run.holds("copies"):
        copies = score_gates.valid(run, run.made("copies").where(F.col("copy_of").isNotNull()))
    clips, signals = run.current("clips"), run.made("signals")
    return passing(clips, signals, copies, run.settings, are_valid=run.part is not None)


def passing(
    clips: DataFrame, signals: DataFrame, copies: DataFrame | None, settings: Settings, *, are_valid: bool = False
) -> DataFrame:
    """The clips that pass the gates on signals and copies, with their signals and the proxy that stages read.

    `copies` are valid if it is known that the clips that they are copies of pass the gates. Those whose kept clip fails
    a gate on what models found are not among them.
    """
    clips_left = gated(clips, signals, settings)
    if settings.filter.duplicates and copies is not None:
        found = copies.where(F.col("copy_of").isNotNull())
        if not are_valid:
            found = _copies_of(found, clips_left)
        clips_left = clips_left.join(found.select("clip_id"), on="clip_id", how="left_anti")
    return clips_left.withColumn("proxy_uri", _proxy(settings))


def gated(clips: DataFrame, signals: DataFrame, settings: Settings) -> DataFrame:
    """The clips that pass the gates on signals, with their signals."""
    params = replace(settings.filter, duplicates=False)
    reasons = F.expr(reasons_sql(signal_gates(params), params))
    return _measured(clips, signals).where(F.size(reasons) == 0)


def measured(clips: DataFrame, signals: DataFrame, settings: Settings) -> DataFrame:
    """The clips that have signals, whatever their values, with the columns that model stages read."""
    return _measured(clips, signals).select(*READ, _proxy(settings).alias("proxy_uri"))


def _copies_of(copies: DataFrame, passing: DataFrame) -> DataFrame:
    """The clips that are copies of a clip that passes; a clip that is gone or fails a gate has no copies."""
    return copies.join(passing.select(F.col("clip_id").alias("copy_of")), on="copy_of", how="left_semi")


def _measured(clips: DataFrame, signals: DataFrame) -> DataFrame:
    return clips.select(*READ).join(signals.drop("fingerprint", "run_id"), on="clip_id", how="inner")


def _proxy(settings: Settings) -> Column:
    """The proxy that stages read; NULL where they read the clips themselves."""
    return F.col("proxy_uri") if settings.proxy.use else F.lit(None).cast("string")
