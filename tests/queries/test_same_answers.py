"""DuckDB and Spark give the same answers: to every view, every documented query, and values of every type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config.settings import Settings
from jobs.lake import formats, views
from jobs.lake.run import Run
from jobs.queries import duckdb_engine, spark_engine, statement
from jobs.queries.dialect import UntranslatedError
from tests.support import small_output
from tests.support.pages import DOCS, README, blocks, commands
from udfs.storage.settings import Params as Sources

pytestmark = pytest.mark.spark
DOCUMENTED = [query.strip().rstrip(";") for page in (README, Path("docs/sql.md")) for query in blocks(page, "sql")]
COMMANDS = [
    query
    for page in (README, *DOCS)
    for command in commands(page)
    if command[0] == "sql" and (query := cli.parse(command).query)
]
Engine = duckdb_engine.Engine | spark_engine.Engine
Both = tuple[Engine, Engine]
LONG = re.compile(r"-?\d+\.\d{12,}(e-?\d+)?")  # a sum of floating-point numbers depends on their order
VIEWS = [view.name for view in views.every(str)]
OF_VIEWS = [f"SELECT * FROM {name}" for name in VIEWS]
VALUES = """
CAST('nan' AS DOUBLE), CAST('-inf' AS DOUBLE), 1.50, CAST(1 AS DECIMAL(10, 3)), unhex('0aff'), 1e20, 1 / 3,
timestamp '2026-01-01 00:00:00.25', date '2026-02-03', timestamp '2026-01-01 02:00:00' - interval 1 hour, NULL, true,
map('a', 1, 'b', NULL), array(1, NULL), named_struct('x', 1, 'y', 'z'), array(named_struct('x', array(1.5D))),
'a\\nb', '', 'it''s', 10 div 3, -7 % 3, interval 1 day, CAST(1.7 AS INT), CAST('12' AS BIGINT), CAST(0.1 AS FLOAT),
floor(-1.5D), ceil(1.2), round(2.5D), round(12.345D, 1), dayofweek(date '2026-01-02'), date_add(date '2026-01-31', 1),
exists(array('motion', 'blur'), r -> r LIKE 'mo%'), transform(array(1, 2), x -> x + 1), filter(array(1, 2), x -> x > 1),
aggregate(array(1, 2), 0, (a, x) -> a + x), array_sort(array('b', NULL, 'a')), sort_array(array(2, NULL, 1), false),
array_join(array('a', 'b'), '-'), split('a1b2', '[0-9]'), regexp_replace('a1', '[0-9]', 'x'), 'ab' RLIKE '^a',
date_format(timestamp '2026-01-02 03:04:05', 'yyyy-MM-dd HH:mm:ss'), date_trunc('month', timestamp '2026-05-06 01:02'),
datediff(date '2026-01-05', date '2026-01-01'), concat('a', 1, true), 'a' || 'b', substr('abc', 0, 2), left('abc', 2),
CAST(timestamp '2026-01-02 03:04:05' AS STRING), CAST(date '2026-01-02' AS TIMESTAMP), year(date '2026-01-02'),
array(10, 20)[1], map('k', 'v')['k'], element_at(array(1, 2, 3), -1), size(array(1, 2)), try_divide(1, 0), hex(255),
coalesce(NULL, 1), greatest(1, NULL, 3), nullif(1, 1), md5('a'), sha2('a', 256), base64('a'), lpad('a', 3, 'x'),
instr('abc', 'c'), initcap('ab cd'), percentile_approx(1, 0.5) OVER (), unix_timestamp('2026-01-02 03:04:05'),
make_date(2026, 1, 2), map_keys(map('a', 1)), sequence(1, 3), slice(array(1, 2, 3), 2, 2), log10(100), pow(2, 0.5),
array_position(array('a'), 'x'), array_position(array('a', NULL), NULL), array_position(array('b', 'a'), 'a'),
array_contains(array(1, NULL), 2), array_contains(array(1, NULL), 1), exists(array(NULL, 1), x -> x > 2),
array_distinct(array('b', 'a', 'b', NULL, NULL)), array_except(array('b', 'a', 'b', NULL), array('a')),
array_except(array('b', 'a', NULL), array(NULL)), array_intersect(array('c', NULL, 'b'), array('b', NULL, 'c')),
array_remove(array(1, NULL, 2), 1), flatten(array(array(1), NULL)), sequence(3, 1), sequence(5, 1, -2),
try_cast('29.97' AS INT), try_cast(' +29 ' AS BIGINT), try_cast('1e3' AS INT), try_cast('1_000' AS INT),
try_cast('0x1F' AS INT), try_cast('1_0' AS DOUBLE), try_cast(' 1.5e3 ' AS DOUBLE), try_cast(1e20 AS INT),
regexp_replace('a.b', '[.]', '-'), date_format(timestamp '2026-01-02 13:04:05.25', 'yyyyMMdd_HHmmss.SSSSSS'),
date_format(timestamp '2026-01-02 13:04:05', 'y yy M MM MMM MMMM d dd H h hh m s a E EEE EEEE D'), isnan(NULL), ln(0),
log10(-1), sign(-3), left('abc', -1), right('abc', -1), substr('abc', 1 - 1, 2), substr('abc', 2, -1),
'a_b' ILIKE 'A\\_b', 'axb' ILIKE 'a\\_b', unix_seconds(timestamp '2026-01-02 03:04:05.678'),
date '2026-01-31' + interval 1 month
"""
NULLS = "VALUES (1, 1, 2.5D), (NULL, 2, 0.5D), (7, NULL, 9.5D), (3, 0, NULL) AS t (x, y, z)"
AGGREGATES = """
max_by(x, y), min_by(x, y), max_by(x, y) FILTER (WHERE x = 1), max_by(struct(x, y), y), any_value(x, true),
percentile_approx(z, 0.5), percentile_approx(z, array(0.1, 0.4, 0.9)), approx_percentile(x, 0.9, 100),
collect_list(x) FILTER (WHERE x > 50), collect_list(x), count_if(x > 1)
"""
# What DuckDB would answer otherwise: only Spark answers.
ONLY_SPARK = {
    "regexp_replace('/v/park.mp4', '.*/([^/]+)$', '$1')": "park.mp4",
    "regexp_replace('a.b', '[.]', '\\\\$')": "a$b",
    "regexp_replace('ab', 'b', concat('$', '0'))": "ab",
    "date_format(timestamp '2026-01-02 03:04:05', \"yyyy-MM-dd'T'HH:mm:ss\")": "2026-01-02T03:04:05",
    "date_format(timestamp '2026-01-02 03:04:05.25', 'HH:mm:ss.SSS')": "03:04:05.250",
    "date_format(timestamp '2026-01-02 03:04:05', 'DD')": "02",
    "date_format(timestamp '2026-01-02 03:04:05', 'yyyMMdd')": "20260102",
    "date_format(timestamp '2026-01-02 03:04:05', 'z')": "UTC",
    "'ab' RLIKE '^(?!.*test)'": True,
    "'b' RLIKE '[a-c&&[^a]]'": True,
    "unhex('zz')": None,
    "get_json_object('no json', '$.a')": None,
    'get_json_object(\'{"a": [{"b": 1}, {"b": 2}]}\', \'$.a[*].b\')': "[1,2]",
    "date_trunc('MM', timestamp '2026-05-02 03:04:05')": "2026-05-01T00:00:00Z",
    "sequence(date '2026-01-01', date '2026-02-01', interval 1 month)": ["2026-01-01", "2026-02-01"],
    "date '2026-01-05' - date '2026-01-01'": "4 days, 0:00:00",
    "CAST(0.0001D AS STRING)": "1.0E-4",
    "CAST(1e20 AS STRING)": "1.0E20",
    "CAST(named_struct('a', 1) AS STRING)": "{1}",
    "months_between(date '2026-03-15', date '2026-01-31')": 1.48387097,
}
QUERIES = [
    "SELECT count_if(num_in > 9), collect_list(gpu_s), collect_set(gpu_s), sum(gpu_s), avg(num_in) FROM runs",
    "SELECT stage, count(*), min(started_at) FROM runs GROUP BY ALL ORDER BY ALL",
    "SELECT cost_usd, stage FROM runs ORDER BY cost_usd, stage",
    "SELECT num_in, stage FROM runs ORDER BY num_in, stage DESC",
    "SELECT num_in, stage FROM runs ORDER BY num_in DESC, stage LIMIT 2",
    "SELECT clip_id, reason FROM verdicts LATERAL VIEW explode(reasons) t AS reason",
    "SELECT clip_id, explode(reasons) AS reason FROM verdicts",
    "SELECT attributes['license'], r.versions['reelmill'] FROM videos, runs r",
    "SELECT try_element_at(previews, 1).uri, previews FROM signals",
    "SELECT * FROM clips LEFT ANTI JOIN verdicts USING (clip_id)",
    "SELECT percentile(duration_s, 0.5), median(duration_s), round(stddev(duration_s), 9) FROM clips",
    "SELECT clip_id, row_number() OVER (PARTITION BY video_id ORDER BY start_s) AS n FROM spans",
    "SELECT CAST(duration_s AS INT), floor(duration_s) FROM clips",
    "WITH clips AS (SELECT uri FROM clips) SELECT * FROM clips",
    "SELECT * FROM (VALUES (1, 'a'), (NULL, 'b')) AS t (n, s)",
    "VALUES (1, 'a'), (2, NULL)",
    *(f"DESCRIBE {name}" for name in ("videos", "embeddings", "runs", "curated", "clip_stats", "nemo", "run_summary")),
    "DESCRIBE SELECT count(*), max(uri), sum(num_bytes) AS bytes FROM clips",
    "SHOW COLUMNS IN curated",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def curated_by_both(spark: SparkSession, curated: Path) -> Both:
    """Both engines over the output of a run."""
    return both(spark, curated)


@pytest.fixture(scope="module")
def small_by_both(spark: SparkSession, small: Path) -> Both:
    """Both engines over an output of literal rows."""
    return both(spark, small)


def both(spark: SparkSession, output: Path) -> Both:
    """DuckDB and Spark over an output."""
    duck = duckdb_engine.Engine(str(output), Sources(), "min")
    return duck, spark_engine.Engine(Run(spark, str(output), Settings()))


def lines(engine: Engine, query: str, *, ordered: bool = False) -> list[str]:
    """An answer as CSV with 12 digits of a number, sorted unless the query puts all rows in an order."""
    head, *rows = (
        LONG.sub(lambda number: f"{float(number[0]):.12g}", line)
        for line in formats.lines(engine.answer(statement.parse(query)), "csv")
    )
    return [head, *(rows if ordered else sorted(rows))]


def test_the_pages_have_queries() -> None:
    assert len(DOCUMENTED) >= 21
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize(
    "query", [*(pytest.param(query, marks=pytest.mark.nights) for query in OF_VIEWS), *DOCUMENTED, *COMMANDS]
)
def test_both_engines_give_the_same_rows_of_a_run(query: str, curated_by_both: Both) -> None:
    duck, other = curated_by_both
    assert lines(duck, query) == lines(other, query)


@pytest.mark.parametrize("query", [*OF_VIEWS, *QUERIES])
def test_both_engines_give_the_same_rows_of_literal_ones(query: str, small_by_both: Both) -> None:
    duck, other = small_by_both
    ordered = " ORDER BY " in query and "OVER" not in query
    assert lines(duck, query, ordered=ordered) == lines(other, query, ordered=ordered)


def test_both_engines_give_the_same_values(small_by_both: Both) -> None:
    duck, other = small_by_both
    assert lines(duck, f"SELECT {VALUES}") == lines(other, f"SELECT {VALUES}")


def test_both_engines_reduce_scores_as_the_last_run_of_filter_did(spark: SparkSession, tmp_path: Path) -> None:
    output = small_output.write_reduced(tmp_path)
    duck = duckdb_engine.Engine(str(output), Sources())
    other = spark_engine.Engine(Run(spark, str(output), Settings()))
    query = "SELECT aesthetic_score FROM curated"
    assert lines(duck, query) == lines(other, query) == ["aesthetic_score", "5.0"]


def test_both_engines_give_the_same_aggregates_of_nulls(small_by_both: Both) -> None:
    duck, other = small_by_both
    query = f"SELECT {AGGREGATES} FROM {NULLS}"
    assert lines(duck, query) == lines(other, query)


@pytest.mark.parametrize(("expression", "value"), ONLY_SPARK.items())
def test_what_duckdb_would_answer_otherwise_is_left_to_spark(
    expression: str, value: object, small_by_both: Both
) -> None:
    duck, other = small_by_both
    asked = statement.parse(f"SELECT {expression}")
    with pytest.raises(UntranslatedError):
        duck.answer(asked)
    assert [*other.answer(asked).rows] == [(value,)]
