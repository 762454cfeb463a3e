"""Normalize decoded frames for encoding: upright, of one even size, 4:2:0, limited range."""

from __future__ import annotations

from fractions import Fraction

import av.error
from av.filter.graph import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from udfs.core import filter_graph
from udfs.core.errors import MediaError
from udfs.video.picture import SQUARE, is_hdr, orientation
from udfs.video.tonemap import BT709, Mapper

# FFmpeg filters by the number of counter-clockwise quarter turns.
TURN_FILTERS = ((), ("transpose=cclock",), ("hflip", "vflip"), ("transpose=clock",))
MAX_SHAPE_DIFFERENCE = 0.01  # a frame gets bars only if its aspect ratio differs by more than this share
SIZE_CHANGED, ASPECT_CHANGED = "size changed midway", "sample aspect ratio changed midway"

Size = tuple[int, int]


class Normalizer:
    """Normalizes the frames of one video to the size and sample aspect ratio of its first frame.

    Later frames of another size or aspect are scaled to fit between black bars, and `warnings` gets
    an entry. An odd size loses one column or row of pixels. HDR becomes BT.709 unless `keep_hdr`;
    RGB becomes BT.709; other matrices, primaries and transfers stay.
    """

    def __init__(
        self, first: VideoFrame, aspect: Fraction = SQUARE, *, keep_hdr: bool = False, pixel_format: str = "yuv420p"
    ) -> None:
        """`aspect` is the sample aspect ratio of the first frame.

        Raises:
            MediaError: UNSUPPORTED for a frame of less than 2 pixels in width or height.
        """
        self.coded, self.coded_aspect = (first.width, first.height), aspect
        mirrored, turns = orientation(first)
        even = first.width // 2 * 2, first.height // 2 * 2
        if 0 in even:
            raise MediaError("UNSUPPORTED", f"a frame of {first.width}x{first.height} pixels")
        self.size, self.aspect = (even, aspect) if turns % 2 == 0 else (even[::-1], 1 / aspect)
        self.keep_hdr, self.is_hdr, self.pixel_format = keep_hdr, keep_hdr and is_hdr(first), pixel_format
        self.scaler, self.mapper = VideoReformatter(), Mapper(pixel_format)
        self.warnings: dict[str, None] = {}  # an ordered set
        crop = (f"crop={even[0]}:{even[1]}:0:0:exact=1",) if even != self.coded else ()
        self.graph = _graph(self.coded, pixel_format, (*crop, *(("hflip",) if mirrored else ()), *TURN_FILTERS[turns]))
        self.bars: tuple[Size, Graph | None] = (self.coded, None)

    def __call__(self, frame: VideoFrame, aspect: Fraction | None = None) -> VideoFrame:
        """The normalized frame, possibly the same object.

        `aspect` is its sample aspect ratio; None: that of the first frame.

        Raises:
            MediaError: UNSUPPORTED for a pixel format that cannot be converted.
        """
        size = self._fit(frame, aspect or self.coded_aspect)
        maps = is_hdr(frame) and not self.keep_hdr
        normalized = self.mapper(frame, size) if maps else self._convert(frame, size)
        if size != self.coded:
            normalized = self._pad(normalized, size)
        if self.graph is not None:
            normalized = _filter(self.graph, normalized)
        normalized.pict_type = 0  # else the encoder must use the type that the frame had in its source
        return normalized

    def _convert(self, frame: VideoFrame, size: Size) -> VideoFrame:
        try:
            normalized = self.scaler.reformat(
                frame,
                *size,
                format=self.pixel_format,
                dst_colorspace=Colorspace.ITU709 if _is_rgb(frame) else None,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
        except (av.error.FFmpegError, ValueError) as e:
            raise MediaError("UNSUPPORTED", f"no conversion from {frame.format.name}: {e}") from e
        if _is_rgb(frame):
            normalized.color_primaries = normalized.color_trc = BT709
        return normalized

    def _fit(self, frame: VideoFrame, aspect: Fraction) -> Size:
        """The size to scale a frame to: the largest of its shape within the first frame's."""
        (width, height), has_new_size = self.coded, (frame.width, frame.height) != self.coded
        if not has_new_size and aspect == self.coded_aspect:
            return self.coded
        self.warnings[SIZE_CHANGED if has_new_size else ASPECT_CHANGED] = None
        wider = float(frame.width * aspect / frame.height / (width * self.coded_aspect / height))
        if abs(wider - 1) <= MAX_SHAPE_DIFFERENCE:
            return self.coded
        return (width, _even(height / wider)) if wider > 1 else (_even(width * wider), height)

    def _pad(self, frame: VideoFrame, size: Size) -> VideoFrame:
        """A frame of `size`, centered between black bars."""
        if self.bars[0] != size:
            (width, height), (left, top) = (
                self.coded,
                (_even((c - s) / 2, 0) for c, s in zip(self.coded, size, strict=True)),
            )
            self.bars = size, _graph(size, self.pixel_format, (f"pad={width}:{height}:{left}:{top}",))
        assert self.bars[1] is not None
        return _filter(self.bars[1], frame)


def _even(side: float, least: int = 2) -> int:
    """The nearest even number of pixels."""
    return max(least, round(side / 2) * 2)


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _filter(graph: Graph, frame: VideoFrame) -> VideoFrame:
    frame.pts, frame.time_base = None, Fraction(1, 1000)
    graph.vpush(frame)
    return graph.vpull()


def _graph(size: Size, pixel_format: str, steps: tuple[str, ...]) -> Graph | None:
    if not steps:
        return None
    graph = filter_graph.new()
    nodes = [
        graph.add_buffer(width=size[0], height=size[1], format=VideoFormat(pixel_format), time_base=Fraction(1, 1000))
    ]
    for step in steps:
        name, _, arguments = step.partition("=")
        nodes.append(graph.add(name, arguments))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
