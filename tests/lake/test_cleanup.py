"""Cleanup of an output: its media files and old table versions are listed and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake import cleanup
from jobs.lake.cleanup import Step
from jobs.lake.run import Run
from schemas import TABLES
from tests.support.two_settings import CLIPS, OLD_SETTINGS, add, media


@pytest.mark.spark
@pytest.mark.upkeep
def test_every_column_that_names_a_file_is_known() -> None:
    named = {
        (name, f.name) for name, t in TABLES.items() for f in t.schema if f.name == "uri" or f.name.endswith("_uri")
    }
    named |= {(name, f.name) for name, t in TABLES.items() for f in t.schema if "uri" in str(f.type)}
    known = {(name, column) for name, column in named if column in cleanup.MEDIA.get(name, "")}
    of_sources = {("videos", "uri"), ("takedowns", "uri"), ("verdicts", "video_uri")}
    assert named - known == {*of_sources, ("verdicts", "uri")}  # the last repeats that of clips


def test_a_summary_has_a_line_per_step_and_no_number_for_what_is_not_counted() -> None:
    steps = [Step("rows of it", "clips", 2), Step("media of it", "media", files=3, num_bytes=4096)]
    assert [line.split() for line in cleanup.summary(steps).splitlines()] == [
        ["what", "where", "rows", "files", "bytes"],
        ["rows", "of", "it", "clips", "2"],
        ["media", "of", "it", "media", "3", "4096"],
    ]


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path) -> Run:
    """A run over an output in a folder of its own."""
    return Run(spark, str(tmp_path), load([], []))


@pytest.mark.spark
def test_the_media_of_a_clip_are_those_of_all_settings(run: Run) -> None:
    paths = [media(Path(run.output), clip, settings) for clip in CLIPS[:2] for settings in ([], OLD_SETTINGS)]
    clips = run.spark.createDataFrame([(CLIPS[0],)], "clip_id string")
    files = cleanup.media_of(run, clips).localCheckpoint()
    assert {row["uri"] for row in files.collect()} == {str(path) for path in paths[:2]}
    num_bytes = 2 * len(CLIPS[0])
    assert cleanup.size(files) == cleanup.removed(run, files) == (2, num_bytes)
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert cleanup.size(cleanup.media(run)) == (2, num_bytes)
    assert cleanup.removed(run, files) == (0, 0)  # they are gone already


@pytest.mark.spark
def test_a_file_that_a_row_names_is_known_wherever_the_output_was_when_it_was_written(run: Run) -> None:
    clip = {"clip_id": CLIPS[0], "uri": "/moved/from/media/clips/ab/ab.mp4"}
    signals = {"clip_id": CLIPS[0], "proxy_uri": "/moved/from/media/proxies/ab/ab.mp4"}
    frames = {
        "clips": run.spark.createDataFrame([clip], "clip_id string, uri string"),
        "signals": run.spark.createDataFrame(
            [signals], "clip_id string, proxy_uri string, previews array<struct<uri: string>>"
        ),
    }
    places = {row["place"] for row in cleanup.named(frames.__getitem__).collect()}
    assert places == {"clips/ab/ab.mp4", "proxies/ab/ab.mp4"}


@pytest.mark.spark
def test_what_killed_runs_left_is_counted_and_removed(run: Run) -> None:
    left = [Path(run.output, "media/.writing/a/half.mp4"), Path(run.output, "tables/.landing/b/part")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"12345")
    counted = Step("incomplete files", "media/.writing tables/.landing", files=2, num_bytes=10)
    assert cleanup.swept(run, dry_run=True) == counted
    assert all(path.exists() for path in left)
    assert cleanup.swept(run) == counted
    assert not any(path.exists() for path in left)
    assert cleanup.swept(run).files == 0


def versions_of_failures(output: Path) -> DeltaTable:
    """A table of whose two files the newest version reads one."""
    for key in ("a", "b"):
        add(output, "failures", [{"key": key, "stage": "embed"}])
    failures = DeltaTable(output / "tables" / "failures")
    failures.delete("key = 'a'")
    return failures


@pytest.mark.spark
@pytest.mark.upkeep
def test_vacuum_deletes_the_files_that_no_version_reads(run: Run) -> None:
    failures = versions_of_failures(Path(run.output))
    expected = cleanup.vacuum(run, "failures", 0, dry_run=True)
    assert expected[0] == 1
    assert cleanup.size(cleanup.data_files(run, "failures"))[0] == 2
    assert cleanup.vacuum(run, "failures", 24) == (0, 0)  # a reader of an hour ago may need it
    assert cleanup.vacuum(run, "failures", 0) == expected
    assert cleanup.size(cleanup.data_files(run, "failures"))[0] == len(failures.file_uris()) == 1
    assert cleanup.existing(run) == ["failures"]
