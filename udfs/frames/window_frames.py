"""A window of a clip -> which of its frames a model is shown, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from udfs.frames import extract
from udfs.frames.extract import Fit, Pictures
from udfs.frames.windows import Window
from udfs.runtime.batching import Env
from udfs.storage import access

MIN_FRAMES = 4
MAX_FRAMES = 768
TEMPORAL_PATCH = 2  # frames that become one step of tokens: their number is even


class Bounds(NamedTuple):
    """How many tokens a frame may take, and all frames of a window, before which the first two give way."""

    min_frame: int
    max_frame: int
    max_video: int


def frame_numbers(window: Window, framerate: float, sampling_fps: float) -> list[int]:
    """The frames of a window that are shown: an even number, evenly from its first to its last."""
    start, end = window
    shown = num_frames(end - start + 1, framerate, sampling_fps)
    return [int(number) for number in np.linspace(start, end, shown).round()]


def num_frames(total: int, framerate: float, sampling_fps: float) -> int:
    """How many frames of `total` are shown: at least 4 and an even number, but no more than there are, one being shown twice."""
    most = max(TEMPORAL_PATCH, min(MAX_FRAMES, total) // TEMPORAL_PATCH * TEMPORAL_PATCH)
    wanted = min(max(total / framerate * sampling_fps, MIN_FRAMES), most)
    return round(wanted / TEMPORAL_PATCH) * TEMPORAL_PATCH


def budget(shown: int, step: int, bounds: Bounds) -> Fit:
    """The size of so many frames, `step` being the pixels of a token's side: within the bounds."""
    room = max(1, TEMPORAL_PATCH * bounds.max_video // shown)
    least, most = min(bounds.min_frame, room // 4), min(bounds.max_frame, room)  # a quarter: `pixels` rounds up
    return extract.pixels(least * step**2, most * step**2, step)


def look(uri: str, at_s: Sequence[float], fit: Fit, env: Env) -> Pictures:
    """A clip's pictures at these times; made to run in a sandbox."""
    return extract.shown(access.own_path(uri, env.sources), at_s, fit, env.limits)[1]
