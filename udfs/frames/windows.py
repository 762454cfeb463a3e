"""Windows: the runs of consecutive frames of a clip that are captioned and previewed one by one."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MIN_FRAMES = 4  # a shorter clip has no window


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[windows]"""

    window_size: Annotated[int, Field(ge=MIN_FRAMES, description="frames per window")] = 256
    remainder_threshold: Annotated[
        int, Field(ge=1, description="least number of left-over frames that form a window of their own")
    ] = 128


class Window(NamedTuple):
    """The first and last frame of a window, both inclusive; the clip's first frame is 0."""

    start_frame: int
    end_frame: int


def windows(num_frames: int, params: Params) -> list[Window]:
    """Consecutive windows that cover every frame; a short remainder joins the last full one."""
    size = params.window_size
    if num_frames < MIN_FRAMES:
        return []
    if num_frames <= size:
        return [Window(0, num_frames - 1)]
    starts = list(range(0, num_frames - size + 1, size))
    remainder = num_frames - len(starts) * size
    if remainder >= params.remainder_threshold:
        starts.append(num_frames - remainder)
    ends = [start - 1 for start in starts[1:]] + [num_frames - 1]
    return [Window(start, end) for start, end in zip(starts, ends, strict=True)]
