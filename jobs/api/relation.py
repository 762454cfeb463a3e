"""A table, view or query of an output, in the form that a program asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

from jobs.api import fiftyone, pages
from jobs.api.output import Output, check_heads
from jobs.config.errors import UsageError
from jobs.lake import formats
from jobs.lake.formats import Answer
from jobs.queries.statement import ONLY

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

SHOWN = 20  # rows that a prompt or a notebook shows
CLIPS_SHOWN = 12


class Relation:
    """The rows of a query over an output. Each form reads the tables as they are when it is asked for."""

    def __init__(self, output: Output, query: str) -> None:
        self._output = output
        self._asked = output.parse(query)
        if self._asked.kind != "query":
            raise UsageError(f"sql: {ONLY.partition(':')[0]} here: SELECT, WITH and VALUES")

    @property
    def query(self) -> str:
        """The query, in Spark's SQL."""
        return self._asked.text

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [*self._output.answer(self._asked, 1).heads]

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self._output.arrow(self._asked)

    def pandas(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; maps are dictionaries."""
        frame: pd.DataFrame = self.arrow().to_pandas(maps_as_pydicts="strict")
        return frame

    def polars(self) -> pl.DataFrame:
        """The rows as a Polars DataFrame."""
        if find_spec("polars") is None:
            raise UsageError("Polars is not installed here: pip install polars")
        import polars as pl

        rows = self.arrow()
        check_heads(rows.schema.names)
        frame = pl.from_arrow(rows)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def duckdb(self) -> duckdb.DuckDBPyRelation:
        """The rows as a relation of DuckDB, which computes them when they are read."""
        return self._output.duckdb(self._asked)

    def spark(self) -> DataFrame:
        """The rows as a Spark DataFrame; it starts Spark unless a session is there, which gets all tables and views."""
        return self._output.spark(self._asked)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries of plain values: times are ISO text, bytes are text in hex."""
        return self._output.rows(self._asked.text)

    def __repr__(self) -> str:
        answer, more = self._first(SHOWN)
        return "\n".join([*formats.table(answer), *more])

    def _repr_html_(self) -> str:
        answer, more = self._first(SHOWN)
        return pages.table(answer, more)

    def _first(self, number: int) -> tuple[Answer, list[str]]:
        """The first rows, and a line that says so if there are more."""
        answer = self._output.answer(self._asked, number + 1)
        rows = [*islice(answer.rows, number + 1)]
        return Answer(answer.heads, rows[:number]), [f"(the first {number} rows)"] if len(rows) > number else []


class Clips(Relation):
    """Clips, which a notebook shows by their previews, captions and scores."""

    def fiftyone(self, folder: str | os.PathLike[str]) -> int:
        """Write them as a data set that FiftyOne opens, whose media stay where they are; returns their number.

        Raises:
            UsageError: they lie in a store, or the folder cannot be written.
        """
        return fiftyone.write(self, os.fspath(folder))

    def _repr_html_(self) -> str:
        answer, more = self._first(CLIPS_SHOWN)
        rows = [dict(zip(answer.heads, row, strict=True)) for row in answer.rows]
        return pages.clips(rows, more, self._output.read)
