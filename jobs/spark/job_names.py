"""Names of Spark's jobs on its page: what the driver is doing, by stage and wave, and the run as their group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

GROUP, DESCRIPTION = "spark.jobGroup.id", "spark.job.description"


@contextmanager
def described(spark: SparkSession, group: str, text: str) -> Iterator[None]:
    """Give the jobs that this thread starts a name and a group, until the block ends."""
    context = spark.sparkContext
    before = {key: context.getLocalProperty(key) for key in (GROUP, DESCRIPTION)}
    _set(spark, {GROUP: group, DESCRIPTION: text})
    try:
        yield
    finally:
        _set(spark, before)


def _set(spark: SparkSession, values: dict[str, str | None]) -> None:
    for key, value in values.items():
        spark.sparkContext.setLocalProperty(key, value)  # type: ignore[arg-type]  # None removes it
