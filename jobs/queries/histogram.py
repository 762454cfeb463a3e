"""A histogram in one line of text: which bins it has, and how it is drawn."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*#@"  # of rising height; the latter where the encoding lacks the former
LONG_TAIL = 4.0  # times the distance of the inner quantiles: what lies farther out is drawn in the last bin


class Bins(NamedTuple):
    """Bins of equal width; the first and the last also hold what lies beyond them."""

    low: float
    high: float
    number: int

    @property
    def width(self) -> float:
        """The width of a bin."""
        return (self.high - self.low) / self.number

    def edges(self, place: int) -> tuple[float, float]:
        """The least value of a bin, and of the next one."""
        return self.low + place * self.width, self.low + (place + 1) * self.width

    def place(self, value: float) -> int:
        """The bin of a value."""
        return max(0, min(self.number - 1, int((value - self.low) // self.width)))

    def sql(self, value: str) -> str:
        """The bin of a value, in SQL."""
        return f"least(greatest(floor(({value} - {self.low!r}D) / {self.width!r}D), 0), {self.number - 1})"


def bins(least: float, most: float, inner: tuple[float, float], thresholds: Sequence[float], number: int) -> Bins:
    """Bins for values from `least` to `most`, whose `inner` quantiles (5 % and 95 %) say where most of them lie.

    Thresholds near the values are within them, so that they can be marked.
    """
    reach = LONG_TAIL * (inner[1] - inner[0])
    low, high = (max(least, inner[0] - reach), min(most, inner[1] + reach)) if reach > 0 else (least, most)
    span = (high - low) or abs(low)
    if span / number < sys.float_info.min:  # no width, or one that SQL would divide by as by zero
        span = 1.0
    for threshold in thresholds:
        if low - 2 * span <= threshold <= high + 2 * span:
            low, high = min(low, threshold - span / number), max(high, threshold + span / number)
    return Bins(low, high if high - low >= span else low + span, number)


def drawn(counts: Mapping[int, int], number: int, blocks: str = BLOCKS) -> str:
    """A character per bin, as high as its count; any count at all is seen."""
    most = max(counts.values(), default=0)
    heights = (-(-(len(blocks) - 1) * counts.get(place, 0) // most) if most else 0 for place in range(number))
    return "".join(blocks[height] for height in heights)
