"""List the media files of an output, and delete those that `maintain` or `takedown` selects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import pyarrow as pa
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.storage import media_store
from udfs.storage.settings import Params as Sources

FILES = pa.schema(
    [("uri", pa.string()), ("place", pa.string()), ("num_bytes", pa.int64()), ("changed_s", pa.float64())]
)
GONE = pa.schema([("num_files", pa.int64()), ("num_bytes", pa.int64())])
BATCH_FILES = 10_000  # that a task holds in memory


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[maintain]"""

    keep_days: Annotated[
        float,
        Field(
            ge=0, description="days for which earlier versions of the tables stay readable; under 7 only with --force"
        ),
    ] = 7.0
    keep_settings: Annotated[int, Field(ge=1, description="how many of a stage's last settings keep their rows")] = 1
    grace_hours: Annotated[
        float, Field(ge=0, description="hours after which a media file without a row is removed")
    ] = 24.0


def list_files(batches: Iterable[pa.RecordBatch], sources: Sources) -> Iterator[pa.RecordBatch]:
    """Read batches of `folder`, and return one row per file in them.

    `place` is the path by which tables name a file.
    """
    for batch in batches:
        for folder in batch.column("folder").to_pylist():
            files = media_store.files(folder, sources)
            while batch_files := list(islice(files, BATCH_FILES)):
                rows = [(f.uri, media_store.path_in_root(f.uri), f.num_bytes, f.changed_s) for f in batch_files]
                yield pa.RecordBatch.from_arrays([pa.array(column) for column in zip(*rows, strict=True)], schema=FILES)


def remove_files(batches: Iterable[pa.RecordBatch], sources: Sources) -> Iterator[pa.RecordBatch]:
    """Delete batches of FILES; one row per batch says how many files were deleted, and their bytes."""
    for batch in batches:
        sizes = dict(zip(batch.column("uri").to_pylist(), batch.column("num_bytes").to_pylist(), strict=True))
        gone = media_store.remove(list(sizes), sources)
        yield pa.RecordBatch.from_pylist(
            [{"num_files": len(gone), "num_bytes": sum(sizes[uri] for uri in gone)}], schema=GONE
        )
