"""Rows -> Delta tables under one folder, each row once; the only file that knows how a row gets there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa
from delta.tables import DeltaMergeBuilder, DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

from schemas import TABLES
from schemas.table import Table

T = TypeVar("T")
LANDING = ".landing"  # folder of rows on their way into a table; a killed run leaves some there
COMMIT_ATTEMPTS = 5
OVERTAKEN = re.compile("DELTA_(CONCURRENT|METADATA_CHANGED|PROTOCOL_CHANGED)")  # by another writer's commit


def struct_type(schema: pa.Schema) -> StructType:
    """A declaration's columns as Spark has them, comments included."""
    return StructType(
        [
            StructField(
                f.name, from_arrow_type(f.type), f.nullable, {"comment": (f.metadata or {}).get(b"comment", b"").decode()}
            )
            for f in schema
        ]
    )


class Tables:
    """The tables under a folder, by name; with `pinned`, rows are read as they were in these versions."""

    def __init__(self, spark: SparkSession, root: str, pinned: Mapping[str, int] | None = None) -> None:
        self.spark = spark
        self.root = root
        self.pinned = pinned
        self._made: set[str] = set()

    def path(self, name: str) -> str:
        """Where a table lies."""
        return f"{self.root}/{TABLES[name].name}"

    def exists(self, name: str) -> bool:
        """Whether the table has been made."""
        if name not in self._made and DeltaTable.isDeltaTable(self.spark, self.path(name)):
            self._made.add(name)
        return name in self._made

    def read(self, name: str) -> DataFrame:
        """All rows of a table; none if it was never written."""
        if self.pinned is not None and name in self.pinned:
            return self.spark.read.format("delta").option("versionAsOf", self.pinned[name]).load(self.path(name))
        if self.pinned is None and self.exists(name):
            return self.spark.read.format("delta").load(self.path(name))
        return self.spark.createDataFrame([], struct_type(TABLES[name].schema))

    def versions(self, until: datetime | None = None) -> dict[str, int]:
        """The newest version of every table, or the newest that was there at a time."""
        found = {}
        for name in filter(self.exists, TABLES):
            commits = DeltaTable.forPath(self.spark, self.path(name)).history(None if until else 1)
            if until:
                commits = commits.where(F.col("timestamp") <= F.lit(until))
            [row] = commits.agg(F.max("version").alias("version")).collect()
            if row["version"] is not None:
                found[name] = int(row["version"])
        return found

    def append(self, name: str, rows: DataFrame, *, upsert: bool = False, among: str | None = None) -> int:
        """Add the rows whose key and fingerprint are not there yet; how many were added.

        `among` ("column = value") holds for all rows that these can equal: only files that may have such rows are looked into.

        With `upsert` the key alone counts, and the newest row of a key wins. The rows are looked at twice, so they must be
        cached or cheap. A concurrent writer of the same table makes the commit start over with that writer's rows in sight:
        no row can be added twice.
        """
        keys = [*TABLES[name].key] if upsert else [*TABLES[name].key, "fingerprint"]
        merge = self._merge(name, rows.dropDuplicates(keys), keys, among)
        if upsert:
            merge = merge.whenMatchedUpdateAll()
        return _committed(merge.whenNotMatchedInsertAll(), "num_affected_rows")

    def add(self, name: str, rows: DataFrame) -> None:
        """Add rows whose key holds the run's own id, so that they cannot be there yet."""
        self._table(name)
        rows.write.format("delta").mode("append").save(self.path(name))

    def replace(self, name: str, rows: DataFrame) -> None:
        """Make the table hold these rows and no others, in one commit."""
        columns = self._table(name).toDF().columns
        rows.select(*columns).write.format("delta").mode("overwrite").save(self.path(name))

    def change(self, name: str, rows: DataFrame) -> int:
        """Make the table hold these rows and no others, touching only those that differ in more than `run_id`.

        Returns how many were added, changed or removed; where there are none, nothing is written.
        """
        keys = [*TABLES[name].key]
        differs = " OR ".join(f"NOT (old.{c} <=> new.{c})" for c in rows.columns if c not in (*keys, "run_id"))
        same = " AND ".join(f"old.{k} = new.{k}" for k in keys)
        pairs = self.read(name).alias("old").join(rows.alias("new"), on=F.expr(same), how="full_outer")
        if pairs.where(f"old.{keys[0]} IS NULL OR new.{keys[0]} IS NULL OR {differs}").isEmpty():
            return 0
        merge = self._merge(name, rows, keys).whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll()
        return _committed(merge.whenNotMatchedBySourceDelete(), "num_affected_rows")

    def drop(self, name: str, keys: DataFrame) -> None:
        """Remove the rows of these keys."""
        _unless_overtaken(self._merge(name, keys, [*keys.columns]).whenMatchedDelete().execute)

    @contextmanager
    def landing(self, name: str) -> Iterator[Callable[[DataFrame], DataFrame]]:
        """A function that computes rows once and gives them back as stored ones, which are removed when the block ends.

        Not `persist`: what reads cached rows runs with the profile of the stage that made them, and an executor that is lost
        takes its part of them along, which for a model's work means the GPU again.
        """
        path = f"{self.root}/{LANDING}/{name}"

        def land(rows: DataFrame) -> DataFrame:
            rows.write.parquet(path)
            return self.spark.read.schema(rows.schema).parquet(path)

        try:
            yield land
        finally:
            remove(self.spark, path)

    def _merge(self, name: str, rows: DataFrame, keys: list[str], among: str | None = None) -> DeltaMergeBuilder:
        same = " AND ".join([*([f"old.{among}"] if among else []), *(f"old.{k} = new.{k}" for k in keys)])
        return self._table(name).alias("old").merge(rows.alias("new"), same)

    def _table(self, name: str) -> DeltaTable:
        if not self.exists(name):
            _create(self.spark, TABLES[name], self.path(name))
            self._made.add(name)
        return DeltaTable.forPath(self.spark, self.path(name))


def remove(spark: SparkSession, path: str) -> None:
    """Delete a folder, wherever Spark can reach it; nothing if it is not there."""
    jvm: Any = spark.sparkContext._jvm
    folder = jvm.org.apache.hadoop.fs.Path(path)
    folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).delete(folder, True)


def _create(spark: SparkSession, table: Table, path: str) -> None:
    builder = (
        DeltaTable.createIfNotExists(spark)
        .location(path)
        .comment(table.about)
        .addColumns(struct_type(table.schema))
        .property("delta.enableDeletionVectors", "false")  # so that every reader of Delta can read it
    )
    if table.cluster_by:
        builder = builder.clusterBy(table.cluster_by)
    _unless_overtaken(builder.execute)


def _committed(merge: DeltaMergeBuilder, metric: str) -> int:
    return int(_unless_overtaken(merge.execute).first()[metric])


def _unless_overtaken(commit: Callable[[], T]) -> T:
    """Do it again where another writer's commit came in between."""
    for _ in range(COMMIT_ATTEMPTS - 1):
        try:
            return commit()
        except (PySparkException, Py4JJavaError) as e:  # which of them depends on the thread
            if not OVERTAKEN.search(str(e)):
                raise
    return commit()
