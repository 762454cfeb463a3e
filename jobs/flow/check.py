"""Prove that nothing is left to do and that no row is there twice, by looking at every row; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyspark.sql import functions as F

from jobs.flow import stage
from jobs.flow.stage import Stage
from jobs.lake.owners import owners
from jobs.lake.run import Run
from schemas import TABLES
from udfs.core.words import counted

ONCE = ("videos", "verdicts", "duplicates")  # tables whose rows have a key and settings of their own, beside `owners`


def findings(run: Run, steps: Iterable[Stage]) -> Iterator[str]:
    """What is not as it should be, each in words."""
    for step in steps:
        if count := stage.pending(run, step).count():
            yield f"{counted(count, 'input')} of {step.name} pending"
    for name in filter(run.tables.exists, (*ONCE, *owners())):
        keys = [*TABLES[name].key, "fingerprint"]
        if count := run.tables.read(name).groupBy(*keys).count().where(F.col("count") > 1).count():
            yield f"{counted(count, 'row')} of {name} there more than once"
    yield from without_video(run)


def without_video(run: Run) -> Iterator[str]:
    """A video whose row is gone would be taken for a new one, and its rows would be there twice."""
    if not run.tables.exists("spans"):
        return
    videos = run.tables.read("videos").select("video_id")
    if count := run.tables.read("spans").join(videos, on="video_id", how="left_anti").count():
        yield f"{counted(count, 'span')} of videos that have no row"
