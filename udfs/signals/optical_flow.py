"""Motion per 8-pixel cell of a frame, from motion vectors or optical flow, and scores of a clip."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from udfs.frames.sampler import Luma

CELL_PX = 8  # H.264 and MPEG codecs export no smaller block, and none off this grid
PATCH_PX = 256
Cells = npt.NDArray[np.float64]  # rows x columns, pixels moved from one frame to the next
Size = tuple[int, int]  # width, height of the frame, pixels


def motion_vector_cells(vectors: npt.NDArray[Any], size: Size) -> Cells:
    """The length of the last motion vector that covers each cell, 0 where none does (intra-coded).

    `vectors` is FFmpeg's array of AVMotionVector. It lists a bidirectional block of a B-frame
    twice, the backward vector last, which therefore counts. Cells outside the frame are cut off.
    """
    columns, rows = (math.ceil(side / CELL_PX) for side in size)
    lengths = np.hypot(vectors["motion_x"], vectors["motion_y"]) / vectors["motion_scale"]
    width, height = vectors["w"].astype(int) // CELL_PX, vectors["h"].astype(int) // CELL_PX
    left = (vectors["dst_x"].astype(int) - vectors["w"] // 2) // CELL_PX
    top = (vectors["dst_y"].astype(int) - vectors["h"] // 2) // CELL_PX
    column, row = np.arange(width.max(initial=0)), np.arange(height.max(initial=0))
    x = left[:, None, None] + column[None, None, :]
    y = top[:, None, None] + row[None, :, None]
    inside = (column < width[:, None])[:, None, :] & (row < height[:, None])[:, :, None]
    inside = inside & (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    cells = np.zeros(rows * columns)
    # For repeated indices numpy keeps the last value.
    cells[(y * columns + x)[inside]] = np.broadcast_to(lengths[:, None, None], inside.shape)[inside]
    return cells.reshape(rows, columns)


def flow_cells(before: Luma, after: Luma, size: Size) -> Cells:
    """The length of the dense optical flow (OpenCV's DIS) in each cell, pixels of the full frame.

    Both pictures have the same size, which may be smaller than the frame's `size`.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(before, after, np.empty(0))
    across, down = flow[..., 0] * (size[0] / before.shape[1]), flow[..., 1] * (size[1] / before.shape[0])
    lengths = np.hypot(across, down).astype(np.float64)
    columns, rows = (math.ceil(side / CELL_PX) for side in size)
    return np.asarray(cv2.resize(lengths, (columns, rows), interpolation=cv2.INTER_LINEAR), dtype=np.float64)


def global_mean(cells: Cells, size: Size) -> float:
    """The mean motion of all pixels, divided by width + height."""
    across, down = (_cell_sizes(side) for side in size)
    return float(down @ cells @ across / (size[0] * size[1]) / sum(size))


def patch_min(cells: Cells, size: Size) -> float:
    """The least mean motion of a 256-pixel patch, divided by width + height.

    Patches start at the top left, round(side / 256) per side and at least one; the last one of a
    side includes the rest of the frame.
    """
    across, down = (_cell_sizes(side) for side in size)
    columns, rows = (_patch_starts(side) for side in size)
    sums = np.add.reduceat(np.add.reduceat(cells * np.outer(down, across), rows, axis=0), columns, axis=1)
    areas = np.outer(np.add.reduceat(down, rows), np.add.reduceat(across, columns))
    return float((sums / areas).min() / sum(size))


def center_min(cells: Cells, size: Size) -> float:
    """NeMo Curator's patch score: the least mean of the four center pixels of a 256-pixel patch.

    It is divided by width + height.
    """
    centers = [[_center_cells(i, side) for i in range(round(side / PATCH_PX))] for side in size]
    return min(float(cells[np.ix_(down, across)].mean()) for down in centers[1] for across in centers[0]) / sum(size)


def _cell_sizes(side: int) -> npt.NDArray[np.float64]:
    """The pixels of each cell along a side that lie inside the frame."""
    edges = np.minimum(np.arange(math.ceil(side / CELL_PX) + 1) * CELL_PX, side)
    return np.diff(edges).astype(np.float64)


def _patch_starts(side: int) -> list[int]:
    return [i * PATCH_PX // CELL_PX for i in range(max(1, round(side / PATCH_PX)))]


def _center_cells(patch: int, side: int) -> list[int]:
    middle = patch * PATCH_PX + PATCH_PX // 2
    return [min(pixel, side - 1) // CELL_PX for pixel in (middle - 1, middle)]
