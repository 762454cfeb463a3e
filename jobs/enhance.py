"""enhance: captions, clips -> enhanced"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.flow.model_job import ModelJob
from jobs.flow.stage import Stage
from jobs.lake.run import Run
from udfs import enhance

Options = StageOptions  # this job takes no others


def _captioned_clips(run: Run) -> DataFrame:
    """One row per captioned clip, with its captions in the order of their windows."""
    captions = F.struct("start_frame", "end_frame", "caption", "stage2_caption")
    made = run.made("captions").groupBy("clip_id").agg(F.array_sort(F.collect_list(captions)).alias("captions"))
    clips = run.current("clips").select("clip_id", "video_id", "duration_s")
    return made.join(clips, on="clip_id", how="inner")


STAGE = Stage(
    "enhance",
    table="enhanced",
    key="clip_id",
    source=_captioned_clips,
    rows=enhance.rows,
    params=lambda settings: settings.enhance,
    resources=lambda settings: settings.enhance.resources,
    duration="duration_s",
    cost=lambda clip, settings: float(len(clip["captions"])),
)
JOB = ModelJob(
    STAGE,
    "enhance.model_variant",
    lambda settings: enhance.check(settings.enhance, settings.models),
    runs_here=lambda settings: settings.enhance.engine != "openai",
)
check, run = JOB.check, JOB.run


if __name__ == "__main__":
    from jobs.cli import script

    script("enhance")
