"""Measure when the frames of a video are shown, from the times of its packets, without decoding."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from av.packet import Packet

from udfs.clock_breaks import LATEST, UNKNOWN, Ticks, clock_breaks
from udfs.decoding import Video, demuxed
from udfs.errors import MediaError
from udfs.frame_rate import NEAR_RATE, rate_of, timeline_of, varies
from udfs.limits import Limits
from udfs.timeline import Break, Timeline

MOST_READ, MIN_BYTES = 100, 1 << 20  # times the size of a file that its packets may have in all; of a file, at least
FIELDS_SLACK = 0.05  # of a share of a half, and of a ratio of two
STRAY_S, MOST_STRAYS = 10.0, 0.05  # from its usual distance to decoding, before a time is wrong; share of packets at most
# An AVI repeats a picture by a packet too small to hold one: no bytes, or a compressor's empty block.
REPEATS_BYTES = 12
PACKED_CODECS = ("mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "h263")  # whose small packets stand for frames packed before
SCREEN_CODECS = ("camtasia", "tscc", "tscc2", "zmbv", "cscd", "qtrle", "msrle", "msvideo1", "cinepak", "fraps", "g2m")
VP8_SHOWN = 0x10  # bit of a VP8 packet's first byte
SAMPLE_PACKETS = 300  # read to tell the frame rate of a file whose packets are not all read
HIDDEN, REPEAT, SHOWN = 0, 1, 2  # kinds of packets: no picture for the viewer, the last picture for longer, a new picture


@dataclass
class _Packets:
    """The times of a video stream's packets in the file's order, in ticks of its time base."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    duration: array[int] = field(default_factory=lambda: array("q"))
    kind: array[int] = field(default_factory=lambda: array("b"))


@dataclass(frozen=True)
class Measured:
    """What the packets of a video say."""

    timeline: Timeline
    breaks: tuple[Break, ...]
    reorder_s: float | None  # as `timeline.Timing` has it
    num_hidden: int  # frames that the container's edit list hides
    is_vfr: bool


def measure(video: Video, first_stamp: int | None, frame_step: int | None, limits: Limits) -> Measured:
    """The timeline of an open video, by one pass over all of its packets.

    `first_stamp` is the time of the first frame that decodes, in ticks: packets before it give no frame. `frame_step` are the
    ticks between its first frames, for a video whose packets may be single fields.

    Raises:
        MediaError: TOO_LARGE over `limits.max_frames`, CORRUPT without a packet that can be shown.
    """
    found = _read(video, limits)
    base = float(video.stream.time_base or 1)
    stamps, reorder_s = _in_order(_stamps(video, found), np.array(found.dts), base)
    kinds = np.array(found.kind)
    breaks = clock_breaks(video, stamps, np.array(found.dts), np.array(found.duration))
    shifts = np.zeros(len(stamps), np.int64)
    for number, ticks in breaks:
        shifts[number:] = ticks
    unrolled = stamps + shifts
    zero = _zero(stamps, unrolled, kinds, first_stamp)
    is_there = (kinds != HIDDEN) & (stamps != UNKNOWN) & (unrolled >= zero)
    is_shown = is_there & (kinds == SHOWN)
    if not is_shown.any():
        raise MediaError("CORRUPT", "no packet can be shown")
    durations = np.array(found.duration) * base
    last = np.flatnonzero(is_there)[np.argmax(unrolled[is_there])]
    begins = np.unique(unrolled[is_shown] - zero)
    if frame_step and len(begins) > 2 and abs(frame_step / np.median(np.diff(begins)) - 2) < FIELDS_SLACK:
        begins = begins[::2]  # a frame is shown from its first field on
    times = begins * base
    timeline = timeline_of(times, float(unrolled[last] - zero) * base, float(durations[last]), video)
    seconds = tuple(Break(number, ticks * base) for number, ticks in breaks)
    return Measured(timeline, seconds, reorder_s, int((kinds == HIDDEN).sum()), varies(timeline))


def sample(video: Video) -> tuple[Fraction, bool]:
    """The frame rate of a file whose packets are not all read, and whether it varies, by its first packets.

    The rate is the header's where they agree with it.
    """
    stated, base = video.framerate, float(video.stream.time_base or 1)
    stamped = (p.pts for p in demuxed(video, video.stream) if p.pts is not None and not p.is_discard)
    times = np.unique(np.array(list(islice(stamped, SAMPLE_PACKETS)), np.int64)) * base
    if len(times) < 3:
        return stated, False
    measured = (len(times) - 1) / float(times[-1] - times[0])
    line = Timeline(times - times[0], float(times[-1] - times[0]), measured, is_even=False)
    agrees = abs(measured / float(stated) - 1) < NEAR_RATE
    return stated if agrees else rate_of(line.times_s, measured, ()), varies(line)


def _read(video: Video, limits: Limits) -> _Packets:
    """Demux the whole file."""
    found, codec = _Packets(), video.stream.codec_context.name
    is_repeated = codec in SCREEN_CODECS or (video.container.format.name == "avi" and codec not in PACKED_CODECS)
    least, is_vp8 = REPEATS_BYTES if is_repeated else 0, codec in ("vp8", "libvpx")
    add_pts, add_dts, add_duration, add_kind = (a.append for a in (found.pts, found.dts, found.duration, found.kind))
    left = MOST_READ * max(MIN_BYTES, video.container.size)
    for packet in demuxed(video, video.stream):
        size = packet.size
        if not size:
            continue
        left -= size
        if left < 0:
            raise MediaError("CORRUPT", "its packets claim many times the bytes of the file")
        if len(found.pts) >= limits.max_frames:
            raise MediaError("TOO_LARGE", f"over {limits.max_frames} frames")
        pts, dts = packet.pts, packet.dts
        add_pts(UNKNOWN if pts is None else pts)
        add_dts(UNKNOWN if dts is None else dts)
        add_duration(packet.duration or 0)
        is_hidden = packet.is_discard or (is_vp8 and _is_invisible(packet))
        add_kind(HIDDEN if is_hidden else SHOWN if size > least else REPEAT)
    return found


def _is_invisible(packet: Packet[Any]) -> bool:
    """Whether a VP8 packet only holds a picture that later ones refer to."""
    return not bytes(packet)[0] & VP8_SHOWN


def _stamps(video: Video, found: _Packets) -> Ticks:
    """When each packet is shown, in ticks; one without a time follows the packet before it by a frame."""
    stated = np.array(found.dts if video.shows_by_decode_time else found.pts, np.int64)
    missing = np.flatnonzero(stated == UNKNOWN)
    step = round(1 / (video.framerate * (video.stream.time_base or 1)))
    if len(missing) == len(stated):
        return np.arange(len(stated), dtype=np.int64) * step
    if abs(len(missing) / len(stated) - 0.5) < FIELDS_SLACK:  # the second fields of frames
        step = 0
    for i in missing:
        stated[i] = stated[i - 1] + step if i and stated[i - 1] != UNKNOWN else UNKNOWN
    return stated


def _in_order(stamps: Ticks, dts: Ticks, base: float) -> tuple[Ticks, float | None]:
    """The times with those mended that lie far from their packets' times of decoding, and how far the good ones lie at most.

    An encoder that loses its clock for a moment sends single frames hours ahead; players show them so much later.
    """
    known = (stamps != UNKNOWN) & (dts != UNKNOWN)
    if known.sum() < 3:
        return stamps, None
    ahead = np.where(known, stamps - dts, 0)
    usual = int(np.median(ahead[known]))
    strays = known & (np.abs(ahead - usual) * base > STRAY_S)
    if not strays.any() or strays.sum() > MOST_STRAYS * known.sum():
        return stamps, None
    return np.where(strays, dts + usual, stamps), float(np.abs(ahead[known & ~strays]).max() * base)


def _zero(stamps: Ticks, unrolled: Ticks, kinds: npt.NDArray[np.int8], first_stamp: int | None) -> int:
    """The unrolled time of the first frame that decodes; of the first packet where that is not known."""
    matches = np.flatnonzero(stamps == first_stamp) if first_stamp is not None else np.array([], np.int64)
    if len(matches):
        return int(unrolled[matches[0]])
    return int(unrolled[(kinds != HIDDEN) & (stamps != UNKNOWN)].min(initial=LATEST))
