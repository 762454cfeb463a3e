"""split: videos -> spans."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count, pairwise, takewhile
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.demux import timeline
from udfs.demux.timeline import Timeline
from udfs.runtime import batching
from udfs.runtime.batching import Env, Row
from udfs.storage import access
from udfs.video import container

Span = tuple[float, float]  # start and end in seconds after the first shown frame, [start, end)
Seconds = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]

COLUMNS = ["clip_id", "video_id", "start_s", "end_s", "start_frame", "end_frame", "num_frames", "held_s", "method"]
ROUNDING_S = 1e-6  # a span that misses the least length by less was meant to have it


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[split]: by the clock, or at the cuts that the picture shows."""

    method: Annotated[
        Literal["fixed_stride", "content", "transnetv2"],
        Field(description="by the clock; at jumps of colour; at what a network takes for transitions"),
    ] = "fixed_stride"
    limit_clips: Annotated[int, Field(ge=0, description="spans a video at most; 0: no limit")] = 0
    clip_len_s: Seconds = 10.0
    clip_stride_s: Annotated[Seconds | None, Field(description="start to start; as clip_len_s if not given")] = None
    min_clip_length_s: Seconds = 2.0
    adaptive_threshold: Annotated[float, Field(gt=1, le=255, description="a frame's change, over its neighbours'")] = 3.0
    min_content_val: Annotated[float, Field(ge=0, le=255, description="least change of a cut, mean of hue, sat, val")] = 15.0
    window_width: Annotated[int, Field(ge=1, le=100, description="neighbours on each side, frames")] = 2
    transnetv2_threshold: Annotated[float, Field(gt=0, lt=1, description="least probability of a transition")] = 0.4
    batch_size: Annotated[
        int, Field(ge=1, le=1024, description="windows of 100 frames that a GPU takes at once", json_schema_extra=EFFORT)
    ] = 8
    resources: Annotated[Resources, Field(description="what a task of transnetv2 takes", json_schema_extra=EFFORT)] = Resources()
    min_length_s: Seconds = 2.0
    max_length_s: Seconds = 10.0
    max_length_mode: Annotated[Literal["stride", "truncate"], Field(description="of a longer scene: all or its start")] = "stride"
    crop_s: Annotated[float, Field(ge=0, le=60, description="taken off both ends of a scene")] = 0.5
    entire_scene_as_clip: Annotated[bool, Field(description="a video without cuts is one scene, not none")] = True

    def __post_init__(self) -> None:
        if self.clip_stride_s is not None and self.clip_stride_s > self.clip_len_s:
            raise ValueError(f"clip_stride_s {self.clip_stride_s} is over clip_len_s {self.clip_len_s}: spans would leave gaps")
        if self.min_clip_length_s > self.clip_len_s:
            raise ValueError(f"min_clip_length_s {self.min_clip_length_s} is over clip_len_s {self.clip_len_s}: no span is left")
        if self.min_length_s > self.max_length_s:
            raise ValueError(f"min_length_s {self.min_length_s} is over max_length_s {self.max_length_s}: no span is left")


def fixed_stride(end_s: float, params: Params) -> list[Span]:
    """Spans of clip_len_s, one every clip_stride_s; the last may be shorter, down to min_clip_length_s."""
    stride_s = params.clip_stride_s or params.clip_len_s
    return _strided(0.0, end_s, params.clip_len_s, stride_s, params.min_clip_length_s)


def scene_spans(cuts_s: list[float], end_s: float, params: Params) -> list[Span]:
    """Spans of the scenes between the cuts, none longer than max_length_s or shorter than min_length_s."""
    return within(list(pairwise([0.0, *cuts_s, end_s])), end_s, params)


def within(scenes: list[Span], end_s: float, params: Params) -> list[Span]:
    """Spans of the scenes of a video that ends at `end_s`."""
    if scenes == [(0.0, end_s)] and not params.entire_scene_as_clip:
        return []
    found = []
    for start, end in scenes:
        # The crop comes first: it is for the fades at real cuts, and striding makes more edges.
        inner = _strided(
            start + params.crop_s, end - params.crop_s, params.max_length_s, params.max_length_s, params.min_length_s
        )
        found += inner if params.max_length_mode == "stride" else inner[:1]
    return found


def spans(row: Row, params: Params, env: Env) -> list[Row]:
    """The rows of spans of one row of videos, by a method that needs no model.

    Raises:
        MediaError: TOO_SHORT if there is no span; with `content` also what opening and decoding the file may raise.
    """
    if params.method == "fixed_stride":
        return named(row, fixed_stride(row["duration_s"], params), params)
    return named(row, _content(row, params, env), params)


def named(row: Row, found: list[Span], params: Params) -> list[Row]:
    """The rows of the spans found in one row of videos.

    Raises:
        MediaError: TOO_SHORT if there is none.
    """
    line = timeline.of_row(row)
    # By clip_id: two spans of the same frames would be one clip.
    rows = {r["clip_id"]: r for r in (_row(row, line, span, params.method) for span in found)}
    kept = [r for r in rows.values() if r["start_frame"] < r["end_frame"]]
    if not kept:
        raise MediaError("TOO_SHORT", f"no clip in {row['duration_s']:.2f} s of video")
    return kept[: params.limit_clips or None]


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of videos -> batches of spans."""
    if params.method == "transnetv2":
        from udfs.shots import transnet_stage  # with the way to models, which the other methods do without

        return transnet_stage.rows(batches, params, env)
    work = partial(spans, params=params, env=env)
    isolated = params.method != "fixed_stride"  # arithmetic needs no child
    return batching.each(batches, work, key="video_id", columns=COLUMNS, limits=env.limits, isolated=isolated)


def _strided(start_s: float, end_s: float, length_s: float, stride_s: float, least_s: float) -> list[Span]:
    starts = takewhile(lambda start: start < end_s, (start_s + k * stride_s for k in count()))
    every = ((start, min(start + length_s, end_s)) for start in starts)
    return [(start, end) for start, end in every if end - start >= least_s - ROUNDING_S]


def _content(row: Row, params: Params, env: Env) -> list[Span]:
    from udfs.shots import content  # half a second of imports, which fixed_stride need not pay

    detector = content.adaptive(params.adaptive_threshold, params.min_content_val, params.window_width)
    path = access.unchanged_path(row["uri"], row["source_version"], env.sources)
    with container.open_video(path, env.limits, timing=timeline.timing_of(row)) as video:
        return scene_spans(*content.cuts(video, detector), params)


def _row(video: Row, line: Timeline, span: Span, method: str) -> dict[str, Any]:
    start_s, end_s = span
    held_s = line.held_s(start_s)
    start_frame, end_frame = line.first_frame(start_s) - (held_s > 0), line.first_frame(end_s)
    # Several spans may show nothing but the same held frame.
    frames = f"{start_frame}_{end_frame}" + (f"_{start_s:.3f}" if held_s else "")
    clip_id = uuid.uuid5(uuid.UUID(video["video_id"]), frames)
    num_frames = None if video.get("timing") == "header" else min(end_frame, len(line.times_s)) - start_frame
    values = (str(clip_id), video["video_id"], start_s, end_s, start_frame, end_frame, num_frames, held_s, method)
    return dict(zip(COLUMNS, values, strict=True))
