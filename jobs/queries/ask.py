"""Ask questions of a run's output while the run goes on: by DuckDB, and by Spark what DuckDB cannot answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jobs.config.arguments import OutputOptions
from jobs.config.errors import CommandError

if TYPE_CHECKING:  # `sql` starts no Spark to ask whether it can do without
    from jobs.lake.run import Run

Ask = Callable[[str], list[tuple[Any, ...]]]  # Spark's SQL over tables and views -> rows
SESSIONS = ("PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION")  # set by spark-submit, and by Databricks


def asker(run: Run) -> Ask:
    """What answers queries by the settings of each stage's last run: a hundredth of Spark's time where DuckDB can."""
    if run.schema is not None or run.output.startswith("dbfs:") or not is_installed():
        return _by_spark(run)
    from jobs.queries import duckdb_engine, statement
    from jobs.queries.dialect import UntranslatedError

    engine = duckdb_engine.Engine(run.output, run.settings.sources, run.settings.filter.aesthetic_reduction)

    def ask(query: str) -> list[tuple[Any, ...]]:
        try:
            return [tuple(row) for row in engine.answer(statement.parse(query)).rows]
        except (UntranslatedError, CommandError):  # a store may have failed once, and Spark tries again
            return _by_spark(run)(query)

    return ask


def needs_spark(options: OutputOptions, *, joins_session: bool = True) -> str | None:
    """Why only Spark can answer, by the command line alone; None if DuckDB may.

    A session that is there, as below spark-submit, answers unless `joins_session` is false.
    """
    if options.schema is not None:
        return "Spark reads the tables of a catalog (--schema)"
    if options.output.startswith("dbfs:"):
        return "Spark reads dbfs:/"
    if joins_session and any(name in os.environ for name in SESSIONS):
        return "its session is there"
    if not is_installed():
        return "DuckDB and deltalake are not installed here: pip install 'reelmill[sql]'"
    return None


def say_spark(reason: str, instead: str = "") -> None:
    """Say on standard error why Spark answers."""
    print(f"reelmill: Spark answers{instead}: {reason}", file=sys.stderr, flush=True)


def is_installed() -> bool:
    """Whether DuckDB and what opens Delta tables for it are installed."""
    return find_spec("duckdb") is not None and find_spec("deltalake") is not None


def _by_spark(run: Run) -> Ask:
    from jobs.lake import answers

    answers.register_views(run)
    return lambda query: [tuple(row) for row in run.spark.sql(query).collect()]
