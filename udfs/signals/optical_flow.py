"""Motion vectors, or two pictures -> how far each 8-pixel cell of a frame moved; the mean of such grids -> scores."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from udfs.frames.sampler import Luma

CELL_PX = 8  # H.264 and the MPEG family export no smaller block, and none off this grid
PATCH_PX = 256
Cells = npt.NDArray[np.float64]  # rows x columns, pixels moved from one frame to the next
Size = tuple[int, int]  # width, height of the frame, pixels


def from_vectors(vectors: npt.NDArray[Any], size: Size) -> Cells:
    """The length of the last vector in the list that covers each cell, 0 where none does (intra-coded).

    A two-way predicted block of a B-frame is listed twice, the backward vector after the forward one: the backward one counts,
    as it would if the blocks were painted one after another. What lies outside the frame is cut off.
    """
    columns, rows = (math.ceil(side / CELL_PX) for side in size)
    moved = np.hypot(vectors["motion_x"], vectors["motion_y"]) / vectors["motion_scale"]
    width, height = vectors["w"].astype(int) // CELL_PX, vectors["h"].astype(int) // CELL_PX
    left = (vectors["dst_x"].astype(int) - vectors["w"] // 2) // CELL_PX
    top = (vectors["dst_y"].astype(int) - vectors["h"] // 2) // CELL_PX
    across, down = np.arange(width.max(initial=0)), np.arange(height.max(initial=0))
    x = left[:, None, None] + across[None, None, :]
    y = top[:, None, None] + down[None, :, None]
    inside = (across < width[:, None])[:, None, :] & (down < height[:, None])[:, :, None]
    inside = inside & (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    cells = np.zeros(rows * columns)
    # Of repeated indices numpy keeps the last value.
    cells[(y * columns + x)[inside]] = np.broadcast_to(moved[:, None, None], inside.shape)[inside]
    return cells.reshape(rows, columns)


def from_pictures(before: Luma, after: Luma, size: Size) -> Cells:
    """The dense optical flow (DIS) between two frames that were scaled alike, in pixels of the whole frame."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(before, after, np.empty(0))
    across, down = flow[..., 0] * (size[0] / before.shape[1]), flow[..., 1] * (size[1] / before.shape[0])
    moved = np.hypot(across, down).astype(np.float64)
    columns, rows = (math.ceil(side / CELL_PX) for side in size)
    return np.asarray(cv2.resize(moved, (columns, rows), interpolation=cv2.INTER_LINEAR), dtype=np.float64)


def global_mean(cells: Cells, size: Size) -> float:
    """The mean over all pixels, over width + height."""
    across, down = (_sides(side) for side in size)
    return float(down @ cells @ across / (size[0] * size[1]) / sum(size))


def patch_min(cells: Cells, size: Size) -> float:
    """The least mean of a 256-pixel patch, over width + height.

    Patches are laid from the top left, round(side / 256) of them, one at least; the last takes the rest of the frame with it.
    """
    across, down = (_sides(side) for side in size)
    columns, rows = (_patch_starts(side) for side in size)
    sums = np.add.reduceat(np.add.reduceat(cells * np.outer(down, across), rows, axis=0), columns, axis=1)
    areas = np.outer(np.add.reduceat(down, rows), np.add.reduceat(across, columns))
    return float((sums / areas).min() / sum(size))


def centre_min(cells: Cells, size: Size) -> float:
    """NeMo Curator's patch score: the least mean of the four pixels in the middle of a 256-pixel patch, over width + height."""
    middles = [[_middle_cells(i, side) for i in range(round(side / PATCH_PX))] for side in size]
    return min(float(cells[np.ix_(down, across)].mean()) for down in middles[1] for across in middles[0]) / sum(size)


def _sides(side: int) -> npt.NDArray[np.float64]:
    """The pixels of each cell along a side: the last may stand out of the frame."""
    edges = np.minimum(np.arange(math.ceil(side / CELL_PX) + 1) * CELL_PX, side)
    return np.diff(edges).astype(np.float64)


def _patch_starts(side: int) -> list[int]:
    return [i * PATCH_PX // CELL_PX for i in range(max(1, round(side / PATCH_PX)))]


def _middle_cells(patch: int, side: int) -> list[int]:
    middle = patch * PATCH_PX + PATCH_PX // 2
    return [min(pixel, side - 1) // CELL_PX for pixel in (middle - 1, middle)]
