"""The models that made the rows of a table, read from its files without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.core.errors import MediaError, StoreError
from udfs.storage import access, parquet_rows
from udfs.storage.remote_file import open_path
from udfs.storage.settings import Params as Sources


def stored_models(table: str, sources: Sources) -> Iterator[str]:
    """The models in the column `model` of the table's Parquet files, each once.

    Files that cannot be read end it: Spark will say what is wrong with the table.
    """
    models = set[str]()
    with suppress(MediaError, StoreError, OSError, pa.ArrowException):
        for name in parquet_rows.files(table, sources):
            with open_path(access.own_path(name, sources)) as file:
                file_models = set(pq.read_table(file, columns=["model"])["model"].unique().to_pylist())
            yield from sorted(file_models - models)
            models |= file_models
