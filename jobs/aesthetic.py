"""aesthetic: clips, signals, copies -> aesthetics"""

from __future__ import annotations

from jobs.config.arguments import StageOptions
from jobs.flow import gates
from jobs.flow.model_job import ModelJob
from jobs.flow.stage import Stage
from udfs import aesthetic

Options = StageOptions  # this job takes no others


STAGE = Stage(
    "aesthetic",
    table="aesthetics",
    key="clip_id",
    source=gates.inputs,
    rows=aesthetic.rows,
    params=lambda settings: settings.aesthetic,
    resources=lambda settings: settings.aesthetic.resources,
    duration="duration_s",
    num_bytes="num_bytes",
)
JOB = ModelJob(STAGE, "aesthetic", lambda settings: aesthetic.check(settings.aesthetic, settings.models))
check, run = JOB.check, JOB.run


if __name__ == "__main__":
    from jobs.cli import script

    script("aesthetic")
