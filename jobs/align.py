"""align: captions, embeddings -> alignments"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli
from jobs.config.settings import Settings, SettingsError
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import align
from udfs.models.registry import MissingModelError


def _described(run: Run) -> DataFrame:
    """One row a clip that has a vector, with the captions of its windows in their order."""
    captions = F.array_sort(F.collect_list(F.struct("start_frame", "caption", "stage2_caption")))
    described = run.current("captions").groupBy("clip_id").agg(captions.alias("captions"))
    return described.join(run.current("embeddings").select("clip_id", "model", "vector"), on="clip_id", how="inner")


STAGE = Stage(
    "align",
    table="alignments",
    key="clip_id",
    source=_described,
    rows=align.rows,
    params=lambda settings: settings.embed,
    wave="clip_id",
    resources=lambda settings: settings.embed.resources,
)


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse a model of pictures only, one that is not there, or one that may not run."""
    try:
        align.check(settings.embed, settings.models)
    except MissingModelError as e:
        raise SettingsError(f"embed.model: {e}") from e


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Compare every caption that counts with the vector of its clip, as far as there is one by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("align")
