"""Read --manifest as a frame of the files to ingest and the files left out."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    CharType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    VarcharType,
)

from jobs.config.errors import UsageError
from udfs.core.errors import MediaError, StoreError
from udfs.core.redaction import without_secrets
from udfs.core.signed_addresses import is_signed, unsigned
from udfs.storage import access, omissions, parquet_rows, table_text
from udfs.storage.manifest import Manifest, ManifestError, Params, column, examine, folder, shown, text, uri
from udfs.storage.remote_file import open_path
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import EDGES, is_remote, is_web, local_path

# Version and time of change of a file by a listing, NULL without one. `number` counts the rows that
# name the file; in a row without a uri it counts the files or rows that were left out for the
# reason `left_out`. `address` is the uri with its password and signature, NULL if it has neither.
LISTING = "source_version string, changed_s double, left_out string, number bigint"
SCHEMA = f"uri string, attributes map<string, string>, {LISTING}, address string"
NAMES = ["uri", "attributes", "source_version", "changed_s", "left_out", "number", "address"]
FORMATS = {"jsonl": "json", "csv": "csv", "parquet": "parquet", "delta": "delta"}
BY_PYARROW = {"PARQUET_TYPE_ILLEGAL", "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", "COLUMN_ALREADY_EXISTS"}
RAISED_IN_TASK = re.compile(r"^(?:[\w.]*: )?[\w.]+\.ManifestError: (?P<text>.*)$", re.MULTILINE)
HEAD_BYTES = 1 << 16  # of a text, for its first line
MAX_COLUMNS = 1000  # each of which takes time to plan
PIECES = 64  # tasks at most that list a prefix
SLICE = 10_000  # uris of a listing, or lines of a file, that go to Spark together


def check(manifest: str, sources: Sources) -> Manifest:
    """What a manifest is and lists, for `read`; refuses a manifest that cannot be read before Spark starts.

    Raises:
        UsageError: nothing lies there, or there is no video in it.
    """
    with _usage():
        return examine(manifest, sources)


def read(
    spark: SparkSession, manifest: str, sources: Sources, params: Params | None = None, checked: Manifest | None = None
) -> DataFrame:
    """The manifest's files by SCHEMA, each URI once, and one row without a URI per reason to leave something out.

    `checked` is what `check` returned for it; without, the manifest is examined here.

    Raises:
        UsageError: a row that cannot be read, no column of URIs, or a row without one.
    """
    kind, listing, parts = checked or check(manifest, sources)
    if kind == "prefix":
        return _prefix(spark, parts, sources)
    if listing is None:
        with _usage():
            return _table(spark, manifest, kind, sources, (params or Params()).uri_column)
    rows = [(unsigned(uri), None, None, None, None, 1, signed(uri)) for uri in listing.uris]
    left = [(None, None, None, None, why, number, None) for why, number in listing.left_out.items()]
    return _frame(spark, rows + left, SCHEMA)


def _prefix(spark: SparkSession, parts: Sequence[tuple[str, str, bool, int]], sources: Sources) -> DataFrame:
    """The rows of a prefix never are on the driver: each task lists its parts."""
    dealt = spark.sparkContext.parallelize(parts, min(len(parts), PIECES))
    frame = spark.createDataFrame(dealt, "bucket string, prefix string, flat boolean, top int", verifySchema=False)
    videos = frame.mapInPandas(partial(listed, params=sources), f"uri string, {LISTING}")
    nothing = F.lit(None).cast("map<string, string>").alias("attributes"), F.lit(None).cast("string").alias("address")
    return videos.select("uri", nothing[0], *NAMES[2:-1], nothing[1])


def _frame(spark: SparkSession, rows: list[Any], schema: str) -> DataFrame:
    slices = spark.sparkContext.parallelize(rows, max(1, len(rows) // SLICE))
    return spark.createDataFrame(slices, schema, verifySchema=False)


def listed(batches: Iterable[pd.DataFrame], params: Sources) -> Iterator[pd.DataFrame]:
    """On the executor: pieces of a prefix -> the videos in them."""
    from udfs.storage import s3_listing  # with boto3, which most runs do not need

    return s3_listing.rows(batches, params)


def _table(spark: SparkSession, manifest: str, what: str, sources: Sources, uri_column: str) -> DataFrame:
    """One row per file that a table names; empty rows of a CSV are left out."""
    try:
        rows = _rows(spark, manifest, what, sources, uri_column)
        missing = F.btrim(F.coalesce("uri", F.lit("")), F.lit(EDGES)) == ""
        empty = F.coalesce(F.size("attributes"), F.lit(0)) <= 0
        blank = missing & empty & F.lit(what == "csv")  # as spreadsheets leave them below
        sums = rows.agg(F.count_if(missing & ~blank).alias("missing"), F.count_if(blank).alias("blank")).first()
    except (PySparkException, Py4JError) as e:
        raise ManifestError(f"{shown(manifest)}: {_first_line(e)}") from e
    assert sums is not None
    if sums["missing"]:
        raise ManifestError(f"{shown(manifest)}: {sums['missing']} rows without a uri")
    spelling = pandas_udf(_spelling(folder(manifest)), "uri string, address string")  # type: ignore[call-overload]
    named = rows.where(~missing).select(spelling("uri").alias("names"), "attributes")
    files = (
        named.select("names.*", "attributes")
        .groupBy("uri")
        .agg(
            # Of rows that differ the same in every run, else they would look changed.
            F.map_from_entries(F.max(F.map_entries("attributes"))).alias("attributes"),
            F.count(F.lit(1)).alias("number"),
            F.max("address").alias("address"),
        )
    )
    kinds = {"source_version": "string", "changed_s": "double", "left_out": "string"}
    nothing = [F.lit(None).cast(kind).alias(name) for name, kind in kinds.items()]
    listing = files.select("uri", "attributes", *nothing, "number", "address")
    if not sums["blank"]:
        return listing
    return listing.union(_frame(spark, [(None, None, None, None, omissions.BLANK, sums["blank"], None)], SCHEMA))


def signed(address: str) -> str | None:
    """An address that has a password or signature; None if it has neither."""
    return address if is_signed(address) else None


def _spelling(folder: str) -> Callable[[pd.Series], pd.DataFrame]:
    def normal_uris(uris: pd.Series) -> pd.DataFrame:
        addresses = uris.map(partial(uri, folder=folder))
        return pd.DataFrame({"uri": addresses.map(unsigned), "address": addresses.map(signed)})

    return normal_uris


def _rows(spark: SparkSession, manifest: str, what: str, sources: Sources, uri_column: str) -> DataFrame:
    """Columns `uri` and `attributes` of a table, with uris as written."""
    try:
        rows = _load(spark, manifest, what, sources, uri_column)
    except PySparkException as e:
        if what != "parquet" or e.getCondition() not in BY_PYARROW:
            raise
        return _by_pyarrow(spark, manifest, sources, uri_column)
    if len(rows.columns) > MAX_COLUMNS:
        raise ManifestError(f"{shown(manifest)}: {len(rows.columns)} columns, more than {MAX_COLUMNS}")
    name = column(manifest, uri_column, rows.columns)
    kind = rows.schema[name].dataType
    if not isinstance(kind, StringType | VarcharType | CharType | BinaryType | NullType):
        raise ManifestError(f"{shown(manifest)}: the column {name} holds {kind.simpleString()}, not text")
    others = StructType([field for field in rows.schema if field.name != name])
    return rows.select(_quoted(name).cast("string").alias("uri"), _attributes(others).alias("attributes"))


def _by_pyarrow(spark: SparkSession, manifest: str, sources: Sources, uri_column: str) -> DataFrame:
    """The same for Parquet files with a type that Spark does not read."""
    try:
        files = parquet_rows.files(manifest, sources)
        if not files:
            raise ManifestError(f"{shown(manifest)}: no file whose name ends with .parquet")
        name = column(manifest, uri_column, parquet_rows.columns(files[0], sources))
    except (MediaError, StoreError, OSError) as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e
    dealt = spark.sparkContext.parallelize([(file,) for file in files], min(len(files), PIECES))
    frame = spark.createDataFrame(dealt, "file string", verifySchema=False)
    rows = partial(parquet_rows.rows, top=manifest, column=name, sources=sources)
    return frame.mapInArrow(rows, "uri string, attributes map<string, string>")


def _load(spark: SparkSession, manifest: str, what: str, sources: Sources, uri_column: str) -> DataFrame:
    # FAILFAST: a malformed row refuses the manifest; the default would make it a row of NULLs.
    head = _head(manifest, sources) if what in ("jsonl", "csv") else b""
    try:
        encoding = table_text.encoding(head)
        sign = table_text.delimiter(head.decode(encoding, errors="replace"), uri_column) if what == "csv" else ","
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e
    if is_web(manifest) or encoding == "utf-16":
        lines = _lines(manifest, what, sources, sign)
        if not lines:
            raise ManifestError(f"{shown(manifest)}: no rows")
        return spark.read.json(spark.sparkContext.parallelize(lines, max(1, len(lines) // SLICE)), mode="FAILFAST")
    loader = spark.read.format(FORMATS[what])
    if what in ("jsonl", "csv"):
        _check_text(manifest, what, head)
        loader = loader.options(
            mode="FAILFAST", header=True, escape='"', multiLine=what == "csv", encoding="UTF-8", sep=sign
        )
    return loader.load(address(manifest))


def _head(manifest: str, sources: Sources) -> bytes:
    """The first bytes of a text; none for a folder of texts, which programs write as UTF-8."""
    try:
        if not is_remote(manifest) and os.path.isdir(local_path(manifest)):
            return b""
        with open_path(access.own_path(manifest, sources)) as file:
            return file.read(HEAD_BYTES)
    except MediaError as e:
        if e.code in ("EMPTY", "NOT_FOUND"):  # or a folder in a store
            return b""
        raise ManifestError(f"{shown(manifest)}: {e.message}") from e
    except (StoreError, OSError) as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e


def _check_text(manifest: str, what: str, head: bytes) -> None:
    """Refuse bytes that are no UTF-8, and nesting too deep for Spark; of a remote text only the head is checked."""
    path = "" if is_remote(manifest) else local_path(manifest)
    try:
        with open(path, "rb") if os.path.isfile(path) else io.BytesIO(head[: head.rfind(b"\n") + 1]) as file:
            table_text.check(file)
            if what == "jsonl":
                file.seek(0)
                table_text.check_depth(file)
    except ValueError as e:
        raise ManifestError(f"{manifest}: {e}") from e


def _lines(manifest: str, what: str, sources: Sources, sign: str) -> list[str]:
    """What Spark cannot read by itself, as JSON lines."""
    whole = text(manifest, sources)
    if what == "jsonl":
        return [line for line in whole.split("\n") if line.strip()]
    try:
        rows = list(csv.DictReader(io.StringIO(whole, newline=""), strict=True, delimiter=sign))
    except csv.Error as e:
        raise ManifestError(f"{shown(manifest)}: MALFORMED: {e}") from e
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise ManifestError(
                f"{shown(manifest)}: MALFORMED: row {number} has not as many values as there are columns"
            )
    return [json.dumps({name: value or None for name, value in row.items()}) for row in rows]


def address(manifest: str) -> str:
    """What Spark calls a manifest."""
    if is_remote(manifest):
        return "s3a://" + manifest.partition("://")[2]
    path = local_path(manifest)
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
    pairs = [F.struct(F.lit(f.name).alias("key"), _text(f).alias("value")) for f in schema]
    if not pairs:
        return F.lit(None).cast("map<string, string>")
    return F.map_filter(F.map_from_entries(F.array(*pairs)), lambda _, value: value.isNotNull())


def _quoted(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _text(field: StructField) -> Column:
    value = _quoted(field.name)
    nested = isinstance(field.dataType, ArrayType | MapType | StructType)
    return F.to_json(value) if nested else value.cast("string")


def _first_line(error: Exception) -> str:
    """What Spark has to say, down to the cause: a malformed row is reported inside a failed task."""
    if "StackOverflowError" in str(error):
        return "nested too deeply"
    if refusal := RAISED_IN_TASK.search(str(error)):
        return refusal["text"]
    lines = [line.strip() for line in str(error).splitlines() if "MALFORMED" in line or "Malformed" in line]
    return without_secrets((lines or str(error).splitlines())[0])[:300]
