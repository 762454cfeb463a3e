"""huggingface: an export of Parquet files with mp4 files in the column `video`, and a data card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports.shards import CLIP, PART, Clip, Part, row_clip
from udfs.storage import media_store
from udfs.storage.remote_file import AnyPath, open_path
from udfs.storage.settings import Params as Sources

MEGA = 1_000_000
GROUP_BYTES = 64 * MEGA  # videos of a row group, which readers and this writer hold in memory
PAGE_BYTES = 256 << 10  # size of a full page; a larger video has its own page
BYTES = "video.bytes"  # the leaf column with the mp4 files
# The content-defined chunking that `datasets` uses and notes in the file's metadata.
CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}
HAS_CHUNKING = "use_content_defined_chunking" in signature(pq.ParquetWriter).parameters  # since pyarrow 21
VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.huggingface]"""

    file_mb: Annotated[float, Field(gt=0, description="megabytes of clips per file")] = 500.0
    license: Annotated[str, Field(min_length=1, description="of the data set, by the Hugging Face hub's name")] = (
        "unknown"
    )
    pretty_name: Annotated[str, Field(min_length=1, description="title of the data set")] = "Curated clips"


def cost_sql(params: Params) -> tuple[str, int]:
    """SQL for the size of a clip, and the size of a full file, in the same unit."""
    return "num_bytes", max(1, round(params.file_mb * MEGA))


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """Write `data/<part>.parquet`, with row groups of about GROUP_BYTES of videos.

    Videos are stored uncompressed, large ones in pages of their own, with a page index, so that a
    reader can seek to a video and within it. `datasets` does the same (huggingface/datasets #7971,
    #7976).
    """
    clips: list[Clip] = []
    first = next(batches)
    schema = feature_schema(first.schema)
    with (
        part.file(f"data/{part.name}.parquet", clips) as path,
        pq.ParquetWriter(path, schema, **writer_options(schema)) as file,
    ):
        group: list[tuple[pa.RecordBatch, bytes]] = []
        for batch in _single_rows(chain([first], batches)):
            [row] = batch.select(["clip_id", CLIP]).to_pylist()
            if media := part.media(row):
                clips.append(row_clip(row))
                group.append((batch, file_bytes(media)))
            if sum(len(video) for _, video in group) >= GROUP_BYTES:
                file.write_table(_row_group(group, schema))
                group = []
        if group:
            file.write_table(_row_group(group, schema))


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Options of a ParquetWriter: plain, uncompressed videos; other columns zstd; a page index."""
    with pq.ParquetWriter(empty := pa.BufferOutputStream(), schema):
        pass
    columns = pq.ParquetFile(empty.getvalue()).schema
    leaves = [columns.column(i).path for i in range(len(columns))]
    others = [leaf for leaf in leaves if leaf != BYTES]
    options: dict[str, Any] = {
        "compression": dict.fromkeys(others, "zstd") | ({BYTES: "none"} if BYTES in leaves else {}),
        "use_dictionary": others,
        "column_encoding": {BYTES: "PLAIN"} if BYTES in leaves else None,
        "write_page_index": True,
        "data_page_size": PAGE_BYTES,
        "write_batch_size": 1,  # a page may end after any value
    }
    return options | ({"use_content_defined_chunking": CHUNKING} if HAS_CHUNKING else {})


def file_bytes(path: AnyPath) -> bytes:
    """The content of a file."""
    with open_path(path) as file:
        return file.read()


def write_card(to: str, release: Mapping[str, Any], params: Params, sources: Sources) -> None:
    """Write README.md of the export, which the hub shows as the data card."""
    with media_store.open_uri(f"{to}/{release['parts'][0]['path']}", sources) as file:
        schema = pq.read_schema(file)
    with media_store.write_to(f"{to}/README.md", sources, root=to) as path:
        Path(path).write_text(card(schema, release, params), encoding="utf-8")


def update_card(to: str, before: Mapping[str, Any], now: Mapping[str, Any], sources: Sources) -> None:
    """Have README.md count what is left; what people have written into it stays."""
    try:
        with media_store.open_uri(f"{to}/README.md", sources) as file:
            text = file.read().decode()
    except FileNotFoundError:
        return
    with media_store.write_to(f"{to}/README.md", sources, root=to) as path:
        Path(path).write_text(text.replace(_totals(before), _totals(now)), encoding="utf-8")


def _totals(release: Mapping[str, Any]) -> str:
    counts = release["counts"]
    return f"{counts['num_clips']} clips in {counts['num_files']} files, {counts['num_bytes']} bytes."


def card(schema: pa.Schema, release: Mapping[str, Any], params: Params) -> str:
    """The data card: metadata for the hub; columns, counts and provenance for people."""
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    columns = "\n".join(f"| {name} | {json.dumps(kind).replace('|', ' ')} |" for name, kind in features.items())
    models = "".join(f"- {stage}: {', '.join(names)}\n" for stage, names in release["models"].items())
    return f"""---
license: {json.dumps(params.license)}
pretty_name: {json.dumps(params.pretty_name)}
task_categories: [text-to-video]
tags: [video]
configs:
- config_name: default
  data_files: data/*.parquet
---
# {params.pretty_name}

{_totals(release)} License: {params.license}.

| column | feature |
|---|---|
{columns}

## Provenance

Made by Reelmill {release["versions"]["reelmill"]} ({release["code"] or "installed"}) from this query:

```sql
{release["query"]}
```

Table versions: {json.dumps(release["tables"])}. Models that wrote rows of these tables:

{models or "- none"}

`release.json` has all settings and the sha256 of every file. `reelmill export --release release.json`
writes the same files again.
"""


def feature_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of the file: `video` and the query's columns, with their features for `datasets`.

    Maps become lists of pairs, because `datasets` has no maps.
    """
    fields = [field.with_type(_without_maps(field.type)) for field in schema if field.name not in (CLIP, PART, "video")]
    features = {"video": {"_type": "Video"}} | {field.name: feature(field.type) for field in fields}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    if HAS_CHUNKING:
        metadata["content_defined_chunking"] = json.dumps(CHUNKING)
    return pa.schema([pa.field("video", VIDEO), *fields], metadata)


def feature(type_: pa.DataType) -> dict[str, Any]:
    """The feature of a column type, in the JSON of `datasets`."""
    if pa.types.is_list(type_):
        return {"feature": feature(type_.value_type), "_type": "List"}
    if pa.types.is_struct(type_):
        return {field.name: feature(field.type) for field in type_}
    names = {"float": "float32", "double": "float64", "date32[day]": "date32"}
    return {"dtype": names.get(str(type_), str(type_)), "_type": "Value"}


def _without_maps(type_: pa.DataType) -> pa.DataType:
    """The type with maps replaced by lists of pairs."""
    if pa.types.is_map(type_):
        return pa.list_(pa.struct([("key", _without_maps(type_.key_type)), ("value", _without_maps(type_.item_type))]))
    if pa.types.is_list(type_):
        return pa.list_(_without_maps(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_without_maps(field.type)) for field in type_])
    return type_


def _single_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch.slice(i, 1) for batch in batches for i in range(batch.num_rows))


def _row_group(group: list[tuple[pa.RecordBatch, bytes]], schema: pa.Schema) -> pa.Table:
    rows = pa.Table.from_batches([row for row, _ in group])
    videos = [
        {"bytes": video, "path": f"{name}.mp4"}
        for (_, video), name in zip(group, rows["clip_id"].to_pylist(), strict=True)
    ]
    others = [field for field in schema if field.name != "video"]
    columns = rows.select([field.name for field in others]).cast(pa.schema(others))
    return columns.add_column(0, schema.field("video"), pa.array(videos, VIDEO)).cast(schema).combine_chunks()
