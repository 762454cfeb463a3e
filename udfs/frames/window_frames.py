"""The frames of a window that a vision-language model sees, and their size."""

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
from udfs.video.nvdec import CPU, Place

MIN_FRAMES = 4
MAX_FRAMES = 768
TEMPORAL_PATCH = 2  # frames that the model merges into one step of tokens: their number must be even


class Bounds(NamedTuple):
    """Tokens: least and most of a frame, and most of a window, which overrides the other two."""

    min_frame: int
    max_frame: int
    max_video: int


def frame_numbers(window: Window, framerate: float, sampling_fps: float) -> list[int]:
    """The numbers of the frames that the model sees, evenly spaced from the first to the last."""
    start, end = window
    count = num_shown_frames(end - start + 1, framerate, sampling_fps)
    return [int(number) for number in np.linspace(start, end, count).round()]


def num_shown_frames(total: int, framerate: float, sampling_fps: float) -> int:
    """How many of `total` frames the model sees at `sampling_fps`.

    An even number of 4 to 768, and at most `total`. A clip of 2 or 3 frames shows 2 of them; a clip
    of one frame shows it twice. Qwen2.5-VL's smart_nframes has the same bounds.
    """
    most = max(TEMPORAL_PATCH, min(MAX_FRAMES, total) // TEMPORAL_PATCH * TEMPORAL_PATCH)
    ideal = min(max(total / framerate * sampling_fps, MIN_FRAMES), most)
    return round(ideal / TEMPORAL_PATCH) * TEMPORAL_PATCH


def frame_fit(num_frames: int, token_side_px: int, bounds: Bounds) -> Fit:
    """The size at which the model sees each of `num_frames` frames, within the token bounds.

    One token covers a square with sides of `token_side_px`.
    """
    room = max(1, TEMPORAL_PATCH * bounds.max_video // num_frames)  # tokens of a frame
    least, most = min(bounds.min_frame, room // 4), min(bounds.max_frame, room)  # a quarter: `pixel_budget` rounds up
    return extract.pixel_budget(least * token_side_px**2, most * token_side_px**2, token_side_px)


def decode(
    uri: str, times_s: Sequence[float], fit: Fit, sources: Sources, limits: Limits, place: Place = CPU
) -> Pictures:
    """A clip's frames at these rising times; made to run in the decoding sandbox."""
    path = access.own_path(uri, sources)
    return place.decode(lambda accel: extract.frames_at(path, times_s, fit, limits, accel))[1]
