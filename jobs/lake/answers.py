"""Queries over an output's tables and views by Spark: by the settings that last made them, and as text."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame

from jobs.lake import formats, last_run, views
from jobs.lake.formats import Answer
from jobs.lake.run import Run


def register_views(run: Run) -> None:
    """Make the views of the rows that the settings of the last run made."""
    views.register(replace(run, recorded=recorded(run)))


def recorded(run: Run) -> dict[str, str]:
    """The fingerprint with which each stage last ran here."""
    return {stage: fingerprint for stage, fingerprint in run.last.fingerprints.items() if stage != last_run.CHAIN}


def text(answer: DataFrame) -> str:
    """An answer as a plain table of at most MAX_ROWS rows, with control characters escaped."""
    rows = answer.limit(formats.MAX_ROWS + 1).toArrow()
    return "\n".join(formats.table(Answer(answer.columns, formats.plain_rows(rows.to_batches()))))
