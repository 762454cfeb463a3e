"""split: videos -> spans"""

from __future__ import annotations

import argparse

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import split
from udfs.core.task_resources import Resources
from udfs.models.checkpoints import MissingModelError

STAGE = Stage(
    "split",
    table="spans",
    key="video_id",
    source=lambda run: run.current("videos").drop("attributes", "fingerprint", "run_id"),
    rows=split.rows,
    params=lambda settings: settings.split,
    resources=lambda settings: settings.split.resources if settings.split.method == "transnetv2" else Resources(),
)


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a method whose package is not installed."""
    if settings.split.method != "transnetv2":
        return
    from udfs.shots import transnet

    try:
        transnet.weights_path()
    except MissingModelError as e:
        raise SettingsError(f"split.method: {e}") from e


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Find the spans of every video that has none by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("split")
