"""analyze: decode each clip once and measure its signals, one row per clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated

import cv2
import pandas as pd
from av.codec.context import Flags2, ThreadType
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.signals import TABLE
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import windows
from udfs.runtime import batching, sandbox
from udfs.runtime.context import Env, Row
from udfs.runtime.sandbox import Needs
from udfs.signals import motion, phash, preview, proxy, quality
from udfs.storage import access
from udfs.storage.remote_file import AnyPath
from udfs.video import container, decode
from udfs.video.nvdec import Hwaccel, Place
from udfs.video.picture import sample_aspect

COLUMNS = TABLE.stage_columns
# An observer sees every frame in order and returns its columns at the end. All may add to column
# `warnings`.
Observer = motion.Observer | quality.Observer | phash.Observer | proxy.Observer | preview.Observer


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[analyze]: which signals are measured; the columns of the others stay NULL."""

    motion: Annotated[bool, Field(description="motion scores, from the coded motion vectors")] = True
    quality: Annotated[bool, Field(description="blackness, freeze, blur, letterbox")] = True
    phash: Annotated[bool, Field(description="perceptual hashes")] = True
    proxy: Annotated[bool, Field(description="the small rendition that models read")] = True
    preview: Annotated[bool, Field(description="an animated WebP per window")] = True
    hwaccel: Annotated[
        Hwaccel,
        Field(description="cuda: NVDEC decodes what it can; motion is scored from pictures, as it has no vectors"),
    ] = "none"
    resources: Annotated[
        Resources, Field(json_schema_extra=EFFORT, description="gpus 0: a third of a GPU with hwaccel cuda, else none")
    ] = Resources()


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings sections that signals depend on."""

    analyze: Params = dataclasses.field(default_factory=Params)
    motion: motion.Params = dataclasses.field(default_factory=motion.Params)
    quality: quality.Params = dataclasses.field(default_factory=quality.Params)
    phash: phash.Params = dataclasses.field(default_factory=phash.Params)
    proxy: proxy.Params = dataclasses.field(default_factory=proxy.Params)
    preview: preview.Params = dataclasses.field(default_factory=preview.Params)
    windows: windows.Params = dataclasses.field(default_factory=windows.Params)


def rows(batches: Iterable[pd.DataFrame], params: Settings, env: Env) -> Iterator[pd.DataFrame]:
    """Measure batches of clips, with one row of signals, or of failure, per clip."""
    work, on_gpu = partial(measure_clip, params=params, env=env.with_media()), params.analyze.hwaccel == "cuda"
    limits = env.limits.with_cuda() if on_gpu else env.limits
    yield from batching.each(batches, work, key="clip_id", columns=COLUMNS, limits=limits, needs=Needs(gpu=on_gpu))
    if on_gpu:
        sandbox.stop()  # frees the GPU memory that the models of the next stage may need


def measure_clip(row: Row, params: Settings, env: Env) -> list[Row]:
    """Decode a clip once and show every frame to every observer; returns its row of signals.

    An observer's MediaError leaves its columns NULL and becomes a warning. No file is written
    unless the clip decodes to its end.

    Raises:
        MediaError: the clip is missing, damaged or incomplete, or its frames change their size.
    """
    path = access.own_path(row["uri"], env.sources)
    cv2.setNumThreads(1)  # a task has one core
    place = Place(params.analyze.hwaccel, env.task)
    return place.decode(lambda accel: _signals_row(path, row, params, env, accel))


def _signals_row(path: AnyPath, row: Row, params: Settings, env: Env, accel: HWAccel | None) -> list[Row]:
    warnings = list[str]()
    with container.open_video(path, env.limits, accel) as video:
        observers = enabled_observers(row | {"sample_aspect_ratio": sample_aspect(video.stream)}, params, env)
        if params.analyze.motion:
            video.stream.codec_context.flags2 |= Flags2.export_mvs  # before the first frame is decoded
            # Frame threads lose up to 5 % of the vectors, and others in every run (FFmpeg 8.1).
            video.stream.codec_context.thread_type = ThreadType.SLICE
        for at_s, frame in _frames_of_one_size(decode.frames(video)):
            _show_frame(observers, at_s, frame, warnings)
        video.tally.check(row["num_frames"], env.limits)
    unscored = {} if params.analyze.motion else {"motion_source": "off"}
    return [dict.fromkeys(COLUMNS) | {"clip_id": row["clip_id"]} | unscored | _results(observers, warnings)]


def enabled_observers(row: Row, params: Settings, env: Env) -> dict[str, Observer]:
    """The observers that are enabled, by the name of their settings section."""
    enabled, p = params.analyze, params
    every: dict[str, Observer | None] = {
        "motion": motion.Observer(p.motion, row, env) if enabled.motion else None,
        "quality": quality.Observer(p.quality, row, env) if enabled.quality else None,
        "phash": phash.Observer(p.phash, row, env) if enabled.phash else None,
        "proxy": proxy.Observer(p.proxy, row, env) if enabled.proxy else None,
        "preview": preview.Observer(p.preview, row, env, p.windows) if enabled.preview else None,
    }
    return {name: observer for name, observer in every.items() if observer}


def _show_frame(observers: dict[str, Observer], at_s: float, frame: VideoFrame, warnings: list[str]) -> None:
    for name, observer in list(observers.items()):
        try:
            observer.see(at_s, frame)
        except MediaError as e:
            warnings.append(f"{name}: {e}")
            del observers[name]


def _results(observers: dict[str, Observer], warnings: list[str]) -> Row:
    signals: Row = {}
    for name, observer in observers.items():
        try:
            columns = observer.result()
        except MediaError as e:
            warnings.append(f"{name}: {e}")
            continue
        warnings.extend(columns.pop("warnings", []))
        signals |= columns
    return signals | {"warnings": warnings}


def _frames_of_one_size(frames: Iterator[tuple[float, VideoFrame]]) -> Iterator[tuple[float, VideoFrame]]:
    """The frames, all of the first one's size.

    Raises:
        MediaError: UNSUPPORTED where the size changes.
    """
    first_size = ""
    for at_s, frame in frames:
        size = f"{frame.width}x{frame.height}"
        first_size = first_size or size
        if size != first_size:
            raise MediaError("UNSUPPORTED", f"the frame size changes from {first_size} to {size} at {at_s:.3f} s")
        yield at_s, frame
