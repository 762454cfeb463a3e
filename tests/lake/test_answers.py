"""Answers to queries as plain tables, over the views of the rows that the last settings made."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake import answers
from jobs.lake.formats import MAX_ROWS
from jobs.lake.run import Run
from tests.support.outputs import CURATED


@pytest.mark.spark
def test_an_answer_has_a_line_per_row(spark: SparkSession) -> None:
    shown = answers.text(spark.sql("SELECT * FROM VALUES (1, 'a b'), (22, NULL) AS t(n, word)"))
    assert [line.split(maxsplit=1) for line in shown.splitlines()] == [["n", "word"], ["1", "a b"], ["22", "NULL"]]


@pytest.mark.spark
def test_an_empty_answer_names_its_columns(spark: SparkSession) -> None:
    assert answers.text(spark.sql("SELECT 1 AS n, 2 AS m WHERE false")) == "n  m\n(no rows)"


@pytest.mark.spark
@pytest.mark.parametrize(("num_rows", "has_more"), [(MAX_ROWS, False), (MAX_ROWS + 1, True)])
def test_a_long_answer_says_that_there_is_more(spark: SparkSession, num_rows: int, has_more: bool) -> None:
    lines = answers.text(spark.range(num_rows)).splitlines()
    assert lines[MAX_ROWS].strip() == str(MAX_ROWS - 1)
    assert [line.startswith("(more than 1000 rows: ") for line in lines[MAX_ROWS + 1 :]] == [True] * has_more


@pytest.mark.spark
def test_the_settings_that_count_are_those_of_the_last_run(spark: SparkSession, curated: Path) -> None:
    then = Run(spark, str(curated), load([], CURATED))
    now = Run(spark, str(curated), load([], ["clip.crf=30", "split.clip_len_s=9"]))
    recorded = answers.recorded(now)
    assert recorded == {stage: then.fingerprint(stage) for stage in recorded}
    assert {"ingest", "split", "clip", "analyze", "embed", "dedup", "filter"} <= recorded.keys()
    assert now.current("clips").isEmpty()
    answers.register_views(now)
    assert spark.table("current_clips").count() == 3
