"""Spark's SQL in DuckDB's words: what sqlglot leaves as it is, and values that would differ."""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb
import pytest

from jobs.queries import dialect, statement


def answer(query: str) -> list[tuple[Any, ...]]:
    """DuckDB's rows of a query in Spark's SQL."""
    with duckdb.connect() as db:
        parsed = statement.parse(query).query
        assert parsed is not None
        found: list[tuple[Any, ...]] = db.execute(dialect.to_duckdb(parsed)).fetchall()
        return found


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("exists(array('motion', 'blur'), r -> r LIKE 'mo%')", True),
        ("exists(array('blur'), r -> r LIKE 'mo%' OR exists(array(1), x -> x > 1))", False),
        ("exists(transform(array(1.5), x -> floor(x)), n -> n = 1)", True),
        ("cast(1.7 as int)", 1),
        ("cast(-2.5D as bigint)", -2),
        ("cast(cast(1.9 as float) as int)", 1),
        ("cast('12' as int)", 12),
        ("try_cast('a' as int)", None),
        ("try_cast('29.97' as int)", None),
        ("try_cast('1_0' as double)", None),
        ("array_position(array('a'), 'x')", 0),
        ("array_contains(array(1, NULL), 2)", None),
        ("array_distinct(array('b', 'a', 'b', NULL, NULL))", ["b", "a", None]),
        ("date_format(timestamp '2026-01-02 03:04:05', 'yyyyMMdd HHmm')", "20260102 0304"),
        ("cast(timestamp '2026-01-02 03:04:05' as string)", "2026-01-02 03:04:05"),
        ("dayofweek(date '2026-01-02')", 6),
        ("date_add(date '2026-01-01', 1)", date(2026, 1, 2)),
        ("array_sort(array('b', NULL, 'a'))", ["a", "b", None]),
        ("sort_array(array('b', NULL, 'a'))", [None, "a", "b"]),
        ("'a_b' LIKE 'a\\_b'", True),
        ("'axb' LIKE 'a\\_b'", False),
        ("substr('abc', 0, 2)", "ab"),
        ("floor(3.7D)", 3),
        ("ceil(-3.7D)", -3),
        ("array(10, 20)[0]", 10),
        ("map('a', 1)['a']", 1),
        ("size(filter(array(1, 2, 3), x -> x > 1))", 2),
        ("named_struct('a', 1, 'b', 'x').b", "x"),
        ("try_divide(1, 0)", None),
        ("regexp_extract('/v/park.mp4', '[^/]+$', 0)", "park.mp4"),
        ("'a\\nb'", "a\nb"),
    ],
)
def test_an_expression_has_the_value_that_spark_gives(expression: str, value: object) -> None:
    [[found]] = answer(f"SELECT {expression}")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        ("percentile_approx(x, 0.5)", None),
        ("max_by(x, x)", None),
        ("count_if(x > 1)", 0),
        ("collect_list(x)", []),
        ("collect_set(x)", []),
        ("sum(x)", None),
    ],
)
def test_aggregates_of_nothing_are_those_of_spark(aggregate: str, value: object) -> None:
    assert answer(f"SELECT {aggregate} FROM VALUES (CAST(NULL AS INT)) AS t (x)") == [(value,)]
    assert answer(f"SELECT {aggregate} FROM VALUES (1) AS t (x) WHERE false") == [(value,)]


def test_a_range_has_the_column_id() -> None:
    assert answer("SELECT id FROM range(2)") == [(0,), (1,)]
    assert answer("SELECT a.id + b.n FROM range(1, 2) a, range(2, 3) AS b (n)") == [(3,)]


def test_hints_are_left_out() -> None:
    query = statement.parse("SELECT /*+ BROADCAST(clips) */ uri FROM clips").query
    assert query is not None
    assert dialect.to_duckdb(query) == "SELECT uri FROM clips"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("typeof(uri)", "the function typeof"),
        ("format_string('%d', 1)", "the function format"),
        ("cuont(uri)", "the function cuont"),
        ("transform(array(1), (x, i) -> x + i)", "a function with an index, which DuckDB counts from 1"),
        ("timestampdiff(hour, uri, uri)", "the function timestampdiff"),
        ("datediff(month, uri, uri)", "the difference of times in units of month"),
        ("regexp_replace(uri, '(a)', '$1')", "groups in the replacement of regexp_replace"),
        ("regexp_replace(uri, 'a', uri)", "groups in the replacement of regexp_replace"),
        ("uri RLIKE '[a-c&&[^a]]'", "&& in a regular expression"),
        ("date_format(uri, \"yyyy'T'\")", "the format of a time"),
        ("date_format(uri, 'SSS')", "the format of a time"),
        ("date_format(uri, 'yyyMM')", "the format of a time"),
        ("date_format(uri, uri)", "the format of a time"),
        ("to_date(uri, 'DDD')", "the format of a time"),
        ("date_trunc('MM', uri)", "the unit of date_trunc"),
        ("current_date() - date '2026-01-01'", "the difference of dates"),
        ("approx_count_distinct(uri)", "the function approx_distinct"),
        ("1 FROM clips LATERAL VIEW OUTER explode(array(1)) t AS n --", "LATERAL VIEW OUTER"),
    ],
)
def test_what_may_mean_something_else_is_not_translated(expression: str, why: str) -> None:
    query = statement.parse(f"SELECT {expression}\n").query
    assert query is not None
    with pytest.raises(dialect.UntranslatedError) as e:
        dialect.to_duckdb(query)
    assert str(e.value) == why


@pytest.mark.parametrize(
    ("spark", "duck"),
    [("string", "TEXT"), ("array<float>", "REAL[]"), ("map<string,bigint>", "MAP(TEXT, BIGINT)")],
)
def test_types_have_other_names(spark: str, duck: str) -> None:
    assert dialect.type_to_duckdb(spark) == duck
