"""caption: clips, signals, verdicts -> captions"""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.flow.gates import measured
from jobs.flow.model_job import ModelJob
from jobs.flow.stage import Stage
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import caption

log = logging.getLogger("reelmill")

Options = StageOptions  # this job takes no others


def _inputs(run: Run) -> DataFrame:
    """The clips that filter kept, or all clips: captions of dropped clips would not be used."""
    clips = run.current("clips")
    if run.settings.caption.only_kept:
        kept = run.rows("verdicts").where(F.col("kept")).select("clip_id")
        clips = clips.join(kept, on="clip_id", how="left_semi")
    return measured(clips, run.made("signals"), run.settings)


STAGE = Stage(
    "caption",
    table="captions",
    key="clip_id",
    source=_inputs,
    rows=caption.rows,
    params=lambda settings: caption.Settings(settings.caption, settings.windows),
    resources=lambda settings: settings.caption.resources,
    duration="duration_s",
    num_bytes="num_bytes",
)
JOB = ModelJob(
    STAGE,
    "caption.model_variant",
    lambda settings: caption.check(settings.caption, settings.models),
    runs_here=lambda settings: settings.caption.engine != "openai",
)
check = JOB.check


def run(run: Run, options: Options) -> Counts:
    """Describe every window of the kept clips that have no captions by the current settings."""
    if run.settings.caption.only_kept and run.part is None and run.tables.read("verdicts").isEmpty():
        log.warning(
            "caption: no verdicts yet, so no clip counts as kept: run filter first, or set caption.only_kept=false"
        )
    return JOB.run(run, options)


if __name__ == "__main__":
    from jobs.cli import script

    script("caption")
