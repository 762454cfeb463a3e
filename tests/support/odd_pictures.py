"""Real videos with odd pictures: interlaced, HDR, mirrored, non-square pixels, several tracks."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter.graph import Graph
from av.stream import Disposition
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from tests.support.footage import FAST, Rgb, draw
from udfs.video.tonemap import TO_BT709, WHITE_NITS, pq_signal

BARS = ((180, 180, 180), (180, 180, 16), (16, 180, 180), (16, 180, 16), (180, 16, 180), (180, 16, 16), (16, 16, 180))


def write(
    path: Path,
    frames: Iterator[VideoFrame],
    codec: str = "libx264",
    fps: int = 25,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    matrix: tuple[float, bool, bool] | None = None,
) -> Path:
    """Encode frames in their own format and color.

    `matrix` is (degrees counter-clockwise, mirrored left to right, mirrored top to bottom).
    """
    with av.open(str(path), "w") as out:
        stream: VideoStream | None = None
        for k, frame in enumerate(frames):
            if stream is None:
                stream = _stream(out, codec, fps, frame, options or {})
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
                if matrix is not None:
                    stream.set_display_rotation(matrix[0], hflip=matrix[1], vflip=matrix[2])
            frame.pts, frame.time_base, frame.pict_type = k, Fraction(1, fps), 0
            out.mux(stream.encode(frame))
        assert stream is not None
        out.mux(stream.encode(None))
    return path


def _stream(
    out: av.container.OutputContainer, codec: str, fps: int, like: VideoFrame, options: dict[str, str]
) -> VideoStream:
    stream = out.add_stream(codec, rate=fps, options=FAST.get(codec, {}) | options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt, stream.thread_count = like.width, like.height, like.format.name, 1
    context = stream.codec_context
    context.colorspace, context.color_range = like.colorspace, like.color_range
    context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
    return stream


def numbered(
    count: int, size: tuple[int, int] = (320, 240), pix_fmt: str = "yuv420p", first: int = 0
) -> Iterator[VideoFrame]:
    """Numbered frames of limited range."""
    for k in range(first, first + count):
        yield as_frame(draw(k, size), pix_fmt)


def as_frame(picture: Rgb, pix_fmt: str = "yuv420p") -> VideoFrame:
    """The picture as a frame of limited range."""
    return VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt, dst_color_range=ColorRange.MPEG)


def interlaced(
    count: int, size: tuple[int, int] = (320, 240), top_first: bool = True, first: int = 0, pix_fmt: str = "yuv420p"
) -> Iterator[VideoFrame]:
    """Interlaced frames: both fields of frame k show k; a bar moves between the fields."""
    graph = Graph()
    source = graph.add_buffer(width=size[0], height=size[1], format=VideoFormat(pix_fmt), time_base=Fraction(1, 25))
    field = graph.add("setfield", "tff" if top_first else "bff")
    graph.link_nodes(source, field, graph.add("buffersink")).configure()
    for k in range(first, first + count):
        early, late = (with_bar(draw(k, size), 16 * k + step) for step in (0, 8))
        woven = late.copy()
        woven[int(not top_first) :: 2] = early[int(not top_first) :: 2]
        frame = as_frame(woven, pix_fmt)
        frame.pts, frame.time_base = k, Fraction(1, 25)
        graph.vpush(frame)
        yield graph.vpull()


def with_bar(picture: Rgb, left_px: int) -> Rgb:
    """The picture with a white bar on black in its lower half, `left_px` from the left."""
    height, width = picture.shape[:2]
    picture = picture.copy()
    picture[height // 2 :] = 16
    picture[height // 2 :, left_px % width : left_px % width + width // 8] = 235
    return picture


def comb(picture: Rgb) -> float:
    """The difference of adjacent rows over that of rows two apart: over 1 in interlaced motion."""
    luma = picture[picture.shape[0] // 2 + 4 :].astype(float).mean(axis=2)
    return float(np.abs(luma[1:-1] - luma[:-2]).mean() / max(1.0, np.abs(luma[2:] - luma[:-2]).mean()))


def bars(size: tuple[int, int] = (448, 256)) -> Rgb:
    """Seven vertical color bars at 75 %."""
    column = np.arange(size[0]) * len(BARS) // size[0]
    return np.ascontiguousarray(np.broadcast_to(np.array(BARS, np.uint8)[column], (size[1], size[0], 3)))


def bar_colors(picture: Rgb) -> Rgb:
    """The color in the middle of each bar, n x 3."""
    height, width = picture.shape[:2]
    middles = [round((k + 0.5) * width / len(BARS)) for k in range(len(BARS))]
    return np.array([picture[height // 8 : height // 3, x - 4 : x + 5].mean(axis=(0, 1)) for x in middles])


def as_hdr(picture: Rgb, transfer: int, white_nits: float = WHITE_NITS, pix_fmt: str = "yuv420p10le") -> VideoFrame:
    """An SDR picture converted to BT.2020 as zscale does it: PQ (16) or HLG (18), limited range."""
    linear = (picture / 255.0) ** 2.4 @ np.linalg.inv(np.array(TO_BT709[9])).T
    nits = np.clip(linear, 0, 1) * white_nits
    signal = pq_signal(nits) if transfer == 16 else _hlg_signal(nits)
    levels = (signal * 65535).round().astype(np.uint16)
    frame = VideoFrame.from_ndarray(levels, format="rgb48le")
    frame = frame.reformat(format=pix_fmt, dst_colorspace=9, dst_color_range=ColorRange.MPEG)
    frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, transfer, 1
    return frame


def _hlg_signal(
    nits: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    luma = np.maximum(nits @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None] / 1000
    scene = nits / 1000 * luma ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), high))


def circle(size: tuple[int, int], aspect: Fraction) -> Rgb:
    """A white disc on black that is round where pixels have this aspect ratio."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    radius = 0.4 * min(float(width * aspect), float(height))
    inside = ((x - width / 2) * float(aspect)) ** 2 + (y - height / 2) ** 2 < radius**2
    return np.where(inside[..., None], np.uint8(235), np.uint8(16)).repeat(3, axis=2).astype(np.uint8)


def roundness(picture: Rgb) -> float:
    """Width over height of the white area of a picture."""
    lit = picture[..., 1] > 128
    return float(np.ptp(np.flatnonzero(lit.any(axis=0))) / np.ptp(np.flatnonzero(lit.any(axis=1))))


class Track:
    """One of several video tracks of a file."""

    def __init__(
        self,
        size: tuple[int, int],
        seconds: float,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        fps: Fraction | int = 10,
        disposition: Disposition = Disposition(0),  # noqa: B008 - a flag, which does not change
    ) -> None:
        self.size, self.codec, self.pix_fmt = size, codec, pix_fmt
        self.fps, self.disposition, self.count = Fraction(fps), disposition, max(1, round(seconds * Fraction(fps)))


def write_tracks(path: Path, *tracks: Track) -> Path:
    """Write several video tracks into one file."""
    with av.open(str(path), "w") as out:
        streams = []
        for track in tracks:
            stream = out.add_stream(track.codec, rate=track.fps, options=FAST.get(track.codec, {}))
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = *track.size, track.pix_fmt
            stream.disposition = track.disposition
            streams.append(stream)
        for track, stream in zip(tracks, streams, strict=True):
            for k in range(track.count):
                frame = VideoFrame.from_ndarray(draw(k, track.size), format="rgb24").reformat(format=track.pix_fmt)
                frame.pts, frame.time_base = k, 1 / track.fps
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path
