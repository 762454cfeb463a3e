"""scores: without Spark, as text and JSON, with thresholds to try; wrong words are one line; Spark says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import scores
from jobs.config.settings import Settings
from jobs.lake.run import Run
from tests.support import small_output
from tests.support.reading import said, started, without_spark


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


def test_nothing_slow_is_loaded(output: Path) -> None:
    head = "what each gate alone drops of 4 clips, of which 2 are kept now\n"
    assert without_spark("scores", "-o", str(output)).startswith(head)


def test_thresholds_may_be_tried_by_settings_and_files(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("-o", str(output), "--format", "json", "motion_score_global_mean")
    (tmp_path / "mine.toml").write_text("[filter]\nmotion_global_mean_threshold = 0.5\n[split]\nclip_len_s = 3\n")
    of_file = said(capsys, "scores", *given, "--conf", str(tmp_path / "mine.toml"))
    of_set = said(capsys, "scores", *given, "--set", "filter.motion_global_mean_threshold=0.5")
    assert of_file == of_set
    [gate] = json.loads(of_set[1])["gates"]
    assert (gate["drops"], gate["drops_kept"]) == (1, 1)
    assert json.loads(said(capsys, "scores", *given)[1])["gates"][0]["drops"] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["blackish"], "scores: no score blackish: did you mean blackness?"),
        (["moton"], "scores: no score moton: known are motion_score_global_mean, motion_score_per_patch_min_256, "),
        (["--set", "filter.blur_threshold=-1"], "filter.blur_threshold: Input should be greater than or equal to 0"),
        (["--set", "filter.blur=1"], "--set: no setting filter.blur; did you mean filter.blurred?"),
    ],
)
def test_wrong_words_are_one_line(
    arguments: list[str], line: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "scores", "-o", str(output), *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"reelmill: {line}")
    assert err.count("\n") == 1


def test_a_terminal_without_blocks_gets_other_signs(output: Path) -> None:
    status, out, err = started("scores", "-o", str(output), encoding="ascii")
    assert (status, err) == (0, "")
    assert "@" in out
    assert "█" in started("scores", "-o", str(output))[1]


@pytest.mark.nights
@pytest.mark.spark
def test_spark_says_the_same(output: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    options = scores.Options(output=str(output), format="json")
    scores.run(Run(spark, str(output), Settings()), options)
    by_spark = json.loads(capsys.readouterr().out)
    by_duckdb = json.loads(said(capsys, "scores", "-o", str(output), "--format", "json")[1])
    for found in (by_spark, by_duckdb):
        for score in found["scores"]:
            del score["quantiles"]  # approximate
            del score["bins"]  # whose range depends on them
    assert by_spark == by_duckdb


@pytest.mark.spark
def test_the_scores_of_a_run(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "scores", "-o", str(curated), "--format", "json", "motion", "blur")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert [(score["score"], score["finite"]) for score in found["scores"]] == [
        ("motion_score_global_mean", 3),
        ("motion_score_per_patch_min_256", 3),
        ("blur", 3),
    ]
    assert all(sum(row["clips"] for row in score["bins"]) == 3 for score in found["scores"])
