"""A session on one machine: what it gives to its Python workers, and what it sets for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.spark import session
from jobs.spark.session import PAGE_ROWS, _standalone

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(
    ("master", "own"), [("local[4]", True), ("local-cluster[2,2,1024]", False), ("spark://host:7077", False)]
)
def test_only_workers_of_this_machine_are_forked_from_code_that_is_only_here(master: str, own: bool) -> None:
    assert ("spark.python.daemon.module" in _standalone({"spark.master": master})) is own


@pytest.mark.parametrize("is_fine", [True, False])
def test_of_rows_in_small_pages_a_query_reads_some(spark: SparkSession, tmp_path: Path, is_fine: bool) -> None:
    by_cluster = spark.range(10_000).select(
        (F.col("id") / 10).cast("int").alias("cluster_id"), F.lit("x").alias("vector")
    )
    place = f"delta.`{tmp_path}/vectors`"
    with session.finely_paged(spark) if is_fine else nullcontext():
        by_cluster.coalesce(1).writeTo(place).using("delta").create()
    found = spark.read.table(place).where("cluster_id = 500")
    assert found.count() == 10
    assert (num_read(found.select("vector")) <= 2 * PAGE_ROWS) is is_fine


def test_small_pages_outlast_the_merging_of_files(spark: SparkSession, tmp_path: Path) -> None:
    place, nights = f"delta.`{tmp_path}/links`", 3
    by_cluster = spark.range(4000).select(
        (F.col("id") / 10).cast("int").alias("cluster_id"), F.lit("x").alias("clip_id")
    )
    by_cluster.where("false").writeTo(place).using("delta").create()
    with session.finely_paged(spark):
        for _ in range(nights):
            by_cluster.coalesce(1).writeTo(place).append()
        DeltaTable.forName(spark, place).optimize().executeCompaction()
    found = spark.read.table(place).where("cluster_id = 100")
    assert (len(found.inputFiles()), found.count()) == (1, 10 * nights)
    assert num_read(found.select("clip_id")) <= 2 * PAGE_ROWS * nights


def num_read(rows: DataFrame) -> int:
    """How many rows a query reads of its one file."""
    rows.collect()
    [scan] = [plan for plan in plans(rows._jdf.queryExecution().executedPlan()) if "Scan" in plan.nodeName()]
    number: int = scan.metrics().apply("numOutputRows").value()
    return number


def plans(plan: Any) -> Iterator[Any]:
    """A physical plan, and those below it."""
    yield plan
    for i in range(plan.children().size()):
        yield from plans(plan.children().apply(i))
