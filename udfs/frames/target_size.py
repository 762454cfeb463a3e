"""Sizes of pictures by the upright size of their video, in square pixels: functions that can be sent to workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

Fit = Callable[[int, int], tuple[int, int]]  # upright width and height of the source -> of the pictures, pixels


def exactly(width: int, height: int) -> Fit:
    """That size; the aspect is not kept."""
    return partial(_exactly, (width, height))


def short_side(px: int) -> Fit:
    """A shorter side of so many pixels, in the source's aspect; small sources are scaled up."""
    return partial(_short_side, px)


def pixels(min_pixels: int, max_pixels: int, multiple: int) -> Fit:
    """Sides that are multiples of so many pixels, in nearly the source's aspect, whose product is within the bounds.

    Qwen2-VL's smart_resize. A source that is very long or flat may miss a bound: no side is under `multiple`.
    """
    return partial(_pixels, min_pixels, max_pixels, multiple)


def target_res(side_px: int) -> Fit:
    """A square of that side, the aspect lost; -1: the source's own size."""
    return _own if side_px == -1 else exactly(side_px, side_px)


def _exactly(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    return size


def _own(width: int, height: int) -> tuple[int, int]:
    return width, height


def _short_side(px: int, width: int, height: int) -> tuple[int, int]:
    # Rounded down, as torchvision's Resize does: a processor behind it finds nothing left to do.
    return (px, px * height // width) if width <= height else (px * width // height, px)


def _pixels(min_pixels: int, max_pixels: int, multiple: int, width: int, height: int) -> tuple[int, int]:
    sides = [round(side / multiple) * multiple for side in (width, height)]
    if math.prod(sides) > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        sides = [max(multiple, math.floor(side / shrink / multiple) * multiple) for side in (width, height)]
    elif math.prod(sides) < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * grow / multiple) * multiple for side in (width, height)]
    return sides[0], sides[1]
