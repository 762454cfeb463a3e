"""--manifest -> a frame of (uri, attributes, source_version, changed_s): what to ingest, checked before any table is touched."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StructField, StructType

from jobs.cli import UsageError
from udfs import source
from udfs.manifest import ManifestError, folder, kind, listing, parts, shown, text
from udfs.source import Params

TOLD = "source_version string, changed_s double"  # of a file by a listing; NULL where there was none
SCHEMA = f"uri string, attributes map<string, string>, {TOLD}"
FORMATS = {"jsonl": "json", "csv": "csv", "parquet": "parquet", "delta": "delta"}
PIECES = 64  # tasks at most that list a prefix
SLICE = 10_000  # uris of a listing, or lines of a file, that go to Spark together


def check(manifest: str, sources: Params) -> None:
    """Refuse what is not there, so that it is told before Spark starts.

    Raises:
        UsageError: nothing lies there, or there is no video in it.
    """
    with _usage():
        what = kind(manifest, sources)
        if what == "prefix":
            parts(manifest, sources)
        elif what not in FORMATS:
            listing(manifest, sources)


def read(spark: SparkSession, manifest: str, sources: Params) -> DataFrame:
    """The manifest's rows, each uri once.

    Raises:
        UsageError: a row that cannot be read, no column `uri`, or a row without one.
    """
    with _usage():
        what = kind(manifest, sources)
        if what == "prefix":
            return _prefix(spark, parts(manifest, sources), sources)
        if what in FORMATS:
            return _read(spark, manifest, what, sources).dropDuplicates(["uri"])
        return _frame(spark, [(uri, None, None, None) for uri in listing(manifest, sources)], SCHEMA)


def _prefix(spark: SparkSession, pieces: list[tuple[str, str, bool]], sources: Params) -> DataFrame:
    """Of a prefix the rows never are on the driver: each task lists its pieces."""
    dealt = spark.sparkContext.parallelize(pieces, min(len(pieces), PIECES))
    frame = spark.createDataFrame(dealt, "bucket string, prefix string, flat boolean", verifySchema=False)
    found = frame.mapInPandas(partial(listed, params=sources), f"uri string, {TOLD}")
    return found.select("uri", F.lit(None).cast("map<string, string>").alias("attributes"), "source_version", "changed_s")


def _frame(spark: SparkSession, rows: list[Any], schema: str) -> DataFrame:
    slices = spark.sparkContext.parallelize(rows, max(1, len(rows) // SLICE))
    return spark.createDataFrame(slices, schema, verifySchema=False)


def listed(batches: Iterable[pd.DataFrame], params: Params) -> Iterator[pd.DataFrame]:
    """On the executor: pieces of a prefix -> the videos in them."""
    from udfs import prefix  # with boto3, which most runs do not need

    return prefix.rows(batches, params)


def _read(spark: SparkSession, manifest: str, what: str, sources: Params) -> DataFrame:
    try:
        rows = _load(spark, manifest, what, sources)
        if "uri" not in rows.columns:
            raise ManifestError(f"{shown(manifest)}: no column uri, only {', '.join(rows.columns) or 'none'}")
        uri = F.col("uri").cast("string")
        missing = rows.where(uri.isNull() | (F.trim(uri) == "")).count()
    except (PySparkException, Py4JJavaError) as e:
        raise ManifestError(f"{shown(manifest)}: {_first_line(e)}") from e
    if missing:
        raise ManifestError(f"{shown(manifest)}: {missing} rows without a uri")
    relative = F.concat(F.lit(folder(manifest)), F.regexp_replace(uri, r"^\./", ""))
    absolute = F.when(uri.rlike(r"^/|^(file|dbfs):") | uri.contains("://"), uri).otherwise(relative)
    nothing = F.lit(None).cast("string").alias("source_version"), F.lit(None).cast("double").alias("changed_s")
    return rows.select(absolute.alias("uri"), _attributes(rows.schema).alias("attributes"), *nothing)


def _load(spark: SparkSession, manifest: str, what: str, sources: Params) -> DataFrame:
    # FAILFAST: a malformed row refuses the manifest; the default would make it a row of NULLs.
    if source.is_web(manifest):
        lines = _lines(manifest, what, sources)
        if not lines:
            raise ManifestError(f"{shown(manifest)}: no rows")
        return spark.read.json(spark.sparkContext.parallelize(lines, max(1, len(lines) // SLICE)), mode="FAILFAST")
    loader = spark.read.format(FORMATS[what])
    if what in ("jsonl", "csv"):
        loader = loader.options(mode="FAILFAST", header=True, escape='"', multiLine=what == "csv", encoding="UTF-8")
    return loader.load(address(manifest))


def _lines(manifest: str, what: str, sources: Params) -> list[str]:
    """What Spark cannot read by itself, as JSON lines."""
    whole = text(manifest, sources)
    if what == "jsonl":
        return [line for line in whole.split("\n") if line.strip()]
    try:
        rows = list(csv.DictReader(io.StringIO(whole, newline=""), strict=True))
    except csv.Error as e:
        raise ManifestError(f"{shown(manifest)}: MALFORMED: {e}") from e
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise ManifestError(f"{shown(manifest)}: MALFORMED: row {number} has not as many values as there are columns")
    return [json.dumps({name: value or None for name, value in row.items()}) for row in rows]


def address(manifest: str) -> str:
    """What Spark calls a manifest."""
    if source.is_remote(manifest):
        return "s3a://" + manifest.partition("://")[2]
    path = source.local_path(manifest)
    if "DATABRICKS_RUNTIME_VERSION" in os.environ and path.startswith(("/dbfs/", "/Volumes/")):
        return "dbfs:" + path.removeprefix("/dbfs")  # executors may not have it mounted
    return "file:" + path  # the default file system of a cluster is another


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except ManifestError as e:
        raise UsageError(f"--manifest {e}") from e


def _attributes(schema: StructType) -> Column:
    """The other columns as text: structures as JSON, NULLs left out."""
    pairs = [F.struct(F.lit(f.name).alias("key"), _text(f).alias("value")) for f in schema if f.name != "uri"]
    if not pairs:
        return F.lit(None).cast("map<string, string>")
    return F.map_filter(F.map_from_entries(F.array(*pairs)), lambda _, value: value.isNotNull())


def _text(field: StructField) -> Column:
    value = F.col("`" + field.name.replace("`", "``") + "`")
    nested = isinstance(field.dataType, ArrayType | MapType | StructType)
    return F.to_json(value) if nested else value.cast("string")


def _first_line(error: Exception) -> str:
    """What Spark has to say, down to the cause: a malformed row is reported inside a failed task."""
    lines = [line.strip() for line in str(error).splitlines() if "MALFORMED" in line or "Malformed" in line]
    return (lines or str(error).splitlines())[0][:300]
