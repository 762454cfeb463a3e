"""Seconds of Spark's tasks: those of this thread's pool that began since a time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from jobs.spark.task_seconds import POOL, tasks_s

pytestmark = pytest.mark.spark
TASK_S = 0.3


def sleep_in_tasks(spark: SparkSession, num_tasks: int) -> None:
    """Run tasks that do nothing but hold a core."""

    def held(rows: Iterable[int]) -> Iterable[int]:
        time.sleep(TASK_S)
        yield from rows

    spark.sparkContext.parallelize(range(num_tasks), num_tasks).mapPartitions(held).count()


def test_tasks_side_by_side_add_up_and_earlier_ones_do_not_count(spark: SparkSession) -> None:
    started = datetime.now(UTC)
    sleep_in_tasks(spark, 4)
    wall_s = (datetime.now(UTC) - started).total_seconds()
    assert 4 * TASK_S <= tasks_s(spark, started) <= 2 * wall_s  # on two cores
    assert tasks_s(spark, datetime.now(UTC)) == 0.0


def test_another_pool_counts_apart(spark: SparkSession) -> None:
    started = datetime.now(UTC)
    spark.sparkContext.setLocalProperty(POOL, "models")
    try:
        sleep_in_tasks(spark, 1)
        assert tasks_s(spark, started) >= TASK_S
    finally:
        spark.sparkContext.setLocalProperty(POOL, None)  # type: ignore[arg-type]
    assert tasks_s(spark, started) == 0.0


def test_listeners_that_are_behind_end_no_run(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    jvm: Any = spark.sparkContext._jvm
    context: Any = spark.sparkContext._jsc.sc()
    late = jvm.java.util.concurrent.TimeoutException("The event queue is not empty after 10000 ms.")

    class Behind:
        """Spark's context and its bus, whose events are not handled in time."""

        def __getattr__(self, name: str) -> Any:
            return getattr(context, name)

        def listenerBus(self) -> Behind:
            return self

        def waitUntilEmpty(self) -> None:
            raise Py4JJavaError("An error occurred while calling o1.waitUntilEmpty.\n", late)

    of_thread = spark.sparkContext._jsc.getLocalProperty
    monkeypatch.setattr(spark.sparkContext, "_jsc", SimpleNamespace(sc=Behind, getLocalProperty=of_thread))
    assert tasks_s(spark, datetime.now(UTC)) == 0.0
