"""Joins whose columns a query does not name are left out of a view, and its answers stay the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from jobs.lake.views import CURATED
from jobs.queries import ask, unused_joins
from jobs.queries.spark_dialect import SPARK
from tests.support import small_output
from udfs.storage.settings import Params as Sources

GROUPED = "LEFT JOIN (SELECT id, max(x) AS x FROM t GROUP BY id) AS j ON j.id = v.id"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_output.write(tmp_path_factory.mktemp("output"))


def left(join: str, used: set[str], selected: str = "v.id, j.x", more: str = "") -> int:
    """How many joins a view keeps."""
    view = sqlglot.parse_one(f"SELECT {selected} FROM v {join} {more}", dialect=SPARK)
    assert isinstance(view, exp.Select)
    return len(unused_joins.without_unused(view, used).args.get("joins") or [])


def test_a_join_stays_where_a_column_of_it_is_used() -> None:
    assert left(GROUPED, {"id"}) == 0
    assert left(GROUPED, {"id", "x"}) == 1
    assert left(GROUPED, {"y"}, "v.id, coalesce(j.x, 0) AS y") == 1
    assert left(f"{GROUPED} {GROUPED.replace('j', 'k')}", {"x"}, "v.id, j.x, k.x AS z") == 1


@pytest.mark.parametrize("more", ["WHERE j.x > 1", "GROUP BY v.id, j.x", "ORDER BY j.x"])
def test_a_join_stays_where_another_part_of_the_view_needs_it(more: str) -> None:
    assert left(GROUPED, {"id"}, more=more) == 1
    assert left(f"{GROUPED} LEFT JOIN (SELECT x FROM s GROUP BY x) AS k ON k.x = j.x", {"id"}, "v.id, j.x, k.x") == 0
    assert left(f"{GROUPED} LEFT JOIN (SELECT x FROM s GROUP BY x) AS k ON k.x = j.x", {"z"}, "v.id, k.x AS z") == 2


@pytest.mark.parametrize(
    "join",
    [
        GROUPED.replace("LEFT JOIN", "JOIN"),
        GROUPED.replace("LEFT JOIN", "LEFT SEMI JOIN"),
        GROUPED.replace(" GROUP BY id", ""),
        GROUPED.replace("GROUP BY id", "GROUP BY id, x"),
        GROUPED.replace("GROUP BY id", "GROUP BY ALL"),
        GROUPED.replace("j.id = v.id", "j.id > v.id"),
        GROUPED.replace("j.id = v.id", "j.id = v.id OR true"),
        "LEFT JOIN t AS j ON j.id = v.id",
    ],
)
def test_a_join_stays_that_may_change_the_number_of_rows(join: str) -> None:
    assert left(join, {"id"}) == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT count(*) FROM curated", {"curated"}),
        ("SELECT Uri FROM curated AS c WHERE c.Motion > 1", {"uri", "curated", "c", "motion"}),
        ("SELECT * FROM curated", None),
        ("SELECT c.* FROM curated AS c", None),
        ("SELECT c FROM curated AS c", None),
        ("SELECT count(DISTINCT curated) FROM curated", None),
        ("SELECT uri FROM curated NATURAL JOIN videos", None),
        ("SELECT uri FROM (SELECT * FROM curated)", None),
    ],
)
def test_the_names_in_a_query(query: str, names: set[str] | None) -> None:
    parsed = sqlglot.parse_one(query, dialect=SPARK)
    assert isinstance(parsed, exp.Query)
    assert unused_joins.named(parsed) == names


@pytest.mark.parametrize("column", CURATED.columns)
def test_each_column_is_the_same_alone_and_among_all(column: str, output: Path) -> None:
    answer = ask.by_duckdb(str(output), Sources())
    place = [*CURATED.columns].index(column)
    every = answer("SELECT * FROM curated ORDER BY clip_id")
    assert len(every) > 1
    alone = answer(f"SELECT clip_id, {column} FROM curated ORDER BY clip_id")
    assert [row[1] for row in alone] == [row[place] for row in every]
