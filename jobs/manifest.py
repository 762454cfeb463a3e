"""--manifest -> a frame of (uri, attributes): what there is to ingest, checked before any table is touched."""

from __future__ import annotations

import os

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StructField, StructType

from jobs.cli import UsageError
from udfs.manifest import ManifestError, kind, listing

SCHEMA = "uri string, attributes map<string, string>"
FORMATS = {"jsonl": "json", "csv": "csv", "parquet": "parquet", "delta": "delta"}
SLICE = 10_000  # uris of a listing that go to Spark together


def check(manifest: str) -> None:
    """Refuse what is not there, so that it is told before Spark starts.

    Raises:
        UsageError: nothing lies there, or there is no video in it.
    """
    try:
        if kind(manifest) not in FORMATS:
            listing(manifest)
    except ManifestError as e:
        raise UsageError(f"--manifest {e}") from e


def read(spark: SparkSession, manifest: str, limit: int | None) -> DataFrame:
    """The manifest's rows, each uri once, the first `limit` of them.

    Raises:
        UsageError: a row that cannot be read, no column `uri`, or a row without one.
    """
    what = kind(manifest)
    if what not in FORMATS:
        uris = listing(manifest)[:limit]
        slices = spark.sparkContext.parallelize([(uri, None) for uri in uris], max(1, len(uris) // SLICE))
        return spark.createDataFrame(slices, SCHEMA, verifySchema=False)
    rows = _read(spark, manifest, FORMATS[what]).dropDuplicates(["uri"])
    return rows.orderBy("uri").limit(limit) if limit else rows


def _read(spark: SparkSession, manifest: str, reader: str) -> DataFrame:
    # FAILFAST: a malformed row refuses the manifest; the default would make it a row of NULLs.
    loader = spark.read.format(reader)
    if reader in ("json", "csv"):
        loader = loader.options(mode="FAILFAST", header=True, escape='"', multiLine=reader == "csv", encoding="UTF-8")
    try:
        rows = loader.load(os.path.abspath(manifest))
        if "uri" not in rows.columns:
            raise UsageError(f"--manifest {manifest}: no column uri, only {', '.join(rows.columns) or 'none'}")
        uri = F.col("uri").cast("string")
        missing = rows.where(uri.isNull() | (F.trim(uri) == "")).count()
    except (PySparkException, Py4JJavaError) as e:
        raise UsageError(f"--manifest {manifest}: {_first_line(e)}") from e
    if missing:
        raise UsageError(f"--manifest {manifest}: {missing} rows without a uri")
    # A relative path is meant from the manifest's own folder, wherever the job was started.
    folder = F.lit(os.path.dirname(os.path.abspath(manifest)) + "/")
    absolute = F.when(uri.startswith("/") | uri.contains("://"), uri).otherwise(F.concat(folder, uri))
    return rows.select(absolute.alias("uri"), _attributes(rows.schema).alias("attributes"))


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
