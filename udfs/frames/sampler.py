"""Frames as they are shown -> the few worth looking at, one in each stretch of time, and their luma."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from udfs.video import rescale
from udfs.video.rescale import Scaler

Luma = npt.NDArray[np.uint8]  # height x width, 0 black to 255 white
SLACK = 1e-3  # of a stretch: a frame this little before its beginning, by rounding, lies on it


class Sampler:
    """Takes the first frame that is offered in each 1/fps of a clip: every frame of a slower one."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._last = -1

    def takes(self, at_s: float) -> bool:
        """Whether the frame shown at this time is the first of its stretch; times must rise."""
        stretch = math.floor(at_s * self.fps + SLACK)
        taken = stretch > self._last
        self._last = max(self._last, stretch)
        return taken


def luma(frame: VideoFrame, scaler: Scaler) -> Luma:
    """The brightness of a frame as a player shows it: upright, full range."""
    return rescale.oriented_pixels(coded_luma(frame, (frame.width, frame.height), scaler), scaler.orientation(frame))


def coded_luma(frame: VideoFrame, size: tuple[int, int], scaler: Scaler) -> Luma:
    """The brightness of a frame as it was coded, which may not be upright, scaled to width x height."""
    return rescale.scaled_pixels(frame, size, "gray", scaler)


def bounded(size: tuple[int, int], max_side_px: int, multiple: int) -> tuple[int, int]:
    """A size of the same shape with no side over `max_side_px`, each rounded to a multiple of so many pixels; never scaled up."""
    scale = min(1.0, max_side_px / max(size))
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return width, height
