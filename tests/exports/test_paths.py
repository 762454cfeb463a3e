"""Names of media files in an export: relative, in full, or none, in every column and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.config.settings import load
from jobs.exports import paths
from jobs.exports.paths import Mode
from jobs.lake.declared import struct_type
from jobs.lake.run import Run
from schemas import TABLES

pytestmark = pytest.mark.spark
CLIP = "0a1b2c3d-0000-5000-8000-000000000000"
COLUMNS = (
    "uri string, video_uri string, previews array<struct<start_frame:int,uri:string>>, "
    "nothing struct<uri:string>, caption string"
)
ROW = (
    f"/data/out/media/clips/0a/{CLIP}.mp4",
    "/data/videos/tuesday/a.mp4",
    [(0, f"s3://bucket/out/media/previews/0a/{CLIP}-0.webp")],
    None,
    "/data/videos/tuesday is in the text",
)


def named(spark: SparkSession, mode: Mode, folder: str = "/data/videos") -> dict[str, Any]:
    """The row as an export has it."""
    [row] = paths.shown(spark.createDataFrame([ROW], COLUMNS), mode, folder).collect()
    return dict(row.asDict(recursive=True))


def test_relative_names_are_below_the_output_or_the_folder_of_the_videos(spark: SparkSession) -> None:
    assert named(spark, "relative") == {
        "uri": f"media/clips/0a/{CLIP}.mp4",
        "video_uri": "tuesday/a.mp4",
        "previews": [{"start_frame": 0, "uri": f"media/previews/0a/{CLIP}-0.webp"}],
        "nothing": None,
        "caption": "/data/videos/tuesday is in the text",
    }


def test_a_video_outside_the_folder_has_its_own_name_only(spark: SparkSession) -> None:
    assert named(spark, "relative", "/data/vid")["video_uri"] == "a.mp4"
    assert named(spark, "relative", "")["video_uri"] == "a.mp4"


def test_names_in_full_and_none(spark: SparkSession) -> None:
    assert named(spark, "absolute")["video_uri"] == "/data/videos/tuesday/a.mp4"
    row = named(spark, "none")
    assert (row["uri"], row["video_uri"], row["previews"]) == (None, None, [{"start_frame": 0, "uri": None}])
    assert row["caption"] == ROW[-1]


def test_the_folder_of_the_videos_is_the_deepest_above_all(spark: SparkSession, curated: Path) -> None:
    run = Run(spark, str(curated), load([], []))
    uris = [row["uri"] for row in run.tables.read("videos").collect()]
    assert {paths.videos_folder(run)} == {str(Path(uri).parent) for uri in uris}


@pytest.mark.parametrize(
    ("uris", "folder"),
    [
        (["/v/ab/1.mp4", "/v/abc/2.mp4"], "/v"),
        (["s3://bucket/in/1.mp4", "s3://bucket/in/2.mp4"], "s3://bucket/in"),
        (["/v/1.mp4", "s3://bucket/1.mp4"], ""),
        ([], ""),
    ],
)
def test_the_folder_is_one_of_any_kind_of_address(
    spark: SparkSession, tmp_path: Path, uris: list[str], folder: str
) -> None:
    run = Run(spark, str(tmp_path), load([], []))
    schema = struct_type(TABLES["videos"].schema)
    rows = [(uri, uri) for uri in uris]
    needed = {"source_version": "1", "fingerprint": "f", "run_id": "r"}
    known = spark.createDataFrame(rows, "video_id string, uri string")
    for name in schema.names:
        if name not in known.columns:
            known = known.withColumn(name, F.lit(needed.get(name)).cast(schema[name].dataType))
    run.tables.add("videos", known.select(*schema.names))
    assert paths.videos_folder(run) == folder
