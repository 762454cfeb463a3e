"""sql: every table and view -> the answer to a query"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import pandas as pd
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli
from jobs.config.settings import Settings
from jobs.lake import views
from jobs.lake.run import Run
from udfs.storage import media_store

SHOWN = 1000  # rows
WIDTH = 80  # characters of a cell; what has no blanks, such as a path, is shown whole


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse an output that holds no tables."""
    if not options.schema and not media_store.holds(f"{options.output}/tables", settings.sources):
        raise cli.UsageError(f"--output {options.output}: no tables here")


def run(run: Run, options: argparse.Namespace) -> None:
    """Print the answer to a query over the tables and views, as the last run's settings left them."""
    views_of(run)
    try:
        answer = run.spark.sql(options.query)
    except (ParseException, AnalysisException) as e:
        raise cli.UsageError(str(e).splitlines()[0]) from e
    print(text(answer), file=sys.stdout)


def views_of(run: Run) -> None:
    """Make the views of what the last run's settings count in."""
    views.register(replace(run, recorded=recorded(run)))


def recorded(run: Run) -> dict[str, str]:
    """Each stage's fingerprint as it last ran here."""
    last = run.tables.read("runs").groupBy("stage").agg(F.max_by("fingerprint", "started_at").alias("fingerprint"))
    return {row["stage"]: row["fingerprint"] for row in last.collect()}


def text(answer: DataFrame) -> str:
    """An answer as a plain table, at most SHOWN rows of it; control characters from captions or titles are escaped."""
    rows = [[_cell(value) for value in row] for row in answer.take(SHOWN + 1)]
    table = pd.DataFrame(rows[:SHOWN], columns=answer.columns)
    if table.empty:
        return "  ".join(answer.columns) + "\n(no rows)"
    more = f"\n(more than {SHOWN} rows: add a LIMIT or read the tables)" if len(rows) > SHOWN else ""
    return table.to_string(index=False, max_colwidth=None) + more


def _cell(value: object) -> str:
    shown = f"{value:.6g}" if isinstance(value, float) else "NULL" if value is None else str(value)
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return f"{escaped[: WIDTH - 3]}..." if len(escaped) > WIDTH and " " in escaped else escaped


if __name__ == "__main__":
    cli.script("sql")
