"""Statements of `reelmill sql`: only queries over tables and views, and errors in one line."""

from __future__ import annotations

import pytest

from jobs.config.errors import UsageError
from jobs.queries import statement

COMMANDS = [
    *("insert into clips values (1)", "update clips set uri = ''", "delete from clips", "drop table clips"),
    *("create table x as select 1", "create view x as select 1", "truncate table clips", "alter table clips drop uri"),
    *("merge into clips using x on a = b when matched then delete", "with a as (insert into clips select 1) select 1"),
    *("copy clips to '/tmp/x'", "export database '/tmp/x'", "import database '/tmp/x'", "attach '/tmp/x.db'"),
    *("detach x", "install httpfs", "load httpfs", "pragma version", "set memory_limit = '1GB'", "reset threads"),
    *("use x", "call pragma_version()", "add jar '/tmp/x.jar'", "cache table clips", "refresh table clips"),
    *("analyze table clips compute statistics", "vacuum", "checkpoint", "begin", "optimize clips", "table clips"),
    *("explain insert into clips values (1)", "explain analyze drop table clips", "select * into x from clips"),
    *("select transform(uri) using 'cat' from clips", "load data inpath '/tmp/x' into table clips"),
    *("select * from (describe clips)", "execute immediate 'drop table clips'", "declare x int", "show create table x"),
]
FILES = [
    *("select * from read_csv('/etc/passwd')", "select * from read_parquet('x')", "select * from read_text('x')"),
    *("select * from 'file.parquet'", "select * from `file.parquet`", "select * from parquet.`/etc`"),
    *("select * from delta.`/tmp/x`", "select * from csv.`/etc/passwd`", "select * from text.`s3a://b/x`"),
    *("select * from glob('/etc/*')", "select * from clips where uri in (select * from read_blob('/etc/passwd'))"),
    *("with x as (select * from json.`/x`) select * from x", "select (select count(*) from parquet_scan('x'))"),
    *("select * from duckdb_settings()", "select * from query('select 1')", "select * from arrow_scan(1, 2, 3)"),
    *("select * from clips, lateral read_csv('/etc/passwd')", "describe `/etc/passwd`", "describe read_csv('x')"),
]
# Tables of DuckDB's own; a catalog may have tables of these names.
OTHERS = ["select * from information_schema.tables", "select * from sqlite_master", "select * from duckdb_secrets"]
# Calls of Java where Spark may see code and another parser a comment, a text or a name.
HIDDEN = [
    *("select 1 --\r, reflect('a', 'b')", "select 1 -- \\\n, reflect('a', 'b')", "select r'\\', reflect('a', 'b') --'"),
    *("select 'a''b', reflect('a', 'b') --'", "select /*+ reflect('a', 'b') */ 1", "select `a``b`, reflect('a', 'b')"),
    *("select identifier('reflect')('a', 'b')", "select `reflect`('a', 'b')", "values (reflect('a', 'b'))"),
    *("select transform(array(1), x -> reflect('a', 'b'))", "select system.builtin.reflect('a', 'b')"),
    *("from clips |> select reflect('a', 'b')", "select 1 limit (select reflect('a', 'b'))"),
    *("select reflect/**/('a', 'b')", "describe select reflect('a', 'b')"),
    *("select * from clips lateral view reflect('a') x as y", "select * from (map uri using 'cat' as x from clips)"),
    *("from clips reduce uri using 'cat' as x", "from clips insert overwrite directory '/tmp/x' select *"),
    *("select * from identifier('text.`/etc/passwd`')", "select * from table(read_files('/etc'))"),
]
QUERIES = [
    *(
        "select 1",
        "SELECT * FROM clips;",
        " -- a comment\n/* and\none more */ select 1 ; ",
        "select 1; -- done\n",
        "(select 1)",
        "values (1, 2)",
    ),
    *("with x as (select * from clips) select * from x", "from clips select uri", "select 1 union all select 2"),
    *(
        "select * from range(3)",
        "select explode(reasons) from verdicts",
        "select * from CLIPS join `curated` using (uri)",
    ),
    *("with recent as (select 1 as a) select * from recent r join recent q on r.a = q.a", "select ';'"),
    *("select * from clips lateral view explode(array(1, 2)) t as n", "select * from clips tablesample (10 percent)"),
]


def refusal(text: str, *, catalog: bool = False) -> str:
    """The line with which a statement is refused."""
    with pytest.raises(UsageError) as e:
        statement.parse(text, catalog=catalog)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("text", COMMANDS)
def test_what_is_no_query_is_refused(text: str) -> None:
    assert refusal(text).startswith("sql: ")


@pytest.mark.parametrize("text", FILES)
@pytest.mark.parametrize("catalog", [False, True])
def test_files_and_other_functions_are_no_tables(text: str, *, catalog: bool) -> None:
    assert refusal(text, catalog=catalog).startswith("sql: ")


@pytest.mark.parametrize("text", OTHERS)
def test_tables_of_the_engine_are_none_of_the_output(text: str) -> None:
    assert refusal(text).startswith("sql: no table ")


@pytest.mark.parametrize("function", ["reflect", "java_method", "try_reflect", "REFLECT"])
def test_no_function_calls_java(function: str) -> None:
    line = refusal(f"select {function}('java.lang.System', 'getenv')")
    assert line == f"sql: {function} calls Java, which no query may"


@pytest.mark.parametrize("function", ["http_request", "secret", "try_secret", "ai_query", "ai_gen"])
def test_no_function_reads_what_is_no_table(function: str) -> None:
    assert refusal(f"select {function}('a', 'b')") == f"sql: {function} reads what is no table, which no query may"


@pytest.mark.parametrize("text", HIDDEN)
def test_comments_and_quotes_hide_nothing(text: str) -> None:
    assert refusal(text).startswith("sql: ")


@pytest.mark.parametrize("text", QUERIES)
def test_queries_pass(text: str) -> None:
    assert statement.parse(text).kind == "query"


def test_two_queries_are_one_too_many() -> None:
    assert refusal("select 1; select 2") == "sql: one query at a time"
    assert refusal(" ; ") == refusal("-- nothing") == "sql: an empty query"


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("describe clips", "describe", "clips"),
        ("DESC TABLE EXTENDED `Curated`", "describe", "curated"),
        ("describe select 1", "describe", None),
        ("describe query with x as (select 1) select * from x", "describe", None),
        ("show tables", "show", None),
        ("SHOW COLUMNS IN clips;", "show", "clips"),
        ("explain select * from clips", "explain", None),
        ("explain formatted select 1", "explain", None),
    ],
)
def test_other_statements_that_only_read_pass(text: str, kind: str, name: str | None) -> None:
    parsed = statement.parse(text)
    assert (parsed.kind, parsed.name) == (kind, name)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("select * from clps", "sql: no table or view clps; did you mean clips?"),
        ("describe curatd", "sql: no table or view curatd; did you mean curated?"),
        ("select * from nowhere_near", "sql: no table or view nowhere_near"),
        ("select * from clips where", "sql: WHERE is not complete at line 1, column 25"),
        ("select a from", "sql: Expected table name but got the end at line 1, column 13"),
        ("show tables like '*a*'", """sql: "like '*a*'" is not understood after SHOW"""),
    ],
)
def test_a_mistake_is_named_in_one_line(text: str, line: str) -> None:
    assert refusal(text) == line


def test_with_a_catalog_names_have_parts() -> None:
    assert statement.parse("select * from films.labels join main.films.`my-table`", catalog=True).kind == "query"
    assert statement.parse("select * from labels", catalog=True).kind == "query"


@pytest.mark.parametrize(
    ("text", "columns", "heads"),
    [
        ("select count(*), Uri, 1 + 1 as two from clips", ["a", "b", "c"], ["count(*)", "Uri", "two"]),
        ("select previews[0].uri, versions['x'] from signals, runs", ["a", "b"], ["uri", "versions['x']"]),
        ("select max(uri), *, count(1) from clips", ["m", "x", "y", "n"], ["max(uri)", "x", "y", "count(1)"]),
        ("select a.*, b.* from clips a, spans b", ["x", "y"], ["x", "y"]),
        ("select sum(width) from clips union select 1", ["s"], ["sum(width)"]),
        ("values (1, 2)", ["col1", "col2"], ["col1", "col2"]),
    ],
)
def test_columns_without_a_name_are_called_as_they_are_written(text: str, columns: list[str], heads: list[str]) -> None:
    assert statement.heads(statement.parse(text).query, columns) == heads
