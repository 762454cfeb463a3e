"""Find where the clock of a recording wraps, restarts or jumps, and where nothing was recorded for a while."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.decoding import Video, demuxed, rewind

Ticks = npt.NDArray[np.int64]

UNKNOWN, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # a time that a packet does not state
CLOCK_GAP_S = 1.0  # a jump of a recorder's clock, if sound jumps with it; nothing that was recorded lies in it
LONG_GAP_S = 10.0  # the same of other formats and of files without sound: FFmpeg's own threshold for a discontinuity
REORDERED = 32  # packets among which the first one shown is looked for
NEAR_PACKETS = 400  # sound packets looked at on both sides of a gap, in the file's order


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


def clock_breaks(video: Video, stamps: Ticks, decode_stamps: Ticks, lengths: Ticks) -> list[tuple[int, int]]:
    """The packets before which the clock breaks, each with the ticks to add from there on.

    Of each packet of the video in the file's order: when it is shown, when it is decoded, and for how long it is shown, in
    ticks of the stream's time base. Where the clock jumps forward, the file's sound decides whether that is a break.
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
