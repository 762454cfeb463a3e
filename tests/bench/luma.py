"""The score that every contender computes: the mean change of luma between frames, decoded by PyAV with one thread.

It imports PyAV and NumPy only, so that it runs in each peer's environment.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

DIGITS = 9  # that answers are compared by

Luma = npt.NDArray[np.uint8]


def mean_change(path: str) -> float:
    """The mean of `change` over a video's pairs of successive frames."""
    changes, previous = list[float](), None
    with av.open(path) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            luma = plane(frame)
            if previous is not None:
                changes.append(change(previous, luma))
            previous = luma
    return mean(changes)


def mean(changes: list[float]) -> float:
    """The mean of changes, rounded; 0 of none."""
    return round(float(np.mean(changes)), DIGITS) if changes else 0.0


def change(first: Luma, second: Luma) -> float:
    """The mean absolute difference of two pictures, 0-255."""
    return float(np.abs(first.astype(np.int16) - second).mean())


def plane(frame: Any) -> Luma:
    """The luma of a decoded YUV frame, height x width."""
    luma = frame.planes[0]
    rows = np.frombuffer(luma, np.uint8).reshape(luma.height, luma.line_size)
    return rows[:, : luma.width].copy()
