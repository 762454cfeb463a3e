"""Intermediate rows: their files are put in place by the tasks that write them, few for each value."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pyarrow import RecordBatch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.lake.landing import LANDING, landing

pytestmark = pytest.mark.spark
PATIENCE_S = 20.0


def test_rows_are_there_until_the_block_ends(spark: SparkSession, tmp_path: Path) -> None:
    with landing(spark, str(tmp_path), "some") as land:
        rows = land(spark.range(0, 3, 1, 2))
        assert sorted(row["id"] for row in rows.collect()) == [0, 1, 2]
        assert (tmp_path / LANDING / "some").exists()
    assert not (tmp_path / LANDING / "some").exists()


def test_by_a_column_each_value_has_one_file(spark: SparkSession, tmp_path: Path) -> None:
    with landing(spark, str(tmp_path), "some") as land:
        rows = land(spark.range(0, 40, 1, 4).withColumn("wave", (F.col("id") % 3).cast("int")), by="wave")
        assert rows.where("wave = 1").count() == 13
        assert len([*(tmp_path / LANDING / "some").glob("wave=*/*.parquet")]) == 3


def test_a_task_puts_its_file_in_place_while_others_are_at_work(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / LANDING / "some"

    def waiting(batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
        """The second task waits until the file of the first is there, and fails if it never is."""
        for batch in batches:
            end = time.monotonic() + PATIENCE_S
            while batch.column(0)[0].as_py() == 1 and not [*folder.glob("part-00000*.parquet")]:
                assert time.monotonic() < end
                time.sleep(0.05)
            yield batch

    with landing(spark, str(tmp_path), "some") as land:
        assert land(spark.range(0, 2, 1, 2).mapInArrow(waiting, "id bigint")).count() == 2
