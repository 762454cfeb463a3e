"""Target sizes: functions from a video's upright size in square pixels to a picture's size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

# (width, height) of the upright source to (width, height) of the pictures, pixels. Can be pickled.
Fit = Callable[[int, int], tuple[int, int]]


def exact_size(width: int, height: int) -> Fit:
    """This size for every source; the aspect ratio is not kept."""
    return partial(_exact_size, (width, height))


def short_side(px: int) -> Fit:
    """A shorter side of `px` pixels in the source's aspect ratio; small sources are scaled up."""
    return partial(_short_side, px)


def pixel_budget(min_pixels: int, max_pixels: int, multiple: int) -> Fit:
    """Sides that are multiples of `multiple`, with a product within the bounds.

    This is Qwen2-VL's smart_resize: it nearly keeps the source's aspect ratio. A very long or flat
    source may miss a bound, because no side is shorter than `multiple`.
    """
    return partial(_pixel_budget, min_pixels, max_pixels, multiple)


def target_res(side_px: int) -> Fit:
    """A square with sides of `side_px`, the aspect ratio lost; -1 keeps the source's own size."""
    return _source_size if side_px == -1 else exact_size(side_px, side_px)


def _exact_size(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    return size


def _source_size(width: int, height: int) -> tuple[int, int]:
    return width, height


def _short_side(px: int, width: int, height: int) -> tuple[int, int]:
    # Rounded down, as torchvision's Resize does: a processor behind it finds nothing left to do.
    return (px, px * height // width) if width <= height else (px * width // height, px)


def _pixel_budget(min_pixels: int, max_pixels: int, multiple: int, width: int, height: int) -> tuple[int, int]:
    sides = [round(side / multiple) * multiple for side in (width, height)]
    if math.prod(sides) > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        sides = [max(multiple, math.floor(side / shrink / multiple) * multiple) for side in (width, height)]
    elif math.prod(sides) < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * grow / multiple) * multiple for side in (width, height)]
    return sides[0], sides[1]
