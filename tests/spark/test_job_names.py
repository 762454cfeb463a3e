"""Names of Spark's jobs: by stage and wave, with the run as their group, and the outer name again afterwards."""

from __future__ import annotations

import threading

import pytest
from pyspark.sql import SparkSession

from jobs.spark.job_names import DESCRIPTION, GROUP, described

pytestmark = pytest.mark.spark


def names(spark: SparkSession) -> tuple[str | None, str | None]:
    """The group and the name of the jobs that this thread starts."""
    context = spark.sparkContext
    return context.getLocalProperty(GROUP), context.getLocalProperty(DESCRIPTION)


def test_a_name_holds_until_its_block_ends(spark: SparkSession) -> None:
    before = names(spark)
    with described(spark, "run 1", "curate"):
        with described(spark, "run 1", "clip, wave 1 of 2"):
            assert names(spark) == ("run 1", "clip, wave 1 of 2")
        assert names(spark) == ("run 1", "curate")
    assert names(spark) == before


def test_another_thread_keeps_its_own_name(spark: SparkSession) -> None:
    seen = []

    def embed() -> None:
        with described(spark, "run 1", "embed, wave 1 of 2"):
            spark.range(3).count()
            seen.append(names(spark)[1])

    with described(spark, "run 1", "clip, wave 2 of 2"):
        thread = threading.Thread(target=embed)
        thread.start()
        thread.join()
        seen.append(names(spark)[1])
    assert seen == ["embed, wave 1 of 2", "clip, wave 2 of 2"]


def test_jobs_bear_the_group(spark: SparkSession) -> None:
    with described(spark, "a run of its own", "clip, wave 1 of 2"):
        spark.range(3).count()
    assert len(spark.sparkContext.statusTracker().getJobIdsForGroup("a run of its own")) >= 1
