"""Statements that make a declared table, or bring one of an older release up to date."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import partial

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from jobs.lake.catalog import literal, quoted
from jobs.lake.commits import retried
from jobs.lake.declared import as_declared, column_ddl, struct_type
from schemas import PRIVATE, declaration

log = logging.getLogger("reelmill")

PROPERTIES = {"delta.enableDeletionVectors": "false"}  # so that every reader of Delta can read the tables
NUM_WITH_STATISTICS = "delta.dataSkippingNumIndexedCols"
# The least and greatest value per file, by which files are skipped. Of all columns they take a third of the time in
# which rows are written, and those of scores skip nothing: a file has clips of all kinds.
STATISTICS = "delta.dataSkippingStatsColumns"
WITH_STATISTICS = {"uri", "video_uri", "fingerprint", "version", "dedup_run", "stage", "started_at", "failed_at"}
CHECK = "delta.constraints."  # before the name of a constraint, in a table's properties


def create(spark: SparkSession, name: str, sql: str, located: str) -> None:
    """Make a table unless it exists; `sql` is its name in SQL, `located` the clause that says where it lies."""
    table = declaration(name)
    columns = ", ".join(column_ddl(column, nullable=column.nullable) for column in struct_type(table.schema))
    laid_out = f" CLUSTER BY ({table.cluster_by})" if table.cluster_by else ""
    laid_out += f" PARTITIONED BY ({table.partition_by})" if table.partition_by else ""
    properties = PROPERTIES | _statistics(name)
    properties |= {f"{CHECK}{check}": condition for check, condition in table.checks.items()}
    query = (
        f"CREATE TABLE IF NOT EXISTS {sql} ({columns}) USING delta{laid_out}{located} "
        f"COMMENT {literal(table.about)} TBLPROPERTIES ({_listed(properties)})"
    )
    retried(partial(spark.sql, query))


def upgrade(spark: SparkSession, name: str, sql: str) -> None:
    """Add the columns that a table lacks, and the checks that its rows pass.

    Raises:
        TableError: a column is of another type.
    """
    rows = spark.read.table(sql)
    as_declared(name, rows)
    missing = [
        column_ddl(column, nullable=True)
        for column in struct_type(declaration(name).schema)
        if column.name not in rows.columns
    ]
    if missing:
        retried(partial(spark.sql, f"ALTER TABLE {sql} ADD COLUMNS ({', '.join(missing)})"))
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {sql}").collect()}
    if not properties.keys() & {STATISTICS, NUM_WITH_STATISTICS}:
        retried(partial(spark.sql, f"ALTER TABLE {sql} SET TBLPROPERTIES ({_listed(_statistics(name))})"))
    for old in declaration(name).renamed.values():
        if old in rows.columns:
            _release(spark, sql, old, properties)
    for check in declaration(name).checks:
        if f"{CHECK}{check}" not in properties:
            _add_check(spark, name, sql, check)


def _statistics(name: str) -> dict[str, str]:
    """The property that names the columns with statistics: keys, ids, and what else files are skipped by."""
    if name in PRIVATE:
        return {NUM_WITH_STATISTICS: "0"}  # so that no table's log has the least and greatest of secrets
    table = declaration(name)
    named = {*table.key, table.cluster_by} | WITH_STATISTICS
    names = (c for c in table.schema.names if (c in named or c.endswith("_id")) and c != table.partition_by)
    return {STATISTICS: ",".join(map(quoted, names))}


def _listed(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{literal(key)} = {literal(value)}" for key, value in properties.items())


def _release(spark: SparkSession, sql: str, column: str, properties: Mapping[str, str]) -> None:
    """Let new rows leave out a column that has another name now; old rows keep it, and `as_declared` reads both."""
    retried(partial(spark.sql, f"ALTER TABLE {sql} ALTER COLUMN {quoted(column)} DROP NOT NULL"))
    for key, condition in properties.items():
        if key.startswith(CHECK) and re.search(rf"\b{column}\b", condition):
            retried(partial(spark.sql, f"ALTER TABLE {sql} DROP CONSTRAINT {quoted(key.removeprefix(CHECK))}"))


def _add_check(spark: SparkSession, name: str, sql: str, check: str) -> None:
    condition = declaration(name).checks[check]
    try:
        retried(partial(spark.sql, f"ALTER TABLE {sql} ADD CONSTRAINT {quoted(check)} CHECK ({condition})"))
    except AnalysisException as e:
        if "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION" not in str(e):
            raise
        log.warning("table %s: not checked for %s, which rows of an older release break", name, condition)
