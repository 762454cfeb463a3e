"""split: spans of videos, by a fixed stride, content changes, or TransNet V2's transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

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
from udfs.video import container, nvdec
from udfs.video.nvdec import Hwaccel, Place

if TYPE_CHECKING:
    from udfs.shots.transnet import Answer, Window

Seconds = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[split]"""

    NOT_HASHED_AT_DEFAULT: ClassVar[tuple[str, ...]] = ("hwaccel",)  # it came later: so older rows stay valid

    method: Annotated[
        Literal["fixed_stride", "content", "transnetv2"],
        Field(description="a fixed stride; PySceneDetect's content changes; transitions by TransNet V2"),
    ] = "fixed_stride"
    limit_clips: Annotated[int, Field(ge=0, description="most spans per video; 0: no limit")] = 0
    clip_len_s: Annotated[Seconds, Field(description="length of a clip of fixed_stride")] = 10.0
    clip_stride_s: Annotated[Seconds | None, Field(description="from start to start; clip_len_s if not set")] = None
    min_clip_length_s: Annotated[Seconds, Field(description="shorter clips of fixed_stride are left out")] = 2.0
    adaptive_threshold: Annotated[
        float, Field(gt=1, le=255, description="least ratio of a frame's change to its neighbors'")
    ] = 3.0
    min_content_val: Annotated[
        float, Field(ge=0, le=255, description="least change at a cut, mean of hue, sat, val")
    ] = 15.0
    window_width: Annotated[int, Field(ge=1, le=100, description="neighbors on each side, frames")] = 2
    transnetv2_threshold: Annotated[float, Field(gt=0, lt=1, description="least probability of a transition")] = 0.4
    batch_size: Annotated[
        int, Field(ge=1, le=1024, description="windows of 100 frames in one batch", json_schema_extra=EFFORT)
    ] = 8
    hwaccel: Annotated[
        Hwaccel, Field(description="cuda: NVDEC decodes what it can for transnetv2, and may hide damage")
    ] = "none"
    resources: Annotated[Resources, Field(description="of a task of transnetv2", json_schema_extra=EFFORT)] = (
        Resources()
    )
    min_length_s: Annotated[Seconds, Field(description="shorter scenes of content and transnetv2 are left out")] = 2.0
    max_length_s: Annotated[
        Seconds, Field(description="longer scenes of content and transnetv2 go by max_length_mode")
    ] = 10.0
    max_length_mode: Annotated[
        Literal["stride", "truncate"], Field(description="of a longer scene, keep all or only its start")
    ] = "stride"
    crop_s: Annotated[float, Field(ge=0, le=60, description="cut off both ends of a scene")] = 0.5
    entire_scene_as_clip: Annotated[bool, Field(description="a video without cuts is one scene; false: none")] = True

    def __post_init__(self) -> None:
        if self.hwaccel == "cuda" and self.method != "transnetv2":
            raise ValueError(f"hwaccel cuda: only method transnetv2 decodes on a GPU, not {self.method}")
        nvdec.check_gpus(self.hwaccel, self.resources)
        if self.clip_stride_s is not None and self.clip_stride_s > self.clip_len_s:
            raise ValueError(
                f"clip_stride_s {self.clip_stride_s} is over clip_len_s {self.clip_len_s}: spans would leave gaps"
            )
        if self.min_clip_length_s > self.clip_len_s:
            raise ValueError(
                f"min_clip_length_s {self.min_clip_length_s} is over clip_len_s {self.clip_len_s}: no span is left"
            )
        if self.min_length_s > self.max_length_s:
            raise ValueError(
                f"min_length_s {self.min_length_s} is over max_length_s {self.max_length_s}: no span is left"
            )


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Split batches of videos into batches of spans."""
    if params.method == "transnetv2":
        return _rows_by_network(batches, params, env)
    work = partial(spans, params=params, env=env)
    isolated = params.method != "fixed_stride"  # arithmetic needs no sandbox
    return batching.each(batches, work, key="video_id", columns=COLUMNS, limits=env.limits, isolated=isolated)


def spans(row: Row, params: Params, env: Env) -> list[Row]:
    """The rows of spans of one row of videos, by a method that needs no model.

    Raises:
        MediaError: TOO_SHORT if there is no span; with `content` also if the file cannot be opened
            or decoded.
    """
    if params.method == "fixed_stride":
        return limited_rows(row, fixed_stride_spans(row["duration_s"], params), params)
    return limited_rows(row, _content_spans(row, params, env), params)


def fixed_stride_spans(end_s: float, params: Params) -> list[Span]:
    """Spans of clip_len_s, one every clip_stride_s; the last have min_clip_length_s at least."""
    stride_s = params.clip_stride_s or params.clip_len_s
    return strided_spans(0.0, end_s, params.clip_len_s, stride_s, params.min_clip_length_s)


def scene_spans(scenes: list[Span], end_s: float, params: Params) -> list[Span]:
    """Spans of scenes, cropped and of min_length_s to max_length_s; the video ends at `end_s`."""
    if scenes == [(0.0, end_s)] and not params.entire_scene_as_clip:
        return []
    spans = list[Span]()
    for start, end in scenes:
        # The crop comes first: it removes fades at cuts, and striding makes edges that are no cuts.
        inner = start + params.crop_s, end - params.crop_s
        parts = strided_spans(*inner, params.max_length_s, params.max_length_s, params.min_length_s)
        spans += parts if params.max_length_mode == "stride" else parts[:1]
    return spans


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
    from udfs.shots import content  # half a second of imports that fixed_stride does not need

    detector = content.adaptive_detector(params.adaptive_threshold, params.min_content_val, params.window_width)
    path = access.unchanged_path(access.address(row), row["source_version"], env.sources)
    with container.open_video(path, env.limits, timing=timeline.timing_of_row(row)) as video:
        cuts_s, end_s = content.cut_times(video, detector)
        end_s = max(end_s, _shown_until_s(row, video.tally.frames))
    return scene_spans(list(pairwise([0.0, *cuts_s, end_s])), end_s, params)


def _shown_until_s(row: Row, num_decoded: int) -> float:
    """When the last frame goes, which may be held for long, as in a screen recording; 0 if it did not decode."""
    is_measured = row["timing"] != "header"
    return float(row["duration_s"]) if is_measured and num_decoded >= row["num_frames"] else 0.0


def _rows_by_network(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Split by TransNet V2; one batch of its windows may hold frames of several videos."""
    from udfs.runtime.inference import infer  # the other methods need no model
    from udfs.shots import transnet

    return infer(
        batches,
        prepare=partial(transnet_windows, env=env, hwaccel=params.hwaccel),
        load=partial(transnet.load),
        finish=partial(transnet_span_rows, params=params),
        key="video_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
        on_gpu=params.hwaccel == "cuda",
    )


def transnet_windows(row: Row, call: Callable[..., Any], env: Env, hwaccel: Hwaccel = "none") -> Iterator[Window]:
    """The windows of one video's frames for TransNet V2; `call` runs the decode in the sandbox.

    Raises:
        MediaError: the file is missing, changed, or cannot be opened or decoded.
    """
    from udfs.shots import transnet, transnet_frames

    path = access.unchanged_path(access.address(row), row["source_version"], env.sources)
    place, timing = Place(hwaccel, env.task), timeline.timing_of_row(row)
    return transnet.windows(transnet_frames.pieces(path, env.limits, call, timing, place=place))


def transnet_span_rows(row: Row, answers: list[Answer], params: Params) -> list[Row]:
    """The rows of spans of one video, from the network's answers to its windows.

    Raises:
        MediaError: TOO_SHORT if there is no span, BAD_OUTPUT if answers are not finite numbers.
    """
    from udfs.shots import transnet

    shown_until_s = _shown_until_s(row, sum(len(answer.times) for answer in answers))
    scenes, end_s = transnet.scenes(answers, params.transnetv2_threshold, row["framerate"], shown_until_s)
    return limited_rows(row, scene_spans(scenes, end_s, params), params)
