"""Input rows of an export, and the content of an export as values that can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.exports.shards import CLIP, PART, Part
from udfs.runtime.context import Row
from udfs.storage.settings import Params as Sources


def media(path: Path, content: bytes) -> Row:
    """Write a file in place of a clip's mp4, and return the facts of the clip."""
    path.write_bytes(content)
    facts = {
        "video_id": "v1",
        "uri": str(path),
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
    }
    return {**facts, "width": 640, "height": 360, "duration_s": 4.0}


def clip(folder: Path, clip_id: str, **columns: Any) -> Row:
    """A row of a query, with the facts of its clip in the column CLIP."""
    return {"clip_id": clip_id, **columns, CLIP: media(folder / f"{clip_id}.mp4", clip_id.encode() * 100)}


def batches(rows: list[Row], size: int = 100, part: str = "00000") -> Iterator[pa.RecordBatch]:
    """Rows of one part, as Spark passes them."""
    return iter(pa.Table.from_pylist([row | {PART: part} for row in rows]).to_batches(size))


def part(to: Path, name: str = "00000") -> Part:
    """A new part of an export in the folder `to`."""
    return Part(name, str(to), Sources())


def files(to: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, except the release, which holds a date."""
    paths = sorted(path for path in to.rglob("*") if path.is_file() and path.name != "release.json")
    return {str(path.relative_to(to)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def index(to: Path) -> list[Row]:
    """The rows of an export's index."""
    return list(pq.read_table(to / "index").to_pylist())


def release(to: Path) -> dict[str, Any]:
    """The release.json of an export."""
    return dict(json.loads((to / "release.json").read_text()))
