"""split: videos -> spans"""

from __future__ import annotations

from typing import Any

from jobs.config.arguments import StageOptions
from jobs.config.settings import Settings
from jobs.flow.model_job import ModelJob
from jobs.flow.stage import Stage
from udfs import split
from udfs.core import media_cost
from udfs.core.task_resources import Resources

Options = StageOptions  # this job takes no others


def _cost(video: dict[str, Any], settings: Settings) -> float:
    return float(video["duration_s"]) if settings.split.method == "fixed_stride" else media_cost.decoding(video)


STAGE = Stage(
    "split",
    table="spans",
    key="video_id",
    source=lambda run: run.current("videos").drop("attributes", "fingerprint", "run_id"),
    rows=split.rows,
    params=lambda settings: settings.split,
    resources=lambda settings: settings.split.resources if settings.split.method == "transnetv2" else Resources(),
    duration="duration_s",
    num_bytes="size",
    cost=_cost,
)


def _check_network(settings: Settings) -> None:
    """Load the path of the network's weights, where the method needs them."""
    if settings.split.method == "transnetv2":
        from udfs.shots import transnet

        transnet.weights_path()


JOB = ModelJob(STAGE, "split.method", _check_network, runs_here=lambda settings: settings.split.method == "transnetv2")
check, run = JOB.check, JOB.run


if __name__ == "__main__":
    from jobs.cli import script

    script("split")
