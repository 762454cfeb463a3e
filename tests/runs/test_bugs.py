"""Runs that meet bugs, killed workers and incomplete files, from the command line."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs import curate as curate_job
from jobs import split as split_job
from schemas import TABLES
from tests.support import sandbox_calls
from tests.support.footage import numbers, write_numbered
from tests.support.outputs import table, versions
from udfs import clip, split
from udfs.runtime import batching
from udfs.runtime.context import Env, Row
from udfs.shots.spans import COLUMNS

pytestmark = [pytest.mark.spark, pytest.mark.files]
SPLIT = ["--set", "split.clip_len_s=1", "--set", "split.min_clip_length_s=0.5"]


def curate(manifest: Path, output: Path, *options: str) -> int:
    """The exit status of a run."""
    return cli.main(["curate", "--manifest", str(manifest), "--output", str(output), *SPLIT, *options])


def codes(output: Path) -> Counter[tuple[str, str]]:
    """How many failures of each stage and code there are."""
    return Counter((row["stage"], row["code"]) for row in table(output, "failures"))


def current_clips(spark: SparkSession, output: Path) -> list[str]:
    """The files of the clips that count, in the order of their spans."""
    rows = table(output, "verdicts")
    paths = {row["clip_id"]: row["uri"] for row in table(output, "clips")}
    starts = {row["clip_id"]: row["start_s"] for row in table(output, "spans")}
    return [paths[clip_id] for clip_id in sorted((row["clip_id"] for row in rows), key=lambda clip_id: starts[clip_id])]


def test_74_a_python_worker_that_is_killed_costs_no_run(spark: SparkSession, tmp_path: Path) -> None:
    marker = tmp_path / "killed"

    def rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    assert spark.range(3, numPartitions=1).mapInPandas(rows, "id long").count() == 3
    assert marker.exists()


def laid_out(whole: Path, target: Path, start: float, end: float) -> None:
    """What a downloader leaves that has laid a file out in full: zeros from one share of it to another."""
    data = bytearray(whole.read_bytes())
    first, last = int(start * len(data)), int(end * len(data))
    data[first:last] = bytes(last - first)
    target.write_bytes(data)


def check_frames_once(spark: SparkSession, videos: Path, output: Path, num_frames: int) -> None:
    """A run gives every frame of the one video once, and the next run changes nothing."""
    assert curate(videos, output) == 0
    assert [number for path in current_clips(spark, output) for number in numbers(path)] == list(range(num_frames))
    before = versions(output)
    assert curate(videos, output) == 0
    assert versions(output) == before


@pytest.mark.parametrize("hole", [(0.3, 0.95), (0.51, 0.7)], ids=["seen by the samples", "between the samples"])
def test_75_a_file_whose_middle_comes_late_gets_all_its_clips(
    spark: SparkSession, tmp_path: Path, hole: tuple[float, float]
) -> None:
    videos, output = tmp_path / "videos", tmp_path / "output"
    videos.mkdir()
    options = {"x264-params": "nal-hrd=cbr:bitrate=3000:vbv-maxrate=3000:vbv-bufsize=3000"}
    whole = write_numbered(tmp_path / "whole.mp4", 150, gop=30, options=options)
    laid_out(whole, videos / "v.mp4", *hole)
    assert curate(videos, output) == 0
    assert codes(output)["clip", "CORRUPT"] + codes(output)["clip", "PARTIAL"] > 0
    (videos / "v.mp4").write_bytes(whole.read_bytes())
    check_frames_once(spark, videos, output, 150)


def test_75_a_file_that_grows_has_its_clips_once(spark: SparkSession, tmp_path: Path) -> None:
    videos, output = tmp_path / "videos", tmp_path / "output"
    videos.mkdir()
    whole = write_numbered(tmp_path / "whole.mkv", 150, codec="mpeg4", gop=10)
    (videos / "v.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert curate(videos, output) == 0
    (videos / "v.mkv").write_bytes(whole.read_bytes())
    check_frames_once(spark, videos, output, 150)


def test_72_bugs_that_single_inputs_meet_are_rows_and_the_exit_status(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    videos, output = tmp_path / "videos", tmp_path / "output"
    videos.mkdir()
    for name in ("good", "odd", "bad"):
        write_numbered(videos / f"{name}.mp4", 30, size=(160, 120))
    with monkeypatch.context() as patch:
        buggy = replace(split_job.STAGE, rows=buggy_spans)
        patch.setattr(curate_job, "CUTTING", (buggy, *curate_job.CUTTING[1:]))
        assert curate(videos, output) == 1
    assert codes(output) == {("split", "BUG"): 2}
    assert len(table(output, "clips")) == 1
    said = capsys.readouterr().err
    assert "reelmill: 2 bugs: KeyError: 'no such column' (support/sandbox_calls.py:" in said
    assert "a row that breaks a check of spans: seconds x 1" in said
    assert f"met by {videos}/bad.mp4" in caplog.text
    assert curate(videos, output) == 0  # mended
    assert len(table(output, "clips")) == 3


def buggy_spans(batches: Iterable[pd.DataFrame], params: split.Params, env: Env) -> Iterator[pd.DataFrame]:
    """Spans as they are, but for one video whose span ends before it begins, and one that raises."""
    for batch in batches:
        odd = set(batch["video_id"][batch["uri"].str.endswith("odd.mp4")])
        work = partial(raising_spans, params=params, env=env)
        for frame in batching.each([batch], work, key="video_id", columns=COLUMNS, limits=env.limits):
            frame.loc[frame["video_id"].isin(odd), "end_s"] = -1.0
            yield frame


def raising_spans(row: Row, params: split.Params, env: Env) -> list[Row]:
    """The spans of a video; of one, an exception."""
    if row["uri"].endswith("bad.mp4"):
        sandbox_calls.raise_bug()
    return split.spans(row, params, env)


def test_72_a_bug_that_only_clips_cut_together_meet_is_an_error_in_the_log(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    videos, output = tmp_path / "videos", tmp_path / "output"
    videos.mkdir()
    write_numbered(videos / "v.mp4", 60, size=(160, 120))
    with monkeypatch.context() as patch:
        split_stage, clip_stage, analyze_stage = curate_job.CUTTING
        patch.setattr(curate_job, "CUTTING", (split_stage, replace(clip_stage, rows=alone_only), analyze_stage))
        assert curate(videos, output) == 0
    assert codes(output) == {}
    assert len(table(output, "clips")) == 2
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("clip: BUG of 1 group of inputs, which were then done one by one")
    assert "KeyError: 'no such column' (support/sandbox_calls.py:" in line


def alone_only(batches: Iterable[pd.DataFrame], params: clip.Params, env: Env) -> Iterator[pd.DataFrame]:
    """Clips, each of which has to be cut by itself."""
    work = partial(cut_alone, params=params, env=env.with_media())
    columns = TABLES["clips"].stage_columns
    parts = clip.single_span_units
    yield from batching.each(batches, work, key="clip_id", columns=columns, limits=env.limits, parts=parts)


def cut_alone(unit: Row, params: clip.Params, env: Env) -> list[Row]:
    """The clip of a unit; of a unit with several, an exception."""
    if len(unit["spans"]) > 1:
        sandbox_calls.raise_bug()
    return clip.cut_unit(unit, params, env)
