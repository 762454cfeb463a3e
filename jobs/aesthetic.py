"""aesthetic: clips, signals, copies -> aesthetics"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.gates import passing
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import aesthetic
from udfs.models.registry import MissingModelError


def _inputs(run: Run) -> DataFrame:
    return passing(run.current("clips"), run.made("signals"), run.made("copies"), run.settings)


STAGE = Stage(
    "aesthetic",
    table="aesthetics",
    key="clip_id",
    source=_inputs,
    rows=aesthetic.rows,
    params=lambda settings: settings.aesthetic,
    resources=lambda settings: settings.aesthetic.resources,
)


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a model that is not there."""
    try:
        aesthetic.check(settings.aesthetic, settings.models)
    except MissingModelError as e:
        raise SettingsError(f"aesthetic: {e}") from e


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Score every clip that passes the gates and has no score by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("aesthetic")
