"""The frames of a window that a model sees, and their size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from udfs.frames import window_frames, windows
from udfs.frames.window_frames import Bounds
from udfs.frames.windows import Window

LONG_ENOUGH = st.integers(4, 3000)
RATES = st.floats(1, 120)


@pytest.mark.parametrize(
    ("total", "framerate", "fps", "expected"),
    [
        (256, 30.0, 2.0, 18),  # 17.07
        (300, 30.0, 2.0, 20),
        (60, 30.0, 2.0, 4),
        (5, 30.0, 2.0, 4),
        (4, 30.0, 2.0, 4),
        (3, 30.0, 2.0, 2),
        (1, 30.0, 2.0, 2),
        (7, 5.0, 30.0, 6),
        (256, 5.0, 2.0, 102),  # 102.4
        (90_000, 30.0, 30.0, 768),
    ],
)
def test_the_number_of_shown_frames_is_the_published_one(
    total: int, framerate: float, fps: float, expected: int
) -> None:
    assert window_frames.num_shown_frames(total, framerate, fps) == expected


@given(LONG_ENOUGH, RATES, st.floats(0.01, 60))
def test_the_number_of_shown_frames_is_even_and_bounded(total: int, framerate: float, fps: float) -> None:
    shown = window_frames.num_shown_frames(total, framerate, fps)
    assert shown % 2 == 0
    assert 4 <= shown <= min(768, total)
    ideal = total / framerate * fps
    if 4 <= ideal <= min(768, total) - 1:
        assert abs(shown - ideal) <= 1


@given(st.integers(0, 3000), LONG_ENOUGH, RATES)
def test_the_shown_frames_go_from_the_first_to_the_last_of_a_window(start: int, total: int, framerate: float) -> None:
    numbers = window_frames.frame_numbers(Window(start, start + total - 1), framerate, 2.0)
    assert (numbers[0], numbers[-1]) == (start, start + total - 1)
    gaps = np.diff(numbers)
    assert gaps.min() > 0
    assert gaps.max() - gaps.min() <= 1


@given(
    LONG_ENOUGH,
    RATES,
    st.builds(windows.Params, window_size=st.integers(4, 300), remainder_threshold=st.integers(1, 300)),
)
def test_the_windows_of_a_clip_show_its_first_and_last_frames(
    total: int, framerate: float, cut: windows.Params
) -> None:
    shown = [window_frames.frame_numbers(window, framerate, 2.0) for window in windows.windows(total, cut)]
    assert shown[0][0] == 0
    assert shown[-1][-1] == total - 1
    for before, after in pairwise(shown):
        assert after[0] == before[-1] + 1
        assert len(after) >= 2


@given(
    st.integers(2, 384).map(lambda n: 2 * n),
    st.sampled_from([28, 32]),
    st.tuples(st.integers(64, 4000), st.integers(64, 4000)),
    st.integers(1, 256),
    st.integers(0, 2048),
)
def test_frames_stay_within_the_budget_of_a_frame_and_of_a_video(
    shown: int, step: int, size: tuple[int, int], least: int, more: int
) -> None:
    assume(max(size) <= 4 * min(size))
    width, height = window_frames.frame_fit(shown, step, Bounds(least, least + more, 24576))(*size)
    assert width % step == height % step == 0
    tokens = width * height // step**2
    assert tokens * shown / 2 <= 24576
    if more >= 4 * least + 16:  # else there may be no such size
        assert tokens <= least + more
        assert tokens >= least or least > 2 * 24576 // shown // 4
