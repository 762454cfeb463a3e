"""Intermediate rows, computed once and stored below the tables until what needs them is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, SparkSession

Land = Callable[[str, DataFrame], DataFrame]  # stores rows by a name, so that they are computed once
LANDING = ".landing"  # the folder for them, beside the tables; a killed run leaves some there


@contextmanager
def landing(spark: SparkSession, root: str, name: str) -> Iterator[Callable[..., DataFrame]]:
    """A function that computes rows once and stores them, perhaps by a column, until the block ends.

    Not `persist`: what reads cached rows runs with the profile of the stage that made them,
    and a lost executor takes its part of them along, which for a model's work means the GPU
    again.
    """
    path = f"{root}/{LANDING}/{name}"

    def land(rows: DataFrame, by: str | None = None) -> DataFrame:
        writer = rows.repartition(by).write.partitionBy(by) if by else rows.write  # a file per value
        # Each task renames its own files, where else the driver renames all at the end, which in a
        # store copies them one by one. No one reads the folder before that, or after a failure.
        writer.option("mapreduce.fileoutputcommitter.algorithm.version", "2").parquet(path)
        return spark.read.schema(rows.schema).parquet(path)

    try:
        yield land
    finally:
        remove(spark, path)


def landed(land: Land, name: str, rows: DataFrame, /, **sums: Column) -> tuple[DataFrame, dict[str, Any]]:
    """The rows as `land` stores them, and sums over them, taken in the pass that stores them."""
    found = Observation()
    return land(name, rows.observe(found, *(value.alias(of) for of, value in sums.items()))), found.get


def remove(spark: SparkSession, path: str) -> None:
    """Delete a folder, wherever Spark can reach it; nothing if it is not there."""
    jvm: Any = spark.sparkContext._jvm
    folder = jvm.org.apache.hadoop.fs.Path(path)
    folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).delete(folder, True)
