"""clip: spans, videos -> clips"""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import clip
from udfs.core import media_cost
from udfs.video import encoder_options, mp4_writer, nvdec

Options = StageOptions  # this job takes no others

SPAN = ("clip_id", "start_s", "end_s", "start_frame", "end_frame", "num_frames", "held_s")
VIDEO = (
    "video_id",
    "uri",
    "source_version",
    "size",
    "video_s",
    "width",
    "height",
    "framerate",
    "bit_rate_k",
    "video_codec",
    "audio_codec",
    "rotation",
    "is_hdr",
    "start_time_s",
    "clock_breaks",
    "reorder_s",
    "timing",
)


def check(options: Options, settings: Settings) -> None:
    """Encode one frame: whether an encoder works on this machine shows only when it is opened.

    The workers try NVENC, since they may be the only machines with a GPU; its fallback must work everywhere.
    """
    params: encoder_options.Params = settings.clip
    if params.encoder == encoder_options.NVENC:
        if not params.fallback:
            return
        params = encoder_options.fallback_params(params)
    try:
        mp4_writer.check_encoder(params)
    except mp4_writer.EncoderError as e:
        raise SettingsError(f"clip.encoder: {e}") from e


def _spans(run: Run) -> DataFrame:
    videos = run.rows("videos").withColumnRenamed("duration_s", "video_s").select(*VIDEO)
    return run.current("spans").select("video_id", *SPAN).join(videos, on="video_id", how="inner")


def _units(spans: DataFrame, settings: Settings) -> DataFrame:
    """One row per stretch of a video, whose spans are cut in one pass; a long film has many stretches."""
    stretch = F.floor(F.col("start_s") / settings.clip.unit_s)
    return (
        spans.groupBy(*VIDEO, "fingerprint", stretch.alias("stretch"))
        .agg(
            F.array_sort(F.collect_list(F.struct("start_s", *(c for c in SPAN if c != "start_s")))).alias("spans"),
            (F.max("end_s") - F.min("start_s")).alias("duration_s"),
        )
        .withColumn("num_bytes", (F.col("size") * F.col("duration_s") / F.col("video_s")).cast("bigint"))
        .drop("stretch", "size", "video_s")
    )


def _cost(unit: dict[str, Any], settings: Settings) -> float:
    if settings.clip.mode == "copy":
        return media_cost.copying(unit)
    return media_cost.transcoding(unit, settings.clip.encoder)


STAGE = Stage(
    "clip",
    table="clips",
    key="clip_id",
    source=_spans,
    units=_units,
    rows=clip.rows,
    params=lambda settings: settings.clip,
    resources=lambda settings: nvdec.gpu_resources(settings.clip.resources, settings.clip.on_gpu),
    duration="duration_s",
    num_bytes="num_bytes",
    cost=_cost,
)


def run(run: Run, options: Options) -> Counts:
    """Cut every span that has no clip with these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    from jobs.cli import script

    script("clip")
