"""The progress of a stage: tasks count, the log has the sum and the rate, a terminal a live line."""

from __future__ import annotations

import re
import time

import pytest
from pyspark.sql import Row, SparkSession

from jobs.config.settings import Settings
from jobs.flow.progress import POLL_S, Progress
from jobs.lake.run import Run

pytestmark = pytest.mark.spark
ITEMS = [Row(clip_id=f"{i}") for i in range(4)]


def run(spark: SparkSession, *, live: bool = False) -> Run:
    return Run(spark, "unused", Settings(), live=live)


def test_what_tasks_finish_is_counted_on_the_driver(spark: SparkSession) -> None:
    with Progress(run(spark), "clip", ITEMS) as progress:
        done = progress.done
        spark.sparkContext.parallelize(range(4), 2).foreach(lambda _: done.add(1))
        assert (progress.done.value, progress.total) == (4, 4)


def test_the_end_of_a_stage_is_a_line_with_its_rate(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="reelmill"), Progress(run(spark), "clip", ITEMS):
        time.sleep(0.05)
    [line] = [record.getMessage() for record in caplog.records]
    found = re.fullmatch(r"clip: 4 done in \d+\.\d s, (?P<rate>[\d.]+)/s", line)
    assert found is not None, line
    assert 0 < float(found["rate"]) <= 80


def test_a_stage_that_fails_says_no_rate(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", logger="reelmill"),
        pytest.raises(KeyError, match="uri"),
        Progress(run(spark, live=True), "clip", ITEMS) as progress,
    ):
        raise KeyError("uri")
    assert caplog.records == []
    assert progress._watcher is not None
    assert not progress._watcher.is_alive()


def test_a_terminal_shows_how_many_are_done(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress(run(spark, live=True), "analyze", ITEMS) as progress:
        progress.done.add(3)
        time.sleep(3 * POLL_S)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"analyze .* 3/4 ", shown)


def test_without_a_terminal_nothing_is_shown(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(run(spark), "analyze", ITEMS):
        pass
    assert capsys.readouterr().err == ""
