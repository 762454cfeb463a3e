"""Answer queries by DuckDB, over the Delta tables of an output that each query needs."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from jobs.config.errors import UsageError
from jobs.lake import views
from jobs.lake.formats import Answer, plain_rows
from jobs.lake.views import View
from jobs.queries import delta_source, gate_settings, statement, unused_joins
from jobs.queries.cancel import interruptible
from jobs.queries.delta_source import Source
from jobs.queries.dialect import UntranslatedError, to_duckdb, type_to_duckdb, view_to_duckdb
from jobs.queries.statement import Statement
from jobs.queries.unused_joins import Names
from schemas import TABLES
from schemas.table import sql_type
from udfs.core.host_files import user_folder
from udfs.core.words import did_you_mean
from udfs.storage.settings import Params as Sources

log = logging.getLogger("reelmill")

WORD = re.compile(r"\w+")
ROWS = 2048  # per batch of an answer
CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "default_null_order": "nulls_first_on_asc_last_on_desc",  # as Spark
    "python_enable_replacements": "false",
}
ASKED_OFTEN = ("failed",)  # views of few rows that look at many, which the summary of a run and a report both ask
OLD_VERDICTS = "verdicts: an earlier release wrote them; `filter` or `curate` adds videos, seconds and scores"
# What no query can undo: files, stores and extensions are out of its reach.
LOCKED = "SET enable_external_access = false; SET lock_configuration = true"
UNKNOWN = re.compile(
    r"""Referenced\ column\ "(?P<column>[^"]+)"\ not\ found | does\ not\ have\ a\ column\ named\ "(?P<named>[^"]+)" """,
    re.VERBOSE,
)
# Errors that Spark may not have: DuckDB lacks a function, sees types in another way, or reads
# other regular expressions.
ELSEWHERE = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.NotImplementedException,
    duckdb.InvalidInputException,
)
TYPES = {
    "VARCHAR": "string",
    "INTEGER": "int",
    "HUGEINT": "bigint",
    "BLOB": "binary",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "TIMESTAMP": "timestamp_ntz",
    "NULL": "void",
}


@dataclass(frozen=True)
class Engine:
    """DuckDB over an output; each answer sees the tables as they are when it is asked, unless they are open."""

    output: str
    sources: Sources
    reduction: str | None = None  # filter.aesthetic_reduction, for the views; None: as in the last run of filter
    pinned: Mapping[str, int] | None = None  # versions of the tables to read instead of the newest
    open_tables: duckdb.DuckDBPyConnection | None = None  # every table and view, as `opened` found them

    def opened(self) -> Engine:
        """This engine over all tables as they are now: its answers agree with each other, and cost less.

        An answer must have been read before the next query. Raises errors as `answer` does.
        """
        db = self._connection({*TABLES, *(view.name for view in views.every(str))})
        with _errors(None), interruptible(db.interrupt):
            for name in ASKED_OFTEN:
                db.execute(f"CREATE TEMP TABLE {name} AS FROM {name}")
        return replace(self, open_tables=db)

    def answer(self, asked: Statement, limit: int | None = None) -> Answer:
        """The rows of a query, which are computed as they are read, or of DESCRIBE or SHOW.

        Raises:
            UsageError: DuckDB refuses the query.
            UntranslatedError: Spark may be able to answer it.
        """
        if asked.kind == "show":
            return _shown(asked)
        if asked.kind == "describe":
            return self._described(asked)
        query = to_duckdb(_query(asked))
        if limit:
            query = f"({query}) LIMIT {limit}"
        db = self._opened(asked)
        with _errors(asked), interruptible(db.interrupt):
            reader = _selected(db, query).to_arrow_reader(ROWS)
            first = [*islice(reader, 1)]  # while Spark may still answer instead
        names = statement.heads(asked.query, reader.schema.names)
        return Answer(names, _guarded(db, chain(first, reader), asked))

    def relation(self, asked: Statement) -> duckdb.DuckDBPyRelation:
        """A query as a relation of DuckDB, computed when it is read; sums of whole numbers are `bigint`, as Spark's.

        Raises errors as `answer` does.
        """
        return self._related(asked)[1]

    def arrow(self, asked: Statement) -> pa.Table:
        """The rows of a query as Arrow; raises errors as `answer` does."""
        db, rows = self._related(asked)
        with _errors(asked), interruptible(db.interrupt):
            return rows.to_arrow_table()

    def _related(self, asked: Statement) -> tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyRelation]:
        db, query = self._opened(asked), to_duckdb(_query(asked))
        with _errors(asked):
            rows = _selected(db, query)
            heads = statement.heads(asked.query, rows.columns)
            columns = enumerate(zip(heads, map(str, rows.types), strict=True), 1)
            return db, rows.project(", ".join(_as_spark(number, *column) for number, column in columns))

    def explained(self, asked: Statement) -> str:
        """How DuckDB would answer a query."""
        query = to_duckdb(_query(asked))
        with _errors(asked):
            rows = self._opened(asked).execute(f"EXPLAIN {query}").fetchall()
        return "\n".join(plan.rstrip() for _, plan in rows)

    def _described(self, asked: Statement) -> Answer:
        query = f"SELECT * FROM {_quoted(asked.name)}" if asked.name else to_duckdb(_query(asked))
        with _errors(asked):
            columns = self._opened(asked).execute(f"SELECT * FROM ({query}) LIMIT 0").description
        names = statement.heads(asked.query, [name for name, *_ in columns])
        comments = statement.columns_of().get(asked.name or "", {})
        types = [spark_type(type_) for _, type_, *_ in columns]
        return Answer(("col_name", "data_type", "comment"), zip(names, types, map(comments.get, names), strict=True))

    def _opened(self, asked: Statement) -> duckdb.DuckDBPyConnection:
        """A connection that has the tables and views that a query needs."""
        if self.open_tables is not None:
            return self.open_tables
        if asked.name:
            return self._connection({asked.name})
        return self._connection(statement.tables(_query(asked)), unused_joins.named(_query(asked)))

    def _connection(self, named: set[str], used: Names | None = None) -> duckdb.DuckDBPyConnection:
        """A connection that has these tables and views, with what they need, and nothing else.

        With `used`, the names in the only query that is to be asked.
        """
        db = connected()
        files = self.make(db, named, frozenset(), used)
        db.execute(f"SET allowed_paths = [{', '.join(map(_literal, files))}]")
        db.execute(LOCKED)
        return db

    def make(
        self, db: duckdb.DuckDBPyConnection, names: set[str], there: Set[str], used: Names | None = None
    ) -> list[str]:
        """Make these tables and views with all that they read, but for those that are `there`; returns their files.

        With `used`, a view lacks joins whose columns are not among these names and in no other view.
        """
        needed = _needed(names) - there
        tables = [name for name in TABLES if name in needed]
        files = list[str]()
        for name, source in delta_source.open_tables(tables, self.output, self.sources, self.pinned).items():
            if name == "verdicts" and "measured" not in source.columns.names:
                log.warning(OLD_VERDICTS)
            _create_stored(db, name, source)
            _create_view(db, name, view_to_duckdb(source.query))
            files += source.files
        recorded = _recorded(db) if any(map(_is_current, needed)) else {}
        made = _views(needed, lambda stage: recorded.get(stage, "never run"))
        words = {} if used is None else {view.name: frozenset(WORD.findall(view.sql)) for view in made}
        for view in made:
            sources = {source: f"`{source}`" for source in view.sources}
            reduction = self.reduction or (_last_reduction(db) if "{reduction}" in view.sql else "")
            others = (found for name, found in words.items() if name != view.name)
            also_used = None if used is None else used.union(*others)
            _create_view(db, view.name, view_to_duckdb(view.query(sources, reduction), also_used))
        return files


class Snapshot:
    """The tables and views of an output for several queries of this program's own, each as it was when first needed.

    With a `schema` of a connection, they lie beside those of other outputs, for queries by `rows`.
    """

    def __init__(self, engine: Engine, db: duckdb.DuckDBPyConnection | None = None, schema: str = "main") -> None:
        self._engine, self._db, self._schema = engine, db or connected(), schema
        self._there = set[str]()
        self._db.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query as dictionaries of plain values; raises errors as `Engine.answer` does."""
        asked = statement.parse(query)
        self.open(statement.tables(_query(asked)))
        with _errors(asked), interruptible(self._db.interrupt):
            reader = _selected(self._db, to_duckdb(_query(asked))).to_arrow_reader(ROWS)
            heads = statement.heads(asked.query, reader.schema.names)
            return [dict(zip(heads, row, strict=True)) for row in plain_rows(reader)]

    def open(self, names: Set[str]) -> None:
        """Make tables and views with all that they read, where the next queries look for them."""
        self._db.execute(f"SET schema = {_literal(self._schema)}")
        self._engine.make(self._db, {*names}, self._there)
        self._there |= _needed({*names})


def rows(db: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query in DuckDB's own SQL, over tables and views by their schemas; raises UsageError."""
    with _errors(None), interruptible(db.interrupt):
        answer = db.execute(query)
        names = [name for name, *_ in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def spark_type(type_: duckdb.sqltypes.DuckDBPyType) -> str:
    """A type of DuckDB as Spark's SQL names it."""
    children: list[tuple[str, Any]] = type_.children if type_.id in ("list", "array", "map", "struct") else []
    if type_.id in ("list", "array"):
        return f"array<{spark_type(children[0][1])}>"
    if type_.id == "map":
        return f"map<{','.join(spark_type(child) for _, child in children)}>"
    if type_.id == "struct":
        return f"struct<{','.join(f'{name}:{spark_type(child)}' for name, child in children)}>"
    return TYPES.get(str(type_), str(type_).lower())


def connected() -> duckdb.DuckDBPyConnection:
    """A database in memory, which spills into a folder of the user's."""
    db = duckdb.connect(config=CONFIG | {"temp_directory": str(user_folder("sql"))})
    db.execute("SET TimeZone = 'UTC'")
    return db


def _query(asked: Statement) -> exp.Query:
    assert asked.query is not None
    return asked.query


def _selected(db: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    [parsed] = db.extract_statements(query)
    if parsed.type != duckdb.StatementType.SELECT:
        raise UsageError(f"sql: {statement.ONLY}")
    return db.sql(parsed)


def _as_spark(number: int, head: str, type_: str) -> str:
    """The column with this number, by the name and the type that Spark gives it."""
    value = f"CAST(#{number} AS BIGINT)" if type_ == "HUGEINT" else f"#{number}"
    return f"{value} AS {_quoted(head)}"


def _views(needed: set[str], fingerprint: Callable[[str], str]) -> list[View]:
    return [view for view in views.every(fingerprint) if view.name in needed]


def _needed(names: set[str]) -> set[str]:
    """Tables and views by their names, with all that the views read."""
    needed = set(names)
    for view in reversed(views.every(str)):
        if view.name in needed:
            needed |= set(view.sources)
    return needed | ({"runs"} if any(map(_is_current, needed)) else set())


def _is_current(name: str) -> bool:
    """Whether this is a view of the rows that the last settings made, which `runs` says."""
    return name.startswith("current_")


def _recorded(db: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The fingerprint with which each stage last ran."""
    return dict(db.execute("SELECT stage, max_by(fingerprint, started_at) FROM runs GROUP BY stage").fetchall())


def _last_reduction(db: duckdb.DuckDBPyConnection) -> str:
    """How the last run of `filter` reduced the aesthetic scores of frames."""
    return gate_settings.last(lambda query: db.execute(query).fetchall()).filter.aesthetic_reduction


def _create_stored(db: duckdb.DuckDBPyConnection, name: str, source: Source) -> None:
    """Make a view of the rows of a table as they are stored: from its files, from a dataset, or without rows."""
    if source.dataset is not None:
        registered = f"{delta_source.stored(name)} {id(source.dataset)}"  # of all schemas
        db.register(registered, source.dataset)
        _create_view(db, delta_source.stored(name), f"FROM {_quoted(registered)}")
        return
    types = {field.name: type_to_duckdb(sql_type(field.type)) for field in source.columns}
    if source.files:
        columns = ", ".join(
            f"{_literal(column)}: {{name: {_literal(column)}, type: {_literal(type_)}, default_value: NULL}}"
            for column, type_ in types.items()
        )
        query = f"FROM read_parquet([{', '.join(map(_literal, source.files))}], schema = MAP {{{columns}}})"
    else:
        nulls = (f"CAST(NULL AS {type_}) AS {_quoted(column)}" for column, type_ in types.items())
        query = f"SELECT {', '.join(nulls)} WHERE false"
    _create_view(db, delta_source.stored(name), query)


def _create_view(db: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
    db.execute(f"CREATE VIEW {_quoted(name)} AS {query}")


def _quoted(name: str | None) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _shown(asked: Statement) -> Answer:
    """The answer to SHOW TABLES, SHOW VIEWS or SHOW COLUMNS, with the columns that Spark's has."""
    if asked.name:
        return Answer(("col_name",), [(name,) for name in statement.columns_of()[asked.name]])
    head = "viewName" if asked.text.upper().endswith("VIEWS") else "tableName"
    return Answer(("namespace", head, "isTemporary"), [("", name, True) for name in sorted(statement.columns_of())])


def _guarded(
    db: duckdb.DuckDBPyConnection, batches: Iterable[pa.RecordBatch], asked: Statement
) -> Iterator[tuple[Any, ...]]:
    """The rows of an answer; an error in the midst of them ends it, for some may be written already."""
    try:
        with _errors(asked), interruptible(db.interrupt):
            yield from plain_rows(batches)
    except UntranslatedError as e:
        raise UsageError(f"sql: {e}; --engine spark may answer") from e


@contextmanager
def _errors(asked: Statement | None) -> Iterator[None]:
    """Turn DuckDB's errors into one line, or into UntranslatedError where Spark may do better."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as e:  # of rows after the first ones Arrow reports it
        line = str(e).splitlines()[0]
        if "INTERRUPT Error" in line:
            time.sleep(0.01)  # in which the handler of the signal runs, and need not come back
            raise KeyboardInterrupt from e
        if asked and (unknown := UNKNOWN.search(f"{line} ")):
            name = unknown["column"] or unknown["named"]
            known = statement.columns({asked.name} if asked.name else statement.tables(_query(asked)))
            raise UsageError(f"sql: no column {name}{did_you_mean(name.lower(), known)}") from e
        if isinstance(e, ELSEWHERE) or any(
            words in line for words in ("Unimplemented type for cast", "Invalid Input Error")
        ):
            raise UntranslatedError(line) from e
        raise UsageError(f"sql: {line}") from e
