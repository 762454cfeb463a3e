"""sql: a query over tables and views is answered; one that is none is a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli


@pytest.mark.spark
@pytest.mark.parametrize(
    "query",
    [
        "select count(*) as n from verdicts",
        "select count(*) as n from curated where size(previews) > 0",
        "select sum(num_transcoded) as n from clip_stats",
    ],
)
def test_tables_and_views_are_asked(
    spark: SparkSession, curated: Path, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sql", "--output", str(curated), query]) == 0
    assert capsys.readouterr().out.split() == ["n", "3"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("select nothing from nowhere", "reelmill: [TABLE_OR_VIEW_NOT_FOUND]"),
        ("select duration from clips", "reelmill: [UNRESOLVED_COLUMN"),
        ("selct 1", "reelmill: [PARSE_SYNTAX_ERROR]"),
    ],
)
def test_a_query_that_is_none_is_a_wrong_usage(
    spark: SparkSession, curated: Path, query: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sql", "--output", str(curated), query]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(line)
    assert printed.count("\n") == 1


def test_an_output_must_hold_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    assert cli.main(["sql", "--output", str(tmp_path), "select 1"]) == 2
    assert capsys.readouterr().err == f"reelmill: --output {tmp_path}: no tables here\n"
