"""--limit, --since and --deadline take a part of the new files; views show the cost of a run."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs import cli
from jobs.config.settings import load
from jobs.flow import stage
from jobs.lake import answers
from jobs.lake.run import Run
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED, files, table, tables, versions
from udfs.storage import folder_listing

pytestmark = pytest.mark.spark
DAY_S = 86_400


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, changed today, three days ago and ten days ago."""
    folder = tmp_path_factory.mktemp("videos")
    for i, days in enumerate((0, 3, 10)):
        path = write_numbered(folder / f"{i}.mp4", 30, size=(160, 120), first=100 * i)
        os.utime(path, (time.time() - days * DAY_S,) * 2)
    return folder


def ingest(manifest: Path, output: Path, *options: str) -> int:
    return cli.main(["ingest", "--manifest", str(manifest), "--output", str(output), *options])


def names(output: Path) -> set[str]:
    """The files that have been ingested."""
    return {Path(row["uri"]).name for row in table(output, "videos")}


@pytest.mark.nights
def test_a_limit_goes_on_where_the_last_run_ended(spark: SparkSession, videos: Path, tmp_path: Path) -> None:
    assert ingest(videos, tmp_path / "output", "--limit", "2") == 0
    assert names(tmp_path / "output") == {"0.mp4", "1.mp4"}
    assert ingest(videos, tmp_path / "output", "--limit", "2") == 0
    assert names(tmp_path / "output") == {"0.mp4", "1.mp4", "2.mp4"}


def test_since_goes_by_the_manifest_or_else_by_the_file(spark: SparkSession, videos: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        f"uri,modified\n{videos}/0.mp4,2020-01-01\n{videos}/1.mp4,\n{videos}/2.mp4,2999-12-31T23:59:59Z\n"
    )
    assert ingest(manifest, tmp_path / "output", "--since", "7d") == 0
    assert names(tmp_path / "output") == {"1.mp4", "2.mp4"}


def test_a_manifest_with_a_time_that_is_none_is_refused(
    spark: SparkSession, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"uri,modified\n{videos}/0.mp4,lately\n")
    assert ingest(manifest, tmp_path / "output", "--since", "7d") == 2
    assert "the manifest's column modified holds 'lately', which is no time" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--since", "lately"), ("--deadline", "25:00")])
def test_a_time_that_is_none_is_a_wrong_usage(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        cli.main(["curate", "--output", "o", "--manifest", "m", option, value])
    assert e.value.code == 2
    assert repr(value) in capsys.readouterr().err


def test_a_run_has_its_counts_and_no_cost_without_prices(spark: SparkSession, curated: Path) -> None:
    answers.register(Run(spark, str(curated), load([], CURATED)))
    (summary,) = spark.table("run_summary").collect()
    assert (summary["num_ingested"], summary["num_videos"], summary["num_clips"], summary["num_kept"]) == (2, 2, 3, 3)
    assert summary["video_hours"] == pytest.approx(6 / 3600)
    assert summary["bytes_out"] >= sum(row["num_bytes"] for row in table(curated, "clips"))
    assert summary["cost_usd"] is summary["usd_per_clip"] is summary["usd_per_video_hour"] is None
    stages = {row["stage"]: row for row in spark.table("stage_costs").collect()}
    assert stages.keys() == {"ingest", "split", "clip", "analyze", "embed", "dedup", "filter"}
    assert stages["dedup"]["cpu_s"] > 0  # of Spark's tasks
    assert summary["cpu_s"] == pytest.approx(sum(row["cpu_s"] for row in stages.values()))


@pytest.mark.upkeep
def test_after_a_deadline_the_next_run_goes_on(
    spark: SparkSession,
    curated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    videos = table(curated, "videos")
    manifest = Path(videos[0]["uri"]).parent
    monkeypatch.setattr(
        stage,
        "wave_of",
        lambda column, n: F.array_position(F.lit([v[column] for v in videos]), F.col(column)).cast("int") % n,
    )
    settings = [*CURATED, "curate.wave_videos=1", "cost.cpu_core_hour=0.05"]
    command = [
        "curate",
        "--manifest",
        str(manifest),
        "--output",
        str(tmp_path),
        *(f"--set={option}" for option in settings),
    ]
    listed, list_videos = list[str](), folder_listing.videos

    def counting(top: str) -> tuple[list[str], Counter[str]]:
        listed.append(top)
        return list_videos(top)

    with monkeypatch.context() as patch:
        patch.setattr(folder_listing, "videos", counting)
        patch.setattr(
            Run, "late", property(lambda run: run.deadline is not None and bool(table(Path(run.output), "clips")))
        )
        assert cli.main([*command, "--deadline", "05:30"]) == 0
    assert listed == [str(manifest)]
    first = {row["clip_id"] for row in table(tmp_path, "clips")}
    assert 0 < len(first) < 3
    assert (
        {row["clip_id"] for row in table(tmp_path, "embeddings")}
        == {row["clip_id"] for row in table(tmp_path, "verdicts")}
        == first
    )
    assert "left are 0 files to ingest, 1 videos to cut or ask models about; the next run goes on" in caplog.text
    assert cli.main(command) == 0
    assert {row["clip_id"] for row in table(tmp_path, "verdicts")} == {
        row["clip_id"] for row in table(curated, "verdicts")
    }
    assert len(files(tmp_path)) == len(files(curated))
    assert tables(tmp_path)["clips"] == tables(curated)["clips"]
    before = versions(tmp_path)
    assert cli.main(command) == 0
    assert versions(tmp_path) == before
    answers.register(Run(spark, str(tmp_path), load([], settings)))
    summaries = spark.table("run_summary").orderBy("started_at").collect()
    assert [summary["num_clips"] for summary in summaries] == [len(first), 3 - len(first)]
    assert all(summary["cost_usd"] == pytest.approx(summary["cpu_s"] * 0.05 / 3600) for summary in summaries)
    assert all(
        summary["usd_per_video_hour"] == pytest.approx(summary["cost_usd"] / summary["video_hours"])
        for summary in summaries
    )
