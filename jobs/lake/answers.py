"""The views in Spark, by the settings that last made their rows, and answers as text."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake import formats, last_run, views
from jobs.lake.catalog import literal, quoted
from jobs.lake.formats import Answer
from jobs.lake.run import Run
from jobs.lake.views import View
from schemas import TABLES


def register_views(run: Run, reduction: str | None = None) -> None:
    """Make the views of the rows that the settings of the last run made; `reduction` wins over that of the last run."""
    register(replace(run, recorded=recorded(run)), reduction or run.last.reduction)


def register(run: Run, reduction: str | None = None) -> None:
    """Make the views of this output in the run's session; they cost nothing until they are queried.

    `reduction` is filter.aesthetic_reduction, instead of that of the run.
    """
    for name in TABLES:
        run.tables.read(name).createOrReplaceTempView(name)
    found = views.every(run.fingerprint)
    names = {name: quoted(name) for name in (*TABLES, *(view.name for view in found))}
    reduction = reduction or run.settings.filter.aesthetic_reduction
    for view in found:
        _commented(run.spark.sql(view.query(names, reduction)), view).createOrReplaceTempView(view.name)


def publish(run: Run) -> None:
    """Make the views permanent in the run's schema, over its tables, with the comments of their columns."""
    schema = run.schema
    assert schema is not None
    make_tables(run)
    found = views.every(run.fingerprint)
    names = {name: schema.of(name) for name in (*TABLES, *(view.name for view in found))}
    for view in found:
        columns = ", ".join(f"{quoted(name)} COMMENT {literal(comment)}" for name, comment in view.columns.items())
        comment = f"COMMENT {literal(view.about)}"
        query = view.query(names, run.last.reduction or run.settings.filter.aesthetic_reduction)
        run.spark.sql(f"CREATE OR REPLACE VIEW {names[view.name]} ({columns}) {comment} AS {query}")


def make_tables(run: Run) -> None:
    """Make the tables that are not there yet, which the views of a schema name, too."""
    for name in TABLES:
        run.tables.make(name)


def recorded(run: Run) -> dict[str, str]:
    """The fingerprint with which each stage last ran here."""
    return {stage: fingerprint for stage, fingerprint in run.last.fingerprints.items() if stage != last_run.CHAIN}


def text(answer: DataFrame) -> str:
    """An answer as a plain table of at most MAX_ROWS rows, with control characters escaped."""
    rows = answer.limit(formats.MAX_ROWS + 1).toArrow()
    return "\n".join(formats.table(Answer(answer.columns, formats.plain_rows(rows.to_batches()))))


def _commented(rows: DataFrame, view: View) -> DataFrame:
    """The rows of a view, whose columns carry their comments."""
    return rows.select(*(F.col(name).alias(name, metadata={"comment": text}) for name, text in view.columns.items()))
