"""Which frames of a clip's window a captioning model sees, and at which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.frames.extract import Fit, Pictures
from udfs.frames.windows import Window
from udfs.storage import access
from udfs.storage.settings import Params as Sources

MIN_FRAMES = 4
MAX_FRAMES = 768
TEMPORAL_PATCH = 2  # frames per step of tokens, so that their number is even


class Bounds(NamedTuple):
    """Bounds of the tokens per frame, and of the tokens per window, which wins over the other two."""

    min_frame: int
    max_frame: int
    max_video: int


def frame_numbers(window: Window, framerate: float, sampling_fps: float) -> list[int]:
    """The frames of a window that the model sees: an even number, spread evenly from its first to its last."""
    start, end = window
    count = num_frames(end - start + 1, framerate, sampling_fps)
    return [int(number) for number in np.linspace(start, end, count).round()]


def num_frames(total: int, framerate: float, sampling_fps: float) -> int:
    """The number of sampled frames of `total`: even, at least 4, but no more than there are (a single frame counts twice)."""
    most = max(TEMPORAL_PATCH, min(MAX_FRAMES, total) // TEMPORAL_PATCH * TEMPORAL_PATCH)
    number = min(max(total / framerate * sampling_fps, MIN_FRAMES), most)
    return round(number / TEMPORAL_PATCH) * TEMPORAL_PATCH


def budget(count: int, step_px: int, bounds: Bounds) -> Fit:
    """The size within the bounds of each of `count` frames; a token is `step_px` x `step_px` pixels."""
    per_frame = max(1, TEMPORAL_PATCH * bounds.max_video // count)
    # A quarter of it at least: `pixels` rounds up.
    least, most = min(bounds.min_frame, per_frame // 4), min(bounds.max_frame, per_frame)
    return extract.pixels(least * step_px**2, most * step_px**2, step_px)


def decode(uri: str, times_s: Sequence[float], fit: Fit, sources: Sources, limits: Limits) -> Pictures:
    """A clip's frames at these rising times; made to run in a sandbox."""
    return extract.shown(access.own_path(uri, sources), times_s, fit, limits)[1]
