"""failures: without Spark, as text and JSON; wrong words are one line; Spark says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli, failures
from jobs.config.settings import Settings
from jobs.lake.run import Run
from tests.support import small_output
from tests.support.reading import said, without_spark


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


def test_nothing_slow_is_loaded(output: Path) -> None:
    assert without_spark("failures", "-o", str(output)).startswith("1 input could not be used\n\nCORRUPT  1 (ingest 1)")


def test_json_has_the_same(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "failures", "corrupt", "-o", str(output), "--format", "json", "--stage", "ingest")
    assert (status, err) == (0, "")
    assert [(row["code"], row["count"]) for row in json.loads(out)["codes"]] == [("CORRUPT", 1)]


def test_a_code_that_is_none_names_the_codes(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        cli.main(["failures", "-o", str(output), "CORUPT"])
    assert e.value.code == 2
    assert "invalid choice: 'CORUPT' (choose from " in capsys.readouterr().err


def test_a_folder_that_is_no_output_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "failures", "-o", str(tmp_path))[2] == f"reelmill: --output {tmp_path}: no tables here\n"


@pytest.mark.nights
@pytest.mark.spark
def test_spark_says_the_same(output: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    failures.run(Run(spark, str(output), Settings()), failures.Options(output=str(output)))
    assert capsys.readouterr().out == said(capsys, "failures", "-o", str(output))[1]


@pytest.mark.spark
def test_a_run_that_failed_nothing_says_so(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = (0, "nothing failed, or a later run could use it\n", "")
    assert said(capsys, "failures", "-o", str(curated)) == expected
