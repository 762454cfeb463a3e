"""A clip's number of frames -> the windows that are captioned and previewed one by one."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MIN_FRAMES = 4  # a shorter clip has no window


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[windows]"""

    window_size: Annotated[int, Field(ge=MIN_FRAMES, description="frames a window")] = 256
    remainder_threshold: Annotated[int, Field(ge=1, description="frames left over that make a window of their own")] = 128


class Window(NamedTuple):
    """Frames of a clip, the first being 0; both ends belong to the window."""

    start_frame: int
    end_frame: int


def windows(num_frames: int, params: Params) -> list[Window]:
    """Consecutive windows that cover every frame; what is left over joins the last one where it is too little for its own."""
    size = params.window_size
    if num_frames < MIN_FRAMES:
        return []
    if num_frames <= size:
        return [Window(0, num_frames - 1)]
    starts = list(range(0, num_frames - size + 1, size))
    left = num_frames - len(starts) * size
    if left >= params.remainder_threshold:
        starts.append(num_frames - left)
    ends = [start - 1 for start in starts[1:]] + [num_frames - 1]
    return [Window(start, end) for start, end in zip(starts, ends, strict=True)]
