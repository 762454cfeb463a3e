"""Measure when frames are shown from the time stamps of packets, without decoding."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from av.packet import Packet

from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux.clock_breaks import LATEST, UNKNOWN, Ticks, clock_breaks
from udfs.demux.demuxer import Video, demux
from udfs.demux.frame_rate import NEAR_RATE, is_variable, rate_of, timeline_of
from udfs.demux.h264_fields import FieldPairs
from udfs.demux.timeline import Break, Timeline

# All packets together may have this many times the bytes of the file, or of MIN_BYTES.
MAX_READ_RATIO, MIN_BYTES = 100, 1 << 20
# A presentation time is a stray if its distance to the decoding time differs by this from the
# median distance. If more than this share of packets are strays, none counts as one.
STRAY_DELAY_S, MAX_STRAY_SHARE = 10.0, 0.05
# An AVI repeats a picture by a packet that is too small to hold one: no bytes, or a compressor's
# empty block.
MAX_REPEAT_BYTES = 12
# In these codecs a small packet may stand for a frame that was packed into the packet before it.
PACKED_CODECS = ("mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "h263")
SCREEN_CODECS = ("camtasia", "tscc", "tscc2", "zmbv", "cscd", "qtrle", "msrle", "msvideo1", "cinepak", "fraps", "g2m")
VOP_START = b"\x00\x00\x01\xb6"  # begins each picture of MPEG-4 Part 2 (ISO/IEC 14496-2, 6.2.5)
VP8_SHOWN = 0x10  # the bit show_frame in a VP8 packet's first byte (RFC 6386, 9.1)
SAMPLE_PACKETS = 300  # from which the frame rate is estimated where not all packets are read
# Kinds of packets: never shown, repeats the last frame, holds a new frame, holds the second field of a frame.
HIDDEN, REPEAT, SHOWN, SECOND_FIELD = 0, 1, 2, 3


@dataclass
class _Packets:
    """The times of a video's packets in file order, in ticks of its time base.

    A missing time is UNKNOWN.
    """

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    duration: array[int] = field(default_factory=lambda: array("q"))
    kind: array[int] = field(default_factory=lambda: array("b"))
    begin: array[int] = field(default_factory=lambda: array("q"))  # bytes from the beginning of the file


@dataclass(frozen=True)
class Measurement:
    """The frames of a video, as its packets describe them."""

    timeline: Timeline
    breaks: tuple[Break, ...]
    reorder_s: float | None  # as in `timeline.Timing`
    num_hidden: int  # packets that an edit list or their codec hides
    is_vfr: bool
    hole: tuple[int, int]  # the longest part of the file, in bytes, in which no packet of the video begins


def measure_packets(video: Video, num_bytes: int, first_stamp: int | None, limits: Limits) -> Measurement:
    """Read all packets of an open video, whose file has `num_bytes`, and derive its timeline.

    `first_stamp` is the time of the first frame that decodes, in ticks of the stream's time base;
    packets before it give no frame. It is None if it is not known.

    Raises:
        MediaError: TOO_LARGE over `limits.max_frames`; CORRUPT if no packet is shown, if packets
            claim far more bytes than the file has, or if a second pass is needed and fails.
    """
    packets = _read_packets(video, num_bytes, limits)
    base = float(video.stream.time_base or 1)
    stamps, reorder_s = _replace_strays(_stamps(video, packets), np.array(packets.dts), base)
    kinds = np.array(packets.kind)
    breaks = clock_breaks(video, stamps, np.array(packets.dts), np.array(packets.duration))
    shifts = np.zeros(len(stamps), np.int64)
    for number, ticks in breaks:
        shifts[number:] = ticks
    continuous = stamps + shifts
    zero = _first_time(stamps, continuous, kinds, first_stamp)
    is_timed = (kinds != HIDDEN) & (stamps != UNKNOWN) & (continuous >= zero)
    is_frame = is_timed & (kinds == SHOWN)
    if not is_frame.any():
        raise MediaError("CORRUPT", "no packet can be shown")
    durations = np.array(packets.duration) * base
    last = np.flatnonzero(is_timed)[np.argmax(continuous[is_timed])]
    starts = np.unique(continuous[is_frame] - zero)
    times = starts * base
    timeline = timeline_of(times, float(continuous[last] - zero) * base, float(durations[last]), video)
    seconds = tuple(Break(number, ticks * base) for number, ticks in breaks)
    return Measurement(
        timeline, seconds, reorder_s, int((kinds == HIDDEN).sum()), is_variable(timeline), _hole(packets, num_bytes)
    )


def _hole(packets: _Packets, num_bytes: int) -> tuple[int, int]:
    """The longest part of the file between the beginnings of two packets, or behind the last one."""
    edges = np.append(np.array(packets.begin, np.int64), num_bytes)
    longest = int(np.argmax(np.diff(edges)))
    return int(edges[longest]), int(edges[longest + 1])


def estimate_rate(video: Video) -> tuple[Fraction, bool]:
    """Estimate the frame rate, and whether it varies, from the first SAMPLE_PACKETS packets.

    The rate is the header's if they agree with it.
    """
    stated, base = video.framerate, float(video.stream.time_base or 1)
    stamped = (p.pts for p in demux(video, video.stream) if p.pts is not None and not p.is_discard)
    times = np.unique(np.array(list(islice(stamped, SAMPLE_PACKETS)), np.int64)) * base
    if len(times) < 3:
        return stated, False
    measured = (len(times) - 1) / float(times[-1] - times[0])
    line = Timeline(times - times[0], float(times[-1] - times[0]), measured, is_even=False)
    agrees = abs(measured / float(stated) - 1) < NEAR_RATE
    return stated if agrees else rate_of(line.times_s, measured, ()), is_variable(line)


def _read_packets(video: Video, num_bytes: int, limits: Limits) -> _Packets:
    """Read the times and kinds of all packets of the video stream.

    Raises:
        MediaError: TOO_LARGE over `limits.max_frames`; CORRUPT over MAX_READ_RATIO times the file's
            bytes.
    """
    packets, codec = _Packets(), video.stream.codec_context.name
    may_repeat = codec in SCREEN_CODECS or (video.container.format.name == "avi" and codec not in PACKED_CODECS)
    max_repeat_bytes, is_vp8 = MAX_REPEAT_BYTES if may_repeat else 0, codec in ("vp8", "libvpx")
    is_mpeg4 = codec == "mpeg4"
    fields = None
    if codec == "h264" and not video.is_indexed:  # an mp4 holds both fields of a frame in one packet
        fields = FieldPairs(video.stream.codec_context.extradata or b"")
    before: Packet[Any] | None = None  # the last packet of MPEG-4
    add_pts, add_dts, add_duration, add_kind, add_begin = (
        a.append for a in (packets.pts, packets.dts, packets.duration, packets.kind, packets.begin)
    )
    left = MAX_READ_RATIO * max(MIN_BYTES, num_bytes)
    for packet in demux(video, video.stream):
        size = packet.size
        if not size:
            continue
        left -= size
        if left < 0:
            raise MediaError("CORRUPT", "its packets claim many times the bytes of the file")
        if len(packets.pts) >= limits.max_frames:
            raise MediaError("TOO_LARGE", f"over {limits.max_frames} frames")
        pts, dts = packet.pts, packet.dts
        add_pts(UNKNOWN if pts is None else pts)
        add_dts(UNKNOWN if dts is None else dts)
        add_begin(packet.pos or 0)
        add_duration(packet.duration or 0)
        is_hidden = packet.is_discard or (is_vp8 and _is_invisible_frame(packet))
        is_repeat = size <= max_repeat_bytes or (is_mpeg4 and size <= MAX_REPEAT_BYTES and not _is_packed(before))
        before = packet if is_mpeg4 else None
        is_second = fields is not None and fields.is_second(memoryview(packet))
        add_kind(HIDDEN if is_hidden else REPEAT if is_repeat else SECOND_FIELD if is_second else SHOWN)
    return packets


def _is_packed(before: Packet[Any] | None) -> bool:
    """Whether a small packet of MPEG-4 stands for a frame in the one before, which holds two.

    Else it is a frame that is not coded: the last one stays on screen, and FFmpeg gives none.
    """
    return before is not None and bytes(before).count(VOP_START) > 1


def _is_invisible_frame(packet: Packet[Any]) -> bool:
    """Whether a VP8 packet holds a frame that is never shown and serves only as a reference."""
    return not bytes(packet)[0] & VP8_SHOWN


def _stamps(video: Video, packets: _Packets) -> Ticks:
    """When each packet is shown, in ticks.

    A packet without a time follows the one before by a frame duration, or has its time if it is the
    second field of the same frame.
    """
    stated = np.array(packets.dts if video.shows_by_decode_time else packets.pts, np.int64)
    missing = np.flatnonzero(stated == UNKNOWN)
    step = round(1 / (video.framerate * (video.stream.time_base or 1)))
    if len(missing) == len(stated):
        return np.arange(len(stated), dtype=np.int64) * step
    for i in missing:
        later = 0 if packets.kind[i] == SECOND_FIELD else step
        stated[i] = stated[i - 1] + later if i and stated[i - 1] != UNKNOWN else UNKNOWN
    return stated


def _replace_strays(stamps: Ticks, dts: Ticks, base: float) -> tuple[Ticks, float | None]:
    """The times in ticks with strays replaced, and the longest delay in s of the others, or None.

    A stray is a time far from its packet's decoding time: an encoder that loses its clock for a
    moment stamps single frames hours ahead, and players show them that much later. The delay is
    the distance between presentation and decoding time.
    """
    known = (stamps != UNKNOWN) & (dts != UNKNOWN)
    if known.sum() < 3:
        return stamps, None
    ahead = np.where(known, stamps - dts, 0)
    usual = int(np.median(ahead[known]))
    strays = known & (np.abs(ahead - usual) * base > STRAY_DELAY_S)
    if not strays.any() or strays.sum() > MAX_STRAY_SHARE * known.sum():
        return stamps, None
    return np.where(strays, dts + usual, stamps), float(np.abs(ahead[known & ~strays]).max() * base)


def _first_time(stamps: Ticks, continuous: Ticks, kinds: npt.NDArray[np.int8], first_stamp: int | None) -> int:
    """The continuous time of the first frame that decodes, in ticks.

    If that is not known, it is the time of the first shown packet.
    """
    matches = np.flatnonzero(stamps == first_stamp) if first_stamp is not None else np.array([], np.int64)
    if len(matches):
        return int(continuous[matches[0]])
    return int(continuous[(kinds != HIDDEN) & (stamps != UNKNOWN)].min(initial=LATEST))
