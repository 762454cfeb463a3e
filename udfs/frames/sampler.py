"""Frame sampling for signals: the first frame of each interval, and the luma of a frame."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from udfs.video import rescale
from udfs.video.rescale import Scaler

Luma = npt.NDArray[np.uint8]  # height x width, 0 black to 255 white
# Of an interval: a frame this close before one counts as in it, because times are rounded.
TOLERANCE = 1e-3


class Sampler:
    """Chooses the first frame in each interval of 1/fps seconds; of a slower clip, every frame."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._last_interval = -1

    def takes(self, at_s: float) -> bool:
        """Whether the frame at this time is the first of its interval; the times must rise."""
        is_first = self.is_due(at_s)
        if is_first:
            self._last_interval = self._interval(at_s)
        return is_first

    def is_due(self, at_s: float) -> bool:
        """Whether no frame of this time's interval has been taken."""
        return self._interval(at_s) > self._last_interval

    def _interval(self, at_s: float) -> int:
        return math.floor(at_s * self.fps + TOLERANCE)


def luma(frame: VideoFrame, scaler: Scaler) -> Luma:
    """The luma of a frame as a player shows it: upright, full range, at its full size."""
    return rescale.oriented_pixels(coded_luma(frame, (frame.width, frame.height), scaler), scaler.orientation(frame))


def coded_luma(frame: VideoFrame, size: tuple[int, int], scaler: Scaler) -> Luma:
    """The luma of a frame as coded, perhaps not upright, scaled to `size`, width x height."""
    return rescale.scaled_pixels(frame, size, "gray", scaler)


def bounded_size(size: tuple[int, int], max_side_px: int, multiple: int) -> tuple[int, int]:
    """`size` scaled down to sides of at most `max_side_px`, rounded to multiples of `multiple`."""
    scale = min(1.0, max_side_px / max(size))
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return width, height
