"""The seconds that Spark's tasks have run, for work inside Spark that counts no seconds itself."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

POOL = "spark.scheduler.pool"  # set by the thread that asks models beside another


def tasks_s(spark: SparkSession, since: datetime) -> float:
    """Seconds that tasks ran for, of this thread's pool and begun since then; Spark remembers the last 1000 stages.

    A task's second is one of a core that it held, whatever the core did.
    """
    context: Any = spark.sparkContext._jsc.sc()
    with suppress(Py4JJavaError):  # of listeners that are behind for long: the seconds are a little low then
        context.listenerBus().waitUntilEmpty()  # Spark reports the end of a task a little later
    pool = spark.sparkContext.getLocalProperty(POOL) or "default"
    earliest, total_ms = since.timestamp() * 1000, 0
    store = context.statusStore()
    stages = store.stageList(
        None, False, False, getattr(store, "stageList$default$4")(), getattr(store, "stageList$default$5")()
    )
    for i in range(stages.size()):  # the newest first
        stage = stages.apply(i)
        submitted = stage.submissionTime()
        if submitted.isEmpty():  # skipped, since its result was there
            continue
        if submitted.get().getTime() < earliest:
            break
        total_ms += stage.executorRunTime() if stage.schedulingPool() == pool else 0
    return float(total_ms / 1000)
