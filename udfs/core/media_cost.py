"""Estimate what decoding, analyzing and cutting a video costs, by its codec, size, frames and bytes.

A cost is in seconds of a usual video: of the H.264 of `USUAL` that would take as much CPU time in the
same stage. Columns that a row lacks, or that are NULL, are those of the usual video.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Decoder(NamedTuple):
    """CPU time of decoding: ns per pixel, and ns per byte of the stream."""

    pixel_ns: float
    byte_ns: float


# Fitted to 84 real clips of 180 to 1080 lines (docs/benchmarks.md): the worst took a third more or less.
DECODERS = {
    "h264": Decoder(1.58, 111),
    "hevc": Decoder(2.15, 192),
    "vp9": Decoder(1.91, 82),
    "av1": Decoder(0.65, 169),
    "mpeg4": Decoder(1.02, 10),
    "mpeg2video": Decoder(0.73, 12),
    "prores": Decoder(1.26, 15),
}
# Names of decoders of a codec in FFmpeg, which table `videos` holds.
CODECS = {"libdav1d": "av1", "libaom-av1": "av1", "libvpx-vp9": "vp9"}
FRAME_S = 60e-6  # of a frame, whatever its size
# ns per pixel of an encoder with its default preset; encoding on a GPU takes little of the CPU.
ENCODER_PIXEL_NS = {"libx264": 24.0, "libopenh264": 24.0, "libvpx-vp9": 84.0, "libsvtav1": 43.0, "h264_nvenc": 3.0}
COPIED_PACKET_S, COPIED_BYTE_NS = 35e-6, 1.0
# Signals of analyze beside decoding: of a pixel per second of video, of a second, and of a pixel per clip.
SIGNALS_PIXEL_NS, SIGNALS_S, HASHES_PIXEL_NS = 12.0, 18e-3, 22.0
USUAL: Row = {
    "video_codec": "h264",
    "width": 1280,
    "height": 720,
    "framerate": 30.0,
    "duration_s": 1.0,
    "num_bytes": 375_000,
}


def decoding(row: Row) -> float:
    """The cost of decoding a video or clip."""
    return _decoding_s(row) / _decoding_s(USUAL)


def analyzing(row: Row) -> float:
    """The cost of decoding a clip and measuring its signals."""
    return _analyzing_s(row) / _analyzing_s(USUAL)


def transcoding(row: Row, encoder: str) -> float:
    """The cost of decoding part of a video and encoding it."""
    return _transcoding_s(row, encoder) / _transcoding_s(USUAL, encoder)


def copying(row: Row) -> float:
    """The cost of copying part of a video, in seconds of the usual video transcoded by x264."""
    copied_s = _num_frames(row) * COPIED_PACKET_S + _num_bytes(row) * COPIED_BYTE_NS * 1e-9
    return copied_s / _transcoding_s(USUAL, "libx264")


def _decoding_s(row: Row) -> float:
    codec = str(row.get("video_codec") or USUAL["video_codec"])
    decoder = DECODERS.get(CODECS.get(codec, codec), DECODERS["h264"])
    frames = _num_frames(row)
    return frames * (_pixels(row) * decoder.pixel_ns * 1e-9 + FRAME_S) + _num_bytes(row) * decoder.byte_ns * 1e-9


def _analyzing_s(row: Row) -> float:
    pixels = _pixels(row)
    seconds = _value(row, "duration_s") * (pixels * SIGNALS_PIXEL_NS * 1e-9 + SIGNALS_S)
    return _decoding_s(row) + seconds + pixels * HASHES_PIXEL_NS * 1e-9


def _transcoding_s(row: Row, encoder: str) -> float:
    return _decoding_s(row) + _num_frames(row) * _pixels(row) * ENCODER_PIXEL_NS[encoder] * 1e-9


def _pixels(row: Row) -> float:
    return _value(row, "width") * _value(row, "height")


def _num_frames(row: Row) -> float:
    return _value(row, "duration_s") * _value(row, "framerate")


def _num_bytes(row: Row) -> float:
    """The bytes of a row; those of a usual video of its length if they are unknown."""
    return float(row.get("num_bytes") or row.get("size") or _value(row, "duration_s") * USUAL["num_bytes"])


def _value(row: Row, name: str) -> float:
    return float(row.get(name) or USUAL[name])
