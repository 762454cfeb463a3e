"""enhance: captions -> enhanced"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import enhance
from udfs.models.registry import MissingModelError


def _described(run: Run) -> DataFrame:
    """One row a clip, with the captions of its windows in their order."""
    captions = F.struct("start_frame", "end_frame", "caption", "stage2_caption")
    return run.current("captions").groupBy("clip_id").agg(F.array_sort(F.collect_list(captions)).alias("captions"))


STAGE = Stage(
    "enhance",
    table="enhanced",
    key="clip_id",
    source=_described,
    rows=enhance.rows,
    params=lambda settings: settings.enhance,
    wave="clip_id",
    resources=lambda settings: settings.enhance.resources,
)


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a model that is not there, may not run, or cannot run as asked."""
    try:
        enhance.check(settings.enhance, settings.models)
    except MissingModelError as e:
        raise SettingsError(f"enhance.model_variant: {e}") from e


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Rewrite every caption that counts and has no better version by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("enhance")
