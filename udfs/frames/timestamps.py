"""Frames with their times, and times or rates -> which frame is wanted when, as the frames come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from udfs.demux.timeline import BOUNDARY_TOLERANCE_S

T = TypeVar("T")
Times = npt.NDArray[np.float64]  # seconds after the first shown frame

ROUNDING_S = 1e-9  # of times as floats, so that a tie is one


def middles(duration_s: float, parts: int) -> Times:
    """The middle of each of so many equal parts, in seconds: the last lies half a part before the end."""
    parts_at: Times = np.arange(parts, dtype=np.float64)
    return (parts_at + 0.5) * (duration_s / parts)


def on_screen(frames: Iterable[tuple[float, T]], wanted: Times) -> Iterator[tuple[float, T]]:
    """The frame, with its own time, that is there at each of the rising times; the last one stays for ever."""
    given = 0
    for at_s, gone_s, frame in _with_end(frames):
        until = int(np.searchsorted(wanted, gone_s - BOUNDARY_TOLERANCE_S))
        yield from ((at_s, frame) for _ in range(given, until))
        given = max(given, until)


def nearest(frames: Iterable[tuple[float, T]], fps: Sequence[float]) -> Iterator[tuple[int, float, T]]:
    """The frame nearest to each sample time of each rate, as (number of the rate, the frame's own time, frame).

    NeMo Curator's rule: sample times are arange(first, last + half a step, step); of two frames as near, the earlier one.
    """
    taken, first_s = [0] * len(fps), math.inf
    for at_s, next_s, frame in _with_end(frames):
        first_s = min(first_s, at_s)
        for rate, per_s in enumerate(fps):
            until_s = (at_s + next_s) / 2 + ROUNDING_S if next_s < math.inf else at_s + 0.5 / per_s - ROUNDING_S
            while first_s + taken[rate] / per_s < until_s:
                taken[rate] += 1
                yield rate, at_s, frame


def _with_end(frames: Iterable[tuple[float, T]]) -> Iterator[tuple[float, float, T]]:
    """Each frame with the times at which it comes and goes."""
    end: list[tuple[float, T | None]] = [(math.inf, None)]
    for (at_s, frame), (gone_s, _) in pairwise(chain(frames, end)):
        yield at_s, gone_s, frame  # type: ignore[misc]  # only the end is None
