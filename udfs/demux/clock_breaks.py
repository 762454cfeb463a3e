"""Clock breaks: where a container's time stamps wrap, restart or jump, and where nothing was recorded for a while."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.demux.demuxer import Video, demux, rewind

Ticks = npt.NDArray[np.int64]

UNKNOWN, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # a time that a packet does not state
CLOCK_GAP_S = 1.0  # a longer gap is a break in formats with a recorder's clock, if sound has the same gap
LONG_GAP_S = 10.0  # the same for other formats, and without sound: FFmpeg's own threshold for a discontinuity
REORDERED = 32  # packets after a break, among which the first one shown is found
NEAR_PACKETS = 400  # sound packets on each side of a gap that are searched, in file order


@dataclass
class _Sound:
    """The sound packets of a file: when each is played, and how many video packets precede it in the file."""

    packet: array[int] = field(default_factory=lambda: array("q"))
    at_s: array[float] = field(default_factory=lambda: array("d"))  # on the container's clock


class _Gap(NamedTuple):
    """A jump of the decoding times, in seconds on the container's clock."""

    packet: int  # number of the first video packet after the gap
    start_s: float
    length_s: float  # negative where the clock falls
    duration_s: float  # that the frame before the gap states for itself


def clock_breaks(video: Video, stamps: Ticks, decode_stamps: Ticks, lengths: Ticks) -> list[tuple[int, int]]:
    """The number of each video packet before which the clock breaks, and the ticks to add to times from there on.

    `stamps`, `decode_stamps` and `lengths` are the presentation times, decoding times and durations
    of the video packets in file order, in ticks of the stream's time base. Where the clock jumps
    forward, the file's sound decides whether that is a break.
    """
    base = float(video.stream.time_base or 1)
    known = np.flatnonzero(decode_stamps != UNKNOWN)
    dts, durations = decode_stamps[known], lengths[known]
    if len(dts) < 3:
        return []
    steps = np.diff(dts)
    step = int(np.median(steps[steps > 0])) if np.any(steps > 0) else 1
    backward = (steps < -step) & (not video.is_indexed)  # edit lists may show a stretch twice
    suspects = [int(i) for i in np.flatnonzero(backward | (steps * base > CLOCK_GAP_S)) if not _is_glitch(dts, int(i), step)]
    sound = _sound(video) if np.any(steps[suspects] > 0) and not video.is_indexed else None
    gaps = [_Gap(int(known[i + 1]), dts[i] * base, steps[i] * base, durations[i] * base) for i in suspects]
    holes = [gap.packet for gap in gaps if gap.length_s < 0 or _is_hole(video, gap, sound)]
    return _with_shifts(stamps, holes, step)


def _with_shifts(stamps: Ticks, breaks: list[int], step: int) -> list[tuple[int, int]]:
    """Each break with the ticks that make the frames after it follow those before it."""
    shifts: list[tuple[int, int]] = []
    begin, end, shift = 0, 0, 0
    for packet in breaks:
        end = max(end, int(stamps[begin:packet].max()) + shift + step)
        first = stamps[packet : packet + REORDERED]
        shift, begin = end - int(first[first != UNKNOWN].min(initial=LATEST)), packet
        shifts.append((packet, shift))
    return shifts


def _sound(video: Video) -> _Sound | None:
    """The times of the file's sound, by a second pass over its packets; None for a file without sound."""
    if not video.container.streams.audio:
        return None
    sound, number = _Sound(), 0
    rewind(video)
    for packet in demux(video, video.stream, *video.container.streams.audio):
        if packet.stream is video.stream:
            number += packet.size > 0
            continue
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            sound.packet.append(number)
            sound.at_s.append(float(stamp * packet.time_base))
    return sound


def _is_glitch(dts: Ticks, i: int, step: int) -> bool:
    """Whether only one packet has a wrong time: its neighbors follow each other."""
    around = [(i - 1, i + 1), (i, i + 2)]
    return any(a >= 0 and b < len(dts) and 0 < dts[b] - dts[a] <= 3 * step for a, b in around)


def _is_hole(video: Video, gap: _Gap, sound: _Sound | None) -> bool:
    """Whether nothing was recorded in a gap: the frame before it does not last through it, and no sound lies in it."""
    is_claimed = gap.duration_s >= 0.5 * gap.length_s
    if sound is None:
        return gap.length_s > LONG_GAP_S and not is_claimed and (video.has_own_clock or video.is_indexed)
    if gap.length_s <= (CLOCK_GAP_S if video.has_own_clock else LONG_GAP_S) or (is_claimed and not video.has_own_clock):
        return False
    middle = int(np.searchsorted(np.frombuffer(sound.packet, np.int64), gap.packet))
    near = np.frombuffer(sound.at_s)[max(0, middle - NEAR_PACKETS) : middle + NEAR_PACKETS]
    margin = min(0.4 * gap.length_s, 0.5 * CLOCK_GAP_S)
    return not np.any((near > gap.start_s + margin) & (near < gap.start_s + gap.length_s - margin))
