"""Counters of stages among Spark's metrics, where its page serves them: inputs that are done, and that failed."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def are_served(spark: SparkSession) -> bool:
    """Whether Spark has a page, which serves its metrics."""
    return spark.sparkContext.uiWebUrl is not None


class Counters:
    """Counters that stay at the values which were last set; names of metrics are reelmill.<name>."""

    def __init__(self, spark: SparkSession) -> None:
        self._context: Any = spark.sparkContext._jsc.sc()
        self._jvm: Any = spark.sparkContext._jvm
        self._counters: dict[str, Any] = {}
        self._values: dict[str, int] = {}

    def set(self, values: dict[str, int]) -> None:
        """Set counters, which are registered with Spark's metrics when they are first set."""
        if new := [name for name in values if name not in self._counters]:
            self._register(new)
        for name, value in values.items():
            if value != self._values.get(name, 0):
                self._counters[name].add(value - self._values.get(name, 0))
                self._values[name] = value

    def _register(self, names: list[str]) -> None:
        by_name = self._jvm.java.util.HashMap()
        for name in names:
            self._counters[name] = self._context.longAccumulator(f"reelmill.{name}")
            by_name.put(f"reelmill.{name}", self._counters[name])
        source = getattr(self._jvm.org.apache.spark.metrics.source, "LongAccumulatorSource$")
        scala = self._jvm.org.apache.spark.api.python.PythonUtils
        getattr(source, "MODULE$").register(self._context, scala.toScalaMap(by_name))
