"""parquet: a part's rows -> one Parquet file of the query's columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports.shards import CLIP, PART, Clip, Part, whose

GROUP = 5_000  # rows of a row group: with a vector of 768 numbers 15 MB


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.parquet], which lance goes by too"""

    rows_per_file: Annotated[int, Field(ge=1, description="rows, with which a file is full")] = 100_000


def cost_sql(params: Params) -> tuple[str, int]:
    """What a row takes of a file, and how much a file holds."""
    return "1", params.rows_per_file


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """`data/<part>.parquet`."""
    clips: list[Clip] = []
    first, tables = opened(told(batches, clips))
    with (
        part.file(f"data/{part.name}.parquet", clips) as path,
        pq.ParquetWriter(path, first, compression="zstd") as file,
    ):
        for table in tables:
            file.write_table(table)


def told(batches: Iterator[pa.RecordBatch], clips: list[Clip]) -> Iterator[pa.RecordBatch]:
    """The query's columns of batches, while `clips` gets of whom they are."""
    for batch in batches:
        there = [name for name in ("clip_id", "video_id", CLIP) if name in batch.schema.names]
        clips += dict.fromkeys(clip for row in batch.select(there).to_pylist() if any(clip := whose(row)))
        yield batch.drop_columns([name for name in (CLIP, PART) if name in batch.schema.names])


def opened(batches: Iterator[pa.RecordBatch]) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema, and tables of GROUP rows each: how Spark cut its batches must not show in a file."""
    first = next(batches)
    return first.schema, _grouped(first, batches)


def _grouped(first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held = pa.Table.from_batches([first])
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        while held.num_rows > GROUP:
            yield held.slice(0, GROUP).combine_chunks()
            held = held.slice(GROUP)
    for start in range(0, held.num_rows, GROUP):
        yield held.slice(start, GROUP).combine_chunks()
