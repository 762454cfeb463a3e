"""The timeline of a video: when each frame is shown, and how table `videos` stores that."""

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

BOUNDARY_TOLERANCE_S = 0.001  # a frame this close to a boundary lies on it: Matroska rounds times to ms
EVEN_TOLERANCE_S = 0.0015  # a time this close to a multiple of the frame duration was rounded by its container
# A span begins with the frame that is on screen at its start if that frame stays for longer than
# both of these: seconds, and median frame durations.
HELD_S, HELD_STEPS = 0.25, 2.5
LONG_HELD_S = 1.0  # this is long enough in any video, however low its frame rate
MAX_DENOMINATOR = 1001  # of frame rates, as in 30000/1001
MICROSECONDS = 1_000_000


class Break(NamedTuple):
    """A place where a container's clock wraps, restarts or jumps, or where the recording paused."""

    packet: int  # number of the first video packet after the break, from 0 in file order
    shift_s: float  # seconds to add to the container's times from that packet on


@dataclass(frozen=True)
class Timing:
    """What ingest measured of a video's clock, which decoding needs beside the file."""

    framerate: Fraction | None = None  # frames per second; None: as the container states it
    breaks: tuple[Break, ...] = ()
    # The longest plausible delay between decoding and presentation of a frame; None: no frame
    # states a longer one.
    reorder_s: float | None = None
    start_s: float | None = None  # of the first shown frame on the container's clock; None: of the first decoded one


@dataclass(frozen=True)
class Timeline:
    """The shown frames: frame k is shown from `times_s[k]` on, and the last one until `end_s`."""

    times_s: Times
    end_s: float
    framerate: float  # frames per second; the average if frames are not evenly spaced
    is_even: bool  # frame k is shown at k / framerate

    @cached_property
    def step_s(self) -> float:
        """Seconds from one frame to the next; the median if they vary."""
        if self.is_even or len(self.times_s) < 2:
            return 1 / self.framerate
        return float(np.median(np.diff(self.times_s)))

    def first_frame(self, at_s: float) -> int:
        """The number of the first frame shown at or after a time (s)."""
        if self.is_even:
            return max(0, math.ceil((at_s - BOUNDARY_TOLERANCE_S) * self.framerate))
        return int(np.searchsorted(self.times_s, at_s - BOUNDARY_TOLERANCE_S))

    def held_s(self, at_s: float) -> float:
        """How long the frame on screen at `at_s` has been shown, in s, if a span includes it; else 0.

        A span includes it if it stays on screen for long after `at_s`, as a slide does.
        """
        following = self.first_frame(at_s)
        if following == 0 or (self.is_even and self.framerate > 1 / HELD_S):
            return 0.0
        next_s = self.times_s[following] if following < len(self.times_s) else self.end_s
        least_s = HELD_S if self.is_even else min(max(HELD_S, HELD_STEPS * self.step_s), LONG_HELD_S)
        return at_s - float(self.times_s[following - 1]) if next_s - at_s > least_s else 0.0


def timeline_of_row(row: Mapping[str, Any]) -> Timeline:
    """The timeline in a row of `videos`, evenly spaced if column `frame_times` is NULL."""
    packed, framerate = row.get("frame_times"), float(row["framerate"])
    if packed is None:
        return Timeline(
            np.arange(int(row["num_frames"])) / framerate, float(row["duration_s"]), framerate, is_even=True
        )
    return Timeline(unpack(packed), float(row["duration_s"]), framerate, is_even=False)


def timing_of_row(row: Mapping[str, Any]) -> Timing:
    """The timing in a row of `videos`."""
    breaks = tuple(Break(int(b["packet"]), float(b["shift_s"])) for b in _mappings(row.get("clock_breaks")))
    return Timing(exact_rate(float(row["framerate"])), breaks, row.get("reorder_s"), row.get("start_time_s"))


def exact_rate(framerate: float) -> Fraction:
    """The fraction, such as 30000/1001, of a frame rate that was stored as a float."""
    if framerate >= 1:
        return Fraction(framerate).limit_denominator(MAX_DENOMINATOR)
    return 1 / Fraction(1 / framerate).limit_denominator(MAX_DENOMINATOR)


def pack(times_s: Times) -> bytes:
    """Encode times as zlib-compressed differences in microseconds, 1 to 2 bytes per frame."""
    ticks = np.rint(times_s * MICROSECONDS).astype("<i8")
    return zlib.compress(np.diff(ticks, prepend=np.int64(0)).tobytes(), 6)


def unpack(data: bytes) -> Times:
    """The times in seconds that `pack` encoded."""
    steps = np.frombuffer(zlib.decompress(data), "<i8")
    return np.cumsum(steps).astype(np.float64) / MICROSECONDS


def _mappings(breaks: Any) -> list[Mapping[str, Any]]:
    """The structs of a column as mappings, whether they come from pandas or as Spark Rows."""
    return [] if breaks is None else [b if isinstance(b, Mapping) else b.asDict() for b in breaks]
