"""align: captions, clips, embeddings -> alignments"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.flow.model_job import ModelJob
from jobs.flow.stage import Stage
from jobs.lake.run import Run
from udfs import align

Options = StageOptions  # this job takes no others


def _captioned_clips(run: Run) -> DataFrame:
    """One row per clip that has a vector and captions, with its captions in the order of their windows."""
    captions = F.array_sort(F.collect_list(F.struct("start_frame", "caption", "stage2_caption")))
    captioned = run.made("captions").groupBy("clip_id").agg(captions.alias("captions"))
    clips = run.current("clips").select("clip_id", "video_id", "duration_s")
    vectors = run.made("embeddings").select("clip_id", "model", "vector")
    return captioned.join(clips, on="clip_id", how="inner").join(vectors, on="clip_id", how="inner")


STAGE = Stage(
    "align",
    table="alignments",
    key="clip_id",
    source=_captioned_clips,
    rows=align.rows,
    params=lambda settings: settings.embed,
    resources=lambda settings: settings.embed.resources,
    duration="duration_s",
    cost=lambda clip, settings: float(len(clip["captions"])),
)
JOB = ModelJob(STAGE, "embed.model", lambda settings: align.check(settings.embed, settings.models))
check, run = JOB.check, JOB.run


if __name__ == "__main__":
    from jobs.cli import script

    script("align")
