"""Rows as a query gives them to an export, and what an export holds, as plain values that can be compared."""

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
    """A file in the place of a clip's mp4, and what is known of the clip."""
    path.write_bytes(content)
    facts = {"video_id": "v1", "uri": str(path), "sha256": hashlib.sha256(content).hexdigest(), "num_bytes": len(content)}
    return {**facts, "width": 640, "height": 360, "duration_s": 4.0}


def clip(folder: Path, clip_id: str, **columns: Any) -> Row:
    """A row of a query with the clip that it is of."""
    return {"clip_id": clip_id, **columns, CLIP: media(folder / f"{clip_id}.mp4", clip_id.encode() * 100)}


def batches(rows: list[Row], size: int = 100, part: str = "00000") -> Iterator[pa.RecordBatch]:
    """Rows of one part, as Spark hands them over."""
    return iter(pa.Table.from_pylist([row | {PART: part} for row in rows]).to_batches(size))


def part(to: Path, name: str = "00000") -> Part:
    """A part to write."""
    return Part(name, str(to), Sources())


def files(to: Path) -> dict[str, str]:
    """Every file below a folder but the release, which tells when it was made, and a hash of its bytes."""
    found = sorted(path for path in to.rglob("*") if path.is_file() and path.name != "release.json")
    return {str(path.relative_to(to)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def index(to: Path) -> list[Row]:
    """The rows of an export's index."""
    return list(pq.read_table(to / "index").to_pylist())


def release(to: Path) -> dict[str, Any]:
    """What an export says of itself."""
    return dict(json.loads((to / "release.json").read_text()))
