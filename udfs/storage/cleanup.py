"""upkeep: folders of media -> a row a file; files that are to go -> how many went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import pyarrow as pa
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.storage import media_store
from udfs.storage.settings import Params as Sources

FILES = pa.schema([("uri", pa.string()), ("place", pa.string()), ("num_bytes", pa.int64()), ("changed_s", pa.float64())])
GONE = pa.schema([("num_files", pa.int64()), ("num_bytes", pa.int64())])
BATCH = 10_000  # files that a task holds


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[maintain]"""

    keep_days: Annotated[
        float, Field(ge=0, description="days that earlier versions of the tables stay readable; under 7 only with --force")
    ] = 7.0
    keep_settings: Annotated[int, Field(ge=1, description="settings of a stage, the last ones, whose rows stay")] = 1
    grace_hours: Annotated[float, Field(ge=0, description="age from which a media file without a row is removed")] = 24.0


def listed(batches: Iterable[pa.RecordBatch], sources: Sources) -> Iterator[pa.RecordBatch]:
    """Batches of `folder` -> a row a file in it; `place` is what the rows of tables and the files have in common."""
    for batch in batches:
        for folder in batch.column("folder").to_pylist():
            files = media_store.files(folder, sources)
            while some := list(islice(files, BATCH)):
                rows = [(f.uri, media_store.place(f.uri), f.num_bytes, f.changed_s) for f in some]
                yield pa.RecordBatch.from_arrays([pa.array(column) for column in zip(*rows, strict=True)], schema=FILES)


def removed(batches: Iterable[pa.RecordBatch], sources: Sources) -> Iterator[pa.RecordBatch]:
    """Batches of FILES -> how many files were there and are not any more, and their bytes, a row a batch."""
    for batch in batches:
        sizes = dict(zip(batch.column("uri").to_pylist(), batch.column("num_bytes").to_pylist(), strict=True))
        gone = media_store.remove(list(sizes), sources)
        yield pa.RecordBatch.from_pylist([{"num_files": len(gone), "num_bytes": sum(sizes[uri] for uri in gone)}], schema=GONE)
