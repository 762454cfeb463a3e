"""exposure: how bright a clip is, and how much of its picture is neither black nor burnt out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLACK, WHITE = 16, 239  # luma at which nothing can be made out any more, of 0 to 255
LUMA = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue: ITU-R BT.709

EXPOSURE: dict[str, Any] = {  # the keys of a section [custom.exposure]
    "function": "team_stages:exposure",
    "columns": {"usable": "float", "brightness": "float"},
    "about": "One row per clip: how its pictures are exposed.",
    "comments": {
        "usable": "share of pixels that are neither black nor burnt out, 0-1, mean of the frames",
        "brightness": "mean luma of the frames, 0-255",
    },
    "checks": {"usable_range": "usable BETWEEN 0 AND 1", "brightness_range": "brightness BETWEEN 0 AND 255"},
    "target_fps": 1.0,
    "short_side_px": 144,
}


def exposure(frames: Sequence[NDArray[np.uint8]]) -> list[tuple[float, float]]:
    """RGB frames of any clips -> the usable share and the brightness of each."""
    return [measured(frame @ LUMA) for frame in frames]


def measured(luma: NDArray[np.float64]) -> tuple[float, float]:
    """The usable share and the brightness of one picture, height x width."""
    usable = (luma > BLACK) & (luma < WHITE)
    return float(usable.mean()), float(luma.mean())
