"""Open the Delta tables of an output without Spark, with the columns that this release declares."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from jobs.config.errors import TableError, UsageError
from jobs.lake.catalog import quoted
from jobs.queries.dialect import UntranslatedError
from schemas import TABLES, custom, for_threads
from schemas.table import Table, sql_type
from udfs.core.errors import MediaError, StoreError
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote, local_path

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

OPENED_AT_ONCE = 8  # tables of a store, each of which takes a few requests
PATTERN = re.compile(r"[*?\[\]{}]")  # what DuckDB does not take literally in a path
COMMIT = re.compile(r"\d{20}\.json")  # a file of a table's log
ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
UNREAD = ("deletionVectors", "columnMapping")  # features of Delta that only Spark reads


class Source(NamedTuple):
    """The rows of a table as they are stored, and the Spark SQL that gives them their declared columns.

    Local files are read by DuckDB itself: less CPU and memory than through pyarrow, and pyarrow's
    datasets import pandas. For a store DuckDB would have to download an extension.
    """

    query: str
    columns: pa.Schema
    files: list[str]
    dataset: Dataset | None = None  # instead of the files


def open_tables(
    names: Iterable[str], output: str, sources: Sources, pinned: Mapping[str, int] | None = None
) -> dict[str, Source]:
    """Tables of an output by name; one that was never written is empty.

    With `pinned`, they are as they were in these versions, and those that it does not name are empty.

    Raises:
        TableError: a table cannot be read, or a column is of another type.
        UntranslatedError: only Spark can read it.
        UsageError: there are no credentials for the store.
    """
    open_one = partial(_open, output=output, options=storage_options(output, sources), pinned=pinned)
    ordered = [*names]
    if not is_remote(output) or len(ordered) < 2:
        return {name: open_one(name) for name in ordered}
    with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
        return dict(zip(ordered, pool.map(for_threads(open_one), ordered), strict=True))


def custom_tables(output: str, sources: Sources) -> list[Table]:
    """The tables of the user's own stages in an output.

    Raises:
        TableError: a table cannot be read.
        UsageError: there are no credentials for the store.
    """
    folders = media_store.subfolders(_folder(output), sources)
    names = sorted(folder.rpartition("/")[2] for folder in folders)
    options = storage_options(output, sources)
    opened = (_custom_table(name, output, options) for name in names if name not in TABLES and name[0] not in "._")
    return [table for table in opened if table is not None]


def table_path(name: str, output: str) -> str:
    """Where a table is, as delta-rs takes it."""
    return f"{_folder(output)}/{name}"


def versions(output: str, sources: Sources, names: Iterable[str] | None = None) -> dict[str, int]:
    """The newest version of these tables that are there, or of all that rows of the chain depend on.

    The latter are those that `last_run.versions` gives by Spark.

    Raises:
        TableError: a table cannot be read.
        UsageError: there are no credentials for the store.
    """
    options = storage_options(output, sources)
    with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
        names = [*(names or (name for name in TABLES if name != "runs"))]
        found = zip(names, pool.map(partial(_version, output=output, options=options), names), strict=True)
        return {name: version for name, version in found if version is not None}


def versions_before(moment: datetime, output: str, sources: Sources) -> dict[str, int]:
    """The version that every table had at a moment; a table that was made later is left out.

    Raises:
        TableError: a table cannot be read.
    """
    options, found = storage_options(output, sources), dict[str, int]()
    for name in versions(output, sources):
        try:
            commits = DeltaTable(f"{_folder(output)}/{name}", storage_options=options).history()
        except (DeltaError, OSError) as e:
            raise TableError(f"table {name}: {' '.join(str(e).split())}") from e
        before = [commit["version"] for commit in commits if commit["timestamp"] < moment.timestamp() * 1000]
        found |= {name: max(before)} if before else {}
    return found


def _version(name: str, output: str, options: dict[str, str]) -> int | None:
    path = f"{_folder(output)}/{name}"
    if not is_remote(output):
        with suppress(FileNotFoundError):
            return max(
                (int(file[:20]) for file in os.listdir(f"{path}/_delta_log") if COMMIT.fullmatch(file)), default=None
            )
        return None
    try:
        return DeltaTable(path, storage_options=options).version()
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as e:
        raise TableError(f"table {name}: {' '.join(str(e).split())}") from e


def _folder(output: str) -> str:
    return f"{output if is_remote(output) else local_path(output)}/tables"


def _custom_table(name: str, output: str, options: dict[str, str]) -> Table | None:
    """The declaration of a table by what it says itself; None if no stage filled it."""
    path = table_path(name, output)
    try:
        table = DeltaTable(path, storage_options=options)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as e:
        raise TableError(f"table {name}: {' '.join(str(e).split())}") from e
    columns = [
        pa.field(field.name, field.type, nullable=field.nullable, metadata=field.metadata or {"comment": ""})
        for field in pa.schema(table.schema().to_arrow())
    ]
    if not {*custom.OURS} <= {column.name for column in columns}:
        return None
    return custom.stored(name, pa.schema(columns), table.metadata().description or "")


def storage_options(output: str, sources: Sources) -> dict[str, str]:
    """What leads delta-rs to the same store as boto3, with the credentials that boto3 finds.

    Raises:
        UsageError: boto3 finds none.
    """
    if not is_remote(output):
        return {}
    from udfs.storage import s3

    found = {"timeout": f"{sources.timeout_s:g}s", "aws_ec2_metadata_disabled": "true"}
    if sources.s3_endpoint:
        found["aws_endpoint_url"] = sources.s3_endpoint
        found["aws_virtual_hosted_style_request"] = "false"
        found["aws_allow_http"] = str(sources.s3_endpoint.startswith("http://")).lower()
    try:
        keys = {"aws_skip_signature": "true"} if sources.s3_anonymous else s3.keys(sources)
        return found | keys | {"aws_region": s3.region(sources)}
    except (MediaError, StoreError) as e:
        raise UsageError(f"--output {output}: {e}") from e


def stored(name: str) -> str:
    """The name of a table's stored rows, which no query can use."""
    return f"stored {name}"


def declared(name: str, there: pa.Schema) -> str:
    """The query that gives stored rows the declared columns of their table, as `declared.as_declared` does by Spark.

    Missing columns are NULL, old names are read, and columns that only a later release knows are left out.

    Raises:
        TableError: a column is of another type.
    """
    types = {field.name: sql_type(field.type) for field in there}
    for column in TABLES[name].schema:
        type_ = sql_type(column.type)
        if types.get(column.name, type_) != type_:
            raise TableError(
                f"table {name}: column {column.name} is {types[column.name]}, and this release writes {type_}"
            )
    columns = ", ".join(_column(name, column, types) for column in TABLES[name].schema)
    return f"SELECT {columns} FROM {quoted(stored(name))}"


def _open(name: str, output: str, options: dict[str, str], pinned: Mapping[str, int] | None) -> Source:
    path = table_path(name, output)
    if ESCAPED.search(path):
        raise UntranslatedError("delta-rs takes %xx in a path for an escape")
    if pinned is not None and name not in pinned:
        return Source(declared(name, TABLES[name].schema), TABLES[name].schema, [])
    try:
        table = DeltaTable(path, version=pinned[name] if pinned else None, storage_options=options)
        _check_features(name, table)
        columns = pa.schema(table.schema().to_arrow())
        uris = table.file_uris()
        files = [] if is_remote(output) or table.metadata().partition_columns else _local_files(table)
        if pinned and not is_remote(output) and not all(os.path.exists(unquote(uri)) for uri in uris):
            raise TableError(f"table {name}: files of that version are gone: `maintain` keeps them for a while")
        dataset = table.to_pyarrow_dataset() if uris and not files else None
    except TableNotFoundError:
        return Source(declared(name, TABLES[name].schema), TABLES[name].schema, [])
    except (DeltaError, OSError) as e:  # such as a store that does not answer
        raise TableError(f"table {name}: {' '.join(str(e).split())}") from e
    return Source(declared(name, columns), columns, files, dataset)


def _local_files(table: DeltaTable) -> list[str]:
    """The files of a table as DuckDB can name them; none if it cannot name one of them."""
    files = [unquote(uri) for uri in table.file_uris()]
    return [] if any(PATTERN.search(file) or not os.path.exists(file) for file in files) else files


def _check_features(name: str, table: DeltaTable) -> None:
    """Refuse a table whose files alone do not say which rows it has, or under which names."""
    features = {*(table.protocol().reader_features or ())} & {*UNREAD}
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        features.add("columnMapping")
    if features:
        raise UntranslatedError(f"the table {name} uses {' and '.join(sorted(features))} of Delta")


def _column(table: str, column: pa.Field, there: dict[str, str]) -> str:
    old = TABLES[table].renamed.get(column.name)
    names = [quoted(name) for name in (column.name, old) if name is not None and name in there]
    if names == [quoted(column.name)]:
        return names[0]
    value = f"coalesce({', '.join(names)})" if names else "NULL"
    return f"CAST({value} AS {sql_type(column.type)}) AS {quoted(column.name)}"
