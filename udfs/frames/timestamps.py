"""Frame selection by time: the frame on screen at a time, or nearest to a sample time."""

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

ROUNDING_S = 1e-9  # error of float times: sample times this close to a midpoint are ties


def middles(duration_s: float, num_parts: int) -> Times:
    """The middles of `num_parts` equal parts, seconds; the last lies half a part before the end."""
    numbers: Times = np.arange(num_parts, dtype=np.float64)
    return (numbers + 0.5) * (duration_s / num_parts)


def frames_on_screen(frames: Iterable[tuple[float, T]], times_s: Times) -> Iterator[tuple[float, T]]:
    """The frame on screen at each of the rising `times_s`, with its own time; the last stays."""
    done = 0
    for at_s, end_s, frame in _shown_intervals(frames):
        until = int(np.searchsorted(times_s, end_s - BOUNDARY_TOLERANCE_S))
        yield from ((at_s, frame) for _ in range(done, until))
        done = max(done, until)


def nearest_frames(frames: Iterable[tuple[float, T]], fps: Sequence[float]) -> Iterator[tuple[int, float, T]]:
    """The frame nearest to each sample time of each rate.

    Yields (index of the rate, the frame's own time, frame). The rule is NeMo Curator's: the sample
    times are arange(first, last + step / 2, step), and a tie goes to the earlier frame. Each frame
    is read once and yielded as soon as it is chosen.
    """
    num_samples, first_s = [0] * len(fps), math.inf
    for at_s, next_s, frame in _shown_intervals(frames):
        first_s = min(first_s, at_s)
        for rate, per_s in enumerate(fps):
            until_s = (at_s + next_s) / 2 + ROUNDING_S if next_s < math.inf else at_s + 0.5 / per_s - ROUNDING_S
            while first_s + num_samples[rate] / per_s < until_s:
                num_samples[rate] += 1
                yield rate, at_s, frame


def _shown_intervals(frames: Iterable[tuple[float, T]]) -> Iterator[tuple[float, float, T]]:
    """Each frame as (start, end, frame), where it ends when the next one starts."""
    end: list[tuple[float, T | None]] = [(math.inf, None)]
    for (at_s, frame), (end_s, _) in pairwise(chain(frames, end)):
        yield at_s, end_s, frame  # type: ignore[misc]  # only the last pair holds None
