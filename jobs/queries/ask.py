"""Ask questions of a run's output while the run goes on: by DuckDB, and by Spark what DuckDB cannot answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jobs.config.errors import CommandError
from schemas import knowing
from udfs.storage.settings import Params as Sources

if TYPE_CHECKING:  # `sql` starts no Spark to ask whether it can do without
    from jobs.lake.run import Run

Ask = Callable[[str], list[tuple[Any, ...]]]  # Spark's SQL over tables and views -> rows
SESSIONS = ("PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION")  # set by spark-submit, and by Databricks


def asker(run: Run, *, at_once: bool = False) -> Ask:
    """What answers queries by the settings of each stage's last run: a hundredth of Spark's time where DuckDB can.

    `at_once` as of `by_duckdb`.
    """
    if needs_spark(run.output, run.schema):
        return _by_spark(run)
    from jobs.queries.dialect import UntranslatedError

    try:
        quickly = by_duckdb(run.output, run.settings.sources, at_once=at_once)
    except CommandError:
        return _by_spark(run)

    def ask(query: str) -> list[tuple[Any, ...]]:
        try:
            return quickly(query)
        except (UntranslatedError, CommandError):  # a store may have failed once, and Spark tries again
            return _by_spark(run)(query)

    return ask


def by_duckdb(output: str, sources: Sources, reduction: str | None = None, *, at_once: bool = False) -> Ask:
    """What answers queries without Spark; `at_once` over the tables as they are now, for many queries that must agree.

    `reduction` is filter.aesthetic_reduction for the views; without it they go by the last run of `filter`.
    Its answers raise UntranslatedError where only Spark may answer, and UsageError where the query is wrong.
    """
    from jobs.queries import duckdb_engine, statement
    from jobs.queries.dialect import UntranslatedError

    engine = duckdb_engine.Engine(output, sources, reduction)
    if at_once:
        with suppress(UntranslatedError):  # of a table that perhaps no query needs
            engine = engine.opened()
    return lambda query: [tuple(row) for row in engine.answer(statement.parse(query)).rows]


def needs_spark(output: str, schema: object, *, joins_session: bool = False) -> str | None:
    """Why only Spark can answer; None if DuckDB may.

    With `joins_session`, a session that is there answers, as below spark-submit.
    """
    if schema is not None:
        return "Spark reads the tables of a catalog (--schema)"
    if output.startswith("dbfs:"):
        return "Spark reads dbfs:/"
    if joins_session and any(name in os.environ for name in SESSIONS):
        return "its session is there"
    if not is_installed():
        return "DuckDB and deltalake are not installed here: pip install 'reelmill[sql]'"
    return None


def check_query(option: str, text: str, output: str, schema: object, sources: Sources) -> None:
    """Refuse, before Spark starts, what an option or a file gives and is no query over tables and views.

    Names that only Spark knows are checked once it is there.

    Raises:
        UsageError: it is none; the text begins with `option`.
    """
    from jobs.queries import statement

    if needs_spark(output, schema):
        statement.query_of(option, text, catalog=True)
        return
    from jobs.queries import delta_source

    with knowing(delta_source.custom_tables(output, sources)):
        statement.query_of(option, text)


def say_spark(reason: str, instead: str = "") -> None:
    """Say on standard error why Spark answers."""
    print(f"reelmill: Spark answers{instead}: {reason}", file=sys.stderr, flush=True)


def is_installed() -> bool:
    """Whether DuckDB and what opens Delta tables for it are installed."""
    return find_spec("duckdb") is not None and find_spec("deltalake") is not None


def _by_spark(run: Run) -> Ask:
    from jobs.lake import answers
    from jobs.queries import spark_engine, statement

    answers.register_views(run)

    def ask(query: str) -> list[tuple[Any, ...]]:
        asked = statement.query_of("the query", query, catalog=run.schema is not None)
        with spark_engine.no_files(run.spark):
            rows = run.spark.sql(asked.text)
        return [tuple(row) for row in rows.collect()]

    return ask
