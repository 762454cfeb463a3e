"""The Delta tables of one folder or schema: make them, read them, and write each row once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any

from delta.tables import DeltaMergeBuilder, DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.errors import TableError
from jobs.lake import commits, table_ddl
from jobs.lake.catalog import Schema, literal, quoted
from jobs.lake.commits import Committed, merged
from jobs.lake.declared import as_declared, struct_type
from jobs.lake.landing import landing
from schemas import PRIVATE, TABLES, declaration

APART = ".private"  # folder of the tables of secrets
VOLUME = re.compile(r"(dbfs:)?/Volumes/")  # a volume of Unity Catalog, where no table can be registered
SCHEME = re.compile(r"^\w+:/*")
COMMIT = re.compile(r"\d{20}\.json")  # a file of a table's log
IN_LOG = re.compile(r"\d{20}\.")  # the same, or a checkpoint


class Tables:
    """The tables under a folder, by name; with a schema, registered in it and reached by its names alone.

    With `pinned`, rows are read as they were in these versions.
    """

    def __init__(
        self,
        spark: SparkSession,
        root: str,
        schema: Schema | None = None,
        pinned: Mapping[str, int] | None = None,
        *,
        is_only_writer: bool = False,
    ) -> None:
        self.spark = spark
        self.is_only_writer = is_only_writer
        self.root = root
        self.schema = schema
        self.pinned = pinned
        self.replaced: set[str] = set()  # whose rows were all written again
        self.keys_filled = False  # whether `copy_keys` is known to have keys of all kept clips
        self._made: set[str] = set()
        self._ready: set[str] = set()  # can be written by this release
        self._opening = Lock()

    @cached_property
    def failed(self) -> set[str]:
        """The stages of which `failures` has rows."""
        [row] = self.read("failures").agg(F.collect_set("stage")).collect()
        return {*row[0]}

    @cached_property
    def any_superseded(self) -> bool:
        """Whether `videos` has several rows of one uri."""
        return not self.read("videos").groupBy("uri").count().where("count > 1").isEmpty()

    def forget(self) -> None:
        """Forget what these say, after rows were added to `failures` or `videos`."""
        self.__dict__.pop("failed", None)
        if not self.__dict__.get("any_superseded"):
            self.__dict__.pop("any_superseded", None)

    def path(self, name: str) -> str:
        """Where a table lies, unless the catalog chose the place."""
        return f"{self.root}/{APART}/{name}" if name in PRIVATE else f"{self.root}/{name}"

    def place(self, name: str) -> str:
        """Where a table that has been made lies, whoever chose the place."""
        where: str = DeltaTable.forName(self.spark, self.sql(name)).detail().select("location").collect()[0]["location"]
        return where

    def identity(self, name: str) -> str | None:
        """Delta's own id of a table, which its copies have as well; None if it was never written."""
        if not self.exists(name):
            return None
        identity: str = DeltaTable.forName(self.spark, self.sql(name)).detail().select("id").collect()[0]["id"]
        return identity

    def sql(self, name: str) -> str:
        """The name of a table in SQL."""
        schema = self._schema_of(name)
        return schema.of(name) if schema else f"delta.{quoted(self.path(name))}"

    def exists(self, name: str) -> bool:
        """Whether the table exists; one that lies under the folder is registered in the schema.

        Raises:
            TableError: the schema's table is that of another output.
        """
        if name not in self._made and (self._registered(name) if self._schema_of(name) else self._lies(name)):
            self._made.add(name)
        return name in self._made

    def listed(self) -> list[str]:
        """The names of what lies beside the tables or is registered in their schema, but for its views."""
        if self.schema and VOLUME.match(self.root):
            every, views = (
                self.spark.sql(f"SHOW {what} IN {self.schema.sql}").where("NOT isTemporary").collect()
                for what in ("TABLES", "VIEWS")
            )
            return sorted({row["tableName"] for row in every} - {row["viewName"] for row in views})
        return sorted(name for name in self._names_in(self.root) if not name.startswith((".", "_")))

    def read(self, name: str) -> DataFrame:
        """All rows of a table, with the columns of this release; none if it was never written.

        Raises:
            TableError: a column is of another type.
        """
        if self.pinned is not None and name in self.pinned:
            return as_declared(
                name, self.spark.sql(f"SELECT * FROM {self.sql(name)} VERSION AS OF {self.pinned[name]}")
            )
        if self.pinned is None and self.exists(name):
            return as_declared(name, self.spark.read.table(self.sql(name)))
        return self.none(name)

    def none(self, name: str) -> DataFrame:
        """No rows, with the columns of a table."""
        return self.spark.createDataFrame([], struct_type(declaration(name).schema))

    def version(self, name: str) -> int | None:
        """The newest version of the table, from the names in its log; None if it was never written."""
        names = self._log(name)
        return max((int(name[:20]) for name in names if COMMIT.fullmatch(name)), default=None)

    def versions(self, until: datetime | None = None) -> dict[str, int]:
        """The newest version of every table, or the newest that was there at a time."""
        newest = {}
        for name in filter(self.exists, TABLES):
            commits = DeltaTable.forName(self.spark, self.sql(name)).history(None if until else 1)
            if until:
                commits = commits.where(F.col("timestamp") <= F.lit(until))
            [row] = commits.agg(F.max("version").alias("version")).collect()
            if row["version"] is not None:
                newest[name] = int(row["version"])
        return newest

    def make(self, name: str) -> None:
        """Make the table, or add what one of an older release lacks: columns, and the checks that its rows pass.

        Raises:
            TableError: a column is of another type.
        """
        with self._opening:
            if name in self._ready:
                return
            if self.exists(name):
                table_ddl.upgrade(self.spark, name, self.sql(name))
            else:
                self._remove_log_without_commits(name)
                table_ddl.create(self.spark, name, self.sql(name), self._located(name))
            self._made.add(name)
            self._ready.add(name)

    def append(self, name: str, rows: DataFrame, *, among: str | None = None) -> int:
        """Add the rows whose key and fingerprint are not there yet; how many were added.

        `among` ("column = value") holds for all rows that these can equal: only files that may
        have such rows are read.

        The rows are read twice, so they must be cached or cheap. A concurrent writer of the same
        table makes the commit start over with that writer's rows in sight: no row can be added twice.
        """
        keys = [*declaration(name).key, "fingerprint"]
        merge = self._merge(name, rows.dropDuplicates(keys), keys, among)
        return merged(name, merge.whenNotMatchedInsert(values=_values(rows))).total

    def upsert(self, name: str, rows: DataFrame, count: int) -> Committed:
        """Add the rows, `count` of them, each in place of one of the same key; like those of `append` read twice."""
        if self.is_only_writer and not self.exists(name):
            self.add(name, rows)
            return Committed(count, 0)
        keys = [*declaration(name).key]
        merge = self._merge(name, rows.dropDuplicates(keys), keys).whenMatchedUpdate(set=_values(rows))
        return merged(name, merge.whenNotMatchedInsert(values=_values(rows)))

    def update(self, name: str, rows: DataFrame) -> None:
        """Change the columns that the rows have, where the table has their keys."""
        merged(name, self._merge(name, rows, [*declaration(name).key]).whenMatchedUpdate(set=_values(rows)))

    def insert(self, name: str, rows: DataFrame, count: int, *, among: str | None = None) -> int:
        """Add rows, `count` of them, whose keys the table is known not to hold; how many were added.

        They are appended where no other run writes, so that what was known still holds. Elsewhere the
        keys are looked up again in the same commit, as by `append`.
        """
        if not self.is_only_writer:
            return self.append(name, rows, among=among)
        self.add(name, rows)
        return count

    def add(self, name: str, rows: DataFrame) -> None:
        """Add rows that cannot be there yet: no other run writes, or their key holds the run's own id."""
        self.make(name)
        with commits.naming(name):
            rows.writeTo(self.sql(name)).append()

    def replace(self, name: str, rows: DataFrame) -> None:
        """Make the table hold these rows and no others, in one commit."""
        self.replaced.add(name)
        rows = rows.select(*declaration(name).schema.names)
        if self.is_only_writer and not self.exists(name):
            self.add(name, rows)
            return
        self.make(name)
        with commits.naming(name):
            rows.writeTo(self.sql(name)).overwrite(F.lit(True))

    def change(self, name: str, rows: DataFrame, before: DataFrame | None = None) -> int:
        """Make the table hold these rows and no others, touching only those that differ in more than who made them.

        `before`: the key and `run_id` of what it held before the rows were computed, if other runs may
        write. Then only such rows are removed, and those that another run has added since stay.

        Returns how many were added, changed or removed; where there are none, nothing is written.
        """
        keys = [*declaration(name).key]
        differs = " OR ".join(f"NOT (old.{c} <=> new.{c})" for c in declaration(name).stage_columns if c not in keys)
        same = " AND ".join(f"old.{k} = new.{k}" for k in keys)
        pairs = self.read(name).alias("old").join(rows.alias("new"), on=F.expr(same), how="full_outer")
        if pairs.where(f"old.{keys[0]} IS NULL OR new.{keys[0]} IS NULL OR {differs}").isEmpty():
            return 0
        merge = self._merge(name, rows, keys).whenMatchedUpdate(condition=differs, set=_values(rows))
        merge = merge.whenNotMatchedInsert(values=_values(rows))
        if before is None:
            return merged(name, merge.whenNotMatchedBySourceDelete()).total
        gone = before.join(rows.select(keys), on=keys, how="left_anti")
        return merged(name, merge).total + self.drop(name, gone)

    def drop(self, name: str, keys: DataFrame) -> int:
        """Remove the rows of these keys; how many there were."""
        return merged(name, self._merge(name, keys, [*keys.columns]).whenMatchedDelete()).total

    def landing(self, name: str) -> AbstractContextManager[Callable[..., DataFrame]]:
        """`landing.landing` beside these tables."""
        return landing(self.spark, self.root, name)

    def _merge(self, name: str, rows: DataFrame, keys: list[str], among: str | None = None) -> DeltaMergeBuilder:
        self.make(name)
        same = " AND ".join([*([f"old.{among}"] if among else []), *(f"old.{k} = new.{k}" for k in keys)])
        return DeltaTable.forName(self.spark, self.sql(name)).alias("old").merge(rows.alias("new"), same)

    def _log(self, name: str) -> list[str]:
        """The names of the files of a table's log; none if it does not lie under the folder."""
        return self._names_in(f"{self.path(name)}/_delta_log")

    def _names_in(self, folder: str) -> list[str]:
        """The names of files and folders in a folder; none if it is not there."""
        if "://" not in folder:
            with suppress(FileNotFoundError):
                return os.listdir(folder)
            return []
        jvm: Any = self.spark.sparkContext._jvm
        path = jvm.org.apache.hadoop.fs.Path(folder)
        try:
            listed = path.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration()).listStatus(path)
        except Py4JJavaError as e:
            if "FileNotFoundException" in str(e):
                return []
            raise
        return [status.getPath().getName() for status in listed]

    def _lies(self, name: str) -> bool:
        """Whether a table lies under the folder: a run that is killed before its first commit leaves an empty log."""
        return bool(DeltaTable.isDeltaTable(self.spark, self.path(name))) and not self._has_empty_log(name)

    def _has_empty_log(self, name: str) -> bool:
        """Whether a table's log is a folder without commits; a store has no empty folders."""
        is_folder = os.path.isdir(f"{self.path(name)}/_delta_log")
        return is_folder and not any(map(IN_LOG.match, self._log(name)))

    def _registered(self, name: str) -> bool:
        if self.spark.catalog.tableExists(self.sql(name)):
            self._check_place(name)
            return True
        if VOLUME.match(self.root) or not self._lies(name):
            return False
        self.spark.sql(f"CREATE TABLE IF NOT EXISTS {self.sql(name)} USING delta{self._located(name)}")
        return True

    def _located(self, name: str) -> str:
        """The clause that puts a table of a schema under the folder, where it outlives its name."""
        chosen_here = self._schema_of(name) and not VOLUME.match(self.root)
        return f" LOCATION {literal(self.path(name))}" if chosen_here else ""

    def _schema_of(self, name: str) -> Schema | None:
        """The schema of the catalog that a table belongs to; None of one that is known by its folder alone."""
        return None if name in PRIVATE else self.schema

    def _remove_log_without_commits(self, name: str) -> None:
        """Delete what a run left that was killed as it made the table: Delta would take it for the table's log."""
        if self.is_only_writer and self._has_empty_log(name):
            shutil.rmtree(f"{self.path(name)}/_delta_log")

    def _check_place(self, name: str) -> None:
        if VOLUME.match(self.root):
            return
        place = self.place(name)
        if SCHEME.sub("/", place).rstrip("/") != SCHEME.sub("/", self.path(name)).rstrip("/"):
            raise TableError(f"--schema {self.schema}: its table {name} is that of another output, {place}")


def _values(rows: DataFrame) -> dict[str, Any]:
    """Each column from the new row; columns that only a later release knows stay as they are."""
    return {quoted(name): f"new.{quoted(name)}" for name in rows.columns}
