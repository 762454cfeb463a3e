"""NVENC and NVDEC in tests: whether they work here, and a clip's signals decoded by NVDEC or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame

from tests.support import clips
from udfs import analyze
from udfs.core.limits import Limits
from udfs.demux.demuxer import Video
from udfs.runtime import sandbox
from udfs.runtime.context import Env, Row
from udfs.video import container, decode, encoder_options, mp4_writer, nvdec, rescale

NVENC = encoder_options.Params(encoder="h264_nvenc")
INTERLEAVED = {planar: layout for layout, planar in rescale.PLANAR.items()} | {"yuvj420p": "nv12"}


def nvenc_works() -> bool:
    try:
        mp4_writer.check_encoder(NVENC)
    except mp4_writer.EncoderError:
        return False
    return True


def nvdec_works() -> bool:
    try:
        nvdec.check_decoder(0)
    except nvdec.DecoderError:
        return False
    return True


def forget() -> None:
    """Forget what was tried, here and in the decoding process."""
    for tried in (mp4_writer.usable_params, nvdec.accelerator):
        tried.cache_clear()
    sandbox.stop()


def analyzed(path: Path, env: Env, hwaccel: nvdec.Hwaccel, **facts: int) -> Row:
    """The signals of a clip."""
    (signals,) = analyze.measure_clip(clips.row(path) | facts, analyze.Settings(analyze.Params(hwaccel=hwaccel)), env)
    return signals


def watch_opening(monkeypatch: pytest.MonkeyPatch, instead: Path | None = None) -> list[tuple[str, bool]]:
    """What is opened from now on, and whether on a GPU, as if one had worked a moment ago.

    On a GPU, the file `instead` is decoded, by the rules of a GPU and to frames in its layouts.
    """
    opened, open_video, decoded = list[tuple[str, bool]](), container.open_video, decode._decoded_frames

    @contextmanager
    def watched(path: str, limits: Limits, accel: HWAccel | None = None, *more: Any, **named: Any) -> Iterator[Video]:
        opened.append((path, accel is not None))
        if accel is None or instead is None:
            with open_video(path, limits, accel, *more, **named) as video:
                yield video
            return
        with open_video(str(instead), limits, None, *more, **named) as video:
            video.is_on_gpu = True
            yield video

    def interleaved(video: Video, *more: Any) -> Iterator[VideoFrame]:
        for frame in decoded(video, *more):
            layout = INTERLEAVED.get(frame.format.name) if video.is_on_gpu else None
            yield frame.reformat(format=layout, dst_color_range=frame.color_range) if layout else frame

    monkeypatch.setattr(container, "open_video", watched)
    monkeypatch.setattr(decode, "_decoded_frames", interleaved)
    monkeypatch.setattr(nvdec, "accelerator", lambda gpu: nvdec._hwaccel(gpu, or_software=True))
    return opened
