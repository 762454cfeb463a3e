"""sql: answer a query over the tables and views"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Protocol

from jobs.config.arguments import OutputOptions, argument
from jobs.config.errors import UsageError
from jobs.queries.ask import is_installed, needs_spark, say_spark
from schemas import knowing
from udfs.core import terminal

if TYPE_CHECKING:  # each of these takes a part of the second in which a query is answered
    from jobs.config.settings import Settings
    from jobs.lake.formats import Answer
    from jobs.lake.run import Run
    from jobs.queries.statement import Statement

CUT = ("table", "markdown")  # formats that show the first rows only


class Engine(Protocol):
    """What answers queries."""

    def answer(self, asked: Statement, limit: int | None = None) -> Answer:
        """The rows of a query, of DESCRIBE or of SHOW."""

    def explained(self, asked: Statement) -> str:
        """How the engine would answer a query."""


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `sql` takes."""

    READS_ONLY: ClassVar[bool] = True

    query: str | None = argument(
        "one query in Spark's SQL; without it a prompt asks for queries",
        default=None,
        named=False,
        positional=True,
        metavar="QUERY",
        nargs="?",
    )
    engine: str = argument(
        "duckdb: no Spark is started; spark: what runs everywhere; auto: Spark for what DuckDB cannot answer",
        default="auto",
        choices=("auto", "duckdb", "spark"),
    )
    format: str = argument(
        "table and markdown show 1,000 rows at most, csv and json all",
        default="table",
        choices=("table", "csv", "json", "markdown"),
    )


def quick(options: Options) -> int | None:
    """Answer without Spark and return the exit status; None where Spark is to answer."""
    if reason := _needs_spark(options):
        if options.engine == "duckdb":
            raise UsageError(f"--engine duckdb: {reason}")
        if options.engine == "auto":
            say_spark(reason)
        return None
    from jobs.config import quick_settings
    from jobs.lake import places
    from jobs.queries import delta_source, duckdb_engine, statement
    from jobs.queries.dialect import UntranslatedError

    settings = quick_settings.load(options.conf, options.set)
    options = replace(options, output=places.output(options.output, settings.sources))
    places.check_tables(options.output, None, settings.sources)
    reduction = quick_settings.reduction(options.conf, options.set)
    engine = duckdb_engine.Engine(options.output, settings.sources, reduction)
    with knowing(delta_source.custom_tables(options.output, settings.sources)):
        if options.query is None and sys.stdin.isatty():
            _prompt(options, _Either(engine, options))
            return 0
        asked = statement.parse(_text(options))
        try:
            show(engine, asked, options.format)
        except UntranslatedError as e:
            _say_fallback(options, e)
            return None
    return 0


def check(options: Options, settings: Settings) -> None:
    """Refuse an output that holds no tables, and what is no query."""
    from jobs.lake import places
    from jobs.queries import statement

    places.check_tables(options.output, options.schema, settings.sources)
    if options.query is None or options.schema is not None or not is_installed():
        return  # the tables of a catalog are known once Spark is there
    from jobs.queries import delta_source

    with knowing(delta_source.custom_tables(options.output, settings.sources)):
        statement.parse(options.query)


def run(run: Run, options: Options) -> None:
    """Print Spark's answer to a query over the tables and views, by the settings of the last run."""
    from jobs.config import quick_settings
    from jobs.queries import spark_engine, statement

    engine = spark_engine.Engine(run, quick_settings.reduction(options.conf, options.set))
    if options.query is None and sys.stdin.isatty():
        _prompt(options, engine)
        return
    asked = statement.parse(_text(options), catalog=options.schema is not None)
    show(engine, asked, options.format)


def show(engine: Engine, asked: Statement, format: str) -> None:
    """Print an answer."""
    from jobs.lake import formats

    if asked.kind == "explain":
        terminal.write([engine.explained(asked)])
        return
    answer = engine.answer(asked, formats.MAX_ROWS + 1 if format in CUT else None)
    terminal.write(formats.lines(answer, format))


class _Either:
    """DuckDB in a prompt, and Spark for what it cannot answer, which is started when it is first needed."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._first = engine
        self._options = options
        self._spark: Engine | None = None

    def show(self, asked: Statement, format: str) -> None:
        """Print an answer."""
        from jobs.queries.dialect import UntranslatedError

        try:
            show(self._first, asked, format)
        except UntranslatedError as e:
            _say_fallback(self._options, e)
            self._spark = self._spark or self._started()
            show(self._spark, asked, format)

    def _started(self) -> Engine:
        from jobs.config import quick_settings
        from jobs.config.settings import load
        from jobs.lake.start import start
        from jobs.queries import spark_engine

        conf, overrides = self._options.conf, self._options.set
        run = start(self._options, load([*conf], [*overrides]), None)
        return spark_engine.Engine(run, quick_settings.reduction(conf, overrides))


def _prompt(options: Options, engine: Engine | _Either) -> None:
    from jobs.queries import prompt, statement

    def ask(text: str) -> None:
        asked = statement.parse(text, catalog=options.schema is not None)
        if isinstance(engine, _Either):
            engine.show(asked, options.format)
        else:
            show(engine, asked, options.format)

    prompt.run(ask, statement.columns_of())


def _needs_spark(options: Options) -> str | None:
    """Why only Spark can answer, by the command line alone; None if DuckDB may."""
    if options.engine == "spark":
        return "--engine spark"
    return needs_spark(options.output, options.schema, joins_session=options.engine == "auto")


def _say_fallback(options: Options, error: Exception) -> None:
    """Say why Spark answers, or raise why it does not."""
    if options.engine == "duckdb":
        raise UsageError(f"--engine duckdb cannot answer this: {error}") from error
    if find_spec("pyspark") is None:
        raise UsageError(f"sql: {error} (Spark might answer: pip install 'reelmill[spark]')") from error
    say_spark(str(error), ", not DuckDB")


def _text(options: Options) -> str:
    """The query of the command line, or of the standard input."""
    return _standard_input() if options.query is None else options.query


@cache
def _standard_input() -> str:
    """All that is read from it; Spark may have to answer what DuckDB could not."""
    return sys.stdin.read()


if __name__ == "__main__":
    from jobs.cli import script

    script("sql")
