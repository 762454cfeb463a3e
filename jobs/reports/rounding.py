"""Numbers of few digits that thresholds can have, and scores rounded to them so that comparisons stay exact."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, log10

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]

DECADES = 12  # below the largest number; what is smaller is rounded to 0


def numbers(values: Floats, digits: int, more: Iterable[float] = ()) -> Floats:
    """Every decimal number of `digits` significant digits around the finite values, and `more`, in ascending order."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    found = {0.0, *more}
    if len(sizes):
        top = floor(log10(sizes.max())) + 1
        bottom = max(floor(log10(sizes.min())), top - DECADES)
        least, most = 10 ** (digits - 1), 10**digits
        positive = [
            float(f"{part}e{power - digits + 1}") for power in range(bottom, top + 1) for part in range(least, most)
        ]
        found.update(positive)
        if (values < 0).any():
            found.update(-number for number in positive)
    return np.array(sorted(found))


def rounded(values: Floats, keys: Floats, *, up: bool) -> Indexes:
    """The index of the nearest of the ascending `keys` that is not above, or not below, each value; -1 for NaN."""
    last = len(keys) - 1
    places = np.searchsorted(keys, values, "left") if up else np.searchsorted(keys, values, "right") - 1
    return np.where(np.isnan(values), -1, np.clip(places, 0, last)).astype(np.int64)


def stops(values: Floats, number: int, more: Iterable[float] = ()) -> list[float]:
    """At most about `number` of the sorted values, evenly by rank, and `more`: where a slider can stand."""
    if not len(values):
        return sorted(more)
    places = np.unique(np.linspace(0, len(values) - 1, number).round().astype(int))
    return sorted({*values[places].tolist(), *more})
