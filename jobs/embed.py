"""embed: clips, signals, copies -> embeddings"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.gates import passing
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import embed
from udfs.models.registry import MissingModelError


def _inputs(run: Run) -> DataFrame:
    return passing(run.current("clips"), run.made("signals"), run.made("copies"), run.settings)


STAGE = Stage(
    "embed",
    table="embeddings",
    key="clip_id",
    source=_inputs,
    rows=embed.rows,
    params=lambda settings: settings.embed,
    resources=lambda settings: settings.embed.resources,
)


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a model that is not there, may not run, or cannot do what is asked of it."""
    try:
        embed.check(settings.embed, settings.models)
    except MissingModelError as e:
        raise SettingsError(f"embed.model: {e}") from e


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Embed every clip that passes the gates and has no vector by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("embed")
