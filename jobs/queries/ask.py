"""Ask questions of a run's output while the run goes on: by DuckDB, and by Spark what DuckDB cannot answer."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jobs.config.errors import CommandError

if TYPE_CHECKING:  # `sql` starts no Spark to ask whether it can do without
    from jobs.lake.run import Run

Ask = Callable[[str], list[tuple[Any, ...]]]  # Spark's SQL over tables and views -> rows


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


def is_installed() -> bool:
    """Whether DuckDB and what opens Delta tables for it are installed."""
    return find_spec("duckdb") is not None and find_spec("deltalake") is not None


def _by_spark(run: Run) -> Ask:
    from jobs.lake import answers

    answers.register_views(run)
    return lambda query: [tuple(row) for row in run.spark.sql(query).collect()]
