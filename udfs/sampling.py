"""Frames as they are shown -> the few worth looking at, one in each stretch of time, and their luma."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

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


def luma(frame: VideoFrame, max_side_px: int | None = None) -> Luma:
    """The brightness of a frame as a player shows it: upright, full range, no side over `max_side_px`."""
    width, height = bounded((frame.width, frame.height), max_side_px)
    gray = frame.to_ndarray(format="gray", width=width, height=height, interpolation="AREA")
    return np.ascontiguousarray(np.rot90(gray, round(frame.rotation / 90) % 4))


def bounded(size: tuple[int, int], max_side_px: int | None, multiple: int = 1) -> tuple[int, int]:
    """A size of the same shape with no side over `max_side_px`, rounded to a multiple of pixels; never scaled up."""
    scale = min(1.0, max_side_px / max(size)) if max_side_px else 1.0
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return width, height
