"""Stages declare the input columns that hold seconds and bytes; a missing one is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from jobs import aesthetic, align, analyze, caption, clip, embed, enhance, split
from jobs.config.settings import Settings, load
from jobs.flow import stage
from jobs.flow.stage import Stage
from jobs.lake.run import Run
from schemas import TABLES
from udfs.core import media_cost, scheduling
from udfs.core.task_resources import Resources


@pytest.mark.parametrize(
    ("declared", "table", "columns"),
    [
        (split.STAGE, "videos", ("duration_s", "size")),
        (analyze.STAGE, "clips", ("duration_s", "num_bytes")),
        (aesthetic.STAGE, "clips", ("duration_s", "num_bytes")),
        (embed.STAGE, "clips", ("duration_s", "num_bytes")),
        (caption.STAGE, "clips", ("duration_s", "num_bytes")),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_stage_that_reads_media_declares_columns_of_its_input(
    declared: Stage, table: str, columns: tuple[str, str]
) -> None:
    assert (declared.duration, declared.num_bytes) == columns
    assert set(columns) <= set(TABLES[table].schema.names)


def test_units_of_clips_have_their_own_seconds_and_bytes() -> None:
    assert (clip.STAGE.duration, clip.STAGE.num_bytes) == ("duration_s", "num_bytes")


TEXTS = pytest.mark.parametrize("declared", [enhance.STAGE, align.STAGE], ids=lambda value: value.name)


@TEXTS
def test_captions_are_dealt_to_waves_by_their_videos_and_to_tasks_by_their_number(declared: Stage) -> None:
    clips = [{"video_id": f"v{i % 10}", "duration_s": 10.0, "captions": ["a", "b"]} for i in range(5000)]
    assert len(scheduling.waves(clips, declared.wave, declared.duration, Settings().curate)) == 1
    assert declared.num_bytes is None
    assert declared.cost is not None
    assert declared.cost(clips[0], Settings()) == 2


@pytest.mark.spark
@TEXTS
def test_captioned_clips_have_the_columns_by_which_they_are_dealt(
    declared: Stage, spark: SparkSession, tmp_path: Path
) -> None:
    assert {declared.wave, declared.duration} <= {*declared.source(Run(spark, str(tmp_path), Settings())).columns}


@pytest.mark.parametrize(
    ("declared", "table"), [(split.STAGE, "videos"), (clip.STAGE, "videos"), (analyze.STAGE, "clips")]
)
def test_the_columns_of_a_cost_are_there_and_a_large_video_costs_more(declared: Stage, table: str) -> None:
    names = {name for name in media_cost.USUAL if name != "num_bytes"}
    assert names <= set(TABLES[table].schema.names)
    assert declared is not clip.STAGE or names - {"duration_s"} <= set(clip.VIDEO)
    settings, usual = load([], ["split.method=content"]), dict(media_cost.USUAL)
    assert declared.cost is not None
    assert declared.cost(usual, settings) == pytest.approx(1)
    assert declared.cost(usual | {"height": 2160, "width": 3840}, settings) > 3


def test_a_copied_clip_costs_a_small_part_of_a_transcoded_one() -> None:
    assert clip.STAGE.cost is not None
    assert clip.STAGE.cost(dict(media_cost.USUAL), load([], ["clip.mode=copy"])) < 0.05


@pytest.mark.spark
def test_a_column_that_is_not_there_is_an_error(spark: SparkSession) -> None:
    run = Run(spark, "unused", Settings())
    inputs = spark.createDataFrame([Row(clip_id="a", duration_s=3.0)])
    spread = stage.spread(run, Resources(), inputs.collect(), inputs.schema, "duration_s")
    assert [row["clip_id"] for row in spread.collect()] == ["a"]
    with pytest.raises((KeyError, ValueError), match="seconds"):
        stage.spread(run, Resources(), inputs.collect(), inputs.schema, "seconds")
