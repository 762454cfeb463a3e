"""Rows of some clips, looked up by their ids or by a join: they are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.config.settings import load
from jobs.lake import lookup
from jobs.lake.run import Run

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("few", [2, 1000])
@pytest.mark.parametrize("columns", [("clip_id", "value"), ("clip_id", "value", "run_id")])
def test_rows_of_clips(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, columns: tuple[str, ...]
) -> None:
    monkeypatch.setattr(lookup, "FEW", few)
    run = Run(spark, str(tmp_path), load([], []))
    every = spark.range(20).select(
        F.col("id").cast("string").alias("clip_id"),
        (F.col("id") * 10).alias("value"),
        (F.col("id") % 3).cast("string").alias("run_id"),
    )
    wanted = spark.createDataFrame([("3",), ("4",), ("4",), ("7",), ("99",)], "clip_id string")
    [found] = lookup.of_clips(run, wanted, every.select(*columns))
    assert found.columns == [*columns]
    assert sorted(row["value"] for row in found.collect()) == [30, 40, 70]
    [none] = lookup.of_clips(run, wanted.where("false"), every.select(*columns))
    assert none.collect() == []
