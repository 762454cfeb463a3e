"""Gates before models: clips without signals, with low scores, or that are copies are not asked for."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.config.settings import Settings, load
from jobs.flow.gates import READ, gated, measured, passing

pytestmark = pytest.mark.spark
COPIES = "clip_id string, copy_of string"


@pytest.fixture(scope="module")
def clips(spark: SparkSession) -> DataFrame:
    """The clips a, b and c, and a column that no model reads."""
    return spark.createDataFrame(
        [(name, "v", f"/{name}.mp4", 1, 640, 360, 30.0, 60, 2.0, "h264") for name in "abc"],
        "clip_id string, video_id string, uri string, num_bytes long, width int, height int, framerate double, "
        "num_frames long, duration_s double, codec string",
    )


@pytest.fixture(scope="module")
def signals(spark: SparkSession) -> DataFrame:
    """Clip a moves, b does not, and c was not analyzed."""
    return spark.createDataFrame(
        [("a", 0.5, 0.5, "/pa.mp4", "f", "r"), ("b", 0.0, 0.0, "/pb.mp4", "f", "r")],
        "clip_id string, motion_score_global_mean double, motion_score_per_patch_min_256 double, proxy_uri string, "
        "fingerprint string, run_id string",
    )


def names(rows: DataFrame) -> str:
    """The clips of the rows, in order."""
    return "".join(sorted(row["clip_id"] for row in rows.collect()))


def test_only_clips_that_pass_the_gates_so_far_are_asked_for(
    spark: SparkSession, clips: DataFrame, signals: DataFrame
) -> None:
    none = spark.createDataFrame([], COPIES)
    every = passing(clips, signals, none, Settings())
    assert {(row["clip_id"], row["proxy_uri"]) for row in every.collect()} == {("a", "/pa.mp4"), ("b", "/pb.mp4")}
    moving = passing(clips, signals, none, load([], ["filter.motion=true", "proxy.use=false"]))
    assert [(row["clip_id"], row["proxy_uri"]) for row in moving.collect()] == [("a", None)]


@pytest.mark.parametrize(
    ("options", "asked"), [([], "b"), (["filter.duplicates=false"], "ab"), (["filter.motion=true"], "a")]
)
def test_a_copy_is_asked_for_where_the_clip_it_copies_does_not_pass(
    spark: SparkSession, clips: DataFrame, signals: DataFrame, options: list[str], asked: str
) -> None:
    copies = spark.createDataFrame([("a", "b")], COPIES)
    assert names(passing(clips, signals, copies, load([], options))) == asked


def test_measured_clips_pass_whatever_their_signals(clips: DataFrame, signals: DataFrame) -> None:
    rows = measured(clips, signals, load([], ["filter.motion=true"]))
    assert rows.columns == [*READ, "proxy_uri"]
    assert names(rows) == "ab"


def test_gated_clips_keep_their_signals(clips: DataFrame, signals: DataFrame) -> None:
    rows = gated(clips, signals, load([], ["filter.motion=true"])).collect()
    assert [(row["clip_id"], row["motion_score_global_mean"]) for row in rows] == [("a", 0.5)]
