"""Measure when the frames of a video are shown, from the times of its packets, without decoding."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.packet import Packet

from udfs.decoding import Video, demuxed, rewind
from udfs.errors import MediaError
from udfs.limits import Limits
from udfs.timeline import BOUNDARY_TOLERANCE_S, EVEN_TOLERANCE_S, HELD_STEPS, Break, Timeline, Times

Ticks = npt.NDArray[np.int64]

CLOCK_GAP_S = 1.0  # a jump of such a clock, if sound jumps with it; nothing that was recorded lies in it
LONG_GAP_S = 10.0  # the same of other formats and of files without sound: FFmpeg's own threshold for a discontinuity
MOST_READ, MIN_BYTES = 100, 1 << 20  # times the size of a file that its packets may have in all; of a file, at least
REORDERED = 32  # packets among which the first one shown is looked for
STRAY_S, MOST_STRAYS = 10.0, 0.05  # from its usual distance to decoding, before a time is wrong; share of packets at most
NEAR_PACKETS = 400  # sound packets looked at on both sides of a gap, in the file's order
# An AVI repeats a picture by a packet too small to hold one: no bytes, or a compressor's empty block.
REPEATS_BYTES = 12
PACKED_CODECS = ("mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "h263")  # whose small packets stand for frames packed before
SCREEN_CODECS = ("camtasia", "tscc", "tscc2", "zmbv", "cscd", "qtrle", "msrle", "msvideo1", "cinepak", "fraps", "g2m")
VP8_SHOWN = 0x10  # bit of a VP8 packet's first byte
STANDARD_RATES = tuple(
    Fraction(*pair)
    for pair in ((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1))
) + tuple(map(Fraction, (5, 10, 12, 15, 20, 90, 100, 120, 240)))
LEAST_DURATION = 0.2  # of the median spacing: FLV says 1 ms where it knows none
SPACING_SLACK = 0.1  # of the median spacing, before the frame rate counts as varying
SAMPLE_PACKETS = 300  # read to tell the frame rate of a file whose packets are not all read
UNKNOWN, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # a time that a packet does not state
HIDDEN, REPEAT, SHOWN = 0, 1, 2  # kinds of packets: no picture for the viewer, the last picture for longer, a new picture


@dataclass
class _Packets:
    """The times of a video stream's packets in the file's order, in ticks of its time base, and the sound around them."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    duration: array[int] = field(default_factory=lambda: array("q"))
    kind: array[int] = field(default_factory=lambda: array("b"))


@dataclass
class _Sound:
    """The packets of a file's sound: when they are heard, and how many video packets lie before them in the file."""

    packet: array[int] = field(default_factory=lambda: array("q"))
    at_s: array[float] = field(default_factory=lambda: array("d"))  # on the container's clock


class _Gap(NamedTuple):
    """A jump of the decoding times in seconds of the container's clock, and what the frame before it claims of it."""

    packet: int  # behind it
    at_s: float
    length_s: float
    held_s: float


@dataclass(frozen=True)
class Measured:
    """What the packets of a video say."""

    timeline: Timeline
    breaks: tuple[Break, ...]
    reorder_s: float | None  # as `timeline.Timing` has it
    num_hidden: int  # frames that the container's edit list hides
    is_vfr: bool


def measure(video: Video, first_stamp: int | None, limits: Limits) -> Measured:
    """The timeline of an open video, by one pass over all of its packets.

    `first_stamp` is the time of the first frame that decodes, in ticks: packets before it give no frame.

    Raises:
        MediaError: TOO_LARGE over `limits.max_frames`, CORRUPT without a packet that can be shown.
    """
    found = _read(video, limits)
    base = float(video.stream.time_base or 1)
    stamps, reorder_s = _in_order(_stamps(video, found), np.array(found.dts), base)
    kinds = np.array(found.kind)
    breaks = _breaks(video, found, stamps)
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
    times = np.unique(unrolled[is_shown] - zero) * base
    timeline = _timeline(times, float(unrolled[last] - zero) * base, float(durations[last]), video)
    seconds = tuple(Break(number, ticks * base) for number, ticks in breaks)
    return Measured(timeline, seconds, reorder_s, int((kinds == HIDDEN).sum()), _varies(timeline))


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
    agrees = abs(measured / float(stated) - 1) < 0.02
    return stated if agrees else _rate_of(line.times_s, measured, ()), _varies(line)


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


def _breaks(video: Video, found: _Packets, stamps: Ticks) -> list[tuple[int, int]]:
    """The packets before which the clock breaks, each with the ticks to add from there on."""
    base = float(video.stream.time_base or 1)
    known = np.flatnonzero(np.array(found.dts) != UNKNOWN)
    dts, durations = np.array(found.dts)[known], np.array(found.duration)[known]
    if len(dts) < 3:
        return []
    steps = np.diff(dts)
    step = int(np.median(steps[steps > 0])) if np.any(steps > 0) else 1
    backward = (steps < -step) & (not video.is_indexed)  # edit lists may show a stretch twice
    suspects = [int(i) for i in np.flatnonzero(backward | (steps * base > CLOCK_GAP_S)) if not _is_glitch(dts, int(i), step)]
    sound = _sound(video) if np.any(steps[suspects] > 0) and not video.is_indexed else None
    gaps = [_Gap(int(known[i + 1]), dts[i] * base, steps[i] * base, durations[i] * base) for i in suspects]
    holes = [gap.packet for gap in gaps if gap.length_s < 0 or _is_hole(video, gap, sound)]
    return _shifted(stamps, holes, step)


def _shifted(stamps: Ticks, breaks: list[int], step: int) -> list[tuple[int, int]]:
    """Each break with the ticks that make the frames behind it follow those before it."""
    found: list[tuple[int, int]] = []
    begin, end, shift = 0, 0, 0
    for packet in breaks:
        end = max(end, int(stamps[begin:packet].max()) + shift + step)
        first = stamps[packet : packet + REORDERED]
        shift, begin = end - int(first[first != UNKNOWN].min(initial=LATEST)), packet
        found.append((packet, shift))
    return found


def _sound(video: Video) -> _Sound | None:
    """When the file's sound is heard, by a second pass over its packets; None for a file without sound."""
    if not video.container.streams.audio:
        return None
    found, number = _Sound(), 0
    rewind(video)
    for packet in demuxed(video, video.stream, *video.container.streams.audio):
        if packet.stream is video.stream:
            number += packet.size > 0
            continue
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            found.packet.append(number)
            found.at_s.append(float(stamp * packet.time_base))
    return found


def _is_glitch(dts: Ticks, i: int, step: int) -> bool:
    """Whether one packet alone has a wrong time: those before and behind it follow each other."""
    around = [(i - 1, i + 1), (i, i + 2)]
    return any(a >= 0 and b < len(dts) and 0 < dts[b] - dts[a] <= 3 * step for a, b in around)


def _is_hole(video: Video, gap: _Gap, sound: _Sound | None) -> bool:
    """Whether nothing was recorded in a gap: the frame before it does not claim it, and no sound lies in it."""
    is_claimed = gap.held_s >= 0.5 * gap.length_s
    if sound is None:
        return gap.length_s > LONG_GAP_S and not is_claimed and (video.has_own_clock or video.is_indexed)
    if gap.length_s <= (CLOCK_GAP_S if video.has_own_clock else LONG_GAP_S) or (is_claimed and not video.has_own_clock):
        return False
    middle = int(np.searchsorted(np.frombuffer(sound.packet, np.int64), gap.packet))
    near = np.frombuffer(sound.at_s)[max(0, middle - NEAR_PACKETS) : middle + NEAR_PACKETS]
    margin = min(0.4 * gap.length_s, 0.5 * CLOCK_GAP_S)
    return not np.any((near > gap.at_s + margin) & (near < gap.at_s + gap.length_s - margin))


def _zero(stamps: Ticks, unrolled: Ticks, kinds: npt.NDArray[np.int8], first_stamp: int | None) -> int:
    """The unrolled time of the first frame that decodes; of the first packet where that is not known."""
    matches = np.flatnonzero(stamps == first_stamp) if first_stamp is not None else np.array([], np.int64)
    if len(matches):
        return int(unrolled[matches[0]])
    return int(unrolled[(kinds != HIDDEN) & (stamps != UNKNOWN)].min(initial=LATEST))


def _timeline(times: Times, last_s: float, duration_s: float, video: Video) -> Timeline:
    """The frame rate of the times, and where the last picture ends, which the last packet shows from `last_s` on.

    Each time counts once: packets of one time are fields of one frame, or the pieces that a cut leaves at the end of a file.
    """
    count = len(times)
    typical = float(np.median(np.diff(times))) if count > 1 else float(1 / video.framerate)
    end_s = last_s + (duration_s if duration_s >= LEAST_DURATION * typical else typical)
    measured = (count - 1) / float(times[-1]) if count > 1 else 1 / typical
    rate = _rate_of(times, measured, (video.stream.average_rate, video.stream.guessed_rate))
    if not _is_even(times, rate):
        return Timeline(times, end_s, count / end_s, is_even=False)
    is_last_held = end_s > (count - 1 + HELD_STEPS) / float(rate) and (video.is_indexed or last_s > times[-1])
    return Timeline(np.arange(count) / float(rate), end_s if is_last_held else count / float(rate), float(rate), is_even=True)


def _rate_of(times: Times, measured: float, stated: tuple[Fraction | None, ...]) -> Fraction:
    """The frame rate that times lie on: what the container states, a standard one, or as measured."""
    candidates = (*map(_snapped, filter(None, stated)), *STANDARD_RATES)
    exact = Fraction(measured).limit_denominator(1_000_000) if measured >= 1 else 1 / Fraction(1 / measured)
    return next((rate for rate in candidates if abs(float(rate) / measured - 1) < 0.02 and _is_even(times, rate)), exact)


def _snapped(rate: Fraction) -> Fraction:
    """The standard rate that a container rounded off, as FLV writes 29.97."""
    return next((standard for standard in STANDARD_RATES if abs(rate / standard - 1) < 1e-4), rate)


def _is_even(times: Times, rate: Fraction) -> bool:
    return bool(np.abs(times - np.arange(len(times)) / float(rate)).max(initial=0.0) <= EVEN_TOLERANCE_S)


def _varies(timeline: Timeline) -> bool:
    """Whether the spacing of the frames varies anywhere by more than a tenth."""
    gaps = np.diff(timeline.times_s)
    if timeline.is_even or len(gaps) < 3:
        return False
    slack = max(SPACING_SLACK * timeline.step_s, 2 * BOUNDARY_TOLERANCE_S)
    return bool(np.abs(gaps - timeline.step_s).max() > slack)


def is_indexed(video: Video) -> bool:
    """Whether the container is an mp4 or its kin, whose index tells the times of all packets."""
    return video.container.format.name.startswith("mov")
