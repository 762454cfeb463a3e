"""Real clips made of pictures, their rows, and the result of an observer of one."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast

import av
import numpy as np
from av.codec.context import Flags2
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from udfs.core.limits import Limits
from udfs.runtime.context import Env, Row
from udfs.video import container, decode
from udfs.video.encoder_options import reproducible_x264

Picture = NDArray[np.uint8]  # height x width x 3, RGB


class Observer(Protocol):
    """The interface of analyze's observers."""

    def see(self, at_s: float, frame: VideoFrame) -> None: ...

    def result(self) -> Row: ...


def env(folder: Path) -> Env:
    """An Env that writes media below a test's own folder."""
    return Env(media_root=str(folder / "media"), fingerprint="0123456789abcdef")


def write(
    path: Path,
    pictures: Iterable[Picture],
    fps: int = 30,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures of one size as the frames of a clip: the same bytes in every run."""
    with av.open(str(path), "w") as out:
        always = reproducible_x264() if codec == "libx264" else {}
        stream = cast(VideoStream, out.add_stream(codec, rate=fps, options=always | (options or {})))
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pix_fmt
                stream.thread_count = 1
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def texture(size: tuple[int, int], seed: int = 0, grain_px: int = 8) -> Picture:
    """A still picture of soft random blots; `size` is width x height."""
    width, height = size
    small = np.random.default_rng(seed).integers(
        0, 256, (height // grain_px + 2, width // grain_px + 2, 3), dtype=np.uint8
    )
    blown = VideoFrame.from_ndarray(small, format="rgb24").to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(blown)


def panned(size: tuple[int, int], num_frames: int, px_per_frame: int) -> list[Picture]:
    """Frames of a texture that moves to the left at an even speed."""
    whole = texture((size[0] + num_frames * px_per_frame, size[1]))
    return [np.ascontiguousarray(whole[:, k * px_per_frame : k * px_per_frame + size[0]]) for k in range(num_frames)]


def plain(size: tuple[int, int], level: int) -> Picture:
    """A picture of one shade of gray; `size` is width x height."""
    return np.full((size[1], size[0], 3), level, np.uint8)


def row(path: Path) -> Row:
    """The row of table `clips` that the clip stage writes for this file."""
    with container.open_video(str(path), Limits()) as video:
        turned = next(iter(decode.frames(video)))[1].rotation % 180 != 0
        size = video.stream.width, video.stream.height
        facts: dict[str, Any] = {
            "clip_id": "c1ip",
            "uri": str(path),
            "width": size[turned],
            "height": size[not turned],
            "framerate": float(video.framerate),
            "num_frames": video.stream.frames,
            "duration_s": video.duration_s,
            "video_codec": video.stream.codec_context.name,
        }
    return facts


def observe(path: Path, observer: Observer) -> Row:
    """The result of an observer that sees all frames of a clip."""
    with container.open_video(str(path), Limits()) as video:
        video.stream.codec_context.flags2 |= Flags2.export_mvs
        for at_s, frame in decode.frames(video):
            observer.see(at_s, frame)
    return observer.result()
