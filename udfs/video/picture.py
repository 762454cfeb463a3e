"""Properties of a picture: sample aspect ratio, orientation, field order, color, bit depth."""

from __future__ import annotations

import math
import struct
import sys
from contextlib import suppress
from fractions import Fraction
from typing import Any, NamedTuple

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core import filter_graph

SQUARE = Fraction(1)
MAX_ASPECT = 10  # a sample aspect ratio beyond 10:1 or 1:10 is a mistake in the header
# These containers state no aspect ratio. That of the coded stream may change, as in a broadcast
# from 4:3 to 16:9.
WITHOUT_ASPECT = ("mpegts", "mpeg", "mpegvideo", "m4v")
FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")  # as AVFieldOrder numbers them
PQ, HLG = 16, 18  # as AVColorTransferCharacteristic numbers them
# FFmpeg's names, by its numbers (ITU-T H.273); 2 is unspecified.
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020"} | {
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100"} | {
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    PQ: "smpte2084",
    17: "smpte428",
    HLG: "arib-std-b67",
}
SPACES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc"} | {
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
    15: "ipt-c2",
    16: "ycgco-re",
    17: "ycgco-ro",
}
RANGES = {1: "tv", 2: "pc"}


class Orientation(NamedTuple):
    """How a player shows a coded picture: mirrored left to right or not, then rotated."""

    is_mirrored: bool = False  # left to right, before the turn
    turns: int = 0  # of 90 degrees, counter-clockwise


def picture_facts(stream: VideoStream, frame: VideoFrame) -> dict[str, Any]:
    """The columns of `videos` that describe the picture, from a stream and its first frame."""
    view = orientation(frame)
    return {
        "sample_aspect_ratio": float(sample_aspect(stream)),
        "field_order": field_order(stream, frame),
        "color_primaries": PRIMARIES.get(frame.color_primaries),
        "color_transfer": TRANSFERS.get(frame.color_trc),
        "color_space": SPACES.get(frame.colorspace),
        "color_range": RANGES.get(frame.color_range),
        "bit_depth": bit_depth(frame),
        "is_hdr": is_hdr(frame),
        "is_mirrored": view.is_mirrored,
        "rotation": 90 * view.turns,
    }


def has_only_dolby_colors(frame: VideoFrame) -> bool:
    """Whether the colors of a frame are Dolby Vision's own (IPT-PQ-c2), as in its profiles 5 and 10.0.

    Such frames turn green and purple in all other programs. Those of other profiles have a base of
    HDR10, HLG or SDR. FFmpeg guesses profiles in the same way (libavcodec, ff_dovi_guess_profile_hevc).
    """
    data = side_data(frame, "DOVI_METADATA")
    if data is None:
        return False
    metadata = bytes(data)  # AVDOVIMetadata: where the AVDOVIRpuDataHeader begins, and others of its kind
    header = metadata[int.from_bytes(metadata[:8], sys.byteorder) :]
    vdr_rpu_profile, bl_video_full_range_flag = header[4], header[10]
    return vdr_rpu_profile == 0 and bl_video_full_range_flag == 1


def sample_aspect(stream: VideoStream) -> Fraction:
    """The width of a pixel divided by its height, as container or coded stream state it.

    It is 1 if that is implausible.
    """
    stated = stream.sample_aspect_ratio
    if stream.container.format.name in WITHOUT_ASPECT:
        stated = stream.codec_context.sample_aspect_ratio or stated
    return stated if stated and 1 / MAX_ASPECT <= stated <= MAX_ASPECT else SQUARE


def square_pixel_size(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """Width and height of a picture in square pixels; one side is stretched, and none is shrunk.

    `size` is its coded width and height, `aspect` its sample aspect ratio.
    """
    width, height = size
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def orientation(frame: VideoFrame) -> Orientation:
    """The orientation from a frame's display matrix.

    Angles are rounded to multiples of 90 degrees.
    """
    matrix = side_data(frame, "DISPLAYMATRIX")
    if matrix is None or matrix.buffer_size < 36:
        return Orientation()
    # A pixel at x, y is shown at a x + c y, b x + d y; y grows downward (FFmpeg,
    # libavutil/display.h).
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    is_mirrored = a * d - b * c < 0
    a, b = (-a, -b) if is_mirrored else (a, b)
    return Orientation(is_mirrored, round(-math.atan2(b, a) / (math.pi / 2)) % 4)


def field_order(stream: VideoStream, frame: VideoFrame) -> str:
    """FFmpeg's name of the field order, by the header unless the frame contradicts it."""
    stated = FIELD_ORDERS[stream.codec_context.field_order]
    if stated == "unknown" and not frame.interlaced_frame:
        return "progressive"
    if frame.interlaced_frame and stated in ("unknown", "progressive"):
        return "tt" if _top_field_first(frame) else "bb"
    return stated


def bit_depth(frame: VideoFrame) -> int:
    """Bits per component of a pixel, of the deepest component; 8 for a palette."""
    return 8 if frame.format.has_palette else max(component.bits for component in frame.format.components)


def is_hdr(frame: VideoFrame) -> bool:
    """Whether the transfer characteristic is PQ (SMPTE ST 2084) or HLG (ARIB STD-B67)."""
    return frame.color_trc in (PQ, HLG)


def side_data(frame: VideoFrame, name: str) -> Any:
    """A frame's side data of the named type.

    It is None if the frame has none, or if PyAV does not know the type.
    """
    with suppress(KeyError, ValueError):
        entries: Any = frame.side_data  # PyAV's annotation covers only motion vectors
        return entries[name]
    return None


def _top_field_first(frame: VideoFrame) -> bool:
    """Whether the top field comes first, by FFmpeg's filter `select`: PyAV hides the flag."""
    graph, condition = filter_graph.new(), "eq(interlace_type\\,TOPFIRST)"
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    graph.link_nodes(source, graph.add("select", condition), graph.add("buffersink")).configure()
    graph.vpush(frame)
    graph.vpush(None)
    with suppress(EOFError, BlockingIOError):
        return bool(graph.vpull())
    return False
