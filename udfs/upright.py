"""Frames as decoded -> frames as every encoder takes them: upright, 8-bit 4:2:0, limited range, one even size."""

from __future__ import annotations

from fractions import Fraction

import av.error
from av.filter.graph import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from udfs.errors import MediaError

BT709 = 1  # as AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic number it
TURNS = {90: ("transpose=cclock",), 180: ("hflip", "vflip"), 270: ("transpose=clock",)}  # degrees counter-clockwise


class Upright:
    """Converts the frames of one video; the first frame decides on the size, and later ones of another are scaled to it.

    An odd size loses one column or row of pixels. Matrix, primaries and transfer stay what they were (HDR is not mapped to
    SDR); RGB becomes BT.709.
    """

    def __init__(self, first: VideoFrame) -> None:
        """Raises MediaError UNSUPPORTED for a frame too small to have half its colour."""
        self.coded = first.width, first.height
        self.turn = first.rotation % 360
        even = first.width // 2 * 2, first.height // 2 * 2
        if 0 in even:
            raise MediaError("UNSUPPORTED", f"a frame of {first.width}x{first.height} pixels")
        self.size = even if self.turn % 180 == 0 else even[::-1]
        self.scaler = VideoReformatter()
        crop = (f"crop={even[0]}:{even[1]}:0:0:exact=1",) if even != self.coded else ()
        self.graph = _graph(self.coded, (*crop, *TURNS.get(self.turn, ())))

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The converted frame, maybe the same one.

        Raises:
            MediaError: UNSUPPORTED for a pixel format that cannot be converted.
        """
        try:
            plain = self.scaler.reformat(
                frame,
                *self.coded,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709 if _is_rgb(frame) else None,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
        except (av.error.FFmpegError, ValueError) as e:
            raise MediaError("UNSUPPORTED", f"no conversion from {frame.format.name}: {e}") from e
        if _is_rgb(frame):
            plain.color_primaries = plain.color_trc = BT709
        if self.graph is not None:
            plain.pts, plain.time_base = None, Fraction(1, 1000)
            self.graph.vpush(plain)
            turned = self.graph.vpull()
            assert isinstance(turned, VideoFrame)
            plain = turned
        plain.pict_type = 0  # else the encoder is forced to the type that the frame had in its source
        return plain


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _graph(size: tuple[int, int], steps: tuple[str, ...]) -> Graph | None:
    if not steps:
        return None
    graph = Graph()
    nodes = [graph.add_buffer(width=size[0], height=size[1], format=VideoFormat("yuv420p"), time_base=Fraction(1, 1000))]
    for step in steps:
        name, _, arguments = step.partition("=")
        nodes.append(graph.add(name, arguments))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
