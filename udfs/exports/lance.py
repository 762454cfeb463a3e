"""lance: an export of one fragment per part to the Lance data set data.lance.

Readers see no fragment before `commit` publishes all of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.exports.parquet import query_batches, schema_and_tables
from udfs.exports.shards import Clip, Part

FOLDER = "data.lance"
PACKAGE = "lance"  # the import name of pylance


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """Write one data file below `data.lance/data/`; Lance chooses its name."""
    from lance.fragment import write_fragments  # an extra

    clips: list[Clip] = []
    schema, tables = schema_and_tables(query_batches(batches, clips))
    # Spark omits the only offset of an empty list of lists, on which Lance panics. A copy has it.
    copies = (table.take(np.arange(len(table))) for table in tables)
    reader = pa.RecordBatchReader.from_batches(schema, (batch for table in copies for batch in table.to_batches()))
    [fragment] = write_fragments(reader, f"{part.to}/{FOLDER}", schema, max_rows_per_file=1 << 40)
    [file] = fragment.to_json()["files"]
    part.add_file(f"{FOLDER}/data/{file['path']}", clips)
    part.note |= {"fragment": fragment.to_json(), "schema": base64.b64encode(schema.serialize()).decode()}


def commit(to: str, notes: Iterable[dict[str, Any]]) -> None:
    """Publish the fragments of these parts, and no others, as the data set."""
    import lance

    part_notes = list(notes)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(part_notes[0]["schema"])))
    fragments = [lance.fragment.FragmentMetadata.from_json(json.dumps(note["fragment"])) for note in part_notes]
    lance.LanceDataset.commit(f"{to}/{FOLDER}", lance.LanceOperation.Overwrite(schema, fragments))
