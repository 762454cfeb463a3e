"""Queries over an output's tables and views: by the settings that last made them, and as text."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from pyspark.sql import DataFrame

from jobs.config.errors import UsageError
from jobs.lake import views
from jobs.lake.run import Run
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources

MAX_ROWS = 1000
MAX_WIDTH = 80  # characters of a cell; a cell without blanks, such as a path, is shown whole


def check_tables(output: str, schema: str | None, sources: Sources) -> None:
    """Refuse an output that holds no tables; the tables of a schema are looked for later, by Spark.

    Raises:
        UsageError: there are none.
    """
    if not schema and not media_store.holds(f"{output}/tables", sources):
        raise UsageError(f"--output {output}: no tables here")


def register_views(run: Run) -> None:
    """Make the views of the rows that the settings of the last run made."""
    views.register(replace(run, recorded=recorded(run)))


def recorded(run: Run) -> dict[str, str]:
    """The fingerprint with which each stage last ran here."""
    return run.last.fingerprints


def text(answer: DataFrame) -> str:
    """An answer as a plain table of at most MAX_ROWS rows, with control characters escaped."""
    rows = [[cell(value) for value in row] for row in answer.take(MAX_ROWS + 1)]
    table = pd.DataFrame(rows[:MAX_ROWS], columns=answer.columns)
    if table.empty:
        return "  ".join(answer.columns) + "\n(no rows)"
    more = f"\n(more than {MAX_ROWS} rows: add a LIMIT or read the tables)" if len(rows) > MAX_ROWS else ""
    return table.to_string(index=False, max_colwidth=None) + more


def cell(value: object) -> str:
    """A value in one line, prose cut to MAX_WIDTH."""
    shown = f"{value:.6g}" if isinstance(value, float) else "NULL" if value is None else str(value)
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return f"{escaped[: MAX_WIDTH - 3]}..." if len(escaped) > MAX_WIDTH and " " in escaped else escaped
