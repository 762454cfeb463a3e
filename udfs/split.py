"""split: cut videos into spans, by the clock, at changes of the picture, or at the transitions that a network sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.demux import timeline
from udfs.runtime import batching
from udfs.runtime.context import Env, Row
from udfs.shots.spans import COLUMNS, Span, span_rows, strided_spans
from udfs.storage import access
from udfs.video import container

if TYPE_CHECKING:
    from udfs.shots.transnet import Answer, Window

Seconds = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]


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


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of videos -> batches of spans."""
    if params.method == "transnetv2":
        return _rows_by_network(batches, params, env)
    work = partial(spans, params=params, env=env)
    isolated = params.method != "fixed_stride"  # arithmetic needs no child
    return batching.each(batches, work, key="video_id", columns=COLUMNS, limits=env.limits, isolated=isolated)


def spans(row: Row, params: Params, env: Env) -> list[Row]:
    """The rows of spans of one row of videos, by a method that needs no model.

    Raises:
        MediaError: TOO_SHORT if there is no span; with `content` also what opening and decoding the file may raise.
    """
    if params.method == "fixed_stride":
        return limited_rows(row, fixed_stride(row["duration_s"], params), params)
    return limited_rows(row, _content_spans(row, params, env), params)


def fixed_stride(end_s: float, params: Params) -> list[Span]:
    """Spans of clip_len_s, one every clip_stride_s; the last may be shorter, down to min_clip_length_s."""
    stride_s = params.clip_stride_s or params.clip_len_s
    return strided_spans(0.0, end_s, params.clip_len_s, stride_s, params.min_clip_length_s)


def scene_spans(scenes: list[Span], end_s: float, params: Params) -> list[Span]:
    """Spans of the scenes of a video that ends at `end_s`: cropped, and within min_length_s and max_length_s."""
    if scenes == [(0.0, end_s)] and not params.entire_scene_as_clip:
        return []
    every = list[Span]()
    for start, end in scenes:
        # The crop comes first: it is for the fades at real cuts, and striding makes more edges.
        inner = start + params.crop_s, end - params.crop_s
        parts = strided_spans(*inner, params.max_length_s, params.max_length_s, params.min_length_s)
        every += parts if params.max_length_mode == "stride" else parts[:1]
    return every


def limited_rows(row: Row, spans: list[Span], params: Params) -> list[Row]:
    """The rows of the first `limit_clips` spans of one row of videos.

    Raises:
        MediaError: TOO_SHORT if there is none.
    """
    kept = span_rows(row, spans, params.method)
    if not kept:
        raise MediaError("TOO_SHORT", f"no clip in {row['duration_s']:.2f} s of video")
    return kept[: params.limit_clips or None]


def _content_spans(row: Row, params: Params, env: Env) -> list[Span]:
    from udfs.shots import content  # half a second of imports, which fixed_stride need not pay

    detector = content.adaptive(params.adaptive_threshold, params.min_content_val, params.window_width)
    path = access.unchanged_path(row["uri"], row["source_version"], env.sources)
    with container.open_video(path, env.limits, timing=timeline.timing_of_row(row)) as video:
        cuts_s, end_s = content.cuts(video, detector)
    return scene_spans(list(pairwise([0.0, *cuts_s, end_s])), end_s, params)


def _rows_by_network(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of spans by TransNet V2, whose batches of windows hold frames of several videos."""
    from udfs.runtime.inference import infer  # the way to models, which the other methods do without
    from udfs.shots import transnet

    return infer(
        batches,
        prepare=partial(transnet_windows, env=env),
        load=partial(transnet.load),
        finish=partial(transnet_spans, params=params),
        key="video_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
    )


def transnet_windows(row: Row, call: Callable[..., Any], env: Env) -> Iterator[Window]:
    """The windows of one video's frames that TransNet V2 is shown; `call` decodes them.

    Raises:
        MediaError: the file is not there or changed, or what opening and decoding it raise.
    """
    from udfs.shots import transnet, transnet_frames

    path = access.unchanged_path(row["uri"], row["source_version"], env.sources)
    return transnet.windows(transnet_frames.every(path, env.limits, call, timeline.timing_of_row(row)))


def transnet_spans(row: Row, answers: list[Answer], params: Params) -> list[Row]:
    """The rows of spans of one video, by the network's answers to its windows.

    Raises:
        MediaError: TOO_SHORT if there is no span, BAD_OUTPUT for answers that are no probabilities.
    """
    from udfs.shots import transnet

    scenes, end_s = transnet.scenes(answers, params.transnetv2_threshold, row["framerate"])
    return limited_rows(row, scene_spans(scenes, end_s, params), params)
