"""The frame rate of a video, measured from frame times, and whether these are evenly spaced."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from udfs.demux.demuxer import Video
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S, EVEN_TOLERANCE_S, HELD_STEPS, Timeline, Times

STANDARD_RATES = (
    *(
        Fraction(24000, 1001),
        Fraction(24),
        Fraction(25),
        Fraction(30000, 1001),
        Fraction(30),
        Fraction(48),
        Fraction(50),
    ),
    *(Fraction(60000, 1001), Fraction(60), *map(Fraction, (5, 10, 12, 15, 20, 90, 100, 120, 240))),
)
NEAR_RATE = 0.02  # a candidate rate is tried if it differs from the measured one by less than this share
# A shorter duration of the last frame, in median spacings, is ignored: FLV writes 1 ms where it
# knows none.
MIN_DURATION_STEPS = 0.2
SPACING_SLACK = 0.1  # spacing may differ by this share of its median in a constant frame rate


def timeline_of(times: Times, last_s: float, duration_s: float, video: Video) -> Timeline:
    """The timeline of frames that are shown at `times` (s, rising, from 0).

    `last_s` and `duration_s` are the time and duration (s) of the last packet. That packet may hold
    no frame of its own and only repeat the last one.
    """
    count = len(times)
    typical = float(np.median(np.diff(times))) if count > 1 else float(1 / video.framerate)
    end_s = last_s + (duration_s if duration_s >= MIN_DURATION_STEPS * typical else typical)
    measured = (count - 1) / float(times[-1]) if count > 1 else 1 / typical
    rate = rate_of(times, measured, (video.stream.average_rate, video.stream.guessed_rate))
    if not _is_even(times, rate):
        return Timeline(times, end_s, count / end_s, is_even=False)
    is_last_held = end_s > (count - 1 + HELD_STEPS) / float(rate) and (video.is_indexed or last_s > times[-1])
    return Timeline(
        np.arange(count) / float(rate), end_s if is_last_held else count / float(rate), float(rate), is_even=True
    )


def rate_of(times: Times, measured: float, stated: tuple[Fraction | None, ...]) -> Fraction:
    """The rate that fits `times` (s): a stated one, else a standard one, else the measured one."""
    candidates = (*map(_nearest_standard, filter(None, stated)), *STANDARD_RATES)
    exact = Fraction(measured).limit_denominator(1_000_000) if measured >= 1 else 1 / Fraction(1 / measured)
    return next(
        (rate for rate in candidates if abs(float(rate) / measured - 1) < NEAR_RATE and _is_even(times, rate)), exact
    )


def _nearest_standard(rate: Fraction) -> Fraction:
    """The standard rate that a container rounded, as FLV rounds 30000/1001 to 29.97.

    Another rate is returned unchanged.
    """
    return next((standard for standard in STANDARD_RATES if abs(rate / standard - 1) < 1e-4), rate)


def _is_even(times: Times, rate: Fraction) -> bool:
    return bool(np.abs(times - np.arange(len(times)) / float(rate)).max(initial=0.0) <= EVEN_TOLERANCE_S)


def is_variable(timeline: Timeline) -> bool:
    """Whether the spacing of any two frames differs from the median by over SPACING_SLACK."""
    gaps = np.diff(timeline.times_s)
    if timeline.is_even or len(gaps) < 3:
        return False
    slack = max(SPACING_SLACK * timeline.step_s, 2 * BOUNDARY_TOLERANCE_S)
    return bool(np.abs(gaps - timeline.step_s).max() > slack)
