"""Real videos with odd streams: two pictures, sound alone, flat color, drawn scenes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.support.footage import draw


def write_two_pictures(path: Path, sizes: tuple[tuple[int, int], tuple[int, int]], default: int) -> Path:
    """Write two video streams of different sizes, one of them the default."""
    with av.open(str(path), "w") as out:
        streams = []
        for k, size in enumerate(sizes):
            video = out.add_stream("libx264", rate=10)
            assert isinstance(video, VideoStream)
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.disposition = Disposition.default if k == default else Disposition(0)
            streams.append(video)
        for k in range(20):
            for video, size in zip(streams, sizes, strict=True):
                frame = VideoFrame.from_ndarray(draw(k, size), format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 10)
                out.mux(video.encode(frame))
        for video in streams:
            out.mux(video.encode(None))
    return path


def write_sound(path: Path, cover: bool = False) -> Path:
    """Write a second of AAC noise, with `cover` also a picture as cover art."""
    with av.open(str(path), "w") as out:
        audio = out.add_stream("aac", rate=48_000, layout="mono")
        assert isinstance(audio, AudioStream)
        if cover:
            art = out.add_stream("mjpeg", rate=1)
            assert isinstance(art, VideoStream)
            art.width, art.height, art.pix_fmt, art.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
            out.mux(art.encode(VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")))
            out.mux(art.encode(None))
        noise = np.random.default_rng(0).integers(-9000, 9000, (1, 47 * 1024), dtype=np.int16)
        for start in range(0, noise.shape[1], 1024):
            frame = AudioFrame.from_ndarray(noise[:, start : start + 1024].copy(), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    return path


def write_flat(
    path: Path, size: tuple[int, int], codec: str, pix_fmt: str, num_frames: int = 3, level: int = 16
) -> Path:
    """Write frames of one shade of gray, `level`."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=10)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        frame = VideoFrame.from_ndarray(np.full(size[::-1], level, np.uint8), format="gray").reformat(format=pix_fmt)
        for k in range(num_frames):
            frame.pts, frame.time_base = k, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def write_scenes(path: Path, times_s: Sequence[float], cuts: Sequence[int], size: tuple[int, int] = (160, 120)) -> Path:
    """Write drifting colors at these times, in a new scene from each frame of `cuts` on."""
    base = Fraction(1, 90_000)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.codec_context.time_base = *size, base
        for k, at in enumerate(times_s):
            lower_half = draw(k, (size[0], 2 * size[1]), cuts=cuts)[size[1] :]  # the numbers in the upper half blink
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(lower_half), format="rgb24")
            frame.pts, frame.time_base = round(at / base), base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path
