"""Parse one statement of Spark SQL, and refuse whatever is no query over the tables and views."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from jobs.config.errors import UsageError
from jobs.lake import views
from jobs.queries.spark_dialect import SPARK
from schemas import TABLES
from udfs.core.words import did_you_mean

Kind = Literal["query", "describe", "show", "explain"]
ONLY = "only queries are answered: SELECT, WITH, VALUES, DESCRIBE, SHOW and EXPLAIN"
LEADING = re.compile(r"(\s|--[^\n]*(\n|$)|/\*.*?\*/)*", re.DOTALL)  # blanks and comments
logging.getLogger("sqlglot").setLevel(logging.ERROR)
EXPLAIN = re.compile(r"EXPLAIN\s+((EXTENDED|FORMATTED|COST|CODEGEN)\s+)?", re.IGNORECASE)
DESCRIBE = re.compile(r"DESC(RIBE)?\s+(QUERY\s+)?(TABLE\s+)?(EXTENDED\s+|FORMATTED\s+)?", re.IGNORECASE)
SHOW = re.compile(r"SHOW\s+(TABLES|VIEWS|COLUMNS\s+(IN|FROM)\s+(?P<name>\S+))\s*", re.IGNORECASE)
NAME = re.compile(r"[\w`.-]+")
NAMED = re.compile(r"[\w-]+")  # a part of a name in a catalog, which is no path
PLACE = "a query names tables and views, not files"
# What a query must not hold anywhere: statements within it, and programs that it would start.
REFUSED = (exp.DML, exp.Command, exp.Create, exp.Describe, exp.Into, exp.QueryTransform)
QUERY = re.compile(r"(SELECT|WITH|VALUES|FROM)\b|\(", re.IGNORECASE)  # how a query begins
TOKEN = re.compile(r"<Token .*?text: (?P<text>.*?), line: .*?>")  # in sqlglot's messages
MISSING = re.compile(r"Required keyword: '\w+' missing for <class '[\w.]*?(?P<name>\w+)'>")
# Functions of Spark that call any method of Java, and of Databricks that ask a server or a secret store.
JAVA = {"reflect", "java_method", "try_reflect"}
REMOTE = {"http_request", "secret", "try_secret", "vector_search", "remote_query"}
ASKS_MODELS = "ai_"  # how names of functions begin that send what they are given to a model, for money
# Functions that stand for a table, and read none.
TABLE_FUNCTIONS = {
    *("range", "sequence", "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer"),
    *("stack", "json_tuple", "unnest"),
}


@dataclass(frozen=True)
class Statement:
    """One statement: its text, and its parts by its kind."""

    kind: Kind
    text: str
    query: exp.Query | None = None  # of a query, of EXPLAIN, and of DESCRIBE with a query
    name: str | None = None  # of DESCRIBE and SHOW COLUMNS: the table or view


def parse(text: str, *, catalog: bool = False) -> Statement:
    """A statement, checked; with a `catalog`, names may have several parts.

    Raises:
        UsageError: it is not one query, or names what is no table or view.
    """
    text = text[LEADING.match(text).end() :].rstrip().removesuffix(";").rstrip()  # type: ignore[union-attr]
    if match := EXPLAIN.match(text):
        return Statement("explain", text, _query(text[match.end() :], catalog=catalog))
    if match := DESCRIBE.match(text):
        return _describe(text, text[match.end() :], catalog=catalog)
    if match := SHOW.match(text):
        if match.end() != len(text):
            raise UsageError(f"sql: {text[match.end() :]!r} is not understood after SHOW")
        return Statement("show", text, name=match["name"] and _known(match["name"], catalog=catalog))
    return Statement("query", text, _query(text, catalog=catalog))


def query_of(option: str, text: str, *, catalog: bool = False) -> Statement:
    """The query that an option or a file gives, checked as those of `reelmill sql`.

    Raises:
        UsageError: it is not one query, or names what is no table or view; the text begins with `option`.
    """
    try:
        asked = parse(text, catalog=catalog)
    except UsageError as e:
        raise UsageError(f"{option}: {str(e).removeprefix('sql: ')}") from e
    if asked.kind != "query":
        raise UsageError(f"{option}: a query is needed: SELECT, WITH or VALUES")
    return asked


def tables(query: exp.Query) -> set[str]:
    """The names of the tables and views in a query, and of its common table expressions, in lower case."""
    return {table.name.lower() for table in query.find_all(exp.Table) if isinstance(table.this, exp.Identifier)}


def columns(names: Collection[str]) -> list[str]:
    """The columns of tables and views."""
    every = columns_of()
    return [column for name in names if name in every for column in every[name]]


def columns_of() -> dict[str, dict[str, str]]:
    """The columns of every table and view, each with its comment."""
    found = {view.name: dict(view.columns) for view in views.every(str)}
    return {name: views.comments(table) for name, table in TABLES.items()} | found


def heads(query: exp.Query | None, columns: list[str]) -> list[str]:
    """The names of an answer's columns, which an engine calls `columns`: expressions without a name are as written.

    Engines name them each in its own way. Around one star names are counted from both ends.
    """
    written = [_head(selected) for selected in query.selects] if query is not None else []
    stars = [place for place, head in enumerate(written) if head is None]
    if len(stars) > 1 or len(written) - len(stars) > len(columns) or (not stars and len(written) != len(columns)):
        return columns
    first = stars[0] if stars else len(written)
    last = len(columns) - (len(written) - first - 1) if stars else len(columns)
    known = [*written[:first], *columns[first:last], *written[first + 1 :]]
    return [head or column for head, column in zip(known, columns, strict=True)]


def _head(selected: exp.Expr) -> str | None:
    if selected.is_star or isinstance(selected, exp.Star):
        return None
    if isinstance(selected, exp.Alias | exp.Column | exp.Dot):
        return selected.alias_or_name
    return selected.sql(SPARK, normalize_functions="lower")


def _describe(text: str, described: str, *, catalog: bool) -> Statement:
    if NAME.fullmatch(described):
        return Statement("describe", text, name=_known(described, catalog=catalog))
    return Statement("describe", text, _query(described, catalog=catalog))


def _query(text: str, *, catalog: bool) -> exp.Query:
    if text and not QUERY.match(text):
        raise UsageError(f"sql: {ONLY}")
    try:
        parsed = sqlglot.parse(text, dialect=SPARK)
        trees = [tree for tree in parsed if tree is not None and not isinstance(tree, exp.Semicolon)]
    except SqlglotError as e:
        raise UsageError(f"sql: {syntax_fault(e)}") from e
    if len(trees) != 1:
        raise UsageError("sql: one query at a time" if trees else "sql: an empty query")
    query = trees[0].unnest() if isinstance(trees[0], exp.Subquery) else trees[0]
    if isinstance(query, exp.Values):
        names = [f"col{place + 1}" for place in range(len(query.expressions[0].expressions))]  # as Spark calls them
        query = exp.select("*").from_(exp.alias_(query, "listed", table=names))
    if not isinstance(query, exp.Query) or query.find(*REFUSED):
        raise UsageError(f"sql: {ONLY}")
    _check_functions(query)
    _check_tables(query, catalog=catalog)
    return query


def syntax_fault(error: SqlglotError) -> str:
    """What a parser's error says, in one line, with its place."""
    details = getattr(error, "errors", None)
    if not details:
        return str(error).splitlines()[0]
    said = TOKEN.sub(lambda token: f"'{token['text']}'".replace("'SENTINEL'", "the end"), details[0]["description"])
    said = MISSING.sub(lambda part: f"{part['name'].upper()} is not complete", said).rstrip(".")
    return f"{said} at line {details[0]['line']}, column {details[0]['col']}"


def _check_functions(query: exp.Query) -> None:
    for function in query.find_all(exp.Func):
        name = function.name if isinstance(function, exp.Anonymous) else function.sql_name().lower()
        if name.lower() in JAVA:
            raise UsageError(f"sql: {name} calls Java, which no query may")
        if name.lower() in REMOTE or name.lower().startswith(ASKS_MODELS):
            raise UsageError(f"sql: {name} reads what is no table, which no query may")


def _check_tables(query: exp.Query, *, catalog: bool) -> None:
    """Refuse names that are no table, view or common table expression, and functions that read files."""
    own = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    for lateral in query.find_all(exp.Lateral):
        _check_table_function(lateral.this)
    for table in query.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            _check_table_function(table.this)
        elif table.db:
            if not catalog or not all(NAMED.fullmatch(part.name) for part in table.parts):
                raise UsageError(f"sql: no table {table.sql(SPARK)}: {PLACE}")
        elif table.name.lower() not in own and not (catalog and NAMED.fullmatch(table.name)):
            _known(table.name, catalog=False)


def _check_table_function(function: exp.Expr) -> None:
    if isinstance(function, exp.Subquery):
        return
    name = function.name if isinstance(function, exp.Anonymous) else getattr(function, "sql_name", lambda: "it")()
    if name.lower() not in TABLE_FUNCTIONS:
        raise UsageError(f"sql: {name.lower()}() may not stand for a table: {PLACE}")


def _known(name: str, *, catalog: bool) -> str:
    """The name of a table or view in lower case; with a catalog there may be others."""
    plain = name.replace("`", "").lower()
    every = columns_of()
    if plain not in every and not (catalog and all(map(NAMED.fullmatch, plain.split(".")))):
        raise UsageError(f"sql: no table or view {name}{did_you_mean(plain, [*every])}")
    return plain
