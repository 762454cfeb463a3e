"""A run over an output: one at a time where there are locks, and which rows its settings made."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import cli
from jobs.config.errors import OutputBusyError
from jobs.config.settings import load
from jobs.lake.fingerprints import fingerprint
from jobs.lake.run import Run, locked, newest_videos, without_superseded
from tests.support.outputs import CURATED, table
from udfs.storage.settings import Params

HERE = Params()


def test_an_output_takes_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        locked(str(tmp_path), HERE),
        pytest.raises(OutputBusyError, match="in use by another run"),
        locked(str(tmp_path), HERE),
    ):
        pass


def test_the_lock_goes_with_the_run(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(str(tmp_path), HERE):
            assert (tmp_path / ".lock").exists()


def test_what_a_killed_run_was_writing_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "media" / ".writing").mkdir(parents=True)
    (tmp_path / "media" / ".writing" / "half.mp4").write_bytes(b"half")
    with locked(str(tmp_path), HERE):
        assert not (tmp_path / "media" / ".writing").exists()


def test_a_run_leaves_no_folders_of_decoding_processes(tmp_path: Path) -> None:
    with locked(str(tmp_path), HERE):
        (tmp_path / "media" / ".writing" / "a" / "own").mkdir(parents=True)
    assert not (tmp_path / "media" / ".writing").exists()


def test_a_run_leaves_no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    download = tmp_path / f"reelmill-downloads-{os.getuid()}" / "download"
    with locked(str(tmp_path / "output"), HERE):
        download.write_bytes(b"x")
    assert not download.exists()


def test_a_dry_run_leaves_what_a_killed_run_was_writing(tmp_path: Path) -> None:
    (tmp_path / "tables" / ".landing").mkdir(parents=True)
    with locked(str(tmp_path), HERE, sweep=False):
        assert (tmp_path / "tables" / ".landing").exists()


def test_a_command_on_an_output_in_use_is_a_line_that_names_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    with locked(str(tmp_path), HERE):
        assert cli.main(["split", "--output", str(tmp_path)]) == 1
    line = f"reelmill: {tmp_path} is in use by another run (process {os.getpid()})\n"
    assert capsys.readouterr().err == line


@pytest.mark.spark
@pytest.mark.parametrize(
    ("deadline", "late"), [(None, False), (timedelta(hours=-1), True), (timedelta(hours=1), False)]
)
def test_a_run_is_late_from_its_deadline_on(spark: SparkSession, deadline: timedelta | None, late: bool) -> None:
    ends_at = None if deadline is None else datetime.now(UTC) + deadline
    assert Run(spark, "unused", load([], []), deadline=ends_at).late is late


@pytest.mark.spark
def test_ids_of_runs_sort_by_their_beginning_and_differ(spark: SparkSession) -> None:
    one, other = (Run(spark, "unused", load([], [])) for _ in range(2))
    assert one.run_id != other.run_id
    begun = datetime.strptime(one.run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert timedelta() <= datetime.now(UTC) - begun < timedelta(minutes=1)


@pytest.mark.spark
def test_recorded_fingerprints_win_over_those_of_the_settings(spark: SparkSession) -> None:
    settings = load([], [])
    assert Run(spark, "unused", settings).fingerprint("clip") == fingerprint("clip", settings)
    recorded = Run(spark, "unused", settings, recorded={"clip": "of before"})
    assert [recorded.fingerprint(stage) for stage in ("clip", "embed")] == ["of before", "never run"]


@pytest.mark.spark
def test_executors_get_absolute_folders(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load([], ["models.dir=weights", "limits.timeout_s=7"])
    env = Run(spark, "/out", settings).env("clip")
    assert (env.media_root, env.models.dir) == ("/out/media", str(tmp_path / "weights"))
    assert (env.fingerprint, env.limits.timeout_s) == (fingerprint("clip", settings), 7)


VIDEOS = [
    ("a1", "/a.mp4", "20260101T000000-ffffff"),
    ("a2", "/a.mp4", "20260102T000000-000000"),
    ("b1", "/b.mp4", "20260101T000000-ffffff"),
]


def ids(rows: DataFrame) -> list[str]:
    """The video_id of each row, in order."""
    return sorted(row["video_id"] for row in rows.collect())


@pytest.mark.spark
def test_the_newest_row_of_an_address_counts(spark: SparkSession) -> None:
    videos = spark.createDataFrame(VIDEOS, "video_id string, uri string, run_id string")
    assert ids(newest_videos(videos)) == ["a2", "b1"]
    spans = spark.createDataFrame([(name,) for name in ("a1", "a2", "b1", "unknown")], "video_id string")
    assert ids(without_superseded(spans, videos)) == ["a2", "b1", "unknown"]


@pytest.mark.spark
def test_rows_count_whose_settings_and_clips_are_current(spark: SparkSession, curated: Path) -> None:
    by_default = Run(spark, str(curated), load([], CURATED))
    assert by_default.current("embeddings").count() == by_default.current("clips").count() == 3
    # The clips are of other spans, so that neither they nor their vectors count, whose own settings are the same.
    other_spans = Run(spark, str(curated), load([], [*CURATED, "split.clip_len_s=1"]))
    assert other_spans.made("clips").count() == len(table(curated, "clips")) == 3
    assert other_spans.current("embeddings").isEmpty()
    assert Run(spark, str(curated), load([], [*CURATED, "clip.crf=30"])).made("clips").isEmpty()
