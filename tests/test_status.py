"""status and curate --plan: without Spark, as text and JSON, by settings that are given; Spark says the same."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import status
from jobs.config.settings import Settings, load
from jobs.lake import progress_file
from jobs.lake.run import Run
from tests.support import half_done, small_output
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED
from tests.support.reading import said, without_spark
from udfs.storage.settings import Params as Sources

GIVEN = [f"--set={option}" for option in CURATED]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


def test_nothing_slow_is_loaded(output: Path) -> None:
    assert without_spark("status", "-o", str(output)).startswith(f"{output}: 2 videos, 4 clips, 2 kept")


def test_settings_of_the_store_alone_are_no_settings_of_a_run(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = said(capsys, "status", "-o", str(output), "--format", "json", "--set", "sources.retry_s=1")
    assert json.loads(one[1])["by"] == "the settings of the last run"
    other = said(capsys, "status", "-o", str(output), "--format", "json", "--set", "clip.crf=18")
    assert json.loads(other[1])["by"] == "the settings given"


def test_a_folder_that_is_no_output_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "status", "-o", str(tmp_path))[2] == f"reelmill: --output {tmp_path}: no tables here\n"


def test_a_plan_of_a_new_output_has_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b ü.mkv", "c.txt"):
        (tmp_path / "videos" / name).write_bytes(b"x")
    status_, out, err = said(capsys, "curate", str(tmp_path / "videos"), "-o", str(tmp_path / "out"), "--plan")
    assert (status_, err) == (0, "")
    assert out == "2 new files to ingest\nnothing is pending by the settings given\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--plan", "--check"], "curate: give --plan or --check, one of both"),
        (["--plan", "--set", "split.clip_len=3"], "--set: no setting split.clip_len; did you mean split.clip_len_s?"),
    ],
)
def test_a_plan_refuses_what_a_run_would(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "curate", str(tmp_path), "-o", str(tmp_path / "out"), *arguments)[2] == f"reelmill: {line}\n"


@pytest.mark.spark
def test_a_run_leaves_nothing_pending_and_says_that_it_is_done(
    curated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ((), GIVEN):
        status_, out, err = said(capsys, "status", "-o", str(curated), "--format", "json", *given)
        found = json.loads(out)
        assert (status_, err) == (0, "")
        assert {row["inputs"] for row in found["stages"]} == {0}
    run = found["run"]
    assert (run["job"], run["outcome"], run["at_work"]) == ("curate", "done", False)
    by_stage = {stage["stage"]: (stage["done"], stage["total"]) for stage in run["stages"]}
    assert by_stage["clip"] == (2, 2)  # videos
    assert by_stage["analyze"] == by_stage["embed"] == (3, 3)
    assert {"dedup", "filter"} <= by_stage.keys()


@pytest.mark.spark
@pytest.mark.nights
def test_what_is_pending_is_what_a_check_finds(
    curated: Path, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(curated, tmp_path / "output"))
    folder = tmp_path / "videos"
    folder.mkdir()
    write_numbered(folder / "new.mp4", 45, first=2000)
    shutil.rmtree(copy / "tables/signals")
    planned = said(capsys, "curate", str(folder), "-o", str(copy), "--plan", *GIVEN)
    assert (planned[0], planned[2]) == (0, "")
    assert planned[1].startswith("1 new file to ingest, about ")
    assert re.search(r"^  analyze +3 ", planned[1], flags=re.MULTILINE)
    checked = said(capsys, "curate", str(folder), "-o", str(copy), "--check", *GIVEN)
    assert checked[0] == 1
    assert "3 inputs of analyze pending" in checked[2]


@pytest.mark.nights
@pytest.mark.spark
def test_a_plan_by_spark_says_the_same(
    curated: Path, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(curated, tmp_path / "output"))
    write_numbered(tmp_path / "new.mp4", 45, first=2000)
    (tmp_path / "list.csv").write_text("uri\nnew.mp4\n")
    (tmp_path / "list.json").write_text('["new.mp4"]')
    before = progress_file.read(str(copy), Sources())
    by_duckdb = said(capsys, "curate", str(tmp_path / "list.json"), "-o", str(copy), "--plan", *GIVEN)
    by_spark = said(capsys, "curate", str(tmp_path / "list.csv"), "-o", str(copy), "--plan", *GIVEN)
    assert by_spark[1] == by_duckdb[1]
    assert "Spark answers: the manifest is a table (csv)" in by_spark[2]
    assert progress_file.read(str(copy), Sources()) == before


@pytest.mark.nights
@pytest.mark.spark
def test_spark_says_the_same(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = half_done.write(tmp_path, load([], []), 1, num_done=2, num_videos=9)
    status.run(Run(spark, str(output), Settings()), status.Options(output=str(output), format="json"))
    by_spark = json.loads(capsys.readouterr().out)
    assert by_spark == json.loads(said(capsys, "status", "-o", str(output), "--format", "json")[1])
