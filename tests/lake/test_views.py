"""Views are data: each names its sources, and each of its columns has a comment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake import answers, views
from jobs.lake.owners import BELONGS
from jobs.lake.run import Run
from jobs.lake.views import View
from schemas import TABLES
from tests.support.outputs import CURATED

KNOWN = {*TABLES, "current_videos", *(f"current_{name}" for name in BELONGS)}


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.name)
def test_a_view_uses_the_sources_that_it_names(view: View) -> None:
    assert set(re.findall(r"{(\w+)}", view.sql)) - {"reduction"} == set(view.sources)


def test_a_view_comes_after_its_sources() -> None:
    known = set(KNOWN)
    for view in views.VIEWS:
        assert set(view.sources) <= known
        known.add(view.name)


def test_a_source_has_the_name_that_it_is_given() -> None:
    view = View("kept", ("verdicts",), "", {}, "SELECT score_{reduction} FROM {verdicts} AS verdicts")
    assert (
        view.query({"verdicts": "`films`.`verdicts`"}, "min") == "SELECT score_min FROM `films`.`verdicts` AS verdicts"
    )


@pytest.mark.spark
def test_every_column_of_a_view_has_its_comment(spark: SparkSession, curated: Path) -> None:
    run = Run(spark, str(curated), load([], CURATED))
    answers.register(run)
    names = {name: name for name in (*KNOWN, *(view.name for view in views.VIEWS))}
    for view in views.VIEWS:
        assert spark.sql(view.query(names, "min")).columns == [*view.columns], view.name
        shown = {row["col_name"]: row["comment"] for row in spark.sql(f"DESCRIBE {view.name}").collect()}
        assert shown == view.columns
        assert all(view.columns.values())


@pytest.mark.spark
def test_what_is_dropped_names_the_video_the_second_and_the_reasons(spark: SparkSession, curated: Path) -> None:
    run = Run(spark, str(curated), load([], CURATED))
    answers.register(run)
    verdicts = run.tables.read("verdicts").toPandas()
    verdicts["kept"] = verdicts.index > 0
    verdicts["reasons"] = [["blur"] if not kept else [] for kept in verdicts["kept"]]
    spark.createDataFrame(verdicts, run.tables.read("verdicts").schema).createOrReplaceTempView("verdicts")
    dropped = next(view for view in views.VIEWS if view.name == "dropped")
    [row] = spark.sql(dropped.query({name: name for name in dropped.sources}, "min")).collect()
    span = spark.table("spans").where(f"clip_id = '{row['clip_id']}'").first()
    assert span is not None
    video = spark.table("videos").where(f"video_id = '{span['video_id']}'").first()
    assert video is not None
    assert (row["video_uri"], row["start_s"], row["reasons"]) == (video["uri"], span["start_s"], ["blur"])


@pytest.mark.spark
def test_what_failed_names_the_video_and_the_second_until_it_succeeds(spark: SparkSession, curated: Path) -> None:
    run = Run(spark, str(curated), load([], CURATED))
    answers.register(run)
    [clip] = spark.sql(
        "SELECT clip_id, video_id, video_uri, start_s FROM clip_origins ORDER BY start_s DESC LIMIT 1"
    ).collect()
    at = "timestamp '2026-01-0{} 00:00:00'"
    rows = [
        ("ingest", "/v/bad.mp4", "CORRUPT", 1, "9"),
        ("ingest", "/v/bad.mp4", "EMPTY", 2, "9"),  # the newer failure
        ("split", clip["video_id"], "TIMEOUT", 1, "9"),
        ("clip", clip["clip_id"], "CRASH", 1, "9"),
        ("clip", "of no span", "CRASH", 1, "9"),  # no run would try it
        ("analyze", clip["clip_id"], "OOM", 1, "0"),  # a later run could use it
        ("export", clip["clip_id"], "CHANGED", 1, "7"),
        ("export", clip["clip_id"], "NOT_FOUND", 2, "6"),  # a later export into that folder could read it
    ]
    query = " UNION ALL ".join(
        f"SELECT '{stage}' AS stage, '{key}' AS key, '{code}' AS code, '' AS message, 1 AS attempts, "
        f"{at.format(day)} AS failed_at, '{run_id}' AS run_id"
        for stage, key, code, day, run_id in rows
    )
    failed = next(view for view in views.VIEWS if view.name == "failed")
    runs = "(SELECT 'export' AS stage, * FROM VALUES ('6', 'a'), ('8', 'a'), ('7', 'b') AS (run_id, exported_to))"
    names = {name: name for name in failed.sources} | {"failures": f"({query})", "runs": runs}
    failures = spark.sql(failed.query(names, "")).collect()
    found = {(row["stage"], row["code"]): (row["video_uri"], row["start_s"]) for row in failures}
    assert found == {
        ("ingest", "EMPTY"): ("/v/bad.mp4", None),
        ("split", "TIMEOUT"): (clip["video_uri"], None),
        ("clip", "CRASH"): (clip["video_uri"], clip["start_s"]),
        ("export", "CHANGED"): (clip["video_uri"], clip["start_s"]),
    }
