"""embed: clips, signals, copies -> embeddings"""

from __future__ import annotations

from jobs.config.arguments import StageOptions
from jobs.flow import gates
from jobs.flow.model_job import ModelJob
from jobs.flow.stage import Stage
from udfs import embed

Options = StageOptions  # this job takes no others


STAGE = Stage(
    "embed",
    table="embeddings",
    key="clip_id",
    source=gates.inputs,
    rows=embed.rows,
    params=lambda settings: settings.embed,
    resources=lambda settings: settings.embed.resources,
    duration="duration_s",
    num_bytes="num_bytes",
)
JOB = ModelJob(STAGE, "embed.model", lambda settings: embed.check(settings.embed, settings.models))
check, run = JOB.check, JOB.run


if __name__ == "__main__":
    from jobs.cli import script

    script("embed")
