"""Motion per cell from vectors and from optical flow, and the scores of a grid of cells."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import clips
from udfs.signals.optical_flow import Cells, center_min, flow_cells, global_mean, motion_vector_cells, patch_min

VECTOR = np.dtype([(name, np.int32) for name in ("w", "h", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")])
SIDES = st.integers(8, 1200)


def vectors(*blocks: tuple[int, ...]) -> NDArray[np.void]:
    """FFmpeg's motion vectors of blocks (w, h, center, motion), the motion in quarter pixels."""
    return np.array([(*block, 4) for block in blocks], VECTOR)


def random_cells(size: tuple[int, int], seed: int) -> Cells:
    """Random motion of each cell of a frame."""
    columns, rows = (-(-side // 8) for side in size)
    return np.random.default_rng(seed).random((rows, columns)) * 10


def pixels(cells: Cells, size: tuple[int, int]) -> Cells:
    """The motion of every pixel of a frame."""
    return cells.repeat(8, axis=0).repeat(8, axis=1)[: size[1], : size[0]]


def test_a_vector_fills_the_cells_of_its_block_with_its_length() -> None:
    cells = motion_vector_cells(vectors((16, 8, 16, 12, 12, -16)), (40, 24))
    assert cells.tolist() == [[0] * 5, [0, 5, 5, 0, 0], [0] * 5]  # 3 and 4 pixels


def test_the_last_vector_of_a_cell_counts() -> None:
    cells = motion_vector_cells(vectors((16, 16, 8, 8, 4, 0), (8, 8, 12, 4, 40, 0)), (16, 16))
    assert cells.tolist() == [[1, 10], [1, 1]]


def test_cells_outside_the_frame_are_cut_off() -> None:
    cells = motion_vector_cells(vectors((16, 16, 0, 0, 4, 0), (16, 16, 16, 16, 8, 0)), (12, 12))
    assert cells.tolist() == [[1, 0], [0, 2]]


def test_a_frame_without_vectors_does_not_move() -> None:
    assert motion_vector_cells(vectors(), (20, 10)).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize("scale", [1, 2])
def test_optical_flow_of_a_pan_is_its_speed_in_pixels_of_the_frame(scale: int) -> None:
    first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in clips.panned((320, 240), 2, 4))
    cells = flow_cells(np.asarray(first, np.uint8), np.asarray(second, np.uint8), (320 * scale, 240 * scale))
    assert cells.shape == (30 * scale, 40 * scale)
    assert np.median(cells) == pytest.approx(4 * scale, rel=0.05)


@given(SIDES, SIDES, st.integers(0, 99))
def test_the_global_mean_is_that_of_all_pixels(width: int, height: int, seed: int) -> None:
    cells = random_cells((width, height), seed)
    mean = pixels(cells, (width, height)).mean()
    assert global_mean(cells, (width, height)) == pytest.approx(mean / (width + height))


@given(SIDES, SIDES, st.integers(0, 99))
def test_the_least_patch_is_that_of_all_pixels(width: int, height: int, seed: int) -> None:
    cells = random_cells((width, height), seed)
    xs, ys = ([*range(0, 256 * max(1, round(side / 256)), 256), side] for side in (width, height))
    motion = pixels(cells, (width, height))
    means = [motion[top:bottom, left:right].mean() for top, bottom in pairwise(ys) for left, right in pairwise(xs)]
    assert patch_min(cells, (width, height)) == pytest.approx(min(means) / (width + height))


def test_the_parity_patch_reads_four_pixels_only() -> None:
    cells = np.zeros((32, 64))
    cells[15:17, 15:17] = 5
    cells[:, 32:] = 9
    assert center_min(cells, (512, 256)) == pytest.approx(5 / 768)
    assert patch_min(cells, (512, 256)) == pytest.approx(5 * 4 / 32**2 / 768)
