"""The tables of the user's own stages: those that the settings declare, and those that lie in an output."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from jobs.config.settings import Settings
from jobs.lake.run import Run
from schemas import TABLES, custom
from schemas.table import Table
from udfs.custom import table


def declared(settings: Settings) -> list[Table]:
    """The tables of the stages that the settings name."""
    return [table(name, params) for name, params in settings.custom.items()]


def make(run: Run) -> None:
    """Make the tables of the stages that the settings name: by these, readers without the settings know the scores."""
    for name in run.settings.custom:
        if not run.tables.exists(name):
            run.tables.make(name)


def known(run: Run) -> list[Table]:
    """The tables that the settings declare, and those of stages that once ran here."""
    ours = declared(run.settings)
    names = {*TABLES, *(table.name for table in ours)}
    return [*ours, *(found for name in run.tables.listed() if name not in names and (found := _found(run, name)))]


def _found(run: Run, name: str) -> Table | None:
    """The declaration of a table that lies in an output; None if no stage filled it."""
    if not run.tables.exists(name):
        return None
    rows = run.spark.read.table(run.tables.sql(name))
    if not {*custom.OURS} <= {*rows.columns}:
        return None
    detail = run.spark.sql(f"DESCRIBE DETAIL {run.tables.sql(name)}").select("description").first()
    return custom.stored(name, _with_comments(rows.schema), (detail and detail["description"]) or "")


def _with_comments(schema: StructType) -> pa.Schema:
    """The columns as a declaration has them."""
    types = to_arrow_schema(schema)
    comments = ((field.metadata or {}).get("comment", "") for field in schema)
    return pa.schema(types.field(i).with_metadata({"comment": text}) for i, text in enumerate(comments))
