"""caption: clips, signals, verdicts -> captions"""

from __future__ import annotations

import argparse
import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.gates import measured
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import caption
from udfs.models.registry import MissingModelError

log = logging.getLogger("reelmill")


def _wanted(run: Run) -> DataFrame:
    """The clips that filter kept, or every clip; what a model has to say of the rest would be thrown away."""
    clips = run.current("clips")
    if run.settings.caption.only_kept:
        kept = run.tables.read("verdicts").where(F.col("kept")).select("clip_id")
        clips = clips.join(kept, on="clip_id", how="left_semi")
    return measured(clips, run.made("signals"), run.settings)


STAGE = Stage(
    "caption",
    table="captions",
    key="clip_id",
    source=_wanted,
    rows=caption.rows,
    params=lambda settings: caption.Settings(settings.caption, settings.windows),
    resources=lambda settings: settings.caption.resources,
)


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a model that is not there, may not run, or cannot run as asked."""
    try:
        caption.check(settings.caption, settings.models)
    except MissingModelError as e:
        raise SettingsError(f"caption.model_variant: {e}") from e


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Describe every window of the clips that were kept and have no captions by these settings."""
    if run.settings.caption.only_kept and run.tables.read("verdicts").isEmpty():
        log.warning("caption: no verdicts yet, so no clip is known to be kept: run filter first, or set caption.only_kept=false")
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("caption")
