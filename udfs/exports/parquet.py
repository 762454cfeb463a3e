"""parquet: an export of one Parquet file per part, with the columns of the query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports.shards import CLIP, PART, Clip, Part, row_clip

GROUP = 5_000  # rows of a row group; 15 MB with a vector of 768 numbers


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.parquet]; the format lance has the same settings."""

    rows_per_file: Annotated[int, Field(ge=1, description="most rows per file")] = 100_000


def cost_sql(params: Params) -> tuple[str, int]:
    """SQL for the size of a row, and the size of a full file, in the same unit."""
    return "1", params.rows_per_file


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """Write `data/<part>.parquet`."""
    clips: list[Clip] = []
    schema, tables = schema_and_tables(query_batches(batches, clips))
    with (
        part.file(f"data/{part.name}.parquet", clips) as path,
        pq.ParquetWriter(path, schema, compression="zstd") as file,
    ):
        for table in tables:
            file.write_table(table)


def query_batches(batches: Iterator[pa.RecordBatch], clips: list[Clip]) -> Iterator[pa.RecordBatch]:
    """The batches with only the query's columns; the clips of their rows are added to `clips`.

    A row that names neither clip nor video adds a clip of which nothing is known.
    """
    for batch in batches:
        names = [name for name in ("clip_id", "video_id", CLIP, PART) if name in batch.schema.names]
        clips += dict.fromkeys(map(row_clip, batch.select(names).to_pylist()))
        yield batch.drop_columns([name for name in (CLIP, PART) if name in batch.schema.names])


def schema_and_tables(batches: Iterator[pa.RecordBatch]) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of batches, and tables of GROUP rows, which do not depend on the batch sizes."""
    first = next(batches)
    return first.schema, _row_groups(first, batches)


def _row_groups(first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    rows = pa.Table.from_batches([first])
    for batch in batches:
        rows = pa.concat_tables([rows, pa.Table.from_batches([batch])])
        while rows.num_rows > GROUP:
            yield rows.slice(0, GROUP).combine_chunks()
            rows = rows.slice(GROUP)
    for start in range(0, rows.num_rows, GROUP):
        yield rows.slice(start, GROUP).combine_chunks()
