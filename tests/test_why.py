"""why: without Spark, as text and JSON, in any encoding; wrong words are one line; Spark says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import reelmill
from jobs import why
from jobs.config.settings import Settings
from jobs.lake.run import Run
from tests.support import s3, small_output
from tests.support.reading import said, started, without_spark


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows, in a folder whose name has a blank and letters beyond ASCII."""
    return small_output.write(tmp_path_factory.mktemp("my output ü"))


def test_nothing_slow_is_loaded(output: Path) -> None:
    assert without_spark("why", "c2", "-o", str(output)).startswith("clip c2: dropped (motion, blur)\n")


def test_json_has_the_whole_story(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "why", "-o", str(output), "--format", "json", "c4")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["verdict"], found["duplicate_of"]["clip_id"]) == ("dropped", "c1")


def test_python_answers_the_same(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "why", "-o", str(output), "v1")
    assert f"{reelmill.open(output).why('v1')}\n" == out


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("c", "4 ids begin with c: c1, c2, c3 ..."),
        ("x", "no clip, video or address x here"),
        ("", "why: an empty name"),
    ],
)
def test_a_word_that_means_nothing_or_several_has_status_2(
    what: str, line: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "why", "-o", str(output), what) == (2, "", f"reelmill: {line}\n")


def test_a_folder_that_is_no_output_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"reelmill: --output {tmp_path}: no tables here\n"
    assert said(capsys, "why", "-o", str(tmp_path), "c1") == (2, "", line)


def test_a_terminal_of_another_encoding_gets_escapes(output: Path, tmp_path: Path) -> None:
    small_output.fill(tmp_path, "videos", [{"video_id": "v1", "uri": "/v/日本 ü.mp4", "duration_s": 1.0}], "ingest")
    for encoding, shown in (("utf-8", "日本 ü"), ("latin-1", "\\u65e5\\u672c ü"), ("ascii", "\\u65e5\\u672c \\xfc")):
        status, out, err = started("why", "-o", str(tmp_path), "日本 ü.mp4", encoding=encoding)
        assert (status, err) == (0, "")
        assert f"  source      /v/{shown}.mp4\n" in out


def test_an_output_on_s3(output: Path, s3_server: s3.Server, capsys: pytest.CaptureFixture[str]) -> None:
    for path in output.rglob("*"):
        if path.is_file():
            s3_server.put(f"s3://stories/out/{path.relative_to(output)}", path)
    settings = (f"--set=sources.s3_endpoint={s3_server.url}", "--set=sources.s3_region=us-east-1")
    status, out, err = said(capsys, "why", "-o", "s3://stories/out", *settings, "c1")
    assert (status, err) == (0, "")
    assert out == said(capsys, "why", "-o", str(output), "c1")[1]


@pytest.mark.nights
@pytest.mark.spark
@pytest.mark.parametrize("what", ["c1", "c2", "c4", "v1", "v0", "/v/bad.mp4"])
def test_spark_tells_the_same_story(
    what: str, output: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    why.run(Run(spark, str(output), Settings()), why.Options(output=str(output), what=what))
    assert capsys.readouterr().out == said(capsys, "why", "-o", str(output), what)[1]


@pytest.mark.spark
@pytest.mark.parametrize("what", ["long.mp4", "other.mkv"])
def test_a_video_of_a_run_has_a_story(what: str, curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "why", "-o", str(curated), what)
    assert (status, err) == (0, "")
    assert "settings in force" in out
    clip = next(line.split()[1] for line in out.splitlines() if line.startswith("  clip "))
    status, out, err = said(capsys, "why", "-o", str(curated), clip[:8])
    assert (status, err) == (0, "")
    assert out.startswith(f"clip {clip}: kept\n")
