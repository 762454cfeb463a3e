"""Clock breaks: where a container's time stamps wrap, restart or jump, or recording paused."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.demux.demuxer import Video, demux, rewind

Ticks = npt.NDArray[np.int64]

UNKNOWN = np.iinfo(np.int64).min  # stands for a time that a packet does not state
LATEST = np.iinfo(np.int64).max  # later than any time
CLOCK_GAP_S = 1.0  # in formats with a recorder's clock, a longer gap is a break if the sound has it too
LONG_GAP_S = 10.0  # the same limit for other formats and for files without sound: FFmpeg's threshold of a discontinuity
REORDER_PACKETS = 32  # the frame shown first after a break is among this many packets
NEAR_PACKETS = 400  # sound packets that are searched on each side of a gap, in file order


@dataclass
class _SoundTimes:
    """The sound packets of a file: when each is played, and how many video packets precede it."""

    packet: array[int] = field(default_factory=lambda: array("q"))  # video packets before it
    at_s: array[float] = field(default_factory=lambda: array("d"))  # on the container's clock


class _Gap(NamedTuple):
    """A jump of the decoding times, in seconds on the container's clock."""

    packet: int  # number of the first video packet after the gap
    start_s: float
    length_s: float  # negative where the clock runs backward
    duration_s: float  # that the frame before the gap states for itself


class Shift(NamedTuple):
    """A break of the clock, and what makes the times after it continue those before it."""

    packet: int  # number of the first video packet after the break, from 0 in file order
    ticks: int  # to add to the times of that packet and of all later ones


def clock_breaks(video: Video, stamps: Ticks, decode_stamps: Ticks, durations: Ticks) -> list[Shift]:
    """The breaks of a video's clock, in file order.

    `stamps`, `decode_stamps` and `durations` are the presentation times, decoding times and
    durations of the video packets in file order, in ticks of the stream's time base, with UNKNOWN
    for a missing time. A backward step is a break. A forward step is one if the sound, read by a
    second pass over the file, has the same gap. Where no packet after a break has a presentation
    time, there is nothing to shift, and no break is reported.

    Raises:
        MediaError: CORRUPT if the container allows no second pass.
    """
    base = float(video.stream.time_base or 1)
    known = np.flatnonzero(decode_stamps != UNKNOWN)
    dts, known_durations = decode_stamps[known], durations[known]
    if len(dts) < 3:
        return []
    steps = np.diff(dts)
    step = _usual_step(dts) or 1
    backward = (steps < -step) & (not video.is_indexed)  # an edit list may show a part twice
    suspects = [
        int(i) for i in np.flatnonzero(backward | (steps * base > CLOCK_GAP_S)) if not _is_glitch(dts, int(i), step)
    ]
    sound = _sound_times(video) if np.any(steps[suspects] > 0) and not video.is_indexed else None
    gaps = [_Gap(int(known[i + 1]), dts[i] * base, steps[i] * base, known_durations[i] * base) for i in suspects]
    breaks = [gap.packet for gap in gaps if gap.length_s < 0 or _is_recording_gap(video, gap, sound)]
    return _shifts(stamps, decode_stamps, breaks, step)


def _usual_step(dts: Ticks) -> int:
    """The median distance of rising decoding times; 0 if none rises."""
    steps = np.diff(dts)
    return int(np.median(steps[steps > 0])) if np.any(steps > 0) else 0


def _shifts(stamps: Ticks, decode_stamps: Ticks, breaks: list[int], step: int) -> list[Shift]:
    """The shifts that make the frames after each break follow those before it, by the step of the frames before it.

    A break without a time among the REORDER_PACKETS packets after it is left out: nothing says how
    far to shift them.
    """
    shifts: list[Shift] = []
    begin, end, ticks = 0, 0, 0
    for packet in breaks:
        after = stamps[packet : packet + REORDER_PACKETS]
        after = after[after != UNKNOWN]
        if not len(after):
            continue
        before = decode_stamps[begin:packet]
        step = _usual_step(before[before != UNKNOWN]) or step
        end = max(end, int(stamps[begin:packet].max()) + ticks + step)
        ticks, begin = end - int(after.min()), packet
        shifts.append(Shift(packet, ticks))
    return shifts


def _sound_times(video: Video) -> _SoundTimes | None:
    """The times of the file's sound packets, by a second pass over the file.

    It is None for a file without sound.
    """
    if not video.container.streams.audio:
        return None
    sound, number = _SoundTimes(), 0
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
    """Whether only one packet has a wrong time: the packets beside it follow each other."""
    around = [(i - 1, i + 1), (i, i + 2)]
    return any(a >= 0 and b < len(dts) and 0 < dts[b] - dts[a] <= 3 * step for a, b in around)


def _is_recording_gap(video: Video, gap: _Gap, sound: _SoundTimes | None) -> bool:
    """Whether the recording paused in a gap: no frame lasts through it, and it has no sound."""
    is_one_frame = gap.duration_s >= 0.5 * gap.length_s
    if sound is None:
        return gap.length_s > LONG_GAP_S and not is_one_frame and (video.has_own_clock or video.is_indexed)
    if gap.length_s <= (CLOCK_GAP_S if video.has_own_clock else LONG_GAP_S) or (
        is_one_frame and not video.has_own_clock
    ):
        return False
    middle = int(np.searchsorted(np.frombuffer(sound.packet, np.int64), gap.packet))
    near = np.frombuffer(sound.at_s)[max(0, middle - NEAR_PACKETS) : middle + NEAR_PACKETS]
    margin = min(0.4 * gap.length_s, 0.5 * CLOCK_GAP_S)
    return not np.any((near > gap.start_s + margin) & (near < gap.start_s + gap.length_s - margin))
