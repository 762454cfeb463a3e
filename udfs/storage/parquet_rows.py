"""Read Parquet manifests with pyarrow, as text, where they have types that Spark lacks.

Such types are nanoseconds, times of day and half floats.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.storage import access, manifest
from udfs.storage.remote_file import open_path
from udfs.storage.settings import Params
from udfs.storage.stores import writable_store
from udfs.storage.uris import is_remote, local_path

TEXTS = pa.map_(pa.string(), pa.string())
SCHEMA = pa.schema([("uri", pa.string()), ("attributes", TEXTS)])
BATCH_ROWS = 10_000
ZEROS = re.compile(r"\.?0+$")
HIDDEN = re.compile(r"(^|/)(\.|_[^/=]*(/|$))")  # in a path below the manifest
PARTITION = re.compile(r"([^/=]+)=([^/]*)/")


def files(uri: str, sources: Params) -> list[str]:
    """The Parquet files that a URI names: the file itself, or those below a folder without the hidden ones.

    As in Spark, a file or folder is hidden if its name begins with a dot or an underscore, unless
    it is a partition such as `_day=1`.
    """
    top = _path(uri)
    if is_remote(uri):
        if uri.lower().endswith(".parquet") and not writable_store(uri).holds(uri, sources):
            return [uri]
        below = [name for name, *_ in writable_store(uri).files(uri, sources)]
    elif os.path.isdir(top):
        below = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
    else:
        return [top]
    return sorted(name for name in below if name.endswith(".parquet") and not HIDDEN.search(name.removeprefix(top)))


def _path(uri: str) -> str:
    return uri if is_remote(uri) else local_path(uri)


def columns(uri: str, sources: Params) -> list[str]:
    """The names of a file's columns."""
    with open_path(access.own_path(uri, sources)) as file:
        return list(pq.read_schema(file).names)


def rows(batches: Iterable[pa.RecordBatch], top: str, column: str, sources: Params) -> Iterator[pa.RecordBatch]:
    """Read the files below `top` that batches of URIs name.

    Of SCHEMA, `uri` is the column `column`, and the others are text. Folders such as `day=1` below
    `top` are columns too.

    Raises:
        ManifestError: a file has no column of that name.
    """
    top = _path(top)
    for paths in batches:
        for uri in paths.column(0).to_pylist():
            partition = {name: unquote(value) for name, value in PARTITION.findall(uri.removeprefix(top))}
            with open_path(access.own_path(uri, sources)) as file:
                parquet = pq.ParquetFile(file)
                name = manifest.column(uri, column, parquet.schema_arrow.names)
                for batch in parquet.iter_batches(BATCH_ROWS):
                    yield _as_text(batch, name, partition)


def _as_text(batch: pa.RecordBatch, column: str, partition: dict[str, str]) -> pa.RecordBatch:
    columns = {name: text(batch.column(i)) for i, name in enumerate(batch.schema.names)}
    uris = columns.pop(column)
    attributes = [
        partition | {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in (zip(*columns.values(), strict=True) if columns else [()] * len(uris))
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(uris, pa.string()), pa.array([[*row.items()] for row in attributes], TEXTS)], schema=SCHEMA
    )


def text(values: pa.Array) -> list[str | None]:
    """The values of a column as Spark casts them to strings.

    Times go to the microsecond without trailing zeros; structs become JSON.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type):
        times = values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.timestamp("us"))
        return [None if time is None else _without_zeros(time) for time in times.cast(pa.string()).to_pylist()]
    if pa.types.is_time(values.type):
        times = values.cast(pa.time64("us"), safe=False)
        return [None if time is None else str(time) for time in times.to_pylist()]
    if pa.types.is_duration(values.type):
        return [None if value is None else str(value) for value in values.cast(pa.int64()).to_pylist()]
    return [None if value is None else _string(value) for value in values.to_pylist()]


def _without_zeros(time: str) -> str:
    return ZEROS.sub("", time) if "." in time else time


def _string(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
