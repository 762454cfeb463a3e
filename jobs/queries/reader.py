"""An output that a command puts several questions to: by DuckDB without a JVM, or by Spark."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.config.arguments import OutputOptions
from jobs.config.errors import UsageError
from jobs.queries.ask import needs_spark, say_spark
from schemas import knowing
from udfs.core import program
from udfs.storage.settings import Params as Sources

if TYPE_CHECKING:  # commands that only read start no Spark
    import duckdb

    from jobs.lake.run import Run
    from jobs.queries.duckdb_engine import Snapshot

Row = dict[str, Any]
Rows = Callable[[str], Iterable[Row]]  # Spark's SQL over tables and views -> rows of plain values
Options = TypeVar("Options", bound=OutputOptions)


@dataclass(frozen=True)
class Reader:
    """An output, and what answers queries over its tables and views."""

    output: str
    named: str  # the output as the user named it
    sources: Sources
    reduction: str | None  # filter.aesthetic_reduction, for the views; None: as in the last run of filter
    rows: Rows
    schema: str | None = None

    def command(self, job: str) -> str:
        """The command line that runs a job on this output, without the arguments of the job's own."""
        schema = f" --schema {self.schema}" if self.schema else ""
        return f"{program.command()} {job} -o {shlex.quote(self.named)}{schema}"


def first(rows: Iterable[Row]) -> Row | None:
    """The first row; None if there is none."""
    return next(iter(rows), None)


def quick(options: Options, answer: Callable[[Reader, Options], object], *, must_exist: bool = True) -> int | None:
    """Answer without Spark and return the exit status; None where Spark is to answer.

    Raises:
        UsageError: the output holds no tables.
    """
    from jobs.queries.dialect import UntranslatedError

    if reason := needs_spark(options.output, options.schema, joins_session=True):
        say_spark(reason)
        return None
    try:
        with opened(options, must_exist=must_exist) as reader:
            answer(reader, options)
    except UntranslatedError as e:
        if find_spec("pyspark") is None:
            raise UsageError(f"{e} (Spark might answer: pip install 'reelmill[spark]')") from e
        say_spark(str(e), ", not DuckDB")
        return None
    return 0


@contextmanager
def opened(options: OutputOptions, *, must_exist: bool = True) -> Iterator[Reader]:
    """The output that the options name, by DuckDB, whose tables are opened once.

    Raises:
        UsageError: it holds no tables.
        UntranslatedError: only Spark reads them.
    """
    from jobs.config import quick_settings
    from jobs.lake import places
    from jobs.queries import delta_source
    from jobs.queries.duckdb_engine import Engine, Snapshot

    settings = quick_settings.load(options.conf, options.set)
    output = places.output(options.output, settings.sources)
    if must_exist:
        places.check_tables(output, None, settings.sources)
    with knowing(delta_source.custom_tables(output, settings.sources)):
        reduction = quick_settings.reduction(options.conf, options.set)
        rows = Snapshot(Engine(output, settings.sources, reduction)).rows
        yield Reader(output, options.output, settings.sources, reduction, rows)


def snapshot(
    output: Reader, versions: Mapping[str, int] | None, db: duckdb.DuckDBPyConnection, schema: str
) -> Snapshot:
    """The tables of an output in these versions, or as they are now; opened by DuckDB in a schema of a connection."""
    from jobs.queries.duckdb_engine import Engine, Snapshot

    return Snapshot(Engine(output.output, output.sources, output.reduction, versions), db, schema)


def by_spark(run: Run) -> Reader:
    """The output of a run, whose tables Spark reads."""
    from jobs.queries import spark_engine, statement

    engine = spark_engine.Engine(run)
    schema = str(run.schema) if run.schema else None

    def rows(query: str) -> Iterator[Row]:
        answer = engine.answer(statement.parse(query, catalog=schema is not None))
        return (dict(zip(answer.heads, row, strict=True)) for row in answer.rows)

    return Reader(run.output, run.output, run.settings.sources, None, rows, schema)
