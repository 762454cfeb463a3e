"""Answer queries by Spark, over the tables and views of a run's output or schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.config.errors import UsageError
from jobs.lake import answers
from jobs.lake.catalog import MESSAGE
from jobs.lake.formats import Answer, plain_rows
from jobs.lake.run import Run
from jobs.queries import statement
from jobs.queries.statement import Statement
from udfs.core.words import did_you_mean

FILES = "spark.sql.runSQLOnFiles"  # names such as parquet.`/path` in FROM


class Engine:
    """Spark over the output of a run; the views go by the settings of the last run when it is made.

    `reduction` is filter.aesthetic_reduction instead of that of the last run.
    """

    def __init__(self, run: Run, reduction: str | None = None) -> None:
        self.spark = run.spark
        answers.register_views(run, reduction)

    def answer(self, asked: Statement, limit: int | None = None) -> Answer:
        """The rows of a query, of DESCRIBE or of SHOW.

        Raises:
            UsageError: Spark refuses the query.
        """
        try:
            rows = self.rows(asked)
            with _errors(asked):
                batches = (rows.limit(limit) if limit else rows).toArrow().to_batches()
        except KeyboardInterrupt:
            self.spark.sparkContext.cancelAllJobs()
            raise
        if asked.kind == "query":
            return Answer(statement.heads(asked.query, rows.columns), plain_rows(batches))
        found = [*plain_rows(batches)]
        if asked.kind == "describe" and asked.query is not None:
            names = statement.heads(asked.query, [str(row[0]) for row in found])
            found = [(name, *row[1:]) for name, row in zip(names, found, strict=True)]
        return Answer(rows.columns, found)

    def rows(self, asked: Statement) -> DataFrame:
        """A query as a DataFrame.

        Raises:
            UsageError: Spark refuses the query.
        """
        with no_files(self.spark), _errors(asked):
            return self.spark.sql(asked.text)

    def explained(self, asked: Statement) -> str:
        """How Spark would answer a query."""
        with no_files(self.spark), _errors(asked):
            [[plan]] = self.spark.sql(asked.text).collect()
        return str(plan).rstrip()


@contextmanager
def no_files(spark: SparkSession) -> Iterator[None]:
    """Let no query that is planned meanwhile name a file in place of a table."""
    before = spark.conf.get(FILES)
    spark.conf.set(FILES, "false")
    try:
        yield
    finally:
        spark.conf.set(FILES, str(before))


@contextmanager
def _errors(asked: Statement) -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JJavaError, ValueError) as e:  # the last: Arrow lacks a type
        raise UsageError(f"sql: {_line(e, asked)}") from e


def _line(error: Exception, asked: Statement) -> str:
    if isinstance(error, PySparkException) and (error.getCondition() or "").startswith("UNRESOLVED_COLUMN"):
        name = str((error.getMessageParameters() or {}).get("objectName", "")).replace("`", "")
        names = {asked.name} if asked.name else statement.tables(asked.query) if asked.query else set()
        known = statement.columns({*filter(None, names)})
        return f"no column {name}{did_you_mean(name.rpartition('.')[2].lower(), known)}"
    message = MESSAGE.search(str(error))
    return message[0] if message else str(error).strip().splitlines()[0]
