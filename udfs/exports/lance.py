"""lance: a part's rows -> one fragment of the Lance data set data.lance, which shows none before `commit` shows them all."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.exports.parquet import opened, told
from udfs.exports.shards import Clip, Part

FOLDER = "data.lance"
PACKAGE = "lance"  # of pylance


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """One data file under `data.lance/data/`, whose name Lance makes up."""
    from lance.fragment import write_fragments  # an extra

    clips: list[Clip] = []
    schema, tables = opened(told(batches, clips))
    # Of an empty list of lists Spark leaves out the one offset there is, on which Lance panics: a copy has it.
    copies = (table.take(np.arange(len(table))) for table in tables)
    reader = pa.RecordBatchReader.from_batches(schema, (batch for table in copies for batch in table.to_batches()))
    [fragment] = write_fragments(reader, f"{part.to}/{FOLDER}", schema, max_rows_per_file=1 << 40)
    [file] = fragment.to_json()["files"]
    part.wrote(f"{FOLDER}/data/{file['path']}", clips)
    part.note |= {"fragment": fragment.to_json(), "schema": base64.b64encode(schema.serialize()).decode()}


def commit(to: str, notes: Iterable[dict[str, Any]]) -> None:
    """Make the data set hold the fragments of these parts and no others."""
    import lance

    found = list(notes)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found[0]["schema"])))
    fragments = [lance.fragment.FragmentMetadata.from_json(json.dumps(note["fragment"])) for note in found]
    lance.LanceDataset.commit(f"{to}/{FOLDER}", lance.LanceOperation.Overwrite(schema, fragments))
