"""The progress of a stage: tasks count, the log has the sum and the rate, and views of the board show it."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from jobs.config.settings import Settings
from jobs.flow import views
from jobs.flow.progress import Progress
from jobs.flow.steps import step
from jobs.lake import progress_file
from jobs.lake.board import POLL_S
from jobs.lake.run import Run

pytestmark = pytest.mark.spark
ITEMS = [Row(clip_id=f"{i}") for i in range(4)]
log = logging.getLogger("reelmill")


def run(spark: SparkSession, output: str = "unused", *, live: bool = False) -> Run:
    return Run(spark, output, Settings(), live=live)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is a terminal of 120 columns, as rich sees it."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)


def plain(text: str) -> str:
    """Text without what moves a cursor or colors it."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


def test_what_tasks_finish_is_counted_on_the_driver(spark: SparkSession) -> None:
    work = run(spark)
    with Progress(work, "clip", ITEMS) as progress:
        done, failed = progress.done, progress.failed

        def count(_: int) -> None:
            done.add(1)
            failed.add(2)

        spark.sparkContext.parallelize(range(4), 2).foreach(count)
        [state] = work.board.states()
        assert (state.done, state.failed, state.total, state.at_work) == (4, 8, 4, True)


def test_the_end_of_a_stage_is_a_line_with_its_rate(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="reelmill"), Progress(run(spark), "clip", ITEMS):
        time.sleep(0.05)
    [record] = caplog.records
    found = re.fullmatch(r"clip: 4 done in \d+\.\d s, (?P<rate>[\d.]+)/s", record.getMessage())
    assert found is not None, record.getMessage()
    assert 0 < float(found["rate"]) <= 80
    assert vars(record)["event"] | {"seconds": 0} == {"stage": "clip", "done": 4, "failed": 0, "seconds": 0}


def test_a_stage_that_fails_says_no_rate(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    work = run(spark)
    with (
        caplog.at_level("INFO", logger="reelmill"),
        pytest.raises(KeyError, match="uri"),
        Progress(work, "clip", ITEMS),
    ):
        raise KeyError("uri")
    assert caplog.records == []
    assert [state.at_work for state in work.board.states()] == [False]


def test_a_terminal_shows_stages_side_by_side_with_failures_and_the_log_above(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], terminal: None
) -> None:
    work, handler = run(spark, live=True), logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    with work.board.shown_by(views.of_run(work, "curate", writes=False, events=False)):
        with Progress(work, "clip", ITEMS) as cut, Progress(work, "embed", ITEMS) as embedded:
            cut.done.add(3)
            cut.failed.add(1)
            embedded.done.add(2)
            with step(work, "dedup"):
                time.sleep(2 * POLL_S)
                logging.getLogger().warning("a line of the log")
                time.sleep(2 * POLL_S)
        work.board.hide()
        print("the summary")
    logging.getLogger().removeHandler(handler)
    printed = capsys.readouterr()
    shown = plain(printed.err)
    assert re.search(r"clip .* 3/4 .*/s .* left 1 failed", shown)
    assert re.search(r"embed .* 2/4 ", shown)
    assert "dedup" in shown
    assert re.search(r"^a line of the log *$", shown.replace("\r", "\n"), flags=re.MULTILINE)
    assert printed.out == "the summary\n"
    assert handler.stream is not None
    assert handler.stream is sys.stderr or "FileProxy" not in type(handler.stream).__name__


def test_without_a_terminal_nothing_is_shown(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    work = run(spark)
    with (
        work.board.shown_by(views.of_run(work, "curate", writes=False, events=False)),
        Progress(work, "analyze", ITEMS),
    ):
        pass
    assert capsys.readouterr().err == ""


def test_the_progress_file_says_what_the_run_does(spark: SparkSession, tmp_path: Path) -> None:
    work = run(spark, str(tmp_path))
    shown = views.of_run(work, "curate", writes=True, events=False)
    with work.board.shown_by(shown), Progress(work, "clip", ITEMS) as progress:
        work.board.waves = (1, 2)
        progress.done.add(3)
        time.sleep(2 * POLL_S)
        found = progress_file.read(str(tmp_path), Settings().sources)
    assert found is not None
    assert (found["run_id"], found["job"], found["outcome"]) == (work.run_id, "curate", None)
    assert found["fingerprints"]["clip"] == work.fingerprint("clip")
    assert found["settings"]["clip"]["crf"] == Settings().clip.crf
    assert (found["waves"], found["stages"][0]["done"]) == ([1, 2], 3)
    ended = progress_file.read(str(tmp_path), Settings().sources)
    assert ended is not None
    assert (ended["outcome"], ended["stages"][0]["at_work"]) == ("done", False)
    assert json.loads((tmp_path / progress_file.NAME).read_text()) == ended


def test_a_log_for_programs_has_events(
    spark: SparkSession, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "EVENTS_EVERY_S", 0.1)
    work = run(spark, live=True)
    [view] = views.of_run(work, "curate", writes=False, events=True)
    assert isinstance(view, views.Events)
    with (
        caplog.at_level("INFO", logger="reelmill"),
        work.board.shown_by([view]),
        Progress(work, "clip", ITEMS) as progress,
    ):
        progress.done.add(3)
        time.sleep(3 * POLL_S)
    events = [vars(record)["event"] for record in caplog.records]
    assert events[0]["stage"] == "clip"
    assert (events[0]["done"], events[0]["at_work"]) == (3, True)
