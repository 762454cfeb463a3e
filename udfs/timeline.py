"""Timeline: when each frame of a video is shown, how a row of `videos` keeps it, and which frames lie in a span."""

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
EVEN_TOLERANCE_S = 0.0015  # a time this close to its place on the grid of the frame rate was only rounded
HELD_S, HELD_STEPS = 0.25, 2.5  # a span that begins this long before its first new frame begins with the one on screen
LONG_HELD_S = 1.0  # in any video, however slow
MAX_DENOMINATOR = 1001  # of frame rates: 30000/1001 is the finest that people use
MICROSECONDS = 1_000_000


class Break(NamedTuple):
    """A place where a container's clock wraps, restarts or jumps, or where nothing was recorded for a while."""

    packet: int  # of the video stream, counted from 0 in the file's order: the first one behind the break
    shift_s: float  # seconds to add to the container's times from there on


@dataclass(frozen=True)
class Timing:
    """What decoding a video needs beside the file itself: its measured frame rate, and the breaks of its clock."""

    framerate: Fraction | None = None  # None: as the container states it
    breaks: tuple[Break, ...] = ()
    reorder_s: float | None = None  # between decoding and showing a frame at most, where some frames state far more; else None
    start_s: float | None = None  # of the first shown frame on the container's clock; None: as the first decoded one says


@dataclass(frozen=True)
class Timeline:
    """The shown frames of a video: the k-th is shown from `times_s[k]` on, the last one until `end_s`."""

    times_s: Times
    end_s: float
    framerate: float  # of even frames their rate, else frames per second on average
    is_even: bool  # every frame lies on the grid of the frame rate

    @cached_property
    def step_s(self) -> float:
        """Seconds from frame to frame: the median where they vary."""
        if self.is_even or len(self.times_s) < 2:
            return 1 / self.framerate
        return float(np.median(np.diff(self.times_s)))

    def first_frame(self, at_s: float) -> int:
        """The number of the first frame shown at or after a time."""
        if self.is_even:
            return max(0, math.ceil((at_s - BOUNDARY_TOLERANCE_S) * self.framerate))
        return int(np.searchsorted(self.times_s, at_s - BOUNDARY_TOLERANCE_S))

    def held_s(self, at_s: float) -> float:
        """How long the frame on screen at a time has been there, if a span that begins then is to begin with it; else 0.

        It is if it stays for a good while more: a slide, or a screen on which nothing happens.
        """
        following = self.first_frame(at_s)
        if following == 0 or (self.is_even and self.framerate > 1 / HELD_S):
            return 0.0
        next_s = self.times_s[following] if following < len(self.times_s) else self.end_s
        least_s = HELD_S if self.is_even else min(max(HELD_S, HELD_STEPS * self.step_s), LONG_HELD_S)
        return at_s - float(self.times_s[following - 1]) if next_s - at_s > least_s else 0.0


def of_row(row: Mapping[str, Any]) -> Timeline:
    """The timeline that a row of `videos` keeps: its column `frame_times`, or the grid of its frame rate without one."""
    packed, framerate = row.get("frame_times"), float(row["framerate"])
    if packed is None:
        return Timeline(np.arange(int(row["num_frames"])) / framerate, float(row["duration_s"]), framerate, is_even=True)
    return Timeline(unpacked(packed), float(row["duration_s"]), framerate, is_even=False)


def timing_of(row: Mapping[str, Any]) -> Timing:
    """What decoding needs of a row of `videos`."""
    breaks = tuple(Break(int(b["packet"]), float(b["shift_s"])) for b in _listed(row.get("clock_breaks")))
    return Timing(rate(float(row["framerate"])), breaks, row.get("reorder_s"), row.get("start_time_s"))


def rate(framerate: float) -> Fraction:
    """A frame rate as the fraction that it was before it became a float; also of rates below one frame in 1001 seconds."""
    if framerate >= 1:
        return Fraction(framerate).limit_denominator(MAX_DENOMINATOR)
    return 1 / Fraction(1 / framerate).limit_denominator(MAX_DENOMINATOR)


def packed(times_s: Times) -> bytes:
    """Times as bytes for a column: their differences in whole microseconds, deflated; one to two bytes per frame."""
    ticks = np.rint(times_s * MICROSECONDS).astype("<i8")
    return zlib.compress(np.diff(ticks, prepend=np.int64(0)).tobytes(), 6)


def unpacked(data: bytes) -> Times:
    """The times that `packed` made bytes of."""
    steps = np.frombuffer(zlib.decompress(data), "<i8")
    return np.cumsum(steps).astype(np.float64) / MICROSECONDS


def _listed(breaks: Any) -> list[Mapping[str, Any]]:
    return [] if breaks is None else [b if isinstance(b, Mapping) else b.asDict() for b in breaks]
