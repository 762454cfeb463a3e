"""huggingface: a part's clips -> one Parquet file whose column `video` holds their mp4 files; a card for the folder."""

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

from udfs.exports.shards import CLIP, PART, Clip, Part, whose
from udfs.storage import access, media_store
from udfs.storage.remote_file import AnyPath, opened

MEGA = 1_000_000
GROUP_BYTES = 64 * MEGA  # of videos in a row group, which a reader and this writer hold in memory
PAGE_BYTES = 256 << 10  # that fill a page: a larger video has a page of its own
BYTES = "video.bytes"  # the leaf column of video data
# The content-defined chunking that `datasets` uses and notes in the file's metadata.
CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}
KNOWS_CHUNKING = "use_content_defined_chunking" in signature(pq.ParquetWriter).parameters  # pyarrow 21
VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.huggingface]"""

    file_mb: Annotated[float, Field(gt=0, description="of clips, with which a file is full")] = 500.0
    license: Annotated[str, Field(min_length=1, description="of the data set, as the Hugging Face hub calls it")] = (
        "unknown"
    )
    pretty_name: Annotated[str, Field(min_length=1, description="of the data set")] = "Curated clips"


def cost_sql(params: Params) -> tuple[str, int]:
    """What a clip takes of a file, and how much a file holds."""
    return "num_bytes", max(1, round(params.file_mb * MEGA))


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """`data/<part>.parquet`, whose row groups end where their videos reach GROUP_BYTES.

    Videos are stored uncompressed, large ones in pages of their own, with a page index, so that a
    reader can seek to a video and within it. `datasets` does the same (huggingface/datasets #7971,
    #7976).
    """
    clips: list[Clip] = []
    first = next(batches)
    schema = featured(first.schema)
    with (
        part.file(f"data/{part.name}.parquet", clips) as path,
        pq.ParquetWriter(path, schema, **layout(schema)) as file,
    ):
        held: list[tuple[pa.RecordBatch, bytes]] = []
        for one in _singly(chain([first], batches)):
            [row] = one.select(["clip_id", CLIP]).to_pylist()
            if media := part.media(row):
                clips.append(whose(row))
                held.append((one, read(media)))
            if sum(len(video) for _, video in held) >= GROUP_BYTES:
                file.write_table(_group(held, schema))
                held = []
        if held:
            file.write_table(_group(held, schema))


def layout(schema: pa.Schema) -> dict[str, Any]:
    """The options of a ParquetWriter: videos plain and uncompressed, other columns compressed, pages indexed."""
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
        "write_batch_size": 1,  # values after which a page may end
    }
    return options | ({"use_content_defined_chunking": CHUNKING} if KNOWS_CHUNKING else {})


def read(path: AnyPath) -> bytes:
    """All bytes of a file."""
    with opened(path) as file:
        return file.read()


def write_card(to: str, release: Mapping[str, Any], params: Params, sources: access.Params) -> None:
    """README.md of the folder, as the hub shows it."""
    with media_store.reading(f"{to}/{release['parts'][0]['path']}", sources) as file:
        schema = pq.read_schema(file)
    with media_store.writing(f"{to}/README.md", sources, root=to) as path:
        Path(path).write_text(card(schema, release, params), encoding="utf-8")


def card(schema: pa.Schema, release: Mapping[str, Any], params: Params) -> str:
    """What the hub reads (licence, files, size) and what people do: columns, counts, where it comes from."""
    counts, made = release["counts"], json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    columns = "\n".join(f"| {name} | {json.dumps(kind).replace('|', ' ')} |" for name, kind in made.items())
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

{counts["num_clips"]} clips in {counts["num_files"]} files, {counts["num_bytes"]} bytes. Licence: {params.license}.

| column | feature |
|---|---|
{columns}

## Provenance

Made by Reelmill {release["versions"]["reelmill"]} ({release["code"] or "installed"}) from these rows:

```sql
{release["query"]}
```

The tables had these versions: {json.dumps(release["tables"])}. Models that made rows of them:

{models or "- none"}

`release.json` has all settings and the sha256 of every file; `reelmill export --release release.json` makes them again.
"""


def featured(schema: pa.Schema) -> pa.Schema:
    """The columns of the file: the query's, a map as a list of pairs, and `video`; with what `datasets` calls their features."""
    fields = [field.with_type(_listed(field.type)) for field in schema if field.name not in (CLIP, PART, "video")]
    features = {"video": {"_type": "Video"}} | {field.name: feature(field.type) for field in fields}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    if KNOWS_CHUNKING:
        metadata["content_defined_chunking"] = json.dumps(CHUNKING)
    return pa.schema([pa.field("video", VIDEO), *fields], metadata)


def feature(type_: pa.DataType) -> dict[str, Any]:
    """A column's type as `datasets` writes it."""
    if pa.types.is_list(type_):
        return {"feature": feature(type_.value_type), "_type": "List"}
    if pa.types.is_struct(type_):
        return {field.name: feature(field.type) for field in type_}
    names = {"float": "float32", "double": "float64"}
    return {"dtype": names.get(str(type_), str(type_)), "_type": "Value"}


def _listed(type_: pa.DataType) -> pa.DataType:
    """A type without maps, which `datasets` does not know."""
    if pa.types.is_map(type_):
        return pa.list_(pa.struct([("key", _listed(type_.key_type)), ("value", _listed(type_.item_type))]))
    if pa.types.is_list(type_):
        return pa.list_(_listed(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_listed(field.type)) for field in type_])
    return type_


def _singly(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch.slice(i, 1) for batch in batches for i in range(batch.num_rows))


def _group(held: list[tuple[pa.RecordBatch, bytes]], schema: pa.Schema) -> pa.Table:
    rows = pa.Table.from_batches([row for row, _ in held])
    videos = [
        {"bytes": video, "path": f"{name}.mp4"}
        for (_, video), name in zip(held, rows["clip_id"].to_pylist(), strict=True)
    ]
    others = [field for field in schema if field.name != "video"]
    found = rows.select([field.name for field in others]).cast(pa.schema(others))
    return found.add_column(0, schema.field("video"), pa.array(videos, VIDEO)).cast(schema).combine_chunks()
