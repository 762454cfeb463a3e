"""enhance: captions -> enhanced"""

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
    """One row per clip, with its captions in the order of their windows."""
    captions = F.struct("start_frame", "end_frame", "caption", "stage2_caption")
    return run.current("captions").groupBy("clip_id").agg(F.array_sort(F.collect_list(captions)).alias("captions"))


STAGE = Stage(
    "enhance",
    table="enhanced",
    key="clip_id",
    source=_captioned_clips,
    rows=enhance.rows,
    params=lambda settings: settings.enhance,
    wave="clip_id",
    resources=lambda settings: settings.enhance.resources,
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
