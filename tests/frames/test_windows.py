"""Windows cover every frame once; a remainder joins the last window or forms its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.frames.windows import Params, Window, windows

PARAMS = st.builds(Params, window_size=st.integers(4, 300), remainder_threshold=st.integers(1, 300))


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (0, []),
        (3, []),
        (4, [(0, 3)]),
        (256, [(0, 255)]),
        (257, [(0, 256)]),
        (383, [(0, 382)]),
        (384, [(0, 255), (256, 383)]),
        (512, [(0, 255), (256, 511)]),
        (600, [(0, 255), (256, 599)]),
        (640, [(0, 255), (256, 511), (512, 639)]),
    ],
)
def test_windows_of_256_frames_are_the_published_ones(num_frames: int, expected: list[Window]) -> None:
    assert windows(num_frames, Params()) == expected


@given(st.integers(4, 5000), PARAMS)
def test_windows_cover_every_frame_once_and_in_order(num_frames: int, params: Params) -> None:
    covered = [k for window in windows(num_frames, params) for k in range(window.start_frame, window.end_frame + 1)]
    assert covered == list(range(num_frames))


@given(st.integers(4, 5000), PARAMS)
def test_only_the_last_window_differs_from_the_size(num_frames: int, params: Params) -> None:
    sizes = [window.end_frame - window.start_frame + 1 for window in windows(num_frames, params)]
    assert all(size == params.window_size for size in sizes[:-1])
    assert sizes[-1] < params.window_size + params.remainder_threshold


@given(st.integers(4, 5000), PARAMS)
def test_a_short_last_window_is_no_shorter_than_the_threshold(num_frames: int, params: Params) -> None:
    cut = windows(num_frames, params)
    last = cut[-1].end_frame - cut[-1].start_frame + 1
    assert len(cut) == 1 or last >= min(params.window_size, params.remainder_threshold)
