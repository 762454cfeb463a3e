"""An output folder that Python reads: answers of DuckDB without a JVM, and of Spark where they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jobs import cli
from jobs.api.overrides import Text, overrides, text, texts
from jobs.config import quick_settings
from jobs.config.arguments import OutputOptions
from jobs.config.errors import UsageError
from jobs.lake import places
from jobs.queries.ask import is_installed
from jobs.queries.dialect import UntranslatedError
from jobs.queries.statement import Statement, parse
from schemas import knowing
from udfs.storage import media_store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from jobs.config.settings import Settings
    from jobs.lake.formats import Answer
    from jobs.queries.duckdb_engine import Engine
    from schemas.table import Table


FORKED = (
    "this process was forked from one that had read tables, which deltalake does not survive; "
    'start workers by "spawn" or "forkserver", such as DataLoader(..., multiprocessing_context="forkserver")'
)


@dataclass(frozen=True)
class Output:
    """A finished output, and the settings by which it is read, as the command line gives them."""

    path: str
    conf: tuple[str, ...] = ()
    set: tuple[str, ...] = ()

    @classmethod
    def of(cls, output: Text, settings: Mapping[str, Any], conf: Text | Iterable[Text]) -> Output:
        """The output of this name.

        Raises:
            UsageError: it holds no tables.
        """
        files, values = texts(conf), overrides(settings)
        sources = quick_settings.load(files, values).sources
        path = places.output(text(output), sources)
        places.check_tables(path, None, sources)
        return cls(path, files, values)

    @cached_property
    def quick_settings(self) -> quick_settings.QuickSettings:
        """The settings that reading takes."""
        return quick_settings.load(self.conf, self.set)

    @property
    def reduction(self) -> str | None:
        """`filter.aesthetic_reduction` if the settings name it; else the views go by the last run of `filter`."""
        return quick_settings.reduction(self.conf, self.set)

    @property
    def settings(self) -> Settings:
        """All settings; loading them takes a second."""
        from jobs.config.settings import load

        return load([*self.conf], [*self.set])

    @cached_property
    def engine(self) -> Engine:
        """What answers without a JVM.

        Raises:
            UsageError: DuckDB cannot answer here.
        """
        if self.path.startswith("dbfs:"):
            raise UsageError(f"{self.path}: only Spark reads dbfs:/; ask for .spark()")
        if not is_installed():
            raise UsageError("DuckDB and deltalake are not installed here: pip install 'reelmill[sql]'")
        from jobs.queries.duckdb_engine import Engine

        return Engine(self.path, self.quick_settings.sources, self.reduction)

    @property
    def custom_tables(self) -> list[Table]:
        """The tables of stages of the user's own, as they are now: a stage may have run since the last query."""
        from jobs.queries import delta_source

        return delta_source.custom_tables(self.path, self.quick_settings.sources)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Know every table while a query is looked at, and say of one that DuckDB cannot answer who can.

        Raises:
            UsageError: DuckDB cannot answer it, or this process is the fork of one that has read tables.
        """
        if _reading_process() != os.getpid():
            raise UsageError(FORKED)
        with knowing(self.custom_tables), _only_spark():
            yield

    def parse(self, query: str) -> Statement:
        """A query, checked.

        Raises:
            UsageError: it is none, or names what is no table or view.
        """
        with self._asking():
            return parse(query)

    def answer(self, asked: Statement, limit: int | None = None) -> Answer:
        """The rows of a query as plain values, computed as they are read."""
        with self._asking():
            return self.engine.answer(asked, limit)

    def rows(self, query: str) -> Iterator[dict[str, Any]]:
        """The rows of a query as dictionaries of plain values, computed as they are read."""
        answer = self.answer(self.parse(query))
        check_heads(answer.heads)
        with _only_spark():
            for row in answer.rows:
                yield dict(zip(answer.heads, row, strict=True))

    def arrow(self, asked: Statement) -> pa.Table:
        """The rows of a query as an Arrow table."""
        with self._asking():
            return self.engine.arrow(asked)

    def duckdb(self, asked: Statement) -> duckdb.DuckDBPyRelation:
        """A query as a relation of DuckDB."""
        with self._asking():
            return self.engine.relation(asked)

    def spark(self, asked: Statement) -> DataFrame:
        """A query as a DataFrame of the session that is there, or of a new one."""
        if find_spec("pyspark") is None:
            raise UsageError(cli.NO_SPARK)
        from jobs.lake.start import start
        from jobs.queries import spark_engine

        options = OutputOptions(output=self.path, conf=self.conf, set=self.set)
        with self._asking():
            return spark_engine.Engine(start(options, self.settings, None), self.reduction).rows(asked)

    def read(self, uri: str) -> bytes:
        """The bytes of a media file.

        Raises:
            OSError, MediaError, StoreError: it is not there, or its store does not answer.
        """
        with media_store.open_uri(uri, self.quick_settings.sources) as file:
            return file.read()


def check_heads(heads: Sequence[str]) -> None:
    """Refuse columns of one name, of which rows could hold only one.

    Raises:
        UsageError: it names them.
    """
    if twice := [head for place, head in enumerate(heads) if head in heads[:place]]:
        raise UsageError(f"sql: several columns are called {twice[0]}: give them names (AS ...)")


@cache
def _reading_process() -> int:
    """The id of the process that first read a table; its forks inherit the answer."""
    return os.getpid()


@contextmanager
def _only_spark() -> Iterator[None]:
    """Say of a query that DuckDB cannot answer who can."""
    try:
        yield
    except UntranslatedError as e:
        raise UsageError(f"sql: DuckDB does not answer this: {e}; ask for .spark()") from e
