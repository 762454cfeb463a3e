"""The timeline of a video: when each frame is shown, how `videos` stores that, and which frames a span has."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]  # seconds after the first shown frame

BOUNDARY_TOLERANCE_S = 0.001  # Matroska rounds its times to ms: a frame this close to a boundary lies on it
EVEN_TOLERANCE_S = 0.0015  # a time this close to a multiple of the frame duration was only rounded by its container
# A span begins with the frame already on screen if that stays for longer than this: seconds, and median frame durations.
HELD_S, HELD_STEPS = 0.25, 2.5
LONG_HELD_S = 1.0  # long enough in any video, however low its frame rate
MAX_DENOMINATOR = 1001  # of frame rates, as in 30000/1001
MICROSECONDS = 1_000_000


class Break(NamedTuple):
    """A place where a container's clock wraps, restarts or jumps, or where nothing was recorded for a while."""

    packet: int  # number of the first video packet after the break, from 0 in file order
    shift_s: float  # seconds to add to the container's times from that packet on


@dataclass(frozen=True)
class Timing:
    """What decoding a video needs to know beside the file itself, as `packet_times` measured it."""

    framerate: Fraction | None = None  # None: as the container states it
    breaks: tuple[Break, ...] = ()
    # The longest true delay between a frame's decoding and presentation times; None unless some frames state a far longer one.
    reorder_s: float | None = None
    start_s: float | None = None  # of the first shown frame on the container's clock; None: that of the first decoded frame


@dataclass(frozen=True)
class Timeline:
    """The shown frames of a video: frame k is shown from `times_s[k]` on, the last one until `end_s`."""

    times_s: Times
    end_s: float
    framerate: float  # frames per second; the average if the frames are not evenly spaced
    is_even: bool  # frame k is shown at k / framerate

    @cached_property
    def step_s(self) -> float:
        """Seconds from one frame to the next; the median if they vary."""
        if self.is_even or len(self.times_s) < 2:
            return 1 / self.framerate
        return float(np.median(np.diff(self.times_s)))

    def first_frame(self, at_s: float) -> int:
        """The number of the first frame shown at or after a time."""
        if self.is_even:
            return max(0, math.ceil((at_s - BOUNDARY_TOLERANCE_S) * self.framerate))
        return int(np.searchsorted(self.times_s, at_s - BOUNDARY_TOLERANCE_S))

    def held_s(self, at_s: float) -> float:
        """Seconds for which the frame on screen at `at_s` has been shown, if a span from `at_s` includes it; else 0.

        A span includes a frame that stays on screen for long after `at_s`, such as a slide.
        """
        following = self.first_frame(at_s)
        if following == 0 or (self.is_even and self.framerate > 1 / HELD_S):
            return 0.0
        next_s = self.times_s[following] if following < len(self.times_s) else self.end_s
        least_s = HELD_S if self.is_even else min(max(HELD_S, HELD_STEPS * self.step_s), LONG_HELD_S)
        return at_s - float(self.times_s[following - 1]) if next_s - at_s > least_s else 0.0


def of_row(row: Mapping[str, Any]) -> Timeline:
    """The timeline in a row of `videos`: by its column `frame_times`, else evenly spaced at its frame rate."""
    packed, framerate = row.get("frame_times"), float(row["framerate"])
    if packed is None:
        return Timeline(np.arange(int(row["num_frames"])) / framerate, float(row["duration_s"]), framerate, is_even=True)
    return Timeline(unpack(packed), float(row["duration_s"]), framerate, is_even=False)


def timing_of(row: Mapping[str, Any]) -> Timing:
    """The timing in a row of `videos`."""
    breaks = tuple(Break(int(b["packet"]), float(b["shift_s"])) for b in _mappings(row.get("clock_breaks")))
    return Timing(rate(float(row["framerate"])), breaks, row.get("reorder_s"), row.get("start_time_s"))


def rate(framerate: float) -> Fraction:
    """The fraction, such as 30000/1001, that a frame rate was before it became a float."""
    if framerate >= 1:
        return Fraction(framerate).limit_denominator(MAX_DENOMINATOR)
    return 1 / Fraction(1 / framerate).limit_denominator(MAX_DENOMINATOR)


def pack(times_s: Times) -> bytes:
    """Times as bytes for a column: their differences in whole microseconds, compressed by zlib (1 to 2 bytes per frame)."""
    ticks = np.rint(times_s * MICROSECONDS).astype("<i8")
    return zlib.compress(np.diff(ticks, prepend=np.int64(0)).tobytes(), 6)


def unpack(data: bytes) -> Times:
    """The times in seconds that `pack` encoded."""
    steps = np.frombuffer(zlib.decompress(data), "<i8")
    return np.cumsum(steps).astype(np.float64) / MICROSECONDS


def _mappings(breaks: Any) -> list[Mapping[str, Any]]:
    """Structs of a column as mappings, from pandas or from a Spark Row."""
    return [] if breaks is None else [b if isinstance(b, Mapping) else b.asDict() for b in breaks]
