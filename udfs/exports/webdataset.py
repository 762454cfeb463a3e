"""webdataset: a part's clips -> one tar shard of mp4, json and txt files, the same to the last bit whenever it is made again."""

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

from udfs.exports.shards import CLIP, Clip, Part, own, records, whose
from udfs.runtime.batching import Row
from udfs.storage.remote_file import AnyPath, opened

Aspect = Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")]
MEGA = 1_000_000
SIDES_PX = (240, 360, 480, 720, 1080, 2160)
ASPECTS = ("9:16", "3:4", "1:1", "4:3", "16:9")
LENGTHS_S = (2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.webdataset]"""

    shard_mb: Annotated[float, Field(gt=0, description="of clips, with which a shard is full")] = 1000.0
    shard_clips: Annotated[int, Field(ge=1, description="clips, with which a shard is full")] = 10_000
    sides_px: Annotated[tuple[int, ...], Field(description="a bucket from each shorter side up; empty: mixed")] = (
        SIDES_PX
    )
    aspects: Annotated[tuple[Aspect, ...], Field(description="a bucket each, the nearest wins; empty: mixed")] = ASPECTS
    lengths_s: Annotated[tuple[float, ...], Field(description="a bucket from each length up; empty: mixed")] = LENGTHS_S

    def __post_init__(self) -> None:
        for name in ("sides_px", "lengths_s"):
            if any(a >= b for a, b in pairwise((0, *getattr(self, name)))):
                raise ValueError(f"{name}: numbers above 0 that rise")
        ratios = [ratio(aspect) for aspect in self.aspects]
        if any(a >= b for a, b in pairwise(ratios)):
            raise ValueError("aspects: from the tallest to the widest")


def ratio(aspect: str) -> float:
    """Width over height."""
    width, _, height = aspect.partition(":")
    return int(width) / int(height)


def bucket_sql(params: Params) -> str:
    """A SQL expression of a clip's width, height and duration_s: the name of its bucket, such as 720p-16x9-5s; empty for one."""
    names = []
    if params.sides_px:
        names.append(
            _steps("least(width, height)", [f"{side}p" for side in (0, *params.sides_px)], list(params.sides_px))
        )
    if params.aspects:
        # Nearest by ratio: as far from 1:2 to 1:1 as from 1:1 to 2:1.
        borders = [math.sqrt(ratio(a) * ratio(b)) for a, b in pairwise(params.aspects)]
        names.append(_steps("width / height", [aspect.replace(":", "x") for aspect in params.aspects], borders))
    if params.lengths_s:
        names.append(
            _steps("duration_s", [f"{length:g}s" for length in (0, *params.lengths_s)], list(params.lengths_s))
        )
    return f"concat_ws('-', {', '.join(names)})" if names else "''"


def cost_sql(params: Params) -> tuple[str, int]:
    """What a clip takes of a shard, and how much a shard holds: whichever of bytes and clips is the scarcer."""
    size = max(1, round(params.shard_mb * MEGA))
    return f"greatest(cast(num_bytes AS decimal(38, 0)) * {params.shard_clips}, {size})", size * params.shard_clips


def write(part: Part, batches: Iterator[pa.RecordBatch]) -> None:
    """`shards/<part>.tar`: of each clip <clip_id>.mp4, .json (the query's columns) and .txt (the caption, if it has one)."""
    clips: list[Clip] = []
    with (
        part.file(f"shards/{part.name}.tar", clips) as path,
        tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for row in records(batches):
            if clips and clips[-1].name == row["clip_id"]:
                raise ValueError(f"the query gives clip {row['clip_id']} twice")
            if media := part.media(row):
                _add(tar, row, media)
                clips.append(whose(row))


def caption(row: Row) -> str | None:
    """The row's column `caption`, or the best that `captions` has of each window, a line a window."""
    if isinstance(row.get("caption"), str):
        return str(row["caption"])
    told = [c.get("enhanced_caption") or c.get("stage2_caption") or c.get("caption") for c in row.get("captions") or []]
    return "\n".join(text for text in told if text) or None


def _add(tar: tarfile.TarFile, row: Row, media: AnyPath) -> None:
    name, text = row["clip_id"], caption(row)
    with opened(media) as file:
        tar.addfile(_member(f"{name}.mp4", row[CLIP]["num_bytes"]), file)
    facts = json.dumps(own(row), ensure_ascii=False, default=_plain)
    for suffix, content in (("json", facts), ("txt", text)):
        if content is not None:
            data = content.encode()
            tar.addfile(_member(f"{name}.{suffix}", len(data)), io.BytesIO(data))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Nothing in it tells when, where or by whom it was made."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)  # dates as ISO 8601


def _steps(value: str, names: list[str], borders: list[float]) -> str:
    """A name for what lies below the first border, and one from each border up."""
    cases = [
        f"WHEN {value} >= {border!r} THEN '{name}'" for border, name in zip(borders[::-1], names[:0:-1], strict=True)
    ]
    return f"CASE {' '.join(cases)} ELSE '{names[0]}' END"
