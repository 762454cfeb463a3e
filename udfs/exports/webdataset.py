"""webdataset: an export of tar shards with mp4, json and txt files, reproducible bit for bit."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any

import pyarrow as pa
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports.shards import CLIP, Clip, Part, query_columns, records, row_clip
from udfs.runtime.context import Row
from udfs.storage.remote_file import AnyPath, open_path

Aspect = Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")]
MEGA = 1_000_000
SIDES_PX = (240, 360, 480, 720, 1080, 2160)
ASPECTS = ("9:16", "3:4", "1:1", "4:3", "16:9")
LENGTHS_S = (2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.webdataset]"""

    shard_mb: Annotated[float, Field(gt=0, description="megabytes of clips per shard")] = 1000.0
    shard_clips: Annotated[int, Field(ge=1, description="most clips per shard")] = 10_000
    sides_px: Annotated[
        tuple[int, ...], Field(description="lower bounds of the shorter side, a bucket each; empty: one")
    ] = SIDES_PX
    aspects: Annotated[tuple[Aspect, ...], Field(description="a bucket each, the nearest is chosen; empty: one")] = (
        ASPECTS
    )
    lengths_s: Annotated[
        tuple[float, ...], Field(description="lower bounds of the length, less 1 %, a bucket each; empty: one")
    ] = LENGTHS_S

    def __post_init__(self) -> None:
        for name in ("sides_px", "lengths_s"):
            if any(a >= b for a, b in pairwise((0, *getattr(self, name)))):
                raise ValueError(f"{name}: give rising numbers above 0")
        ratios = [aspect_ratio(aspect) for aspect in self.aspects]
        if any(a >= b for a, b in pairwise(ratios)):
            raise ValueError("aspects: give them from the tallest to the widest")


def aspect_ratio(aspect: str) -> float:
    """Width over height of an aspect such as 16:9."""
    width, _, height = aspect.partition(":")
    return int(width) / int(height)


def bucket_sql(params: Params) -> str:
    """SQL for the name of a clip's bucket, such as 720p-16x9-5s; empty if all share one bucket.

    It reads the columns width, height and duration_s.
    """
    names = []
    if params.sides_px:
        names.append(
            _case_sql("least(width, height)", [f"{side}p" for side in (0, *params.sides_px)], list(params.sides_px))
        )
    if params.aspects:
        # Nearest by ratio: 1:2 is as far from 1:1 as 2:1 is.
        borders = [math.sqrt(aspect_ratio(a) * aspect_ratio(b)) for a, b in pairwise(params.aspects)]
        names.append(_case_sql("width / height", [aspect.replace(":", "x") for aspect in params.aspects], borders))
    if params.lengths_s:
        names.append(
            # At 29.97 frames a second a clip cut at 10 s lasts 9.98 s.
            _case_sql(
                "duration_s",
                [f"{length:g}s" for length in (0, *params.lengths_s)],
                [length * 0.99 for length in params.lengths_s],
            )
        )
    return f"concat_ws('-', {', '.join(names)})" if names else "''"


def cost_sql(params: Params) -> tuple[str, int]:
    """SQL for the size of a clip, and the size of a full shard, in the same unit.

    A clip counts by its bytes or as one clip, whichever fills the shard sooner.
    """
    size = max(1, round(params.shard_mb * MEGA))
    return f"greatest(cast(num_bytes AS decimal(38, 0)) * {params.shard_clips}, {size})", size * params.shard_clips


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """Write `shards/<part>.tar`: per clip <clip_id>.mp4, .json (query columns) and .txt (caption).

    A clip without a caption has no .txt.

    Raises:
        ValueError: the query gives a clip twice.
    """
    clips: list[Clip] = []
    with (
        part.file(f"shards/{part.name}.tar", clips) as path,
        tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for row in records(batches):
            if clips and clips[-1].name == row["clip_id"]:
                raise ValueError(f"the query gives clip {row['clip_id']} twice")
            if media := part.media(row):
                _add_clip(tar, row, media)
                clips.append(row_clip(row))


def caption(row: Row) -> str | None:
    """The row's `caption`, or the best caption of each window in `captions`, a line per window."""
    if isinstance(row.get("caption"), str):
        return str(row["caption"])
    texts = [
        c.get("enhanced_caption") or c.get("stage2_caption") or c.get("caption") for c in row.get("captions") or []
    ]
    return "\n".join(text for text in texts if text) or None


def _add_clip(tar: tarfile.TarFile, row: Row, media: AnyPath) -> None:
    name, text = row["clip_id"], caption(row)
    with open_path(media) as file:
        tar.addfile(_member(f"{name}.mp4", row[CLIP]["num_bytes"]), file)
    facts = json.dumps(query_columns(row), ensure_ascii=False, default=_json_value)
    for suffix, content in (("json", facts), ("txt", text)):
        if content is not None:
            data = content.encode()
            tar.addfile(_member(f"{name}.{suffix}", len(data)), io.BytesIO(data))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """The header of a member; its time and owner are 0, so that shards are reproducible."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _json_value(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)  # dates as ISO 8601


def _case_sql(value: str, names: list[str], borders: list[float]) -> str:
    """SQL for the first name below the first border, and for the next name from each border up."""
    cases = [
        f"WHEN {value} >= {border!r} THEN '{name}'" for border, name in zip(borders[::-1], names[:0:-1], strict=True)
    ]
    return f"CASE {' '.join(cases)} ELSE '{names[0]}' END"
